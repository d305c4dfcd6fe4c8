//! Something to measure: a workload, and what is to be learnt of it.

use crate::closed::{self, Repeats};
use crate::delivery::cost;
use crate::reopen::Reopen;
use crate::stage::{Extent, ROTATIONS_MIN};
use crate::sustained::Sustained;
use crate::workload::{Acknowledge, Pace, Workload, WorkloadError};
use crate::{durable, open, sweep, transaction};

/// Filled in a block without end.
const SEGMENTS_ENDLESS: u64 = 32;
/// Filled in a pipeline.
const SEGMENTS_PIPELINED: u64 = 16;
/// Filled before a scan.
const SEGMENTS_FETCH: u64 = 8;
/// Filled before a reopening.
const SEGMENTS_RECOVER: u64 = 16;

/// Something to measure.
#[derive(Clone, Debug)]
pub enum Row {
    /// Appends, in the loop that the workload names.
    Append(Workload),
    /// Appends on a schedule, at the rate of the workload and at higher ones until the log no longer keeps up.
    Sweep(Workload),
    /// Appends into segments that are made meanwhile.
    Endless(Workload),
    /// Durable appends of which only the last is waited for.
    Pipelined(Workload),
    /// Many bytes with retention.
    Sustained(Workload, Sustained),
    /// Reopening a large log, cold.
    Reopen(Workload, Reopen),
    /// Scans of what the workload appends, with each kind of check.
    Fetch(Workload),
    /// Reopening what the workload has appended.
    Recover(Workload),
    /// Transactions of a session over the workload's partitions.
    Transaction(Workload),
    /// The workload's payloads as messages of each delivery, over a link that loses this share of acknowledgements.
    Delivery(Workload, f64),
}

impl Row {
    /// The workload behind it.
    #[must_use]
    pub fn workload(&self) -> &Workload {
        match self {
            Self::Append(workload)
            | Self::Sweep(workload)
            | Self::Endless(workload)
            | Self::Pipelined(workload)
            | Self::Sustained(workload, _)
            | Self::Reopen(workload, _)
            | Self::Fetch(workload)
            | Self::Recover(workload)
            | Self::Transaction(workload)
            | Self::Delivery(workload, _) => workload,
        }
    }

    /// A name for files and for choosing rows by.
    #[must_use]
    pub fn label(&self) -> String {
        let kind = match self {
            Self::Append(_) => "append",
            Self::Sweep(_) => "sweep",
            Self::Endless(_) => "endless",
            Self::Pipelined(_) => "pipelined",
            Self::Sustained(..) => "sustained",
            Self::Reopen(..) => "reopen",
            Self::Fetch(_) => "fetch",
            Self::Recover(_) => "recover",
            Self::Transaction(_) => "transaction",
            Self::Delivery(workload, lost) => {
                return format!("delivery-{}-ack-lost-{lost}", workload.payloads.mean_bytes());
            }
        };
        format!("{kind}-{}", self.workload().label())
    }

    pub(crate) fn extent(&self, segment_bytes: u64) -> Extent {
        let segments = match self {
            Self::Append(_)
            | Self::Sweep(_)
            | Self::Sustained(..)
            | Self::Reopen(..)
            | Self::Transaction(_)
            | Self::Delivery(..) => ROTATIONS_MIN + 1,
            Self::Pipelined(_) => SEGMENTS_PIPELINED,
            Self::Endless(_) => SEGMENTS_ENDLESS,
            Self::Fetch(_) => SEGMENTS_FETCH,
            Self::Recover(_) => SEGMENTS_RECOVER,
        };
        Extent::of(self.workload(), segment_bytes, segments)
    }

    /// Refuses what cannot be measured.
    ///
    /// # Errors
    /// The first axis that is out of its range, or two that exclude each other.
    pub fn check(&self) -> Result<(), WorkloadError> {
        self.workload().check()?;
        match self {
            // Each of them reads everything, and nobody appends.
            Self::Fetch(_) => Ok(()),
            Self::Append(workload) | Self::Sweep(workload) => workload.check_readers(),
            _ => self.workload().check_no_readers(),
        }
    }

    /// Bytes of files at one time: a log, the one it is compared with, and the limit's.
    pub(crate) fn bytes(&self, segment_bytes: u64, repeats: Repeats) -> u64 {
        let workload = self.workload();
        let extent = self.extent(segment_bytes);
        match self {
            Self::Append(_) if workload.pace != Pace::Closed => open::bytes(workload, segment_bytes, repeats),
            Self::Sweep(_) => 2 * sweep::REPEAT_BYTES_MAX as u64 + extent.bytes(workload.partitions),
            Self::Append(_) if closed::serves_all_repeats(workload) => {
                extent.bytes(workload.partitions) * (2 + repeats.least as u64)
            }
            Self::Append(workload) if workload.acknowledge == Acknowledge::Durable => {
                3 * durable::extent(workload, segment_bytes).bytes(workload.partitions)
            }
            Self::Append(_) => 3 * extent.bytes(workload.partitions),
            Self::Pipelined(_) | Self::Endless(_) => 2 * extent.bytes(workload.partitions),
            Self::Sustained(_, sustained) => sustained.room(segment_bytes),
            Self::Reopen(_, reopen) => reopen.bytes + (1 << 30),
            Self::Fetch(_) => extent.bytes(workload.partitions),
            Self::Recover(_) => 2 * extent.bytes(workload.partitions),
            Self::Transaction(_) => transaction::bytes(workload),
            Self::Delivery(..) => cost::bytes(workload),
        }
    }
}
