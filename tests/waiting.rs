//! Readers that wait for records that are not there yet: blocking, and with a waker.

mod logs;

use logs::{PATIENCE, append_many, fresh, payload_of};
use oncelog::FetchError;
use std::{
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

#[test]
fn a_reader_waits_for_the_next_record() {
    let (_directory, log, partition) = fresh();
    let mut reader = partition.read_from(0).expect("of an empty partition");
    assert!(!reader.wait(Duration::from_millis(5)).expect("waits"), "nothing has come");
    assert!(!reader.wait(Duration::ZERO).expect("does not wait"));
    const RECORDS: u64 = 2_000;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut session = log.session("writer").expect("a session");
            for sequence in 0..RECORDS {
                append_many(&mut session, &partition, sequence..sequence + 1);
                if sequence % 100 == 0 {
                    thread::sleep(Duration::from_millis(3));
                }
            }
        });
        let mut next = 0;
        while next < RECORDS {
            assert!(reader.wait(PATIENCE).expect("waits"), "record {next} never came");
            while let Some(record) = reader.next().expect("a record") {
                assert_eq!((record.offset(), record.payload()), (next, payload_of(next).as_slice()));
                next += 1;
            }
        }
    });
    // What is no record wakes nobody for nothing.
    let mut appender = partition.appender().expect("an appender");
    appender.append_with(8, |_, _| Err("given up")).expect_err("a void frame");
    assert!(!reader.wait(Duration::from_millis(5)).expect("waits"), "a gap is nothing to read");
    appender.append(b"behind the gap").expect("appended");
    assert!(reader.wait(PATIENCE).expect("waits"));
    assert_eq!(reader.next().expect("read").expect("a record").offset(), RECORDS + 1);
}

/// A waker that says it was woken.
struct Tell(Sender<()>);

impl Wake for Tell {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

#[test]
fn an_asynchronous_reader_is_woken() {
    let (_directory, log, partition) = fresh();
    let (woken, wakes) = channel();
    let waker = Waker::from(Arc::new(Tell(woken)));
    let mut context = Context::from_waker(&waker);
    let mut reader = partition.read_from_end().expect("a reader");
    let mut appender = partition.appender().expect("an appender");
    for number in 0..300_u64 {
        assert!(matches!(reader.poll_ready(&mut context), Poll::Pending), "record {number} is not there");
        if number % 3 == 0 {
            // Asked again, it still wakes once.
            assert!(matches!(reader.poll_ready(&mut context), Poll::Pending));
        }
        appender.append(&[number as u8; 1_000]).expect("appended");
        wakes.recv_timeout(PATIENCE).expect("woken");
        assert!(matches!(reader.poll_ready(&mut context), Poll::Ready(Ok(()))));
        assert_eq!(reader.next().expect("read").expect("a record").offset(), number);
        assert!(wakes.try_recv().is_err(), "woken twice for one record");
    }
    // A reader that is gone is woken no more; one that waits when the log is closed is told.
    let mut gone = partition.read_from_end().expect("a reader");
    assert!(matches!(gone.poll_ready(&mut context), Poll::Pending));
    drop(gone);
    assert!(matches!(reader.poll_ready(&mut context), Poll::Pending));
    drop((appender, partition));
    log.close().expect("a reader does not hold the log");
    wakes.recv_timeout(PATIENCE).expect("woken by the close");
    assert!(matches!(reader.poll_ready(&mut context), Poll::Ready(Err(FetchError::Closed))));
    assert!(!reader.wait(PATIENCE).expect("returns at once"));
    assert!(wakes.try_recv().is_err());
}
