//! Bodies of control frames. They take no offset.
//!
//! ```text
//! START   0 base offset          8 position where the frames before end   16 flags
//!                                   flag 1: what stood behind that position was cut off, and is no part of the log
//!                                   flag 2: the log starts here: no record before counts, whatever its offset
//! FENCE   0 producer id          8 epoch: u32, flags: u32                 16 reserved
//!                                   flag 1: numbering starts again at 0
//! MARK    0 durable position     8 reserved                              16 reserved
//! PURGE   0 offset at which the log starts                               16 reserved
//! ```

use super::NUMBER_MAX;
use crate::ids::ProducerId;

/// Words of a control frame's body.
pub(crate) const CONTROL_WORDS: usize = 3;
/// Bytes of a control frame's body.
pub(crate) const CONTROL_BYTES: usize = CONTROL_WORDS * 8;

const RESTART_FLAG: u64 = 1;
const CUT_FLAG: u64 = 1;
const ORIGIN_FLAG: u64 = 2;

/// Begins a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// Offset of the segment's first record.
    pub(crate) base_offset: u64,
    /// Position at which the frames of the segment before end, or the padding behind them; of the first segment, 0. Of a cut,
    /// in whichever segment it was made.
    pub(crate) previous_end: u64,
    /// What stood at that position and behind it, up to this segment, was cut off.
    pub(crate) cut: bool,
    /// The log starts here: no record before counts, whatever its offset.
    pub(crate) origin: bool,
}

impl Start {
    pub(crate) const fn words(self) -> [u64; CONTROL_WORDS] {
        let flags = if self.cut { CUT_FLAG } else { 0 } | if self.origin { ORIGIN_FLAG } else { 0 };
        [self.base_offset, self.previous_end, flags]
    }

    pub(crate) const fn from_words([base_offset, previous_end, flags]: [u64; CONTROL_WORDS]) -> Self {
        Self { base_offset, previous_end, cut: flags & CUT_FLAG != 0, origin: flags & ORIGIN_FLAG != 0 }
    }

    /// Behind what is there.
    pub(crate) const fn following(base_offset: u64, previous_end: u64) -> Self {
        Self { base_offset, previous_end, cut: false, origin: false }
    }

    /// Whether a segment may begin so.
    pub(crate) const fn is_possible(&self) -> bool {
        self.base_offset <= NUMBER_MAX && self.previous_end <= NUMBER_MAX
    }
}

/// Says that from here on only the given epoch of a producer appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fence {
    pub(crate) producer: ProducerId,
    pub(crate) epoch: u32,
    /// The producer's numbering starts again at 0.
    pub(crate) restart: bool,
}

impl Fence {
    pub(crate) const fn words(self) -> [u64; CONTROL_WORDS] {
        [self.producer.get(), self.epoch as u64 | if self.restart { RESTART_FLAG << 32 } else { 0 }, 0]
    }

    pub(crate) const fn from_words([producer, epoch, _]: [u64; CONTROL_WORDS]) -> Self {
        Self { producer: ProducerId::from_u64(producer), epoch: epoch as u32, restart: epoch >> 32 & RESTART_FLAG != 0 }
    }
}

/// Says how far the partition was durable when this was appended: what is broken below it was damaged, and not lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Position behind the last durable frame.
    pub(crate) durable: u64,
}

impl Mark {
    pub(crate) const fn words(self) -> [u64; CONTROL_WORDS] {
        [self.durable, 0, 0]
    }

    pub(crate) const fn from_words([durable, _, _]: [u64; CONTROL_WORDS]) -> Self {
        Self { durable }
    }
}

/// Says from which offset on records count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Purge {
    /// Offset at which the log starts.
    pub(crate) start: u64,
}

impl Purge {
    pub(crate) const fn words(self) -> [u64; CONTROL_WORDS] {
        [self.start, 0, 0]
    }

    pub(crate) const fn from_words([start, _, _]: [u64; CONTROL_WORDS]) -> Self {
        Self { start }
    }
}
