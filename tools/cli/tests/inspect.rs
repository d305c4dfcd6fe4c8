//! `oncelog inspect` from outside: what it shows of whole, damaged and busy logs, and that it changes nothing.

mod logs;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use logs::{append, closed, flip, killed, of_kind, oncelog, open, records, untouched};
use serde_json::Value;

fn text(arguments: &[&str], directory: &Path) -> String {
    let output = oncelog(&[&["inspect"], arguments].concat(), directory);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn json(arguments: &[&str], directory: &Path) -> Value {
    serde_json::from_str(&text(&[arguments, &["--json"]].concat(), directory)).expect("JSON")
}

/// Frames are told one a line.
fn frames(arguments: &[&str], directory: &Path) -> Vec<Value> {
    let arguments = [&["frames", "--partition", "orders", "--limit", "0", "--json"], arguments].concat();
    text(&arguments, directory).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("no {name} in {value:#}"))
}

/// Every view as text fits, and leaves the log as it was.
fn looked_at(directory: &Path) {
    let before = untouched(directory);
    for view in ["log", "segments", "frames", "producers"] {
        let text = text(&[view, "--limit", "300"], directory);
        // A place of damage begins with its file, whose name is as long as the directory's.
        let wide = |line: &&str| line.chars().count() > 100 && !line.contains(directory.to_str().expect("UTF-8"));
        assert_eq!(text.lines().find(wide), None);
    }
    assert!(untouched(directory) == before, "something was changed");
}

#[test]
fn every_record_has_its_frame_with_offset_time_and_producer() {
    let log = closed();
    looked_at(log.path());
    let all = frames(&[], log.path());
    let mut next = 0;
    let mut position = 0;
    let mut sequences: BTreeMap<u64, u64> = BTreeMap::new();
    let stored = records(&open(log.path()));
    for frame in &all {
        assert!(frame["damage"].is_null() && number(frame, "position") >= position, "{frame:#}");
        position = number(frame, "position") + number(frame, "bytes");
        let count = number(frame, "records");
        if count == 0 {
            continue;
        }
        assert_eq!(number(frame, "offset"), next);
        next += count;
        let (producer, payload) = &stored[&number(frame, "offset")];
        assert_eq!(frame["body_bytes"], payload.len());
        assert_eq!(frame["producer"].as_u64(), producer.map(|(id, _)| id));
        if let Some((id, sequence)) = *producer {
            assert_eq!(number(frame, "sequence"), sequence);
            assert_eq!(*sequences.entry(id).or_default(), sequence, "a producer's frames are in order");
            *sequences.entry(id).or_default() += 1;
            assert_eq!(frame["previous_position"].is_null(), sequence == 0, "{frame:#}");
        }
    }
    assert_eq!(next, stored.len() as u64);
    let kinds: Vec<_> = all.iter().filter_map(|frame| frame["frame"].as_str()).collect();
    assert!(["start", "mark", "record"].iter().all(|kind| kinds.contains(kind)));
}

#[test]
fn watermarks_segments_and_producers_are_what_the_log_itself_says() {
    let log = killed();
    looked_at(log.path());
    let told = json(&["log"], log.path());
    let orders = told["partitions"].as_array().expect("an array").iter().find(|found| found["name"] == "orders");
    let orders = orders.expect("the partition").clone();
    let segments = json(&["segments", "--partition", "orders"], log.path());
    let producers = json(&["producers", "--partition", "orders"], log.path());

    let opened = open(log.path());
    let partition = logs::orders(&opened);
    assert_eq!(number(&orders, "start_offset"), partition.start_offset());
    assert_eq!(number(&orders, "end_offset"), partition.end_offset());
    let durable = number(&orders, "durable_offset");
    assert!(durable > 0 && durable <= partition.end_offset(), "{orders:#}");
    let segments = segments[0]["segments"].as_array().expect("segments").clone();
    let counted: u64 = segments.iter().map(|segment| segment["records"].as_u64().unwrap_or(0)).sum();
    assert_eq!(counted, partition.end_offset());
    let states: Vec<_> = segments.iter().filter_map(|segment| segment["state"].as_str()).collect();
    assert!(states.contains(&"full") && states.contains(&"open"), "{states:?}");
    let stored = records(&opened);
    for info in opened.producers() {
        let found = producers.as_array().expect("an array").iter().find(|found| found["name"] == *info.name);
        let found = found.expect("listed");
        assert_eq!((number(found, "id"), number(found, "epoch")), (info.id.get(), info.epoch.into()));
        let there = &found["partitions"][0];
        assert_eq!(number(there, "last_sequence"), info.partitions[0].1);
        let (by, _) = &stored[&number(there, "last_offset")];
        assert_eq!(*by, Some((info.id.get(), info.partitions[0].1)), "its offset is that of its last record");
    }
}

#[test]
fn filters_by_offset_position_producer_and_time_choose_frames() {
    let log = closed();
    let all = frames(&[], log.path());
    let offsets = |found: &[Value]| found.iter().map(|frame| number(frame, "offset")).collect::<Vec<_>>();
    assert_eq!(offsets(&frames(&["--offset", "2000..2010"], log.path())), (2000..2010).collect::<Vec<_>>());
    assert_eq!(offsets(&frames(&["--offset", "17"], log.path())), [17]);
    let (from, to) = (number(&all[100], "position"), number(&all[200], "position"));
    assert_eq!(frames(&["--position", &format!("{from}..{to}")], log.path()), all[100..200]);
    assert_eq!(frames(&["--position", &format!("{}", from + 9)], log.path()), all[100..=100]);
    let by = |name: &str| frames(&["--producer", name], log.path());
    let id = number(&by("session")[0], "producer");
    assert!(by("session").iter().all(|frame| frame["frame"] == "fence" || number(frame, "producer") == id));
    assert_eq!(by("session"), by(&id.to_string()));
    assert_eq!(by("session"), by(&format!("{}.{}", id & u64::from(u32::MAX), id >> 32)), "as frames show it");
    assert!(by("session").len() >= 3_000);
    assert_eq!(frames(&["--since", "1h"], log.path()).len(), all.len());
    assert!(frames(&["--until", "1h"], log.path()).is_empty());
    assert_eq!(frames(&["--since", "2020-01-01T00:00:00Z", "--offset", "5.."], log.path()).len() as u64, {
        all.iter().filter(|frame| number(frame, "offset") >= 5 && number(frame, "records") > 0).count() as u64
    });
    let few = text(&["frames", "--partition", "orders", "--limit", "3"], log.path());
    assert!(few.contains("--limit 3 was reached") && few.lines().count() == 6, "{few}");
    let fenced = json(&["producers", "--producer", "by id"], log.path());
    assert_eq!(fenced.as_array().expect("an array").len(), 1);
}

#[test]
fn damage_is_shown_where_it_is_and_what_is_whole_behind_it() {
    let log = closed();
    let whole = frames(&[], log.path());
    let damaged = &of_kind(log.path(), "seg")[1];
    flip(damaged, 30_000);
    looked_at(log.path());
    let found = frames(&[], log.path());
    let at = found.iter().position(|frame| !frame["damage"].is_null()).expect("damage");
    assert_eq!(found[at]["file"].as_str(), damaged.to_str());
    assert_eq!(found[at]["offset"], whole[at]["offset"], "the place of the frame that was damaged");
    assert_eq!((&found[at]["position"], &found[at]["bytes"]), (&whole[at]["position"], &whole[at]["bytes"]));
    assert_eq!(found[at + 1..], whole[at + 1..]);
    let told = text(&["frames", "--partition", "orders", "--limit", "0"], log.path());
    assert!(told.contains("DAMAGE") && told.contains("1 damaged places"));
    fs::remove_file(damaged).expect("removed");
    let refused = text(&["log"], log.path());
    assert!(refused.contains("opening refuses"), "{refused}");
}

#[test]
fn a_log_without_its_own_file_or_a_snapshot_can_still_be_looked_at() {
    let log = closed();
    let whole = frames(&[], log.path());
    flip(&log.path().join("log"), 20);
    flip(&of_kind(log.path(), "snapshot")[0], 100);
    fs::write(&of_kind(log.path(), "seg")[1], b"cut").expect("written");
    looked_at(log.path());
    let found = frames(&[], log.path());
    assert!(!found.is_empty() && found.len() < whole.len());
    assert!(text(&["log"], log.path()).starts_with("fault:"));
    let segments = json(&["segments", "--partition", "orders"], log.path());
    assert_eq!(segments[0]["segments"][1]["state"], "unusable");
    assert!(segments[0]["snapshots"][0]["fault"].is_string(), "{segments:#}");
}

#[test]
fn a_log_that_another_process_writes_is_looked_at() {
    let directory = closed();
    let log = open(directory.path());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut next = 3_000;
            while !stop.load(Ordering::Relaxed) {
                append(&log, next..next + 50);
                next += 50;
                // All that is stored is listed: no more of it than that takes a moment.
                thread::sleep(Duration::from_millis(10));
            }
        });
        let seen: Vec<_> = (0..5)
            .map(|_| {
                ["log", "frames"].map(|view| oncelog(&["inspect", view, "--limit", "0", "--json"], directory.path()))
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        for [told, frames] in seen {
            let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
            assert_eq!(told["in_use"], true);
            let end = number(&told["partitions"][1], "end_offset");
            let lines = String::from_utf8(frames.stdout).expect("text");
            let frames = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            let orders = frames.filter(|frame| frame["partition"] == "orders");
            let records: u64 = orders.filter_map(|frame| frame["records"].as_u64()).sum();
            assert!(records >= end, "{records} records, and offset {end} came next before");
        }
    });
}

#[test]
fn what_cannot_be_is_refused_and_says_why() {
    let log = closed();
    let refused = |arguments: &[&str], directory: &Path| {
        let output = oncelog(&[&["inspect"], arguments].concat(), directory);
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let (status, why) = refused(&["frames", "--partition", "none"], log.path());
    assert!(status == Some(2) && why.contains("\"none\""), "{why}");
    let (status, why) = refused(&["producers", "--producer", "nobody"], log.path());
    assert!(status == Some(2) && why.contains("\"nobody\""), "{why}");
    let (status, why) = refused(&["segments", "--offset", "7"], log.path());
    assert!(status == Some(2) && why.contains("--offset"), "{why}");
    let (status, why) = refused(&["frames", "--offset", "9..7"], log.path());
    assert!(status == Some(2) && why.contains("9..7"), "{why}");
    let empty = tempfile::tempdir().expect("a directory");
    assert_eq!(refused(&[], empty.path()).0, Some(2));
    assert_eq!(refused(&[], &empty.path().join("none")).0, Some(1));
}
