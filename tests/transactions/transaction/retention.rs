//! Transactions and what is dropped: by retention in their partitions, and of the ledger behind its snapshots.

use super::{committed, logs, two};
use logs::{directory, eventually, killed, open, small};
use std::fs;

/// Scenario 48.
#[test]
fn retention_may_reach_into_an_open_transaction() {
    let directory = directory();
    let options = small().retention_bytes(Some(64 << 10)).snapshot_bytes(64 << 10);
    let log = open(directory.path(), &options);
    let [left, right] = two(&log);
    let mut session = log.session("p").expect("a session");
    for commit in [false, true] {
        let mut transaction = session.begin().expect("begun");
        let _ = transaction.append_next(&left, b"the head").expect("appended");
        let _ = transaction.append_next(&right, b"beside").expect("appended");
        let first = left.end_offset();
        let mut appender = left.appender().expect("an appender");
        eventually("the head is dropped", || {
            for _ in 0..200 {
                appender.append(&[b'x'; 100]).expect("appended");
            }
            left.start_offset() > first
        });
        let stats = left.stats();
        assert_eq!(stats.stable_offset, stats.start_offset.max(stats.stable_offset));
        assert_eq!(stats.open_transactions, 1);
        assert_eq!(committed(&left), [""; 0], "it is still held back");
        let _ = transaction.append_next(&left, b"the tail").expect("appended");
        if commit {
            let _ = transaction.commit().expect("committed");
        } else {
            transaction.abort().expect("aborted");
        }
        let seen = committed(&left);
        assert_eq!(seen.last().map(String::as_str) == Some("the tail"), commit);
        assert_eq!(left.stats().stable_offset, left.end_offset());
        assert_eq!(committed(&right).len(), usize::from(commit));
        let copy = killed(directory.path());
        let again = open(copy.path(), &options);
        let again = committed(&again.partition("left").expect("it is there"));
        // More may have been dropped meanwhile; what is kept is the same.
        assert!(seen.ends_with(&again) && !again.is_empty(), "{} of {}", again.len(), seen.len());
    }
}

/// What is known of aborted transactions goes with their records.
#[test]
fn aborted_transactions_are_forgotten_with_their_records() {
    let directory = directory();
    let options = small().retention_bytes(Some(128 << 10)).snapshot_bytes(64 << 10);
    let log = open(directory.path(), &options);
    let [left, _] = two(&log);
    let mut session = log.session("p").expect("a session");
    let mut aborted = 0;
    // Retention comes up while segments are filled.
    eventually("retention has come up", || {
        for _ in 0..400 {
            let mut transaction = session.begin().expect("begun");
            let _ = transaction.append_next(&left, &[b'x'; 200]).expect("appended");
            transaction.abort().expect("aborted");
            aborted += 1;
        }
        left.stats().aborted_transactions + 1_000 < aborted
    });
    eventually("nothing more is remembered than is kept", || {
        let stats = left.stats();
        stats.aborted_transactions <= stats.end_offset - stats.start_offset + 1
    });
    assert_eq!(committed(&left).len(), 0);
}

/// The ledger is trimmed behind its snapshots, and only where every commit is marked, durably.
#[test]
fn the_ledger_is_trimmed_and_nothing_is_forgotten() {
    let directory = directory();
    let options = small();
    let log = open(directory.path(), &options);
    let [left, right] = two(&log);
    let group = log.group("readers").expect("a group");
    let mut session = log.session("p").expect("a session");
    let ledger = directory.path().join("partitions/__transactions");
    let files = || -> Vec<String> {
        let names = fs::read_dir(&ledger).expect("listed");
        let mut names: Vec<_> =
            names.map(|name| name.expect("a name").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    };
    let mut committed_count = 0_u64;
    let mut commit_some = || {
        for _ in 0..500 {
            let mut transaction = session.begin().expect("begun");
            for partition in [&left, &right] {
                let _ = transaction.append_next(partition, b"x").expect("appended");
            }
            transaction.commit_offset(&group, &left, committed_count).expect("added");
            let _ = transaction.commit().expect("committed");
            committed_count += 1;
        }
    };
    eventually("its first segments are gone", || {
        commit_some();
        !files().iter().any(|name| name.starts_with("0000000000000001."))
    });
    commit_some();
    let copy = killed(directory.path());
    let again = open(copy.path(), &options);
    for partition in two(&again) {
        assert_eq!(committed(&partition).len() as u64, committed_count);
    }
    let group = again.group_at("readers", 1);
    assert_eq!(group.committed(&two(&again)[0]), Some(committed_count - 1));
    let bytes: u64 = fs::read_dir(&ledger)
        .expect("listed")
        .map(|entry| entry.and_then(|entry| entry.metadata()).map_or(0, |file| file.len()))
        .sum();
    assert!(bytes < 32 << 20, "{bytes} B");
}

/// A reader keeps the segment it stands in, and retention forgets the aborted transactions of what it drops: the reader is
/// told that it was overtaken, and is not given what it should pass over. It was given that once.
#[test]
fn a_reader_in_a_dropped_segment_is_told_so_and_never_given_what_was_aborted() {
    let directory = directory();
    let log = open(directory.path(), &small().retention_bytes(Some(64 << 10)).snapshot_bytes(64 << 10));
    let [left, _] = two(&log);
    let mut session = log.session("p").expect("a session");
    let mut appender = left.appender().expect("an appender");
    appender.append(b"before").expect("appended");
    let mut transaction = session.begin().expect("begun");
    let _ = transaction.append_next(&left, b"aborted").expect("appended");
    transaction.abort().expect("aborted");
    let mut reader = left.read_from(0).expect("a reader");
    reader.set_isolation(oncelog::Isolation::ReadCommitted);
    assert!(reader.next().expect("read").is_some());
    eventually("its segment is dropped, and the transaction forgotten", || {
        for _ in 0..200 {
            appender.append(&[b'x'; 100]).expect("appended");
        }
        left.stats().aborted_transactions == 0
    });
    match reader.next() {
        Err(oncelog::FetchError::Trimmed { .. }) => {}
        Ok(record) => panic!("given {:?}", record.map(|record| record.payload().to_vec())),
        Err(error) => panic!("{error}"),
    };
}
