//! The append path, whole.
//!
//! ```text
//! plain      hash, claim, copy, publish
//! session    compare the sequence, hash, claim, look at the epoch, copy, store the slot, publish
//! by id      hash, lock the slot, compare the sequence, claim, store the slot, unlock, copy, publish
//! ```
//!
//! The one atomic step that producers share is the claim. A session looks at its epoch only behind it: a fence stores
//! the new epoch before it claims, so of the two claims on the same chain of tails either the fence's comes first, and
//! then this one sees the new epoch, or this one does, and then the fence waits for it. Looking before the claim would
//! let a fence, and a successor's frame with the same sequence, pass in between.

use super::{
    body::{Body, Fitting},
    slot::{Locked, Slot, State},
};
use crate::{
    format::frame::{Form, Header, Part, Producer, units_of},
    ids::{Offsets, ProducerId, Progress, Stamp},
    raw::hint::fetch_for_store,
    segment::tail::{Conditional, Reservation, Tail},
    sync::Arc,
};

/// Where segments come from when one is full.
pub(crate) trait Supply {
    type Error;

    /// Returns once the tail may have a successor; fails if there is none to be had.
    fn wait_for_successor(&self, of: &Tail) -> Result<(), Self::Error>;

    /// A segment was opened by the caller.
    fn opened(&self);
}

/// A handle's place in the chain of tails.
pub(crate) struct Cursor {
    tail: Arc<Tail>,
    /// The tail's base offset.
    base_offset: u64,
    /// The tail is known to be full: it is not added to again before its successor is there, so that an appender
    /// overshoots each segment once, however often it tries.
    full: bool,
    /// The offset before which this handle knows all to be visible, and the unit of the segment at hand: as far as it has
    /// looked, and what it has itself published right behind that since. 0 before it has looked: no claim begins there.
    visible: (u64, usize),
}

/// Records of a handle's own that it knows to be visible without moving the mark.
const UNSEEN_MAX: u64 = 16;

/// What the hot path of a session's append ends with.
pub(crate) enum Admission {
    Appended(Offsets),
    /// The slot's epoch or mode is another one.
    State,
}

/// Why an attempt to append by id came to nothing.
pub(crate) enum Missed {
    /// The sequence is not the one that comes next: the slot says what was.
    Sequence(Progress),
    /// The slot's epoch or mode is another one.
    State,
    /// The producer is in another transaction here, or in one where it should be in none, or the other way round.
    Transaction,
    /// The slot belongs to another producer, or no producer has it.
    Producer,
    /// The segment at hand has no room: `step`, and then try again.
    Room,
}

impl Cursor {
    pub(crate) fn new(tail: Arc<Tail>) -> Self {
        let base_offset = tail.base_offset();
        let full = tail.is_full();
        Self { tail, base_offset, full, visible: (0, 0) }
    }

    pub(crate) fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Claims space in the segment at hand, or in the next one that has room.
    #[inline(always)]
    pub(crate) fn reserve<S: Supply>(
        &mut self,
        records: u32,
        units: usize,
        supply: &S,
    ) -> Result<Reservation, S::Error> {
        if !self.full
            && let Some(reservation) = self.tail.claim(records, units)
        {
            return Ok(reservation);
        }
        Ok(self.reserve_ahead(records, units, supply)?.anew())
    }

    #[cold]
    fn reserve_ahead<S: Supply>(&mut self, records: u32, units: usize, supply: &S) -> Result<Reservation, S::Error> {
        loop {
            self.step(supply)?;
            match self.tail.claim(records, units) {
                Some(reservation) => return Ok(reservation),
                None => self.full = true,
            }
        }
    }

    /// Goes to the next segment, waiting for it: the one at hand has no room.
    #[cold]
    pub(crate) fn step<S: Supply>(&mut self, supply: &S) -> Result<(), S::Error> {
        self.full = true;
        loop {
            let Some((next, opened)) = self.tail.successor() else {
                supply.wait_for_successor(&self.tail)?;
                continue;
            };
            *self = Self::new(next);
            if opened {
                supply.opened();
            }
            return Ok(());
        }
    }

    /// Appends without a producer, if the record that comes next has the offset `expected`; else the offset that it has.
    pub(crate) fn append_at<B: Body, S: Supply>(
        &mut self,
        expected: u64,
        fitting: &Fitting<'_, B>,
        now_ms: u64,
        supply: &S,
    ) -> Result<Result<Offsets, u64>, S::Error> {
        let ahead = fitting.body.hash_ahead();
        let (records, units) = (fitting.records, units_of(fitting.bytes, Form::Plain));
        loop {
            if self.full {
                self.step(supply)?;
                continue;
            }
            // Below the segment's first record none is claimed.
            let record = expected.checked_sub(self.base_offset).unwrap_or(u64::MAX);
            match self.tail.claim_record(record, records, units) {
                Conditional::Claimed(reservation) => {
                    return Ok(Ok(self.write(reservation, fitting, ahead, now_ms, Part::None)));
                }
                Conditional::Other { record } => return Ok(Err(self.base_offset + record)),
                Conditional::Full => self.full = true,
            }
        }
    }

    /// The tail that this cursor is at, to be held.
    pub(crate) const fn at(&self) -> &Arc<Tail> {
        &self.tail
    }

    /// The time that a frame in the segment at hand has, by the clock as it was before the segment may have been waited for.
    #[inline(always)]
    pub(super) fn at_ms(&self, now_ms: u64) -> u64 {
        now_ms.max(self.tail.shape().prepared_ms)
    }

    /// Whether the segment at hand is known to have no room.
    pub(crate) const fn is_full(&self) -> bool {
        self.full
    }

    /// Whether the record at an offset, which was appended, is known to be visible. Now and then not told, so that somebody
    /// looks and moves the mark on: else who does one day would have a whole segment to walk.
    #[inline]
    pub(crate) fn knows_visible(&self, offset: u64) -> bool {
        // A tail that has ended may have been cut off: then the offset is another record's, perhaps.
        offset < self.visible.0 && !offset.is_multiple_of(UNSEEN_MAX) && !self.tail.is_full()
    }

    /// Takes note that all before an offset and a position is visible.
    pub(crate) fn note_visible(&mut self, offset: u64, position: u64) {
        let shape = self.tail.shape();
        if (shape.base_position..=shape.end_position()).contains(&position) {
            self.visible = (offset, ((position - shape.base_position) / 8) as usize);
        }
    }

    /// Copies the body into its reservation and publishes the frame.
    #[inline(always)]
    fn write<B: Body>(
        &mut self,
        mut reservation: Reservation,
        fitting: &Fitting<'_, B>,
        ahead: u64,
        now_ms: u64,
        part: Part,
    ) -> Offsets {
        let place = reservation.place;
        let header = Header {
            body_bytes: fitting.bytes as u32,
            kind: B::KIND,
            records: fitting.records,
            offset_delta: place.records as u32,
            time_delta: self.tail.time_delta(now_ms),
            part,
        };
        let hash = fitting.body.write(&mut reservation.claim, header.bytes(), ahead);
        self.tail.publish(reservation.claim, place.units, &header, hash);
        let first = self.base_offset + place.records;
        let next = first + u64::from(fitting.records);
        if place.units == self.visible.1 {
            self.visible = (next, place.units + units_of(fitting.bytes, header.part.form()));
        }
        Offsets { first, last: next - 1 }
    }

    /// Appends without a producer.
    #[inline]
    pub(crate) fn append<B: Body, S: Supply>(
        &mut self,
        fitting: &Fitting<'_, B>,
        now_ms: u64,
        supply: &S,
    ) -> Result<Offsets, S::Error> {
        let ahead = fitting.body.hash_ahead();
        let records = fitting.records;
        let reservation = self.reserve(records, units_of(fitting.bytes, Form::Plain), supply)?;
        Ok(self.write(reservation, fitting, ahead, now_ms, Part::None))
    }

    /// The form of a frame of a producer whose previous one is at a position.
    #[inline]
    pub(crate) fn form(&self, previous_position: u64) -> Form {
        Form::ahead(previous_position, self.tail.shape().end_position())
    }

    /// Appends as a session that has seen that `sequence` is the one that comes next. `progress` is the session's own
    /// copy of the slot.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "the session's own state, borrowed apart")]
    pub(crate) fn append_session<B: Body, S: Supply>(
        &mut self,
        fitting: &Fitting<'_, B>,
        slot: &Slot,
        id: ProducerId,
        state: State,
        progress: &mut Progress,
        now_ms: u64,
        supply: &S,
    ) -> Result<Admission, S::Error> {
        match self.form(progress.last_position) {
            Form::Far => self.append_session_far(fitting, slot, id, state, progress, 0, now_ms, supply),
            _ => self.append_session_in::<B, S, false>(fitting, slot, id, state, progress, 0, now_ms, supply),
        }
    }

    /// Appends as a session in a transaction.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "as above")]
    pub(crate) fn append_in_transaction<B: Body, S: Supply>(
        &mut self,
        fitting: &Fitting<'_, B>,
        slot: &Slot,
        id: ProducerId,
        state: State,
        progress: &mut Progress,
        transaction: u64,
        now_ms: u64,
        supply: &S,
    ) -> Result<Admission, S::Error> {
        self.append_session_in::<B, S, true>(fitting, slot, id, state, progress, transaction, now_ms, supply)
    }

    /// Appends as a session, with the far form: where the producer's last batch is far back.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "as above")]
    fn append_session_far<B: Body, S: Supply>(
        &mut self,
        fitting: &Fitting<'_, B>,
        slot: &Slot,
        id: ProducerId,
        state: State,
        progress: &mut Progress,
        transaction: u64,
        now_ms: u64,
        supply: &S,
    ) -> Result<Admission, S::Error> {
        self.append_session_in::<B, S, true>(fitting, slot, id, state, progress, transaction, now_ms, supply)
    }

    /// The two forms are two paths, so that the header of the usual one is never put together in memory.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "as above")]
    fn append_session_in<B: Body, S: Supply, const FAR: bool>(
        &mut self,
        fitting: &Fitting<'_, B>,
        slot: &Slot,
        id: ProducerId,
        state: State,
        progress: &mut Progress,
        transaction: u64,
        now_ms: u64,
        supply: &S,
    ) -> Result<Admission, S::Error> {
        let form = if FAR { Form::Far } else { Form::Near };
        let ahead = fitting.body.hash_ahead();
        let records = fitting.records;
        let units = units_of(fitting.bytes, form);
        let reservation = self.reserve(records, units, supply)?;
        let position = self.tail.shape().position(reservation.place.units);
        // Only now: see the head of this file. The claim's Acquire orders this load behind it.
        if slot.state() != state {
            self.tail.publish_void(reservation, units, records, now_ms);
            return Ok(Admission::State);
        }
        if !form.reaches(position, progress.last_position) {
            self.tail.publish_void(reservation, units, records, now_ms);
            return self.append_session_far(fitting, slot, id, state, progress, transaction, now_ms, supply);
        }
        let producer = Producer {
            id,
            first_sequence: progress.expected,
            epoch: state.epoch(),
            previous_position: progress.last_position,
            transaction,
        };
        *progress = Progress {
            expected: progress.expected + u64::from(records),
            last_position: position,
            last_ms: self.at_ms(now_ms),
        };
        // Before the publication, which carries it to the fence that waits for it.
        slot.advance(*progress);
        Ok(Admission::Appended(self.write(reservation, fitting, ahead, now_ms, Part::of(producer, form))))
    }

    /// Appends by id, in the transaction of that number, or in none; the first offset.
    ///
    /// One attempt and no more: what another one would need again, this one would have to put aside. And the offset is given
    /// back in a register, also by the cold function: see `Reservation::anew`.
    #[inline(always)]
    pub(crate) fn append_by_id<B: Body>(
        &mut self,
        fitting: &Fitting<'_, B>,
        slot: &Slot,
        stamp: Stamp,
        transaction: u64,
        state: State,
        now_ms: u64,
    ) -> Result<u64, Missed> {
        // Among many producers the slot is in memory, and comes while the body is hashed.
        fetch_for_store(slot);
        let ahead = fitting.body.hash_ahead();
        let Some(locked) = slot.lock(state) else { return Err(Missed::State) };
        if locked.slot().producer() != stamp.producer {
            return Err(Missed::Producer);
        }
        if locked.slot().transaction() != transaction {
            return Err(Missed::Transaction);
        }
        let progress = locked.slot().progress();
        if progress.expected != stamp.sequence {
            return Err(Missed::Sequence(progress));
        }
        let appended = match self.form(progress.last_position) {
            Form::Near if transaction == 0 => {
                self.append_locked::<B, false>(fitting, locked, stamp, 0, progress, ahead, now_ms)
            }
            _ => self.append_locked_far(fitting, locked, stamp, transaction, progress, ahead, now_ms),
        };
        appended.ok_or(Missed::Room)
    }

    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "the state of an append that has come half its way")]
    fn append_locked_far<B: Body>(
        &mut self,
        fitting: &Fitting<'_, B>,
        locked: Locked<'_>,
        stamp: Stamp,
        transaction: u64,
        progress: Progress,
        ahead: u64,
        now_ms: u64,
    ) -> Option<u64> {
        self.append_locked::<B, true>(fitting, locked, stamp, transaction, progress, ahead, now_ms)
    }

    /// None if the segment at hand has no room.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "as above")]
    fn append_locked<B: Body, const FAR: bool>(
        &mut self,
        fitting: &Fitting<'_, B>,
        locked: Locked<'_>,
        stamp: Stamp,
        transaction: u64,
        progress: Progress,
        ahead: u64,
        now_ms: u64,
    ) -> Option<u64> {
        let form = if FAR { Form::Far } else { Form::Near };
        let records = fitting.records;
        let units = units_of(fitting.bytes, form);
        if self.full {
            return None;
        }
        let reservation = self.tail.claim(records, units)?;
        let position = self.tail.shape().position(reservation.place.units);
        if !form.reaches(position, progress.last_position) {
            self.tail.publish_void(reservation, units, records, now_ms);
            return self.append_locked_far(fitting, locked, stamp, transaction, progress, ahead, now_ms);
        }
        locked.slot().advance(Progress {
            expected: progress.expected + u64::from(records),
            last_position: position,
            last_ms: self.at_ms(now_ms),
        });
        // From here on the next batch of this producer may claim; its place is behind ours.
        drop(locked);
        let producer = Producer {
            id: stamp.producer,
            first_sequence: stamp.sequence,
            epoch: stamp.epoch,
            previous_position: progress.last_position,
            transaction,
        };
        Some(self.write(reservation, fitting, ahead, now_ms, Part::of(producer, form)).first)
    }
}
