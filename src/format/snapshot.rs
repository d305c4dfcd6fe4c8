//! A snapshot file: a partition's producers as of a sealed segment's end, and nothing above it.
//!
//! ```text
//!   0 magic "ONCESNAP"                 48 end position: of the last frame's end
//!   8 version: u32, reserved: u32      56 end offset
//!  16 log identity, 16 bytes           64 producers
//!  32 partition number: u32, reserved  72 bytes of registrations
//!  40 segment number                   80 open transactions (none in version 1)
//!  88 producers, 48 bytes each, by slot, ascending:
//!       0 producer id    8 epoch: u32, reserved: u32   16 sequence that comes next
//!      24 position of the last batch                   32 its time   40 transaction number
//!   . registrations (`registration.rs`): only in the log's own partition of producers
//!   . checksum: xxh3-64 of all bytes before
//! ```

use super::{VERSION, registration::RegistrationEntry};
use crate::ids::{ProducerId, Progress};
use std::{fs::File, io, os::unix::fs::FileExt};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: u64 = u64::from_le_bytes(*b"ONCESNAP");
const HEADER_WORDS: usize = 11;
const HEADER_BYTES: usize = HEADER_WORDS * 8;
const ENTRY_WORDS: usize = 6;
const ENTRY_BYTES: usize = ENTRY_WORDS * 8;
const CHECKSUM_BYTES: usize = 8;

/// Which partition a snapshot is of, and up to where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotHeader {
    pub(crate) log: u128,
    pub(crate) partition: u32,
    pub(crate) segment: u64,
    pub(crate) end_position: u64,
    pub(crate) end_offset: u64,
}

/// One producer as of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerEntry {
    pub(crate) id: ProducerId,
    pub(crate) epoch: u32,
    pub(crate) progress: Progress,
}

/// A snapshot's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) header: SnapshotHeader,
    /// Ascending by slot.
    pub(crate) producers: Vec<ProducerEntry>,
    pub(crate) registrations: Vec<RegistrationEntry>,
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn decode_entry(bytes: &[u8; ENTRY_BYTES]) -> ProducerEntry {
    let words: [u64; ENTRY_WORDS] =
        std::array::from_fn(|index| u64::from_le_bytes(std::array::from_fn(|at| bytes[index * 8 + at])));
    let [id, epoch, expected, last_position, last_ms, _] = words;
    let progress = Progress { expected, last_position, last_ms };
    ProducerEntry { id: ProducerId::from_u64(id), epoch: epoch as u32, progress }
}

impl Snapshot {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut registrations = Vec::new();
        for entry in &self.registrations {
            entry.encode(&mut registrations);
        }
        let header: [u64; HEADER_WORDS] = [
            MAGIC,
            u64::from(VERSION),
            self.header.log as u64,
            (self.header.log >> 64) as u64,
            u64::from(self.header.partition),
            self.header.segment,
            self.header.end_position,
            self.header.end_offset,
            self.producers.len() as u64,
            registrations.len() as u64,
            0,
        ];
        let length = HEADER_BYTES + self.producers.len() * ENTRY_BYTES + registrations.len() + CHECKSUM_BYTES;
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(header.map(u64::to_le_bytes).as_flattened());
        for ProducerEntry { id, epoch, progress } in &self.producers {
            let words: [u64; ENTRY_WORDS] =
                [id.get(), u64::from(*epoch), progress.expected, progress.last_position, progress.last_ms, 0];
            bytes.extend(words.map(u64::to_le_bytes).as_flattened());
        }
        bytes.extend(registrations);
        let checksum = xxh3_64(&bytes);
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    /// The snapshot in `bytes`, or what is wrong with them. Believes no length that the bytes do not have.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let body = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or("it is cut short")?;
        if body < HEADER_BYTES {
            return Err("it is cut short");
        }
        let header: [u64; HEADER_WORDS] = std::array::from_fn(|index| word(bytes, index * 8).unwrap_or(0));
        let [magic, version, low, high, partition, segment, end_position, end_offset, producers, registered, open] =
            header;
        if magic != MAGIC {
            return Err("it does not begin as a snapshot does");
        }
        if version as u32 != VERSION {
            return Err("it has another version");
        }
        if word(bytes, body) != Some(xxh3_64(&bytes[..body])) {
            return Err("its checksum does not agree");
        }
        if open != 0 {
            return Err("it holds transactions, which this version does not have");
        }
        let producers_bytes = producers.checked_mul(ENTRY_BYTES as u64).ok_or("it counts too many producers")?;
        if (HEADER_BYTES as u64).checked_add(producers_bytes).and_then(|end| end.checked_add(registered))
            != Some(body as u64)
        {
            return Err("its lengths do not add up");
        }
        let (entries, mut rest) = bytes[HEADER_BYTES..body].split_at(producers_bytes as usize);
        let producers = entries.as_chunks::<ENTRY_BYTES>().0.iter().map(decode_entry).collect();
        let mut registrations = Vec::new();
        while !rest.is_empty() {
            let (entry, following) = RegistrationEntry::decode(rest).ok_or("it holds a broken registration")?;
            registrations.push(entry);
            rest = following;
        }
        let log = u128::from(low) | u128::from(high) << 64;
        let header = SnapshotHeader { log, partition: partition as u32, segment, end_position, end_offset };
        Ok(Self { header, producers, registrations })
    }

    /// Looks one producer up in a snapshot file without reading the rest of it. A hint: the file's checksum is not
    /// looked at, so what is found must be proved by the frame it leads to.
    pub(crate) fn look_up(file: &File, producer: ProducerId) -> io::Result<Option<ProducerEntry>> {
        let length = file.metadata()?.len();
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        let counted = word(&header, 64).unwrap_or(0);
        let mut low = 0;
        let mut high = counted.min(length.saturating_sub((HEADER_BYTES + CHECKSUM_BYTES) as u64) / ENTRY_BYTES as u64);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut bytes = [0; ENTRY_BYTES];
            file.read_exact_at(&mut bytes, HEADER_BYTES as u64 + middle * ENTRY_BYTES as u64)?;
            let entry = decode_entry(&bytes);
            match entry.id.slot().cmp(&producer.slot()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok((entry.id == producer).then_some(entry)),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Mode;

    fn snapshot() -> Snapshot {
        let producers = [2_u32, 5, 9].map(|slot| ProducerEntry {
            id: ProducerId::new(slot, 1),
            epoch: 3,
            progress: Progress { expected: 10 + u64::from(slot), last_position: 4096, last_ms: 7 },
        });
        let registration = RegistrationEntry {
            id: ProducerId::new(2, 1),
            epoch: 3,
            mode: Mode::Session,
            live: true,
            at_ms: 6,
            name: "two".into(),
        };
        Snapshot {
            header: SnapshotHeader { log: 1 << 80, partition: 4, segment: 6, end_position: 1 << 20, end_offset: 99 },
            producers: producers.to_vec(),
            registrations: vec![registration],
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let bytes = snapshot().encode();
        assert_eq!(Snapshot::decode(&bytes), Ok(snapshot()));
        for cut in 0..bytes.len() {
            assert!(Snapshot::decode(&bytes[..cut]).is_err(), "cut to {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Snapshot::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn one_producer_is_found_without_the_others() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        io::Write::write_all(&mut file, &snapshot().encode()).expect("written");
        for entry in snapshot().producers {
            assert_eq!(Snapshot::look_up(&file, entry.id).expect("read"), Some(entry));
            let successor = ProducerId::new(entry.id.slot(), 2);
            assert_eq!(Snapshot::look_up(&file, successor).expect("read"), None);
        }
        assert_eq!(Snapshot::look_up(&file, ProducerId::new(3, 1)).expect("read"), None);
    }
}
