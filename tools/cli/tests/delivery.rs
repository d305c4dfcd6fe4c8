//! `oncelog delivery` from outside: what it prints and writes, a broker that is a process, and what it refuses.

use std::collections::HashSet;
use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

fn delivery(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_oncelog")).arg("delivery").args(arguments).output().expect("the command runs")
}

#[test]
fn the_matrix_has_every_delivery_under_every_fault() {
    let dir = tempfile::tempdir().expect("a directory");
    let json = dir.path().join("cells.json");
    let lines = dir.path().join("lines.log");
    fs::write(&lines, "first\nand second\n").expect("a file");
    let path = |path: &std::path::Path| path.to_str().expect("a path").to_owned();
    let output =
        delivery(&["--messages", "1000", "--rate", "0.03", "--payload-file", &path(&lines), "--json", &path(&json)]);
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}{errors}");
    assert!(table.lines().all(|line| line.len() <= 100), "{table}");

    let result: Value = serde_json::from_slice(&fs::read(json).expect("a file")).expect("json");
    let cells = result["cells"].as_array().expect("cells");
    let mut kinds = HashSet::new();
    for cell in cells {
        let word = |name: &str| cell[name].as_str().expect("a word").to_owned();
        let (delivery, fault) = (word("delivery"), word("fault"));
        for count in
            ["sent", "acknowledged", "stored", "consumed", "lost", "duplicated", "reordered", "seed", "injected"]
        {
            assert!(cell[count].is_u64(), "{count} of {cell}");
        }
        for count in ["lost", "duplicated", "reordered"] {
            assert_eq!(cell["predicted"][count], cell[count], "{cell}");
        }
        assert_eq!((cell["fault"] == "none", cell["rate"] == 0.0), (fault == "none", fault == "none"), "{cell}");
        assert!(cell["messages_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{cell}");
        assert_eq!(cell["latency_ns"]["p99"].is_u64(), delivery != "at-most-once", "{cell}");
        let is_process = (delivery.as_str(), fault.as_str()) == ("exactly-once", "broker-killed-after-store");
        assert_eq!(cell["broker"], if is_process { "process" } else { "here" }, "{cell}");
        assert!(kinds.insert((delivery, fault)), "{cell} twice");
    }
    assert_eq!(kinds.len(), 4 * 10);
}

#[test]
fn a_fault_that_has_not_struck_fails() {
    let output =
        delivery(&["--messages", "50", "--rate", "1e-9", "--delivery", "at-least-once", "--fault", "ack-lost"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("at-least-once under ack-lost, seed 1: the fault has not struck once"), "{errors}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("(!)"));
}

#[test]
fn what_is_impossible_is_refused() {
    for (arguments, told) in [
        (["--messages", "0"], "messages is 0: it must be from 1 to 10000000"),
        (["--rate", "0"], "the rate of faults is 0: it must be above 0 and at most 0.5"),
        (["--delivery", "twice"], "\"twice\" is no delivery: one of at-most-once, at-least-once"),
        (["--fault", "rain"], "\"rain\" is no fault: one of none, request-lost"),
        (["--payload-file", "/none"], "payload file /none"),
    ] {
        let output = delivery(&arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(told), "{errors}");
    }
}
