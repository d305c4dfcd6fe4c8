//! Transactions by id: every call can be repeated, comes late, or comes from a stranger.

use super::{all, committed, logs, registered, two};
use logs::{directory, eventually, fresh, open, small};
use oncelog::{Answer, Partition, Stamp, TransactionError, TransactionId};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn append(partition: &Partition, id: TransactionId, sequence: u64, payload: &[u8]) -> Answer {
    let stamp = Stamp { producer: id.producer, epoch: id.epoch, sequence };
    partition.appender().expect("an appender").append_in_transaction(id.number, stamp, payload).expect("answered")
}

fn append_outside(partition: &Partition, id: TransactionId, sequence: u64, payload: &[u8]) -> Answer {
    let stamp = Stamp { producer: id.producer, epoch: id.epoch, sequence };
    partition.appender().expect("an appender").append_by_id(stamp, payload).expect("answered")
}

#[test]
fn every_call_can_be_repeated() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [left, right] = two(&log);
    let id = registered(&log, "p");
    for _ in 0..2 {
        log.begin_transaction(id, LONG).expect("begun");
    }
    for _ in 0..2 {
        log.add_partition(id, &right).expect("added");
    }
    assert_eq!(append(&left, id, 0, b"zero"), Answer::Appended { first: 0, last: 0 });
    assert_eq!(append(&left, id, 0, b"zero"), Answer::Duplicate { first: 0, last: 0 });
    assert_eq!(append(&left, id, 1, b"one"), Answer::Appended { first: 1, last: 1 });
    let open: Vec<_> = log.open_transactions();
    assert_eq!((open.len(), open[0].id, open[0].owner.as_str()), (1, id, "p"));
    assert_eq!(open[0].partitions, [("right".to_owned(), 0), ("left".to_owned(), 0)]);
    for _ in 0..3 {
        let commit = log.commit_transaction(id).expect("committed");
        assert_eq!(commit.transaction(), 1);
    }
    assert!(matches!(log.abort_transaction(id), Err(TransactionError::Committed { transaction: 1 })));
    assert_eq!((committed(&left).len(), log.open_transactions().len(), log.next_transaction(id.producer)), (2, 0, 2));
    let id = TransactionId { number: 2, ..id };
    log.begin_transaction(id, LONG).expect("begun");
    assert_eq!(append(&left, id, 2, b"two"), Answer::Appended { first: 2, last: 2 });
    for _ in 0..3 {
        log.abort_transaction(id).expect("aborted");
    }
    assert!(matches!(log.commit_transaction(id), Err(TransactionError::Aborted { transaction: 2 })));
    assert_eq!(committed(&left), ["zero", "one"]);
}

/// Scenario 38.
#[test]
fn an_end_is_final() {
    let (_directory, log, partition) = fresh();
    let id = registered(&log, "p");
    assert!(
        matches!(log.commit_transaction(id), Err(TransactionError::NotOpen { transaction: 1, last: 0 })),
        "never begun"
    );
    log.begin_transaction(id, Duration::from_millis(5)).expect("begun");
    assert!(append(&partition, id, 0, b"late").is_stored());
    eventually("it is over its time", || log.open_transactions().is_empty());
    assert!(matches!(log.commit_transaction(id), Err(TransactionError::TimedOut { transaction: 1 })));
    log.abort_transaction(id).expect("which it is");
    assert!(matches!(append(&partition, id, 1, b"later"), Answer::Fenced { .. }));
    assert!(matches!(
        log.begin_transaction(TransactionId { number: 2, ..id }, LONG),
        Err(TransactionError::Fenced { .. })
    ));
    assert_eq!(committed(&partition), [""; 0]);
}

/// Scenario 27.
#[test]
fn a_producer_appends_inside_or_outside_and_not_both_at_once() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [left, right] = two(&log);
    let id = registered(&log, "p");
    log.begin_transaction(id, LONG).expect("begun");
    assert!(append(&left, id, 0, b"inside").is_stored());
    assert_eq!(append_outside(&left, id, 1, b"outside"), Answer::InvalidTransaction { open: Some(1) });
    assert!(append_outside(&right, id, 0, b"elsewhere").is_stored(), "the transaction is not there");
    assert_eq!(append(&left, TransactionId { number: 2, ..id }, 1, b"x"), Answer::InvalidTransaction { open: Some(1) });
    let other = TransactionId { number: 2, ..id };
    assert!(matches!(log.begin_transaction(other, LONG), Err(TransactionError::AlreadyOpen { open: 1 })));
    let _ = log.commit_transaction(id).expect("committed");
    assert!(append_outside(&left, id, 1, b"outside").is_stored());
    assert_eq!(committed(&left), ["inside", "outside"]);
    assert_eq!(append(&left, TransactionId { number: 0, ..id }, 2, b"x"), Answer::InvalidTransaction { open: None });
}

/// Scenario 30.
#[test]
fn a_late_record_never_reopens_its_transaction() {
    let (_directory, log, partition) = fresh();
    let id = registered(&log, "p");
    log.begin_transaction(id, LONG).expect("begun");
    assert!(append(&partition, id, 0, b"in time").is_stored());
    log.abort_transaction(id).expect("aborted");
    assert_eq!(append(&partition, id, 1, b"late"), Answer::InvalidTransaction { open: None });
    let next = TransactionId { number: 2, ..id };
    log.begin_transaction(next, LONG).expect("begun");
    assert_eq!(append(&partition, id, 0, b"late"), Answer::InvalidTransaction { open: Some(2) });
    let _ = log.commit_transaction(next).expect("committed");
    let stats = partition.stats();
    assert_eq!((stats.stable_offset, stats.end_offset, stats.open_transactions), (1, 1, 0));
    assert_eq!((committed(&partition).len(), all(&partition).len()), (0, 1));
}

/// Scenario 31.
#[test]
fn a_late_end_never_touches_the_next_transaction() {
    let (_directory, log, partition) = fresh();
    let first = registered(&log, "p");
    log.begin_transaction(first, LONG).expect("begun");
    assert!(append(&partition, first, 0, b"first").is_stored());
    let _ = log.commit_transaction(first).expect("committed");
    let second = TransactionId { number: 2, ..first };
    log.begin_transaction(second, LONG).expect("begun");
    assert!(append(&partition, second, 1, b"second").is_stored());
    assert!(matches!(log.commit_transaction(first), Err(TransactionError::NotOpen { transaction: 1, last: 2 })));
    assert!(matches!(log.abort_transaction(first), Err(TransactionError::NotOpen { transaction: 1, last: 2 })));
    assert_eq!((committed(&partition), log.open_transactions().len()), (vec!["first".to_owned()], 1));
    log.abort_transaction(second).expect("aborted");
    assert_eq!(committed(&partition), ["first"]);
    assert!(matches!(
        log.begin_transaction(second, LONG),
        Err(TransactionError::NumberUsed { transaction: 2, last: 2 })
    ));
}

#[test]
fn a_stranger_begins_and_ends_nothing() {
    let (_directory, log, _partition) = fresh();
    let id = registered(&log, "p");
    let unknown = TransactionId { producer: oncelog::ProducerId::from_u64(77 << 32 | 9), ..id };
    assert!(
        matches!(log.begin_transaction(unknown, LONG), Err(TransactionError::UnknownProducer { producer }) if producer == unknown.producer)
    );
    let ahead = TransactionId { epoch: id.epoch + 1, ..id };
    assert!(
        matches!(log.begin_transaction(ahead, LONG), Err(TransactionError::EpochNotIssued { current }) if current == id.epoch)
    );
    let mut session = log.session("q").expect("a session");
    let by_id = TransactionId { producer: session.id(), epoch: session.epoch(), number: 1 };
    assert!(matches!(log.begin_transaction(by_id, LONG), Err(TransactionError::WrongMode { .. })));
    let transaction = session.begin().expect("begun");
    assert!(matches!(log.commit_transaction(by_id), Err(TransactionError::WrongMode { .. })));
    let _ = transaction.commit().expect("committed");
    // One epoch later, the elder one is fenced.
    log.begin_transaction(id, LONG).expect("begun");
    let now = log.register("p").expect("registered again");
    assert!(matches!(log.commit_transaction(id), Err(TransactionError::Fenced { epoch }) if epoch == now.epoch));
    assert_eq!(log.open_transactions().len(), 0);
}

#[test]
fn somebodys_transaction_can_be_aborted_by_whoever_looks_after_the_log() {
    let (_directory, log, partition) = fresh();
    let mut session = log.session("hangs").expect("a session");
    let mut transaction = session.begin().expect("begun");
    let _ = transaction.append_next(&partition, b"x").expect("appended");
    let open = log.open_transactions();
    assert_eq!((open[0].owner.as_str(), open[0].aborting), ("hangs", false));
    assert!(log.abort_and_fence(open[0].id.producer, open[0].id.number).expect("aborted"));
    assert!(!log.abort_and_fence(open[0].id.producer, open[0].id.number).expect("again"), "it is not open any more");
    assert!(matches!(transaction.commit(), Err(TransactionError::Aborted { .. })));
    assert_eq!((committed(&partition).len(), partition.stats().stable_offset), (0, 1));
}

/// Several threads append for one producer, as a broker's connections do.
#[test]
fn threads_share_a_transaction() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let partitions: Vec<Partition> = (0..4).map(|at| log.partition(&format!("p{at}")).expect("a partition")).collect();
    let id = registered(&log, "p");
    for number in 1..=20 {
        let id = TransactionId { number, ..id };
        log.begin_transaction(id, LONG).expect("begun");
        std::thread::scope(|scope| {
            for partition in &partitions {
                scope.spawn(move || {
                    for at in 0..10 {
                        assert!(append(partition, id, (number - 1) / 2 * 10 + at, b"x").is_stored());
                    }
                });
            }
        });
        if number % 2 == 0 {
            let _ = log.commit_transaction(id).expect("committed");
        } else {
            log.abort_transaction(id).expect("aborted");
        }
    }
    for partition in &partitions {
        assert_eq!((committed(partition).len(), all(partition).len()), (100, 200));
    }
}
