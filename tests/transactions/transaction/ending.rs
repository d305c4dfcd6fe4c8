//! How transactions end: by commit, abort, drop, timeout or fence; and what their producer's sequences are then.

use super::{all, committed, logs, two};
use logs::{directory, eventually, fresh, open, small};
use oncelog::{Answer, Partition, TransactionError};
use std::{sync::Barrier, time::Duration};

/// Scenario 32: what was only ever in an aborted transaction was not appended.
#[test]
fn a_sequence_of_an_aborted_transaction_is_used_again() {
    let (_directory, log, partition) = fresh();
    let mut session = log.session("p").expect("a session");
    let _ = session.append(&partition, 0, b"zero").expect("appended");
    let mut transaction = session.begin().expect("begun");
    let _ = transaction.append_batch(&partition, 1, &[b"one", b"two"]).expect("appended");
    assert!(matches!(transaction.append(&partition, 2, b"two"), Ok(Answer::Duplicate { first: 2, .. })), "while open");
    transaction.abort().expect("aborted");
    assert_eq!(session.last(&partition).expect("known").map(|last| (last.sequence, last.offset)), Some((0, Some(0))));
    let mut transaction = session.begin().expect("begun");
    assert!(
        matches!(transaction.append(&partition, 1, b"one"), Ok(Answer::Appended { first: 3, .. })),
        "not a duplicate"
    );
    let _ = transaction.commit().expect("committed");
    assert_eq!(committed(&partition), ["zero", "one"]);
    // And it is a duplicate from here on, of the copy that counts.
    assert_eq!(session.append(&partition, 1, b"one").expect("answered"), Answer::Duplicate { first: 3, last: 3 });
    assert_eq!(session.append(&partition, 2, b"2").expect("answered"), Answer::Appended { first: 4, last: 4 });
    assert!(matches!(session.append(&partition, 0, b"zero"), Ok(Answer::Duplicate { first: 0, .. })));
}

#[test]
fn dropping_a_transaction_aborts_it() {
    let (_directory, log, partition) = fresh();
    let mut session = log.session("p").expect("a session");
    {
        let mut transaction = session.begin().expect("begun");
        let _ = transaction.append_next(&partition, b"dropped").expect("appended");
    }
    assert_eq!(log.stats().open_transactions, 0);
    assert_eq!((committed(&partition).len(), all(&partition).len()), (0, 1));
    assert!(matches!(session.append(&partition, 0, b"plain"), Ok(Answer::Appended { .. })));
    assert_eq!(committed(&partition), ["plain"]);
}

/// Scenario 42.
#[test]
fn a_transaction_that_is_open_for_too_long_is_aborted_and_its_producer_fenced() {
    let (_directory, log, partition) = fresh();
    let mut session = log.session("p").expect("a session");
    let epoch = session.epoch();
    let mut transaction = session.begin_for(Duration::from_millis(5)).expect("begun");
    let number = transaction.number();
    let _ = transaction.append_next(&partition, b"too late").expect("appended");
    partition.appender().expect("an appender").append(b"of another").expect("appended");
    eventually("it is aborted", || log.stats().open_transactions == 0);
    assert_eq!(partition.stats().stable_offset, 2, "nobody waits for it any more");
    assert_eq!(committed(&partition), ["of another"]);
    let answer = transaction.append_next(&partition, b"later").expect("answered");
    assert!(matches!(answer, Answer::Fenced { epoch: now } if now > epoch), "{answer:?}");
    match transaction.commit() {
        Err(TransactionError::TimedOut { transaction }) => assert_eq!(transaction, number),
        other => panic!("{other:?}"),
    }
    assert!(matches!(session.begin().map(|_| ()), Err(TransactionError::Fenced { .. })));
    let mut session = log.session("p").expect("opened again");
    assert_eq!(session.last(&partition).expect("known"), None);
    let mut transaction = session.begin().expect("begun");
    assert!(transaction.number() > number);
    let _ = transaction.append(&partition, 0, b"in time").expect("appended");
    let _ = transaction.commit().expect("committed");
    assert_eq!(committed(&partition), ["of another", "in time"]);
}

/// Scenario 39.
#[test]
fn a_second_session_aborts_what_the_first_one_had_open() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [left, right] = two(&log);
    let mut first = log.session("p").expect("a session");
    let mut zombie = first.begin().expect("begun");
    for partition in [&left, &right] {
        let _ = zombie.append_next(partition, b"of the first").expect("appended");
    }
    let mut second = log.session("p").expect("a second session");
    assert_eq!(log.stats().open_transactions, 0);
    assert_eq!([&left, &right].map(|partition| second.last(partition).expect("known")), [None, None]);
    assert!(matches!(zombie.append_next(&left, b"late"), Ok(Answer::Fenced { .. })));
    assert!(matches!(zombie.commit(), Err(TransactionError::Fenced { epoch }) if epoch == second.epoch()));
    let mut transaction = second.begin().expect("begun");
    for partition in [&left, &right] {
        assert!(matches!(transaction.append(partition, 0, b"of the second"), Ok(Answer::Appended { .. })));
    }
    let _ = transaction.commit().expect("committed");
    assert_eq!([&left, &right].map(committed), [["of the second"], ["of the second"]]);
    // An abort of the first one is refused too.
    let mut third = log.session("p").expect("a third session");
    let transaction = third.begin().expect("begun");
    let _fourth = log.session("p").expect("a fourth session");
    assert!(matches!(transaction.abort(), Err(TransactionError::Fenced { .. })));
}

/// Scenario 43, ten times as often as it can be noticed.
#[test]
fn empty_transactions_leave_nothing_behind() {
    let (directory, log, partition) = fresh();
    let mut session = log.session("p").expect("a session");
    let _ = session.append_next(&partition, b"one").expect("appended");
    partition.prepare(2).expect("room");
    let before = partition.stats();
    for number in 0..1_000_000 {
        let transaction = session.begin().expect("begun");
        if number % 2 == 0 {
            assert!(transaction.commit().expect("committed").is_durable());
        } else {
            transaction.abort().expect("aborted");
        }
    }
    let after = partition.stats();
    assert_eq!((after.end_offset, after.bytes, after.oldest_open_frame), (before.end_offset, before.bytes, None));
    assert!(!directory.path().join("partitions/__transactions").exists(), "nothing was written");
    assert_eq!((partition.stats().stable_offset, partition.stats().aborted_transactions), (1, 0));
    assert_eq!(log.stats().unmarked_transactions, 0);
}

#[test]
fn a_partition_in_which_every_append_was_refused_is_not_part_of_it() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [left, right] = two(&log);
    let mut session = log.session("p").expect("a session");
    let _ = session.append(&right, 0, b"before").expect("appended");
    let mut transaction = session.begin().expect("begun");
    let _ = transaction.append(&left, 0, b"inside").expect("appended");
    assert_eq!(transaction.append(&right, 5, b"a gap").expect("answered"), Answer::OutOfOrder { expected: 1 });
    assert!(matches!(transaction.append(&right, 0, b"before"), Ok(Answer::Duplicate { first: 0, .. })));
    assert_eq!(right.stats().open_transactions, 0);
    let _ = transaction.commit().expect("committed");
    assert_eq!((committed(&left), committed(&right)), (vec!["inside".to_owned()], vec!["before".to_owned()]));
}

/// A plain append behind a commit must not outlive it: it waits until the commit is durable.
#[test]
fn what_is_appended_behind_a_commit_does_not_outlive_it() {
    for window in [oncelog::Window::Mapped, oncelog::Window::Direct] {
        let directory = directory();
        let log = open(directory.path(), &small().window(window));
        let [left, right] = two(&log);
        let mut session = log.session("p").expect("a session");
        let mut transaction = session.begin().expect("begun");
        for partition in [&left, &right] {
            let _ = transaction.append_next(partition, b"inside").expect("appended");
        }
        let commit = transaction.commit().expect("committed");
        let _ = session.append_next(&left, b"behind").expect("appended");
        assert!(commit.is_durable(), "{window:?}");
        assert!(right.durable_offset() >= 1, "with all that it names");
        assert_eq!(committed(&left), ["inside", "behind"]);
    }
}

#[test]
fn a_timeout_of_nothing_is_refused() {
    let (_directory, log, _partition) = fresh();
    let mut session = log.session("p").expect("a session");
    let refused = session.begin_for(Duration::ZERO).map(|_| ());
    assert!(matches!(refused, Err(TransactionError::Timeout { timeout }) if timeout.is_zero()), "{refused:?}");
    assert_eq!(log.stats().open_transactions, 0);
}

#[test]
fn a_partition_of_another_log_is_refused() {
    let (_directory, log, _partition) = fresh();
    let (_other_directory, _other, elsewhere) = fresh();
    let mut session = log.session("p").expect("a session");
    let group = log.group("g").expect("a group");
    let mut transaction = session.begin().expect("begun");
    assert!(transaction.append_next(&elsewhere, b"x").is_err());
    assert!(
        matches!(transaction.commit_offset(&group, &elsewhere, 0), Err(TransactionError::OtherLog { name }) if name == "orders")
    );
    let _ = transaction.commit().expect("the transaction is as it was");
}

/// Runs `behind` while another thread fills a record in place that is before all that `behind` appends; what it is given ends
/// the filling.
fn while_a_record_is_filled(partition: &Partition, behind: impl FnOnce(&dyn Fn())) {
    let (filling, filled) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut appender = partition.appender().expect("an appender");
            let filled = appender.append_with(8, |_, _| {
                filling.wait();
                filled.wait();
                Ok::<(), ()>(())
            });
            assert!(filled.is_ok());
        });
        filling.wait();
        behind(&|| {
            filled.wait();
        });
    });
}

/// A kill drops what is behind a frame that somebody is still filling, so a commit waits for those before its own.
#[test]
fn a_commit_waits_for_what_is_open_before_its_records() {
    let (_directory, log, partition) = fresh();
    let mut session = log.session("p").expect("a session");
    while_a_record_is_filled(&partition, |end_filling| {
        let mut transaction = session.begin().expect("begun");
        let _ = transaction.append_next(&partition, b"behind").expect("appended");
        std::thread::scope(|scope| {
            let committer = scope.spawn(move || drop(transaction.commit().expect("committed")));
            std::thread::sleep(Duration::from_millis(50));
            let was_early = committer.is_finished();
            end_filling();
            committer.join().expect("no panic");
            assert!(!was_early, "a kill then would have lost the record");
        });
    });
    assert_eq!(partition.stats().stable_offset, 2);
}

/// What a transaction that is being aborted is told is about itself, and not about the one before it, which was committed.
#[test]
fn a_commit_that_is_overtaken_by_its_timeout_is_told_so() {
    let (_directory, log, partition) = fresh();
    let mut session = log.session("p").expect("a session");
    let mut transaction = session.begin().expect("begun");
    let _ = transaction.append_next(&partition, b"committed").expect("appended");
    let _ = transaction.commit().expect("committed");
    while_a_record_is_filled(&partition, |end_filling| {
        // Both the commit and the fence of its timeout wait for the frame that is being filled.
        let mut transaction = session.begin_for(Duration::from_millis(5)).expect("begun");
        let _ = transaction.append_next(&partition, b"over its time").expect("appended");
        std::thread::scope(|scope| {
            let committer = scope.spawn(move || transaction.commit().map(|_| ()));
            eventually("it is over its time", || log.open_transactions().iter().all(|open| open.aborting));
            std::thread::sleep(Duration::from_millis(20));
            end_filling();
            let answer = committer.join().expect("no panic");
            assert!(matches!(answer, Err(TransactionError::TimedOut { .. })), "{answer:?}");
        });
    });
    eventually("nobody waits for it", || log.stats().open_transactions == 0);
    assert_eq!(committed(&partition).len(), 2, "what was filled, and what was committed");
}
