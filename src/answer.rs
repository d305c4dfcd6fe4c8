//! What a producer's append is answered with.

use crate::ids::Offsets;

/// The answer to an append that carries a producer's sequence. Exactly one holds, and only `Appended` has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "only Appended and the duplicates mean that the record is stored"]
#[non_exhaustive]
pub enum Answer {
    /// Stored now, at these offsets.
    Appended {
        /// Offset of the first record.
        first: u64,
        /// Offset of the last record.
        last: u64,
    },
    /// Stored before: these are the offsets that its first and last sequence have.
    Duplicate {
        /// Offset of the first sequence.
        first: u64,
        /// Offset of the last sequence.
        last: u64,
    },
    /// Stored before, and retention has dropped it since.
    DuplicateTrimmed,
    /// The first records of the batch are stored, the others are not. Nothing was written.
    Overlap {
        /// The sequence that comes next.
        expected: u64,
    },
    /// Sequences are missing before this one. Nothing was written.
    OutOfOrder {
        /// The sequence that comes next.
        expected: u64,
    },
    /// The producer was registered again: this epoch appends no more.
    Fenced {
        /// The epoch that appends now; for a session that has been refused before, the one that fenced it.
        epoch: u32,
    },
    /// The epoch is above all that registration has given.
    EpochNotIssued {
        /// The epoch that appends now.
        current: u32,
    },
    /// No live producer has this id: it was never registered here, or it was closed.
    UnknownProducer,
    /// The append belongs to another transaction than the producer has open, or to none while one is open in this
    /// partition, or its transaction has ended. Nothing was written.
    InvalidTransaction {
        /// The producer's open transaction.
        open: Option<u64>,
    },
    /// The sequences are stored with other bytes. Nothing was written: a producer numbers no two records alike.
    SequenceReused {
        /// The sequence that comes next.
        expected: u64,
    },
}

/// What an append that expects an offset is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "only Appended means that the record is stored"]
pub enum AtOffset {
    /// Stored, from the expected offset on.
    Appended(Offsets),
    /// The next record has another offset: others have appended, or cut the partition. Nothing was written.
    Moved {
        /// The offset that comes next.
        next: u64,
    },
}

impl Answer {
    /// The answer to an append of `records` records, put together in the caller.
    ///
    /// The functions that append give the first offset back in a register. Given back in memory, this answer would be
    /// stored word by word and loaded again two words at a time by a caller that moves it, which stalls until the frame's
    /// own stores have reached the cache: a third of what a session's append took.
    #[inline(always)]
    pub(crate) const fn appended(first: u64, records: usize) -> Self {
        Self::Appended { first, last: first + (records as u64 - 1) }
    }

    /// The offsets of the records, if they are stored and kept: appended now, or before.
    #[must_use]
    pub const fn offsets(self) -> Option<Offsets> {
        match self {
            Self::Appended { first, last } | Self::Duplicate { first, last } => Some(Offsets { first, last }),
            _ => None,
        }
    }

    /// Whether the records are stored exactly once, now or before: the producer may go on.
    #[must_use]
    pub const fn is_stored(self) -> bool {
        matches!(self, Self::Appended { .. } | Self::Duplicate { .. } | Self::DuplicateTrimmed)
    }
}

impl From<Offsets> for Answer {
    fn from(Offsets { first, last }: Offsets) -> Self {
        Self::Appended { first, last }
    }
}
