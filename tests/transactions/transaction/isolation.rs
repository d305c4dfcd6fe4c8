//! What readers see of transactions that are open, committed and aborted.

use super::{all, committed, logs, read, rest, two};
use logs::{directory, eventually, fresh, open, small};
use oncelog::{Answer, Isolation, Verify};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

/// Scenario 24.
#[test]
fn the_last_stable_offset_waits_for_the_oldest_open_transaction() {
    let (_directory, log, partition) = fresh();
    let mut sessions = ["a", "b", "c"].map(|name| log.session(name).expect("a session"));
    let [first, second, third] = &mut sessions;
    let mut open = [first, second, third].map(|session| session.begin().expect("begun"));
    for (at, transaction) in (0..).zip(&mut open) {
        let answer = transaction.append_next(&partition, format!("of {at}").as_bytes()).expect("appended");
        assert_eq!(answer, Answer::Appended { first: at, last: at });
    }
    assert_eq!(partition.stats().stable_offset, 0);
    let [first, second, third] = open;
    let _ = first.commit().expect("committed");
    assert_eq!((partition.stats().stable_offset, committed(&partition)), (1, vec!["of 0".to_owned()]));
    let holder = partition.stats().held_by.map(|(_, number)| number);
    assert_eq!(holder, Some(second.number()));
    let _ = third.commit().expect("committed");
    assert_eq!(partition.stats().stable_offset, 1, "the second one is still open");
    let _ = second.commit().expect("committed");
    assert_eq!((partition.stats().stable_offset, partition.stats().held_by), (3, None));
    assert_eq!(committed(&partition), ["of 0", "of 1", "of 2"]);
}

/// Scenario 25.
#[test]
fn records_behind_an_open_transaction_wait_for_it() {
    let (_directory, log, partition) = fresh();
    let mut appender = partition.appender().expect("an appender");
    appender.append(b"before").expect("appended");
    let mut session = log.session("p").expect("a session");
    let mut transaction = session.begin().expect("begun");
    let _ = transaction.append_next(&partition, b"inside").expect("appended");
    appender.append(b"behind").expect("appended");
    assert_eq!(committed(&partition), ["before"]);
    assert_eq!(all(&partition), ["before", "inside", "behind"]);
    transaction.abort().expect("aborted");
    assert_eq!(committed(&partition), ["before", "behind"]);
    assert_eq!(all(&partition), ["before", "inside", "behind"], "nothing is taken out of the log");
}

/// Scenario 26: what comes and is decided while a read is under way is for the next one.
#[test]
fn a_read_goes_no_further_than_the_limit_that_it_has_seen() {
    let (_directory, log, partition) = fresh();
    let mut appender = partition.appender().expect("an appender");
    appender.append_batch(&[b"0", b"1", b"2"]).expect("appended");
    let mut reader = partition.read_from(0).expect("a reader");
    reader.set_isolation(Isolation::ReadCommitted);
    assert!(reader.next().expect("read").is_some());
    let mut session = log.session("p").expect("a session");
    let mut transaction = session.begin().expect("begun");
    let _ = transaction.append_batch(&partition, 0, &[b"aborted", b"too"]).expect("appended");
    transaction.abort().expect("aborted");
    appender.append(b"5").expect("appended");
    assert_eq!(rest(&mut reader), ["1", "2", "5"]);
    assert_eq!(reader.next_offset(), 6);
}

/// Scenario 28.
#[test]
fn an_aborted_transaction_is_passed_over_in_every_segment_it_reaches() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [left, _] = two(&log);
    let mut appender = left.appender().expect("an appender");
    let mut session = log.session("p").expect("a session");
    let mut transaction = session.begin().expect("begun");
    for number in 0..2_000_u32 {
        let _ = transaction.append_next(&left, &[b'x'; 100]).expect("appended");
        if number.is_multiple_of(500) {
            appender.append(format!("kept {number}").as_bytes()).expect("appended");
        }
    }
    transaction.abort().expect("aborted");
    let kept: Vec<String> = (0..4).map(|at| format!("kept {}", at * 500)).collect();
    assert!(left.stats().segments > 3);
    assert_eq!(committed(&left), kept);
    // From any place, with any verification, and after reopening too.
    for verify in [Verify::Always, Verify::OncePerSegment, Verify::Never] {
        let mut reader = left.read_from(1_000).expect("a reader");
        reader.set_verify(verify);
        reader.set_isolation(Isolation::ReadCommitted);
        assert_eq!(rest(&mut reader), kept[2..], "{verify:?}");
    }
    drop((left, appender, session));
    let log = {
        log.close().ok();
        open(directory.path(), &small())
    };
    let [left, _] = two(&log);
    assert_eq!(committed(&left), kept);
    assert_eq!(left.stats().aborted_transactions, 1);
}

/// Scenario 47.
#[test]
fn a_reader_comes_to_the_end_of_aborted_data_and_rests() {
    let (_directory, log, partition) = fresh();
    partition.appender().expect("an appender").append(b"first").expect("appended");
    let mut reader = partition.read_from(0).expect("a reader");
    reader.set_isolation(Isolation::ReadCommitted);
    assert_eq!(rest(&mut reader), ["first"]);
    let mut session = log.session("p").expect("a session");
    for _ in 0..3 {
        let mut transaction = session.begin().expect("begun");
        let _ = transaction.append_batch(&partition, 0, &[b"x", b"y"]).expect("appended");
        transaction.abort().expect("aborted");
    }
    assert!(reader.next().expect("read").is_none());
    assert_eq!(reader.next_offset(), partition.end_offset(), "the position is behind what was passed over");
    assert!(!reader.wait(Duration::from_millis(20)).expect("waited"), "there is nothing to wake up for");
    assert_eq!(read(&partition, Isolation::ReadCommitted).1, partition.end_offset());
}

/// Notes that it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_reader_that_waits_is_woken_when_the_transaction_is_decided() {
    for commit in [true, false] {
        let (_directory, log, partition) = fresh();
        let mut session = log.session("p").expect("a session");
        let mut transaction = session.begin().expect("begun");
        let _ = transaction.append_next(&partition, b"waited for").expect("appended");
        let mut appender = partition.appender().expect("an appender");
        appender.append(b"behind").expect("appended");
        let mut reader = partition.read_from(0).expect("a reader");
        reader.set_isolation(Isolation::ReadCommitted);
        assert!(!reader.wait(Duration::from_millis(20)).expect("waited"), "it is open");
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert!(reader.poll_ready(&mut Context::from_waker(&waker)).is_pending());
        if commit {
            let _ = transaction.commit().expect("committed");
        } else {
            transaction.abort().expect("aborted");
        }
        eventually("it is woken", || woken.0.load(Ordering::Acquire));
        assert!(reader.poll_ready(&mut Context::from_waker(&waker)).is_ready());
        let expected: &[&str] = if commit { &["waited for", "behind"] } else { &["behind"] };
        assert_eq!(rest(&mut reader), expected);
    }
}

/// A seek into a batch that is not decided yet must not let the reader out of it once it is aborted, nor lose its place
/// once it is committed.
#[test]
fn a_seek_into_an_open_transactions_batch_comes_out_right() {
    for commit in [true, false] {
        let (_directory, log, partition) = fresh();
        let mut session = log.session("p").expect("a session");
        let mut transaction = session.begin().expect("begun");
        let _ = transaction.append_batch(&partition, 0, &[b"0", b"1", b"2"]).expect("appended");
        partition.appender().expect("an appender").append(b"3").expect("appended");
        let mut reader = partition.read_from_end().expect("a reader");
        reader.set_isolation(Isolation::ReadCommitted);
        reader.seek(1).expect("inside of the batch");
        assert!(reader.next().expect("read").is_none());
        if commit {
            let _ = transaction.commit().expect("committed");
            assert_eq!(rest(&mut reader), ["1", "2", "3"]);
        } else {
            transaction.abort().expect("aborted");
            assert_eq!(rest(&mut reader), ["3"]);
        }
        assert_eq!(reader.next_offset(), 4);
    }
}

/// One that reads both partitions after another has seen the commit sees all of it.
#[test]
fn whoever_comes_after_a_commit_sees_all_of_it() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let partitions = two(&log);
    let mut session = log.session("p").expect("a session");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut most = 0;
            while !stop.load(Ordering::Relaxed) {
                let [left, right] = [0, 1].map(|at| committed(&partitions[at]).len());
                assert!(right >= left.min(right) && right >= most, "a commit that was seen is seen in full");
                most = left;
            }
        });
        for number in 0..500_u32 {
            let mut transaction = session.begin().expect("begun");
            for partition in &partitions {
                let _ = transaction.append_next(partition, &number.to_le_bytes()).expect("appended");
            }
            if number % 3 == 0 {
                transaction.abort().expect("aborted");
            } else {
                let _ = transaction.commit().expect("committed");
            }
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().expect("no panic");
    });
    eventually("both are the same", || committed(&partitions[0]) == committed(&partitions[1]));
    assert_eq!(committed(&partitions[0]).len(), 333);
}
