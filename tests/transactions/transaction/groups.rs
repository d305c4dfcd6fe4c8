//! Groups: how far those who read under one name have come.

use super::{committed, logs, registered, two};
use logs::{directory, fresh, killed, open, small};
use oncelog::TransactionError;
use std::time::Duration;

#[test]
fn an_offset_is_there_for_the_next_reader_and_after_reopening() {
    let (directory, log, partition) = fresh();
    partition.appender().expect("an appender").append_batch(&[b"0", b"1", b"2"]).expect("appended");
    let group = log.group("readers").expect("a group");
    assert_eq!((group.committed(&partition), group.generation()), (None, 1));
    let commit = group.commit(&partition, 2).expect("committed");
    assert_eq!(group.committed(&partition), Some(2));
    assert!(commit.wait_durable(Duration::from_secs(60)).expect("durable") && commit.is_durable());
    let copy = killed(directory.path());
    let again = open(copy.path(), &small());
    let partition_again = again.partition("orders").expect("the partition");
    let group_again = again.group("readers").expect("taken over");
    assert_eq!((group_again.committed(&partition_again), group_again.generation()), (Some(2), 2));
    assert_eq!(again.groups(), ["readers"]);
    // It may go back, as a reader may that wants to read again.
    let _ = group.commit(&partition, 0).expect("committed");
    assert_eq!(group.committed(&partition), Some(0));
}

/// Scenario 45.
#[test]
fn an_offset_counts_with_its_transaction_or_not_at_all() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [input, output] = two(&log);
    input.appender().expect("an appender").append_batch(&[b"0", b"1", b"2"]).expect("appended");
    let group = log.group("readers").expect("a group");
    let mut session = log.session("p").expect("a session");
    let mut transaction = session.begin().expect("begun");
    transaction.commit_offset(&group, &input, 1).expect("added");
    transaction.commit_offset(&group, &input, 2).expect("the later one counts");
    let _ = transaction.append_next(&output, b"aborted").expect("appended");
    assert!(group.is_pending(&input) && !group.is_pending(&output));
    assert_eq!(group.committed(&input), None, "nobody sees it while it is pending");
    transaction.abort().expect("aborted");
    assert_eq!((group.committed(&input), group.is_pending(&input)), (None, false));
    let mut transaction = session.begin().expect("begun");
    transaction.commit_offset(&group, &input, 2).expect("added");
    let _ = transaction.append_next(&output, b"committed").expect("appended");
    let _ = transaction.commit().expect("committed");
    assert_eq!(group.committed(&input), Some(2), "at once");
    assert_eq!(committed(&output), ["committed"]);
    // A transaction of offsets alone.
    let mut transaction = session.begin().expect("begun");
    transaction.commit_offset(&group, &input, 3).expect("added");
    let commit = transaction.commit().expect("committed");
    assert!(!commit.is_durable() && commit.wait_durable(Duration::from_secs(60)).expect("durable"));
    let copy = killed(directory.path());
    let again = open(copy.path(), &small());
    assert_eq!(again.group_at("readers", 1).committed(&again.partition("left").expect("it is there")), Some(3));
}

/// Scenario 46.
#[test]
fn a_consumer_that_was_replaced_commits_nothing() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [input, output] = two(&log);
    input.appender().expect("an appender").append_batch(&[b"0", b"1"]).expect("appended");
    let elder = log.group("readers").expect("a group");
    let mut session = log.session("p").expect("a session");
    let mut transaction = session.begin().expect("begun");
    transaction.commit_offset(&elder, &input, 1).expect("added");
    let _ = transaction.append_next(&output, b"of the elder").expect("appended");
    let newer = log.group("readers").expect("taken over");
    assert_eq!(newer.committed(&input), None, "it need not wait for what is pending");
    match transaction.commit() {
        Err(TransactionError::StaleGeneration { group, generation: 1, current: 2 }) => assert_eq!(group, "readers"),
        other => panic!("{other:?}"),
    }
    assert_eq!((committed(&output).len(), newer.committed(&input)), (0, None), "the transaction was aborted");
    assert!(matches!(elder.commit(&input, 1), Err(TransactionError::StaleGeneration { .. })));
    let mut transaction = session.begin().expect("begun");
    assert!(matches!(transaction.commit_offset(&elder, &input, 1), Err(TransactionError::StaleGeneration { .. })));
    transaction.commit_offset(&newer, &input, 1).expect("added");
    let _ = transaction.append_next(&output, b"of the newer").expect("appended");
    let _ = transaction.commit().expect("committed");
    assert_eq!((committed(&output), newer.committed(&input)), (vec!["of the newer".to_owned()], Some(1)));
    let ahead = log.group_at("readers", 7);
    assert!(matches!(
        ahead.commit(&input, 1),
        Err(TransactionError::StaleGeneration { generation: 7, current: 2, .. })
    ));
    let never = log.group_at("nobody", 0);
    assert!(matches!(never.commit(&input, 1), Err(TransactionError::StaleGeneration { .. })), "it was never made");
}

#[test]
fn an_offset_that_nobody_can_have_reached_is_refused() {
    let (_directory, log, partition) = fresh();
    partition.appender().expect("an appender").append(b"0").expect("appended");
    let group = log.group("readers").expect("a group");
    let refused = group.commit(&partition, 2);
    assert!(matches!(refused, Err(TransactionError::BeyondEnd { offset: 2, end: 1, .. })), "{refused:?}");
    let id = registered(&log, "p");
    log.begin_transaction(id, Duration::from_secs(60)).expect("begun");
    let refused = log.add_offset(id, &group, &partition, u64::MAX);
    assert!(matches!(refused, Err(TransactionError::BeyondEnd { offset: u64::MAX, end: 1, .. })), "{refused:?}");
    log.add_offset(id, &group, &partition, 1).expect("added");
    let _ = log.commit_transaction(id).expect("committed");
    assert_eq!(group.committed(&partition), Some(1));
}

#[test]
fn a_name_that_no_group_can_have_is_refused() {
    let (_directory, log, _partition) = fresh();
    let long = "x".repeat(201);
    for name in ["", "a/b", "a\nb", &long] {
        match log.group(name) {
            Err(TransactionError::GroupName { name: said, .. }) => assert_eq!(said, name),
            other => panic!("{name:?}: {:?}", other.map(|group| group.generation())),
        }
    }
}

/// The answer to a commit of nothing but offsets is lost, and it is asked for again: it is as durable as it was, and no more.
#[test]
fn a_commit_of_offsets_alone_that_is_repeated_is_not_durable_before_it_is() {
    let (_directory, log, partition) = fresh();
    partition.appender().expect("an appender").append(b"0").expect("appended");
    let group = log.group("readers").expect("a group");
    let id = registered(&log, "p");
    log.begin_transaction(id, Duration::from_secs(60)).expect("begun");
    log.add_offset(id, &group, &partition, 1).expect("added");
    for _ in 0..2 {
        assert!(!log.commit_transaction(id).expect("committed").is_durable());
    }
    let again = log.commit_transaction(id).expect("committed");
    assert!(again.wait_durable(Duration::from_secs(60)).expect("durable") && again.is_durable());
}
