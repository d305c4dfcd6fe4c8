//! Partitions that are put to rest, or found idle, at the worst moment.

use crate::{log::Log, options::Options};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

#[expect(unsafe_code, reason = "opening a log is")]
fn open(directory: &std::path::Path, options: &Options) -> Log {
    // SAFETY: nobody else knows of the directory.
    unsafe { Log::open(directory, options) }.expect("opened")
}

fn small() -> Options {
    Options::new().segment_bytes(64 << 10).first_segment_bytes(64 << 10).awake_partitions_max(1)
}

/// The thread that puts a partition to rest had seen that nothing stood ready, and said that it was asleep after the preparer
/// had made a segment and found it awake. Nobody then flushed what was appended there by interval, and closing a log of the
/// direct window lost it.
#[test]
fn a_partition_that_is_put_to_rest_while_a_segment_is_made_for_it_is_awake() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = open(directory.path(), &small().idle_after(None));
    let (other, partition) = (log.partition("other").expect("made"), log.partition("orders").expect("made"));
    other.appender().expect("a handle").append(b"awake").expect("appended");
    let is_over = Arc::new(AtomicBool::new(false));
    let resting = {
        let (is_over, core, state) = (Arc::clone(&is_over), Arc::clone(&log.handle.core), Arc::clone(&partition.state));
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                core.let_rest(vec![(0, Arc::clone(&state))]);
            }
        })
    };
    let mut appender = partition.appender().expect("a handle");
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        appender.append(b"an order").expect("appended");
    }
    is_over.store(true, Ordering::Relaxed);
    resting.join().expect("ended");
    // The preparer may be about to say so.
    let until = Instant::now() + Duration::from_secs(10);
    while !partition.state.is_awake.load(Ordering::Relaxed) && !partition.state.chain.is_at_rest() {
        assert!(Instant::now() < until, "it sleeps with a segment in use");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Each idle time of a partition that is appended to once in a while left one more tail in its chain, until the segment in use
/// was full: without end, in effect.
#[test]
fn a_trickle_of_appends_does_not_make_a_segment_for_each() {
    const HOUR: Duration = Duration::from_secs(3600);
    let directory = tempfile::tempdir().expect("a directory");
    let log = open(directory.path(), &small().idle_after(Some(HOUR)));
    let partition = log.partition("orders").expect("made");
    let state = &partition.state;
    let mut appender = partition.appender().expect("a handle");
    let mut now_ms = log.handle.core.clock.now_ms();
    for _ in 0..50 {
        appender.append(b"an order").expect("appended");
        for _ in 0..2 {
            now_ms += 2 * HOUR.as_millis() as u64;
            state.look_for_idleness(now_ms);
        }
        state.prepare_one(now_ms);
    }
    let made = state.counters.prepared.load(Ordering::Relaxed);
    assert!(made < 15, "{made} segments were made for one that is in use");
    assert_eq!(partition.stats().segments, 1);
}
