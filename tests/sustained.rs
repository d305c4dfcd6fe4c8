//! Appends without pause: memory stays bounded, used segments are used again, and what snapshots know of producers is what
//! was appended.

mod logs;

use logs::{fresh_with, killed, open};
use oncelog::{Answer, Options, Window};
use std::time::Duration;

const SEGMENT: u64 = 64 << 10;
const LONG: Duration = Duration::from_secs(20);

fn options(window: Window) -> Options {
    Options::new().segment_bytes(SEGMENT).segments_ahead(1).window(window)
}

/// Nobody waits, and the interval never comes: without a bound, all of it would pile up in memory.
#[test]
fn appenders_wait_for_the_device_instead_of_filling_memory() {
    for window in [Window::Direct, Window::Mapped] {
        let options = options(window).flush_interval(Some(Duration::from_secs(3600)));
        let (_directory, _log, partition) = fresh_with(&options);
        let mut appender = partition.appender().expect("a handle");
        let record = [7; 1000];
        let mut most = 0;
        for _ in 0..4_000 {
            let last = appender.append(&record).expect("appended");
            most = most.max(last + 1 - partition.durable_offset());
        }
        // Three segments and one that is being filled may be undurable, beside the one that stands ready.
        let bound = 6 * SEGMENT / 1000;
        assert!(most <= bound, "{window:?}: {most} records were not durable, {bound} may be");
    }
}

#[test]
fn retention_gives_segments_back_in_both_windows() {
    for window in [Window::Direct, Window::Mapped] {
        let options = options(window)
            .retention_bytes(Some(4 * SEGMENT))
            .snapshot_bytes(SEGMENT)
            .flush_interval(Some(Duration::from_millis(1)));
        let (_directory, _log, partition) = fresh_with(&options);
        let mut appender = partition.appender().expect("a handle");
        let mut last = 0;
        for _ in 0..6_000 {
            last = appender.append(&[7; 1000]).expect("appended");
        }
        assert!(partition.wait_durable(last, LONG).expect("flushed"));
        let stats = partition.stats();
        assert!(stats.rotations > 80, "{stats:?}");
        assert!(stats.segments_recycled * 2 > stats.segments_prepared, "{window:?}: {stats:?}");
        let mut reader = partition.read_from(last).expect("it is kept");
        assert_eq!(reader.next().expect("whole").map(|record| record.payload().to_vec()), Some(vec![7; 1000]));
    }
}

/// The appender is faster than retention, whose segment comes a moment after the next one is wanted: were that one made anew
/// each time, nothing would ever be used again.
#[test]
fn a_segment_that_is_about_to_be_given_back_is_waited_for() {
    let options = options(Window::Mapped).retention_bytes(Some(4 * SEGMENT)).snapshot_bytes(SEGMENT);
    let (_directory, _log, partition) = fresh_with(&options);
    let mut appender = partition.appender().expect("a handle");
    for _ in 0..6_000 {
        appender.append(&[7; 1000]).expect("appended");
    }
    let stats = partition.stats();
    assert!(stats.rotations > 80, "{stats:?}");
    let made = stats.segments_prepared - stats.segments_recycled;
    assert!(made * 4 < stats.segments_prepared, "{made} segments are new: {stats:?}");
}

/// Snapshots are made of what was replayed when segments were sealed; where that began too late or missed a segment, a
/// reopening would not know the producers that have not appended since.
#[test]
fn snapshots_know_every_producer_whenever_it_last_appended() {
    for window in [Window::Direct, Window::Mapped] {
        let options = options(window)
            .retention_bytes(Some(2 * SEGMENT))
            .snapshot_bytes(2 * SEGMENT)
            .flush_interval(Some(Duration::from_millis(1)));
        let (directory, log, partition) = fresh_with(&options);
        let mut busy = partition.appender().expect("a handle");
        let mut last = 0;
        let names: Vec<String> = (0..40).map(|number| format!("producer-{number}")).collect();
        for (number, name) in (0..).zip(&names) {
            let mut session = log.session(name).expect("registered");
            for sequence in 0..=number {
                let answer = session.append(&partition, sequence, &[1; 300]).expect("appended");
                assert!(matches!(answer, Answer::Appended { .. }), "{answer:?}");
            }
            for _ in 0..100 {
                last = busy.append(&[7; 1000]).expect("appended");
            }
        }
        assert!(partition.wait_durable(last, LONG).expect("flushed"));
        assert!(partition.stats().snapshots > 5, "{:?}", partition.stats());
        assert!(partition.stats().segments_dropped > 20, "{:?}", partition.stats());
        let left = killed(directory.path());
        let log = open(left.path(), &options);
        let partition = log.partition("orders").expect("it is there");
        for (number, name) in (0..).zip(&names) {
            let mut session = log.session(name).expect("registered");
            let found = session.last(&partition).expect("told").map(|last| last.sequence);
            assert_eq!(found, Some(number), "{window:?}: {name}");
        }
    }
}
