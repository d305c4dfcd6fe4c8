//! An appender: one thread's handle for appending to a partition, plain or by id.

use crate::{
    answer::{Answer, AtOffset},
    error::{AppendError, FillError},
    ids::{Mode, Offsets, Stamp},
    log::Partition,
    partition::{
        append::{Admission, Cursor, Missed},
        body::{Body, Fitting, Gathered, Single, Unfit, fit},
        slot::{ENDED, State},
    },
    producers::{Place, slot_of},
    segment::tail::APPENDERS_MAX,
    sync::Ordering,
};

/// Appends to one partition. Make one for each thread: appenders share nothing but the partition's tail.
///
/// When a call returns, its record is *written*: published, and never changing again. It is *visible* to readers once all
/// records before it are written too, those that other threads are still copying among them; from then on it survives the
/// process being killed. Nothing here waits for the device, so a power cut may lose what the system has not written back.
pub struct Appender {
    partition: Partition,
    cursor: Cursor,
    body_bytes_max: usize,
}

impl From<Unfit> for AppendError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Empty => Self::EmptyBatch,
            Unfit::Bytes { bytes, limit } => Self::TooLarge { bytes, limit },
        }
    }
}

impl Partition {
    /// A handle that appends to this partition.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// let mut appender = orders.appender()?;
    /// assert_eq!(appender.append(b"order 41")?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AppendError::TooManyAppenders`] when 32,000 handles are alive.
    pub fn appender(&self) -> Result<Appender, AppendError> {
        self.enter()?;
        let cursor = Cursor::new(self.state.chain.newest_tail());
        Ok(Appender { partition: self.clone(), cursor, body_bytes_max: self.state.options.body_bytes_max() })
    }

    /// Counts one more handle that appends.
    pub(crate) fn enter(&self) -> Result<(), AppendError> {
        let before = self.state.appenders.fetch_add(1, Ordering::Relaxed);
        if before >= APPENDERS_MAX {
            self.leave();
            return Err(AppendError::TooManyAppenders { limit: APPENDERS_MAX });
        }
        Ok(())
    }

    pub(crate) fn leave(&self) {
        self.state.appenders.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.partition.leave();
    }
}

impl Appender {
    /// The partition that this appends to.
    #[must_use]
    pub const fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Appends one record and returns its offset.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut appender = orders.appender()?;
    /// assert_eq!(appender.append(b"order 41")?, 0);
    /// assert_eq!(appender.append(b"order 42")?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AppendError::TooLarge`], and [`AppendError::NoSpace`] when a new segment is needed and there is no room for it;
    /// nothing is written then.
    #[inline]
    pub fn append(&mut self, payload: &[u8]) -> Result<u64, AppendError> {
        Ok(self.plain(&Single(payload))?.first)
    }

    /// Appends records as one batch: they get offsets without a gap, and are visible together or not at all.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut appender = orders.appender()?;
    /// let offsets = appender.append_batch(&[b"order 41", b"order 42"])?;
    /// assert_eq!((offsets.first, offsets.last), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Appender::append`], and [`AppendError::EmptyBatch`].
    #[inline]
    pub fn append_batch(&mut self, records: &[&[u8]]) -> Result<Offsets, AppendError> {
        self.plain(&Gathered(records))
    }

    #[inline]
    fn plain<B: Body>(&mut self, body: &B) -> Result<Offsets, AppendError> {
        let fitting = fit(body, self.body_bytes_max)?;
        let now_ms = self.partition.handle.core.clock.now_ms();
        self.cursor.append(&fitting, now_ms, &self.partition.source())
    }

    /// Appends one record if it gets the offset `expected`: for those who must know that nobody else has appended. The answer
    /// says which offset comes next, if that is another one. It counts what others are still writing.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut appender = orders.appender()?;
    /// use oncelog::AtOffset;
    ///
    /// assert!(matches!(appender.append_at(0, b"order 41")?, AtOffset::Appended(at) if at.first == 0));
    /// assert_eq!(appender.append_at(0, b"order 42")?, AtOffset::Moved { next: 1 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Appender::append`].
    pub fn append_at(&mut self, expected: u64, payload: &[u8]) -> Result<AtOffset, AppendError> {
        self.plain_at(expected, &Single(payload))
    }

    /// Appends records as one batch if the first of them gets the offset `expected`, as [`Appender::append_at`] does a record.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut appender = orders.appender()?;
    /// use oncelog::AtOffset;
    ///
    /// let answer = appender.append_batch_at(0, &[b"order 41", b"order 42"])?;
    /// assert!(matches!(answer, AtOffset::Appended(at) if (at.first, at.last) == (0, 1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Appender::append_batch`].
    pub fn append_batch_at(&mut self, expected: u64, records: &[&[u8]]) -> Result<AtOffset, AppendError> {
        self.plain_at(expected, &Gathered(records))
    }

    fn plain_at<B: Body>(&mut self, expected: u64, body: &B) -> Result<AtOffset, AppendError> {
        let fitting = fit(body, self.body_bytes_max)?;
        let now_ms = self.partition.handle.core.clock.now_ms();
        let answer = self.cursor.append_at(expected, &fitting, now_ms, &self.partition.source())?;
        Ok(answer.map_or_else(|next| AtOffset::Moved { next }, AtOffset::Appended))
    }

    /// Claims a record of `bytes` bytes and lets `fill` write it where it will be read: it is given the record's offset
    /// and the bytes, which are zero. If it returns an error or panics, the offset stays empty: readers skip it.
    ///
    /// The record's place is taken while `fill` runs, and what others append behind it is not visible before it returns.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut appender = orders.appender()?;
    /// let offset = appender.append_with(16, |offset, bytes| {
    ///     bytes[..8].copy_from_slice(&offset.to_le_bytes());
    ///     bytes[8..].copy_from_slice(b"order 41");
    ///     Ok::<(), std::convert::Infallible>(())
    /// })?;
    /// assert_eq!(offset, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`FillError::Append`] as for [`Appender::append`], without `fill` being called; [`FillError::Fill`] with `fill`'s
    /// own error.
    pub fn append_with<E>(
        &mut self,
        bytes: usize,
        fill: impl FnOnce(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<u64, FillError<E>> {
        check_bytes(bytes, self.body_bytes_max)?;
        let now_ms = self.partition.handle.core.clock.now_ms();
        match self.cursor.append_with(bytes, None, now_ms, &self.partition.source(), fill)? {
            Ok(Admission::Appended(offsets)) => Ok(offsets.first),
            Ok(_) => unreachable!("a plain append has no sequence to be refused for"),
            Err(error) => Err(FillError::Fill(error)),
        }
    }

    /// Appends one record of a producer, once: if its sequence was appended before, nothing is written and the answer
    /// says where it is. From any thread; a retry that overtakes its original waits for it.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut appender = orders.appender()?;
    /// # use oncelog::{Answer, Stamp};
    /// # let registration = log.register("client-7")?;
    /// let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence: 0 };
    /// assert_eq!(appender.append_by_id(stamp, b"order 41")?, Answer::Appended { first: 0, last: 0 });
    /// assert_eq!(appender.append_by_id(stamp, b"order 41")?, Answer::Duplicate { first: 0, last: 0 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Appender::append`], and [`AppendError::WrongMode`] if the producer's name was registered for a session since.
    #[inline]
    pub fn append_by_id(&mut self, stamp: Stamp, payload: &[u8]) -> Result<Answer, AppendError> {
        self.by_id(stamp, 0, &Single(payload))
    }

    /// Appends a batch of a producer, once, as [`Appender::append_by_id`] does a record. Its records have the sequences
    /// from `stamp.sequence` on.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut appender = orders.appender()?;
    /// # use oncelog::{Answer, Stamp};
    /// # let registration = log.register("client-7")?;
    /// let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence: 0 };
    /// let answer = appender.append_batch_by_id(stamp, &[b"order 41", b"order 42"])?;
    /// assert_eq!(answer, Answer::Appended { first: 0, last: 1 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Appender::append_batch`] and [`Appender::append_by_id`].
    #[inline]
    pub fn append_batch_by_id(&mut self, stamp: Stamp, records: &[&[u8]]) -> Result<Answer, AppendError> {
        self.by_id(stamp, 0, &Gathered(records))
    }

    /// Appends one record of a producer in its open transaction, once, as [`Appender::append_by_id`] does outside of one.
    /// The first append to a partition adds it to the transaction.
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
    /// let answer = orders.appender()?.append_in_transaction(id.number, stamp, b"order 41")?;
    /// assert!(answer.is_stored());
    /// log.commit_transaction(id)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Appender::append_by_id`].
    #[inline]
    pub fn append_in_transaction(
        &mut self,
        transaction: u64,
        stamp: Stamp,
        payload: &[u8],
    ) -> Result<Answer, AppendError> {
        self.in_transaction(stamp, transaction, &Single(payload))
    }

    /// Appends a batch of a producer in its open transaction, as [`Appender::append_in_transaction`] does a record.
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
    /// let records: [&[u8]; 2] = [b"order 41", b"order 42"];
    /// let answer = orders.appender()?.append_batch_in_transaction(id.number, stamp, &records)?;
    /// assert!(answer.is_stored());
    /// log.commit_transaction(id)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Appender::append_batch_by_id`].
    #[inline]
    pub fn append_batch_in_transaction(
        &mut self,
        transaction: u64,
        stamp: Stamp,
        records: &[&[u8]],
    ) -> Result<Answer, AppendError> {
        self.in_transaction(stamp, transaction, &Gathered(records))
    }

    /// Whether the record at an offset, which was appended, is visible. Takes no look where this handle alone has appended since
    /// it took one.
    #[inline]
    pub(crate) fn sees(&mut self, offset: u64) -> bool {
        self.cursor.knows_visible(offset) || self.looks_for(offset)
    }

    fn looks_for(&mut self, offset: u64) -> bool {
        let Ok(end) = self.partition.state.chain.visible_end() else { return false };
        self.cursor.note_visible(end.offset, end.position);
        end.offset > offset
    }

    fn in_transaction<B: Body>(&mut self, stamp: Stamp, transaction: u64, body: &B) -> Result<Answer, AppendError> {
        if transaction == 0 || transaction >= ENDED {
            // No transaction has such a number.
            return Ok(self.partition.handle.core.invalid_transaction(stamp.producer));
        }
        self.by_id(stamp, transaction, body)
    }

    #[inline]
    fn by_id<B: Body>(&mut self, stamp: Stamp, transaction: u64, body: &B) -> Result<Answer, AppendError> {
        let mut other = Ok(Answer::UnknownProducer);
        match self.try_by_id(stamp, transaction, body, &mut other) {
            Some(first) => {
                // It is as it was made, with nothing in it to drop; to find that out would take a call.
                std::mem::forget(other);
                Ok(Answer::appended(first, body.records()))
            }
            None => other,
        }
    }

    /// The first offset, if the first attempt appends; else the answer is in `other`. See `Answer::appended`.
    fn try_by_id<B: Body>(
        &mut self,
        stamp: Stamp,
        transaction: u64,
        body: &B,
        other: &mut Result<Answer, AppendError>,
    ) -> Option<u64> {
        let fitting = match fit(body, self.body_bytes_max) {
            Ok(fitting) => fitting,
            Err(unfit) => {
                *other = Err(unfit.into());
                return None;
            }
        };
        if let Err(error) = check_sequence(stamp.sequence, body.records()) {
            *other = Err(error);
            return None;
        }
        match self.attempt(&fitting, stamp, transaction) {
            Ok(first) => Some(first),
            Err(missed) => {
                *other = self.answer_otherwise(&fitting, stamp, transaction, missed);
                None
            }
        }
    }

    /// One attempt, for the first offset.
    #[inline(always)]
    fn attempt<B: Body>(&mut self, fitting: &Fitting<'_, B>, stamp: Stamp, transaction: u64) -> Result<u64, Missed> {
        let Some(slot) = slot_of(&self.partition.state, stamp.producer) else { return Err(Missed::Producer) };
        let now_ms = self.partition.handle.core.clock.now_ms();
        let state = State::new(stamp.epoch, Mode::ById);
        self.cursor.append_by_id(fitting, slot, stamp, transaction, state, now_ms)
    }

    /// The answer where the first attempt did not append, after more of them if need be.
    #[cold]
    #[inline(never)]
    fn answer_otherwise<B: Body>(
        &mut self,
        fitting: &Fitting<'_, B>,
        stamp: Stamp,
        transaction: u64,
        mut missed: Missed,
    ) -> Result<Answer, AppendError> {
        loop {
            let refused = match missed {
                Missed::Sequence(progress) => {
                    return self.partition.state.judge(stamp.producer, progress, stamp.sequence, fitting.body);
                }
                Missed::Transaction => self.other_transaction(stamp, transaction)?,
                Missed::State | Missed::Producer => self.refused(stamp)?,
                Missed::Room => {
                    // Without the slot's lock: what the wait is for may want to fence this producer, as a truncation does.
                    self.cursor.step(&self.partition.source())?;
                    None
                }
            };
            if let Some(refused) = refused {
                return Ok(refused);
            }
            missed = match self.attempt(fitting, stamp, transaction) {
                Ok(first) => return Ok(Answer::appended(first, fitting.body.records())),
                Err(missed) => missed,
            };
        }
    }

    /// The producer's slot names another transaction than this append does. None when the append may be tried again: it was
    /// the transaction's first in this partition, or that one has ended.
    #[cold]
    fn other_transaction(&self, stamp: Stamp, transaction: u64) -> Result<Option<Answer>, AppendError> {
        let (core, partition) = (&self.partition.handle.core, &self.partition.state);
        let may = match transaction {
            0 => core.leave_transaction(stamp.producer, partition)?,
            _ => core.enter_transaction(stamp.producer, stamp.epoch, transaction, partition)?,
        };
        Ok((!may).then(|| core.invalid_transaction(stamp.producer)))
    }

    /// The slot is not the producer's, or not in its epoch: asks the registry, which knows why. None when it was the
    /// producer's first append to this partition, and the slot is now its own.
    #[cold]
    fn refused(&self, stamp: Stamp) -> Result<Option<Answer>, AppendError> {
        let partition = &self.partition;
        match partition.handle.core.place(&partition.state, stamp.producer, stamp.epoch, Mode::ById)? {
            Place::Own { .. } => Ok(None),
            Place::Unknown => Ok(Some(Answer::UnknownProducer)),
            Place::Epoch(epoch) if epoch > stamp.epoch => Ok(Some(Answer::Fenced { epoch })),
            Place::Epoch(current) => Ok(Some(Answer::EpochNotIssued { current })),
            Place::Mode(registered) => Err(AppendError::WrongMode { producer: stamp.producer, registered }),
        }
    }
}

pub(crate) fn check_bytes(bytes: usize, limit: usize) -> Result<(), AppendError> {
    if bytes > limit { Err(AppendError::TooLarge { bytes, limit }) } else { Ok(()) }
}

/// The sequence behind a batch must be one too.
#[inline]
pub(crate) fn check_sequence(sequence: u64, records: usize) -> Result<(), AppendError> {
    match sequence.checked_add(records as u64) {
        Some(_) => Ok(()),
        None => Err(AppendError::SequenceOverflow { sequence, records }),
    }
}
