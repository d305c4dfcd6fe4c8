//! What a log is on disk, version 1. All integers are little-endian; lengths are bytes unless they say units (8 bytes).
//!
//! ```text
//! LOG/
//!   LOCK                           held exclusively by the process that has the log open
//!   log                            what log this is (`files.rs`)
//!   partitions/NAME/
//!     partition                    what partition this is (`files.rs`)
//!     0000000000000001.seg         segments, named by their number; numbers leave no gap
//!     0000000000000002.seg
//!     0000000000000003.ready       a segment prepared ahead, not begun
//!     0000000000000001.snapshot    producers as of the end of the segment of that number (`snapshot.rs`)
//! ```
//!
//! A segment:
//!
//! ```text
//!   0                  header (`segment_header.rs`): written once when the segment is prepared
//!   512, 1024          two seal slots, the newer valid one counts: where the frames end, and why
//!   4096               START frame: the base offset, and where the segment before ended
//!   ...                frames (`frame.rs`), one after the other, each a multiple of 8 bytes
//!   end                the rest of the file is padding, or was never used
//! ```
//!
//! A record has an *offset*, its number in the partition. A byte has a *position*, counted over all segment files of a
//! partition from the first one's first byte; a segment's header says at which position its file begins.
//!
//! A reader must refuse a version that it does not know, must ignore every byte named reserved, and must take nothing
//! behind the end of a segment's frames for a frame.

pub(crate) mod batch;
pub(crate) mod control;
pub(crate) mod files;
pub(crate) mod frame;
mod kind;
pub(crate) mod ledger;
pub(crate) mod registration;
pub(crate) mod segment_header;
pub(crate) mod snapshot;

/// Version of every file of a log. A change of any byte's meaning is a new version.
pub const VERSION: u32 = 1;

/// Bytes of a segment before its first frame.
pub const SEGMENT_HEADER_BYTES: usize = 4096;

/// Smallest segment file.
pub const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// Largest segment file: positions within a segment, in units, and the overshoot of every appender fit one word.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// No partition gets as far: a position, an offset or a time beyond is no log's, and sums of smaller ones do not overflow.
pub(crate) const NUMBER_MAX: u64 = 1 << 56;

/// Bytes of a frame before its body, or before its producer's part.
pub const FRAME_HEADER_BYTES: usize = 32;

/// Bytes that a producer's frame has between header and body.
pub const PRODUCER_BYTES: usize = 24;

/// The same where the producer's previous batch is too far back for the short form, or a transaction is named.
pub const PRODUCER_FAR_BYTES: usize = 40;

/// Frames begin and end at multiples of this.
pub const FRAME_ALIGN: usize = 8;

/// Largest frame: header, producer's part, body and padding together.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// Bytes before each record of a batch: its length.
pub const RECORD_LENGTH_BYTES: usize = 4;

/// Longest metadata of a partition, in bytes.
pub const METADATA_BYTES_MAX: usize = 4096;

/// Longest name of a partition or a producer, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

const _: () = assert!(FRAME_BYTES_MAX / FRAME_ALIGN < 1 << 22, "a publication word has 22 bits for a frame's units");
const _: () = assert!(FRAME_BYTES_MAX / RECORD_LENGTH_BYTES < 1 << 24, "a frame's header has 24 bits for its records");
const _: () = assert!(SEGMENT_BYTES_MIN as usize > 2 * SEGMENT_HEADER_BYTES);
