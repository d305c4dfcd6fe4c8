//! `oncelog crash` from outside: each harness runs for some seconds and finds nothing, and finds what is put there.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

fn run(arguments: &[&str]) -> (Output, Value) {
    let dir = tempfile::tempdir().expect("a directory");
    let json = dir.path().join("crash.json");
    let output = Command::new(env!("CARGO_BIN_EXE_oncelog"))
        .arg("crash")
        .args(arguments)
        .arg("--json")
        .arg(&json)
        .output()
        .expect("the command runs");
    let outcomes: Value = serde_json::from_str(&fs::read_to_string(json).expect("written")).expect("json");
    (output, outcomes.get(0).expect("an outcome").clone())
}

fn crash(arguments: &[&str]) -> Value {
    let (output, outcome) = run(arguments);
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}{errors}");
    assert!(table.lines().all(|line| line.len() <= 100), "{table}");
    outcome
}

/// Says that a harness cannot run here; which is no failure.
#[allow(clippy::print_stderr, reason = "who reads the test's output should know")]
fn skipped(outcome: &Value) -> bool {
    if let Some(why) = outcome["skipped"].as_str() {
        eprintln!("skipped: {why}");
    }
    outcome["skipped"].is_string()
}

fn count(outcome: &Value, what: &str) -> u64 {
    outcome["counts"][what].as_u64().unwrap_or(0)
}

/// Runs a harness on a log that flushes nothing, in each window, and expects that it finds that.
fn finds_missing_flushes(harness: &str) {
    for window in ["mapped", "direct"] {
        let (output, outcome) = run(&[harness, "--without-flush", "--window", window, "--count", "20", "--seed", "7"]);
        if skipped(&outcome) {
            continue;
        }
        assert!(!output.status.success(), "{window}: nothing was flushed, and nothing was missed: {outcome}");
        let errors = String::from_utf8_lossy(&output.stderr);
        let seed = outcome["next_seed"].as_u64().expect("a seed");
        assert!(errors.contains(&format!("oncelog crash {harness} --seed {seed}")), "{errors}");
        remove_what_was_kept(&errors);
    }
}

/// A failing harness keeps its directory, and says where.
fn remove_what_was_kept(errors: &str) {
    if let Some((_, kept)) = errors.split_once(" is in ") {
        let kept = kept.lines().next().unwrap_or_default();
        fs::remove_dir_all(kept).expect("the directory that the harness named");
    }
}

#[test]
fn kills_lose_nothing_that_was_acknowledged() {
    // Seeds from 4 on: the first two logs have retention, one in each window.
    let outcome = crash(&["kill", "--seconds", "3", "--seed", "4"]);
    assert!(count(&outcome, "killed while appending") > 0, "{outcome}");
    assert!(count(&outcome, "logs that retention has dropped from before the kill") > 0, "{outcome}");
}

#[test]
fn what_was_cut_off_stays_so_and_what_was_kept_is_there() {
    for harness in ["kill", "trace"] {
        let outcome = crash(&[harness, "--truncation", "on", "--count", "12", "--seed", "2"]);
        if !skipped(&outcome) {
            assert!(count(&outcome, "truncations, purges, resets and metadata that had returned") > 0, "{outcome}");
        }
    }
}

#[test]
fn flipped_bytes_are_refused_or_end_a_partition() {
    let outcome = crash(&["flip", "--count", "1500"]);
    for log in ["closed", "killed"] {
        assert!(count(&outcome, &format!("{log}: seg frames flipped: refused to the reader")) > 0, "{outcome}");
    }
}

#[test]
fn cuts_in_thought_lose_nothing_that_was_acknowledged() {
    let outcome = crash(&["trace", "--count", "40"]);
    if !skipped(&outcome) {
        assert_eq!(count(&outcome, "mapped window") + count(&outcome, "direct window"), 40, "{outcome}");
        assert!(count(&outcome, "sectors and pages lost") > 0, "{outcome}");
        assert!(count(&outcome, "names and lengths lost") > 0, "{outcome}");
    }
}

#[test]
fn a_log_that_flushes_nothing_fails_the_trace() {
    finds_missing_flushes("trace");
}

#[test]
fn a_log_that_flushes_nothing_fails_power_cuts() {
    finds_missing_flushes("power");
}

#[test]
fn real_cuts_and_full_disks_lose_nothing_or_are_skipped() {
    for harness in ["power", "full"] {
        let outcome = crash(&[harness, "--count", "2"]);
        if !skipped(&outcome) {
            assert!(count(&outcome, "records acknowledged at the last look of each cut") > 0 || harness == "full");
            assert!(count(&outcome, "records acknowledged at the last look") > 0 || harness == "power");
        }
    }
}

#[test]
fn a_run_goes_on_with_the_seed_that_the_last_one_ended_with() {
    let first = crash(&["trace", "--count", "6", "--seed", "20"]);
    assert_eq!(first["seed"], 20, "{first}");
    let next = first["next_seed"].as_u64().expect("a seed");
    assert!(next > 20 || first["skipped"].is_string(), "{first}");
    let second = crash(&["trace", "--seconds", "0.3", "--seed", &next.to_string()]);
    assert_eq!(second["seed"].as_u64(), Some(next), "{second}");
}

#[test]
fn a_pipeline_that_is_killed_maps_each_input_once() {
    let outcome = crash(&["pipeline", "--count", "24", "--seed", "2"]);
    assert_eq!(count(&outcome, "mapped window") + count(&outcome, "direct window"), 24, "{outcome}");
    assert!(count(&outcome, "inputs, each in the output once") > 0, "{outcome}");
}

#[test]
fn a_pipeline_that_commits_its_offsets_apart_fails() {
    let (output, outcome) = run(&["pipeline", "--offsets-apart", "--seconds", "40", "--seed", "2"]);
    assert!(!output.status.success(), "offsets were committed apart, and nothing was noticed: {outcome}");
    remove_what_was_kept(&String::from_utf8_lossy(&output.stderr));
}

#[test]
fn histories_of_transactions_over_kills_are_explained() {
    let outcome = crash(&["transactions", "--count", "8", "--seed", "2"]);
    assert_eq!(count(&outcome, "crashes"), 8, "{outcome}");
    assert!(count(&outcome, "answers that it is committed") > 0, "{outcome}");
}
