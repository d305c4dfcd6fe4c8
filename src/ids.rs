//! Who appends, how, how far, and where to: the words that every layer uses.

use std::{fmt, hash::Hasher};

/// Identifies a producer within its log.
///
/// It is a slot number (lower 32 bits) and that slot's generation (upper 32 bits), so that finding a producer's state is
/// an index into a table, and an id whose producer was closed is not taken for the slot's next owner.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProducerId(u64);

impl ProducerId {
    pub(crate) const fn new(slot: u32, generation: u32) -> Self {
        Self(slot as u64 | (generation as u64) << 32)
    }

    /// The id as a number, as it is stored and as a broker would send it.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The id that [`ProducerId::get`] gave. A number that was never given names a producer that no log knows.
    #[must_use]
    pub const fn from_u64(id: u64) -> Self {
        Self(id)
    }

    pub(crate) const fn slot(self) -> u32 {
        self.0 as u32
    }

    pub(crate) const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.slot(), self.generation())
    }
}

impl fmt::Debug for ProducerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ProducerId({self})")
    }
}

/// What a producer that appends by id sends along: who it is, in which epoch, and the sequence of its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The id that registration gave.
    pub producer: ProducerId,
    /// The epoch that registration gave.
    pub epoch: u32,
    /// The sequence of the first record. A producer's sequences in a partition start at 0 and leave no gap.
    pub sequence: u64,
}

/// Which transaction, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId {
    /// The id that registration gave.
    pub producer: ProducerId,
    /// The epoch that registration gave.
    pub epoch: u32,
    /// The transaction's number: above all earlier ones of the producer, from 1 on.
    pub number: u64,
}

/// How a producer appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mode {
    /// Through the one [`Session`](crate::Session) that holds it.
    Session = 1,
    /// From any thread, with a [`Stamp`](crate::Stamp).
    ById = 2,
}

/// How far a producer has come in one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The sequence that comes next.
    pub(crate) expected: u64,
    /// Position of the frame of the last batch; 0 is none.
    pub(crate) last_position: u64,
    /// Time of the last batch.
    pub(crate) last_ms: u64,
}

/// Offsets of an append's first and last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// Offset of the first record.
    pub first: u64,
    /// Offset of the last record; the same as `first` for one record.
    pub last: u64,
}
/// Hashes what the log itself has given out, a producer's id or slot or a transaction's number, which nobody can choose so
/// that they collide.
#[derive(Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        // Fibonacci hashing (Knuth, TAOCP 3, 6.4), folded so that the upper bits reach the lower ones.
        let product = u128::from(self.0.rotate_left(32) ^ word) * 0x9E37_79B9_7F4A_7C15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}
