//! What all handles of a partition share.

use super::{chain::Chain, slot::Slot, snapshots::SnapshotFile};
use crate::{format::files::Identity, options::Options, raw::table::Table};
use std::{
    io,
    path::PathBuf,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Counts of what happened since the log was opened. Written by whoever did it, read by `stats`.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) rotations: AtomicU64,
    pub(crate) rotations_waited: AtomicU64,
    pub(crate) prepared: AtomicU64,
    pub(crate) recycled: AtomicU64,
    pub(crate) snapshots: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

/// How the preparer's tries went; behind a mutex with a condition for those who wait for one.
#[derive(Default)]
pub(crate) struct Preparation {
    /// Segments prepared, plus tries that failed.
    pub(crate) tries: u64,
    /// The last try, if it failed.
    pub(crate) failure: Option<io::Error>,
    /// Segments wanted beyond the active one, if more than the options say.
    pub(crate) wanted: u32,
}

/// See the head of this file.
pub(crate) struct PartitionState {
    pub(crate) name: Box<str>,
    /// Number within the log, and index into its list.
    pub(crate) number: u32,
    pub(crate) identity: Identity,
    pub(crate) directory: PathBuf,
    pub(crate) options: Options,
    pub(crate) chain: Chain,
    pub(crate) table: Table<Slot>,
    pub(crate) snapshots: Mutex<Vec<SnapshotFile>>,
    pub(crate) preparation: Mutex<Preparation>,
    pub(crate) prepared: Condvar,
    /// Set by whoever opens a segment, taken by the preparer: another is to be prepared, the one before to be sealed.
    pub(crate) wants_segment: AtomicBool,
    pub(crate) wants_upkeep: AtomicBool,
    /// Handles that append. Bounded, so that their overshoots fit the tail's word.
    pub(crate) appenders: AtomicU64,
    pub(crate) counters: Counters,
}

/// A lock whose holder panicked is taken as it is: what these locks guard is changed in single steps.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PartitionState {
    /// The log's own partitions hold what the log itself must remember.
    pub(crate) fn is_internal(&self) -> bool {
        self.name.starts_with("__")
    }

    /// Adds one to a counter.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks for more segments to stand ready than the options say; 0 takes that back.
    pub(crate) fn want_segments(&self, segments: u32) {
        locked(&self.preparation).wanted = segments;
    }

    /// Segments that should stand ready beyond the active one.
    pub(crate) fn segments_wanted(&self) -> u32 {
        locked(&self.preparation).wanted.max(self.options.segments_ahead)
    }
}
