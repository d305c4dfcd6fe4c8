//! A word that threads sleep on until it changes.

use super::sys;
use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Longest sleep: whoever sleeps looks again then.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// See the head of this file. Its value says nothing but that it has changed: Relaxed throughout.
pub(crate) struct Word(AtomicU32);

impl Word {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    pub(crate) fn value(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn change(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Sleeps until somebody wakes the word, or for so long; not at all if its value is another one by now.
    pub(crate) fn sleep(&self, value: u32, time: Option<Duration>) {
        sys::sleep_on(&self.0, value, time.unwrap_or(SLEEP_MAX));
    }

    /// Wakes at most so many of those that sleep on it.
    pub(crate) fn wake(&self, most: u32) {
        sys::wake(&self.0, most);
    }
}
