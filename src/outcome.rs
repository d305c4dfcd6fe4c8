//! What recovery makes of the transactions that a crash has left: each undecided one is decided once, from what all
//! partitions have recovered, before anything is read or appended.
//!
//! | found | outcome |
//! |---|---|
//! | a commit in the ledger, all that it names recovered | committed: markers are written where they are missing |
//! | a commit in the ledger, some of what it names missing | undone, and with it everything behind it in the ledger |
//! | a commit with a group's offset beyond its partition's recovered end | undone likewise: it was made of what is lost |
//! | records, and no commit in the ledger | aborted: markers are written, the producer goes on as before it |
//! | a marker | decided before the crash; a marker is never written before its decision is durable |
//! | such an offset, committed outside of a transaction | the end: what comes there next was not read yet |
//! | a commit that names what was cut off since | committed: it was durable before the cut |
//! | a commit with a group's offset beyond the end of a partition that was cut before it | committed if there is a marker of its: markers are durable before a cut; if there is none, its input is lost and it is undone |
//!
//! The ledger keeps to a prefix, as every partition does: a transaction may have read what one before it wrote, and a
//! group's offset may follow from either.

use crate::{
    core::{Core, Source},
    error::{AppendError, DurableError, OpenError, TransactionError},
    format::{
        frame::{Kind, Producer},
        ledger::{CommitPart, GroupOffset, LedgerEntry},
        snapshot::{Aborted, Extent, Undecided},
    },
    ids::ProducerId,
    ledger::{Ended, Ledger},
    names::Content,
    partition::{
        PartitionState,
        append::Cursor,
        chain::{Located, Lookup},
        ledger::{LedgerReplay, LedgerState},
        locked,
        replay::Replay,
    },
    sync::Arc,
};
use std::{collections::HashSet, path::Path, time::Duration};

/// A partition that was recovered by itself.
pub(crate) struct Recovering {
    pub(crate) state: Arc<PartitionState>,
    pub(crate) replay: Replay,
    /// Below, a snapshot stands for what was there.
    pub(crate) replayed_from: u64,
}

/// A marker that is missing.
struct Missing {
    partition: u32,
    marker: Producer,
    committed: bool,
    end: Extent,
}

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Outcome {
    state: LedgerState,
    /// Offset of the ledger from which on nothing counts.
    undo_from: Option<u64>,
    missing: Vec<Missing>,
    beyond_the_end: Vec<GroupOffset>,
}

impl Recovering {
    /// Whether the partition has recovered up to the end that a commit names, and it is that end.
    fn bears_out(&self, part: &CommitPart) -> bool {
        let CommitPart { position, checksum, .. } = *part;
        if position < self.replayed_from || position < self.state.chain.start_position() {
            return true;
        }
        // Cut off since: a cut waits for the commits that it reaches into, so it was there with all the rest.
        if self.state.chain.is_cut(position) {
            return true;
        }
        // What looks like a frame behind the end of the partition, or of a segment that an earlier recovery has ended, is
        // none.
        let is_it = |found: &Located| found.frame.checksum == checksum && found.frame.unit < found.segment.limit();
        position < self.state.durable.position()
            && matches!(self.state.chain.frame_at(position), Ok(Lookup::Found(found)) if is_it(&found))
    }

    /// Whether a transaction that ends there has its marker, or was cut off, before which it had.
    fn is_decided(&self, part: &CommitPart, producer: ProducerId, transaction: u64) -> bool {
        let is_it = |one: &Undecided| (one.producer, one.transaction) == (producer, transaction);
        self.state.chain.is_cut(part.position) || !self.replay.undecided().any(is_it)
    }
}

impl Outcome {
    /// Decides, and takes what is aborted back from the recovered producers. Writes nothing.
    pub(crate) fn of(recovered: &mut [Recovering]) -> Result<Self, OpenError> {
        let mut outcome = Self::default();
        let mut committed: HashSet<(ProducerId, u64)> = HashSet::new();
        let own = recovered.iter().position(|one| one.state.content() == Content::Ledger);
        let mut undone = None;
        if let Some(own) = own {
            outcome.undo_from = first_not_borne_out(recovered, own)?;
            let ledger = recovered.get_mut(own).and_then(|own| own.replay.ledger_mut());
            if let Some(ledger) = ledger {
                if let Some(from) = outcome.undo_from {
                    ledger.undo(from);
                    // Until it is written who takes it back.
                    undone = Some((from, u64::MAX));
                }
                committed.extend(ledger.commits().map(|commit| (commit.producer, commit.transaction)));
                outcome.state = ledger.state();
            }
        }
        if let Some(own) = own.and_then(|own| recovered.get(own)) {
            locked(&own.state.undone).extend(undone);
        }
        committed.extend(outcome.state.committed.values().map(|one| (one.producer, one.transaction)));
        for one in recovered.iter_mut() {
            // The latest first: each goes back to what was before it.
            let undecided: Vec<_> = one.replay.undecided().rev().copied().collect();
            for undecided in undecided {
                let committed = committed.contains(&(undecided.producer, undecided.transaction));
                let marker = Producer {
                    id: undecided.producer,
                    first_sequence: undecided.before.expected,
                    epoch: undecided.epoch,
                    previous_position: undecided.before.last_position,
                    transaction: undecided.transaction,
                };
                one.replay.decide(marker, committed, one.state.durable.position());
                outcome.missing.push(Missing { partition: one.state.number, marker, committed, end: undecided.end });
            }
        }
        for (group, state) in &mut outcome.state.groups {
            for (partition, offset) in &mut state.offsets {
                let end = recovered.get(*partition as usize).map_or(0, |one| one.state.durable.offset());
                if *offset > end {
                    *offset = end;
                    outcome.beyond_the_end.push(GroupOffset {
                        group: group.clone(),
                        generation: state.generation,
                        partition: *partition,
                        offset: end,
                    });
                }
            }
        }
        Ok(outcome)
    }

    /// What is known of all transactions.
    pub(crate) fn ledger(&self, recovered: &[Recovering]) -> Ledger {
        let mut ledger = Ledger::new(self.state.clone());
        for entry in recovered.iter().flat_map(|one| one.replay.producers()).filter(|entry| entry.transaction > 0) {
            ledger.saw(entry.id, entry.transaction, 0, Ended::Aborted);
        }
        let own = recovered.iter().find(|one| one.state.content() == Content::Ledger);
        ledger.own = own.map(|own| (Arc::clone(&own.state), Cursor::new(own.state.chain.newest_tail())));
        ledger
    }
}

/// Offset of the first commit that the partitions do not bear out.
fn first_not_borne_out(recovered: &[Recovering], own: usize) -> Result<Option<u64>, OpenError> {
    let Some(own) = recovered.get(own) else { return Ok(None) };
    for commit in own.replay.ledger().into_iter().flat_map(LedgerReplay::commits) {
        let there = |number: u32| {
            recovered.get(number as usize).ok_or_else(|| OpenError::Corrupt {
                path: own.state.directory.clone(),
                at: 0,
                reason: format!(
                    "the ledger's entry at offset {} commits transaction {} of producer {} in partition number {number}, \
                     which is not there",
                    commit.offset, commit.transaction, commit.producer
                ),
            })
        };
        for part in commit.parts {
            if !there(part.partition)?.bears_out(part) {
                return Ok(Some(commit.offset));
            }
        }
        for one in commit.offsets {
            let input = &there(one.partition)?.state;
            if one.offset <= input.durable.offset() {
                continue;
            }
            // It was read before a cut, or after one and is lost: a marker tells, which comes behind all that a commit needs,
            // and is durable before a cut. One that holds offsets alone has none.
            let was_settled = commit.parts.is_empty()
                || commit.parts.iter().any(|part| {
                    let holder = recovered.get(part.partition as usize);
                    holder.is_some_and(|holder| holder.is_decided(part, commit.producer, commit.transaction))
                });
            if !(was_settled && input.chain.is_cut_before(one.offset)) {
                return Ok(Some(commit.offset));
            }
        }
    }
    Ok(None)
}

impl Core {
    /// Writes what was decided, and waits until it is durable.
    pub(crate) fn carry_out(&self, outcome: &Outcome) -> Result<(), OpenError> {
        let at = |error: TransactionError| not_carried_out(&self.directory, error);
        let mut last_entry = None;
        {
            let mut ledger = self.ledger();
            if let Some(from) = outcome.undo_from {
                let offset = self.write_entry(&mut ledger, &LedgerEntry::Undo { from }).map_err(at)?;
                if let Some((own, _)) = &ledger.own {
                    locked(&own.undone).iter_mut().filter(|(_, to)| *to == u64::MAX).for_each(|(_, to)| *to = offset);
                }
                last_entry = Some(offset);
            }
            if !outcome.beyond_the_end.is_empty() {
                let entry = LedgerEntry::Offsets(outcome.beyond_the_end.clone());
                last_entry = Some(self.write_entry(&mut ledger, &entry).map_err(at)?);
            }
        }
        let durable = |error: DurableError| at(error.into());
        // First: markers that a power cut leaves without it must not lend a commit what it lacks.
        if let Some(offset) = last_entry {
            self.wait_entry_durable(offset, Duration::MAX).map_err(durable)?;
        }
        let partitions = self.all_partitions();
        let mut newest: Vec<Option<u64>> = vec![None; partitions.len()];
        for Missing { partition, marker, committed, end } in &outcome.missing {
            let Some(state) = partitions.get(*partition as usize) else { continue };
            let kind = if *committed { Kind::Commit } else { Kind::Abort };
            let mut cursor = Cursor::new(state.chain.newest_tail());
            let source = Source { core: self, partition: state };
            let written = cursor.mark(kind, *marker, self.clock.now_ms(), &source);
            let position = written.map_err(|error| at(error.into()))?;
            let Producer { id: producer, transaction, .. } = *marker;
            let aborted = (!committed).then_some(Aborted { producer, transaction, marker: position, end: *end });
            state.stability.decide(producer, transaction, aborted);
            if let Some(newest) = newest.get_mut(*partition as usize) {
                *newest = Some(position);
            }
        }
        for (partition, position) in partitions.iter().zip(newest) {
            if let Some(position) = position {
                self.flush_up_to(partition, position).map_err(durable)?;
            }
        }
        self.carried_out.store(true, std::sync::atomic::Ordering::Release);
        Ok(())
    }
}

fn not_carried_out(directory: &Path, error: TransactionError) -> OpenError {
    let (path, source) = match error {
        TransactionError::Append(AppendError::NoSpace { path, source, .. } | AppendError::Prepare { path, source }) => {
            (path, source)
        }
        other => (directory.to_owned(), std::io::Error::other(other.to_string())),
    };
    OpenError::Io { doing: "write the outcome of a transaction to", path, source }
}
