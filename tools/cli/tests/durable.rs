//! `oncelog bench` of what is waited for until it is on the device, from outside: small runs, whole results.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

fn oncelog(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_oncelog")).args(arguments).output().expect("the command runs")
}

/// The figures of a run, whose table fits a terminal.
fn figures(arguments: &[&str]) -> Vec<Value> {
    let dir = tempfile::tempdir().expect("a directory");
    let json = dir.path().join("figures.json");
    let mut all = vec!["bench", "--json", json.to_str().expect("a path")];
    all.extend(arguments);
    let output = oncelog(&all);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).expect("text");
    assert!(table.lines().all(|line| line.len() <= 100), "{table}");
    let result: Value = serde_json::from_slice(&fs::read(&json).expect("a file")).expect("json");
    let figures = result["figures"].as_array().expect("figures").clone();
    assert!(figures.iter().all(|figure| figure["verified"] == true), "{figures:?}");
    figures
}

fn has(figure: &Value, paths: &[&str]) {
    for path in paths {
        let found = path.split('.').try_fold(figure, |value, key| value.get(key));
        assert!(found.is_some_and(|value| !value.is_null()), "no {path} in {figure}");
    }
}

#[test]
fn a_quick_durable_run_holds_one_thread_and_sixteen_beside_their_floor() {
    let figures = figures(&["--quick", "--acknowledge", "durable", "--seconds", "0.1", "--repeats", "1"]);
    for payload_bytes in [100, 1024] {
        for idempotence in ["off", "session", "by-id"] {
            for threads in [1, 16] {
                let is_it = |figure: &&Value| {
                    figure["payload_bytes"] == payload_bytes
                        && figure["idempotence"] == idempotence
                        && figure["threads"] == threads
                };
                let found: Vec<&Value> = figures.iter().filter(is_it).collect();
                let [figure] = found[..] else { panic!("{} of {payload_bytes} B, {idempotence}", found.len()) };
                assert_eq!((&figure["window"], &figure["acknowledge"]), (&"direct".into(), &"durable".into()));
                has(figure, &["latency_ns.p50", "latency_ns.p99", "floor_ns.p50", "floor_ns.p99"]);
                has(figure, &["ratio_to_floor.median", "appends_per_second.median", "bytes_per_second.median"]);
                has(figure, &["syncs", "bytes_written", "appends_per_sync", "segment_bytes"]);
                assert_eq!(figure.get("ratio_to_off").is_some(), idempotence != "off");
                assert_eq!(figure.get("ratio_to_one_thread").is_some(), threads == 16);
            }
        }
    }
    assert_eq!(figures.len(), 12);
}

#[test]
fn an_open_loop_in_the_direct_window_tells_noise_with_and_without_io() {
    let common = ["--payload-bytes", "100", "--idempotence", "session", "--seconds", "0.3", "--repeats", "1"];
    let run = |own: &[&str]| figures(&[&common, own].concat());
    let written = run(&["--window", "direct", "--rate", "5000"]);
    has(&written[0], &["latency_ns.p50", "baseline_ns.p50", "baseline_io_ns.p50", "at_rest_ns.p50", "syncs"]);
    let durable = run(&["--acknowledge", "durable", "--rate", "200"]);
    has(&durable[0], &["latency_ns.p50", "baseline_ns.p50", "baseline_io_ns.p50", "floor_ns.p50", "saturated"]);
}

#[test]
fn a_pipeline_is_told_beside_the_devices_stream() {
    let common = ["--pipelined", "--payload-bytes", "1024", "--idempotence", "off,session", "--repeats", "1"];
    let figures = figures(&[&common[..], &["--seconds", "0.1"]].concat());
    assert_eq!(figures.len(), 2);
    for figure in &figures {
        assert_eq!(figure["workload"], "pipelined");
        has(figure, &["bytes_per_second.median", "device_bytes_per_second.median", "ratio_to_device.median", "syncs"]);
    }
}

#[test]
fn a_sustained_run_recycles_in_both_windows_and_is_read_back() {
    for more in [&[][..], &["--no-recycle"]] {
        let sizes = ["--bytes", "24MiB", "--retention-bytes", "4MiB", "--segment-bytes", "1048576"];
        let figures = figures(&[&sizes, more].concat());
        let windows: Vec<&Value> = figures.iter().map(|figure| &figure["window"]).collect();
        assert_eq!(windows, ["direct", "mapped"]);
        for figure in &figures {
            assert_eq!(figure["workload"], "sustained");
            has(figure, &["bytes", "seconds", "bytes_per_second.median", "ratio_to_device.median", "per_second"]);
            assert_eq!(figure["segments_from"], if more.is_empty() { "recycled" } else { "on-demand" });
            assert!(figure["rotations"].as_u64() >= Some(24), "{figure}");
        }
    }
}

#[test]
fn a_log_whose_process_was_killed_is_opened_cold_and_read_whole() {
    let figures = figures(&["--reopen-bytes", "70MiB", "--window", "direct,mapped"]);
    assert_eq!(figures.len(), 2);
    for figure in &figures {
        assert_eq!(figure["workload"], "recover");
        has(figure, &["bytes", "log_bytes", "segments", "seconds", "device_read_bytes_per_second.median", "notes"]);
        assert!(figure["segments"].as_u64() >= Some(2), "{figure}");
    }
}

#[test]
fn runs_of_their_own_kind_refuse_what_does_not_belong_to_them() {
    let refused = |arguments: &[&str], expected: &str| {
        let output = oncelog(&[&["bench"], arguments].concat());
        let text = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
    };
    refused(&["--bytes", "0"], "at least 1 is needed");
    refused(&["--bytes", "20 parsecs"], "no number of bytes");
    refused(&["--bytes", "1GiB", "--threads", "2"], "leave out --threads");
    refused(&["--bytes", "1GiB", "--retention-bytes", "1KiB"], "at least two segments");
    refused(&["--bytes", "1GiB", "--reopen-bytes", "1GiB"], "cannot be used with");
    refused(&["--reopen-bytes", "1GiB", "--quick"], "leave out --quick");
    refused(&["--no-recycle"], "--bytes");
    refused(&["--pipelined", "--rate", "5"], "cannot be used with");
    refused(&["--pipelined", "--acknowledge", "written"], "not written");
}
