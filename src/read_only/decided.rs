//! What became of transactions, as a read-only look at a log tells: from markers, and from the ledger by the rule of
//! `outcome.rs`, with nothing written.
//!
//! Of a log that is in use, a transaction without a marker may be committed any moment: what was not decided when the log was
//! opened stays unseen. Of one that nobody has open, opening it for writing would abort such a transaction, and so does this.

use super::ReadOnlyPartition;
use crate::{
    error::OpenError,
    format::{ledger::CommitPart, snapshot::Undecided},
    ids::ProducerId,
    names::Content,
    partition::ledger::CommitEntry,
    stored::{
        frames::{Frames, Item},
        outlook::Kept,
    },
};
use std::{collections::HashSet, sync::Arc};

/// The outcome of a partition's transactions.
#[derive(Clone, Debug, Default)]
pub(super) struct Decided {
    /// Aborted ones.
    hidden: Arc<HashSet<(ProducerId, u64)>>,
    /// Offset behind the last record that is decided.
    pub(super) limit: u64,
}

impl Decided {
    pub(super) fn is_hidden(&self, producer: ProducerId, transaction: u64) -> bool {
        self.hidden.contains(&(producer, transaction))
    }
}

/// Whether a partition holds the frame that a commit names as its last.
fn bears_out(partition: &ReadOnlyPartition, part: &CommitPart) -> bool {
    let CommitPart { position, checksum, .. } = *part;
    let kept = &partition.outlook.kept;
    let Some(first) = kept.first() else { return position < partition.outlook.end_position };
    if position < first.segment.header.base_position {
        return true;
    }
    if kept.iter().any(|kept| is_cut(kept, position)) {
        // A cut waits for the commits that it reaches into.
        return true;
    }
    let after = kept.partition_point(|kept| kept.segment.header.base_position <= position);
    let Some(holder) = after.checked_sub(1).and_then(|at| kept.get(at)) else { return false };
    let unit = ((position - holder.segment.header.base_position) / 8) as usize;
    if position >= partition.outlook.end_position || unit >= holder.segment.limit() {
        return false;
    }
    // Dropped meanwhile, it was durable.
    let Ok(Some(mut frames)) = Frames::open(&holder.segment) else { return true };
    let Item::Frame(frame) = frames.at(unit) else { return false };
    let units = frame.units;
    let stored = frames.raw(unit, units).get(8..).and_then(|rest| rest.first_chunk().copied());
    stored.is_some_and(|stored| u64::from_le_bytes(stored) == checksum)
}

/// Whether a position was cut off.
fn is_cut(kept: &Kept, position: u64) -> bool {
    let start = kept.segment.start.filter(|start| start.cut);
    start.is_some_and(|start| (start.previous_end..kept.segment.header.base_position).contains(&position))
}

/// Whether a transaction that ends there has its marker, or was cut off, before which it had.
fn is_decided(partitions: &[ReadOnlyPartition], commit: &CommitEntry<'_>, part: &CommitPart) -> bool {
    let Some(holder) = partitions.get(part.partition as usize) else { return false };
    let is_it = |one: &Undecided| (one.producer, one.transaction) == (commit.producer, commit.transaction);
    holder.outlook.kept.iter().any(|kept| is_cut(kept, part.position)) || !holder.outlook.replay.undecided().any(is_it)
}

/// Whether the partitions hold what a commit names, and what it was made of: as `first_not_borne_out` of `outcome.rs`. An
/// error is the number of a partition that is not there.
fn is_borne_out(partitions: &[ReadOnlyPartition], commit: &CommitEntry<'_>) -> Result<bool, u32> {
    let there = |number: u32| partitions.get(number as usize).ok_or(number);
    for part in commit.parts {
        if !bears_out(there(part.partition)?, part) {
            return Ok(false);
        }
    }
    for one in commit.offsets {
        let outlook = &there(one.partition)?.outlook;
        let was_cut = |kept: &Kept| kept.segment.is_behind_a_cut() && kept.base_offset < one.offset;
        // Or by a cut that retention has dropped since.
        let was_cut_before = outlook.replay.kept().cut.is_some_and(|cut| cut < one.offset);
        if one.offset > outlook.end_offset {
            let was_settled =
                commit.parts.is_empty() || commit.parts.iter().any(|part| is_decided(partitions, commit, part));
            if !was_settled || !was_cut_before && !outlook.kept.iter().any(was_cut) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// What opening refuses if the ledger commits something in a partition that is not there.
pub(super) fn refuse_missing(partitions: &[ReadOnlyPartition]) -> Option<(usize, OpenError)> {
    let own = partitions.iter().position(|partition| partition.files.content() == Content::Ledger)?;
    let ledger = partitions.get(own)?;
    for commit in ledger.outlook.replay.ledger()?.commits() {
        match is_borne_out(partitions, &commit) {
            Ok(true) => {}
            // It is undone, and nothing behind it counts.
            Ok(false) => return None,
            Err(number) => {
                let reason = format!(
                    "the ledger's entry at offset {} commits transaction {} of producer {} in partition number {number}, \
                     which is not there",
                    commit.offset, commit.transaction, commit.producer
                );
                return Some((own, OpenError::Corrupt { path: ledger.files.directory.clone(), at: 0, reason }));
            }
        }
    }
    None
}

/// The outcome of every partition's transactions, in the partitions' order.
pub(super) fn decide(partitions: &[ReadOnlyPartition], in_use: bool) -> Vec<Decided> {
    let ledger = partitions.iter().find(|partition| partition.files.content() == Content::Ledger);
    let ledger = ledger.and_then(|own| own.outlook.replay.ledger());
    let mut committed: HashSet<(ProducerId, u64)> = HashSet::new();
    if let Some(ledger) = ledger {
        // Behind one that is not borne out, nothing counts.
        let borne_out = ledger.commits().take_while(|commit| is_borne_out(partitions, commit) == Ok(true));
        committed.extend(borne_out.map(|commit| (commit.producer, commit.transaction)));
        let before = ledger.state_before();
        committed.extend(before.committed.values().map(|one| (one.producer, one.transaction)));
    }
    partitions
        .iter()
        .map(|partition| {
            let replay = &partition.outlook.replay;
            let mut hidden: HashSet<(ProducerId, u64)> =
                replay.aborted().iter().map(|aborted| (aborted.producer, aborted.transaction)).collect();
            let mut limit = partition.outlook.end_offset;
            for undecided in replay.undecided() {
                let key = (undecided.producer, undecided.transaction);
                match committed.contains(&key) {
                    true => {}
                    false if in_use => limit = limit.min(undecided.first_offset),
                    false => {
                        hidden.insert(key);
                    }
                }
            }
            Decided { hidden: Arc::new(hidden), limit }
        })
        .collect()
}
