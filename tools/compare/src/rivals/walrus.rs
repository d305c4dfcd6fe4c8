//! walrus-rust: topics in files of 1 GB, written with `pwrite` or through a mapping. A topic a thread: while one batch is
//! written to a topic, it refuses all others.

use std::path::Path;
use std::sync::Arc;

use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus, disable_fd_backend, enable_fd_backend};

use crate::case::{Case, Level};
use crate::contender::{Contender, Failure, Lane, time};

/// How it writes.
#[derive(Clone, Copy)]
pub enum Backend {
    /// `pwrite`, and io_uring for batches.
    File,
    /// A mapping.
    Mapped,
}

impl Backend {
    /// It is a choice of the whole process, so it is made again before each block.
    fn choose(self) {
        match self {
            Self::File => enable_fd_backend(),
            Self::Mapped => disable_fd_backend(),
        }
    }
}

struct Rival {
    backend: Backend,
    lanes: Vec<Topic>,
    case: Case,
}

struct Topic {
    log: Arc<Walrus>,
    name: String,
}

/// An instance of its own, named after the directory it was given, within `WALRUS_DATA_DIR`.
pub fn open(case: Case, dir: &Path, backend: Backend) -> Result<Box<dyn Contender>, Failure> {
    backend.choose();
    let schedule = match case.level {
        Level::NotSynced => FsyncSchedule::NoFsync,
        Level::Durable => FsyncSchedule::SyncEach,
    };
    let consistency = ReadConsistency::AtLeastOnce { persist_every: u32::MAX };
    let key = dir.file_name().and_then(|name| name.to_str()).ok_or("a directory without a name")?;
    let log = Arc::new(Walrus::with_consistency_and_schedule_for_key(key, consistency, schedule)?);
    let topic = |thread| Topic { log: Arc::clone(&log), name: format!("t{thread}") };
    Ok(Box::new(Rival { backend, lanes: (0..case.threads).map(topic).collect(), case }))
}

impl Contender for Rival {
    fn block(&mut self, ring: &[&[u8]], calls: u64) -> Result<f64, Failure> {
        self.backend.choose();
        time(&mut self.lanes, ring, self.case.batch, calls)
    }
}

impl Lane for Topic {
    #[inline]
    fn append(&mut self, records: &[&[u8]]) -> Result<(), Failure> {
        match records {
            [record] => self.log.append_for_topic(&self.name, record)?,
            records => self.log.batch_append_for_topic(&self.name, records)?,
        }
        Ok(())
    }
}
