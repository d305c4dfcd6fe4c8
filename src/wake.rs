//! Who waits for records, and what wakes them.
//!
//! An append wakes nobody: it would have to look for waiters with a fence, and to call the system for each. The clock
//! thread looks for them instead, at the publication word that each waits for: every 50 us while somebody has just begun
//! to wait, each millisecond when all have waited for long. A wake-up cannot be lost, since the word stays published.

use crate::{
    partition::PartitionState,
    segment::{
        file::Segment,
        scan::{Found, find},
    },
};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

/// Shortest pause between two looks.
const PAUSE_MIN: Duration = Duration::from_micros(50);
/// The pause is this part of the time that the latest comer has waited.
const PAUSE_SHARE: u32 = 8;

/// What has to come.
#[derive(Clone)]
pub(crate) enum Awaited {
    /// A frame at a unit of a segment.
    Frame { segment: Arc<Segment>, unit: usize },
    /// The first frame of a segment behind that one.
    Segment { partition: Arc<PartitionState>, behind: u64 },
    /// The record at that offset is stable; or more was cut off than that many times.
    Stable { partition: Arc<PartitionState>, offset: u64, cuts: u64 },
}

impl Awaited {
    /// Whether it has come, or will never: then the reader finds out why.
    pub(crate) fn has_come(&self) -> bool {
        match self {
            Self::Frame { segment, unit } => {
                if *unit >= segment.limit() || segment.is_superseded() {
                    return true;
                }
                let Ok(window) = segment.window() else { return true };
                !matches!(find(&window, segment.shape(), *unit), Found::Nothing)
            }
            Self::Stable { partition, offset, cuts } => {
                if partition.chain.cuts() != *cuts {
                    return true;
                }
                let limit = partition.stability.limit(|| partition.chain.visible_end().map(|end| end.offset));
                limit.map_or(true, |limit| limit > *offset)
            }
            Self::Segment { partition, behind } => partition.chain.behind(*behind).is_some(),
        }
    }
}

struct Waiter {
    number: u64,
    awaited: Awaited,
    waker: Waker,
    since: Instant,
}

/// All that wait for records of a log.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: Mutex<Vec<Waiter>>,
    /// Length of the list, so that the clock thread need not lock an empty one.
    count: AtomicUsize,
    numbers: AtomicU64,
    /// Set when the log closes: from then on nothing comes any more.
    closed: AtomicBool,
}

impl Waiters {
    /// Wakes `waker` once `awaited` has come. The number takes it back.
    pub(crate) fn add(&self, awaited: Awaited, waker: Waker) -> u64 {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(Waiter { number, awaited, waker, since: Instant::now() });
        self.count.store(waiting.len(), Ordering::Relaxed);
        number
    }

    /// Takes a waiter back, if it was not woken.
    pub(crate) fn remove(&self, number: u64) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|waiter| waiter.number != number);
        self.count.store(waiting.len(), Ordering::Relaxed);
    }

    /// Wakes those whose frame has come. Returns how long to pause before the next look, at most `longest`.
    pub(crate) fn look(&self, longest: Duration) -> Duration {
        if self.count.load(Ordering::Relaxed) == 0 {
            return longest;
        }
        let mut woken = Vec::new();
        let mut pause = longest;
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let mut at = 0;
            while let Some(waiter) = waiting.get(at) {
                if waiter.awaited.has_come() {
                    woken.push(waiting.swap_remove(at).waker);
                } else {
                    pause = pause.min((waiter.since.elapsed() / PAUSE_SHARE).max(PAUSE_MIN));
                    at += 1;
                }
            }
            self.count.store(waiting.len(), Ordering::Relaxed);
        }
        // Without the lock: a waker may run code of its own.
        for waker in woken {
            waker.wake();
        }
        pause
    }

    /// Whether the log was closed.
    pub(crate) fn are_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Wakes everyone: the log is closed.
    pub(crate) fn close(&self) {
        // Release: pairs with the Acquire in `are_closed`. Before the list is taken, so that whoever adds itself later
        // and looks at the flag again sees it.
        self.closed.store(true, Ordering::Release);
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for waiter in waiting {
            waiter.waker.wake();
        }
    }
}
