//! A flag that a thread sleeps on.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Signal {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    pub(crate) fn raise(&self) {
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Sleeps until the flag is raised or the time is over, and lowers it.
    pub(crate) fn wait(&self, timeout: Duration) {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut raised, _) =
            self.changed.wait_timeout_while(raised, timeout, |raised| !*raised).unwrap_or_else(PoisonError::into_inner);
        *raised = false;
    }
}
