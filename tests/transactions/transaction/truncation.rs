//! Transactions that a cut goes through.

use super::{all, committed, logs, two};
use logs::{directory, killed, open, small};
use oncelog::{Audit, Log, Partition, TransactionError, Verdict};
use std::{path::Path, time::Duration};

const LONG: Duration = Duration::from_secs(60);

fn append(partition: &Partition, payloads: &[&str]) {
    let mut appender = partition.appender().expect("an appender");
    for payload in payloads {
        appender.append(payload.as_bytes()).expect("appended");
    }
}

/// The committed records of both partitions after a kill, and no finding of damage.
fn after_a_kill(log: &Path) -> [Vec<String>; 2] {
    let copy = killed(log);
    let audit = Audit::run(copy.path(), None, |_| {}).expect("looked at");
    assert!(audit.verdict <= Verdict::TornTail, "{:?}", audit.findings);
    let log = open(copy.path(), &small());
    two(&log).map(|partition| committed(&partition))
}

fn with(log: &Log, payloads: &[&str]) -> [Partition; 2] {
    let partitions = two(log);
    for partition in &partitions {
        append(partition, payloads);
    }
    partitions
}

#[test]
fn what_was_committed_before_the_cut_stays_committed_also_after_a_crash() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [left, right] = with(&log, &["0"]);
    let mut session = log.session("p").expect("a session");
    let mut transaction = session.begin().expect("begun");
    for payload in ["1", "2", "3"] {
        for partition in [&left, &right] {
            assert!(transaction.append_next(partition, payload.as_bytes()).expect("answered").is_stored());
        }
    }
    // Neither durable nor marked: the cut sees to both.
    let _ = transaction.commit().expect("committed");
    append(&left, &["4"]);
    let made = left.truncate(2).expect("truncated");
    assert_eq!((made.records, made.fenced.as_slice()), (3, [session.id()].as_slice()));
    assert_eq!(
        (committed(&left), committed(&right)),
        (vec!["0".into(), "1".into()], ["0", "1", "2", "3"].map(Into::into).to_vec())
    );
    append(&left, &["5"]);
    left.flush().expect("flushed");
    let [seen_left, seen_right] = after_a_kill(directory.path());
    assert_eq!((seen_left, seen_right), (["0", "1", "5"].map(Into::into).to_vec(), committed(&right)));
    // Its producer goes on behind what is left of it.
    drop(session);
    let mut session = log.session("p").expect("a session");
    assert_eq!(session.last(&left).expect("known").map(|last| last.sequence), Some(0));
    let mut transaction = session.begin().expect("begun");
    assert!(transaction.append_next(&left, b"6").expect("answered").is_stored());
    transaction.commit().expect("committed").wait_durable(LONG).expect("durable");
    assert_eq!(after_a_kill(directory.path())[0], ["0", "1", "5", "6"]);
}

#[test]
fn a_transaction_that_wrote_beyond_is_aborted_and_none_of_it_is_ever_seen() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [left, right] = with(&log, &["0"]);
    let mut session = log.session("p").expect("a session");
    let mut transaction = session.begin().expect("begun");
    for payload in ["1", "2"] {
        for partition in [&left, &right] {
            assert!(transaction.append_next(partition, payload.as_bytes()).expect("answered").is_stored());
        }
    }
    left.truncate(2).expect("truncated");
    assert!(matches!(transaction.commit(), Err(TransactionError::Fenced { .. })));
    append(&left, &["3"]);
    assert_eq!(all(&left), ["0", "1", "3"]);
    assert_eq!((committed(&left), committed(&right)), (["0", "3"].map(Into::into).to_vec(), vec!["0".into()]));
    left.flush().expect("flushed");
    assert_eq!(after_a_kill(directory.path()), [vec!["0".into(), "3".into()], vec!["0".to_owned()]]);
    drop(session);
    let mut session = log.session("p").expect("a session");
    assert_eq!(session.last(&left).expect("known"), None, "as if it had not been");
}

/// Scenario 23, for an engine whose decisions are not in the partition that is cut: what is undecided holds readers back
/// where it did, what is decided stays so.
#[test]
fn a_transaction_that_wrote_nothing_beyond_stays_open_and_holds_readers_back() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [left, right] = with(&log, &["0"]);
    let mut session = log.session("p").expect("a session");
    let mut transaction = session.begin().expect("begun");
    assert!(transaction.append_next(&left, b"1").expect("answered").is_stored());
    append(&left, &["2", "3"]);
    assert_eq!(left.truncate(3).expect("truncated").fenced, []);
    assert_eq!((left.stats().stable_offset, left.end_offset()), (1, 3));
    // Entered behind the cut, and not written to yet.
    assert!(transaction.append_next(&left, b"4").expect("answered").is_stored());
    assert!(transaction.append_next(&right, b"1").expect("answered").is_stored());
    assert_eq!(committed(&left), ["0"]);
    let _ = transaction.commit().expect("committed");
    assert_eq!(committed(&left), ["0", "1", "2", "4"]);
    // Its marker is cut off, not what it says.
    left.flush().expect("flushed");
    append(&left, &["5"]);
    left.truncate(3).expect("truncated");
    assert_eq!((left.stats().stable_offset, committed(&left)), (3, ["0", "1", "2"].map(Into::into).to_vec()));
    assert_eq!(after_a_kill(directory.path())[0], ["0", "1", "2"]);
}

#[test]
fn an_abort_whose_marker_is_cut_off_stays_one() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [left, _right] = with(&log, &["0"]);
    let mut session = log.session("p").expect("a session");
    let mut transaction = session.begin().expect("begun");
    assert!(transaction.append_next(&left, b"aborted").expect("answered").is_stored());
    append(&left, &["2", "3"]);
    transaction.abort().expect("aborted");
    append(&left, &["4"]);
    assert_eq!(left.truncate(3).expect("truncated").fenced, []);
    assert_eq!(committed(&left), ["0", "2"]);
    // Its producer was not fenced, and goes on as if it had not been.
    assert!(session.append(&left, 0, b"5").expect("answered").is_stored());
    left.flush().expect("flushed");
    assert_eq!(committed(&left), ["0", "2", "5"]);
    assert_eq!(after_a_kill(directory.path())[0], ["0", "2", "5"]);
}

#[test]
fn a_group_that_has_come_beyond_the_cut_goes_back_to_it() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [left, right] = with(&log, &["0", "1", "2", "3"]);
    let (ahead, behind) = (log.group("ahead").expect("a group"), log.group("behind").expect("a group"));
    for (group, offset) in [(&ahead, 4), (&behind, 1)] {
        for partition in [&left, &right] {
            group.commit(partition, offset).expect("committed").wait_durable(LONG).expect("durable");
        }
    }
    left.truncate(2).expect("truncated");
    append(&left, &["4", "5", "6"]);
    left.flush().expect("flushed");
    let check = |log: &Log, [left, right]: [&Partition; 2]| {
        let (ahead, behind) = (log.group_at("ahead", 1), log.group_at("behind", 1));
        assert_eq!((ahead.committed(left), ahead.committed(right)), (Some(2), Some(4)));
        assert_eq!((behind.committed(left), behind.committed(right)), (Some(1), Some(1)));
    };
    check(&log, [&left, &right]);
    let copy = killed(directory.path());
    let log = open(copy.path(), &small());
    let [left, right] = two(&log);
    check(&log, [&left, &right]);
}
