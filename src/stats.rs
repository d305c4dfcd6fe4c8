//! What a log and its partitions are doing, as plain numbers.

use crate::{
    committer::FlushKind,
    ids::{Mode, ProducerId, TransactionId},
    log::{Log, Partition},
    partition::PartitionState,
};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Numbers of one partition. Counts are since the log was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionStats {
    /// The partition's name.
    pub name: String,
    /// Offset of the first record that is kept.
    pub start_offset: u64,
    /// Offset behind the last visible record.
    pub end_offset: u64,
    /// Offset behind the last durable record.
    pub durable_offset: u64,
    /// Segments that hold frames.
    pub segments: u64,
    /// Segments that stand ready.
    pub segments_ready: u64,
    /// Bytes of all segment files, those that stand ready included.
    pub bytes: u64,
    /// Segments that are mapped, or have memory of their own: in use, standing ready, or sealed and read not long ago.
    pub segments_mapped: u64,
    /// Of these, those that are sealed: what `Options::mapped_segments_max` bounds.
    pub sealed_mapped: u64,
    /// Bytes of address space of all that are mapped. In the direct window, those in use and standing ready take as much
    /// memory; what else is mapped is in the system's cache, and is taken back when memory is short.
    pub mapped_bytes: u64,
    /// Files that are open: in the direct window one for each segment in use or standing ready, else none.
    pub open_files: u64,
    /// Whether the log's threads look after it; else it is at rest, and holds no mapping but those of sealed segments that
    /// are read.
    pub is_awake: bool,
    /// Segments begun.
    pub rotations: u64,
    /// Times that an appender had to wait for a segment to be prepared.
    pub rotations_waited: u64,
    /// Segments prepared, recycled ones included.
    pub segments_prepared: u64,
    /// Segments that were made ready of dropped ones.
    pub segments_recycled: u64,
    /// Segments that retention has dropped.
    pub segments_dropped: u64,
    /// Snapshots written.
    pub snapshots: u64,
    /// Position up to which the newest snapshot goes; 0 if there is none.
    pub snapshot_position: u64,
    /// Handles that can append.
    pub appenders: u64,
    /// Offset behind the last stable record: up to here readers of committed records come.
    pub stable_offset: u64,
    /// Open transactions that have appended here.
    pub open_transactions: u64,
    /// The one that holds the last stable offset back: its producer, and its number.
    pub held_by: Option<(ProducerId, u64)>,
    /// Aborted transactions of which records may still be kept.
    pub aborted_transactions: u64,
    /// Position of the oldest frame that is claimed and not published, if there is one: what is behind it is not visible.
    pub oldest_open_frame: Option<u64>,
}

/// Numbers of the committer. Counts are since the log was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushStats {
    /// How what a round writes is made durable.
    pub kind: FlushKind,
    /// Whether several writes are submitted at once through io_uring; else they follow each other.
    pub io_uring: bool,
    /// Rounds that wrote something.
    pub rounds: u64,
    /// Flushes, durable writes among them.
    pub flushes: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Whether a write or a flush has failed: nothing more becomes durable.
    pub poisoned: bool,
}

/// What a log holds of the process's memory and files, the log's own partitions included. Readers and slices that hold
/// segments which the log has given up are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceStats {
    /// Open files: the lock, the ring of io_uring, and in the direct window one for each segment in use or standing ready.
    pub open_files: u64,
    /// Mappings: a table of producers for each partition, which the system counts as one where they lie side by side, the
    /// ring's, and the segments.
    pub mappings: u64,
    /// Of the mappings, those of sealed segments.
    pub sealed_mapped: u64,
    /// Most of these, unless readers and slices hold more: `Options::mapped_segments_max`.
    pub sealed_mapped_max: u64,
    /// Bytes of address space of all segments that are mapped.
    pub mapped_bytes: u64,
    /// Bytes of address space of the tables of producers, of which a page takes memory once a producer of it is used.
    pub table_bytes: u64,
    /// Partitions that are awake: appended to not long ago, or among the last that were.
    pub awake_partitions: u64,
    /// Threads of the log.
    pub threads: u64,
}

/// An open transaction, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionInfo {
    /// Which one, and the epoch that it was begun in.
    pub id: TransactionId,
    /// Its producer's name.
    pub owner: String,
    /// How its producer appends.
    pub mode: Mode,
    /// For how long it has been open.
    pub age: Duration,
    /// For how long it may be.
    pub timeout: Duration,
    /// Partitions that it has appended to, each with an offset that none of its records is before.
    pub partitions: Vec<(String, u64)>,
    /// It is being aborted, and not yet everywhere.
    pub aborting: bool,
}

/// Numbers of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// Its partitions, in the order of their creation.
    pub partitions: Vec<PartitionStats>,
    /// What it holds of the process's memory and files.
    pub resources: ResourceStats,
    /// Live producers.
    pub producers: u64,
    /// Most live producers.
    pub producers_max: u64,
    /// What the committer does.
    pub flush: FlushStats,
    /// Transactions that are open.
    pub open_transactions: u64,
    /// The same, the oldest first.
    pub transactions: Vec<TransactionInfo>,
    /// Transactions that are committed, and whose markers wait for them to be durable.
    pub unmarked_transactions: u64,
}

/// Mappings of io_uring: its two queues, which share one, and the entries.
const RING_MAPPINGS: u64 = 2;

fn stats_of(partition: &PartitionState) -> PartitionStats {
    let totals = partition.chain.totals();
    let counters = &partition.counters;
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (start_offset, end_offset) =
        (partition.chain.start_offset(), partition.chain.visible_end().map_or(0, |end| end.offset));
    let (open, held_by) = partition.stability.undecided();
    let stable =
        partition.stability.limit(|| partition.chain.visible_end().map(|end| end.offset)).unwrap_or(end_offset);
    PartitionStats {
        name: partition.name.to_string(),
        start_offset,
        end_offset,
        // Retention may have dropped the head of what holds it back.
        stable_offset: stable.max(start_offset),
        open_transactions: open as u64,
        held_by: held_by.map(|open| (open.producer, open.transaction)),
        aborted_transactions: partition.stability.aborted() as u64,
        durable_offset: partition.durable.offset(),
        segments: totals.segments,
        segments_ready: totals.ready,
        bytes: totals.bytes,
        segments_mapped: totals.mapped,
        sealed_mapped: totals.mapped_sealed,
        mapped_bytes: totals.mapped_bytes,
        open_files: totals.files,
        is_awake: partition.is_awake.load(Ordering::Relaxed),
        rotations: read(&counters.rotations),
        rotations_waited: read(&counters.rotations_waited),
        segments_prepared: read(&counters.prepared),
        segments_recycled: read(&counters.recycled),
        segments_dropped: read(&counters.dropped),
        snapshots: read(&counters.snapshots),
        snapshot_position: partition.snapshot_position(),
        appenders: read(&partition.appenders),
        oldest_open_frame: partition.chain.oldest_open().unwrap_or_default(),
    }
}

impl Partition {
    /// This partition's numbers.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append(b"order 41")?;
    /// assert_eq!(orders.stats().end_offset, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> PartitionStats {
        stats_of(&self.state)
    }
}

impl Log {
    /// All open transactions, the oldest first.
    #[must_use]
    pub fn open_transactions(&self) -> Vec<TransactionInfo> {
        let core = &self.handle.core;
        // Without the registry, whose lock whoever ends one of these may hold.
        let mut open: Vec<TransactionInfo> = {
            let ledger = core.ledger();
            let info = |open: &crate::ledger::OpenTransaction| TransactionInfo {
                id: TransactionId { producer: open.id, epoch: open.epoch, number: open.number },
                owner: ledger.names.get(&open.id.slot()).map(|name| name.to_string()).unwrap_or_default(),
                mode: open.mode,
                age: open.began.elapsed(),
                timeout: open.timeout,
                partitions: open
                    .parts
                    .iter()
                    .map(|part| (part.partition.name.to_string(), part.first_offset))
                    .collect(),
                aborting: open.ending().is_some(),
            };
            ledger.open.values().map(info).collect()
        };
        open.sort_by_key(|one| std::cmp::Reverse(one.age));
        open
    }

    /// The log's numbers.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append(b"order 41")?;
    /// let stats = log.stats();
    /// assert_eq!((stats.partitions.len(), stats.resources.threads), (1, 4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> LogStats {
        let core = &self.handle.core;
        let producers = core.registry().live_count() as u64;
        let partitions = core.all_partitions();
        let (open, unmarked) = {
            let ledger = core.ledger();
            (ledger.open.len() as u64, ledger.decided.len() as u64)
        };
        let each: Vec<PartitionStats> = partitions.iter().map(|partition| stats_of(partition)).collect();
        let sum = |of: fn(&PartitionStats) -> u64| each.iter().map(of).sum::<u64>();
        let resources = ResourceStats {
            open_files: 1 + u64::from(core.committer.has_ring) + sum(|one| one.open_files),
            mappings: each.len() as u64
                + if core.committer.has_ring { RING_MAPPINGS } else { 0 }
                + sum(|one| one.segments_mapped),
            sealed_mapped: sum(|one| one.sealed_mapped),
            sealed_mapped_max: core.options.mapped_segments_max.into(),
            mapped_bytes: sum(|one| one.mapped_bytes),
            table_bytes: partitions.iter().map(|partition| partition.table.bytes()).sum(),
            awake_partitions: each.iter().filter(|one| one.is_awake).count() as u64,
            threads: crate::core::THREADS as u64,
        };
        LogStats {
            resources,
            open_transactions: open,
            transactions: self.open_transactions(),
            unmarked_transactions: unmarked,
            partitions: each
                .into_iter()
                .zip(&partitions)
                .filter(|(_, partition)| !partition.is_internal())
                .map(|(stats, _)| stats)
                .collect(),
            producers,
            producers_max: core.options.producers_max.into(),
            flush: FlushStats {
                kind: core.flush_kind(),
                io_uring: core.committer.has_ring,
                rounds: core.committer.rounds.load(Ordering::Relaxed),
                flushes: core.committer.flushes.load(Ordering::Relaxed),
                bytes: core.committer.bytes.load(Ordering::Relaxed),
                poisoned: core.committer.poison().is_some(),
            },
        }
    }
}
