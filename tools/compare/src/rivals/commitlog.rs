//! commitlog: a segmented log with an index, for one thread; several share it behind a mutex.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use commitlog::message::MessageBuf;
use commitlog::{CommitLog, LogOptions};

use crate::case::{Case, Level};
use crate::contender::{Contender, Failure, Lane, time};

/// So that no index has to grow while it is timed.
const INDEX_ITEMS: usize = 16 << 20;
const SEGMENT_BYTES: usize = 1 << 30;

struct Rival {
    lanes: Vec<Shared>,
    log: Arc<Mutex<CommitLog>>,
    case: Case,
}

struct Shared {
    log: Arc<Mutex<CommitLog>>,
    messages: MessageBuf,
}

/// None where durable is asked for: its `flush` calls `File::flush`, which does nothing.
pub fn open(case: Case, dir: &Path) -> Result<Option<Box<dyn Contender>>, Failure> {
    if case.level == Level::Durable {
        return Ok(None);
    }
    let mut options = LogOptions::new(dir);
    options.segment_max_bytes(SEGMENT_BYTES).index_max_items(INDEX_ITEMS);
    let log = Arc::new(Mutex::new(CommitLog::new(options)?));
    let lane = |_| Shared { log: Arc::clone(&log), messages: MessageBuf::default() };
    Ok(Some(Box::new(Rival { lanes: (0..case.threads).map(lane).collect(), log, case })))
}

impl Contender for Rival {
    fn block(&mut self, ring: &[&[u8]], calls: u64) -> Result<f64, Failure> {
        time(&mut self.lanes, ring, self.case.batch, calls)
    }

    fn records(&mut self) -> Option<u64> {
        Some(self.log.lock().unwrap_or_else(PoisonError::into_inner).next_offset())
    }
}

impl Lane for Shared {
    #[inline]
    fn append(&mut self, records: &[&[u8]]) -> Result<(), Failure> {
        self.messages.clear();
        for record in records {
            self.messages.push(record).map_err(|error| format!("commitlog: {error:?}"))?;
        }
        self.log.lock().unwrap_or_else(PoisonError::into_inner).append(&mut self.messages)?;
        Ok(())
    }
}
