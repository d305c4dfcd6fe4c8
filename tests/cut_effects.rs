//! What a cut means to everyone else: retention, readers, those who append meanwhile, groups, and what a snapshot stood for.

mod logs;

use logs::*;
use oncelog::{
    Answer, FetchError, Isolation, Numbering, Options, Partition, ReadOnlyLog, Stamp, TruncateError, Window,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

const LONG: Duration = Duration::from_secs(30);

fn both() -> [Options; 2] {
    [small(), small().window(Window::Direct)]
}

fn append(partition: &Partition, payloads: std::ops::Range<u64>) {
    let mut appender = partition.appender().expect("an appender");
    for number in payloads {
        appender.append(&payload_of(number)).expect("appended");
    }
}

/// Upkeep looks back from the end to the first segment that is sealed. Where the segment that was cut got its seal before
/// fuller ones before it, those were never sealed, dropped or snapshotted again.
#[test]
fn segments_before_the_cut_are_sealed_and_dropped_like_any() {
    for options in both() {
        let options = options.retention_bytes(Some(0)).snapshot_bytes(SMALL).segments_ahead(8);
        let (_directory, _log, partition) = fresh_with(&options);
        partition.prepare(8).expect("prepared");
        append(&partition, 0..3_000);
        partition.truncate(2_900).expect("truncated");
        append(&partition, 2_900..6_000);
        eventually("whole segments are dropped", || {
            append(&partition, 0..10);
            partition.start_offset() > 2_950
        });
    }
}

/// A reader of committed records asks for its limit once, and reads up to it. Behind a cut there are other records below
/// it, and they were read while their transaction was open.
#[test]
fn a_limit_from_before_the_cut_shows_nothing_of_an_open_transaction_behind_it() {
    for options in both() {
        let (_directory, log, partition) = fresh_with(&options);
        append(&partition, 0..2_000);
        for at in [100, 990] {
            let mut reader = partition.read_from(at).expect("a reader");
            reader.set_isolation(Isolation::ReadCommitted);
            reader.next().expect("read").expect("a record");
            partition.truncate(1_000).expect("truncated");
            let mut session = log.session("writer").expect("a session");
            let mut transaction = session.begin().expect("begun");
            for number in 0..500 {
                assert!(transaction.append_next(&partition, &payload_of(number)).expect("answered").is_stored());
            }
            assert_eq!(rest(&mut reader).expect("read").len() as u64, 1_000 - at - 1);
            transaction.abort().expect("aborted");
            drop(session);
            append(&partition, partition.end_offset()..2_000);
        }
    }
}

/// After a reopening nobody knows where the frames are that a snapshot stands for: a cut that took the snapshot away took
/// the metadata and the start of the log along.
#[test]
fn what_a_snapshot_stood_for_is_said_again_by_a_cut_that_takes_it_away() {
    for options in both() {
        let (directory, log, partition) = fresh_with(&options);
        append(&partition, 0..1_000);
        partition.set_metadata(b"vote").expect("set");
        partition.purge(500).expect("purged");
        append(&partition, 1_000..1_010);
        drop(partition);
        let (log, partition) = reopened(directory.path(), log, &options);
        partition.truncate(600).expect("truncated");
        append(&partition, 600..610);
        partition.flush().expect("flushed");
        let copy = killed(directory.path());
        let left = open(copy.path(), &options);
        let left = left.partition("orders").expect("there");
        assert_eq!((left.start_offset(), left.metadata().as_deref()), (500, Some(b"vote".as_slice())));
        drop((left, partition));
        let (_log, partition) = reopened(directory.path(), log, &options);
        assert_eq!((partition.start_offset(), partition.metadata().as_deref()), (500, Some(b"vote".as_slice())));
    }
}

/// Each try found that somebody had appended since the last flush, or filled the segment that it was to hold.
#[test]
fn a_purge_beyond_the_end_comes_to_an_end_however_many_append() {
    for options in both() {
        let (_directory, _log, partition) = fresh_with(&options);
        append(&partition, 0..10);
        let stop = Arc::new(AtomicBool::new(false));
        let appenders: Vec<_> = (0..2)
            .map(|_| {
                let (partition, stop) = (partition.clone(), Arc::clone(&stop));
                thread::spawn(move || {
                    let mut appender = partition.appender().expect("an appender");
                    while !stop.load(Ordering::Relaxed) {
                        appender.append(b"x").expect("appended");
                    }
                })
            })
            .collect();
        partition.purge(1 << 40).expect("purged");
        stop.store(true, Ordering::Relaxed);
        appenders.into_iter().for_each(|appender| appender.join().expect("no panic"));
        assert_eq!(partition.start_offset(), 1 << 40);
        assert_eq!(all(&partition).len() as u64, partition.end_offset() - (1 << 40));
    }
}

/// What reads while segments are cut off and removed, purged, unmapped and put to rest is told so, and never finds a file
/// missing.
#[test]
fn no_reader_misses_a_file_that_a_cut_has_removed() {
    for options in both() {
        let options =
            options.mapped_segments_max(1).idle_after(Some(Duration::from_millis(10))).awake_partitions_max(1);
        let (_directory, log, partition) = fresh_with(&options);
        let stop = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (partition, stop) = (partition.clone(), Arc::clone(&stop));
                thread::spawn(move || {
                    let mut back = 0;
                    while !stop.load(Ordering::Relaxed) {
                        back += 617;
                        let from = partition.end_offset().saturating_sub(back % 3_000);
                        let mut reader = match partition.read_from(from) {
                            Ok(reader) => reader,
                            Err(FetchError::OutOfRange { .. }) => continue,
                            Err(error) => panic!("{error}"),
                        };
                        match rest(&mut reader) {
                            Ok(_) | Err(FetchError::Truncated { .. } | FetchError::Trimmed { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                        match partition.read_from_time(1) {
                            Ok(_) | Err(FetchError::Truncated { .. } | FetchError::Trimmed { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        for round in 0..25 {
            let mut session = log.session("writer").expect("a session");
            let next = session.last(&partition).expect("known").map_or(0, |last| last.sequence + 1);
            append_many(&mut session, &partition, next..next + 2_000);
            if round % 4 == 1 {
                // Long enough to go to rest, now and then.
                thread::sleep(Duration::from_millis(15));
            }
            let end = partition.end_offset();
            if round % 7 == 6 {
                partition.purge(end.saturating_sub(3_000)).expect("purged");
            }
            let start = partition.start_offset();
            partition.truncate(start + (end - start) * (round % 5) / 5).expect("truncated");
        }
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().expect("no panic"));
        assert_eq!(all(&partition).len() as u64, partition.end_offset() - partition.start_offset());
    }
}

/// A commit that names no records, only how far a group has come, has no markers to wait for, and was forgotten at the
/// next round of anybody's: who waited for it was told too early.
#[test]
fn a_commit_is_durable_with_what_it_was_made_of() {
    let (_directory, log, partition) = fresh();
    append(&partition, 0..10);
    let group = log.group("group").expect("a group");
    let mut session = log.session("consumer").expect("a session");
    let mut transaction = session.begin().expect("begun");
    transaction.commit_offset(&group, &partition, 10).expect("added");
    let commit = transaction.commit().expect("committed");
    let other = log.partition("other").expect("a partition");
    append(&other, 0..1);
    other.flush().expect("flushed");
    assert!(commit.wait_durable(LONG).expect("durable"));
    assert_eq!(partition.durable_offset(), 10);
}

/// A group's offset in a commit that lies beyond the end is that of lost records, and undoes the commit, unless what was
/// there was cut off. That it was must be known also when retention has dropped the segment that says so.
#[test]
fn a_cut_that_retention_has_dropped_undoes_no_commit() {
    for options in both() {
        let options = options.retention_bytes(Some(0)).snapshot_bytes(SMALL);
        let (directory, log, partition) = fresh_with(&options);
        append(&partition, 0..3_000);
        let (group, later) = (log.group("group").expect("a group"), log.group("later").expect("a group"));
        let other = log.partition("other").expect("a partition");
        let mut session = log.session("consumer").expect("a session");
        let mut transaction = session.begin().expect("begun");
        let answer = transaction.append_next(&other, b"made of it").expect("answered");
        assert!(matches!(answer, Answer::Appended { .. }));
        transaction.commit_offset(&group, &partition, 3_000).expect("added");
        let commit = transaction.commit().expect("committed");
        assert!(commit.wait_durable(LONG).expect("durable"));
        assert!(later.commit(&other, 1).expect("committed").wait_durable(LONG).expect("durable"));
        partition.reset(100).expect("reset");
        append(&partition, 100..1_800);
        eventually("the segment behind the cut is dropped", || {
            if partition.end_offset() < 2_900 {
                append(&partition, 0..1);
            }
            partition.start_offset() > 100
        });
        partition.flush().expect("flushed");
        assert!(partition.end_offset() < 3_000);
        let copy = killed(directory.path());
        let seen = ReadOnlyLog::open(copy.path()).expect("looked at");
        assert_eq!(seen.partition("other").expect("there").stable_offset(), 1);
        let left = open(copy.path(), &options);
        let other = left.partition("other").expect("there");
        let partition = left.partition("orders").expect("there");
        assert_eq!(left.group("later").expect("a group").committed(&other), Some(1));
        assert_eq!(left.group("group").expect("a group").committed(&partition), Some(100));
    }
}

/// A numbering that has started again beyond the cut has done so for good: its producer's later records would be taken for
/// what the old numbers stood for.
#[test]
fn a_numbering_that_started_again_beyond_the_cut_has_done_so_also_after_a_crash() {
    for options in both() {
        let (directory, log, partition) = fresh_with(&options);
        let registered = log.register("by id").expect("registered");
        let mut appender = partition.appender().expect("an appender");
        let mut send = |epoch, sequence| {
            let stamp = Stamp { producer: registered.id, epoch, sequence };
            appender.append_by_id(stamp, &payload_of(sequence)).expect("answered")
        };
        for sequence in 0..10 {
            assert!(send(registered.epoch, sequence).is_stored());
        }
        append(&partition, 0..10);
        let again = log.register_with("by id", Numbering::Restart).expect("registered");
        assert_eq!(send(again.epoch, 0), Answer::Appended { first: 20, last: 20 });
        assert_eq!(partition.truncate(15).expect("truncated").fenced, [registered.id]);
        partition.flush().expect("flushed");
        assert_eq!(partition.next_sequence(registered.id), 0);
        let copy = killed(directory.path());
        let left = open(copy.path(), &options).partition("orders").expect("there");
        assert_eq!(left.next_sequence(registered.id), 0);
    }
}

/// Retention had dropped segments for which the older of two snapshots stood, further on. A cut below both took them away, and
/// with them all that was known of the producers whose records had been dropped: the log did not open again.
#[test]
fn a_cut_below_all_snapshots_leaves_what_stands_for_what_was_dropped() {
    for options in both() {
        let (directory, log, partition) =
            fresh_with(&options.retention_bytes(Some(4 * SMALL)).snapshot_bytes(3 * SMALL));
        append_many(&mut log.session("early").expect("a session"), &partition, 0..10);
        let mut session = log.session("late").expect("a session");
        let mut next = 0;
        eventually("segments are dropped", || {
            append_many(&mut session, &partition, next..next + 500);
            next += 500;
            partition.start_offset() > 5_000
        });
        partition.flush().expect("flushed");
        // Retention may be faster.
        let start = loop {
            let start = partition.start_offset();
            match partition.truncate(start + 1) {
                Err(TruncateError::OutOfRange { .. }) => {}
                made => break made.map(|_| start).expect("truncated"),
            }
        };
        let copy = killed(directory.path());
        for _ in 0..2 {
            let again = open(copy.path(), &small());
            let orders = again.partition("orders").expect("the partition");
            assert_eq!((orders.start_offset(), orders.end_offset()), (start, start + 1));
            let mut early = again.session("early").expect("a session");
            assert_eq!(early.append(&orders, 9, &payload_of(9)).expect("answered"), Answer::DuplicateTrimmed);
        }
    }
}
