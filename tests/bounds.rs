//! Where a log starts by its embedder's will, what he keeps beside it, and appends and reads within bounds.

mod logs;

use logs::*;
use oncelog::{Answer, AppendError, AtOffset, FetchError, Options, Partition, ReadOnlyLog, TruncateError, Window};
use std::{collections::BTreeSet, path::Path, thread};

fn both() -> [Options; 2] {
    [small(), small().window(Window::Direct)].map(|options| options.snapshot_bytes(SMALL))
}

fn append(partition: &Partition, payloads: std::ops::Range<u64>) {
    let mut appender = partition.appender().expect("an appender");
    for number in payloads {
        appender.append(&payload_of(number)).expect("appended");
    }
}

fn bounds(partition: &Partition) -> (u64, u64) {
    (partition.start_offset(), partition.end_offset())
}

/// Bounds and number of records after a kill: as opened, and as looked at.
fn after_a_kill(log: &Path, options: &Options) -> (u64, u64, usize) {
    let copy = killed(log);
    let seen = ReadOnlyLog::open(copy.path()).expect("looked at");
    let seen = seen.partition("orders").expect("the partition");
    let seen = (seen.start_offset(), seen.end_offset());
    let state = state_in(copy.path(), options);
    assert_eq!(seen, (state.start, state.end));
    (state.start, state.end, state.records.len())
}

#[test]
fn a_purge_is_exact_and_durable_and_gives_the_space_back() {
    for options in both() {
        let (directory, log, partition) = fresh_with(&options);
        let mut session = log.session("p").expect("a session");
        append_many(&mut session, &partition, 0..3_000);
        partition.flush().expect("flushed");
        let segments = partition.stats().segments;
        for start in [1, 700, 2_999, 700, 3_000] {
            partition.purge(start).expect("purged");
            let start = start.max(partition.start_offset());
            assert_eq!(bounds(&partition), (start, 3_000));
            assert_eq!(after_a_kill(directory.path(), &options), (start, 3_000, 3_000 - start as usize));
            assert!(matches!(partition.read_from(start - 1), Err(FetchError::OutOfRange { .. })));
        }
        eventually("whole segments are dropped", || partition.stats().segments < segments.min(4));
        // Producers outlive their records.
        assert_eq!(session.append(&partition, 10, &payload_of(10)).expect("answered"), Answer::DuplicateTrimmed);
        assert_eq!(session.append(&partition, 2_999, &payload_of(2_999)).expect("answered"), Answer::DuplicateTrimmed);
        append_many(&mut session, &partition, 3_000..3_010);
        drop((session, partition));
        let log = {
            log.close().expect("closed");
            open(directory.path(), &options)
        };
        let partition = log.partition("orders").expect("the partition");
        assert_eq!((bounds(&partition), all(&partition).len()), ((3_000, 3_010), 10));
    }
}

/// The space of what is purged comes back by itself, although nothing comes behind it: but for the last segment before the one
/// in use. One older snapshot used to stand for the first segment only, and the others waited for the next ones to be sealed.
#[test]
fn a_purge_of_a_burst_gives_its_space_back_without_another_append() {
    for options in [small(), small().window(Window::Direct)] {
        let (directory, log, partition) = fresh_with(&options);
        append_many(&mut log.session("p").expect("a session"), &partition, 0..10_000);
        assert!(partition.stats().segments > 6, "{:?}", partition.stats());
        partition.flush().expect("flushed");
        partition.purge(10_000).expect("purged");
        eventually("all but the last that is sealed is dropped", || partition.stats().segments <= 2);
        assert_eq!(after_a_kill(directory.path(), &options), (10_000, 10_000, 0));
    }
}

#[test]
fn a_purge_beyond_the_end_leaves_an_empty_log_that_goes_on_there() {
    for options in both() {
        let (directory, log, partition) = fresh_with(&options);
        let mut session = log.session("p").expect("a session");
        append_many(&mut session, &partition, 0..1_000);
        let mut reader = partition.read_from(500).expect("a reader");
        partition.purge(5_000).expect("purged");
        assert_eq!(bounds(&partition), (5_000, 5_000));
        assert_eq!(after_a_kill(directory.path(), &options), (5_000, 5_000, 0));
        assert!(matches!(reader.next(), Err(FetchError::Trimmed { offset: 500, start: 5_000 })));
        // Nobody is fenced, and nothing is forgotten.
        assert_eq!(session.append(&partition, 999, &payload_of(999)).expect("answered"), Answer::DuplicateTrimmed);
        append_many(&mut session, &partition, 1_000..1_100);
        assert_eq!((bounds(&partition), all(&partition).len()), ((5_000, 5_100), 100));
        eventually("what was before is dropped", || partition.stats().segments <= 2);
        drop(session);
        let before = {
            partition.flush().expect("flushed");
            state(&log, &partition)
        };
        assert_eq!(state_in(killed(directory.path()).path(), &options), before);
        drop((partition, reader));
        let (log, partition) = reopened(directory.path(), log, &options);
        assert_eq!(state(&log, &partition), before);
        // One that is new, too.
        let other = log.partition("other").expect("a partition");
        other.purge(77).expect("purged");
        append(&other, 0..3);
        assert_eq!((bounds(&other), all(&other).len()), ((77, 80), 3));
        let beyond = other.purge(u64::MAX).expect_err("no log reaches it");
        assert!(matches!(beyond, TruncateError::Offset { offset: u64::MAX, .. }), "{beyond}");
    }
}

#[test]
fn a_reset_begins_anew_at_any_offset() {
    for options in both() {
        for base in [0, 10, 400, 1_000, 9_000] {
            let (directory, log, partition) = fresh_with(&options);
            let mut session = log.session("p").expect("a session");
            append_many(&mut session, &partition, 0..1_000);
            let mut reader = partition.read_from(1_000).expect("a reader");
            let made = partition.reset(base).expect("reset");
            assert_eq!((made.records, made.fenced), (1_000, vec![session.id()]));
            assert_eq!(bounds(&partition), (base, base));
            assert_eq!(after_a_kill(directory.path(), &options), (base, base, 0));
            assert!(matches!(reader.next(), Err(FetchError::Truncated { .. } | FetchError::Trimmed { .. })));
            drop((session, reader));
            let mut session = log.session("p").expect("a session");
            assert_eq!(session.last(&partition).expect("known"), None, "its records are as if they had not been");
            append_many(&mut session, &partition, 0..900);
            assert_eq!((bounds(&partition), all(&partition).len()), ((base, base + 900), 900));
            assert_eq!(session.last(&partition).expect("known").and_then(|last| last.offset), Some(base + 899));
            partition.truncate(base + 5).expect("truncated");
            drop(session);
            partition.flush().expect("flushed");
            let before = state(&log, &partition);
            assert_eq!((before.start, before.end), (base, base + 5));
            assert_eq!(state_in(killed(directory.path()).path(), &options), before);
            drop(partition);
            let (log, partition) = reopened(directory.path(), log, &options);
            assert_eq!(state(&log, &partition), before);
        }
    }
}

#[test]
fn metadata_stays_through_everything() {
    for options in both() {
        let options = options.retention_bytes(Some(0));
        let (directory, log, partition) = fresh_with(&options);
        assert_eq!(partition.metadata(), None);
        let durable = |expected: &[u8]| {
            partition.flush().expect("flushed");
            let copy = killed(directory.path());
            let seen = ReadOnlyLog::open(copy.path()).expect("looked at");
            assert_eq!(seen.partition("orders").expect("the partition").metadata(), Some(expected));
            let log = open(copy.path(), &options);
            assert_eq!(log.partition("orders").expect("the partition").metadata().as_deref(), Some(expected));
        };
        partition.set_metadata(b"vote 1").expect("set");
        durable(b"vote 1");
        append(&partition, 0..1_500);
        durable(b"vote 1");
        partition.set_metadata(b"").expect("set");
        durable(b"");
        append(&partition, 1_500..1_600);
        partition.set_metadata(b"vote 2").expect("set");
        partition.truncate(1_550).expect("truncated");
        assert_eq!(partition.metadata().as_deref(), Some(b"vote 2".as_slice()));
        durable(b"vote 2");
        partition.purge(10_000).expect("purged");
        durable(b"vote 2");
        append(&partition, 0..1_500);
        eventually("its frame is dropped", || partition.stats().segments < 3);
        durable(b"vote 2");
        partition.reset(3).expect("reset");
        durable(b"vote 2");
        let too_long = partition.set_metadata(&[0; 4097]).expect_err("too long");
        assert!(matches!(too_long, AppendError::TooLarge { bytes: 4097, limit: 4096 }));
        drop(partition);
        let (_log, partition) = reopened(directory.path(), log, &options);
        assert_eq!(partition.metadata().as_deref(), Some(b"vote 2".as_slice()));
    }
}

#[test]
fn an_append_at_an_offset_is_stored_there_or_not_at_all() {
    let (_directory, _log, partition) = fresh();
    let mut appender = partition.appender().expect("an appender");
    assert_eq!(appender.append_at(1, b"no").expect("answered"), AtOffset::Moved { next: 0 });
    assert!(matches!(appender.append_at(0, b"yes").expect("answered"), AtOffset::Appended(at) if at.first == 0));
    assert_eq!(appender.append_at(0, b"no").expect("answered"), AtOffset::Moved { next: 1 });
    assert_eq!(appender.append_batch_at(2, &[b"no", b"no"]).expect("answered"), AtOffset::Moved { next: 1 });
    let batch = appender.append_batch_at(1, &[b"one", b"two"]).expect("answered");
    assert!(matches!(batch, AtOffset::Appended(at) if (at.first, at.last) == (1, 2)));
    partition.truncate(1).expect("truncated");
    assert_eq!(appender.append_at(3, b"no").expect("answered"), AtOffset::Moved { next: 1 });

    // Over many rotations, by threads that all want the next offset: each gets those that it is told, and nobody else does.
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let partition = partition.clone();
            thread::spawn(move || {
                let mut appender = partition.appender().expect("an appender");
                let (mut next, mut own) = (0, BTreeSet::new());
                while own.len() < 1_000 {
                    match appender.append_at(next, &[7; 60]).expect("answered") {
                        AtOffset::Appended(at) => {
                            assert_eq!((at.first, at.last), (next, next));
                            assert!(own.insert(next));
                            next += 1;
                        }
                        AtOffset::Moved { next: other } => {
                            assert!(other > next);
                            next = other;
                        }
                    }
                }
                own
            })
        })
        .collect();
    let owned: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
    assert_eq!(owned.len(), 4_000);
    assert_eq!(owned.into_iter().collect::<BTreeSet<_>>(), (1..4_001).collect());
    assert_eq!(all(&partition).len(), 4_001);
}

#[test]
fn a_fetch_gives_as_many_records_as_fit_and_at_least_one() {
    let (_directory, _log, partition) = fresh();
    let mut appender = partition.appender().expect("an appender");
    appender.append_batch(&[&[0; 10], &[1; 10], &[2; 10]]).expect("appended");
    appender.append(&[3; 100]).expect("appended");
    appender.append(&[4; 5]).expect("appended");
    let mut reader = partition.read_from(0).expect("a reader");
    let mut fetched = |bytes: usize| {
        let mut fetch = reader.fetch(bytes);
        let mut got = Vec::new();
        while let Some(record) = fetch.next().expect("read") {
            assert!(record.payload().iter().all(|byte| u64::from(*byte) == record.offset()));
            got.push((record.offset(), record.payload().len()));
        }
        assert!(fetch.next().expect("read").is_none(), "nor is there more when it is asked again");
        got
    };
    assert_eq!(fetched(19), [(0, 10)]);
    assert_eq!(fetched(20), [(1, 10), (2, 10)]);
    assert_eq!(fetched(99), [(3, 100)]);
    assert_eq!(fetched(99), [(4, 5)]);
    assert_eq!(fetched(99), []);
}
