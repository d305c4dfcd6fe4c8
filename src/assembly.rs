//! A partition, put together of what was recovered or of nothing, and the partitions that the log makes for itself.

use crate::{
    core::Core,
    directory::{PARTITIONS, create_partition},
    error::{OpenError, io_at},
    format::{SEGMENT_BYTES_MIN, files::Identity},
    names::Content,
    options::{Options, Window},
    partition::{
        Counters, Kept, PartitionState, durability::Durable, recovery::Recovered, replay::Replay, stability::Stability,
    },
    raw::table::Table,
};
use std::{
    path::Path,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64},
    },
};

/// The log's own partitions stay small: what they hold is in their snapshots.
const REGISTRATIONS_BYTES: u64 = 1 << 20;
/// The ledger's may come by the hundred thousand a second.
const LEDGER_BYTES: u64 = 8 << 20;

fn internal_options(bytes: u64, window: Window, of: &Options) -> Options {
    Options {
        segment_bytes: bytes,
        // Small where the users' are, which says that the log is to be.
        first_segment_bytes: SEGMENT_BYTES_MIN.max(of.first_segment_bytes.min(bytes) / 4),
        segments_ahead: 1,
        // No producer appends there.
        producers_max: 1,
        retention_bytes: Some(0),
        retention_age: None,
        recycle: false,
        snapshot_bytes: bytes,
        window,
        flush_interval: None,
        flush_bytes: None,
        io_uring: of.io_uring,
        mapped_segments_max: of.mapped_segments_max,
        awake_partitions_max: of.awake_partitions_max,
        idle_after: None,
    }
}

/// A partition of what was recovered.
pub(crate) fn assemble(
    name: &str,
    number: u32,
    directory: &Path,
    identity: Identity,
    options: &Options,
    recovered: Recovered,
) -> Result<(PartitionState, Replay), OpenError> {
    let options = match Content::of(name) {
        Content::Records => options.clone(),
        // Few, and each flushed by itself: nothing is gained by memory of its own.
        Content::Registrations => Options {
            first_segment_bytes: SEGMENT_BYTES_MIN,
            ..internal_options(REGISTRATIONS_BYTES, Window::Mapped, options)
        },
        // Flushed in one round with the records that it decides about.
        Content::Ledger => internal_options(LEDGER_BYTES, options.window, options),
    };
    let table =
        Table::new(options.producers_max as usize).map_err(io_at("reserve a table of producers for", directory))?;
    let Recovered { chain, replay, snapshots, durable, .. } = recovered;
    let beside = replay.kept();
    let kept = Kept {
        metadata: beside.metadata.map(Into::into),
        metadata_position: beside.metadata_position,
        purge_position: beside.purge_position,
    };
    let state = PartitionState {
        name: name.into(),
        number,
        identity,
        directory: directory.to_owned(),
        options,
        chain,
        durable: Durable::at(durable),
        table,
        stability: Stability::new(replay.aborted()),
        snapshot_limit: AtomicU64::new(if Content::of(name) == Content::Ledger { 0 } else { u64::MAX }),
        undone: Mutex::new(replay.ledger().map(|ledger| ledger.undone().to_vec()).unwrap_or_default()),
        marked: AtomicU64::new(0),
        snapshots: Mutex::new(snapshots),
        followed: Mutex::default(),
        kept: Mutex::new(kept),
        tending: Mutex::default(),
        preparation: Mutex::default(),
        prepared: Condvar::new(),
        turn: Mutex::default(),
        activity: Mutex::default(),
        is_rested: AtomicBool::new(false),
        is_awake: AtomicBool::new(false),
        slots_used: AtomicU32::new(0),
        wants_segment: AtomicBool::new(false),
        appenders: AtomicU64::new(0),
        counters: Counters::default(),
    };
    Ok((state, replay))
}

impl Core {
    /// The partition of that name, made if it is not there. Durable on return.
    pub(crate) fn partition_named(&self, name: &str) -> Result<Arc<PartitionState>, OpenError> {
        let mut partitions = self.partitions.write().unwrap_or_else(PoisonError::into_inner);
        let known = partitions.names.get(name).and_then(|number| partitions.all.get(*number as usize));
        if let Some(state) = known {
            return Ok(Arc::clone(state));
        }
        let number = partitions.all.len() as u32;
        let partitions_directory = self.directory.join(PARTITIONS);
        let directory = partitions_directory.join(name);
        // What can fail comes before the number is used on disk: a number belongs to one name.
        let nothing = Recovered::nothing(Content::of(name), &self.residents);
        let (state, _) = assemble(name, number, &directory, self.identity, &self.options, nothing)?;
        create_partition(&partitions_directory, name, number, self.identity)?;
        let state = Arc::new(state);
        partitions.names.insert(name.into(), number);
        partitions.all.push(Arc::clone(&state));
        Ok(state)
    }
}
