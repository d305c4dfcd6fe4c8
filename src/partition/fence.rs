//! A fence: from here on only a new epoch of a producer appends.
//!
//! ```text
//! 1. store the new epoch in the slot
//! 2. claim and publish a fence frame through the same tail as everyone
//! 3. wait until every frame before it is published
//! 4. read the slot: it is the producer's last word
//! ```
//!
//! A session that claims behind the fence frame sees the new epoch (both claims are read-modify-writes of the same word,
//! or lie in segments that were opened after it) and gives its claim up. One that claimed before it has stored the slot
//! before it published, which step 3 waits for. So the fence needs no read-modify-write of the session's.

use super::{
    append::{Cursor, Supply},
    slot::{Slot, State},
};
use crate::{
    format::{
        control::{CONTROL_BYTES, Fence},
        frame::{Form, Header, Kind, Part, units_of},
    },
    ids::Progress,
};

impl Cursor {
    /// Fences the slot's producer; `wait_visible` returns when every frame before the given position is published.
    pub(crate) fn fence<S: Supply>(
        &mut self,
        slot: &Slot,
        to: State,
        fence: Fence,
        now_ms: u64,
        supply: &S,
        wait_visible: impl FnOnce(u64),
    ) -> Result<Progress, S::Error> {
        slot.raise(to);
        let units = units_of(CONTROL_BYTES, Form::Plain);
        let reservation = self.reserve(0, units, supply)?;
        let unit = reservation.place.units;
        let header = Header {
            body_bytes: CONTROL_BYTES as u32,
            kind: Kind::Fence,
            records: 0,
            offset_delta: reservation.place.records as u32,
            time_delta: self.tail().time_delta(now_ms),
            part: Part::None,
        };
        self.tail().publish_control(reservation.claim, unit, header, fence.words());
        wait_visible(self.tail().shape().position(unit));
        Ok(slot.progress())
    }
}
