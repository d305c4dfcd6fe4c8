//! A snapshot file: a partition's producers as of a sealed segment's end, and nothing above it.
//!
//! ```text
//!   0 magic "ONCESNAP"                 48 end position: of the last frame's end
//!   8 version: u32, bytes beside: u32  56 end offset
//!  16 log identity, 16 bytes           64 producers
//!  32 partition number: u32, reserved  72 bytes of registrations
//!  40 segment number                   80 undecided transactions
//!                                      88 aborted transactions
//!                                      96 bytes of the ledger
//! 104 producers, 48 bytes each, by slot, ascending:
//!       0 producer id    8 epoch: u32, reserved: u32   16 sequence that comes next
//!      24 position of the last batch                   32 its time   40 its latest transaction here
//!   . undecided transactions, 80 bytes each, by producer and number:
//!       0 producer id    8 transaction number          16 epoch: u32, reserved: u32   24 its first offset here
//!      32 where it ends so far: offset of its last record, sequence behind it, position behind its last frame
//!      56 the producer's state before it: sequence that comes next, position of the last batch, its time
//!   . aborted transactions, 48 bytes each, in the order of their markers:
//!       0 producer id    8 transaction number          16 the marker's position
//!      24 where it ended: as above; all 0 where that is not known
//!   . registrations (`registration.rs`): only in the log's own partition of producers
//!   . ledger (`ledger.rs`), each entry behind its length, u32: only in the log's own partition of transactions
//!   . beside, if there is anything: offset at which the log starts, u64; length of the metadata and one, u32, or 0 for none;
//!     the metadata; if anything was ever cut off, the lowest offset of it that is known, u64
//!   . checksum: xxh3-64 of all bytes before
//! ```

use super::{NUMBER_MAX, VERSION, ledger::LedgerEntry, registration::RegistrationEntry};
use crate::ids::{ProducerId, Progress};
use std::{fs::File, io, os::unix::fs::FileExt};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: u64 = u64::from_le_bytes(*b"ONCESNAP");
const HEADER_WORDS: usize = 13;
const HEADER_BYTES: usize = HEADER_WORDS * 8;
const ENTRY_WORDS: usize = 6;
const ENTRY_BYTES: usize = ENTRY_WORDS * 8;
const UNDECIDED_WORDS: usize = 10;
const ABORTED_WORDS: usize = 6;
const CHECKSUM_BYTES: usize = 8;
/// Bytes before each entry of the ledger: its length.
const LENGTH_BYTES: usize = 4;

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
    /// The latest transaction that it has written in here; 0 for none.
    pub(crate) transaction: u64,
}

/// Where a transaction's frames in a partition end. From a frame of it on, all offsets are its own if there are as many as
/// sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Of its last record.
    pub(crate) last_offset: u64,
    /// Behind its last record.
    pub(crate) end_sequence: u64,
    /// Behind its last frame.
    pub(crate) end_position: u64,
}

/// A transaction with frames in the partition, and no marker behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Undecided {
    pub(crate) producer: ProducerId,
    pub(crate) transaction: u64,
    pub(crate) epoch: u32,
    pub(crate) first_offset: u64,
    pub(crate) end: Extent,
    /// The producer's before its first frame: what an abort goes back to.
    pub(crate) before: Progress,
}

/// An aborted transaction whose frames may still be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer: ProducerId,
    pub(crate) transaction: u64,
    /// Of its marker: below, there may be frames of it.
    pub(crate) marker: u64,
    pub(crate) end: Extent,
}

/// A snapshot's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) header: SnapshotHeader,
    /// Ascending by slot.
    pub(crate) producers: Vec<ProducerEntry>,
    /// Ascending by producer and number.
    pub(crate) undecided: Vec<Undecided>,
    /// In the order of their markers.
    pub(crate) aborted: Vec<Aborted>,
    pub(crate) registrations: Vec<RegistrationEntry>,
    pub(crate) ledger: Vec<LedgerEntry>,
    pub(crate) beside: Beside,
}

/// What stands beside a partition's records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beside {
    /// Offset at which the log starts, where that is said; else 0.
    pub(crate) start: u64,
    /// The embedder's.
    pub(crate) metadata: Option<Box<[u8]>>,
    /// The lowest offset that was cut off, of those that are known.
    pub(crate) cut: Option<u64>,
}

impl Beside {
    fn encode(&self, into: &mut Vec<u8>) {
        if *self == Self::default() {
            return;
        }
        into.extend(self.start.to_le_bytes());
        // A length was checked when the metadata was given.
        let length = self.metadata.as_ref().map_or(0, |metadata| metadata.len() as u32 + 1);
        into.extend(length.to_le_bytes());
        into.extend(self.metadata.iter().flat_map(|metadata| metadata.iter()));
        into.extend(self.cut.iter().flat_map(|cut| cut.to_le_bytes()));
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let (start, rest) = bytes.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (metadata, rest) = match u32::from_le_bytes(*length).checked_sub(1) {
            Some(length) => {
                rest.split_at_checked(length as usize).map(|(metadata, rest)| (Some(metadata.into()), rest))?
            }
            None => (None, rest),
        };
        let cut = match rest.split_first_chunk::<8>() {
            Some((cut, [])) => Some(u64::from_le_bytes(*cut)),
            None if rest.is_empty() => None,
            _ => return None,
        };
        let start = u64::from_le_bytes(*start);
        (start <= NUMBER_MAX && cut.is_none_or(|cut| cut <= NUMBER_MAX)).then_some(Self { start, metadata, cut })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Takes `N` words off the front of bytes.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u64; N]> {
    let (head, rest) = bytes.split_at_checked(N * 8)?;
    *bytes = rest;
    Some(std::array::from_fn(|index| u64::from_le_bytes(std::array::from_fn(|at| head[index * 8 + at]))))
}

fn put<const N: usize>(words: [u64; N], into: &mut Vec<u8>) {
    into.extend(words.map(u64::to_le_bytes).as_flattened());
}

/// The first entry of a ledger's bytes, and what follows it.
fn ledger_entry(bytes: &[u8]) -> Option<(LedgerEntry, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    let (entry, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((LedgerEntry::decode(entry)?, rest))
}

impl ProducerEntry {
    const fn words(&self) -> [u64; ENTRY_WORDS] {
        let Progress { expected, last_position, last_ms } = self.progress;
        [self.id.get(), self.epoch as u64, expected, last_position, last_ms, self.transaction]
    }

    const fn from_words([id, epoch, expected, last_position, last_ms, transaction]: [u64; ENTRY_WORDS]) -> Self {
        let progress = Progress { expected, last_position, last_ms };
        Self { id: ProducerId::from_u64(id), epoch: epoch as u32, progress, transaction }
    }
}

impl Extent {
    const fn words(&self) -> [u64; 3] {
        [self.last_offset, self.end_sequence, self.end_position]
    }

    const fn from_words([last_offset, end_sequence, end_position]: [u64; 3]) -> Self {
        Self { last_offset, end_sequence, end_position }
    }
}

impl Undecided {
    const fn words(&self) -> [u64; UNDECIDED_WORDS] {
        let Progress { expected, last_position, last_ms } = self.before;
        let Self { producer, transaction, epoch, first_offset, .. } = *self;
        let [last, sequence, end] = self.end.words();
        [producer.get(), transaction, epoch as u64, first_offset, last, sequence, end, expected, last_position, last_ms]
    }

    const fn from_words(words: [u64; UNDECIDED_WORDS]) -> Self {
        let [producer, transaction, epoch, first_offset, last, sequence, end, expected, last_position, last_ms] = words;
        let before = Progress { expected, last_position, last_ms };
        let (producer, end) = (ProducerId::from_u64(producer), Extent::from_words([last, sequence, end]));
        Self { producer, transaction, epoch: epoch as u32, first_offset, end, before }
    }
}

/// Entries of a fixed length, if there are as many as were counted.
fn entries<const N: usize, T>(bytes: &mut &[u8], count: u64, from: fn([u64; N]) -> T) -> Option<Vec<T>> {
    let length = usize::try_from(count).ok()?.checked_mul(N * 8).filter(|length| *length <= bytes.len())?;
    let (mut head, rest) = bytes.split_at(length);
    *bytes = rest;
    Some(std::iter::from_fn(|| take(&mut head).map(from)).collect())
}

impl Snapshot {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut registrations = Vec::new();
        for entry in &self.registrations {
            entry.encode(&mut registrations);
        }
        let mut ledger = Vec::new();
        for entry in &self.ledger {
            let at = ledger.len();
            ledger.extend([0; LENGTH_BYTES]);
            entry.encode(&mut ledger);
            let length = (ledger.len() - at - LENGTH_BYTES) as u32;
            ledger[at..at + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        }
        let mut beside = Vec::new();
        self.beside.encode(&mut beside);
        let header: [u64; HEADER_WORDS] = [
            MAGIC,
            u64::from(VERSION) | (beside.len() as u64) << 32,
            self.header.log as u64,
            (self.header.log >> 64) as u64,
            u64::from(self.header.partition),
            self.header.segment,
            self.header.end_position,
            self.header.end_offset,
            self.producers.len() as u64,
            registrations.len() as u64,
            self.undecided.len() as u64,
            self.aborted.len() as u64,
            ledger.len() as u64,
        ];
        let length = (HEADER_WORDS
            + self.producers.len() * ENTRY_WORDS
            + self.undecided.len() * UNDECIDED_WORDS
            + self.aborted.len() * ABORTED_WORDS)
            * 8;
        let mut bytes = Vec::with_capacity(length + registrations.len() + ledger.len() + beside.len() + CHECKSUM_BYTES);
        put(header, &mut bytes);
        for producer in &self.producers {
            put(producer.words(), &mut bytes);
        }
        for undecided in &self.undecided {
            put(undecided.words(), &mut bytes);
        }
        for Aborted { producer, transaction, marker, end } in &self.aborted {
            let [last, sequence, position] = end.words();
            put([producer.get(), *transaction, *marker, last, sequence, position], &mut bytes);
        }
        bytes.extend(registrations);
        bytes.extend(ledger);
        bytes.extend(beside);
        let checksum = xxh3_64(&bytes);
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    /// The snapshot in `bytes`, or what is wrong with them. Believes no length that the bytes do not have.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let body = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or("it is cut short")?;
        let mut rest = &bytes[..body];
        let header: [u64; HEADER_WORDS] = take(&mut rest).ok_or("it is cut short")?;
        let [magic, version, low, high, partition, segment, end_position, end_offset, producers, registered, ..] =
            header;
        let [.., undecided, aborted, ledger] = header;
        if magic != MAGIC {
            return Err("it does not begin as a snapshot does");
        }
        if version as u32 != VERSION {
            return Err("it has another version");
        }
        if word(bytes, body) != Some(xxh3_64(&bytes[..body])) {
            return Err("its checksum does not agree");
        }
        let too_many = "its lengths do not add up";
        let producers = entries(&mut rest, producers, ProducerEntry::from_words).ok_or(too_many)?;
        let undecided = entries(&mut rest, undecided, Undecided::from_words).ok_or(too_many)?;
        let aborted =
            entries(&mut rest, aborted, |[producer, transaction, marker, last, sequence, position]| Aborted {
                producer: ProducerId::from_u64(producer),
                transaction,
                marker,
                end: Extent::from_words([last, sequence, position]),
            });
        let aborted = aborted.ok_or(too_many)?;
        let before = rest.len().checked_sub((version >> 32) as usize).ok_or(too_many)?;
        let (rest, beside) = rest.split_at(before);
        let beside = Beside::decode(beside).ok_or("what it holds beside the records is broken")?;
        if registered.checked_add(ledger) != Some(rest.len() as u64) {
            return Err(too_many);
        }
        let (mut registered, mut ledger_bytes) = rest.split_at(registered as usize);
        let mut registrations = Vec::new();
        while !registered.is_empty() {
            let (entry, following) = RegistrationEntry::decode(registered).ok_or("it holds a broken registration")?;
            registrations.push(entry);
            registered = following;
        }
        let mut ledger = Vec::new();
        while !ledger_bytes.is_empty() {
            let (entry, following) = ledger_entry(ledger_bytes).ok_or("it holds a broken entry of the ledger")?;
            ledger.push(entry);
            ledger_bytes = following;
        }
        if end_position > NUMBER_MAX || end_offset > NUMBER_MAX {
            return Err("it stands where no partition ends");
        }
        let log = u128::from(low) | u128::from(high) << 64;
        if beside.start > end_offset {
            return Err("it lets the log start behind its own end");
        }
        let header = SnapshotHeader { log, partition: partition as u32, segment, end_position, end_offset };
        Ok(Self { header, producers, undecided, aborted, registrations, ledger, beside })
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
            let Some(entry) = take(&mut bytes.as_slice()).map(ProducerEntry::from_words) else { break };
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
            transaction: 2,
        });
        let undecided = Undecided {
            producer: ProducerId::new(2, 1),
            transaction: 2,
            epoch: 3,
            first_offset: 88,
            end: Extent { last_offset: 98, end_sequence: 12, end_position: 8264 },
            before: Progress { expected: 10, last_position: 4096, last_ms: 6 },
        };
        let end = Extent { last_offset: 80, end_sequence: 9, end_position: 5992 };
        let aborted = Aborted { producer: ProducerId::new(5, 1), transaction: 1, marker: 6000, end };
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
            undecided: vec![undecided],
            aborted: vec![aborted, Aborted { transaction: 2, ..aborted }],
            registrations: vec![registration],
            ledger: vec![LedgerEntry::Undo { from: 7 }, LedgerEntry::Group { group: "g".into(), generation: 1 }],
            beside: Beside { start: 40, metadata: Some(b"vote".as_slice().into()), cut: Some(7) },
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
