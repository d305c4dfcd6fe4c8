//! Who waits for a record to be durable, and who makes it so (I7, I10): nobody sleeps on behind a round that covers it,
//! nobody waits for one who has given up, and behind a failed round nothing is acknowledged that was not durable before.

use crate::{
    sync::{Arc, AtomicU64, Instant, Ordering},
    turns::{Marked, Turns, Waited},
};
use std::{io, time::Duration};

/// A partition of which only the two ends are left.
struct Ends {
    visible: AtomicU64,
    durable: AtomicU64,
}

impl Marked for Ends {
    fn durable_offset(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }
}

/// A log of one partition.
struct Log {
    turns: Turns<Ends>,
    ends: Arc<Ends>,
    /// Rounds that may still succeed.
    good_rounds: AtomicU64,
    /// The durable mark when a round failed.
    durable_at_failure: AtomicU64,
}

impl Log {
    fn new(good_rounds: u64) -> Arc<Self> {
        Instant::restart();
        Arc::new(Self {
            turns: Turns::new(),
            ends: Arc::new(Ends { visible: AtomicU64::new(0), durable: AtomicU64::new(0) }),
            good_rounds: AtomicU64::new(good_rounds),
            durable_at_failure: AtomicU64::new(u64::MAX),
        })
    }

    /// Appends a record and waits until it is durable.
    fn append_durably(&self, timeout: Duration) -> (u64, Waited) {
        let offset = self.ends.visible.fetch_add(1, Ordering::AcqRel);
        (offset, self.turns.wait(&self.ends, offset, timeout, || self.round(), || {}, || false))
    }

    fn round(&self) -> bool {
        self.turns.round(|| {
            let (from, to) = (self.ends.durable.load(Ordering::Acquire), self.ends.visible.load(Ordering::Acquire));
            if from == to {
                return Ok(false);
            }
            if self.good_rounds.load(Ordering::Relaxed) == 0 {
                // The next one would succeed, as the system's second fsync does, which has forgotten the error.
                self.good_rounds.store(1, Ordering::Relaxed);
                self.durable_at_failure.store(from, Ordering::Release);
                return Err(("flush a segment", io::Error::from_raw_os_error(5)));
            }
            self.good_rounds.fetch_sub(1, Ordering::Relaxed);
            self.ends.durable.fetch_max(to, Ordering::AcqRel);
            Ok(true)
        })
    }
}

const FOR_EVER: Duration = Duration::MAX;

#[test]
fn whoever_waits_for_a_durable_record_returns() {
    loom::model(|| {
        let log = Log::new(u64::MAX);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let log = Arc::clone(&log);
                loom::thread::spawn(move || log.append_durably(FOR_EVER))
            })
            .collect();
        // One that sleeps on is a deadlock, which loom tells.
        for other in others {
            assert_eq!(other.join().expect("no panic").1, Waited::Durable);
        }
    });
}

#[test]
fn a_round_that_another_thread_makes_wakes_those_who_wait() {
    loom::model(|| {
        let log = Log::new(u64::MAX);
        let waiting = {
            let log = Arc::clone(&log);
            loom::thread::spawn(move || log.append_durably(FOR_EVER))
        };
        // The log's own thread, which commits by interval.
        if log.turns.take_role() {
            log.round();
            log.turns.hand_over(false);
        }
        assert_eq!(waiting.join().expect("no panic").1, Waited::Durable);
    });
}

#[test]
fn who_is_waited_for_and_gives_up_holds_nobody_up() {
    loom::model(|| {
        let log = Log::new(u64::MAX);
        // As behind a round of three that took a while: the first who comes waits for the others, for a time.
        log.turns.role().last_round = Duration::from_millis(1);
        log.turns.expect(3);
        let one = {
            let log = Arc::clone(&log);
            loom::thread::spawn(move || log.append_durably(FOR_EVER))
        };
        let impatient = log.append_durably(Duration::from_micros(10)).1;
        assert!(matches!(impatient, Waited::Durable | Waited::TimedOut));
        assert_eq!(one.join().expect("no panic").1, Waited::Durable);
    });
}

/// The record is behind a frame that is open until the second round: the first finds nothing, and whoever has waited for it
/// comes back.
#[test]
fn a_round_that_covers_nothing_forgets_nobody() {
    loom::model(|| {
        let log = Log::new(u64::MAX);
        log.turns.role().last_round = Duration::from_millis(1);
        log.turns.expect(3);
        let rounds = Arc::new(AtomicU64::new(0));
        let wait = {
            let (log, rounds) = (Arc::clone(&log), Arc::clone(&rounds));
            move || {
                let round = || {
                    let open = rounds.fetch_add(1, Ordering::AcqRel) == 0;
                    log.ends.visible.store(u64::from(!open), Ordering::Release);
                    log.round()
                };
                log.turns.wait(&log.ends, 0, FOR_EVER, round, || {}, || false)
            }
        };
        // As behind a round of three: the last who comes makes this one, and the others sleep until it is over.
        let others = [loom::thread::spawn(wait.clone()), loom::thread::spawn(wait.clone())];
        assert_eq!(wait(), Waited::Durable);
        for other in others {
            assert_eq!(other.join().expect("no panic"), Waited::Durable);
        }
    });
}

#[test]
fn behind_a_failed_round_nothing_more_is_acknowledged() {
    for good_rounds in 0..2 {
        loom::model(move || {
            let log = Log::new(good_rounds);
            let other = {
                let log = Arc::clone(&log);
                loom::thread::spawn(move || {
                    let first = log.append_durably(FOR_EVER);
                    [first, log.append_durably(FOR_EVER)]
                })
            };
            let own = log.append_durably(FOR_EVER);
            let [first, second] = other.join().expect("no panic");
            let durable = log.durable_at_failure.load(Ordering::Acquire);
            for (offset, waited) in [own, first, second] {
                let acknowledged = waited == Waited::Durable;
                assert!(acknowledged == (offset < durable), "offset {offset}: {waited:?}, {durable} were durable");
            }
            assert!(log.ends.durable_offset() <= durable, "the mark has moved behind a failure");
        });
    }
}

/// Who looked at the mark just before the last good round, and at the failure just behind the next one, was told that the
/// failure had hit a record that was durable.
#[test]
fn what_was_durable_before_a_failure_is_acknowledged() {
    loom::model(|| {
        let log = Log::new(1);
        // Visible before any round: the one that succeeds covers it, whoever makes it.
        let offset = log.ends.visible.fetch_add(1, Ordering::AcqRel);
        let waiting = {
            let log = Arc::clone(&log);
            loom::thread::spawn(move || log.turns.wait(&log.ends, offset, FOR_EVER, || log.round(), || {}, || false))
        };
        for _ in 0..2 {
            if log.turns.take_role() {
                log.round();
                log.turns.hand_over(false);
            }
            log.ends.visible.fetch_add(1, Ordering::AcqRel);
        }
        assert_eq!(waiting.join().expect("no panic"), Waited::Durable);
    });
}
