//! With the feature `tracing`, what happens seldom is told, and nothing else.

mod logs;

use logs::{directory, eventually, killed, open, payload_of, small};
use oncelog::ReadOnlyLog;
use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Keeps the message of every event, with its fields.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

impl Subscriber for Told {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "oncelog"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{} ", event.metadata().level()));
        event.record(&mut line);
        self.0.lock().expect("no panic").push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Told {
    fn holds(&self, level: &str, words: &[&str]) -> bool {
        let told = self.0.lock().expect("no panic");
        told.iter().any(|line| line.starts_with(level) && words.iter().all(|word| line.contains(word)))
    }

    fn count(&self) -> usize {
        self.0.lock().expect("no panic").len()
    }
}

/// One test, since events of other threads go to one place for the whole process.
#[test]
fn what_happens_seldom_is_told_and_appends_are_not() {
    let told = Told::default();
    tracing::subscriber::set_global_default(told.clone()).expect("the first");
    let directory = directory();
    let options = small().snapshot_bytes(64 << 10).retention_bytes(Some(0));
    let log = open(directory.path(), &options);
    assert!(told.holds("INFO", &["the log was opened", "partitions=1"]));

    let orders = log.partition("orders").expect("a partition");
    let mut appender = orders.appender().expect("an appender");
    appender.append(b"the first").expect("appended");
    assert!(told.holds("DEBUG", &["a segment was begun", "partition=orders"]));
    orders.prepare(2).expect("prepared");
    let before = told.count();
    let mut reader = orders.read_from(0).expect("a reader");
    for number in 0..500 {
        appender.append(&payload_of(number)).expect("appended");
        reader.next().expect("read").expect("a record");
    }
    assert!(orders.wait_durable(500, Duration::from_secs(30)).expect("flushed"));
    assert_eq!(told.count(), before, "appends, reads and rounds are told by nobody");

    for _ in 0..40 {
        appender.append(&vec![0; 8 << 10]).expect("appended");
    }
    eventually("segments are sealed, stood for by snapshots and dropped", || {
        told.holds("DEBUG", &["a segment was sealed", "segment=1"])
            && told.holds("DEBUG", &["a snapshot was written"])
            && told.holds("DEBUG", &["retention drops a segment", "segment=1"])
    });

    let mut session = log.session("checkout").expect("a session");
    let _appended = session.append(&orders, 0, b"an order").expect("answered");
    let _later = log.session("checkout").expect("a session");
    assert!(told.holds("INFO", &["a producer is fenced", "producer=checkout", "epoch=2"]));

    let mut hanging = log.session("hanging").expect("a session");
    let mut transaction = hanging.begin_for(Duration::from_millis(1)).expect("begun");
    let _appended = transaction.append_next(&orders, b"undecided").expect("answered");
    eventually("it times out", || told.holds("WARN", &["a transaction was open for too long", "transaction=1"]));
    drop(transaction);

    drop(hanging);
    let copy = killed(directory.path());
    let seen = ReadOnlyLog::open(copy.path()).expect("opened");
    assert!(seen.partition("orders").is_some());
    drop(open(copy.path(), &options));
    assert!(told.holds("WARN", &["the end of a partition was torn, and is cut here", "orders"]));
    assert!(told.holds("INFO", &["the log was closed", "is_sealed=true"]));
}
