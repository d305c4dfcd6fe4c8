//! Transactions after a crash: the table of `src/outcome.rs`, case by case. A copy of a log's files is what a kill leaves in
//! the mapped window; what a power cut may have left is that copy with some of it taken away.

use super::{all, committed, logs, registered, two};
use logs::{directory, killed, open, small, try_open};
use oncelog::{Answer, Isolation, Log, OpenError, Partition, ReadOnlyLog, Stamp, TransactionError, TransactionId};
use std::{fs, path::Path, time::Duration};

const LONG: Duration = Duration::from_secs(60);

/// The last place of some bytes in a partition's segment files.
pub(super) fn find(log: &Path, partition: &str, bytes: &[u8]) -> (std::path::PathBuf, usize) {
    let directory = log.join("partitions").join(partition);
    let mut found = None;
    let mut names: Vec<_> =
        fs::read_dir(directory).expect("listed").map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    for path in
        names.into_iter().filter(|path| path.extension().is_some_and(|suffix| suffix == "seg" || suffix == "ready"))
    {
        let content = fs::read(&path).expect("read");
        if let Some(at) = content.windows(bytes.len()).rposition(|window| window == bytes) {
            found = Some((path, at));
        }
    }
    found.expect("it is there")
}

/// Takes the frame that holds `bytes`, and all behind it in its file, away: what a power cut leaves of pages that were
/// never written.
fn lose_from(log: &Path, partition: &str, bytes: &[u8]) {
    let (path, at) = find(log, partition, bytes);
    let mut content = fs::read(&path).expect("read");
    // A frame of a transaction has 72 bytes before its body, one of the ledger has 32.
    let header = if partition.starts_with("__") { 32 } else { 72 };
    content[at - header..].fill(0);
    fs::write(&path, content).expect("written");
}

/// A log in which one transaction was committed in two partitions, none of it durable, and its number.
fn with_one_commit() -> (tempfile::TempDir, Log, TransactionId) {
    let directory = directory();
    let log = open(directory.path(), &small());
    let partitions = two(&log);
    let group = log.group("readers").expect("a group");
    let id = registered(&log, "p");
    for partition in &partitions {
        append(partition, id, 0, None, b"before");
    }
    log.begin_transaction(id, LONG).expect("begun");
    for partition in &partitions {
        append(partition, id, 1, Some(1), b"within the transaction");
    }
    log.add_offset(id, &group, &partitions[0], 1).expect("added");
    let _ = log.commit_transaction(id).expect("committed");
    (directory, log, id)
}

fn append(partition: &Partition, id: TransactionId, sequence: u64, transaction: Option<u64>, payload: &[u8]) {
    let stamp = Stamp { producer: id.producer, epoch: id.epoch, sequence };
    let mut appender = partition.appender().expect("an appender");
    let answer = match transaction {
        Some(number) => appender.append_in_transaction(number, stamp, payload),
        None => appender.append_by_id(stamp, payload),
    };
    assert!(matches!(answer, Ok(Answer::Appended { .. })), "{answer:?}");
}

/// All or nothing of the transaction, in both partitions and the group, whichever it is; the same after another reopening;
/// and the producer goes on from there.
fn assert_whole(directory: &Path, id: TransactionId, is_committed: bool) {
    for opening in 0..3 {
        let log = open(directory, &small());
        let partitions = two(&log);
        let expected: &[&str] = if is_committed { &["before", "within the transaction"] } else { &["before"] };
        for partition in &partitions {
            assert_eq!(committed(partition), expected, "{} at opening {opening}", partition.name());
            assert_eq!(partition.stats().stable_offset, partition.end_offset());
            assert_eq!(partition.stats().open_transactions, 0);
        }
        let offset = log.group_at("readers", 1).committed(&partitions[0]);
        assert_eq!(offset, is_committed.then_some(1));
        match log.commit_transaction(id) {
            Ok(commit) => assert!(is_committed && commit.is_durable()),
            Err(TransactionError::Aborted { .. } | TransactionError::NotOpen { .. }) => assert!(!is_committed),
            Err(error) => panic!("{error}"),
        }
        assert!(log.next_transaction(id.producer) <= 2);
    }
    let log = open(directory, &small());
    let [left, right] = two(&log);
    let next = if is_committed { 2 } else { 1 };
    for partition in [&left, &right] {
        append(partition, id, next, None, b"behind");
    }
    let stamp = Stamp { producer: id.producer, epoch: id.epoch, sequence: next };
    let again = left.appender().expect("an appender").append_by_id(stamp, b"behind").expect("answered");
    assert!(matches!(again, Answer::Duplicate { .. }), "{again:?}");
    assert_eq!(committed(&right).last().map(String::as_str), Some("behind"));
}

/// Scenario 33, and the last but two rows of B.11: a commit and all of its data, and no marker.
#[test]
fn a_commit_without_markers_is_carried_out() {
    let (directory, _log, id) = with_one_commit();
    let copy = killed(directory.path());
    assert_whole(copy.path(), id, true);
}

/// Scenario 34.
#[test]
fn a_transaction_without_a_commit_is_aborted() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let partitions = two(&log);
    let id = registered(&log, "p");
    log.begin_transaction(id, LONG).expect("begun");
    for partition in &partitions {
        append(partition, id, 0, Some(1), b"never");
    }
    let copy = killed(directory.path());
    let again = open(copy.path(), &small());
    for partition in two(&again) {
        assert_eq!((committed(&partition).len(), all(&partition).len()), (0, 1));
        append(&partition, id, 0, None, b"again");
        assert_eq!(committed(&partition), ["again"]);
    }
    assert!(matches!(again.commit_transaction(id), Err(TransactionError::Aborted { transaction: 1 })));
    assert_eq!(again.next_transaction(id.producer), 2, "its number is used");
}

/// A partition that was added and never appended to is no part of the commit: nothing there bears it out.
#[test]
fn a_partition_that_was_only_added_is_not_waited_for() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [left, right] = two(&log);
    let id = registered(&log, "p");
    log.begin_transaction(id, LONG).expect("begun");
    log.add_partition(id, &right).expect("added");
    append(&left, id, 0, Some(1), b"within");
    let _ = log.commit_transaction(id).expect("committed");
    let copy = killed(directory.path());
    let again = open(copy.path(), &small());
    let [left, right] = two(&again);
    assert_eq!((committed(&left), right.stats().open_transactions), (vec!["within".to_owned()], 0));
}

#[test]
fn a_commit_that_is_torn_is_none() {
    let (directory, _log, id) = with_one_commit();
    let copy = killed(directory.path());
    // The group's name is in the commit's entry, and in none behind it.
    let (path, at) = find(copy.path(), "__transactions", b"readers");
    logs::flip(&path, at);
    assert_whole(copy.path(), id, false);
}

/// Data of one partition did not reach the device, the commit and the other partition's did: nothing of it counts.
#[test]
fn a_commit_whose_data_is_missing_somewhere_is_undone_everywhere() {
    for lacking in ["left", "right"] {
        let (directory, _log, id) = with_one_commit();
        let copy = killed(directory.path());
        lose_from(copy.path(), lacking, b"within the transaction");
        assert_whole(copy.path(), id, false);
    }
}

/// The commit's last record is there, and one before it is not: recovery ends before both, and what looks like the last one
/// behind that end bears nothing out, however often the log is opened.
#[test]
fn data_behind_a_hole_bears_no_commit_out() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let partitions = two(&log);
    let id = registered(&log, "p");
    log.begin_transaction(id, LONG).expect("begun");
    for partition in &partitions {
        append(partition, id, 0, Some(1), b"the first of two");
        append(partition, id, 1, Some(1), b"the second of two");
    }
    let _ = log.commit_transaction(id).expect("committed");
    let copy = killed(directory.path());
    let (path, at) = find(copy.path(), "left", b"the first of two");
    logs::flip(&path, at);
    for _ in 0..3 {
        let again = open(copy.path(), &small());
        for partition in two(&again) {
            assert_eq!(committed(&partition), [""; 0], "{}", partition.name());
        }
    }
}

/// Once a snapshot stands for what is behind the place of a missing record, the place says nothing any more: what was undone
/// is known by its UNDO.
#[test]
fn an_undone_commit_stays_undone_when_snapshots_have_passed_it() {
    let (directory, _log, id) = with_one_commit();
    let copy = killed(directory.path());
    lose_from(copy.path(), "right", b"within the transaction");
    let options = small().snapshot_bytes(64 << 10);
    let log = open(copy.path(), &options);
    for partition in two(&log) {
        let mut appender = partition.appender().expect("an appender");
        for _ in 0..3_000 {
            appender.append(&[b'x'; 100]).expect("appended");
        }
        logs::eventually("a snapshot is written", || partition.stats().snapshots > 0);
    }
    let copy = killed(copy.path());
    let again = open(copy.path(), &options);
    for partition in two(&again) {
        assert_eq!(committed(&partition).len(), 3_001, "{}", partition.name());
    }
    assert_eq!(again.group_at("readers", 1).committed(&two(&again)[0]), None);
    assert!(matches!(again.commit_transaction(id), Err(TransactionError::Aborted { .. })));
}

/// A group's offset may be on the device, and the records that it is behind not: then what comes there next is read.
#[test]
fn a_groups_offset_is_never_beyond_what_was_recovered() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [left, _] = two(&log);
    left.appender().expect("an appender").append_batch(&[b"kept", b"kept"]).expect("appended");
    left.appender().expect("an appender").append(b"lost, and read before").expect("appended");
    let group = log.group("readers").expect("a group");
    let _ = group.commit(&left, 3).expect("committed");
    let copy = killed(directory.path());
    let (path, at) = find(copy.path(), "left", b"lost, and read before");
    logs::flip(&path, at);
    for _ in 0..2 {
        let again = open(copy.path(), &small());
        let [left, _] = two(&again);
        assert_eq!((left.end_offset(), again.group_at("readers", 1).committed(&left)), (2, Some(2)));
    }
    let again = open(copy.path(), &small());
    two(&again)[0].appender().expect("an appender").append(b"new").expect("appended");
    drop(again);
    let again = open(copy.path(), &small());
    assert_eq!(again.group_at("readers", 1).committed(&two(&again)[0]), Some(2), "the new one is not skipped");
}

/// The ledger keeps to a prefix: what was committed behind a commit that is undone may have been made of it.
#[test]
fn what_was_committed_behind_an_undone_commit_is_undone_too() {
    let (directory, log, _id) = with_one_commit();
    let third = log.partition("third").expect("a partition");
    let mut session = log.session("another").expect("a session");
    // Registration is durable, so the transaction before is too, unless its producer's data is taken away by hand.
    let mut transaction = session.begin().expect("begun");
    let _ = transaction.append_next(&third, b"made of what was read").expect("appended");
    let group = log.group_at("readers", 1);
    transaction.commit_offset(&group, &third, 0).expect("added");
    let _ = transaction.commit().expect("committed");
    assert_eq!(committed(&third), ["made of what was read"]);
    let copy = killed(directory.path());
    lose_from(copy.path(), "right", b"within the transaction");
    let again = open(copy.path(), &small());
    let third = again.partition("third").expect("the partition");
    assert_eq!((committed(&third).len(), all(&third).len()), (0, 1));
    assert_eq!(again.group_at("readers", 1).committed(&third), None);
    drop((again, third));
    let again = open(copy.path(), &small());
    assert_eq!(committed(&again.partition("third").expect("the partition")), [""; 0], "once and for all");
}

/// Scenarios 35 and 36: cut off between the markers, and again behind some of them.
#[test]
fn markers_that_are_there_already_are_no_matter() {
    let (directory, log, id) = with_one_commit();
    let [left, right] = two(&log);
    assert!(log.commit_transaction(id).expect("again").wait_durable(LONG).expect("durable"));
    logs::eventually("it is marked", || log.stats().unmarked_transactions == 0);
    // A marker has the number of its transaction, and no body: the last frame of each partition.
    let both = killed(directory.path());
    assert_whole(both.path(), id, true);
    drop((left, right));
    for unmarked in ["left", "right"] {
        let copy = killed(directory.path());
        let (path, at) = find(copy.path(), unmarked, b"within the transaction");
        let mut content = fs::read(&path).expect("read");
        let behind = (at + b"within the transaction".len()).next_multiple_of(8);
        assert!(content[behind..].iter().any(|byte| *byte != 0), "the marker");
        content[behind..].fill(0);
        fs::write(&path, content).expect("written");
        assert_whole(copy.path(), id, true);
    }
}

/// Scenario 54.
#[test]
fn an_entry_of_the_ledger_that_is_damaged_below_what_was_durable_is_refused() {
    let (directory, log, id) = with_one_commit();
    assert!(log.commit_transaction(id).expect("again").wait_durable(LONG).expect("durable"));
    // Another entry behind it, whose round says how far the ledger was durable.
    let group = log.group("readers").expect("taken over");
    let _ = group.commit(&two(&log)[0], 1).expect("committed").wait_durable(LONG).expect("durable");
    let copy = killed(directory.path());
    let ledger = copy.path().join("partitions/__transactions");
    let segment = fs::read_dir(&ledger).expect("listed").map(|entry| entry.expect("an entry").path());
    let segment =
        segment.filter(|path| path.extension().is_some_and(|suffix| suffix == "seg")).min().expect("a segment");
    let content = fs::read(&segment).expect("read");
    // The first entry is the group's, which has its name.
    let at = content.windows(7).position(|bytes| bytes == b"readers").expect("the group's name");
    logs::flip(&segment, at);
    match try_open(copy.path(), &small()) {
        Err(OpenError::Corrupt { path, at: said, .. }) => {
            assert_eq!(path, segment);
            assert!((4096..=at as u64).contains(&said), "{said} is where the entry's frame is, before {at}");
        }
        other => panic!("{other:?}", other = other.map(|_| ())),
    }
}

/// A partition's head, and with it the head of an open transaction, may be below the newest snapshot when the log is killed.
#[test]
fn a_snapshot_holds_what_is_open_aborted_and_committed() {
    for outcome in ["open", "aborted", "committed"] {
        let directory = directory();
        let options = small().snapshot_bytes(64 << 10);
        let log = open(directory.path(), &options);
        let [left, right] = two(&log);
        let mut session = log.session("p").expect("a session");
        let mut transaction = session.begin().expect("begun");
        let _ = transaction.append_next(&left, b"in question").expect("appended");
        let _ = transaction.append_next(&right, b"in question").expect("appended");
        match outcome {
            "aborted" => transaction.abort().expect("aborted"),
            "committed" => drop(transaction.commit().expect("committed")),
            _ => std::mem::forget(transaction),
        }
        let mut appender = left.appender().expect("an appender");
        for _ in 0..3_000 {
            appender.append(&[b'x'; 100]).expect("appended");
        }
        logs::eventually("a snapshot is written", || left.stats().snapshots > 0);
        let copy = killed(directory.path());
        let again = open(copy.path(), &options);
        let [left, right] = two(&again);
        let expected = usize::from(outcome == "committed");
        assert_eq!(committed(&left).len(), 3_000 + expected, "{outcome}");
        assert_eq!(committed(&right).len(), expected, "{outcome}");
        let mut session = again.session("p").expect("a session");
        assert_eq!(session.last(&left).expect("known").map_or(0, |last| last.sequence + 1), expected as u64);
        drop((left, right, session));
        again.close().expect("closed");
        let again = open(copy.path(), &options);
        assert_eq!(committed(&two(&again)[0]).len(), 3_000 + expected, "{outcome}, closed and opened");
    }
}

/// Whatever was open when a log is closed is aborted, and whatever was committed is durable and marked.
#[test]
fn a_clean_close_leaves_nothing_undecided() {
    let (directory, log, id) = with_one_commit();
    let second = TransactionId { number: 2, ..id };
    log.begin_transaction(second, LONG).expect("begun");
    append(&two(&log)[0], id, 2, Some(2), b"open");
    log.close().expect("closed");
    let copy = killed(directory.path());
    // The ledger is not asked any more.
    fs::remove_dir_all(copy.path().join("partitions/__transactions")).ok();
    for (at, name) in ["__producers", "left", "right"].iter().enumerate() {
        assert!(copy.path().join("partitions").join(name).exists(), "{at}");
    }
    assert_whole_after_close(directory.path(), id);
}

fn assert_whole_after_close(directory: &Path, id: TransactionId) {
    let log = open(directory, &small());
    let [left, right] = two(&log);
    assert_eq!(committed(&left), ["before", "within the transaction"]);
    assert_eq!(committed(&right), ["before", "within the transaction"]);
    assert_eq!((left.stats().aborted_transactions, all(&left).len()), (1, 3));
    assert!(log.commit_transaction(id).is_err(), "others have come since");
    append(&left, id, 2, None, b"behind");
}

/// In the direct window what was not durable is gone with the process, wherever it was: all of it, or none.
#[test]
fn in_the_direct_window_too_a_kill_leaves_all_or_nothing() {
    let options = small().window(oncelog::Window::Direct).flush_interval(Some(Duration::from_secs(3600)));
    let directory = directory();
    let log = open(directory.path(), &options);
    let [left, right] = two(&log);
    let mut session = log.session("p").expect("a session");
    for number in 0..50_u32 {
        let mut transaction = session.begin().expect("begun");
        for partition in [&left, &right] {
            let _ = transaction.append_next(partition, format!("{number}").as_bytes()).expect("appended");
        }
        let commit = transaction.commit().expect("committed");
        if number % 10 == 9 {
            // One of the two, without the ledger: what is behind must not be seen.
            assert!(left.wait_durable(u64::from(number), LONG).expect("durable"));
            let copy = killed(directory.path());
            let again = open(copy.path(), &options);
            let [left, right] = two(&again);
            assert_eq!(committed(&left), committed(&right));
            assert!(!commit.is_durable() || committed(&left).len() > number as usize);
            drop(commit);
        }
    }
}

/// What a read-only look at a log sees of committed records, partition by partition.
fn looked_at(log: &Path) -> [Vec<String>; 2] {
    let log = ReadOnlyLog::open(log).expect("opened");
    ["left", "right"].map(|name| {
        let mut reader = log.partition(name).expect("the partition").read_from(0).expect("a reader");
        reader.set_isolation(Isolation::ReadCommitted);
        let mut seen = Vec::new();
        while let Some(record) = reader.next().expect("read") {
            seen.push(String::from_utf8_lossy(record.payload()).into_owned());
        }
        seen
    })
}

/// A read-only look at a log whose process was killed applies the same rule, and changes nothing.
#[test]
fn a_read_only_look_decides_as_opening_does() {
    let (directory, _log, _id) = with_one_commit();
    let whole = killed(directory.path());
    let torn = killed(directory.path());
    let (path, at) = find(torn.path(), "__transactions", b"readers");
    logs::flip(&path, at);
    let lacking = killed(directory.path());
    lose_from(lacking.path(), "right", b"within the transaction");
    for (copy, is_committed) in [(whole, true), (torn, false), (lacking, false)] {
        let before = logs::files(copy.path());
        let seen = looked_at(copy.path());
        assert!(logs::files(copy.path()) == before);
        let expected: &[&str] = if is_committed { &["before", "within the transaction"] } else { &["before"] };
        assert_eq!(seen, [expected, expected]);
        let log = open(copy.path(), &small());
        assert_eq!(two(&log).map(|partition| committed(&partition)), seen, "and opening it agrees");
        drop(log);
        assert_eq!(looked_at(copy.path()), seen, "closed, too");
    }
}

/// Beside the writer, what is open stays unseen, and what is committed is seen before it has a marker.
#[test]
fn beside_the_writer_a_look_sees_what_is_committed() {
    let (directory, log, id) = with_one_commit();
    let [left, right] = two(&log);
    let second = TransactionId { number: 2, ..id };
    log.begin_transaction(second, LONG).expect("begun");
    append(&left, id, 2, Some(2), b"open");
    left.appender().expect("an appender").append(b"behind").expect("appended");
    let [seen_left, seen_right] = looked_at(directory.path());
    assert_eq!(seen_left, ["before", "within the transaction"]);
    assert_eq!(seen_right, ["before", "within the transaction"]);
    log.abort_transaction(second).expect("aborted");
    let [seen_left, _] = looked_at(directory.path());
    assert_eq!(seen_left, ["before", "within the transaction", "behind"]);
    assert_eq!(committed(&right), seen_right);
}
