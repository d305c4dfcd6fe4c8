//! A design like Kafka's: one lock a partition, in which a batch's sequence is checked, its offset given, and its bytes
//! written to the file of the active segment through the system's cache.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use crate::case::{Case, Level};
use crate::contender::{Contender, Failure, Lane, time};

/// Base offset, length, checksum, producer, epoch, sequence, count of records.
const HEADER_BYTES: usize = 8 + 4 + 8 + 8 + 4 + 8 + 4;

struct Partition {
    file: File,
    next_offset: u64,
    /// The next sequence of each producer.
    sequences: HashMap<u64, u64>,
}

/// See the head of this file.
pub struct KafkaLike {
    lanes: Vec<Producer>,
    partition: Arc<Mutex<Partition>>,
    case: Case,
}

struct Producer {
    id: u64,
    sequence: u64,
    /// The batch as it is written; the header's first field is filled in under the lock.
    batch: Vec<u8>,
    partition: Arc<Mutex<Partition>>,
    level: Level,
}

impl KafkaLike {
    /// One partition for all threads, a producer for each.
    pub fn open(case: Case, dir: &Path) -> Result<Self, Failure> {
        let file = File::create(dir.join("00000000000000000000.log"))?;
        let partition = Arc::new(Mutex::new(Partition { file, next_offset: 0, sequences: HashMap::new() }));
        let lane =
            |id| Producer { id, sequence: 0, batch: Vec::new(), partition: Arc::clone(&partition), level: case.level };
        Ok(Self { lanes: (0..case.threads as u64).map(lane).collect(), partition, case })
    }
}

impl Contender for KafkaLike {
    fn block(&mut self, ring: &[&[u8]], calls: u64) -> Result<f64, Failure> {
        time(&mut self.lanes, ring, self.case.batch, calls)
    }

    fn records(&mut self) -> Option<u64> {
        Some(self.partition.lock().unwrap_or_else(PoisonError::into_inner).next_offset)
    }
}

impl Lane for Producer {
    #[inline]
    fn append(&mut self, records: &[&[u8]]) -> Result<(), Failure> {
        let count = records.len() as u64;
        self.batch.clear();
        self.batch.resize(HEADER_BYTES, 0);
        for record in records {
            self.batch.extend_from_slice(&u32::try_from(record.len())?.to_le_bytes());
            self.batch.extend_from_slice(record);
        }
        let length = u32::try_from(self.batch.len())?;
        let checksum = xxh3_64(&self.batch[HEADER_BYTES..]);
        self.batch[8..12].copy_from_slice(&length.to_le_bytes());
        self.batch[12..20].copy_from_slice(&checksum.to_le_bytes());
        self.batch[20..28].copy_from_slice(&self.id.to_le_bytes());
        self.batch[32..40].copy_from_slice(&self.sequence.to_le_bytes());
        self.batch[40..44].copy_from_slice(&u32::try_from(count)?.to_le_bytes());

        let mut partition = self.partition.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = *partition.sequences.entry(self.id).or_insert(0);
        if self.sequence != expected {
            return Err(format!("sequence {} where {expected} is expected", self.sequence).into());
        }
        self.batch[..8].copy_from_slice(&partition.next_offset.to_le_bytes());
        partition.file.write_all(&self.batch)?;
        if self.level == Level::Durable {
            partition.file.sync_data()?;
        }
        partition.next_offset += count;
        partition.sequences.insert(self.id, expected + count);
        self.sequence += count;
        Ok(())
    }
}
