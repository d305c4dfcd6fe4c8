//! Until when a commit could be undone by a power cut: what it needs, and who waits for it.

use crate::{
    core::Core,
    error::{AppendError, DurableError},
    ids::ProducerId,
    partition::PartitionState,
    sync::Arc,
};
use std::time::{Duration, Instant};

impl Core {
    /// Whether the ledger's entry at `offset`, and all that it and those before it name, is durable.
    pub(crate) fn is_entry_durable(&self, offset: u64) -> bool {
        let ledger = self.ledger();
        let own = ledger.own.as_ref().is_none_or(|(own, _)| own.durable.offset() > offset);
        own && ledger.needs(offset).iter().all(|(partition, last)| partition.durable.offset() > *last)
    }

    /// What has to be durable for the ledger's entry at `offset` to be, itself included.
    pub(crate) fn needs_of_entry(&self, offset: u64) -> Vec<(Arc<PartitionState>, u64)> {
        let ledger = self.ledger();
        let mut needs: Vec<_> = ledger.own.iter().map(|(own, _)| (Arc::clone(own), offset)).collect();
        needs.extend(ledger.needs(offset));
        needs
    }

    /// Waits until it is; false if the time is over first.
    pub(crate) fn wait_entry_durable(&self, offset: u64, timeout: Duration) -> Result<bool, DurableError> {
        let until = Instant::now().checked_add(timeout);
        for (partition, last) in self.needs_of_entry(offset) {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            match self.wait_durable(&partition, last, left) {
                // A cut waits for the commits that it reaches into: what was to be durable was.
                Ok(true) | Err(DurableError::Truncated { .. }) => {}
                other => return other,
            }
        }
        self.try_settle();
        Ok(true)
    }

    /// Waits until no commit of the producer in the partition, or in any, could be undone by a power cut: what it appends
    /// there outside of transactions must not outlive them.
    pub(crate) fn wait_settled(&self, id: ProducerId, partition: Option<&PartitionState>) -> Result<(), DurableError> {
        let unsettled = self.ledger().unsettled(id, partition);
        match unsettled {
            Some(offset) => self.wait_entry_durable(offset, Duration::MAX).map(|_| ()),
            None => Ok(()),
        }
    }

    /// A producer is about to append to a partition outside of transactions. Whether it may: not while one is open there,
    /// and not before those that it has committed there are durable.
    pub(crate) fn leave_transaction(
        &self,
        id: ProducerId,
        partition: &Arc<PartitionState>,
    ) -> Result<bool, AppendError> {
        let Some(slot) = partition.table.get(id.slot() as usize) else { return Ok(true) };
        let mut ledger = self.ledger();
        let behind = slot.transaction();
        if let Some(open) = ledger.open_of(id)
            && open.parts.iter().any(|part| Arc::ptr_eq(&part.partition, partition))
        {
            let (number, Some(ended)) = (open.number, open.aborting) else { return Ok(false) };
            self.abort_open(&mut ledger, id, number, ended)?;
        }
        drop(ledger);
        self.wait_settled(id, Some(partition))?;
        slot.leave(behind);
        Ok(true)
    }
}
