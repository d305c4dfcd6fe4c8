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

#[cfg(loom)]
pub(crate) use self::modelled::{Instant, pause};
#[cfg(not(loom))]
pub(crate) use std::{thread::sleep as pause, time::Instant};

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

/// Time as a model has it: it passes when somebody sleeps, and no sooner.
#[cfg(loom)]
mod modelled {
    use std::{cell::Cell, ops::Add, time::Duration};

    thread_local! {
        /// Of one model: all its threads run on the thread that has begun it. It begins with [`Instant::restart`].
        static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct Instant(Duration);

    impl Instant {
        pub(crate) fn restart() {
            NOW.set(Duration::ZERO);
        }

        pub(crate) fn now() -> Self {
            Self(NOW.get())
        }

        pub(crate) fn pass(time: Duration) {
            NOW.set(NOW.get().saturating_add(time));
        }

        /// None where std's clock has none either: who waits so long waits for ever.
        pub(crate) fn checked_add(self, time: Duration) -> Option<Self> {
            (time < Duration::MAX).then(|| self + time)
        }

        pub(crate) fn saturating_duration_since(self, earlier: Self) -> Duration {
            self.0.saturating_sub(earlier.0)
        }
    }

    impl Add<Duration> for Instant {
        type Output = Self;

        fn add(self, time: Duration) -> Self {
            Self(self.0.saturating_add(time))
        }
    }

    pub(crate) fn pause(time: Duration) {
        Instant::pass(time);
        loom::thread::yield_now();
    }
}
