//! `oncelog crash` from outside: each harness runs for some seconds, and finds nothing.

use std::fs;
use std::process::Command;

use serde_json::Value;

fn crash(arguments: &[&str]) -> Value {
    let dir = tempfile::tempdir().expect("a directory");
    let json = dir.path().join("crash.json");
    let output = Command::new(env!("CARGO_BIN_EXE_oncelog"))
        .arg("crash")
        .args(arguments)
        .arg("--json")
        .arg(&json)
        .output()
        .expect("the command runs");
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}{errors}");
    assert!(table.lines().all(|line| line.len() <= 100), "{table}");
    let outcomes: Value = serde_json::from_str(&fs::read_to_string(json).expect("written")).expect("json");
    outcomes.get(0).expect("an outcome").clone()
}

#[test]
fn kills_lose_nothing_that_was_acknowledged() {
    let outcome = crash(&["kill", "--seconds", "3", "--window", "both"]);
    assert!(outcome["counts"]["killed while appending"].as_u64() > Some(0), "{outcome}");
}

#[test]
fn flipped_bytes_are_refused_or_end_a_partition() {
    let outcome = crash(&["flip", "--seconds", "3"]);
    assert!(outcome["counts"]["seg frames flipped: refused to the reader"].as_u64() > Some(0), "{outcome}");
}
