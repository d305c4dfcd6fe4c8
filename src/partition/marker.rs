//! Markers: the end of a transaction in one partition.
//!
//! An abort's marker is written by whoever aborts, behind everything that the transaction has appended, and before the
//! producer appends anything else here: it says how the producer goes on, which is as if the transaction had not been. A
//! commit's marker is written any time after its entry in the ledger is durable along with all it names, and never before:
//! so that a marker that a crash has left is always true.

use super::append::{Cursor, Supply};
use crate::{
    format::{
        FRAME_HEADER_BYTES,
        frame::{Form, Header, Kind, Part, Producer, units_of},
    },
    segment::tail::{Reservation, Tail},
};
use xxhash_rust::xxh3::xxh3_64;

/// Units of a marker's frame.
const MARKER_UNITS: usize = units_of(0, Form::Far);

fn publish(tail: &Tail, reservation: Reservation, kind: Kind, producer: Producer, now_ms: u64) -> u64 {
    let unit = reservation.place.units;
    let header = Header {
        body_bytes: 0,
        kind,
        records: 0,
        offset_delta: reservation.place.records as u32,
        time_delta: tail.time_delta(now_ms),
        part: Part::Far(producer),
    };
    tail.publish_control(reservation.claim, unit, header, []);
    tail.shape().position(unit)
}

impl Cursor {
    /// Appends a marker, waiting for a segment if there is no room. Returns its position.
    pub(crate) fn mark<S: Supply>(
        &mut self,
        kind: Kind,
        producer: Producer,
        now_ms: u64,
        supply: &S,
    ) -> Result<u64, S::Error> {
        let reservation = self.reserve(0, MARKER_UNITS, supply)?;
        Ok(publish(self.tail(), reservation, kind, producer, now_ms))
    }
}

impl Cursor {
    /// Appends a control frame with a body of its own, waiting for a segment if there is no room. Returns its position.
    pub(crate) fn note<S: Supply>(
        &mut self,
        kind: Kind,
        body: &[u8],
        now_ms: u64,
        supply: &S,
    ) -> Result<u64, S::Error> {
        let mut reservation = self.reserve(0, units_of(body.len(), Form::Plain), supply)?;
        let unit = reservation.place.units;
        let header = Header {
            body_bytes: body.len() as u32,
            kind,
            records: 0,
            offset_delta: reservation.place.records as u32,
            time_delta: self.tail().time_delta(now_ms),
            part: Part::None,
        };
        reservation.claim.write(FRAME_HEADER_BYTES, body);
        self.tail().publish(reservation.claim, unit, &header, xxh3_64(body));
        Ok(self.tail().shape().position(unit))
    }
}

/// Appends a marker if there is room for it in the segment at hand. Returns its position.
pub(crate) fn try_mark(tail: &Tail, kind: Kind, producer: Producer, now_ms: u64) -> Option<u64> {
    if tail.opened().is_none() || tail.is_full() {
        return None;
    }
    let reservation = tail.claim(0, MARKER_UNITS)?;
    Some(publish(tail, reservation, kind, producer, now_ms))
}
