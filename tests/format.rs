//! Logs of version 1 of the format, as they were once written: this build must read them to the last record, and go on in
//! them. `src/tests/golden.rs` proves the other direction. `ONCELOG_BLESS=1` writes them anew.

#[path = "golden/hex.rs"]
mod hex;
mod logs;

use logs::{directory, eventually, killed, open, small};
use oncelog::{Answer, Audit, Isolation, Log, Mode, Numbering, Stamp, TransactionId, Verdict};
use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("golden").join(name)
}

/// A log with every kind of frame in two partitions, one of which goes on into a second segment.
fn write_log(log: &Log) {
    let orders = log.partition("orders").expect("a partition");
    let other = log.partition("an.other_one-2").expect("a partition");
    let mut appender = orders.appender().expect("an appender");
    appender.append(b"plain").expect("appended");
    appender.append(b"").expect("appended");
    appender.append_batch(&[b"a batch", b"", b"of three"]).expect("appended");
    appender.append_with(20, |_, _| Err("given up")).expect_err("a void frame");

    let mut zombie = log.session("b\u{e4}r").expect("a session");
    assert!(zombie.append(&orders, 0, b"of a session").expect("answered").is_stored());
    let mut session = log.session("b\u{e4}r").expect("its successor");
    assert!(session.append_batch(&orders, 1, &[b"of", b"the next"]).expect("answered").is_stored());
    // A void frame of two offsets.
    assert!(!zombie.append_batch(&orders, 1, &[b"too", b"late"]).expect("answered").is_stored());
    orders.flush().expect("flushed");

    let restarted = log.register("restarted").expect("registered");
    let stamp = Stamp { producer: restarted.id, epoch: restarted.epoch, sequence: 0 };
    assert!(appender.append_batch_by_id(stamp, &[b"by", b"id"]).expect("answered").is_stored());
    let restarted = log.register_with("restarted", Numbering::Restart).expect("registered");
    let stamp = Stamp { epoch: restarted.epoch, ..stamp };
    assert!(appender.append_by_id(stamp, b"from 0 again").expect("answered").is_stored());
    // With a MARK frame for what was flushed before.
    orders.flush().expect("flushed");

    // Into the next segment, mostly of zeros.
    for _ in 0..4 {
        appender.append(&[0; 15_200]).expect("appended");
    }
    assert!(session.append(&orders, 3, b"in the second segment").expect("answered").is_stored());
    let closed = log.register("closed").expect("registered");
    let stamp = Stamp { producer: closed.id, epoch: closed.epoch, sequence: 0 };
    assert!(other.appender().expect("an appender").append_by_id(stamp, b"last words").expect("answered").is_stored());
    log.close_producer(closed.id).expect("closed");
    assert!(session.append(&other, 0, b"elsewhere").expect("answered").is_stored());
    assert_eq!(orders.stats().segments, 2);
}

/// A log as a kill leaves it amid transactions: one committed, with its markers; one aborted; one committed, without; and
/// one that nobody has ended.
fn write_transactions(log: &Log) {
    let (left, right) = (log.partition("left").expect("a partition"), log.partition("right").expect("a partition"));
    let group = log.group("billing").expect("a group");
    let mut session = log.session("writer").expect("a session");
    let mut transaction = session.begin().expect("begun");
    assert!(transaction.append_next(&left, b"committed").expect("answered").is_stored());
    assert!(transaction.append_batch(&right, 0, &[b"in", b"two places"]).expect("answered").is_stored());
    transaction.commit_offset(&group, &left, 0).expect("added");
    assert!(transaction.commit().expect("committed").wait_durable(logs::PATIENCE).expect("durable"));
    eventually("it has its markers", || log.stats().unmarked_transactions == 0);
    let mut transaction = session.begin().expect("begun");
    assert!(transaction.append_next(&left, b"aborted").expect("answered").is_stored());
    transaction.abort().expect("aborted");
    // Taken over: the offsets are the newer generation's.
    let group = log.group("billing").expect("the group");
    let _visible = group.commit(&left, 1).expect("committed");

    let by_id = log.register("by id").expect("registered");
    let stamp = Stamp { producer: by_id.id, epoch: by_id.epoch, sequence: 0 };
    let id = |number| TransactionId { producer: by_id.id, epoch: by_id.epoch, number };
    log.begin_transaction(id(1), logs::PATIENCE).expect("begun");
    let mut appender = left.appender().expect("an appender");
    assert!(appender.append_in_transaction(1, stamp, b"without a marker").expect("answered").is_stored());
    log.add_offset(id(1), &group, &left, 2).expect("added");
    let _visible = log.commit_transaction(id(1)).expect("committed");
    log.begin_transaction(id(2), logs::PATIENCE).expect("begun");
    let stamp = Stamp { sequence: 1, ..stamp };
    assert!(appender.append_in_transaction(2, stamp, b"never ended").expect("answered").is_stored());
}

/// What of a log is committed, as text.
fn read_committed(log: &Log) -> String {
    let mut text = String::new();
    for name in ["left", "right"] {
        let partition = log.partition(name).expect("a partition");
        let mut reader = partition.read_from(0).expect("a reader");
        reader.set_isolation(Isolation::ReadCommitted);
        while let Some(record) = reader.next().expect("a record") {
            let payload = std::str::from_utf8(record.payload()).expect("UTF-8");
            writeln!(text, "committed in {name}, {}: {payload:?}", record.offset()).expect("text");
        }
        for group in log.groups() {
            let offset = log.group_at(&group, 0).committed(&partition);
            writeln!(text, "{group:?} has come to {offset:?} in {name}").expect("text");
        }
    }
    text
}

/// All that can be read of a log, as text.
fn read_log(log: &Log) -> String {
    let mut text = String::new();
    for name in log.partition_names() {
        let partition = log.partition(&name).expect("a partition");
        writeln!(text, "partition {name}: offsets {} to {}", partition.start_offset(), partition.end_offset())
            .expect("text");
        let mut reader = partition.read_from(partition.start_offset()).expect("a reader");
        while let Some(record) = reader.next().expect("a record") {
            write!(text, "{} at {}", record.offset(), record.timestamp_ms()).expect("text");
            if let Some(Stamp { producer, epoch, sequence }) = record.producer() {
                write!(text, " of {producer} in epoch {epoch}, sequence {sequence}").expect("text");
            }
            let payload = record.payload();
            match payload.iter().all(|byte| *byte == 0) {
                true => writeln!(text, ": {} zeros", payload.len()).expect("text"),
                false => writeln!(text, ": {:?}", std::str::from_utf8(payload).expect("UTF-8")).expect("text"),
            }
        }
    }
    for info in log.producers() {
        let mode = if info.mode == Mode::Session { "a session" } else { "by id" };
        writeln!(
            text,
            "producer {} {:?}, epoch {}, {mode}, last used at {}: {:?}",
            info.id, info.name, info.epoch, info.last_used_ms, info.partitions
        )
        .expect("text");
    }
    text
}

/// Files that belong to the golden log: not the lock, and not what stands ready.
fn belongs(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name != "LOCK") && path.extension().is_none_or(|suffix| suffix != "ready")
}

fn bless(name: &str, log: &Path) {
    let to = golden(name);
    let _ = fs::remove_dir_all(&to);
    for (path, bytes) in logs::files(log) {
        if belongs(&path) {
            let to = to.join(format!("{}.hex", path.display()));
            fs::create_dir_all(to.parent().expect("a directory")).expect("made");
            fs::write(to, hex::dump(&bytes)).expect("written");
        }
    }
}

/// The golden log of that name, as a directory that can be opened.
fn restored(name: &str) -> TempDir {
    let directory = directory();
    for (path, text) in logs::files(&golden(name)) {
        let to = directory.path().join(path.with_extension(""));
        fs::create_dir_all(to.parent().expect("a directory")).expect("made");
        fs::write(to, hex::undump(&String::from_utf8(text).expect("text"))).expect("written");
    }
    directory
}

/// Not only records: seals, snapshots and tables are read, too. Opening passes over a snapshot that it cannot read, and so a
/// change of their layout went without a word here.
fn check_stored(log: &Path) {
    let audit = Audit::run(log, None, |_| {}).expect("a log");
    assert!(audit.verdict == Verdict::Clean && audit.findings.is_empty(), "{:?}", audit.findings);
    let is_snapshot = |path: &&PathBuf| path.extension().is_some_and(|suffix| suffix == "snapshot");
    let listed = logs::files(log).keys().filter(is_snapshot).count() as u64;
    let agreed: u64 = audit.partitions.iter().map(|partition| partition.snapshots).sum();
    assert_eq!(agreed, listed, "snapshots that agree with a replay");
}

/// What a reader of the golden log gets, and that its producers can go on: retries of then are recognised now.
fn check(name: &str) {
    let directory = restored(name);
    check_stored(directory.path());
    let log = open(directory.path(), &small());
    hex::check(&golden(&format!("{name}.txt")), &read_log(&log));

    let orders = log.partition("orders").expect("the partition");
    let end = orders.end_offset();
    let mut session = log.session("b\u{e4}r").expect("a session");
    assert_eq!(session.epoch(), 3);
    let duplicate = |first, last| Answer::Duplicate { first, last };
    assert_eq!(session.append(&orders, 0, b"of a session").expect("answered"), duplicate(6, 6));
    assert_eq!(session.append_batch(&orders, 1, &[b"of", b"the next"]).expect("answered"), duplicate(7, 8));
    assert_eq!(session.append(&orders, 3, b"in the second segment").expect("answered"), duplicate(end - 1, end - 1));
    assert_eq!(session.append(&orders, 3, b"in another").expect("answered"), Answer::SequenceReused { expected: 4 });
    let restarted = log.register("restarted").expect("registered");
    let stamp = |sequence| Stamp { producer: restarted.id, epoch: restarted.epoch, sequence };
    let mut appender = orders.appender().expect("an appender");
    assert_eq!(appender.append_by_id(stamp(0), b"from 0 again").expect("answered"), duplicate(13, 13));
    assert_eq!(appender.append_by_id(stamp(2), b"id").expect("answered"), Answer::OutOfOrder { expected: 1 });
    assert_eq!(session.append(&orders, 4, b"new").expect("answered"), Answer::Appended { first: end, last: end });
    // The closed one's place is taken, under another id and a higher epoch than it ever had.
    let taken = log.register("another").expect("registered");
    assert!(taken.id.get() as u32 == 2 && taken.id.get() >> 32 == 2 && taken.epoch == 3, "{taken:?}");
}

#[test]
fn a_log_that_was_closed_is_read_to_the_last_record() {
    if hex::bless() {
        let directory = directory();
        let log = open(directory.path(), &small());
        write_log(&log);
        log.close().expect("the last handle");
        bless("closed", directory.path());
    }
    check("closed");
}

#[test]
fn a_log_that_was_killed_is_read_to_the_last_record() {
    if hex::bless() {
        let directory = directory();
        let log = open(directory.path(), &small());
        write_log(&log);
        let names =
            ["orders/0000000000000002.seg", "an.other_one-2/0000000000000001.seg", "__producers/0000000000000001.seg"];
        let partitions = directory.path().join("partitions");
        eventually("the segments have their names", || names.iter().all(|name| partitions.join(name).exists()));
        bless("killed", killed(directory.path()).path());
    }
    check("killed");
}

#[test]
fn a_log_that_was_killed_amid_transactions_is_read_as_they_were_decided() {
    if hex::bless() {
        let directory = directory();
        let log = open(directory.path(), &small());
        write_transactions(&log);
        let partitions = directory.path().join("partitions");
        eventually("the segments have their names", || {
            ["left", "right", "__producers", "__transactions"]
                .iter()
                .all(|name| partitions.join(name).join("0000000000000001.seg").exists())
        });
        bless("transactions", killed(directory.path()).path());
    }
    let directory = restored("transactions");
    check_stored(directory.path());
    let log = open(directory.path(), &small());
    hex::check(&golden("transactions.txt"), &(read_log(&log) + &read_committed(&log)));
}
