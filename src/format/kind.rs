//! Kinds of frames: 6 bits of a frame's header.

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// One record; the body is its bytes.
    Record = 1,
    /// Several records (`batch.rs`).
    Batch = 2,
    /// Space that was reserved and given up: it takes its offsets and holds nothing.
    Void = 3,
    /// The first frame of a segment (`control.rs`).
    Start = 16,
    /// A producer's epoch was raised (`control.rs`).
    Fence = 17,
    /// How far the partition was durable (`control.rs`).
    Mark = 18,
    /// Ends a transaction in this partition: its records count. Far form, no body.
    Commit = 19,
    /// Ends a transaction in this partition: its records are to be passed over. Far form, no body.
    Abort = 20,
    /// What the embedder keeps beside the records; the newest counts.
    Metadata = 21,
    /// From which offset on records count (`control.rs`).
    Purge = 22,
}

impl Kind {
    pub(super) const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            1 => Self::Record,
            2 => Self::Batch,
            3 => Self::Void,
            16 => Self::Start,
            17 => Self::Fence,
            18 => Self::Mark,
            19 => Self::Commit,
            20 => Self::Abort,
            21 => Self::Metadata,
            22 => Self::Purge,
            _ => return None,
        })
    }

    /// Whether it ends a transaction: its producer's part then names no batch, but says how the producer goes on.
    #[inline(always)]
    pub(crate) const fn is_marker(self) -> bool {
        matches!(self, Self::Commit | Self::Abort)
    }
}
