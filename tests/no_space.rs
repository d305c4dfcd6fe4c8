//! A disk that is full: what fails leaves no trace, and is made up for when there is room. On a file system of its own,
//! which takes root: skipped elsewhere.

mod logs;

use logs::{all, append_many, directory, open, small};
use oncelog::{Answer, AppendError, FillError, Log, Partition, RegisterError, Stamp, TransactionError, TransactionId};
use std::{fs, io, process::Command, time::Duration};
use tempfile::TempDir;

/// A file system of that size of its own, unmounted on drop; none where that may not be done.
struct Small(TempDir);

impl Small {
    fn mounted(bytes: u64) -> Option<Self> {
        let directory = directory();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(directory.path());
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            #[expect(clippy::print_stderr, reason = "whoever runs the tests must know that one was not run")]
            {
                eprintln!("skipped: a small file system can't be mounted here, which takes root");
            }
            return None;
        }
        Some(Self(directory))
    }

    fn fill(&self) -> io::Result<()> {
        fs::write(self.0.path().join("in the way"), vec![0; 64 << 20])
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

/// A log without room: its one producer has filled the segment at hand. The number is of its next sequence.
fn full(disk: &Small) -> (Log, Partition, Stamp) {
    let log = open(&disk.0.path().join("log"), &small().segments_ahead(1));
    let partition = log.partition("orders").expect("a partition");
    let registration = log.register("by id").expect("registered");
    let mut stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence: 0 };
    let beside = log.partition("beside").expect("a partition");
    assert!(beside.appender().expect("an appender").append_by_id(stamp, &[1; 200]).expect("room").is_stored());
    let mut appender = partition.appender().expect("an appender");
    assert!(appender.append_by_id(stamp, &[1; 200]).expect("room").is_stored());
    stamp.sequence += 1;
    assert!(disk.fill().is_err(), "the rest of the disk is taken");
    loop {
        match appender.append_by_id(stamp, &[1; 200]) {
            Ok(Answer::Appended { .. }) => stamp.sequence += 1,
            Ok(other) => panic!("{other:?}"),
            Err(AppendError::NoSpace { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    (log, partition, stamp)
}

/// Scenario 15, for a full disk: the number was looked at, the append failed, the retry is no duplicate.
#[test]
fn without_room_nothing_is_written_and_no_sequence_is_used() {
    let Some(disk) = Small::mounted(1 << 20) else { return };
    let (log, partition, stamp) = full(&disk);
    let mut appender = partition.appender().expect("an appender");
    let mut session = log.session("writer").expect("its record has room in the log's own partition");
    let end = partition.end_offset();
    let before = all(&partition);
    for _ in 0..3 {
        let error = appender.append_by_id(stamp, &[1; 200]).expect_err("no room");
        let directory = logs::file(&disk.0.path().join("log"), "");
        let told = format!(
            "no room for a segment of 65536 bytes in {}: ",
            directory.display().to_string().trim_end_matches('/')
        );
        assert!(error.to_string().starts_with(&told), "{error}");
        let AppendError::NoSpace { bytes: 65_536, source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
        assert!(matches!(appender.append(&[2; 200]), Err(AppendError::NoSpace { .. })));
        assert!(matches!(appender.append_batch(&[&[2; 200]]), Err(AppendError::NoSpace { .. })));
        let mut ran = false;
        let filled = appender.append_with(200, |_, _| {
            ran = true;
            Ok::<(), ()>(())
        });
        assert!(matches!(filled, Err(FillError::Append(AppendError::NoSpace { .. }))) && !ran);
        assert!(matches!(session.append(&partition, 0, &[3; 200]), Err(AppendError::NoSpace { .. })));
        assert!(matches!(partition.prepare(1), Err(AppendError::NoSpace { .. })));
    }
    assert_eq!((partition.end_offset(), all(&partition)), (end, before));
    assert_eq!(partition.stats().oldest_open_frame, None);

    fs::remove_file(disk.0.path().join("in the way")).expect("room is made");
    assert_eq!(appender.append_by_id(stamp, &[1; 200]).expect("room"), Answer::Appended { first: end, last: end });
    assert_eq!(
        session.append(&partition, 0, &[3; 200]).expect("room"),
        Answer::Appended { first: end + 1, last: end + 1 }
    );
    assert_eq!(
        session.append(&partition, 0, &[3; 200]).expect("room"),
        Answer::Duplicate { first: end + 1, last: end + 1 }
    );
}

/// A fence needs room, too. One that failed once made the next append by id call itself without end.
#[test]
fn a_fence_without_room_fails_and_is_made_up_for() {
    let Some(disk) = Small::mounted(1 << 20) else { return };
    let (log, partition, stamp) = full(&disk);
    let mut appender = partition.appender().expect("an appender");
    let sent_again = Stamp { sequence: stamp.sequence - 1, ..stamp };
    // What was in the segment's last bytes may have been room enough: none is left then.
    while appender.append(b"").is_ok() {}
    let error = log.register("by id").expect_err("no room for the fence");
    assert!(matches!(error, RegisterError::Append(AppendError::NoSpace { .. })), "{error}");
    for stamp in [stamp, sent_again] {
        match appender.append_by_id(stamp, &[1; 200]) {
            Err(AppendError::NoSpace { .. }) | Ok(Answer::Fenced { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    // Where there is room, the epoch that nobody was told of appends, and the one before does not.
    let beside = log.partition("beside").expect("the partition");
    let mut elsewhere = beside.appender().expect("an appender");
    let answer = elsewhere.append_by_id(Stamp { epoch: 2, sequence: 1, ..stamp }, &[1; 200]);
    assert_eq!(answer.expect("room"), Answer::Appended { first: 1, last: 1 });
    let answer = elsewhere.append_by_id(Stamp { sequence: 2, ..stamp }, &[1; 200]);
    assert_eq!(answer.expect("answered"), Answer::Fenced { epoch: 2 });
    let error = log.close_producer(stamp.producer).expect_err("no room for the fence");
    assert!(matches!(error, RegisterError::Append(AppendError::NoSpace { .. })), "{error}");
    for stamp in [stamp, sent_again] {
        match appender.append_by_id(stamp, &[1; 200]) {
            Err(AppendError::NoSpace { .. }) | Ok(Answer::UnknownProducer) => {}
            other => panic!("{other:?}"),
        }
    }
    fs::remove_file(disk.0.path().join("in the way")).expect("room is made");
    assert_eq!(
        appender.append_by_id(stamp, &[1; 200]).expect("room"),
        Answer::UnknownProducer,
        "its close has happened"
    );
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..10);
}

/// Scenario 29. Until an abort is written, its records may still be taken for a committed transaction's: nobody is let past.
#[test]
fn an_abort_without_room_is_made_up_for() {
    let Some(disk) = Small::mounted(1 << 20) else { return };
    let log = open(&disk.0.path().join("log"), &small().segments_ahead(1));
    let partition = log.partition("orders").expect("a partition");
    let mut session = log.session("writer").expect("a session");
    let mut transaction = session.begin().expect("begun");
    assert!(transaction.append(&partition, 0, &[1; 200]).expect("room").is_stored());
    assert!(disk.fill().is_err(), "the rest of the disk is taken");
    let mut appender = partition.appender().expect("an appender");
    while appender.append(b"").is_ok() {}
    let refused = transaction.append(&partition, 1, &[2; 200]);
    assert!(matches!(refused, Err(AppendError::NoSpace { .. })), "{refused:?}");
    let refused = transaction.abort();
    assert!(matches!(refused, Err(TransactionError::Append(AppendError::NoSpace { .. }))), "{refused:?}");
    assert_eq!(partition.stats().stable_offset, 0);
    assert!(log.open_transactions().iter().all(|open| open.aborting));
    // Neither in another transaction nor outside of one does the producer go on before.
    assert!(matches!(session.begin().map(|_| ()), Err(TransactionError::Append(AppendError::NoSpace { .. }))));
    assert!(matches!(session.append(&partition, 0, &[3; 200]), Err(AppendError::NoSpace { .. })));
    fs::remove_file(disk.0.path().join("in the way")).expect("room is made");
    let answer = session.append(&partition, 0, &[3; 200]).expect("room");
    assert!(matches!(answer, Answer::Appended { .. }), "{answer:?}");
    let stats = partition.stats();
    assert_eq!((stats.stable_offset, stats.open_transactions), (stats.end_offset, 0));
}

/// A commit that has no room leaves its transaction as it was, for the caller to try again.
#[test]
fn a_commit_without_room_leaves_the_transaction_open() {
    let Some(disk) = Small::mounted(1 << 20) else { return };
    let (log, _partition, stamp) = full(&disk);
    let id = TransactionId { producer: stamp.producer, epoch: stamp.epoch, number: 1 };
    let beside = log.partition("beside").expect("the partition");
    let mut appender = beside.appender().expect("an appender");
    log.begin_transaction(id, Duration::from_secs(60)).expect("begun");
    let within = Stamp { sequence: 1, ..stamp };
    assert!(appender.append_in_transaction(1, within, &[1; 200]).expect("room").is_stored());
    for _ in 0..2 {
        let refused = log.commit_transaction(id);
        assert!(matches!(refused, Err(TransactionError::Append(_))), "{refused:?}");
        assert_eq!(log.open_transactions().len(), 1);
        assert_eq!(beside.stats().stable_offset, 1, "nobody is let past what is not committed");
    }
    let within = Stamp { sequence: 2, ..stamp };
    assert!(appender.append_in_transaction(1, within, &[2; 200]).expect("room").is_stored(), "it goes on");
    fs::remove_file(disk.0.path().join("in the way")).expect("room is made");
    assert_eq!(log.commit_transaction(id).expect("room").transaction(), 1);
    let stats = beside.stats();
    assert_eq!((stats.end_offset, stats.stable_offset, log.open_transactions().len()), (3, 3, 0));
}
