//! The time, as one word that a background thread refreshes each millisecond: reading a clock costs more than an append.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How often the word is refreshed.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Milliseconds since the Unix epoch; never falls while the log is open.
pub(crate) struct Clock {
    /// Written by the clock thread, read by every append. Relaxed both ways: it orders nothing.
    now_ms: AtomicU64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let clock = Self { now_ms: AtomicU64::new(0) };
        clock.refresh();
        clock
    }

    #[inline]
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn refresh(&self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.now_ms.fetch_max(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
