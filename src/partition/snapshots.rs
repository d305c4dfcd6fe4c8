//! Snapshots: the producers as of a sealed segment's end, written in the background beside the segments.
//!
//! A snapshot is the one before it plus a replay of the segments since, so it holds exactly what reopening would find,
//! and nothing of what has been appended meanwhile. It is synced before it gets its name, and its name is synced before
//! anything that it replaces is dropped.

use super::{
    ledger::LedgerReplay,
    replay::Replay,
    state::{PartitionState, locked},
};
use crate::{
    error::{OpenError, SYNC, io_at},
    format::{
        segment_header::Seal,
        snapshot::{Snapshot, SnapshotHeader},
    },
    segment::{
        file::{Segment, file_name},
        scan::{Found, find},
        tail::FIRST_UNIT,
    },
};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

/// Suffix of a snapshot.
pub(crate) const SNAPSHOT: &str = "snapshot";
/// Suffix of a file that is being written.
pub(crate) const UNFINISHED: &str = "tmp";

/// A snapshot that is on disk.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotFile {
    pub(crate) path: PathBuf,
    /// The segment at whose end it stands.
    pub(crate) segment: u64,
    pub(crate) end_position: u64,
}

/// Writes a file so that it is there whole or not at all, and is there to stay.
pub(crate) fn write_durably(directory: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, OpenError> {
    let path = directory.join(name);
    let unfinished = path.with_extension(UNFINISHED);
    let write = || -> io::Result<()> {
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)
    };
    write().map_err(io_at("write", &path))?;
    let names = File::open(directory).map_err(io_at("open", directory))?;
    names.sync_all().map_err(io_at(SYNC, directory))?;
    Ok(path)
}

/// Replays all frames of a sealed segment. Those that say something of a producer must verify, unless they still stand in
/// the memory that they were appended in.
pub(crate) fn replay_segment(replay: &mut Replay, segment: &Segment) -> Result<(), OpenError> {
    let window = segment.window().map_err(io_at("map", segment.path()))?;
    let is_direct = segment.is_direct();
    let base_offset = segment.base_offset().unwrap_or(0);
    let mut unit = FIRST_UNIT;
    while unit < segment.limit() {
        match find(&window, segment.shape(), unit) {
            Found::Frame(frame) if is_direct || !replay.is_told_by(&frame) || segment.verifies(&window, &frame) => {
                frame.fetch_headers_on(&window);
                replay.apply(&frame, segment, &window, base_offset);
                unit += frame.units;
            }
            Found::Padding { units } => unit += units,
            Found::Frame(_) | Found::Nothing | Found::Invalid => {
                return Err(OpenError::Corrupt {
                    path: segment.path(),
                    at: unit as u64 * 8,
                    reason: "a sealed segment has no valid frame here".to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// Reads a snapshot file and checks that it is of this partition.
pub(crate) fn read(path: &Path, log: u128, partition: u32) -> Result<Snapshot, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let snapshot = Snapshot::decode(&bytes)?;
    if (snapshot.header.log, snapshot.header.partition) != (log, partition) {
        return Err("it is of another partition".to_owned());
    }
    Ok(snapshot)
}

impl PartitionState {
    /// Position up to which the newest snapshot but one goes; 0 if there is none. What is above it is kept, so that one
    /// damaged snapshot costs a longer replay and nothing else.
    pub(crate) fn kept_position(&self) -> u64 {
        let snapshots = locked(&self.snapshots);
        snapshots.len().checked_sub(2).and_then(|at| snapshots.get(at)).map_or(0, |snapshot| snapshot.end_position)
    }

    /// Number of the last segment up to `number` at whose end a snapshot stands, and another one behind it.
    pub(crate) fn snapshot_up_to(&self, number: u64) -> Option<u64> {
        let snapshots = locked(&self.snapshots);
        let (_, others) = snapshots.split_last()?;
        others.iter().rev().map(|snapshot| snapshot.segment).find(|segment| *segment <= number)
    }

    /// Position up to which the newest snapshot goes; 0 if there is none.
    pub(crate) fn snapshot_position(&self) -> u64 {
        locked(&self.snapshots).last().map_or(0, |snapshot| snapshot.end_position)
    }

    /// Writes a snapshot as of the end of the newest segment in the sealed prefix of the chain, if that is news.
    pub(crate) fn write_snapshot(&self) -> Result<bool, OpenError> {
        self.write_snapshot_up_to(u64::MAX)
    }

    /// Writes a snapshot as of the end of the newest sealed segment with at most that number, if that is news.
    pub(crate) fn write_snapshot_up_to(&self, number: u64) -> Result<bool, OpenError> {
        let newest = locked(&self.snapshots).last().cloned();
        let since = newest.as_ref().map_or(0, |snapshot| snapshot.segment);
        let limit = self.snapshot_limit.load(Ordering::Relaxed);
        let undone = locked(&self.undone).clone();
        let stands = |segment: &Arc<Segment>| {
            let end = segment.seal().map_or(0, |seal| seal.base_offset + seal.records);
            !undone.iter().any(|(from, to)| *from < end && end <= *to)
        };
        let mut segments: Vec<Arc<Segment>> = self
            .chain
            .begun()
            .into_iter()
            .skip_while(|segment| segment.number() <= since)
            .take_while(|segment| {
                let within = |seal: &Seal| seal.base_offset + seal.records <= limit;
                segment.number() <= number && segment.seal().is_some_and(within)
            })
            .collect();
        while segments.last().is_some_and(|last| !stands(last)) {
            segments.pop();
        }
        let Some((last, seal)) = segments.last().and_then(|segment| Some((segment, segment.seal()?))) else {
            return Ok(false);
        };
        let followed = self.take_followed(since, last.number());
        let (from, mut replay) = match (followed, &newest) {
            (Some(followed), _) => (followed.segment, followed.replay),
            (None, None) => (since, Replay::new(self.content())),
            (None, Some(file)) => {
                let snapshot = read(&file.path, self.identity.log, self.number)
                    .map_err(|reason| OpenError::Corrupt { path: file.path.clone(), at: 0, reason })?;
                (since, Replay::from_snapshot(&snapshot, self.content()))
            }
        };
        replay.forget_aborted_before(self.chain.start_position());
        for segment in &segments {
            // All of them at once, and then one flush after the other.
            segment.start_writing_seal();
        }
        for segment in &segments {
            if segment.number() > from {
                replay_segment(&mut replay, segment)?;
            }
            // What a snapshot stands for must not be lost in a power cut that leaves the snapshot.
            let path = segment.path();
            let file = File::open(&path).map_err(io_at("open", &path))?;
            file.sync_data().map_err(io_at(SYNC, path))?;
        }
        if let Some(position) = replay.ledger().and_then(LedgerReplay::undecodable) {
            let reason = format!("no entry of the ledger that this build knows, at position {position}");
            return Err(OpenError::Corrupt { path: self.directory.clone(), at: position, reason });
        }
        let header = SnapshotHeader {
            log: self.identity.log,
            partition: self.number,
            segment: last.number(),
            end_position: last.shape().position(seal.end_units as usize),
            end_offset: seal.base_offset + seal.records,
        };
        let bytes = replay.into_snapshot(header).encode();
        let path = write_durably(&self.directory, &file_name(last.number(), SNAPSHOT), &bytes)?;
        locked(&self.snapshots).push(SnapshotFile { path, segment: header.segment, end_position: header.end_position });
        Self::count(&self.counters.snapshots);
        event!(DEBUG, partition = %self.name, segment = last.number(), bytes = bytes.len(), "a snapshot was written");
        Ok(true)
    }

    /// Removes the snapshots that stand for what was cut off at a position: each, and how that went.
    pub(crate) fn drop_snapshots_behind(&self, position: u64) -> Vec<(PathBuf, io::Result<()>)> {
        let mut snapshots = locked(&self.snapshots);
        let left = snapshots.partition_point(|snapshot| snapshot.end_position <= position);
        let gone = snapshots.split_off(left).into_iter().rev();
        gone.map(|SnapshotFile { path, .. }| (path.clone(), fs::remove_file(&path))).collect()
    }

    /// Whether something stands for all that was dropped if everything from a position on is cut off.
    pub(crate) fn outlives_a_cut(&self, position: u64) -> bool {
        !self.chain.has_dropped() || locked(&self.snapshots).iter().any(|snapshot| snapshot.end_position <= position)
    }

    /// Removes snapshots that no longer help: those before the one that stands for all that was dropped, which stays even if
    /// everything behind it is cut off.
    pub(crate) fn drop_snapshots(&self) {
        let start = self.chain.start_position();
        let mut snapshots = locked(&self.snapshots);
        while snapshots.len() > 2 && snapshots.get(1).is_some_and(|next| next.end_position <= start) {
            let oldest = snapshots.remove(0);
            // A snapshot that stays is found again by the next reopening, and is of no harm.
            let _ = fs::remove_file(oldest.path);
        }
    }
}
