//! Groups of consumers: their generations, and the offsets that they have come to.

use super::Standing;
use crate::{
    core::Core,
    error::TransactionError,
    format::ledger::{GroupOffset, LedgerEntry},
    ledger::{By, Ledger},
};
use std::time::Duration;

impl Core {
    /// Adds a group's offset to an open transaction; the later one for a partition counts.
    pub(crate) fn add_offset(&self, by: By, number: u64, offset: GroupOffset) -> Result<(), TransactionError> {
        let mut ledger = match self.standing(by, number)? {
            Standing::Open(ledger) => ledger,
            Standing::Ended(ended) => return Err(self.ended_otherwise(by, number, ended)),
        };
        self.refuse_stale(&ledger, &offset)?;
        let Some(open) = ledger.open.get_mut(&by.id.slot()) else { return Ok(()) };
        let same = |one: &&mut GroupOffset| (&one.group, one.partition) == (&offset.group, offset.partition);
        match open.offsets.iter_mut().find(same) {
            Some(one) => *one = offset,
            None => open.offsets.push(offset),
        }
        Ok(())
    }

    fn refuse_stale(&self, ledger: &Ledger, offset: &GroupOffset) -> Result<(), TransactionError> {
        let current = ledger.groups.get(&offset.group).map_or(0, |group| group.generation);
        // Generations begin at 1: one that was never given is no group's.
        if offset.generation == current && current > 0 {
            return Ok(());
        }
        let group = offset.group.to_string();
        Err(TransactionError::StaleGeneration { group, generation: offset.generation, current })
    }

    /// A new generation of a group: durable on return, and elder ones commit no more.
    pub(crate) fn next_generation(&self, name: &str) -> Result<u64, TransactionError> {
        let mut ledger = self.ledger();
        let generation = ledger.groups.get(name).map_or(0, |group| group.generation) + 1;
        let offset = self.write_entry(&mut ledger, &LedgerEntry::Group { group: name.into(), generation })?;
        // From here on: an elder one that comes between this and the flush is told so already.
        ledger.groups.entry(name.into()).or_default().generation = generation;
        drop(ledger);
        self.wait_entry_durable(offset, Duration::MAX)?;
        Ok(generation)
    }

    /// Commits groups' offsets outside of a transaction; the offset of the ledger's entry.
    pub(crate) fn commit_offsets(&self, offsets: Vec<GroupOffset>) -> Result<u64, TransactionError> {
        let mut ledger = self.ledger();
        for offset in &offsets {
            self.refuse_stale(&ledger, offset)?;
        }
        let entry = LedgerEntry::Offsets(offsets);
        let offset = self.write_entry(&mut ledger, &entry)?;
        if let LedgerEntry::Offsets(offsets) = entry {
            for one in offsets {
                ledger.groups.entry(one.group).or_default().offsets.insert(one.partition, one.offset);
            }
        }
        Ok(offset)
    }
}
