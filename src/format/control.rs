//! Bodies of control frames. They take no offset.
//!
//! ```text
//! START   0 base offset          8 position where the frames before end   16 reserved
//! FENCE   0 producer id          8 epoch: u32, flags: u32                 16 reserved
//!                                   flag 1: numbering starts again at 0
//! MARK    0 durable position     8 reserved                              16 reserved
//! ```

use super::NUMBER_MAX;
use crate::ids::ProducerId;

/// Words of a control frame's body.
pub(crate) const CONTROL_WORDS: usize = 3;
/// Bytes of a control frame's body.
pub(crate) const CONTROL_BYTES: usize = CONTROL_WORDS * 8;

const RESTART_FLAG: u64 = 1;

/// Begins a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// Offset of the segment's first record.
    pub(crate) base_offset: u64,
    /// Position at which the frames of the segment before end, or the padding behind them; of the first segment, 0.
    pub(crate) previous_end: u64,
}

impl Start {
    pub(crate) const fn words(self) -> [u64; CONTROL_WORDS] {
        [self.base_offset, self.previous_end, 0]
    }

    pub(crate) const fn from_words([base_offset, previous_end, _]: [u64; CONTROL_WORDS]) -> Self {
        Self { base_offset, previous_end }
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
