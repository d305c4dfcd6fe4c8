//! For brokers, by id: where a producer stands, and its transactions. Every call names the producer; those of a transaction
//! its epoch and number too. All can come from any thread, and can be repeated after a lost answer.

use crate::{
    decision::Commit,
    error::{RegisterError, TransactionError},
    group::Group,
    ids::{Mode, ProducerId, TransactionId},
    ledger::Ended,
    log::{Log, Partition},
    producers::own_slot,
    sync::Arc,
    transactions::By,
};
use std::time::Duration;

const fn by(id: TransactionId) -> By {
    By { id: id.producer, epoch: id.epoch, mode: Mode::ById }
}

impl Partition {
    /// The sequence that a producer's next append to this partition must have, for a broker that tells it where to go on: 0
    /// for one that has not appended here, or that no log knows. An append that is under way may or may not be counted.
    #[must_use]
    pub fn next_sequence(&self, producer: ProducerId) -> u64 {
        own_slot(&self.state, producer).map_or(0, |slot| slot.progress().expected)
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
        self.handle.core.begin(by(id), Some(id.number), timeout).map(|_| ())
    }

    /// Adds a partition to an open transaction, as the first append there does. Again, it changes nothing.
    ///
    /// # Errors
    /// [`TransactionError::NotOpen`] and others that say how it ended, [`TransactionError::OtherLog`].
    pub fn add_partition(&self, id: TransactionId, partition: &Partition) -> Result<(), TransactionError> {
        if !Arc::ptr_eq(&self.handle, &partition.handle) {
            return Err(TransactionError::OtherLog { name: partition.name().to_owned() });
        }
        self.handle.core.add_partition(by(id), id.number, &partition.state)
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
        self.handle.core.add_offset(by(id), id.number, offset)
    }

    /// Commits a transaction. Again, after a lost answer or a crash, it gives the same answer.
    ///
    /// # Errors
    /// As for [`Transaction::commit`](crate::Transaction::commit), but where the log has no room for the commit the
    /// transaction stays open. [`TransactionError::NotOpen`] if it was never begun, or others have come since.
    pub fn commit_transaction(&self, id: TransactionId) -> Result<Commit, TransactionError> {
        let offset = self.handle.core.commit_transaction(by(id), id.number)?;
        Ok(Commit::new(Arc::clone(&self.handle), id.number, offset))
    }

    /// Aborts a transaction. Again, it changes nothing.
    ///
    /// # Errors
    /// [`TransactionError::Committed`] if it was, [`TransactionError::Fenced`] if its producer was registered again: it is
    /// aborted then already. [`TransactionError::Append`] as for [`Transaction::abort`](crate::Transaction::abort).
    pub fn abort_transaction(&self, id: TransactionId) -> Result<(), TransactionError> {
        self.handle.core.abort_transaction(by(id), id.number)
    }

    /// Aborts somebody's open transaction, as its timeout would, and fences its producer. Whether it was open.
    ///
    /// # Errors
    /// As for [`Log::register`](crate::Log::register).
    pub fn abort_and_fence(&self, producer: ProducerId, transaction: u64) -> Result<bool, RegisterError> {
        self.handle.core.fence_out(producer, transaction, Ended::Aborted)
    }
}
