//! Producers along a pass: each batch against the one before it, snapshots against the replay, tables against each other.
//!
//! A replay is of use only while nothing is missing. Behind damage, and where retention has dropped what was before the
//! first segment, it begins again at the next snapshot; until then only what it has seen itself is compared.

use super::{Registrations, producer};
use crate::{
    format::{
        control::Purge,
        frame::Kind,
        snapshot::{Aborted, ProducerEntry, Snapshot},
    },
    ids::ProducerId,
    partition::{
        ledger::LedgerReplay,
        replay::{Replay, Taken, control_words},
        snapshots::read,
    },
    stored::{
        files::{PartitionFiles, StoredSegment},
        outlook::Outlook,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// Differences between two tables that are told one by one.
const TOLD_MAX: usize = 8;

/// What is wrong, and with which file.
pub(super) type Fault = (PathBuf, String);

/// See the head of this file.
pub(super) struct Producers {
    replay: Replay,
    /// Position from which on every batch is in the replay; 0 for all there ever were. None while something is missing.
    complete_from: Option<u64>,
    /// The replay that recovery would do, from the newest snapshot on; where there is none, it would be the other one.
    recovered: Option<Replay>,
    snapshots: BTreeMap<u64, (PathBuf, Snapshot)>,
    /// The newest one that stands at the end of its segment: recovery begins with it.
    newest: Option<u64>,
    agreed: u64,
    faults: Vec<Fault>,
}

impl Producers {
    pub(super) fn new(files: &PartitionFiles) -> Self {
        Self {
            replay: Replay::new(files.content()),
            complete_from: Some(0),
            recovered: None,
            snapshots: BTreeMap::new(),
            newest: None,
            agreed: 0,
            faults: Vec::new(),
        }
    }

    /// Reads the snapshots, and begins with the one that stands before the first segment.
    pub(super) fn begin(&mut self, files: &PartitionFiles, first: Option<&StoredSegment>) {
        for (number, path) in &files.snapshots {
            match read(path, files.identity.log, files.number) {
                Ok(snapshot) if snapshot.header.segment == *number => {
                    self.snapshots.insert(*number, (path.clone(), snapshot));
                }
                Ok(snapshot) => {
                    let what = format!("it says that it is of segment {}", snapshot.header.segment);
                    self.faults.push((path.clone(), what));
                }
                Err(reason) => self.faults.push((path.clone(), format!("the snapshot is damaged: {reason}"))),
            }
        }
        let stands = |(number, (_, snapshot)): &(&u64, &(PathBuf, Snapshot))| {
            let segment = files.used.iter().filter_map(|named| named.segment.as_ref()).find(|of| of.number == **number);
            let end = segment.and_then(|of| Some(of.shape.position(of.seal?.end_units as usize)));
            end == Some(snapshot.header.end_position)
        };
        self.newest = self.snapshots.iter().rev().find(stands).map(|(number, _)| *number);
        let Some(first) = first else {
            if let Some((_, snapshot)) = self.snapshots.values().next_back() {
                self.replay = Replay::from_snapshot(snapshot, files.content());
                self.recovered = Some(self.replay.clone());
            }
            return;
        };
        if first.number > 1 {
            let behind = |(_, snapshot): &&(PathBuf, Snapshot)| first.cuts_at(snapshot.header.end_position);
            let before = self.snapshots.get(&(first.number - 1)).or_else(|| self.snapshots.values().find(behind));
            let replay = before.map(|(_, snapshot)| Replay::from_snapshot(snapshot, files.content()));
            self.complete_from = Some(if replay.is_some() { 0 } else { first.header.base_position });
            if self.newest.is_none_or(|newest| newest < first.number) {
                self.recovered.clone_from(&replay);
            }
            self.replay = replay.unwrap_or_else(|| Replay::new(files.content()));
        }
    }

    pub(super) fn take_faults(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.faults)
    }

    /// Something is missing: what is replayed from here on says nothing before the next snapshot.
    pub(super) fn doubt(&mut self) {
        self.complete_from = None;
    }

    /// Takes a batch into account that follows its producer's batch before.
    pub(super) fn follow(&mut self, frame: &Taken<'_>) {
        self.replay.take(frame);
        if let Some(recovered) = &mut self.recovered {
            recovered.take(frame);
        }
    }

    /// Takes a frame into account; returns what is wrong with its place among its producer's.
    #[inline]
    pub(super) fn take(&mut self, frame: &Taken<'_>) -> Option<String> {
        if frame.producer.is_some_and(|stored| is_nobody(stored.id)) {
            self.doubt();
        }
        let fault = self.complete_from.and_then(|from| self.chain_fault(frame, from)).or_else(|| purge_fault(frame));
        self.replay.take(frame);
        if let Some(recovered) = &mut self.recovered {
            recovered.take(frame);
        }
        fault
    }

    fn chain_fault(&self, frame: &Taken<'_>, complete_from: u64) -> Option<String> {
        // A marker names no batch: it says how its producer goes on.
        let stored = frame.producer.filter(|stored| !is_nobody(stored.id) && !frame.kind.is_marker())?;
        let before = self.replay.producer_in(stored.id.slot()).filter(|before| before.id == stored.id);
        let Some(ProducerEntry { epoch, progress, .. }) = before else {
            // Its batches before may have been dropped by retention.
            let known = stored.previous_position >= complete_from && stored.previous_position > 0;
            return known.then(|| {
                let id = producer(stored.id);
                format!("{id} has a batch before at position {}, and there is none", stored.previous_position)
            });
        };
        // A fence alone says nothing of what was before it, where that was dropped.
        if complete_from > 0 && progress.last_position == 0 {
            return None;
        }
        let id = || producer(stored.id);
        if stored.first_sequence != progress.expected {
            return Some(format!(
                "{} has sequence {}, and {} comes next",
                id(),
                stored.first_sequence,
                progress.expected
            ));
        }
        if stored.epoch < *epoch {
            return Some(format!("{} has epoch {}, behind epoch {epoch}", id(), stored.epoch));
        }
        if stored.previous_position != progress.last_position {
            let (says, is) = (stored.previous_position, progress.last_position);
            return Some(format!("{} has its batch before at position {is}, and not at {says}", id()));
        }
        None
    }

    /// At the end of a segment: compares the snapshot that stands here, and goes on from it where the replay is in doubt.
    pub(super) fn at_end_of(&mut self, segment: &StoredSegment, files: &PartitionFiles, whole: bool) {
        let Some((path, snapshot)) = self.snapshots.get(&segment.number) else { return };
        let header = snapshot.header;
        let mut faults = Vec::new();
        let mut stands = false;
        match segment.seal {
            Some(seal) => {
                let end = segment.shape.position(seal.end_units as usize);
                let offset = seal.base_offset + seal.records;
                stands = header.end_position == end;
                if (header.end_position, header.end_offset) != (end, offset) {
                    faults.push(format!(
                        "the snapshot stands at position {}, offset {}, and its segment ends at {end}, offset {offset}",
                        header.end_position, header.end_offset
                    ));
                }
            }
            None => faults.push("the snapshot stands at the end of a segment that has no seal".to_owned()),
        }
        if whole && let Some(from) = self.complete_from {
            faults.extend(differences(&self.replay, snapshot, from));
        }
        let agrees = faults.is_empty();
        self.agreed += u64::from(agrees && whole);
        self.faults.extend(faults.into_iter().map(|what| (path.clone(), what)));
        let again = Replay::from_snapshot(snapshot, files.content());
        if stands && self.newest == Some(segment.number) {
            self.recovered = Some(again.clone());
        }
        if agrees && self.complete_from != Some(0) {
            self.replay = again;
            self.complete_from = Some(0);
        }
    }

    /// Compares the table that recovery restores with the replay of everything.
    pub(super) fn compare_with_recovery(&self, outlook: &Outlook) -> Vec<Fault> {
        let (Some(0), None, Some(recovered)) = (self.complete_from, &outlook.refused, &self.recovered) else {
            return Vec::new();
        };
        let directory = outlook.kept.last().map(|kept| kept.segment.path.clone()).unwrap_or_default();
        let mut told = Vec::new();
        let mut count = 0;
        let both = self.replay.producers().chain(recovered.producers());
        let slots: BTreeSet<u32> = both.map(|entry| entry.id.slot()).collect();
        for slot in slots {
            let (replayed, restored) = (self.replay.producer_in(slot), recovered.producer_in(slot));
            if replayed != restored {
                count += 1;
                if told.len() < TOLD_MAX {
                    let what = format!("recovery restores {}, and a replay gives {}", entry(restored), entry(replayed));
                    told.push((directory.clone(), what));
                }
            }
        }
        if count > told.len() {
            told.push((directory, format!("{} more producers differ so", count - told.len())));
        }
        told
    }

    pub(super) fn registrations(&self) -> Option<Registrations> {
        let complete = self.complete_from == Some(0);
        complete.then(|| self.replay.registrations().map(|entry| (entry.id.slot(), entry.clone())).collect())
    }

    /// Producers that have appended and were never registered, or with an epoch that was never given.
    pub(super) fn unregistered(&self, registered: &Registrations) -> Vec<String> {
        let mut told = Vec::new();
        for found in self.replay.producers() {
            let id = producer(found.id);
            match registered.get(&found.id.slot()) {
                Some(entry) if entry.id.generation() > found.id.generation() => {}
                Some(entry) if entry.id == found.id && entry.epoch >= found.epoch => {}
                Some(entry) if entry.id == found.id => {
                    told.push(format!(
                        "{id} has appended in epoch {}, and epoch {} was given last",
                        found.epoch, entry.epoch
                    ));
                }
                _ => told.push(format!("{id} has appended and was never registered")),
            }
        }
        told.truncate(TOLD_MAX);
        told
    }

    /// Of the ledger, what its entries amount to.
    pub(super) fn ledger(&self) -> Option<&LedgerReplay> {
        self.replay.ledger()
    }

    pub(super) fn count(&self) -> u64 {
        self.replay.producers().count() as u64
    }

    pub(super) const fn snapshots_agreed(&self) -> u64 {
        self.agreed
    }
}

/// The producer of a frame in the place of what a salvage has lost.
fn is_nobody(id: ProducerId) -> bool {
    id.get() == u64::MAX
}

fn entry(entry: Option<&ProducerEntry>) -> String {
    match entry {
        None => "no producer there".to_owned(),
        Some(ProducerEntry { id, epoch, progress, .. }) => format!(
            "{} in epoch {epoch} with next sequence {} and last batch at position {}",
            producer(*id),
            progress.expected,
            progress.last_position
        ),
    }
}

/// What of a snapshot is not as the replay has it. Where the replay began in the middle, only producers that have appended
/// since are compared.
fn differences(replay: &Replay, snapshot: &Snapshot, complete_from: u64) -> Vec<String> {
    let since = |entry: &&ProducerEntry| complete_from == 0 || entry.progress.last_position >= complete_from;
    let stored: BTreeMap<u32, &ProducerEntry> =
        snapshot.producers.iter().filter(since).map(|entry| (entry.id.slot(), entry)).collect();
    let replayed: BTreeMap<u32, &ProducerEntry> =
        replay.producers().filter(since).map(|entry| (entry.id.slot(), entry)).collect();
    let mut told = Vec::new();
    let slots: BTreeSet<u32> = stored.keys().chain(replayed.keys()).copied().collect();
    for slot in slots {
        let (stored, replayed) = (stored.get(&slot).copied(), replayed.get(&slot).copied());
        if stored != replayed {
            told.push(format!("the snapshot has {}, and a replay gives {}", entry(stored), entry(replayed)));
        }
    }
    if complete_from == 0 && !snapshot.registrations.iter().eq(replay.registrations()) {
        told.push("the snapshot's registrations are not those of a replay".to_owned());
    }
    if complete_from == 0 && !snapshot.undecided.iter().eq(replay.undecided()) {
        told.push("the snapshot's undecided transactions are not those of a replay".to_owned());
    }
    let known = |aborted: &&Aborted| snapshot.aborted.first().is_some_and(|first| aborted.marker >= first.marker);
    if complete_from == 0 && !snapshot.aborted.iter().eq(replay.aborted().iter().filter(known)) {
        told.push("the snapshot's aborted transactions are not those of a replay".to_owned());
    }
    let ledger = LedgerReplay::from_entries(&snapshot.ledger).state();
    if complete_from == 0 && replay.ledger().is_some_and(|replay| replay.state() != ledger) {
        told.push("the snapshot's ledger is not that of a replay".to_owned());
    }
    let more = told.len().saturating_sub(TOLD_MAX);
    told.truncate(TOLD_MAX);
    if more > 0 {
        told.push(format!("{more} more producers differ so"));
    }
    told
}

/// What is wrong with a frame that says where the log starts: it does so behind all the records that it names.
fn purge_fault(frame: &Taken<'_>) -> Option<String> {
    let words = control_words(frame.body).filter(|_| frame.kind == Kind::Purge)?;
    let (Purge { start }, offset) = (Purge::from_words(words), frame.offset);
    (start > offset)
        .then(|| format!("it lets the log start at offset {start}, and {offset} comes next: it is passed over"))
}
