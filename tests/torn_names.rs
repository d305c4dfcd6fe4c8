//! What a power cut leaves of names and of first blocks: a name can reach the device before the bytes behind it, and a
//! damaged seal must cost nothing that a snapshot stands for.

mod logs;

use logs::{append_many, flip, fresh_with, open, payload_of, segment_file, small, state};
use oncelog::{Answer, Options, ReadOnlyLog};
use std::fs;

fn options() -> Options {
    small().snapshot_bytes(logs::SMALL)
}

/// A cut fell between a rename reaching the device and the header behind it: the log once refused to open, with all that
/// had been durable in it.
#[test]
fn a_name_that_came_before_its_header_is_an_open_frame() {
    let (directory, log, partition) = fresh_with(&options());
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..1_500);
    let before = state(&log, &partition);
    drop(partition);
    log.close().expect("closed");
    let last = (1..).find(|number| !segment_file(directory.path(), number + 1).exists()).expect("a last segment");

    // A file that was never written, one that has the header of an earlier use, and one that has not even its length.
    for left in ["zeros", "earlier use", "nothing"] {
        let torn = logs::copy_of(directory.path());
        let behind = segment_file(torn.path(), last + 1);
        match left {
            "earlier use" => fs::copy(segment_file(torn.path(), 1), &behind).map(|_| ()).expect("copied"),
            "zeros" => fs::write(&behind, vec![0; 64 << 10]).expect("written"),
            _ => fs::write(&behind, []).expect("written"),
        }
        let log = open(torn.path(), &options());
        let partition = log.partition("orders").expect("the partition");
        assert!(state(&log, &partition) == before, "nothing is missing; left: {left}");
        let mut session = log.session("writer").expect("a session");
        assert!(session.append(&partition, 1_500, b"goes on").expect("answered").is_stored());
    }
}

/// Segments that were cut off before they were ever flushed, whose names had reached the device and whose headers had not: a
/// power cut behind the cut and before their files were removed once left a log that refused to open.
#[test]
fn names_that_were_cut_off_before_their_headers_came_are_not_missed() {
    let (directory, log, partition) = fresh_with(&options());
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..4_000);
    partition.truncate(100).expect("cut");
    append_many(&mut log.session("writer").expect("a session"), &partition, 100..110);
    let before = state(&log, &partition);
    drop(partition);
    log.close().expect("closed");
    let is_there = |number: &u64| segment_file(directory.path(), *number).exists();
    let behind = (2..).find(is_there).expect("the segment behind the cut");
    assert!(is_there(&1) && behind > 3, "segments were cut off: {behind}");

    for suffix in ["seg", "ready"] {
        let torn = logs::copy_of(directory.path());
        for number in 2..behind {
            // Some without their length, too.
            let left = vec![0; if number % 2 == 0 { 64 << 10 } else { 0 }];
            fs::write(segment_file(torn.path(), number).with_extension(suffix), left).expect("written");
        }
        let looked_at = ReadOnlyLog::open(torn.path()).expect("looked at");
        let seen = looked_at.partition("orders").expect("the partition");
        assert!(seen.recovery().refused.is_none(), "{suffix}: {:?}", seen.recovery().refused);
        let log = open(torn.path(), &options());
        let partition = log.partition("orders").expect("the partition");
        assert!(state(&log, &partition) == before, "nothing is missing, and nothing is back: {suffix}");
        assert!((2..behind).all(|number| !segment_file(torn.path(), number).with_extension(suffix).exists()));
    }
}

/// A segment without a valid seal, far below the newest snapshot, was once replayed over what the snapshot says: producers
/// went back to where they had been there, and their retries were stored again.
#[test]
fn a_damaged_seal_below_a_snapshot_takes_nobody_back() {
    let (directory, log, partition) = fresh_with(&options());
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..2_000);
    let before = state(&log, &partition);
    drop(partition);
    log.close().expect("closed");
    for number in [1, 2] {
        // The one seal that a segment has after a first life lies in the second slot.
        flip(&segment_file(directory.path(), number), 1024 + 9);
    }
    let log = open(directory.path(), &options());
    let partition = log.partition("orders").expect("the partition");
    assert!(state(&log, &partition).records == before.records, "every record is there");
    let mut session = log.session("writer").expect("a session");
    assert_eq!(session.last(&partition).expect("found").map(|last| last.sequence), Some(1_999));
    let again = session.append(&partition, 1_999, &payload_of(1_999)).expect("answered");
    assert!(matches!(again, Answer::Duplicate { .. }), "{again:?}");
}

/// Segments that were begun and not yet renamed stand under the names of those that are ready. After a power cut that left
/// the later of two its header and the earlier not, the log once refused to open.
#[test]
fn a_ready_segment_that_lost_its_header_ends_the_partition() {
    let (directory, log, partition) = fresh_with(&small());
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..3_600);
    let before = state(&log, &partition);
    let killed = logs::killed(directory.path());
    let last = (1..).find(|number| !segment_file(killed.path(), number + 1).exists()).expect("a last segment");
    assert!(last > 3, "some segments");
    for number in [last - 1, last] {
        let used = segment_file(killed.path(), number);
        let ready = used.with_extension("ready");
        fs::rename(&used, &ready).expect("renamed");
        if number < last {
            let mut bytes = fs::read(&ready).expect("read");
            bytes[..4096].fill(0);
            fs::write(&ready, bytes).expect("written");
        }
    }
    let log = open(killed.path(), &small());
    let partition = log.partition("orders").expect("the partition");
    let after = state(&log, &partition);
    assert!(!after.records.is_empty() && before.records.starts_with(&after.records), "a beginning of what there was");
    let mut session = log.session("writer").expect("a session");
    let next = session.last(&partition).expect("found").map_or(0, |last| last.sequence + 1);
    assert_eq!(next, after.records.len() as u64, "the table is what a replay gives");
    assert!(session.append(&partition, next, &payload_of(next)).expect("answered").is_stored());
}

/// A segment's seal can reach the device before its new name does. Such a segment was once removed as one that was never
/// begun.
#[test]
fn a_sealed_segment_under_its_old_name_is_kept() {
    let (directory, log, partition) = fresh_with(&options());
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..1_500);
    let before = state(&log, &partition);
    drop(partition);
    log.close().expect("closed");
    let last = (1..).find(|number| !segment_file(directory.path(), number + 1).exists()).expect("a last segment");
    let used = segment_file(directory.path(), last);
    fs::rename(&used, used.with_extension("ready")).expect("renamed");
    let log = open(directory.path(), &options());
    let partition = log.partition("orders").expect("the partition");
    assert!(state(&log, &partition) == before, "nothing is missing");
}

/// Without its last segment a log once opened as a shorter one, though its snapshot told of the end.
#[test]
fn a_last_segment_that_is_gone_is_missed() {
    let (directory, log, partition) = fresh_with(&options());
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..1_500);
    drop(partition);
    log.close().expect("closed");
    let last = (1..).find(|number| !segment_file(directory.path(), number + 1).exists()).expect("a last segment");
    fs::remove_file(segment_file(directory.path(), last)).expect("removed");
    let Err(refused) = logs::try_open(directory.path(), &options()) else { panic!("it opened") };
    assert!(matches!(refused, oncelog::OpenError::Corrupt { .. }), "{refused}");
    assert!(refused.to_string().contains("was durable"), "{refused}");
}

/// Says in the seal of a segment that all up to a position was durable.
fn set_durable(segment: &std::path::Path, position: u64) {
    const SEAL: usize = 1024;
    const CHECKED: usize = 56;
    let mut bytes = fs::read(segment).expect("read");
    let word =
        |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[SEAL + at..SEAL + at + 8].try_into().expect("8 bytes"));
    let hash = |bytes: &[u8]| xxhash_rust::xxh3::xxh3_64(&bytes[SEAL..SEAL + CHECKED]);
    let salt = word(&bytes, CHECKED) ^ hash(&bytes);
    bytes[SEAL + CHECKED - 8..SEAL + CHECKED].copy_from_slice(&position.to_le_bytes());
    let checksum = hash(&bytes) ^ salt;
    bytes[SEAL + CHECKED..SEAL + CHECKED + 8].copy_from_slice(&checksum.to_le_bytes());
    fs::write(segment, bytes).expect("written");
}

/// When a segment is full, the next one is durable up to its first frame, since nothing is before it. A cut that left the
/// full one alone was once taken for damage: the mark of the place behind it was compared with the full one's end.
#[test]
fn the_place_of_a_first_frame_is_durable_before_there_is_one() {
    let (directory, log, partition) = fresh_with(&options());
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..1_500);
    drop(partition);
    log.close().expect("closed");
    let first = segment_file(directory.path(), 1);
    for entry in fs::read_dir(first.parent().expect("a directory")).expect("listed") {
        let path = entry.expect("listed").path();
        if path != first && path.file_name().is_some_and(|name| name != "partition") {
            fs::remove_file(path).expect("removed");
        }
    }
    for (behind_the_header, opens) in [(0, true), (8, false)] {
        let cut = logs::copy_of(directory.path());
        set_durable(&segment_file(cut.path(), 1), logs::SMALL + 4096 + behind_the_header);
        let opened = logs::try_open(cut.path(), &options());
        assert_eq!(opened.is_ok(), opens, "{behind_the_header} B behind: {:?}", opened.err());
    }
}

/// A closed log whose first segment was cut to nothing once opened without it, as if retention had dropped it.
#[test]
fn a_first_segment_without_a_length_is_missed() {
    let (directory, log, partition) = fresh_with(&options());
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..1_500);
    drop(partition);
    log.close().expect("closed");
    fs::write(segment_file(directory.path(), 1), []).expect("cut");
    let Err(refused) = logs::try_open(directory.path(), &options()) else { panic!("it opened") };
    assert!(refused.to_string().contains("0000000000000001.seg"), "{refused}");
}

/// The very first segment of a new log lost its header in a power cut, and the second one kept its own. Nothing had been
/// durable, and the log once refused to open.
#[test]
fn a_first_segment_that_lost_its_header_is_the_end_of_a_new_log() {
    let (directory, log, partition) = fresh_with(&small());
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..1_500);
    let killed = logs::killed(directory.path());
    let first = segment_file(killed.path(), 1);
    let mut bytes = fs::read(&first).expect("read");
    bytes[..4096].fill(0);
    fs::write(&first, bytes).expect("written");
    let log = open(killed.path(), &small());
    let partition = log.partition("orders").expect("the partition");
    assert!(state(&log, &partition).records.is_empty(), "nothing is before the end");
    let mut session = log.session("writer").expect("a session");
    assert!(session.append(&partition, 0, &payload_of(0)).expect("answered").is_stored());
}
