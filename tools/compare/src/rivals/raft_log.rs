//! raft-log: the log of one Raft group, its entries kept in memory too. A log a thread, since it has one writer.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use raft_log::api::raft_log_writer::RaftLogWriter;
use raft_log::{Config, RaftLog, Types};

use crate::case::{Case, Level};
use crate::contender::{Contender, Failure, Lane, time};

/// Entries that it keeps in memory: they are never read here.
const CACHE_BYTES: usize = 16 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bytes;

impl Types for Bytes {
    type LogId = (u64, u64);
    type LogPayload = Vec<u8>;
    type Vote = (u64, u64);
    type UserData = String;
    type Callback = SyncSender<io::Result<()>>;

    fn log_index(log_id: &Self::LogId) -> u64 {
        log_id.1
    }

    fn payload_size(payload: &Self::LogPayload) -> u64 {
        payload.len() as u64
    }
}

struct Rival {
    lanes: Vec<Group>,
    case: Case,
}

struct Group {
    log: RaftLog<Bytes>,
    next: u64,
    level: Level,
}

/// Logs that do not wait for others to join a flush: each has one writer, which waits for it.
pub fn open(case: Case, dir: &Path) -> Result<Box<dyn Contender>, Failure> {
    let group = |thread: usize| -> Result<Group, Failure> {
        let dir = dir.join(thread.to_string());
        std::fs::create_dir(&dir)?;
        let mut config = Config::new(dir.display());
        config.wal.flush_batch_wait = Some(Duration::ZERO);
        config.log_cache_capacity = Some(CACHE_BYTES);
        Ok(Group { log: RaftLog::open(Arc::new(config))?, next: 0, level: case.level })
    };
    let lanes = (0..case.threads).map(group).collect::<Result<_, _>>()?;
    Ok(Box::new(Rival { lanes, case }))
}

impl Contender for Rival {
    fn block(&mut self, ring: &[&[u8]], calls: u64) -> Result<f64, Failure> {
        time(&mut self.lanes, ring, self.case.batch, calls)
    }

    fn records(&mut self) -> Option<u64> {
        let count = |group: &Group| group.log.log_state().last().map_or(0, |last| last.1 + 1);
        Some(self.lanes.iter().map(count).sum())
    }
}

impl Lane for Group {
    #[inline]
    fn append(&mut self, records: &[&[u8]]) -> Result<(), Failure> {
        let first = self.next;
        self.next += records.len() as u64;
        self.log.append(records.iter().zip(first..).map(|(record, index)| ((1, index), record.to_vec())))?;
        if self.level == Level::NotSynced {
            return Ok(self.log.flush(false, None)?);
        }
        let (done, flushed) = sync_channel(1);
        self.log.flush(true, Some(done))?;
        Ok(flushed.recv()??)
    }
}
