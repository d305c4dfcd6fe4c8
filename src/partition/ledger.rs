//! What the ledger says: which transactions are committed, and how far groups have come. A fold over its entries, in their
//! order; an UNDO takes back all from an offset on, so entries are kept as they came until a snapshot stands for them.

use crate::{
    format::ledger::{CommitPart, GroupOffset, LedgerEntry},
    ids::ProducerId,
};
use std::collections::BTreeMap;

/// A group: its newest generation, and the offset that it reads next in each partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupState {
    pub(crate) generation: u64,
    /// By partition number.
    pub(crate) offsets: BTreeMap<u32, u64>,
}

/// A producer's latest committed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) producer: ProducerId,
    pub(crate) epoch: u32,
    pub(crate) transaction: u64,
}

/// What the ledger amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LedgerState {
    /// By slot.
    pub(crate) committed: BTreeMap<u32, Committed>,
    pub(crate) groups: BTreeMap<Box<str>, GroupState>,
}

impl LedgerState {
    fn set_offsets(&mut self, offsets: &[GroupOffset]) {
        for GroupOffset { group, generation, partition, offset } in offsets {
            let state = self.groups.entry(group.clone()).or_default();
            state.generation = state.generation.max(*generation);
            state.offsets.insert(*partition, *offset);
        }
    }

    fn apply(&mut self, entry: &LedgerEntry) {
        match entry {
            LedgerEntry::Commit { producer, epoch, transaction, offsets, .. } => {
                let committed = Committed { producer: *producer, epoch: *epoch, transaction: *transaction };
                self.committed.insert(producer.slot(), committed);
                self.set_offsets(offsets);
            }
            LedgerEntry::Offsets(offsets) => self.set_offsets(offsets),
            LedgerEntry::Group { group, generation } => {
                let state = self.groups.entry(group.clone()).or_default();
                state.generation = state.generation.max(*generation);
            }
            LedgerEntry::Undo { .. } => {}
        }
    }

    /// The fewest entries that amount to this.
    fn entries(&self) -> Vec<LedgerEntry> {
        let mut entries = Vec::new();
        for Committed { producer, epoch, transaction } in self.committed.values().copied() {
            entries.push(LedgerEntry::Commit { producer, epoch, transaction, parts: Vec::new(), offsets: Vec::new() });
        }
        for (group, GroupState { generation, offsets }) in &self.groups {
            entries.push(LedgerEntry::Group { group: group.clone(), generation: *generation });
            let offsets: Vec<GroupOffset> = offsets
                .iter()
                .map(|(partition, offset)| GroupOffset {
                    group: group.clone(),
                    generation: *generation,
                    partition: *partition,
                    offset: *offset,
                })
                .collect();
            if !offsets.is_empty() {
                entries.push(LedgerEntry::Offsets(offsets));
            }
        }
        entries
    }
}

/// What an entry that commits names.
#[derive(Clone, Copy)]
pub(crate) struct CommitEntry<'a> {
    /// Where it stands in the ledger.
    pub(crate) offset: u64,
    pub(crate) producer: ProducerId,
    pub(crate) transaction: u64,
    pub(crate) parts: &'a [CommitPart],
    pub(crate) offsets: &'a [GroupOffset],
}

/// An entry, and where it stands in the ledger.
#[derive(Clone, Debug)]
struct Placed {
    offset: u64,
    entry: LedgerEntry,
}

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub(crate) struct LedgerReplay {
    /// As of the snapshot that the replay began with.
    before: LedgerState,
    /// Since.
    entries: Vec<Placed>,
    /// What was taken back: from behind which offset, and by the entry at which one.
    undone: Vec<(u64, u64)>,
    /// Position of the first record that is no entry.
    undecodable: Option<u64>,
}

impl LedgerReplay {
    pub(crate) fn from_entries(entries: &[LedgerEntry]) -> Self {
        let mut before = LedgerState::default();
        for entry in entries {
            before.apply(entry);
        }
        Self { before, ..Self::default() }
    }

    pub(crate) fn take(&mut self, offset: u64, position: u64, body: &[u8]) {
        match LedgerEntry::decode(body) {
            Some(LedgerEntry::Undo { from }) => {
                self.undo(from);
                self.undone.push((from, offset));
            }
            Some(entry) => self.entries.push(Placed { offset, entry }),
            None => self.undecodable = self.undecodable.or(Some(position)),
        }
    }

    /// What stands at or behind an offset counts no more.
    pub(crate) fn undo(&mut self, from: u64) {
        let left = self.entries.partition_point(|placed| placed.offset < from);
        self.entries.truncate(left);
    }

    /// What was taken back since the snapshot: from behind which offset, and by the entry at which one.
    pub(crate) fn undone(&self) -> &[(u64, u64)] {
        &self.undone
    }

    /// Position of the first record that is no entry, though its checksum agrees.
    pub(crate) const fn undecodable(&self) -> Option<u64> {
        self.undecodable
    }

    /// Committed transactions since the snapshot, in their order.
    pub(crate) fn commits(&self) -> impl Iterator<Item = CommitEntry<'_>> {
        self.entries.iter().filter_map(|placed| match &placed.entry {
            LedgerEntry::Commit { producer, transaction, parts, offsets, .. } => Some(CommitEntry {
                offset: placed.offset,
                producer: *producer,
                transaction: *transaction,
                parts,
                offsets,
            }),
            _ => None,
        })
    }

    /// As of the snapshot that the replay began with.
    pub(crate) const fn state_before(&self) -> &LedgerState {
        &self.before
    }

    pub(crate) fn state(&self) -> LedgerState {
        let mut state = self.before.clone();
        for placed in &self.entries {
            state.apply(&placed.entry);
        }
        state
    }

    /// As the snapshot of a sealed end holds it.
    pub(crate) fn into_entries(self) -> Vec<LedgerEntry> {
        self.state().entries()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(replay: &mut LedgerReplay, offset: u64, entry: &LedgerEntry) {
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        replay.take(offset, offset * 8, &bytes);
    }

    fn commit(transaction: u64, offset: u64) -> LedgerEntry {
        let offset = GroupOffset { group: "g".into(), generation: 2, partition: 3, offset };
        let producer = ProducerId::new(1, 1);
        LedgerEntry::Commit { producer, epoch: 1, transaction, parts: Vec::new(), offsets: vec![offset] }
    }

    #[test]
    fn what_is_undone_never_was_and_a_snapshot_holds_the_rest() {
        let mut replay = LedgerReplay::default();
        take(&mut replay, 100, &commit(1, 10));
        let before = replay.state();
        take(&mut replay, 200, &commit(2, 20));
        take(&mut replay, 300, &LedgerEntry::Group { group: "h".into(), generation: 9 });
        take(&mut replay, 400, &LedgerEntry::Undo { from: 200 });
        assert_eq!(replay.state(), before);
        take(&mut replay, 500, &commit(3, 30));
        let state = replay.state();
        assert_eq!(state.groups["g"], GroupState { generation: 2, offsets: BTreeMap::from([(3, 30)]) });
        let again = LedgerReplay::from_entries(&replay.clone().into_entries());
        assert_eq!(again.state(), state);
        replay.take(75, 600, b"nothing that an entry begins with");
        assert_eq!(replay.undecodable(), Some(600));
    }
}
