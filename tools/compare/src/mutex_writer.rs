//! What many programs begin with: a mutex around a buffered writer.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use crate::case::{Case, Level};
use crate::contender::{Contender, Failure, Lane, time};

const BUFFER_BYTES: usize = 1 << 20;

/// See the head of this file.
pub struct MutexWriter {
    lanes: Vec<Shared>,
    case: Case,
}

struct Shared {
    writer: Arc<Mutex<BufWriter<File>>>,
    level: Level,
}

impl MutexWriter {
    /// One file for all threads.
    pub fn open(case: Case, dir: &Path) -> Result<Self, Failure> {
        let file = File::create(dir.join("log"))?;
        let writer = Arc::new(Mutex::new(BufWriter::with_capacity(BUFFER_BYTES, file)));
        let lane = |_| Shared { writer: Arc::clone(&writer), level: case.level };
        Ok(Self { lanes: (0..case.threads).map(lane).collect(), case })
    }
}

impl Contender for MutexWriter {
    fn block(&mut self, ring: &[&[u8]], calls: u64) -> Result<f64, Failure> {
        time(&mut self.lanes, ring, self.case.batch, calls)
    }
}

impl Lane for Shared {
    #[inline]
    fn append(&mut self, records: &[&[u8]]) -> Result<(), Failure> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            writer.write_all(&u32::try_from(record.len())?.to_le_bytes())?;
            writer.write_all(&xxh3_64(record).to_le_bytes())?;
            writer.write_all(record)?;
        }
        if self.level == Level::Durable {
            writer.flush()?;
            writer.get_ref().sync_data()?;
        }
        Ok(())
    }
}
