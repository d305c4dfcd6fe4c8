//! `oncelog soak` from outside: a few seconds of it find nothing, and say what was done.

use std::process::Command;

use serde_json::Value;

fn oncelog(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_oncelog")).arg("soak").args(arguments).output().expect("the command runs")
}

#[test]
fn a_short_soak_finds_nothing_and_says_what_it_did() {
    let output = oncelog(&["--minutes", "0.08", "--seed", "3", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success(), "{told:#} {}", String::from_utf8_lossy(&output.stderr));
    assert!(told["fault"].is_null() && told["turns"].as_u64() > Some(0), "{told:#}");
    for what in ["retries", "transactions_committed", "transactions_aborted", "records_read_beside_transactions"] {
        assert!(told["closes"] == 0 || told[what].as_u64() > Some(0), "none of these: {what}; {told:#}");
    }
    assert_eq!(
        told["turns"].as_u64(),
        told["kills"].as_u64().zip(told["closes"].as_u64()).map(|(one, other)| one + other)
    );
}

#[test]
fn what_cannot_be_is_refused() {
    for minutes in ["0", "-1", "nan", "1e9"] {
        assert_eq!(oncelog(&[&format!("--minutes={minutes}")]).status.code(), Some(2), "{minutes}");
    }
}
