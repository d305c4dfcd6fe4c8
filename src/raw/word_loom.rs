//! A word that threads sleep on until it changes, as a model has it: what the kernel does with a futex, by a lock and a
//! condition. Who sleeps for a time may wake at any moment, and time passes with it.

use crate::sync::{AtomicU64, Instant, Mutex, Ordering, PoisonError, yield_now};
use loom::sync::Condvar;
use std::time::Duration;

/// See the head of this file.
pub(crate) struct Word {
    value: AtomicU64,
    kernel: Mutex<()>,
    changed: Condvar,
}

impl Word {
    pub(crate) fn new() -> Self {
        Self { value: AtomicU64::new(0), kernel: Mutex::new(()), changed: Condvar::new() }
    }

    pub(crate) fn value(&self) -> u32 {
        self.value.load(Ordering::Relaxed) as u32
    }

    pub(crate) fn change(&self) {
        self.value.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sleep(&self, value: u32, time: Option<Duration>) {
        if let Some(time) = time {
            Instant::pass(time);
            yield_now();
            return;
        }
        let kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        if self.value() == value {
            drop(self.changed.wait(kernel).unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub(crate) fn wake(&self, most: u32) {
        let _kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        if most == 1 {
            self.changed.notify_one();
        } else {
            self.changed.notify_all();
        }
    }
}
