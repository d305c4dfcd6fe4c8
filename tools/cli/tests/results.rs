//! `oncelog bench --record` and `--against`, `oncelog report` and `oncelog results` from outside.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

fn oncelog(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_oncelog")).args(arguments).output().expect("the command runs")
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (text(&output.stdout), text(&output.stderr))
}

fn figures(dir: &Path) -> Vec<Value> {
    let text = fs::read(dir.join("run.json")).expect("a file");
    let value: Value = serde_json::from_slice(&text).expect("json");
    value["figures"].as_array().expect("figures").clone()
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

#[test]
fn a_recorded_run_has_its_folder_its_report_and_its_line_in_the_history() {
    let dir = tempfile::tempdir().expect("a directory");
    let record = format!("--record={}", dir.path().display());
    let run = ["bench", "--idempotence", "off,session", "--seconds", "0.05", "--repeats", "2", &record];
    let output = oncelog(&run);
    assert!(output.status.success(), "{}", said(&output).1);
    let [first] = &folders(dir.path())[..] else { panic!("one folder") };
    for name in ["run.json", "environment.txt", "report.html", "charts/cost-1.svg"] {
        assert!(first.join(name).is_file(), "no {name}");
    }
    let readme = fs::read_to_string(dir.path().join("README.md")).expect("a readme");
    let name = first.file_name().expect("a name").to_str().expect("text");
    assert!(readme.contains(name) && readme.contains("What the numbers do not say"), "{readme}");
    assert_eq!(fs::read_to_string(dir.path().join("history.ndjson")).expect("a history").lines().count(), 1);
    let command = fs::read_to_string(first.join("run.json")).expect("a run");
    assert!(command.contains("\"command\": \"oncelog bench --idempotence"), "the program is named without its place");

    // The same again, compared with the first: another folder, and a verdict on each figure.
    let output = oncelog(&[&run[..], &["--against", first.to_str().expect("a path")]].concat());
    let (table, error) = said(&output);
    assert!(output.status.success(), "{error}");
    assert!(table.contains("Against ") && table.contains("× limit"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    let both = folders(dir.path());
    assert_eq!(both.len(), 2);
    assert!(both[1].to_str().is_some_and(|name| name.ends_with("-2")), "{both:?}");

    // Both side by side, on one page of their own.
    let page = dir.path().join("page");
    let output = oncelog(&["report", dir.path().to_str().expect("a path"), "--out", page.to_str().expect("a path")]);
    assert!(output.status.success(), "{}", said(&output).1);
    let text = fs::read_to_string(page.join("report.html")).expect("a page");
    assert!(text.contains("Run B") && text.contains("From A to B"));
    let output = oncelog(&["results", dir.path().to_str().expect("a path")]);
    assert!(output.status.success() && said(&output).0.contains("README.md"));
}

#[test]
fn an_interrupted_run_is_kept_and_marked() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("out");
    let run = ["bench", "--idempotence", "off", "--payload-bytes", "100,200,300,400,500,600,700,800,900"];
    let mut process = Command::new(env!("CARGO_BIN_EXE_oncelog"))
        .args(run)
        .args(["--seconds", "0.4", "--out", out.to_str().expect("a path")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let begun = Instant::now();
    while !out.join("run.json").is_file() {
        assert!(begun.elapsed() < Duration::from_secs(60) && process.try_wait().is_ok_and(|ended| ended.is_none()));
        thread::sleep(Duration::from_millis(5));
    }
    // What a kill would leave is there after each row, whole.
    assert!(!figures(&out).is_empty());
    let interrupt = Command::new("kill").args(["-INT", &process.id().to_string()]).status();
    assert!(interrupt.is_ok_and(|status| status.success()));
    let output = process.wait_with_output().expect("it ends");
    let (table, error) = said(&output);
    assert_eq!((output.status.code(), output.status.signal()), (Some(1), None), "{error}");
    assert!(error.contains("interrupted: not all of 9 rows") && table.contains("interrupted"), "{error}{table}");
    let kept = figures(&out).len();
    assert!((1..9).contains(&kept), "{kept} figures");
    let text = fs::read_to_string(out.join("run.json")).expect("a run");
    assert!(text.contains("\"interrupted\": true"));
    let output = oncelog(&["report", out.to_str().expect("a path")]);
    assert!(output.status.success());
    assert!(fs::read_to_string(out.join("report.html")).expect("a page").contains("INTERRUPTED"));
}

/// Writes over a payload of every log that is measured in a directory, as soon as there is one.
fn spoil(dir: &Path, over: &AtomicBool) {
    let below = |dir: &Path| -> Vec<PathBuf> {
        fs::read_dir(dir).map_or_else(|_| Vec::new(), |entries| entries.flatten().map(|entry| entry.path()).collect())
    };
    while !over.load(Ordering::Relaxed) {
        let mut found = vec![dir.to_owned()];
        while let Some(path) = found.pop() {
            if path.is_dir() {
                found.extend(below(&path));
            } else if path.extension().is_some_and(|extension| extension == "seg")
                && path.to_string_lossy().contains("/log/")
                && let Ok(file) = fs::OpenOptions::new().read(true).write(true).open(&path)
            {
                // The payload takes most of the segment: this is in the middle of the first record.
                let mut there = [0; 8];
                if file.read_exact_at(&mut there, 32 << 10).is_ok() && there != [0; 8] && there != *b"spoilt!!" {
                    let _ = file.write_all_at(b"spoilt!!", 32 << 10);
                }
            }
        }
    }
}

#[test]
fn a_run_that_its_reader_did_not_verify_is_kept_and_marked() {
    let dir = tempfile::tempdir().expect("a directory");
    let (scratch, results) = (dir.path().join("scratch"), dir.path().join("results"));
    fs::create_dir(&scratch).expect("a directory");
    fs::create_dir(&results).expect("a directory");
    let over = AtomicBool::new(false);
    let output = thread::scope(|scope| {
        scope.spawn(|| spoil(&scratch, &over));
        let output = Command::new(env!("CARGO_BIN_EXE_oncelog"))
            .args(["bench", "--idempotence", "off", "--payload-bytes", "60000", "--seconds", "0.3"])
            .arg(format!("--record={}", results.display()))
            .env("TMPDIR", &scratch)
            .output();
        over.store(true, Ordering::Relaxed);
        output.expect("the command runs")
    });
    let (table, error) = said(&output);
    assert_eq!(output.status.code(), Some(1), "{table}{error}");
    assert!(error.contains("1 figures are not verified") && table.contains("NOT VERIFIED"), "{table}{error}");
    let [run] = &folders(&results)[..] else { panic!("one folder") };
    let figures = figures(run);
    assert_eq!((figures.len(), &figures[0]["verified"]), (1, &Value::from(false)));
    assert!(figures[0]["notes"].to_string().contains("not verified: "), "{figures:?}");
    assert!(fs::read_to_string(run.join("report.html")).expect("a page").contains("NOT VERIFIED"));
    assert!(fs::read_to_string(results.join("README.md")).expect("a file").contains("**1 not verified**"));
}

#[test]
fn a_run_that_was_saturated_is_kept_and_marked() {
    let dir = tempfile::tempdir().expect("a directory");
    let record = format!("--record={}", dir.path().display());
    let output = oncelog(&[
        "bench",
        "--idempotence",
        "off",
        "--rate",
        "90000000",
        "--seconds",
        "0.1",
        "--repeats",
        "2",
        &record,
    ]);
    let (table, error) = said(&output);
    assert!(output.status.success() && table.contains("(!) saturated"), "{table}{error}");
    let [run] = &folders(dir.path())[..] else { panic!("one folder") };
    let figures = figures(run);
    assert!(figures[0]["saturated"] == true && figures[0]["verified"] == true, "{figures:?}");
    assert!(fs::read_to_string(run.join("report.html")).expect("a page").contains("1 saturated"));
    assert!(fs::read_to_string(dir.path().join("README.md")).expect("a file").contains("1 saturated"));
}

#[test]
fn sweeps_readers_skews_and_mixes_are_measured_and_verified() {
    let dir = tempfile::tempdir().expect("a directory");
    let measured = |name: &str, arguments: &[&str]| -> Vec<Value> {
        let out = dir.path().join(name);
        let common = ["bench", "--seconds", "0.1", "--repeats", "2", "--out", out.to_str().expect("a path")];
        let output = oncelog(&[&common[..], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", said(&output).1);
        let figures = figures(&out);
        assert!(figures.iter().all(|figure| figure["verified"] == true), "{figures:?}");
        figures
    };
    let sweep = measured("sweep", &["--sweep", "--rate", "40000", "--idempotence", "off"]);
    let saturated = sweep.iter().filter(|figure| figure["saturated"] == true).count();
    assert!(sweep.len() >= 3 && saturated >= 1, "a sweep ends where the log no longer keeps up: {sweep:?}");
    assert!(sweep.iter().filter(|figure| figure["knee"] == true).count() <= 1);
    let rates: Vec<f64> = sweep.iter().filter_map(|figure| figure["rate_per_second"].as_f64()).collect();
    assert!(rates.is_sorted() && sweep.iter().all(|figure| figure["workload"] == "sweep"), "{rates:?}");

    let read = measured("read", &["--readers", "1,2", "--rate", "5000", "--batch", "1,4", "--idempotence", "by-id"]);
    assert_eq!(read.len(), 4);
    for figure in &read {
        let [append, reader] = ["latency_ns", "end_to_end_ns"].map(|name| figure[name]["p50"].as_u64());
        assert!(append > Some(0) && reader > append, "a reader has it before it was appended: {figure}");
    }
    let back_to_back = ["--readers", "1", "--reading", "polling,blocking", "--loop", "closed", "--idempotence", "off"];
    let followed = measured("followed", &back_to_back);
    let readings: Vec<&Value> = followed.iter().map(|figure| &figure["reading"]).collect();
    assert_eq!(readings, ["polling", "blocking"]);
    for figure in &followed {
        assert!(figure.get("latency_ns").is_none(), "a closed loop has no latency: {figure}");
        assert!(
            figure["end_to_end_ns"]["p50"].as_u64() > Some(0) && figure["ns_per_append"]["median"].as_f64() > Some(0.0)
        );
    }
    let kinds: Vec<&str> = vec!["--idempotence", "off,session,by-id,mutex", "--producers", "8", "--partitions", "4"];
    let skewed =
        measured("skew", &[&kinds[..], &["--skew", "0,1.5", "--payload-mix", "64:70,1024:29,16384:1"]].concat());
    assert_eq!(skewed.len(), 8);
    assert!(skewed.iter().all(|figure| figure["payload_mix"] == "64:70,1024:29,16384:1"));
    let some = measured("some", &["--rows", "transaction,delivery"]);
    let told: HashSet<String> =
        some.iter().map(|figure| format!("{}{}{}", figure["workload"], figure["delivery"], figure["rate"])).collect();
    assert_eq!((some.len(), told.len()), (10, 9), "two transactions, and four deliveries at two rates: {told:?}");
    let scanned = measured("scan", &["--scan", "--readers", "1,2", "--idempotence", "off"]);
    assert_eq!(scanned.iter().map(|figure| figure["threads"].as_u64()).collect::<Vec<_>>().len(), 8);
}

#[test]
fn what_makes_no_sense_is_one_clear_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("a path");
    let refused = |arguments: &[&str], expected: &str, status: i32| {
        let output = oncelog(arguments);
        let text = said(&output).1;
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
    };
    refused(&["bench", "--record=/nonexistent"], "/nonexistent is no folder", 2);
    refused(&["bench", "--against", "/nonexistent"], "/nonexistent/run.json", 1);
    refused(&["bench", "--readers", "1", "--partitions", "2"], "each thread needs a partition of its own", 2);
    refused(&["bench", "--readers", "1", "--acknowledge", "durable", "--loop", "closed"], "that wait for no device", 2);
    refused(&["bench", "--readers", "1", "--acknowledge", "durable", "--pipelined"], "that wait for no device", 2);
    refused(&["bench", "--reading", "blocking"], "--readers", 2);
    refused(&["bench", "--readers", "1", "--reading", "sleeping"], "one of polling, blocking", 2);
    refused(&["bench", "--readers", "1", "--idempotence", "by-id", "--duplicates", "0.1"], "retries take no offset", 2);
    refused(&["bench", "--readers", "1000"], "the limit is 256", 2);
    refused(&["bench", "--skew", "9"], "the skew is 9", 2);
    refused(&["bench", "--skew", "1", "--idempotence", "by-id", "--producers", "1000000"], "the limit is 65536", 2);
    refused(&["bench", "--payload-mix", "64"], "is no size with a share", 2);
    refused(&["bench", "--payload-mix", "64:1,128:99999"], "the share of 64 bytes is 1", 2);
    refused(&["bench", "--payload-mix", "999999999999:1"], "the limit is", 2);
    refused(&["bench", "--sweep", "--loop", "closed"], "a closed loop has none", 2);
    refused(&["bench", "--sweep", "--rate", "0"], "the rate is 0", 2);
    refused(&["bench", "--full", "--batch", "2"], "--full has all axes", 2);
    refused(&["bench", "--rows", "kafka,redis"], "no row has kafka or redis in its name", 2);
    refused(&["bench", "--rows", "append", "--batch", "2"], "leave out the axes", 2);
    refused(&["report", path], "holds no run", 2);
    refused(&["report", "/nonexistent"], "/nonexistent", 1);
    fs::write(dir.path().join("run.json"), r#"{"schema_version": 99}"#).expect("a file");
    refused(&["report", path], "has schema version 99 where 1 is read", 2);
    fs::write(dir.path().join("run.json"), "{").expect("a file");
    refused(&["report", path], "is no result of a run", 1);
    refused(&["results", "/nonexistent"], "/nonexistent is no folder", 2);
}

/// What one crate writes, the other reads.
#[test]
fn both_crates_mean_the_same_version() {
    assert_eq!(oncelog_load::SCHEMA_VERSION, oncelog_report::SCHEMA_VERSION);
}
