//! What a power cut leaves of names and of first blocks: a name can reach the device before the bytes behind it, and a
//! damaged seal must cost nothing that a snapshot stands for.

mod logs;

use logs::{append_many, flip, fresh_with, open, payload_of, segment_file, small, state};
use oncelog::{Answer, Options};
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

    // A file that was never written, and one that has the header of an earlier use.
    for earlier_use in [false, true] {
        let torn = logs::copy_of(directory.path());
        let behind = segment_file(torn.path(), last + 1);
        if earlier_use {
            fs::copy(segment_file(torn.path(), 1), &behind).expect("copied");
        } else {
            fs::write(&behind, vec![0; 64 << 10]).expect("written");
        }
        let log = open(torn.path(), &options());
        let partition = log.partition("orders").expect("the partition");
        assert!(state(&log, &partition) == before, "nothing is missing; earlier use: {earlier_use}");
        let mut session = log.session("writer").expect("a session");
        assert!(session.append(&partition, 1_500, b"goes on").expect("answered").is_stored());
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
