//! One partition: an ordered chain of segments, and the producers' table in front of it.
//!
//! | file | what it holds |
//! |---|---|
//! | `append.rs`, `fill.rs` | the append path, whole |
//! | `body.rs` | what is appended: a record, a gathered batch |
//! | `slot.rs` | a producer's state in this partition |
//! | `fence.rs` | from here on only a new epoch appends |
//! | `duplicates.rs` | what a sequence that is not the next one means, and where its original lies |
//! | `cut.rs` | a suffix taken off: where, and what of it is said again |
//! | `durability.rs` | how far it is durable, and what has to be flushed for more |
//! | `chain.rs` | the segments by number, offset and position; what is visible |
//! | `preparer.rs`, `upkeep.rs` | segments made ready ahead of the appenders, sealed and dropped behind them |
//! | `rest.rs` | what a partition gives back that nobody appends to |
//! | `pressure.rs` | when it is better to wait than to make one more segment |
//! | `replay.rs`, `ledger.rs` | the producers, and the decisions, that a stretch of frames amounts to |
//! | `stability.rs` | up to where every transaction is decided, and which are aborted |
//! | `marker.rs` | the end of a transaction in this partition |
//! | `pages.rs` | entries by slot, with memory for the slots that are used |
//! | `listing.rs`, `recovery.rs` | all of the above from what is on disk |
//! | `unfinished.rs` | cuts that a crash has left half done |
//! | `following.rs` | the producers as of the newest sealed end, in memory between two snapshots |
//! | `snapshots.rs` | the producers as of a sealed end, written beside the segments |

pub(crate) mod append;
pub(crate) mod body;
#[cfg(not(loom))]
pub(crate) mod chain;
#[cfg(not(loom))]
pub(crate) mod cut;
#[cfg(not(loom))]
pub(crate) mod duplicates;
#[cfg(not(loom))]
pub(crate) mod durability;
pub(crate) mod fence;
pub(crate) mod fill;
#[cfg(not(loom))]
mod following;
#[cfg(not(loom))]
pub(crate) mod ledger;
#[cfg(not(loom))]
pub(crate) mod listing;
pub(crate) mod marker;
#[cfg(not(loom))]
pub(crate) mod pages;
#[cfg(not(loom))]
pub(crate) mod preparer;
#[cfg(not(loom))]
mod pressure;
#[cfg(not(loom))]
pub(crate) mod recovery;
#[cfg(not(loom))]
pub(crate) mod replay;
#[cfg(not(loom))]
pub(crate) mod rest;
pub(crate) mod slot;
#[cfg(not(loom))]
pub(crate) mod snapshots;
pub(crate) mod stability;
#[cfg(not(loom))]
pub(crate) mod unfinished;
#[cfg(not(loom))]
pub(crate) mod upkeep;

#[cfg(not(loom))]
pub(crate) use state::{Counters, Kept, PartitionState, locked};

#[cfg(not(loom))]
mod state;
