//! Transactions by id, for brokers: every call names the producer, its epoch and the transaction, can come from any thread,
//! and can be repeated after a lost answer.

use crate::{
    decision::Commit,
    error::{RegisterError, TransactionError},
    group::Group,
    ids::{Mode, ProducerId},
    ledger::Ended,
    log::{Log, Partition},
    sync::Arc,
    transactions::By,
};
use std::time::Duration;

/// Which transaction, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId {
    /// The id that registration gave.
    pub producer: ProducerId,
    /// The epoch that registration gave.
    pub epoch: u32,
    /// The transaction's number: above all earlier ones of the producer, from 1 on.
    pub number: u64,
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

impl TransactionId {
    const fn by(self) -> By {
        By { id: self.producer, epoch: self.epoch, mode: Mode::ById }
    }
}

impl Log {
    /// The number that a producer's next transaction may have: one more than its latest.
    #[must_use]
    pub fn next_transaction(&self, producer: ProducerId) -> u64 {
        self.handle.core.ledger().author(producer).map_or(0, |author| author.last) + 1
    }

    /// Begins a transaction of a producer that appends by id. It is aborted, and the producer fenced, when it is open for
    /// longer than `timeout`. Nothing is written. Again with the same number, it changes nothing.
    ///
    /// # Errors
    /// [`TransactionError::AlreadyOpen`] while another one is, [`TransactionError::NumberUsed`],
    /// [`TransactionError::Fenced`], [`TransactionError::Timeout`] for less than a millisecond, and others that say who the
    /// caller is not.
    pub fn begin_transaction(&self, id: TransactionId, timeout: Duration) -> Result<(), TransactionError> {
        self.handle.core.begin(id.by(), Some(id.number), timeout).map(|_| ())
    }

    /// Adds a partition to an open transaction, as the first append there does. Again, it changes nothing.
    ///
    /// # Errors
    /// [`TransactionError::NotOpen`] and others that say how it ended, [`TransactionError::OtherLog`].
    pub fn add_partition(&self, id: TransactionId, partition: &Partition) -> Result<(), TransactionError> {
        if !Arc::ptr_eq(&self.handle, &partition.handle) {
            return Err(TransactionError::OtherLog { name: partition.name().to_owned() });
        }
        self.handle.core.add_partition(id.by(), id.number, &partition.state)
    }

    /// Makes a group's offset part of an open transaction, as
    /// [`Transaction::commit_offset`](crate::Transaction::commit_offset).
    ///
    /// # Errors
    /// As there, and [`TransactionError::NotOpen`].
    pub fn add_offset(
        &self,
        id: TransactionId,
        group: &Group,
        partition: &Partition,
        offset: u64,
    ) -> Result<(), TransactionError> {
        group.refuse_other_log(&self.handle)?;
        let offset = group.offset(partition, offset)?;
        self.handle.core.add_offset(id.by(), id.number, offset)
    }

    /// Commits a transaction. Again, after a lost answer or a crash, it gives the same answer.
    ///
    /// # Errors
    /// As for [`Transaction::commit`](crate::Transaction::commit), but where the log has no room for the commit the
    /// transaction stays open. [`TransactionError::NotOpen`] if it was never begun, or others have come since.
    pub fn commit_transaction(&self, id: TransactionId) -> Result<Commit, TransactionError> {
        let offset = self.handle.core.commit_transaction(id.by(), id.number)?;
        Ok(Commit::new(Arc::clone(&self.handle), id.number, offset))
    }

    /// Aborts a transaction. Again, it changes nothing.
    ///
    /// # Errors
    /// [`TransactionError::Committed`] if it was, [`TransactionError::Fenced`] if its producer was registered again: it is
    /// aborted then already. [`TransactionError::Append`] as for [`Transaction::abort`](crate::Transaction::abort).
    pub fn abort_transaction(&self, id: TransactionId) -> Result<(), TransactionError> {
        self.handle.core.abort_transaction(id.by(), id.number)
    }

    /// All open transactions, the oldest first.
    #[must_use]
    pub fn open_transactions(&self) -> Vec<TransactionInfo> {
        let core = &self.handle.core;
        let mut open: Vec<TransactionInfo> = {
            let ledger = core.ledger();
            let info = |open: &crate::ledger::OpenTransaction| TransactionInfo {
                id: TransactionId { producer: open.id, epoch: open.epoch, number: open.number },
                owner: String::new(),
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
        let registry = core.registry();
        for one in &mut open {
            one.owner = registry.find(one.id.producer).map(|entry| entry.name.to_string()).unwrap_or_default();
        }
        open.sort_by_key(|one| std::cmp::Reverse(one.age));
        open
    }

    /// Aborts somebody's open transaction, as its timeout would, and fences its producer. Whether it was open.
    ///
    /// # Errors
    /// As for [`Log::register`](crate::Log::register).
    pub fn abort_and_fence(&self, producer: ProducerId, transaction: u64) -> Result<bool, RegisterError> {
        self.handle.core.fence_out(producer, transaction, Ended::Aborted)
    }
}
