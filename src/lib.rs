#![doc = include_str!("front.md")]
#![deny(unsafe_code)]
#![cfg_attr(loom, allow(dead_code, unused_imports))]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")))]
compile_error!("oncelog is for 64-bit little-endian Linux");

/// What the README shows is compiled and run with the examples of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[macro_use]
#[cfg(not(loom))]
mod trace;

#[cfg(not(loom))]
mod answer;
#[cfg(not(loom))]
mod appender;
#[cfg(not(loom))]
mod assembly;
#[cfg(not(loom))]
mod audit;
#[cfg(not(loom))]
mod bounds;
#[cfg(not(loom))]
mod by_id;
#[cfg(not(loom))]
mod clock;
#[cfg(not(loom))]
mod commit;
#[cfg(not(loom))]
mod committer;
#[cfg(not(loom))]
mod core;
#[cfg(not(loom))]
mod decide;
#[cfg(not(loom))]
mod decision;
#[cfg(not(loom))]
pub mod delivery;
#[cfg(not(loom))]
mod directory;
#[cfg(not(loom))]
mod durable;
#[cfg(not(loom))]
mod error;
pub mod format;
#[cfg(not(loom))]
mod group;
mod ids;
#[cfg(not(loom))]
mod inspect;
#[cfg(not(loom))]
mod isolation;
#[cfg(not(loom))]
mod ledger;
#[cfg(not(loom))]
mod log;
#[cfg(not(loom))]
mod names;
#[cfg(not(loom))]
mod options;
#[cfg(not(loom))]
mod outcome;
mod partition;
#[cfg(not(loom))]
mod producers;
#[allow(unsafe_code)]
mod raw;
#[cfg(not(loom))]
mod read_only;
#[cfg(not(loom))]
mod reader;
#[cfg(not(loom))]
mod registry;
#[cfg(not(loom))]
mod salvage;
#[allow(unsafe_code)]
mod segment;
#[cfg(not(loom))]
mod session;
mod signal;
#[cfg(not(loom))]
mod slice;
#[cfg(not(loom))]
mod stats;
#[cfg(not(loom))]
mod stored;
mod sync;
#[cfg(test)]
mod tests;
#[cfg(not(loom))]
mod transactions;
#[cfg(not(loom))]
mod truncation;
mod turns;
#[cfg(not(loom))]
mod wake;

pub use crate::ids::{Mode, Offsets, ProducerId, Stamp, TransactionId};

#[cfg(not(loom))]
pub use crate::{
    answer::{Answer, AtOffset},
    appender::Appender,
    audit::{Audit, Finding, PartitionAudit, Progress, Verdict},
    bounds::Truncation,
    committer::FlushKind,
    decision::Commit,
    error::{
        AppendError, CloseError, DurableError, FetchError, FillError, OpenError, PartitionError, RegisterError,
        TransactionError, TruncateError,
    },
    group::Group,
    inspect::{
        FrameContent, FrameInfo, FrameItem, FrameWalk, ProducerProgress, SegmentInfo, SegmentState, SnapshotContent,
        SnapshotInfo, UndecidedTransaction,
    },
    isolation::Isolation,
    log::{Log, Partition},
    options::{Options, Window},
    raw::limit::LimitReached,
    read_only::{Level, ReadOnlyLog, ReadOnlyPartition, ReadOnlyReader, RecoveryOutlook, StoredRecord},
    reader::{Fetch, Reader, Record, Verify},
    registry::{Numbering, ProducerInfo, Registration},
    salvage::{Loss, Salvage, SalvagedPartition},
    session::{LastAppend, Session, Transaction},
    slice::Slice,
    stats::{FlushStats, LogStats, PartitionStats, ResourceStats, TransactionInfo},
    stored::outlook::Dropped,
};
