//! `oncelog verify` from outside: what it says of whole and of damaged logs, and that it changes nothing.

mod logs;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use logs::{append, closed, flip, found, killed, last_used, of_kind, oncelog, open, orders, untouched};
use serde_json::Value;

/// Verifies, sees that nothing was changed, and returns what was found that is no note.
fn verify(directory: &Path, status: i32) -> Vec<Value> {
    let before = untouched(directory);
    let (found, code) = found(&["verify"], directory);
    assert!(untouched(directory) == before, "something was changed");
    assert_eq!(code, Some(status), "{found:#}");
    let text = oncelog(&["verify"], directory);
    let text = String::from_utf8(text.stdout).expect("text");
    let findings = found["findings"].as_array().expect("findings").clone();
    for finding in &findings {
        let name = Path::new(finding["file"].as_str().expect("a file")).file_name().expect("a name");
        assert!(text.contains(name.to_str().expect("UTF-8")), "{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    findings.into_iter().filter(|finding| finding["verdict"] != "clean").collect()
}

/// Verifies a copy that was damaged, which is corrupt; returns the findings about that file.
fn corrupt(log: &Path, damage: impl FnOnce(&Path)) -> (tempfile::TempDir, Vec<Value>) {
    let damaged = tempfile::tempdir().expect("a directory");
    logs::copy_all(log, damaged.path());
    damage(damaged.path());
    let findings = verify(damaged.path(), 4);
    (damaged, findings)
}

fn is_about(finding: &Value, path: &Path) -> bool {
    finding["file"].as_str() == path.to_str()
}

#[test]
fn a_whole_log_is_clean() {
    for log in [closed(), killed()] {
        assert_eq!(verify(log.path(), 0), Vec::<Value>::new());
        let (found, _) = found(&["verify", "--partition", "orders"], log.path());
        let orders = &found["partitions"][1];
        assert_eq!((&orders["name"], &orders["verdict"]), (&"orders".into(), &"clean".into()));
        assert!(orders["snapshots"].as_u64() >= Some(1) && orders["records"].as_u64() >= Some(3_600), "{orders:#}");
        assert_eq!(orders["records"], orders["end_offset"]);
    }
}

#[test]
fn a_log_that_another_process_writes_is_clean() {
    let directory = closed();
    let log = open(directory.path());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut next = 3_000;
            while !stop.load(Ordering::Relaxed) {
                append(&log, next..next + 50);
                next += 50;
            }
        });
        let verified: Vec<_> = (0..10).map(|_| oncelog(&["verify", "--json"], directory.path())).collect();
        stop.store(true, Ordering::Relaxed);
        for output in verified {
            let found = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && found.contains("\"in_use\": true"), "{found}");
        }
    });
}

#[test]
fn a_torn_tail_is_told_from_corruption() {
    let log = killed();
    let last = of_kind(log.path(), "seg").pop().expect("a segment");
    flip(&last, last_used(&last));
    let findings = verify(log.path(), 3);
    assert!(findings.iter().all(|finding| finding["verdict"] == "torn-tail"), "{findings:#?}");
    assert!(findings.iter().any(|finding| is_about(finding, &last) && finding["offset"].is_u64()), "{findings:#?}");
    // A cut write: what is behind the last whole frame is gone.
    let log = killed();
    let last = of_kind(log.path(), "seg").pop().expect("a segment");
    let mut bytes = fs::read(&last).expect("readable");
    let payload = logs::payload(3_090);
    let at = bytes.windows(payload.len()).rposition(|found| found == payload).expect("the record");
    let end = (at + payload.len()).next_multiple_of(8);
    bytes[end..].fill(0);
    bytes[end + 300..end + 350].fill(7);
    fs::write(&last, bytes).expect("written");
    assert_eq!(found(&["verify"], log.path()).1, Some(0), "an end without a frame behind it is an end");
}

#[test]
fn a_flipped_byte_of_a_sealed_segment_is_found_with_its_place() {
    let log = closed();
    let (damaged, findings) = corrupt(log.path(), |log| flip(&of_kind(log, "seg")[1], 30_000));
    let path = &of_kind(damaged.path(), "seg")[1];
    let finding = findings.iter().find(|finding| is_about(finding, path)).expect("found");
    let byte = finding["byte"].as_u64().expect("a byte");
    assert!(byte <= 30_000 && byte > 29_500, "{finding:#}");
    assert!(finding["position"].as_u64() > Some(byte) && finding["offset"].as_u64() > Some(0), "{finding:#}");
    assert!(finding["what"].as_str().expect("text").contains("1 records are lost"), "{finding:#}");
}

#[test]
fn cut_and_missing_files_are_found() {
    let log = closed();
    let (damaged, findings) = corrupt(log.path(), |log| {
        let path = &of_kind(log, "seg")[1];
        let bytes = fs::read(path).expect("readable");
        fs::write(path, &bytes[..40_001]).expect("written");
    });
    let cut = &of_kind(damaged.path(), "seg")[1];
    assert!(findings.iter().any(|finding| is_about(finding, cut) && finding["offset"].is_u64()), "{findings:#?}");

    let (_damaged, findings) = corrupt(log.path(), |log| fs::remove_file(&of_kind(log, "seg")[1]).expect("removed"));
    let missing =
        findings.iter().find(|finding| finding["what"].as_str().expect("text").contains("segment 2 is missing"));
    assert!(missing.is_some_and(|finding| finding["offset"].is_u64()), "{findings:#?}");
}

#[test]
fn damaged_snapshots_and_seals_are_found() {
    let log = closed();
    let (damaged, findings) = corrupt(log.path(), |log| flip(&of_kind(log, "snapshot")[0], 100));
    assert!(is_about(&findings[0], &of_kind(damaged.path(), "snapshot")[0]), "{findings:#?}");
    // The seal of a segment that was filled is its first: slot 1.
    let (damaged, findings) = corrupt(log.path(), |log| flip(&of_kind(log, "seg")[0], 1024 + 17));
    assert!(findings.iter().any(|finding| is_about(finding, &of_kind(damaged.path(), "seg")[0])), "{findings:#?}");
    for (name, at) in [("log", 20), ("partitions/orders/partition", 33)] {
        let (damaged, findings) = corrupt(log.path(), |log| flip(&log.join(name), at));
        assert!(is_about(&findings[0], &damaged.path().join(name)), "{findings:#?}");
    }
}

#[test]
fn a_strangers_file_is_noted_and_a_directory_without_a_log_refused() {
    let log = closed();
    fs::write(log.path().join("partitions/orders/notes.txt"), "a stranger's").expect("written");
    assert!(verify(log.path(), 0).is_empty());
    let (found, _) = found(&["verify"], log.path());
    assert!(found["findings"][0]["file"].as_str().expect("a file").ends_with("notes.txt"), "{found:#}");

    let empty = tempfile::tempdir().expect("a directory");
    assert_eq!(oncelog(&["verify"], empty.path()).status.code(), Some(2));
    fs::write(empty.path().join("notes.txt"), "a stranger's").expect("written");
    assert_eq!(oncelog(&["verify"], empty.path()).status.code(), Some(2));
    assert_eq!(oncelog(&["verify"], &empty.path().join("none")).status.code(), Some(1));
    let unknown = oncelog(&["verify", "--partition", "none"], log.path());
    let text = String::from_utf8(unknown.stderr).expect("text");
    assert!(unknown.status.code() == Some(2) && text.contains("\"none\""), "{text}");
    let _ = orders(&open(log.path()));
}
