//! What all handles of a partition share.

use super::{
    chain::{Chain, ChainEnd},
    durability::Durable,
    following::Followed,
    rest::Activity,
    slot::Slot,
    snapshots::SnapshotFile,
    stability::Stability,
};
use crate::{format::files::Identity, names::Content, options::Options, raw::table::Table};
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
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
    /// Segments that callers wait for beyond the active one, an entry each.
    pub(crate) wishes: Vec<u32>,
    /// How often the preparer has waited for a segment that retention gives back, since it had one.
    pub(crate) waits_for_spare: u32,
}

/// What the embedder keeps beside the records, and where that was written last.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) metadata: Option<Box<[u8]>>,
    /// Position of its frame, or one behind it where a snapshot stands for it; 0 for none.
    pub(crate) metadata_position: u64,
    /// The same of the frame that says where the log starts.
    pub(crate) purge_position: u64,
}

/// See the head of this file.
pub(crate) struct PartitionState {
    pub(crate) name: Box<str>,
    /// Number within the log, and index into its list.
    pub(crate) number: u32,
    pub(crate) identity: Identity,
    pub(crate) directory: PathBuf,
    pub(crate) options: Options,
    pub(crate) chain: Arc<Chain>,
    pub(crate) durable: Durable,
    pub(crate) table: Table<Slot>,
    pub(crate) stability: Stability,
    /// Offset beyond which no snapshot may stand yet: for the ledger, whose entries are needed until what they decide is
    /// marked. Written by upkeep's thread, and read by it.
    pub(crate) snapshot_limit: AtomicU64,
    /// Stretches of the ledger, behind an offset and up to that of the entry that takes them back: a snapshot within one
    /// would hold what is undone.
    pub(crate) undone: Mutex<Vec<(u64, u64)>>,
    /// Position of the newest marker of a commit; 0 for none. Raised by whoever marks, read by upkeep.
    pub(crate) marked: AtomicU64,
    pub(crate) snapshots: Mutex<Vec<SnapshotFile>>,
    pub(crate) followed: Mutex<Option<Followed>>,
    pub(crate) kept: Mutex<Kept>,
    /// Held by upkeep for a round, and by whoever cuts.
    pub(crate) tending: Mutex<()>,
    pub(crate) preparation: Mutex<Preparation>,
    pub(crate) prepared: Condvar,
    /// Held by who adds segments to the end of the chain, or takes those that stand ready off.
    pub(crate) turn: Mutex<()>,
    /// Of upkeep's thread alone.
    pub(crate) activity: Mutex<Activity>,
    /// The next segment is as small as a first one. Set by upkeep, taken by the preparer.
    pub(crate) is_rested: AtomicBool,
    /// It is among those that the log's threads look at. Changed under the lock of the log's partitions.
    pub(crate) is_awake: AtomicBool,
    /// Slots of producers below which there is none that was ever used here. Raised under the registry's lock.
    pub(crate) slots_used: AtomicU32,
    /// Set by whoever opens a segment, taken by the preparer: another is to be prepared.
    pub(crate) wants_segment: AtomicBool,
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

    pub(crate) fn content(&self) -> Content {
        Content::of(&self.name)
    }

    /// Adds one to a counter.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks for that many segments to stand ready, until `unwish`.
    pub(crate) fn wish(&self, segments: u32) {
        locked(&self.preparation).wishes.push(segments);
    }

    /// Takes one such wish back.
    pub(crate) fn unwish(&self, segments: u32) {
        let mut preparation = locked(&self.preparation);
        if let Some(at) = preparation.wishes.iter().position(|wish| *wish == segments) {
            preparation.wishes.swap_remove(at);
        }
    }

    /// Segments that should stand ready beyond the active one. A partition that nobody has appended to since the log was
    /// opened gets one when somebody does, and more than one only when its segments have grown to their full size.
    pub(crate) fn segments_wanted(&self, end: &ChainEnd) -> u32 {
        let wished = locked(&self.preparation).wishes.iter().copied().max().unwrap_or(0);
        let is_grown = end.begun && end.last_bytes.is_some_and(|bytes| bytes >= self.options.segment_bytes);
        wished.max(if is_grown { self.options.segments_ahead } else { 1 })
    }
}
