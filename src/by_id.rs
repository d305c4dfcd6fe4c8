//! For brokers, by id: where a producer stands, and its transactions. Every call names the producer; those of a transaction
//! its epoch and number too. All can come from any thread, and can be repeated after a lost answer.

use crate::{
    decision::Commit,
    error::{RegisterError, TransactionError},
    group::Group,
    ids::{Mode, ProducerId, TransactionId},
    ledger::By,
    ledger::Ended,
    log::{Log, Partition},
    producers::own_slot,
    sync::Arc,
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
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let registration = log.register("client")?;
    /// # let time = std::time::Duration::from_secs(60);
    /// # use oncelog::{Stamp, TransactionId};
    /// let (producer, epoch) = (registration.id, registration.epoch);
    /// let id = TransactionId { producer, epoch, number: log.next_transaction(producer) };
    /// log.begin_transaction(id, time)?;
    /// let stamp = Stamp { producer, epoch, sequence: 0 };
    /// let _answer = orders.appender()?.append_in_transaction(id.number, stamp, b"order 41")?;
    /// log.commit_transaction(id)?.wait_durable(time)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # use oncelog::{Stamp, TransactionId};
    /// # let registration = log.register("client")?;
    /// # let (producer, epoch) = (registration.id, registration.epoch);
    /// # let id = TransactionId { producer, epoch, number: log.next_transaction(producer) };
    /// # log.begin_transaction(id, std::time::Duration::from_secs(60))?;
    /// log.add_partition(id, &orders)?;
    /// log.commit_transaction(id)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append_batch(&[b"order 41", b"order 42", b"order 43"])?;
    /// # use oncelog::{Stamp, TransactionId};
    /// # let registration = log.register("client")?;
    /// # let (producer, epoch) = (registration.id, registration.epoch);
    /// # let id = TransactionId { producer, epoch, number: log.next_transaction(producer) };
    /// # log.begin_transaction(id, std::time::Duration::from_secs(60))?;
    /// let group = log.group("billing")?;
    /// log.add_offset(id, &group, &orders, 3)?;
    /// log.commit_transaction(id)?;
    /// assert_eq!(group.committed(&orders), Some(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # use oncelog::{Stamp, TransactionId};
    /// # let registration = log.register("client")?;
    /// # let (producer, epoch) = (registration.id, registration.epoch);
    /// # let id = TransactionId { producer, epoch, number: log.next_transaction(producer) };
    /// # log.begin_transaction(id, std::time::Duration::from_secs(60))?;
    /// let stamp = Stamp { producer, epoch, sequence: 0 };
    /// let _answer = orders.appender()?.append_in_transaction(id.number, stamp, b"order 41")?;
    /// assert_eq!(log.commit_transaction(id)?.transaction(), id.number);
    /// assert!(log.commit_transaction(id).is_ok(), "as often as it is sent");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # use oncelog::{Stamp, TransactionId};
    /// # let registration = log.register("client")?;
    /// # let (producer, epoch) = (registration.id, registration.epoch);
    /// # let id = TransactionId { producer, epoch, number: log.next_transaction(producer) };
    /// # log.begin_transaction(id, std::time::Duration::from_secs(60))?;
    /// log.abort_transaction(id)?;
    /// assert!(log.commit_transaction(id).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TransactionError::Committed`] if it was, [`TransactionError::Fenced`] if its producer was registered again: it is
    /// aborted then already. [`TransactionError::Append`] as for [`Transaction::abort`](crate::Transaction::abort).
    pub fn abort_transaction(&self, id: TransactionId) -> Result<(), TransactionError> {
        self.handle.core.abort_transaction(by(id), id.number)
    }

    /// Aborts somebody's open transaction, as its timeout would, and fences its producer. Whether it was open.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # use oncelog::{Stamp, TransactionId};
    /// # let registration = log.register("client")?;
    /// # let (producer, epoch) = (registration.id, registration.epoch);
    /// # let id = TransactionId { producer, epoch, number: log.next_transaction(producer) };
    /// # log.begin_transaction(id, std::time::Duration::from_secs(60))?;
    /// assert!(log.abort_and_fence(producer, id.number)?);
    /// assert!(!log.abort_and_fence(producer, id.number)?, "it is no longer open");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Log::register`](crate::Log::register).
    pub fn abort_and_fence(&self, producer: ProducerId, transaction: u64) -> Result<bool, RegisterError> {
        self.handle.core.fence_out(producer, transaction, Ended::Aborted)
    }
}
