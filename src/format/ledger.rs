//! Entries of the log's ledger: records of its own partition of transactions, and the same as parts of its snapshots.
//!
//! ```text
//! COMMIT   0 type 1: u32        4 epoch: u32        8 producer id       16 transaction number
//!         24 parts: u32        28 offsets: u32     32 the parts, and then the offsets
//! OFFSETS  0 type 2: u32        4 offsets: u32      8 the offsets
//! GROUP    0 type 3: u32        4 bytes of the name: u32                 8 generation      16 name, UTF-8
//! UNDO     0 type 4: u32        4 reserved: u32     8 offset: what stands in the ledger from there up to here counts no more
//!
//! a part   0 partition: u32     4 reserved: u32     8 position of its last frame       16 that frame's checksum
//! an offset
//!          0 partition: u32     4 bytes of the name: u32                 8 generation      16 offset
//!         24 name of the group, UTF-8
//! ```
//!
//! A transaction is committed if and only if its COMMIT is valid, every one before it in the ledger is too, and each part's
//! last frame is where it says, with the checksum that it says: then everything before that frame is there as well.

use crate::ids::ProducerId;

const COMMIT: u32 = 1;
const OFFSETS: u32 = 2;
const GROUP: u32 = 3;
const UNDO: u32 = 4;

/// Where a transaction ends in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommitPart {
    pub(crate) partition: u32,
    /// Of its last frame there.
    pub(crate) position: u64,
    pub(crate) checksum: u64,
}

/// How far a group has come in one partition: the offset that it reads next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupOffset {
    pub(crate) group: Box<str>,
    pub(crate) generation: u64,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LedgerEntry {
    Commit { producer: ProducerId, epoch: u32, transaction: u64, parts: Vec<CommitPart>, offsets: Vec<GroupOffset> },
    Offsets(Vec<GroupOffset>),
    Group { group: Box<str>, generation: u64 },
    Undo { from: u64 },
}

/// Takes numbers off the front of bytes.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn u32(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*head))
    }

    fn u64(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*head))
    }

    fn name(&mut self, bytes: u32) -> Option<Box<str>> {
        let (head, rest) = self.0.split_at_checked(bytes as usize)?;
        self.0 = rest;
        Some(std::str::from_utf8(head).ok()?.into())
    }

    fn offsets(&mut self, count: u32) -> Option<Vec<GroupOffset>> {
        let mut offsets = Vec::new();
        for _ in 0..count {
            let (partition, bytes, generation, offset) = (self.u32()?, self.u32()?, self.u64()?, self.u64()?);
            offsets.push(GroupOffset { group: self.name(bytes)?, generation, partition, offset });
        }
        Some(offsets)
    }

    fn parts(&mut self, count: u32) -> Option<Vec<CommitPart>> {
        let mut parts = Vec::new();
        for _ in 0..count {
            let (partition, _reserved, position, checksum) = (self.u32()?, self.u32()?, self.u64()?, self.u64()?);
            parts.push(CommitPart { partition, position, checksum });
        }
        Some(parts)
    }
}

fn put_offsets(offsets: &[GroupOffset], into: &mut Vec<u8>) {
    for GroupOffset { group, generation, partition, offset } in offsets {
        into.extend(partition.to_le_bytes());
        // A name's length was checked when it was given.
        into.extend((group.len() as u32).to_le_bytes());
        into.extend(generation.to_le_bytes());
        into.extend(offset.to_le_bytes());
        into.extend(group.as_bytes());
    }
}

impl LedgerEntry {
    /// Appends the entry's bytes.
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        match self {
            Self::Commit { producer, epoch, transaction, parts, offsets } => {
                into.extend([COMMIT, *epoch].map(u32::to_le_bytes).as_flattened());
                into.extend([producer.get(), *transaction].map(u64::to_le_bytes).as_flattened());
                into.extend([parts.len() as u32, offsets.len() as u32].map(u32::to_le_bytes).as_flattened());
                for CommitPart { partition, position, checksum } in parts {
                    into.extend([u64::from(*partition), *position, *checksum].map(u64::to_le_bytes).as_flattened());
                }
                put_offsets(offsets, into);
            }
            Self::Offsets(offsets) => {
                into.extend([OFFSETS, offsets.len() as u32].map(u32::to_le_bytes).as_flattened());
                put_offsets(offsets, into);
            }
            Self::Group { group, generation } => {
                into.extend([GROUP, group.len() as u32].map(u32::to_le_bytes).as_flattened());
                into.extend(generation.to_le_bytes());
                into.extend(group.as_bytes());
            }
            Self::Undo { from } => {
                into.extend([UNDO, 0].map(u32::to_le_bytes).as_flattened());
                into.extend(from.to_le_bytes());
            }
        }
    }

    /// The entry that `bytes` are, to the last of them; none if they are none. Takes no memory by a count that the bytes
    /// do not bear out.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        let entry = match bytes.u32()? {
            COMMIT => {
                let (epoch, producer, transaction) = (bytes.u32()?, bytes.u64()?, bytes.u64()?);
                let (parts, offsets) = (bytes.u32()?, bytes.u32()?);
                Self::Commit {
                    producer: ProducerId::from_u64(producer),
                    epoch,
                    transaction,
                    parts: bytes.parts(parts)?,
                    offsets: bytes.offsets(offsets)?,
                }
            }
            OFFSETS => {
                let count = bytes.u32()?;
                Self::Offsets(bytes.offsets(count)?)
            }
            GROUP => {
                let (length, generation) = (bytes.u32()?, bytes.u64()?);
                Self::Group { group: bytes.name(length)?, generation }
            }
            UNDO => {
                let _reserved = bytes.u32()?;
                Self::Undo { from: bytes.u64()? }
            }
            _ => return None,
        };
        bytes.0.is_empty().then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_comes_back_and_no_part_of_one_is_an_entry() {
        let offset = |group: &str, partition| GroupOffset { group: group.into(), generation: 7, partition, offset: 99 };
        let part = |partition| CommitPart { partition, position: 4096, checksum: 0xABCD };
        let entries = [
            LedgerEntry::Commit {
                producer: ProducerId::new(3, 2),
                epoch: 4,
                transaction: 5,
                parts: vec![part(1), part(2)],
                offsets: vec![offset("billing", 1), offset("b\u{e4}r", 2)],
            },
            LedgerEntry::Offsets(vec![offset("billing", 1)]),
            LedgerEntry::Group { group: "billing".into(), generation: 8 },
            LedgerEntry::Undo { from: 8192 },
        ];
        for entry in entries {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            assert_eq!(LedgerEntry::decode(&bytes), Some(entry));
            for cut in 0..bytes.len() {
                assert_eq!(LedgerEntry::decode(&bytes[..cut]), None, "cut to {cut}");
            }
            bytes.push(0);
            assert_eq!(LedgerEntry::decode(&bytes), None, "longer than it says");
        }
    }

    #[test]
    fn a_count_that_the_bytes_do_not_bear_out_takes_no_memory() {
        let mut bytes = Vec::new();
        bytes.extend([OFFSETS, u32::MAX].map(u32::to_le_bytes).as_flattened());
        assert_eq!(LedgerEntry::decode(&bytes), None);
    }
}
