//! The first block of a segment: a header that never changes during one use of the file, and its seal.
//!
//! ```text
//!   header                                     seal slot, at 512 and at 1024
//!    0 magic "ONCESEGM"                          0 generation: the higher of the two valid slots counts
//!    8 version: u32   12 header bytes: u32       8 end of the frames, units from the start of the file
//!   16 log identity, 16 bytes                   16 records
//!   32 partition number: u32  36 reserved       24 base offset
//!   40 segment number                           32 latest time, ms since the epoch
//!   48 bytes of the file                        40 reason: 1 full, 2 closed, 3 recovered, 4 cut
//!   56 position at which the file begins        48 position up to which all was durable when this was written
//!   64 tag (40 bits)  72 salt                   56 checksum: xxh3-64 of the 56 bytes before and the salt
//!   80 time of preparation, ms since the epoch
//!   88 checksum: xxh3-64 of the 88 bytes before
//! ```

use super::{NUMBER_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_HEADER_BYTES, VERSION};
use crate::format::frame::TAG_BITS;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: u64 = u64::from_le_bytes(*b"ONCESEGM");
const HEADER_WORDS: usize = 11;
/// Bytes of the header that are in use.
pub(crate) const HEADER_BYTES: usize = HEADER_WORDS * 8 + 8;
/// Where the two seal slots lie.
pub(crate) const SEAL_AT: [usize; 2] = [512, 1024];
const SEAL_WORDS: usize = 7;
/// Bytes of a seal slot.
pub(crate) const SEAL_BYTES: usize = SEAL_WORDS * 8 + 8;

const _: () = assert!(HEADER_BYTES <= SEAL_AT[0] && SEAL_AT[0] + SEAL_BYTES <= SEAL_AT[1]);
const _: () = assert!(SEAL_AT[1] + SEAL_BYTES <= SEGMENT_HEADER_BYTES);

/// Reads the word at `at`. The caller's buffer holds it.
fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

/// What a segment file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) log: u128,
    pub(crate) partition: u32,
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) base_position: u64,
    pub(crate) tag: u64,
    pub(crate) salt: u64,
    pub(crate) prepared_ms: u64,
}

/// Why the first block of a file is not a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    Magic(u64),
    Version(u32),
    Checksum,
    /// A length or a tag that no segment can have.
    Value(&'static str, u64),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let words: [u64; HEADER_WORDS] = [
            MAGIC,
            u64::from(VERSION) | (SEGMENT_HEADER_BYTES as u64) << 32,
            self.log as u64,
            (self.log >> 64) as u64,
            u64::from(self.partition),
            self.number,
            self.bytes,
            self.base_position,
            self.tag,
            self.salt,
            self.prepared_ms,
        ];
        let mut bytes = [0; HEADER_BYTES];
        bytes[..HEADER_WORDS * 8].copy_from_slice(words.map(u64::to_le_bytes).as_flattened());
        let checksum = xxh3_64(&bytes[..HEADER_WORDS * 8]);
        bytes[HEADER_WORDS * 8..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderFault> {
        let words: [u64; HEADER_WORDS] = std::array::from_fn(|index| word(bytes, index * 8));
        let [magic, version, _, _, _, _, length, base_position, tag, _, prepared_ms] = words;
        if magic != MAGIC {
            return Err(HeaderFault::Magic(magic));
        }
        if version as u32 != VERSION {
            return Err(HeaderFault::Version(version as u32));
        }
        if word(bytes, HEADER_WORDS * 8) != xxh3_64(&bytes[..HEADER_WORDS * 8]) {
            return Err(HeaderFault::Checksum);
        }
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&length) || !length.is_multiple_of(4096) {
            return Err(HeaderFault::Value("bytes of the file", length));
        }
        if tag == 0 || tag >> TAG_BITS != 0 {
            return Err(HeaderFault::Value("tag", tag));
        }
        if base_position > NUMBER_MAX || !base_position.is_multiple_of(8) {
            return Err(HeaderFault::Value("position of the file", base_position));
        }
        if prepared_ms > NUMBER_MAX {
            return Err(HeaderFault::Value("time of preparation", prepared_ms));
        }
        Ok(Self::as_it_stands(bytes))
    }

    /// What the bytes say, whether they are right or not. For frames to be found whose header is damaged elsewhere: a frame
    /// whose checksum agrees proves tag, salt and position, and nothing else here.
    pub(crate) fn as_it_stands(bytes: &[u8; HEADER_BYTES]) -> Self {
        let words: [u64; HEADER_WORDS] = std::array::from_fn(|index| word(bytes, index * 8));
        let [_, _, log_low, log_high, partition, number, bytes, base_position, tag, salt, prepared_ms] = words;
        let log = u128::from(log_low) | u128::from(log_high) << 64;
        Self { log, partition: partition as u32, number, bytes, base_position, tag, salt, prepared_ms }
    }
}

/// Why a segment takes no more frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealReason {
    /// Its frames and the padding behind them fill it.
    Full,
    /// The log was closed.
    Closed,
    /// Reopening after a crash ended it behind its last whole frame.
    Recovered,
    /// What stood behind was cut off: the START frame of the segment that follows says so.
    Cut,
}

/// Where a segment's frames end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) generation: u64,
    pub(crate) end_units: u64,
    pub(crate) records: u64,
    pub(crate) base_offset: u64,
    pub(crate) latest_ms: u64,
    /// Position up to which everything was known to be durable.
    pub(crate) durable: u64,
    pub(crate) reason: SealReason,
}

impl Seal {
    pub(crate) fn encode(&self, salt: u64) -> [u8; SEAL_BYTES] {
        let reason = match self.reason {
            SealReason::Full => 1,
            SealReason::Closed => 2,
            SealReason::Recovered => 3,
            SealReason::Cut => 4,
        };
        let words: [u64; SEAL_WORDS] =
            [self.generation, self.end_units, self.records, self.base_offset, self.latest_ms, reason, self.durable];
        let mut bytes = [0; SEAL_BYTES];
        bytes[..SEAL_WORDS * 8].copy_from_slice(words.map(u64::to_le_bytes).as_flattened());
        let checksum = xxh3_64(&bytes[..SEAL_WORDS * 8]) ^ salt;
        bytes[SEAL_WORDS * 8..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], header: &SegmentHeader) -> Option<Self> {
        let words: [u64; SEAL_WORDS] = std::array::from_fn(|index| word(bytes, index * 8));
        let [generation, end_units, records, base_offset, latest_ms, reason, durable] = words;
        if word(bytes, SEAL_WORDS * 8) != xxh3_64(&bytes[..SEAL_WORDS * 8]) ^ header.salt {
            return None;
        }
        let reason = match reason {
            1 => SealReason::Full,
            2 => SealReason::Closed,
            3 => SealReason::Recovered,
            4 => SealReason::Cut,
            _ => return None,
        };
        let bounds = SEGMENT_HEADER_BYTES as u64 / 8..=header.bytes / 8;
        let possible =
            generation > 0 && bounds.contains(&end_units) && base_offset <= NUMBER_MAX && latest_ms <= NUMBER_MAX;
        // No more records than frames have room for, each with its length.
        (possible && records <= end_units * 2).then_some(Self {
            generation,
            end_units,
            records,
            base_offset,
            latest_ms,
            durable,
            reason,
        })
    }

    /// The newer valid seal in a segment's first block.
    pub(crate) fn newest(block: &[u8; SEGMENT_HEADER_BYTES], header: &SegmentHeader) -> Option<Self> {
        SEAL_AT
            .into_iter()
            .filter_map(|at| Self::decode(&block[at..at + SEAL_BYTES], header))
            .max_by_key(|seal| seal.generation)
    }

    /// Whether a slot holds something that is no seal: a seal that is torn or damaged.
    pub(crate) fn is_damaged(block: &[u8; SEGMENT_HEADER_BYTES], header: &SegmentHeader) -> bool {
        SEAL_AT.into_iter().any(|at| {
            let slot = &block[at..at + SEAL_BYTES];
            slot.iter().any(|byte| *byte != 0) && Self::decode(slot, header).is_none()
        })
    }

    /// The slot that a seal of this generation is written to: not the one that holds the seal before it.
    pub(crate) const fn slot(&self) -> usize {
        SEAL_AT[(self.generation % 2) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            log: 5,
            partition: 1,
            number: 2,
            bytes: 1 << 20,
            base_position: 1 << 20,
            tag: 0xAB_CDEF_0123,
            salt: 77,
            prepared_ms: 9,
        }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let bytes = header().encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_torn_seal_leaves_the_one_before_it() {
        let header = header();
        let mut block = [0; SEGMENT_HEADER_BYTES];
        assert_eq!(Seal::newest(&block, &header), None);
        let first = Seal {
            generation: 1,
            end_units: 600,
            records: 3,
            base_offset: 10,
            latest_ms: 4,
            durable: 5,
            reason: SealReason::Recovered,
        };
        let second = Seal { generation: 2, end_units: 700, ..first };
        block[first.slot()..first.slot() + SEAL_BYTES].copy_from_slice(&first.encode(header.salt));
        block[second.slot()..second.slot() + SEAL_BYTES].copy_from_slice(&second.encode(header.salt));
        assert_eq!(Seal::newest(&block, &header), Some(second));
        block[second.slot() + 9] ^= 1;
        assert_eq!(Seal::newest(&block, &header), Some(first));
    }
}
