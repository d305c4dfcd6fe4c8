//! A session's transaction: records in any number of partitions, and groups' offsets, that all count or none of them.

use super::{Lane, Session};
use crate::{
    answer::Answer,
    appender::check_sequence,
    decision::Commit,
    error::{AppendError, TransactionError},
    format::ledger::GroupOffset,
    group::Group,
    ids::Mode,
    ledger::By,
    log::Partition,
    partition::{
        append::Admission,
        body::{Body, Gathered, Single, fit},
    },
    producers::slot_of,
};
use std::{sync::Arc, time::Duration};

/// How long a transaction may be open unless it is told otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An open transaction. It borrows its session, so nothing is appended outside of it meanwhile. Dropped, it is aborted.
///
/// Readers with [`Isolation::ReadCommitted`](crate::Isolation) see its records once it is committed, and never those of an
/// aborted one; the records of others behind its first one wait for it, in the partitions that it has appended to.
///
/// Nothing here may be called from a closure that fills a record in place.
pub struct Transaction<'a> {
    session: &'a mut Session,
    number: u64,
    ended: bool,
}

impl Session {
    /// Begins a transaction that is aborted, and its session fenced, when it is open for 60 seconds. Nothing is written.
    ///
    /// What the session appends to a partition outside of transactions, behind one that it has committed there, waits until
    /// the commit is durable: it must not outlive it. A producer that does both in turn pays for a flush each time.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut session = log.session("checkout")?;
    /// # let invoices = log.partition("invoices")?;
    /// let mut transaction = session.begin()?;
    /// let _order = transaction.append_next(&orders, b"order 41")?;
    /// let _invoice = transaction.append_next(&invoices, b"invoice 41")?;
    /// transaction.commit()?.wait_durable(std::time::Duration::from_secs(10))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TransactionError::Fenced`] if the producer was registered again.
    pub fn begin(&mut self) -> Result<Transaction<'_>, TransactionError> {
        self.begin_for(TIMEOUT)
    }

    /// As [`Session::begin`], for at most `timeout`: a transaction that is open for longer is aborted by the log, and its
    /// producer fenced, so that one that hangs holds up no reader for ever.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// let mut session = log.session("checkout")?;
    /// let mut transaction = session.begin_for(std::time::Duration::from_secs(5))?;
    /// let _order = transaction.append_next(&orders, b"order 41")?;
    /// transaction.commit()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Session::begin`], and [`TransactionError::Timeout`] for less than a millisecond.
    pub fn begin_for(&mut self, timeout: Duration) -> Result<Transaction<'_>, TransactionError> {
        let number = self.handle.core.begin(self.by(), None, timeout)?;
        // An abort that had no room may have been finished since, by whomever.
        self.go_back(None);
        Ok(Transaction { session: self, number, ended: false })
    }

    const fn by(&self) -> By {
        By { id: self.id, epoch: self.epoch, mode: Mode::Session }
    }

    /// The lane into a partition for appends in transactions.
    #[inline]
    fn transactional_lane(&mut self, partition: &Partition) -> Result<Result<&mut Lane, Answer>, AppendError> {
        let number = partition.state.number as usize;
        let open = self.transactional.get(number).and_then(Option::as_ref);
        if !open.is_some_and(|lane| Arc::ptr_eq(&lane.partition.state, &partition.state))
            && let Some(refused) = self.open_transactional_lane(partition)?
        {
            return Ok(Err(refused));
        }
        match self.transactional.get_mut(number).and_then(Option::as_mut) {
            Some(lane) => Ok(Ok(lane)),
            None => unreachable!("the lane was opened above"),
        }
    }

    #[cold]
    fn open_transactional_lane(&mut self, partition: &Partition) -> Result<Option<Answer>, AppendError> {
        if let Err(refused) = self.lane(partition)? {
            return Ok(Some(refused));
        }
        let number = partition.state.number as usize;
        let lane = self.lanes.get_mut(number).and_then(Option::take);
        if self.transactional.len() <= number {
            self.transactional.resize_with(number + 1, || None);
        }
        if let Some(place) = self.transactional.get_mut(number) {
            *place = lane;
        }
        Ok(None)
    }

    #[inline]
    fn submit_in_transaction<B: Body>(
        &mut self,
        partition: &Partition,
        transaction: u64,
        sequence: Option<u64>,
        body: &B,
    ) -> Result<Answer, AppendError> {
        let mut other = Ok(Answer::UnknownProducer);
        match self.try_in_transaction(partition, transaction, sequence, body, &mut other) {
            Some(first) => Ok(Answer::appended(first, body.records())),
            None => other,
        }
    }

    /// The first offset, if it was appended; else the answer is in `other`. See `Answer::appended`.
    fn try_in_transaction<B: Body>(
        &mut self,
        partition: &Partition,
        transaction: u64,
        sequence: Option<u64>,
        body: &B,
        other: &mut Result<Answer, AppendError>,
    ) -> Option<u64> {
        match self.answer_in_transaction(partition, transaction, sequence, body) {
            Ok(Answer::Appended { first, .. }) => Some(first),
            answer => {
                *other = answer;
                None
            }
        }
    }

    #[inline(always)]
    fn answer_in_transaction<B: Body>(
        &mut self,
        partition: &Partition,
        transaction: u64,
        sequence: Option<u64>,
        body: &B,
    ) -> Result<Answer, AppendError> {
        let id = self.id;
        let lane = match self.transactional_lane(partition)? {
            Ok(lane) => lane,
            Err(refused) => return Ok(refused),
        };
        let fitting = fit(body, lane.body_bytes_max)?;
        let sequence = sequence.unwrap_or(lane.progress.expected);
        check_sequence(sequence, body.records())?;
        let Some(slot) = slot_of(&lane.partition.state, id) else { return Ok(Answer::UnknownProducer) };
        if lane.transaction != transaction || sequence != lane.progress.expected {
            return self.first_in_transaction(partition, transaction, sequence, body);
        }
        let now_ms = partition.handle.core.clock.now_ms();
        let (state, source) = (lane.state, partition.source());
        let progress = &mut lane.progress;
        match lane.cursor.append_in_transaction(&fitting, slot, id, state, progress, transaction, now_ms, &source)? {
            Admission::Appended(offsets) => Ok(offsets.into()),
            _ => self.refused(partition),
        }
    }

    /// A batch that is the transaction's first in the partition, or that is not the one that comes next.
    #[cold]
    fn first_in_transaction<B: Body>(
        &mut self,
        partition: &Partition,
        transaction: u64,
        sequence: u64,
        body: &B,
    ) -> Result<Answer, AppendError> {
        let (id, epoch) = (self.id, self.epoch);
        let lane = match self.transactional_lane(partition)? {
            Ok(lane) => lane,
            Err(refused) => return Ok(refused),
        };
        let Some(slot) = slot_of(&lane.partition.state, id) else { return Ok(Answer::UnknownProducer) };
        if slot.state() != lane.state {
            return self.refused(partition);
        }
        if sequence != lane.progress.expected {
            return lane.partition.state.judge(id, lane.progress, sequence, body);
        }
        if !partition.handle.core.enter_transaction(id, epoch, transaction, &partition.state)? {
            return Ok(partition.handle.core.invalid_transaction(id));
        }
        lane.transaction = transaction;
        self.submit_in_transaction(partition, transaction, Some(sequence), body)
    }

    /// After an abort, of that transaction or of any: the producer goes on where it was before.
    fn go_back(&mut self, transaction: Option<u64>) {
        let id = self.id;
        let of = |lane: &&mut Box<Lane>| transaction.is_none_or(|transaction| lane.transaction == transaction);
        for lane in self.transactional.iter_mut().flatten().filter(of) {
            if let Some(slot) = slot_of(&lane.partition.state, id) {
                lane.progress = slot.progress();
            }
        }
    }
}

impl Transaction<'_> {
    /// Its number: above all earlier ones of its producer.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Appends one record, once, as [`Session::append`] does outside of transactions. Should the transaction be aborted,
    /// the sequence is not used, and is the one that comes next again.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut session = log.session("checkout")?;
    /// # let mut transaction = session.begin()?;
    /// assert!(transaction.append(&orders, 0, b"order 41")?.is_stored());
    /// transaction.commit()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Session::append`].
    pub fn append(&mut self, partition: &Partition, sequence: u64, payload: &[u8]) -> Result<Answer, AppendError> {
        self.session.submit_in_transaction(partition, self.number, Some(sequence), &Single(payload))
    }

    /// Appends one record with the sequence that comes next.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut session = log.session("checkout")?;
    /// # let mut transaction = session.begin()?;
    /// assert!(transaction.append_next(&orders, b"order 41")?.is_stored());
    /// transaction.commit()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Session::append`].
    pub fn append_next(&mut self, partition: &Partition, payload: &[u8]) -> Result<Answer, AppendError> {
        self.session.submit_in_transaction(partition, self.number, None, &Single(payload))
    }

    /// Appends records as one batch, once, as [`Session::append_batch`] does outside of transactions.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut session = log.session("checkout")?;
    /// # let mut transaction = session.begin()?;
    /// assert!(transaction.append_batch(&orders, 0, &[b"order 41", b"order 42"])?.is_stored());
    /// transaction.commit()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Session::append_batch`].
    pub fn append_batch(
        &mut self,
        partition: &Partition,
        first_sequence: u64,
        records: &[&[u8]],
    ) -> Result<Answer, AppendError> {
        self.session.submit_in_transaction(partition, self.number, Some(first_sequence), &Gathered(records))
    }

    /// Makes a group's offset part of the transaction: the group has come up to `offset` in the partition, which it reads
    /// next, if and only if this is committed. The later one for a partition counts. The commit is then not durable before
    /// the records that were read are: a power cut that takes them away undoes what was made of them.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append_batch(&[b"order 41", b"order 42", b"order 43"])?;
    /// let (group, bills) = (log.group("billing")?, log.partition("bills")?);
    /// let mut session = log.session("billing")?;
    /// let mut transaction = session.begin()?;
    /// let _bill = transaction.append_next(&bills, b"of orders 41 to 43")?;
    /// transaction.commit_offset(&group, &orders, 3)?;
    /// transaction.commit()?;
    /// assert_eq!(group.committed(&orders), Some(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TransactionError::StaleGeneration`] if the group was taken over, [`TransactionError::BeyondEnd`] for an offset
    /// that nobody can have read up to, [`TransactionError::OtherLog`].
    pub fn commit_offset(&mut self, group: &Group, partition: &Partition, offset: u64) -> Result<(), TransactionError> {
        let offset: GroupOffset = group.offset(partition, offset)?;
        group.refuse_other_log(&self.session.handle)?;
        self.session.handle.core.add_offset(self.session.by(), self.number, offset)
    }

    /// Commits. On return all of it is visible, everywhere; [`Commit::wait_durable`] says when it would survive a power
    /// cut, and until then a power cut undoes all of it or nothing.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut session = log.session("checkout")?;
    /// # let mut transaction = session.begin()?;
    /// let _order = transaction.append_next(&orders, b"order 41")?;
    /// let commit = transaction.commit()?;
    /// commit.wait_durable(std::time::Duration::from_secs(60))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TransactionError::TimedOut`] or [`TransactionError::Fenced`] if it was aborted meanwhile,
    /// [`TransactionError::StaleGeneration`] if a group whose offset it holds was taken over: it is aborted then.
    /// [`TransactionError::Append`] if the log has no room: it is aborted then too.
    pub fn commit(mut self) -> Result<Commit, TransactionError> {
        let by = self.session.by();
        let committed = self.session.handle.core.commit_transaction(by, self.number);
        // Unless it is committed, dropping ends it.
        let offset = committed?;
        self.ended = true;
        Ok(Commit::new(Arc::clone(&self.session.handle), self.number, offset))
    }

    /// Aborts: readers of committed records never see any of it, and its sequences are not used.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut session = log.session("checkout")?;
    /// let mut transaction = session.begin()?;
    /// let _order = transaction.append_next(&orders, b"order 41")?;
    /// transaction.abort()?;
    /// // The sequence is free again.
    /// assert!(session.last(&orders)?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TransactionError::Fenced`] if the producer was registered again: it is aborted then already.
    /// [`TransactionError::Append`] if there is no room to say so: the log does it when there is, and until then readers
    /// wait.
    pub fn abort(mut self) -> Result<(), TransactionError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), TransactionError> {
        self.ended = true;
        let aborted = self.session.handle.core.abort_transaction(self.session.by(), self.number);
        self.session.go_back(Some(self.number));
        aborted
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // What cannot be written now, the log writes later.
            let _ = self.end();
        }
    }
}
