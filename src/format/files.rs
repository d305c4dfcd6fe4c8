//! The two small files that say what a directory is: `log` in a log's, `partition` in a partition's.
//!
//! ```text
//!   0 magic "ONCELOG1" or "ONCEPART"
//!   8 version: u32, reserved: u32
//!  16 log identity, 16 bytes: random, the same in every file of a log
//!  32 partition number: u32, reserved: u32
//!  40 checksum: xxh3-64 of the 40 bytes before
//! ```

use super::VERSION;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of either file.
pub(crate) const IDENTITY_BYTES: usize = 48;

/// What a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Directory {
    Log,
    Partition { number: u32 },
}

/// Which log a directory belongs to, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) log: u128,
    pub(crate) directory: Directory,
}

/// Why a file does not say what its directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdentityFault {
    Length(usize),
    Magic(u64),
    Version(u32),
    Checksum,
}

const LOG_MAGIC: u64 = u64::from_le_bytes(*b"ONCELOG1");
const PARTITION_MAGIC: u64 = u64::from_le_bytes(*b"ONCEPART");

impl Identity {
    pub(crate) fn encode(&self) -> [u8; IDENTITY_BYTES] {
        let (magic, number) = match self.directory {
            Directory::Log => (LOG_MAGIC, 0),
            Directory::Partition { number } => (PARTITION_MAGIC, number),
        };
        let words = [magic, u64::from(VERSION), self.log as u64, (self.log >> 64) as u64, u64::from(number)];
        let mut bytes = [0; IDENTITY_BYTES];
        bytes[..40].copy_from_slice(words.map(u64::to_le_bytes).as_flattened());
        let checksum = xxh3_64(&bytes[..40]);
        bytes[40..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, IdentityFault> {
        let bytes: &[u8; IDENTITY_BYTES] = bytes.try_into().map_err(|_| IdentityFault::Length(bytes.len()))?;
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
        let directory = match word(0) {
            LOG_MAGIC => Directory::Log,
            PARTITION_MAGIC => Directory::Partition { number: word(32) as u32 },
            other => return Err(IdentityFault::Magic(other)),
        };
        if word(8) as u32 != VERSION {
            return Err(IdentityFault::Version(word(8) as u32));
        }
        if word(40) != xxh3_64(&bytes[..40]) {
            return Err(IdentityFault::Checksum);
        }
        Ok(Self { log: u128::from(word(16)) | u128::from(word(24)) << 64, directory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let identity = Identity { log: 1 << 70 | 5, directory: Directory::Partition { number: 3 } };
        let bytes = identity.encode();
        assert_eq!(Identity::decode(&bytes), Ok(identity));
        assert_eq!(Identity::decode(&bytes[1..]), Err(IdentityFault::Length(47)));
        for bit in 0..IDENTITY_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Identity::decode(&flipped).is_err(), "bit {bit}");
        }
    }
}
