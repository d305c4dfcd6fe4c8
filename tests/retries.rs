//! Retries, however late they come: the original is found by walking back over a producer's own frames, across rotation,
//! reopening, epochs and snapshots; and where it is gone, that is the answer. The numbers are those of the scenarios in
//! `README.md`.

mod logs;

use logs::{
    PATIENCE, all, append_many, eventually, file, flip, fresh, fresh_with, killed, open, payload_of, payloads,
    reopened, segment_file, small,
};
use oncelog::{Answer, AppendError, FetchError, FillError, Log, Numbering, Options, Partition, Stamp};
use std::{fs, path::Path, sync::mpsc, thread};

/// Snapshots as often as can be.
fn with_snapshots() -> Options {
    small().snapshot_bytes(logs::SMALL)
}

/// Fails unless each of these sequences, sent again, is answered with the offset it was first given.
fn check_duplicates(
    log: &Log,
    partition: &Partition,
    offset_of: impl Fn(u64) -> u64,
    sequences: impl Iterator<Item = u64>,
) {
    let mut session = log.session("writer").expect("a session");
    for sequence in sequences {
        let answer = session.append(partition, sequence, &payload_of(sequence)).expect("answered");
        let offset = offset_of(sequence);
        assert_eq!(answer, Answer::Duplicate { first: offset, last: offset }, "sequence {sequence}");
    }
}

/// Scenario 4: there is no window that an old retry falls out of.
#[test]
fn a_retry_of_any_age_is_recognised() {
    let (_directory, log, partition) = fresh();
    let mut session = log.session("writer").expect("a session");
    // 200 steps back, with somebody else's records in between, over several segments.
    let mut appender = partition.appender().expect("an appender");
    for sequence in 0..200 {
        append_many(&mut session, &partition, sequence..sequence + 1);
        appender.append(&[7; 1_000]).expect("appended");
    }
    assert!(partition.stats().rotations > 2, "the originals lie in several segments");
    check_duplicates(&log, &partition, |sequence| sequence * 2, (0..200).rev());
    assert_eq!(partition.end_offset(), 400);
}

/// Scenario 21: all are recognised, not only the last.
#[test]
fn retries_are_recognised_after_a_clean_close() {
    let (directory, log, partition) = fresh();
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..5);
    drop(partition);
    let (log, partition) = reopened(directory.path(), log, &small());
    check_duplicates(&log, &partition, |sequence| sequence, 0..5);
    assert_eq!(partition.end_offset(), 5);
}

/// Scenario 21, without the close.
#[test]
fn retries_are_recognised_after_a_kill() {
    let (directory, log, partition) = fresh();
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..2_000);
    let copy = killed(directory.path());
    let log = open(copy.path(), &small());
    let partition = log.partition("orders").expect("the partition");
    check_duplicates(&log, &partition, |sequence| sequence, (0..2_000).step_by(111));
    assert_eq!(partition.end_offset(), 2_000);
}

/// An epoch for every hundred records, each session a new one, some of them behind a reopening.
#[test]
fn retries_are_recognised_across_epochs_reopenings_and_snapshots() {
    let (directory, mut log, mut partition) = fresh_with(&with_snapshots());
    for round in 0..12 {
        let mut session = log.session("writer").expect("a session");
        let last = session.last(&partition).expect("read");
        assert_eq!(
            last.map(|last| (last.sequence, last.offset)),
            (round * 200_u64).checked_sub(1).map(|at| (at, Some(at)))
        );
        append_many(&mut session, &partition, round * 200..(round + 1) * 200);
        drop(session);
        if round % 3 == 2 {
            drop(partition);
            (log, partition) = reopened(directory.path(), log, &with_snapshots());
        }
    }
    assert!(partition.stats().snapshot_position > 0, "there are snapshots to start from");
    check_duplicates(&log, &partition, |sequence| sequence, (0..2_400).step_by(7));
    assert_eq!(partition.end_offset(), 2_400);
}

/// A snapshot from before the numbering started again knows the same numbers, of other records.
#[test]
fn a_retry_is_not_judged_by_the_numbering_before_a_restart() {
    let (directory, log, partition) = fresh();
    let register = |log: &Log| log.register_with("writer", Numbering::Restart).expect("registered");
    let append = |log: &Log, partition: &Partition, payload: &dyn Fn(u64) -> Vec<u8>, records: u64, from: u64| {
        let registration = register(log);
        let mut appender = partition.appender().expect("an appender");
        for expected in [|at| Answer::Appended { first: at, last: at }, |at| Answer::Duplicate { first: at, last: at }]
        {
            for sequence in 0..records {
                let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence };
                let answer = appender.append_by_id(stamp, &payload(sequence)).expect("answered");
                assert_eq!(answer, expected(from + sequence), "sequence {sequence}");
            }
        }
    };
    append(&log, &partition, &|sequence| format!("before {sequence}").into_bytes(), 150, 0);
    drop(partition);
    let (log, partition) = reopened(directory.path(), log, &small());
    append(&log, &partition, &|sequence| format!("after {sequence}").into_bytes(), 400, 150);
    // The worst of it: equal bytes under equal numbers, in both numberings.
    append(&log, &partition, &|sequence| format!("before {sequence}").into_bytes(), 400, 550);
}

fn trimmed_log(options: &Options, records: u64) -> (tempfile::TempDir, Log, Partition) {
    let (directory, log, partition) = fresh_with(options);
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..records);
    (directory, log, partition)
}

/// Scenario 7: all of a producer's data is dropped; its state is not.
#[test]
fn what_retention_has_dropped_is_never_appended_again() {
    let options = small().retention_bytes(Some(0));
    let (directory, log, partition) = trimmed_log(&options, 3_000);
    let mut appender = partition.appender().expect("an appender");
    eventually("retention drops all that the session wrote", || {
        appender.append(&[7; 4_000]).expect("appended");
        partition.start_offset() >= 3_000
    });
    let end = partition.end_offset();
    drop(appender);

    let check = |log: &Log, partition: &Partition| {
        let mut session = log.session("writer").expect("a session");
        let last = session.last(partition).expect("read").expect("its state is kept");
        assert_eq!((last.sequence, last.offset), (2_999, None));
        for sequence in [2_999, 2_998, 0] {
            let answer = session.append(partition, sequence, &payload_of(sequence)).expect("answered");
            assert_eq!(answer, Answer::DuplicateTrimmed, "sequence {sequence}");
            assert!(answer.is_stored() && answer.offsets().is_none());
        }
        assert_eq!(session.append(partition, 3_001, b"x").expect("answered"), Answer::OutOfOrder { expected: 3_000 });
        assert_eq!(
            session.append_batch(partition, 2_999, &[b"x", b"y"]).expect("answered"),
            Answer::Overlap { expected: 3_000 }
        );
        assert_eq!(partition.end_offset(), end, "nothing was written");
    };
    check(&log, &partition);
    let copy = killed(directory.path());
    let after_kill = open(copy.path(), &options);
    check(&after_kill, &after_kill.partition("orders").expect("the partition"));
    drop(partition);
    let (log, partition) = reopened(directory.path(), log, &options);
    check(&log, &partition);
    let mut session = log.session("writer").expect("a session");
    let answer = session.append(&partition, 3_000, b"goes on").expect("answered");
    assert_eq!(answer, Answer::Appended { first: end, last: end });
    assert_eq!(
        session.append(&partition, 3_000, b"goes on").expect("answered"),
        Answer::Duplicate { first: end, last: end }
    );
}

/// A retry that begins in what is dropped and ends in what is kept.
#[test]
fn a_retry_that_is_dropped_in_part_is_told_that_it_is_dropped() {
    let (_directory, log, partition) = trimmed_log(&small().retention_bytes(Some(2 * logs::SMALL)), 6_000);
    let mut session = log.session("writer").expect("a session");
    eventually("retention drops the oldest, and then rests", || {
        let start = partition.start_offset();
        if start < 2 {
            return false;
        }
        let payloads: Vec<_> = (start - 2..start + 2).map(payload_of).collect();
        let slices: Vec<_> = payloads.iter().map(Vec::as_slice).collect();
        assert_eq!(session.append_batch(&partition, start - 2, &slices).expect("answered"), Answer::DuplicateTrimmed);
        let kept = session.append_batch(&partition, start, &slices[2..]).expect("answered");
        // It may have dropped more meanwhile.
        partition.start_offset() == start && kept == Answer::Duplicate { first: start, last: start + 1 }
    });
}

/// A snapshot's file is damaged while the log is open: what it says of where to look is only a hint. It was once followed
/// to the end, and the retry told that the log is corrupt.
#[test]
fn a_damaged_snapshot_makes_an_old_retry_slower_and_nothing_else() {
    let (directory, log, partition) = fresh_with(&with_snapshots());
    let mut session = log.session("writer").expect("a session");
    let mut sequence = 0;
    eventually("snapshots are written", || {
        append_many(&mut session, &partition, sequence..sequence + 50);
        sequence += 50;
        partition.stats().snapshots >= 2
    });
    for entry in fs::read_dir(file(directory.path(), "")).expect("listed") {
        let path = entry.expect("listed").path();
        if path.extension().is_some_and(|suffix| suffix == "snapshot") {
            // The position of the one producer's last batch.
            flip(&path, 88 + 24);
        }
    }
    for at in [0, 3, 500] {
        let answer = session.append(&partition, at, &payload_of(at)).expect("answered");
        assert_eq!(answer, Answer::Duplicate { first: at, last: at });
    }
}

/// Newest snapshot of the partition in a log's directory.
fn newest_snapshot(log: &Path) -> u64 {
    let names = fs::read_dir(file(log, "")).expect("listed").map(|entry| entry.expect("listed").file_name());
    let numbers = names.filter_map(|name| name.to_str()?.strip_suffix(".snapshot")?.parse().ok());
    numbers.max().expect("there is a snapshot")
}

/// Scenario 20: refused appends, and appends behind it, leave no trace in a snapshot.
#[test]
fn a_snapshot_holds_nothing_above_its_end() {
    let options = with_snapshots();
    let (directory, log, partition) = fresh_with(&options);
    let mut session = log.session("writer").expect("a session");
    let mut sequence = 0;
    eventually("a snapshot is written", || {
        append_many(&mut session, &partition, sequence..sequence + 50);
        sequence += 50;
        assert!(!session.append(&partition, sequence + 9, b"gap").expect("answered").is_stored());
        assert!(!session.append_batch(&partition, sequence - 1, &[b"over", b"lap"]).expect("answered").is_stored());
        partition.stats().snapshots > 2
    });
    append_many(&mut session, &partition, sequence..sequence + 1);

    // Only the snapshot and what it stands for is left: it must say neither more nor less.
    let copy = killed(directory.path());
    let newest = newest_snapshot(copy.path());
    for entry in fs::read_dir(file(copy.path(), "")).expect("listed") {
        let path = entry.expect("listed").path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if path.extension().is_some_and(|suffix| suffix != "snapshot") && number.is_some_and(|number| number > newest) {
            fs::remove_file(path).expect("removed");
        }
    }
    let log = open(copy.path(), &options);
    let partition = log.partition("orders").expect("the partition");
    let stored = all(&partition).last().expect("records").producer.expect("the session's").sequence;
    assert!(stored < sequence, "records behind the snapshot were removed");
    let mut session = log.session("writer").expect("a session");
    assert_eq!(session.last(&partition).expect("read").expect("it has appended").sequence, stored);
    append_many(&mut session, &partition, stored + 1..stored + 2);
}

/// A session that fills in place is asked for no bytes when its record is there already.
#[test]
fn a_retry_does_not_run_the_closure_that_would_fill_it() {
    let (_directory, log, partition) = fresh();
    let mut session = log.session("writer").expect("a session");
    let write = |_, bytes: &mut [u8]| -> Result<(), String> {
        bytes.copy_from_slice(b"filled");
        Ok(())
    };
    let refuse = |_, _: &mut [u8]| -> Result<(), String> { Err("it was called".to_owned()) };
    for sequence in 0..3 {
        let answer = session.append_with(&partition, sequence, 6, write).expect("filled");
        assert_eq!(answer, Answer::Appended { first: sequence, last: sequence });
    }
    for sequence in 0..3 {
        let answer = session.append_with(&partition, sequence, 6, refuse).expect("not called");
        assert_eq!(answer, Answer::Duplicate { first: sequence, last: sequence });
    }
    assert_eq!(session.append_with(&partition, 4, 6, refuse).expect("not called"), Answer::OutOfOrder { expected: 3 });
    let error = session.append_with(&partition, 3, 6, refuse).expect_err("called, and gave up");
    assert!(matches!(error, FillError::Fill(reason) if reason == "it was called"));
    // The offset is taken, the sequence is not.
    assert_eq!(session.append_with(&partition, 3, 6, write).expect("filled"), Answer::Appended { first: 4, last: 4 });
    let _successor = log.session("writer").expect("a session");
    assert_eq!(session.append_with(&partition, 0, 6, refuse).expect("not called"), Answer::Fenced { epoch: 2 });
    assert_eq!(payloads(&partition), [b"filled"; 4]);
}

/// Damage must not be taken for an append that is still under way, which would be waited for.
#[test]
fn a_retry_whose_original_is_damaged_is_told_where() {
    // Of the first frame behind the START frame, which is 56 bytes long: publication word, checksum, body.
    for at in [4096 + 56 + 7, 4096 + 56 + 8, 4096 + 56 + 56] {
        let (directory, log, partition) = fresh();
        append_many(&mut log.session("writer").expect("a session"), &partition, 0..10);
        drop(partition);
        log.close().expect("closed");
        flip(&segment_file(directory.path(), 1), at);
        let log = open(directory.path(), &small());
        let partition = log.partition("orders").expect("the partition");
        let (answered, answer) = mpsc::channel();
        thread::spawn(move || {
            let mut session = log.session("writer").expect("a session");
            answered.send(session.append(&partition, 0, &payload_of(0))).expect("the test waits");
        });
        let answer = answer.recv_timeout(PATIENCE).expect("an answer");
        let Err(AppendError::Original(FetchError::Corrupt { path, at: frame, .. })) = answer else {
            panic!("byte {at}: {answer:?}")
        };
        assert_eq!((path, frame), (segment_file(directory.path(), 1), 4096 + 56));
    }
}
