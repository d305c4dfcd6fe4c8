//! A session: the one handle of a producer that appends through it, and its transactions (`transaction.rs`).

mod transaction;

pub use transaction::Transaction;

use crate::{
    answer::Answer,
    appender::{check_bytes, check_sequence},
    core::Handle,
    error::{AppendError, FillError, RegisterError},
    ids::{Mode, ProducerId, Progress},
    log::{Log, Partition},
    partition::{
        append::{Admission, Cursor},
        body::{Body, Gathered, Single, fit},
        fill::Author,
        slot::{Slot, State},
    },
    producers::{Place, slot_of},
    registry::Numbering,
};
use std::sync::Arc;

/// A producer's exclusive handle. Opening another one under the same name fences this one: from then on each of its
/// appends is answered with [`Answer::Fenced`].
///
/// A session passes the sequence of what it appends, counted from 0 in each partition, without gaps. Sequences never
/// restart: a session that is opened again learns where it stands from [`Session::last`] and goes on, and what it sends
/// again is recognised however long ago it was appended.
pub struct Session {
    handle: Arc<Handle>,
    name: Box<str>,
    id: ProducerId,
    epoch: u32,
    /// By partition number: those that it appends through outside of transactions. Where one is missing, the hot path asks
    /// why, so it need not know of transactions itself.
    lanes: Vec<Option<Box<Lane>>>,
    /// By partition number: those that it has appended through in transactions, since it last did so outside of them.
    transactional: Vec<Option<Box<Lane>>>,
    /// Why this session appends no more, once it knows: there are then no lanes, and nothing is tried again.
    refusal: Option<Answer>,
}

/// A session's way into one partition.
struct Lane {
    partition: Partition,
    cursor: Cursor,
    state: State,
    /// The session's own copy of its slot, which only it advances.
    progress: Progress,
    body_bytes_max: usize,
    /// The latest transaction that was appended in through this; 0 for none.
    transaction: u64,
}

/// The last record that a producer has appended to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastAppend {
    /// Its sequence.
    pub sequence: u64,
    /// Its offset; none if retention has dropped it.
    pub offset: Option<u64>,
}

impl Log {
    /// Opens a session: registers the producer of that name, fences every elder handle of its, and learns how far it has
    /// come. The new epoch is durable on return.
    ///
    /// It waits for appends of this producer that are under way, so it must not be called from a closure that fills a
    /// record in place.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// let session = log.session("checkout-7")?;
    /// assert_eq!((session.name(), session.epoch()), ("checkout-7", 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Log::register`].
    pub fn session(&self, name: &str) -> Result<Session, RegisterError> {
        let registered = self.handle.core.register(&[name], Mode::Session, Numbering::Continue)?;
        let unknown = RegisterError::Unknown { producer: ProducerId::from_u64(0) };
        let registration = registered.first().ok_or(unknown)?;
        Ok(Session {
            handle: Arc::clone(&self.handle),
            name: name.into(),
            id: registration.id,
            epoch: registration.epoch,
            lanes: Vec::new(),
            transactional: Vec::new(),
            refusal: None,
        })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.partition.leave();
    }
}

impl Session {
    /// The producer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The producer's id.
    #[must_use]
    pub const fn id(&self) -> ProducerId {
        self.id
    }

    /// The session's epoch.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The last record that this producer, in this session or an earlier one, has appended to the partition.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut session = log.session("checkout")?;
    /// assert!(session.last(&orders)?.is_none());
    /// let _answer = session.append_next(&orders, b"order 41")?;
    /// assert_eq!(session.last(&orders)?.map(|last| last.sequence), Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AppendError::OtherLog`] for a partition of another log, [`AppendError::Original`] if the record's frame cannot
    /// be read.
    pub fn last(&mut self, partition: &Partition) -> Result<Option<LastAppend>, AppendError> {
        let id = self.id;
        let number = partition.state.number as usize;
        let transactional = self.transactional.get(number).and_then(Option::as_deref);
        let lane = match transactional.filter(|lane| Arc::ptr_eq(&lane.partition.state, &partition.state)) {
            Some(lane) => lane,
            None => match self.lane(partition)? {
                Ok(lane) => lane,
                // A fenced session has nothing more to go on with.
                Err(_) => return Ok(None),
            },
        };
        // As its slot has it: an abort may have been finished since.
        let progress = slot_of(&lane.partition.state, id).map_or(lane.progress, Slot::progress);
        let Some(sequence) = progress.expected.checked_sub(1) else { return Ok(None) };
        let offset = lane.partition.state.last_offset(id, progress).map_err(AppendError::Original)?;
        Ok(Some(LastAppend { sequence, offset }))
    }

    /// Appends one record, once. `sequence` is the record's number among this producer's in the partition: the next one
    /// appends, an earlier one is answered with where its record is.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut session = log.session("checkout")?;
    /// # use oncelog::Answer;
    /// assert_eq!(session.append(&orders, 0, b"order 41")?, Answer::Appended { first: 0, last: 0 });
    /// assert_eq!(session.append(&orders, 0, b"order 41")?, Answer::Duplicate { first: 0, last: 0 });
    /// assert_eq!(session.append(&orders, 7, b"order 48")?, Answer::OutOfOrder { expected: 1 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Appender::append`](crate::Appender::append), and [`AppendError::OtherLog`].
    #[inline]
    pub fn append(&mut self, partition: &Partition, sequence: u64, payload: &[u8]) -> Result<Answer, AppendError> {
        self.submit(partition, Some(sequence), &Single(payload))
    }

    /// Appends one record with the sequence that comes next.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut session = log.session("checkout")?;
    /// # use oncelog::Answer;
    /// assert_eq!(session.append_next(&orders, b"order 41")?, Answer::Appended { first: 0, last: 0 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Session::append`].
    #[inline]
    pub fn append_next(&mut self, partition: &Partition, payload: &[u8]) -> Result<Answer, AppendError> {
        self.submit(partition, None, &Single(payload))
    }

    /// Appends records as one batch, once; they have the sequences from `first_sequence` on.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut session = log.session("checkout")?;
    /// # use oncelog::Answer;
    /// let answer = session.append_batch(&orders, 0, &[b"order 41", b"order 42"])?;
    /// assert_eq!(answer, Answer::Appended { first: 0, last: 1 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Session::append`], and [`AppendError::EmptyBatch`], [`AppendError::SequenceOverflow`].
    #[inline]
    pub fn append_batch(
        &mut self,
        partition: &Partition,
        first_sequence: u64,
        records: &[&[u8]],
    ) -> Result<Answer, AppendError> {
        self.submit(partition, Some(first_sequence), &Gathered(records))
    }

    #[inline]
    fn submit<B: Body>(
        &mut self,
        partition: &Partition,
        sequence: Option<u64>,
        body: &B,
    ) -> Result<Answer, AppendError> {
        let mut other = Ok(Answer::UnknownProducer);
        match self.try_submit(partition, sequence, body, &mut other) {
            Some(first) => Ok(Answer::appended(first, body.records())),
            None => other,
        }
    }

    /// The first offset, if it was appended; else the answer is in `other`. See `Answer::appended`.
    fn try_submit<B: Body>(
        &mut self,
        partition: &Partition,
        sequence: Option<u64>,
        body: &B,
        other: &mut Result<Answer, AppendError>,
    ) -> Option<u64> {
        match self.answer(partition, sequence, body) {
            Ok(Answer::Appended { first, .. }) => Some(first),
            answer => {
                *other = answer;
                None
            }
        }
    }

    #[inline(always)]
    fn answer<B: Body>(
        &mut self,
        partition: &Partition,
        sequence: Option<u64>,
        body: &B,
    ) -> Result<Answer, AppendError> {
        let id = self.id;
        let lane = match self.lane(partition)? {
            Ok(lane) => lane,
            Err(refused) => return Ok(refused),
        };
        let fitting = fit(body, lane.body_bytes_max)?;
        let sequence = sequence.unwrap_or(lane.progress.expected);
        check_sequence(sequence, body.records())?;
        let Some(slot) = slot_of(&lane.partition.state, id) else { return Ok(Answer::UnknownProducer) };
        if sequence != lane.progress.expected {
            return self.judge(partition, sequence, body);
        }
        let now_ms = partition.handle.core.clock.now_ms();
        let source = partition.source();
        match lane.cursor.append_session(&fitting, slot, id, lane.state, &mut lane.progress, now_ms, &source)? {
            Admission::Appended(offsets) => Ok(offsets.into()),
            _ => self.refused(partition),
        }
    }

    /// Appends one record, once, that `fill` writes where it will be read, as
    /// [`Appender::append_with`](crate::Appender::append_with). If `fill` gives up, the sequence is not used. For a
    /// sequence that is not the next one `fill` is not called: the answer is then [`Answer::OutOfOrder`], or
    /// [`Answer::Duplicate`] without a comparison of bytes that were never given.
    ///
    /// # Errors
    /// As for [`Appender::append_with`](crate::Appender::append_with), and [`AppendError::OtherLog`].
    pub fn append_with<E>(
        &mut self,
        partition: &Partition,
        sequence: u64,
        bytes: usize,
        fill: impl FnOnce(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Answer, FillError<E>> {
        let id = self.id;
        let lane = match self.lane(partition)? {
            Ok(lane) => lane,
            Err(refused) => return Ok(refused),
        };
        check_bytes(bytes, lane.body_bytes_max)?;
        check_sequence(sequence, 1)?;
        let Some(slot) = slot_of(&lane.partition.state, id) else { return Ok(Answer::UnknownProducer) };
        let expected = lane.progress.expected;
        if slot.state() != lane.state {
            return Ok(self.refused(partition)?);
        }
        if sequence > expected {
            return Ok(Answer::OutOfOrder { expected });
        }
        if sequence < expected {
            let earlier = Progress { expected: sequence + 1, ..lane.progress };
            let found = lane.partition.state.last_offset(id, earlier).map_err(AppendError::Original)?;
            return Ok(
                found.map_or(Answer::DuplicateTrimmed, |offset| Answer::Duplicate { first: offset, last: offset })
            );
        }
        let now_ms = partition.handle.core.clock.now_ms();
        let author = Author { slot, id, state: lane.state, progress: &mut lane.progress };
        match lane.cursor.append_with(bytes, Some(author), now_ms, &partition.source(), fill)? {
            Ok(Admission::Appended(offsets)) => Ok(offsets.into()),
            Ok(_) => Ok(self.refused(partition)?),
            Err(error) => Err(FillError::Fill(error)),
        }
    }

    /// A sequence that is not the next one. The epoch comes first: a fenced session is told so, also about a record that
    /// would pass for a duplicate.
    #[cold]
    fn judge<B: Body>(&mut self, partition: &Partition, sequence: u64, body: &B) -> Result<Answer, AppendError> {
        let id = self.id;
        let lane = match self.lane(partition)? {
            Ok(lane) => lane,
            Err(refused) => return Ok(refused),
        };
        let fenced = slot_of(&lane.partition.state, id).is_none_or(|slot| slot.state() != lane.state);
        if fenced {
            return self.refused(partition);
        }
        lane.partition.state.judge(id, lane.progress, sequence, body)
    }

    /// Why this session appends no more. From here on it does not try again, which would cost a void frame each time.
    #[cold]
    fn refused(&mut self, partition: &Partition) -> Result<Answer, AppendError> {
        let core = &self.handle.core;
        let answer = match core.place(&partition.state, self.id, self.epoch, Mode::Session)? {
            Place::Epoch(epoch) => Answer::Fenced { epoch },
            // Registered by id since: that raised the epoch too.
            Place::Mode(_) => {
                let epoch = core.registry().find(self.id).map_or(self.epoch, |entry| entry.epoch);
                Answer::Fenced { epoch }
            }
            Place::Unknown | Place::Own { .. } => Answer::UnknownProducer,
        };
        self.lanes.clear();
        self.transactional.clear();
        self.refusal = Some(answer);
        Ok(answer)
    }

    /// The lane into a partition.
    #[inline]
    fn lane(&mut self, partition: &Partition) -> Result<Result<&mut Lane, Answer>, AppendError> {
        let number = partition.state.number as usize;
        let open = self.lanes.get(number).and_then(Option::as_ref);
        if !open.is_some_and(|lane| Arc::ptr_eq(&lane.partition.state, &partition.state))
            && let Some(refused) = self.open_lane(partition)?
        {
            return Ok(Err(refused));
        }
        match self.lanes.get_mut(number).and_then(Option::as_mut) {
            Some(lane) => Ok(Ok(lane)),
            None => unreachable!("the lane was opened above"),
        }
    }

    #[cold]
    fn open_lane(&mut self, partition: &Partition) -> Result<Option<Answer>, AppendError> {
        if !Arc::ptr_eq(&self.handle, &partition.handle) {
            return Err(AppendError::OtherLog { partition: partition.name().to_owned() });
        }
        if self.refusal.is_some() {
            return Ok(self.refusal);
        }
        let Place::Own { state } = self.handle.core.place(&partition.state, self.id, self.epoch, Mode::Session)? else {
            return self.refused(partition).map(Some);
        };
        // What it has committed here is not to be outlived by what comes now.
        if !self.handle.core.leave_transaction(self.id, &partition.state)? {
            return Ok(Some(self.handle.core.invalid_transaction(self.id)));
        }
        let number = partition.state.number as usize;
        let transactional = self.transactional.get_mut(number).and_then(Option::take);
        let progress = slot_of(&partition.state, self.id).map_or_else(Progress::default, Slot::progress);
        let lane = match transactional {
            Some(mut lane) => {
                lane.progress = progress;
                lane
            }
            None => {
                partition.enter()?;
                Box::new(Lane {
                    partition: partition.clone(),
                    cursor: Cursor::new(partition.state.chain.newest_tail()),
                    state,
                    progress,
                    body_bytes_max: partition.state.options.body_bytes_max(),
                    transaction: 0,
                })
            }
        };
        if self.lanes.len() <= number {
            self.lanes.resize_with(number + 1, || None);
        }
        if let Some(place) = self.lanes.get_mut(number) {
            *place = Some(lane);
        }
        Ok(None)
    }
}
