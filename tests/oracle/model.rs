//! The oracle: what every append is to be answered with, by a `Vec` of records for each partition and a map of producers.

use super::ops::bytes_of;
use oncelog::{Answer, Mode, ProducerId, Stamp};
use std::collections::BTreeMap;

pub const PARTITIONS: [&str; 2] = ["orders", "others"];
pub const NAMES: [&str; 3] = ["a", "b", "c"];

/// What the oracle knows of a live producer.
pub struct Producer {
    pub id: ProducerId,
    pub epoch: u32,
    pub mode: Mode,
    /// By partition and sequence: the record's offset.
    pub offsets: [Vec<u64>; PARTITIONS.len()],
}

/// A record; none where an offset was given up.
pub type Stored = Option<(Vec<u8>, Option<Stamp>)>;

#[derive(Default)]
pub struct Oracle {
    /// By offset.
    pub records: [Vec<Stored>; PARTITIONS.len()],
    pub producers: BTreeMap<&'static str, Producer>,
    /// Every id that was ever given.
    pub ids: Vec<ProducerId>,
}

/// What an append is answered with, as far as the two modes agree.
#[derive(Debug, PartialEq)]
pub enum Expected {
    Answer(Answer),
    WrongMode,
}

impl Oracle {
    pub fn live(&mut self, id: ProducerId) -> Option<&mut Producer> {
        self.producers.values_mut().find(|producer| producer.id == id)
    }

    /// The answer to an append of these bytes, which it stores if they are to be appended. None stands for bytes that are
    /// not compared.
    pub fn append(&mut self, stamp: Stamp, mode: Mode, partition: usize, bytes: &[Option<Vec<u8>>]) -> Expected {
        let end = self.records[partition].len() as u64;
        let Some(at) = self.producers.values_mut().find(|producer| producer.id == stamp.producer) else {
            return Expected::Answer(Answer::UnknownProducer);
        };
        if mode == Mode::ById && at.mode != mode {
            return Expected::WrongMode;
        }
        if stamp.epoch > at.epoch {
            return Expected::Answer(Answer::EpochNotIssued { current: at.epoch });
        }
        if (stamp.epoch, mode) != (at.epoch, at.mode) {
            return Expected::Answer(Answer::Fenced { epoch: at.epoch });
        }
        let offsets = &mut at.offsets[partition];
        let expected = offsets.len() as u64;
        let behind = stamp.sequence + bytes.len() as u64;
        Expected::Answer(if stamp.sequence > expected {
            Answer::OutOfOrder { expected }
        } else if stamp.sequence == expected {
            for (bytes, offset) in bytes.iter().zip(end..) {
                let sequence = offsets.len() as u64;
                offsets.push(offset);
                let bytes = bytes.clone().expect("what is appended has bytes");
                self.records[partition].push(Some((bytes, Some(Stamp { sequence, ..stamp }))));
            }
            Answer::Appended { first: end, last: end + bytes.len() as u64 - 1 }
        } else if behind > expected {
            Answer::Overlap { expected }
        } else {
            let offsets = &offsets[stamp.sequence as usize..behind as usize];
            let same = offsets.iter().zip(bytes).all(|(offset, bytes)| {
                let stored = self.records[partition][*offset as usize].as_ref();
                bytes.is_none() || stored.map(|stored| &stored.0) == bytes.as_ref()
            });
            match same {
                true => Answer::Duplicate { first: offsets[0], last: offsets[offsets.len() - 1] },
                false => Answer::SequenceReused { expected },
            }
        })
    }

    /// Cuts a partition. Who wrote beyond is fenced: his next sequence is the first that is gone.
    pub fn truncate(&mut self, partition: usize, from: u64) -> Vec<ProducerId> {
        let records = &mut self.records[partition];
        if from == records.len() as u64 {
            return Vec::new();
        }
        records.truncate(from as usize);
        let mut fenced = Vec::new();
        for producer in self.producers.values_mut() {
            let offsets = &mut producer.offsets[partition];
            if offsets.last().is_some_and(|last| *last >= from) {
                offsets.retain(|offset| *offset < from);
                producer.epoch += 1;
                fenced.push(producer.id);
            }
        }
        fenced.sort();
        fenced
    }

    /// The bytes to send: what is stored under these sequences, and for new ones what the payloads say.
    pub fn bytes(
        &mut self,
        id: ProducerId,
        partition: usize,
        sequence: u64,
        payloads: &[u8],
        other: bool,
    ) -> Vec<Vec<u8>> {
        let offsets = self.live(id).map(|producer| producer.offsets[partition].clone()).unwrap_or_default();
        let stored = |sequence: u64| {
            let offset = offsets.get(usize::try_from(sequence).ok()?)?;
            self.records[partition][*offset as usize].as_ref().map(|stored| stored.0.clone())
        };
        let sent = payloads.iter().zip(sequence..).map(|(payload, sequence)| match stored(sequence) {
            Some(bytes) if !other => bytes,
            _ => bytes_of(*payload),
        });
        sent.collect()
    }
}
