//! okaywal: every commit is durable, and commits of several threads share a flush.

use std::path::Path;

use okaywal::{Configuration, LogVoid, WriteAheadLog};

use crate::case::{Case, Level};
use crate::contender::{Contender, Failure, Lane, time};

const SEGMENT_BYTES: u32 = 64 << 20;
const CHECKPOINT_BYTES: u64 = 48 << 20;
const BUFFER_BYTES: usize = 64 << 10;

struct Rival {
    lanes: Vec<Writer>,
    case: Case,
}

struct Writer(WriteAheadLog);

/// None where nothing is to be synced: it has no such commit.
pub fn open(case: Case, dir: &Path) -> Result<Option<Box<dyn Contender>>, Failure> {
    if case.level == Level::NotSynced {
        return Ok(None);
    }
    let configuration = Configuration::default_for(dir)
        .preallocate_bytes(SEGMENT_BYTES)
        .checkpoint_after_bytes(CHECKPOINT_BYTES)
        .buffer_bytes(BUFFER_BYTES);
    // Nothing is kept of what is checkpointed: the log alone is compared.
    let log = configuration.open(LogVoid)?;
    let lanes = (0..case.threads).map(|_| Writer(log.clone())).collect();
    Ok(Some(Box::new(Rival { lanes, case })))
}

impl Contender for Rival {
    fn block(&mut self, ring: &[&[u8]], calls: u64) -> Result<f64, Failure> {
        time(&mut self.lanes, ring, self.case.batch, calls)
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        // Its threads end with the last handle; shutting down waits for them.
        if let Some(Writer(log)) = self.lanes.pop() {
            self.lanes.clear();
            let _ = log.shutdown();
        }
    }
}

impl Lane for Writer {
    #[inline]
    fn append(&mut self, records: &[&[u8]]) -> Result<(), Failure> {
        let mut entry = self.0.begin_entry()?;
        for record in records {
            entry.write_chunk(record)?;
        }
        entry.commit()?;
        Ok(())
    }
}
