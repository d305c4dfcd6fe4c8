//! Groups: how far those who read under one name have come, kept in the log itself.

use crate::{
    core::Handle,
    decision::Commit,
    error::TransactionError,
    format::ledger::GroupOffset,
    log::{Log, Partition},
    names::check_producer_name,
    sync::Arc,
};

/// A group's handle, of one generation. Taking a group over gives a new generation; from then on the elder ones commit
/// nothing more, in transactions or outside, so a consumer that was replaced cannot move the group back.
///
/// An offset that is part of an open transaction is not seen by anybody. A newer generation need not wait for it: the elder
/// one's transaction can no longer be committed.
#[derive(Clone)]
pub struct Group {
    handle: Arc<Handle>,
    name: Box<str>,
    generation: u64,
}

impl Log {
    /// Takes a group over, or makes it: a new generation, durable on return.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut session = log.session("checkout")?;
    /// # orders.appender()?.append(b"order 0")?;
    /// let billing = log.group("billing")?;
    /// let mut transaction = session.begin()?;
    /// transaction.commit_offset(&billing, &orders, 1)?;
    /// transaction.commit()?.wait_durable(std::time::Duration::from_secs(10))?;
    /// assert_eq!(billing.committed(&orders), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TransactionError::GroupName`] for a name that no group can have, and others where writing fails.
    pub fn group(&self, name: &str) -> Result<Group, TransactionError> {
        check_producer_name(name).map_err(|rule| TransactionError::GroupName { name: name.to_owned(), rule })?;
        let generation = self.handle.core.next_generation(name)?;
        Ok(Group { handle: Arc::clone(&self.handle), name: name.into(), generation })
    }

    /// A handle of a group in a generation that was given before, for brokers whose consumers are elsewhere. Whether it may
    /// still commit, each commit finds out.
    #[must_use]
    pub fn group_at(&self, name: &str, generation: u64) -> Group {
        Group { handle: Arc::clone(&self.handle), name: name.into(), generation }
    }

    /// Names of all groups, in order.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        self.handle.core.ledger().groups.keys().map(|name| name.to_string()).collect()
    }
}

impl Group {
    /// The group's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The handle's generation.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The offset that the group reads next in a partition, as it was committed last; none if it never was.
    #[must_use]
    pub fn committed(&self, partition: &Partition) -> Option<u64> {
        let ledger = self.handle.core.ledger();
        ledger.groups.get(&self.name)?.offsets.get(&partition.state.number).copied()
    }

    /// Whether an open transaction holds an offset of this group for the partition: what is committed may be about to
    /// change.
    #[must_use]
    pub fn is_pending(&self, partition: &Partition) -> bool {
        let ledger = self.handle.core.ledger();
        let of = |one: &GroupOffset| one.group == self.name && one.partition == partition.state.number;
        ledger.open.values().any(|open| open.ending().is_none() && open.offsets.iter().any(of))
    }

    /// Commits the offset that the group reads next in a partition: before processing what is before it, for at most once;
    /// after, for at least once. In the same step as its results, for exactly once:
    /// [`Transaction::commit_offset`](crate::Transaction::commit_offset). Visible on return; the result tells when durable.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append_batch(&[b"order 41", b"order 42", b"order 43"])?;
    /// let group = log.group("billing")?;
    /// group.commit(&orders, 2)?;
    /// assert_eq!(group.committed(&orders), Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TransactionError::StaleGeneration`] if the group was taken over, [`TransactionError::BeyondEnd`] for an offset that
    /// nobody can have read up to, [`TransactionError::OtherLog`], and others where writing fails.
    pub fn commit(&self, partition: &Partition, offset: u64) -> Result<Commit, TransactionError> {
        let offset = self.offset(partition, offset)?;
        let entry = self.handle.core.commit_offsets(vec![offset])?;
        Ok(Commit::new(Arc::clone(&self.handle), 0, Some(entry)))
    }

    /// As an entry of the ledger has it.
    pub(crate) fn offset(&self, partition: &Partition, offset: u64) -> Result<GroupOffset, TransactionError> {
        if !Arc::ptr_eq(&self.handle, &partition.handle) {
            return Err(TransactionError::OtherLog { name: partition.name().to_owned() });
        }
        let end = partition.end_offset();
        if offset > end {
            return Err(TransactionError::BeyondEnd { partition: partition.name().to_owned(), offset, end });
        }
        let (group, generation) = (self.name.clone(), self.generation);
        Ok(GroupOffset { group, generation, partition: partition.state.number, offset })
    }

    pub(crate) fn refuse_other_log(&self, handle: &Arc<Handle>) -> Result<(), TransactionError> {
        if Arc::ptr_eq(&self.handle, handle) {
            return Ok(());
        }
        Err(TransactionError::OtherLog { name: self.name.to_string() })
    }
}
