//! Who makes records durable: one round of writes and flushes at a time, for all that wait.
//!
//! ```text
//! 1. each dirty partition: what is visible now and not durable      partition/durability.rs
//! 2. write it                                                       one write with RWF_DSYNC, or several and then a flush
//! 3. move the durable marks, wake whom they cover
//! ```
//!
//! Who does so, and who waits for whom: `turns.rs`.
//!
//! After a write or a flush has failed, nobody knows what is on the device: the system may have dropped the pages and
//! cleared the error. So nothing is tried again. The log is poisoned: nothing above the durable marks is acknowledged any
//! more, and appending is over until it is opened again (Rebello et al., "Can Applications Recover from fsync Failures?",
//! USENIX ATC 2020).

use crate::{
    error::{DurableError, copy},
    partition::{
        PartitionState,
        durability::{Dirty, Extent},
    },
    raw::{
        ring::{Ring, Write},
        sys,
    },
    segment::backing::Backing,
    turns::{Failure, Marked, Turns, Waited},
};
use std::{
    fs::File,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
};

impl Marked for PartitionState {
    fn durable_offset(&self) -> u64 {
        self.durable.offset()
    }
}

/// How what a round writes is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FlushKind {
    /// The mapped window: the range of each file that was stored to.
    RangeOfEachFile,
    /// The direct window: one write that is durable itself, or several and one flush of the device for all of them.
    OneForAll,
    /// The direct window on a file system where a flush is each file's own.
    EachFile,
}

/// See the head of this file.
pub(crate) struct Committer {
    /// Who has its role, and who waits.
    pub(crate) turns: Turns<PartitionState>,
    /// Appenders wait for the device to catch up. Set by the preparer, taken by the committer's own thread.
    pub(crate) is_behind: AtomicBool,
    /// None where the system has no io_uring for this process.
    ring: Mutex<Option<Ring>>,
    pub(crate) has_ring: bool,
    /// One flush makes every direct write of this log durable.
    pub(crate) one_flush_serves_all: bool,
    pub(crate) rounds: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

impl Committer {
    pub(crate) fn new(io_uring: bool, one_flush_serves_all: bool) -> Self {
        let ring = if io_uring { Ring::new().ok() } else { None };
        Self {
            turns: Turns::new(),
            is_behind: AtomicBool::new(false),
            has_ring: ring.is_some(),
            ring: Mutex::new(ring),
            one_flush_serves_all,
            rounds: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// What failed, if anything has.
    pub(crate) fn poison(&self) -> Option<DurableError> {
        self.turns.failure().map(|(doing, source)| DurableError::Poisoned { doing, source: copy(source) })
    }

    /// Whether what is waited for is durable, or cannot become so any more.
    pub(crate) fn look(&self, covered: impl Fn() -> bool) -> Poll<Result<(), DurableError>> {
        match self.turns.ended(covered) {
            Some(Waited::Failed) => self.poison().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
            Some(_) => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }

    /// Whether a write or a flush has failed.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.turns.has_failed()
    }

    /// Makes what is visible now durable in these partitions: whether there was anything.
    pub(crate) fn flush(&self, partitions: &[Arc<PartitionState>], now_ms: u64) -> Result<bool, Failure> {
        let mut dirty: Vec<(&Arc<PartitionState>, Dirty)> = Vec::new();
        for partition in partitions {
            if let Some(found) = partition.collect(now_ms).map_err(|error| ("map a segment", error))? {
                dirty.push((partition, found));
            }
        }
        if dirty.is_empty() {
            return Ok(false);
        }
        for (partition, Dirty { extents, .. }) in &dirty {
            if extents.iter().any(|extent| extent.segment.needs_its_name_synced()) {
                partition.sync_names().map_err(|error| ("sync a directory", error))?;
                extents.iter().for_each(|extent| extent.segment.name_is_synced());
            }
        }
        let extents: Vec<&Extent> = dirty.iter().flat_map(|(_, dirty)| &dirty.extents).collect();
        let flushes = self.write_and_flush(&extents)?;
        self.rounds.fetch_add(1, Ordering::Relaxed);
        self.flushes.fetch_add(flushes, Ordering::Relaxed);
        let bytes: usize = extents.iter().map(|extent| extent.to - extent.from).sum();
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        for (partition, Dirty { end, .. }) in &dirty {
            partition.durable.advance(*end);
        }
        Ok(true)
    }

    /// Writes the extents and makes them durable. Returns the number of flushes it took.
    pub(crate) fn write_and_flush(&self, extents: &[&Extent]) -> Result<u64, Failure> {
        let direct: Vec<(&Extent, &File)> = extents
            .iter()
            .filter_map(|extent| match extent.segment.backing() {
                Some(Backing::Direct { file, .. }) => Some((*extent, file)),
                _ => None,
            })
            .collect();
        if direct.len() < 2 || direct.len() < extents.len() {
            // Mapped, or one write: it says itself that it is to be durable.
            for extent in extents {
                extent.segment.flush(extent.from, extent.to).map_err(|error| ("write a segment durably", error))?;
            }
            return Ok(extents.len() as u64);
        }
        self.write_several(&direct).map_err(|error| ("write a segment", error))?;
        let mut flushes = 0;
        let mut flushed: Vec<&Arc<_>> = Vec::new();
        for (extent, file) in &direct {
            if flushed.iter().any(|segment| Arc::ptr_eq(segment, &extent.segment)) {
                continue;
            }
            file.sync_data().map_err(|error| ("flush a segment", error))?;
            flushes += 1;
            if self.one_flush_serves_all {
                break;
            }
            flushed.push(&extent.segment);
        }
        Ok(flushes)
    }

    /// Writes several extents, at once where there is a ring. What a write left undone is written one by one.
    fn write_several(&self, direct: &[(&Extent, &File)]) -> io::Result<()> {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = vec![0; direct.len()];
        if let Some(ring) = ring.as_mut() {
            let writes: Vec<Write<'_>> = direct
                .iter()
                .filter_map(|(extent, file)| {
                    let memory = extent.segment.backing()?.mapping();
                    Some(Write { file, memory, from: extent.from, to: extent.to })
                })
                .collect();
            for (place, result) in done.iter_mut().zip(ring.write_all(&writes)?) {
                *place = result? as usize;
            }
        }
        for ((extent, file), done) in direct.iter().zip(done) {
            let Some(backing) = extent.segment.backing() else { continue };
            // A write may stop short, at a block: the rest of it follows.
            let from = extent.from + done / 4096 * 4096;
            if from < extent.to {
                backing.mapping().write_to(file, from, extent.to, false)?;
            }
        }
        Ok(())
    }
}

/// Whether one flush serves all partitions of a log in this directory.
pub(crate) fn one_flush_serves_all(directory: &File) -> bool {
    sys::one_flush_serves_all(directory)
}
