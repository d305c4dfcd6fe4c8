//! `oncelog bench` from outside: what it writes, and what it refuses.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn oncelog(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_oncelog")).args(arguments).output().expect("the command runs")
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("json")
}

/// Every field that measuring promises for the object, by path.
fn check_fields(result: &Value, paths: &[&str]) {
    for path in paths {
        let found = path.split('.').try_fold(result, |value, key| value.get(key));
        assert!(found.is_some_and(|value| !value.is_null()), "no {path}");
    }
}

#[test]
fn a_quick_run_holds_its_figures_with_every_field() {
    let dir = tempfile::tempdir().expect("a directory");
    let json = dir.path().join("figures.json");
    let out = dir.path().join("out");
    let kept = dir.path().join("kept");
    let path = |path: &Path| path.to_str().expect("a path").to_owned();
    let output = oncelog(&[
        "bench",
        "--quick",
        "--seconds",
        "1",
        "--json",
        &path(&json),
        "--out",
        &path(&out),
        "--dir",
        &path(&kept),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let table = String::from_utf8(output.stdout).expect("text");
    assert!(table.lines().all(|line| line.len() <= 100), "{table}");

    let result = read(&json);
    assert_eq!(result, read(&out.join("run.json")));
    check_fields(&result, &["schema_version", "run.id", "run.started", "run.ended", "run.crate_version", "run.rustc"]);
    check_fields(&result, &["run.target_features", "run.profile", "run.command", "run.seed"]);
    check_fields(&result, &["host.cpu", "host.cores", "host.memory_bytes", "host.kernel", "host.clock_source"]);
    check_fields(&result, &["generator.send_delay_ns.p50", "generator.record_ns"]);
    check_fields(&result, &["host.load_before", "host.file_system", "host.mount_options", "device.name"]);

    let figures = result["figures"].as_array().expect("figures");
    for payload_bytes in [100, 1024] {
        for idempotence in ["off", "session", "by-id"] {
            let is_it = |figure: &&Value| {
                figure["payload_bytes"] == payload_bytes
                    && figure["idempotence"] == idempotence
                    && figure["loop"] == "closed"
            };
            let found: Vec<&Value> = figures.iter().filter(is_it).collect();
            let [figure] = found[..] else { panic!("{} figures of {payload_bytes} B, {idempotence}", found.len()) };
            check_closed(figure, idempotence);
        }
    }
    let open: Vec<&Value> = figures.iter().filter(|figure| figure["loop"] == "open").collect();
    assert_eq!(open.len(), 3);
    for figure in open {
        check_fields(
            figure,
            &["rate_per_second", "latency_ns.p999", "service_ns.p50", "send_delay_ns.p99", "baseline_ns.max"],
        );
        check_fields(
            figure,
            &[
                "saturated",
                "per_second",
                "appends_per_second.median",
                "verified",
                "ratio_to_baseline.median",
                "histograms",
            ],
        );
    }
    let files: Vec<String> = fs::read_dir(&out)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    // Latency second by second, and of each schedule service time, send delay and noise as a whole.
    assert_eq!(files.iter().filter(|name| name.ends_with(".hlog")).count(), 12, "{files:?}");
    assert_eq!(files.iter().filter(|name| name.ends_with(".hgrm")).count(), 12, "{files:?}");

    let keys: Vec<String> = figures.iter().map(keys).collect();
    for (number, key) in keys.iter().enumerate() {
        assert!(!keys[..number].contains(key), "two figures with the keys {key}");
    }
    check_kept(&kept);
}

fn check_closed(figure: &Value, idempotence: &str) {
    check_fields(
        figure,
        &["workload", "batch", "threads", "partitions", "duplicates", "acknowledge", "window", "repeats"],
    );
    for spread in ["ns_per_append", "ns_per_record", "appends_per_second", "bytes_per_second", "limit_ns_per_append"] {
        check_fields(&figure[spread], &["median", "min", "max"]);
    }
    check_fields(figure, &["ratio_to_limit.median", "stored_bytes_per_record", "segment_bytes", "segments_from"]);
    check_fields(figure, &["minor_faults_per_thousand", "context_switches_per_thousand", "peak_memory_bytes"]);
    assert!(figure["rotations"].as_u64().is_some_and(|rotations| rotations >= 16), "{figure}");
    assert!(figure["repeats"].as_u64().is_some_and(|repeats| repeats >= 5), "{figure}");
    assert_eq!(figure["verified"], true);
    assert_eq!(figure.get("ratio_to_off").is_some(), idempotence != "off");
    assert_eq!(figure.get("producers").is_some(), idempotence != "off");
    assert!(figure.get("latency_ns").is_none(), "a closed loop has no latency");
}

/// The keys by which measuring tells figures apart.
fn keys(figure: &Value) -> String {
    let names = [
        "workload",
        "idempotence",
        "payload_bytes",
        "batch",
        "threads",
        "producers",
        "partitions",
        "duplicates",
        "acknowledge",
        "window",
        "loop",
        "rate_per_second",
        "verify",
    ];
    names.map(|name| figure[name].to_string()).join(" ")
}

/// The kept directory is one log whose producers can be listed and closed.
fn check_kept(dir: &Path) {
    let dir = dir.to_str().expect("a path");
    let list = || -> Vec<Value> {
        let output = oncelog(&["producers", "list", dir, "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("json")
    };
    let producers = list();
    // Two sizes and one schedule, each with a session and a producer by id.
    assert_eq!(producers.len(), 6);
    for producer in &producers {
        check_fields(producer, &["id", "name", "epoch", "mode", "last_used"]);
        let partitions = producer["partitions"].as_array().expect("partitions");
        assert!(partitions.iter().any(|partition| partition["last_sequence"].as_u64() > Some(0)), "{producer}");
    }
    let id = producers[0]["id"].to_string();
    let output = oncelog(&["producers", "close", dir, "--id", &id, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(list().len(), 5);
    let output = oncelog(&["producers", "close", dir, "--idle-for", "0s"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(list().len(), 0);
}

#[test]
fn what_is_impossible_is_refused_in_one_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let empty = dir.path().join("empty.log");
    fs::write(&empty, "").expect("a file");
    let empty = empty.to_str().expect("a path");
    let full = dir.path().to_str().expect("a path");
    let refused = |arguments: &[&str], expected: &str, status: i32| {
        let output = oncelog(arguments);
        let text = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
    };
    refused(&["bench", "--batch", "0"], "batch is 0", 2);
    refused(&["bench", "--rate", "0"], "the rate is 0", 2);
    refused(&["bench", "--rate", "-1"], "", 2);
    refused(&["bench", "--threads", "0"], "threads is 0", 2);
    refused(&["bench", "--idempotence", "kafka"], "one of off, session, by-id, mutex", 2);
    refused(&["bench", "--idempotence", "off", "--duplicates", "0.5"], "needs idempotence", 2);
    refused(&["bench", "--idempotence", "by-id", "--threads", "2", "--producers", "1"], "fewer than 2 threads", 2);
    refused(&["bench", "--loop", "closed", "--rate", "5"], "a closed loop has none", 2);
    refused(&["bench", "--payload-bytes", "99999999999"], "the limit is", 2);
    refused(&["bench", "--payload-file", empty], "is empty", 2);
    refused(&["bench", "--payload-file", "/nonexistent/lines"], "/nonexistent/lines", 2);
    refused(&["bench", "--quick", "--seconds", "0"], "seconds is 0", 2);
    refused(&["bench", "--quick", "--repeats", "0"], "repeats is 0", 2);
    refused(&["bench", "--quick", "--dir", full], "is not empty", 2);
    refused(&["bench", "--quick", "--dir", "/proc/oncelog"], "/proc/oncelog", 1);
    refused(&["bench", "--quick", "--json", "/nonexistent/figures.json"], "/nonexistent/figures.json", 1);
    refused(&["producers", "list", "/nonexistent"], "/nonexistent", 2);
    refused(&["producers", "close", full], "--idle-for", 2);
}
