//! Atomics, locks and reference counts: std's, or loom's under `cfg(loom)`. Lock-free code imports from nowhere else.

#[cfg(loom)]
pub(crate) use loom::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicPtr, AtomicU64, Ordering},
    },
    thread::yield_now,
};
#[cfg(not(loom))]
pub(crate) use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicPtr, AtomicU64, Ordering},
    },
    thread::yield_now,
};

/// A lock whose holder panicked is taken as it is: what is behind one here is changed in single steps.
pub(crate) use std::sync::PoisonError;

/// Waits a little longer each turn: a few pauses while the other side is likely to be running, then the CPU is given
/// away, since on a machine with few cores the other side may be waiting for this one.
pub(crate) struct Backoff {
    turns: u32,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { turns: 0 }
    }

    pub(crate) fn wait(&mut self) {
        #[cfg(not(loom))]
        if self.turns < 64 {
            self.turns += 1;
            std::hint::spin_loop();
            return;
        }
        self.turns = self.turns.saturating_add(1);
        yield_now();
    }
}
