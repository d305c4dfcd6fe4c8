//! What closing does with what is still under way: handles, transactions, waiting readers, records that are not durable.

mod logs;

use logs::{PATIENCE, append_many, copy_of, directory, eventually, open, payloads, small, try_open};
use oncelog::{CloseError, FetchError, Isolation, OpenError, ReadOnlyLog, Stamp, TransactionId, Window};
use std::{
    sync::mpsc::channel,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

#[test]
fn a_log_is_closed_with_the_last_of_its_handles_and_readers_are_none() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let partition = log.partition("orders").expect("a partition");
    let mut session = log.session("checkout").expect("a session");
    append_many(&mut session, &partition, 0..10);
    let mut reader = partition.read_from(0).expect("a reader");
    let handles = match log.close() {
        Err(CloseError::InUse { handles }) => handles,
        other => panic!("{other:?}"),
    };
    // The session holds the partition too.
    assert_eq!(handles, 3);
    // It stays as open as it was.
    append_many(&mut session, &partition, 10..20);
    assert!(matches!(try_open(directory.path(), &small()), Err(OpenError::Locked { .. })));
    drop(partition);
    drop(session);
    // That was the last: sealed, and a reopening has nothing to look through.
    let seen = ReadOnlyLog::open(directory.path()).expect("opened");
    let recovery = seen.partition("orders").expect("there").recovery();
    assert_eq!((recovery.end_offset, recovery.scanned_bytes), (20, 0), "{recovery:?}");
    // The reader reads on, to the end that there was.
    assert_eq!(logs::rest(&mut reader).expect("read").len(), 20);
    drop(open(directory.path(), &small()));
}

#[test]
fn waiting_readers_are_woken_and_told() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let partition = log.partition("orders").expect("a partition");
    partition.appender().expect("an appender").append(b"the only one").expect("appended");
    let mut blocked = partition.read_from(1).expect("a reader");
    let mut polled = partition.read_from(0).expect("a reader");
    drop(partition);
    let (waits, waited) = channel();
    let waiter = thread::spawn(move || {
        waits.send(()).expect("somebody listens");
        (blocked.wait(PATIENCE).expect("waits"), blocked.next().expect("read").is_none())
    });
    waited.recv().expect("it is about to wait");
    log.close().expect("closed");
    assert_eq!(waiter.join().expect("no panic"), (false, true), "nothing came, and nothing will");
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(polled.poll_ready(&mut context), Poll::Ready(Ok(()))), "what is there is read first");
    assert!(polled.next().expect("read").is_some());
    assert!(matches!(polled.poll_ready(&mut context), Poll::Ready(Err(FetchError::Closed))));
}

#[test]
fn open_transactions_are_aborted_and_committed_ones_are_durable() {
    for window in [Window::Mapped, Window::Direct] {
        let directory = directory();
        let options = small().window(window);
        let log = open(directory.path(), &options);
        let partition = log.partition("orders").expect("a partition");
        let mut session = log.session("by session").expect("a session");
        let mut transaction = session.begin().expect("begun");
        let _appended = transaction.append_next(&partition, b"committed").expect("answered");
        // Nobody waits for it.
        let _commit = transaction.commit().expect("committed");
        let registration = log.register("by id").expect("registered");
        let id = TransactionId { producer: registration.id, epoch: registration.epoch, number: 1 };
        log.begin_transaction(id, Duration::from_secs(600)).expect("begun");
        let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence: 0 };
        let mut appender = partition.appender().expect("an appender");
        let _appended = appender.append_in_transaction(1, stamp, b"undecided").expect("answered");
        appender.append(b"plain").expect("appended");
        drop((session, appender, partition, _commit));
        log.close().expect("closed");

        let seen = ReadOnlyLog::open(directory.path()).expect("opened");
        let orders = seen.partition("orders").expect("there");
        assert_eq!(orders.stable_offset(), orders.end_offset(), "nothing is undecided");
        let log = open(directory.path(), &options);
        assert_eq!(log.open_transactions(), []);
        let partition = log.partition("orders").expect("a partition");
        let mut reader = partition.read_from(0).expect("a reader");
        reader.set_isolation(Isolation::ReadCommitted);
        let seen: Vec<_> = logs::rest(&mut reader).expect("read").into_iter().map(|seen| seen.payload).collect();
        assert_eq!(seen, [b"committed".to_vec(), b"plain".to_vec()], "{window:?}");
        // The aborted record's sequence is free again.
        let registration = log.register("by id").expect("registered");
        let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence: 0 };
        let answer = partition.appender().expect("an appender").append_by_id(stamp, b"again").expect("answered");
        assert!(matches!(answer, oncelog::Answer::Appended { .. }), "{answer:?}");
    }
}

#[test]
fn what_nobody_has_waited_for_is_in_the_files() {
    let directory = directory();
    let options = small().window(Window::Direct).flush_interval(Some(Duration::from_secs(3600)));
    let log = open(directory.path(), &options);
    let partition = log.partition("orders").expect("a partition");
    let mut appender = partition.appender().expect("an appender");
    for number in 0..100_u64 {
        appender.append(&number.to_le_bytes()).expect("appended");
    }
    assert_eq!(partition.durable_offset(), 0, "all of it is in memory alone");
    drop((appender, partition));
    log.close().expect("closed");
    let copy = copy_of(directory.path());
    let log = open(copy.path(), &options);
    let partition = log.partition("orders").expect("a partition");
    assert_eq!(payloads(&partition), (0..100_u64).map(|number| number.to_le_bytes().to_vec()).collect::<Vec<_>>());
    assert_eq!(partition.durable_offset(), 100);
}

#[test]
fn a_log_that_is_dropped_is_closed() {
    let directory = directory();
    let log = open(directory.path(), &small());
    log.partition("orders").expect("a partition").appender().expect("an appender").append(b"one").expect("appended");
    drop(log);
    eventually("the lock is free", || try_open(directory.path(), &small()).is_ok());
    let seen = ReadOnlyLog::open(directory.path()).expect("opened");
    assert_eq!(seen.partition("orders").expect("there").recovery().scanned_bytes, 0);
}
