//! Filling a record in place: the caller's closure writes into the claimed bytes.
//!
//! The closure runs between claim and publication, so whatever it does, the claim must end published: as the record if it
//! returns Ok, else (an error, a panic) as a void frame, which takes its offset and no sequence.

use super::{
    append::{Admission, Cursor, Supply},
    slot::{Slot, State},
};
use crate::{
    format::frame::{Form, Header, Kind, Part, Producer, units_of},
    ids::{Offsets, ProducerId, Progress},
    segment::tail::{Reservation, Tail},
};
use xxhash_rust::xxh3::xxh3_64;

/// A session's own state, as filling needs it.
pub(crate) struct Author<'a> {
    pub(crate) slot: &'a Slot,
    pub(crate) id: ProducerId,
    pub(crate) state: State,
    pub(crate) progress: &'a mut Progress,
}

/// Publishes its claim as void unless it was taken out.
struct Open<'a> {
    tail: &'a Tail,
    reservation: Option<Reservation>,
    units: usize,
    now_ms: u64,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.tail.publish_void(reservation, self.units, 1, self.now_ms);
        }
    }
}

impl Cursor {
    /// Claims a record of `bytes` bytes, lets `fill` write it, and publishes it: for a plain append, or a session's.
    pub(crate) fn append_with<S: Supply, E>(
        &mut self,
        bytes: usize,
        author: Option<Author<'_>>,
        now_ms: u64,
        supply: &S,
        fill: impl FnOnce(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Result<Admission, E>, S::Error> {
        let previous = author.as_ref().map_or(0, |author| author.progress.last_position);
        let mut form = author.as_ref().map_or(Form::Plain, |_| self.form(previous));
        let mut reservation = self.reserve(1, units_of(bytes, form), supply)?;
        if !form.reaches(self.tail().shape().position(reservation.place.units), previous) {
            self.tail().publish_void(reservation, units_of(bytes, form), 1, now_ms);
            form = Form::Far;
            reservation = self.reserve(1, units_of(bytes, form), supply)?;
        }
        let units = units_of(bytes, form);
        let place = reservation.place;
        let offset = self.tail().base_offset() + place.records;
        let mut open = Open { tail: self.tail(), reservation: Some(reservation), units, now_ms };
        if let Some(author) = &author {
            // Behind the claim, as in `append_session`.
            if author.slot.state() != author.state {
                return Ok(Ok(Admission::State));
            }
        }
        let part = author.as_ref().map_or(Part::None, |author| {
            let producer = Producer {
                id: author.id,
                first_sequence: author.progress.expected,
                epoch: author.state.epoch(),
                previous_position: author.progress.last_position,
                transaction: 0,
            };
            Part::of(producer, form)
        });
        let header = Header {
            body_bytes: bytes as u32,
            kind: Kind::Record,
            records: 1,
            offset_delta: place.records as u32,
            time_delta: self.tail().time_delta(now_ms),
            part,
        };
        let Some(claim) = open.reservation.as_mut().map(|reservation| &mut reservation.claim) else {
            unreachable!("taken below only");
        };
        if let Err(error) = claim.fill(header.bytes(), bytes, |body| fill(offset, body)) {
            return Ok(Err(error));
        }
        let hash = claim.read(header.bytes(), bytes, xxh3_64);
        if let Some(author) = author {
            *author.progress = Progress {
                expected: author.progress.expected + 1,
                last_position: self.tail().shape().position(place.units),
                last_ms: self.at_ms(now_ms),
            };
            author.slot.advance(*author.progress);
        }
        if let Some(reservation) = open.reservation.take() {
            self.tail().publish(reservation.claim, place.units, &header, hash);
        }
        Ok(Ok(Admission::Appended(Offsets { first: offset, last: offset })))
    }
}
