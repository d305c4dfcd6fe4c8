//! One segment: space is claimed at its tail, frames are published into it and scanned from it.
//!
//! | file | what it holds |
//! |---|---|
//! | `tail.rs` | the lock-free tail: claim, publish, and the step to the next segment |
//! | `scan.rs` | published frames, one after the other; the visible prefix |
//! | `backing.rs` | the memory and the file behind it: mapped, or direct |
//! | `file.rs` | the segment as a whole: header, seal, what is read and when it ends |
//! | `index.rs` | from offset or time to a place to start scanning |
//! | `residents.rs` | which sealed segments stay mapped |

#[cfg(not(loom))]
pub(crate) mod backing;
#[cfg(not(loom))]
pub(crate) mod file;
#[cfg(not(loom))]
pub(crate) mod index;
#[cfg(not(loom))]
pub(crate) mod residents;
pub(crate) mod scan;
pub(crate) mod tail;

use crate::format::segment_header::SegmentHeader;

/// The constants of one use of a segment file, in units of 8 bytes where lengths are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) number: u64,
    /// Units of the file.
    pub(crate) capacity: usize,
    /// Position at which the file begins.
    pub(crate) base_position: u64,
    pub(crate) tag: u64,
    pub(crate) salt: u64,
    /// What frames count their time from.
    pub(crate) prepared_ms: u64,
}

impl Shape {
    pub(crate) fn of(header: &SegmentHeader) -> Self {
        Self {
            number: header.number,
            capacity: (header.bytes / 8) as usize,
            base_position: header.base_position,
            tag: header.tag,
            salt: header.salt,
            prepared_ms: header.prepared_ms,
        }
    }

    /// Position at which the file ends.
    #[inline]
    pub(crate) const fn end_position(&self) -> u64 {
        self.position(self.capacity)
    }

    /// Position of the byte at `unit`.
    #[inline]
    pub(crate) const fn position(&self, unit: usize) -> u64 {
        self.base_position + unit as u64 * 8
    }
}
