//! This log as openraft's log store: `tools/raft-store`, a group a thread, all groups in one log.

use std::fmt;
use std::path::Path;

use oncelog::{Log, Options, Window};
use oncelog_raft_store::RaftStore;
use openraft::alias::LogIdOf;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::testing::log_id;
use openraft::type_config::TypeConfigExt;
use openraft::{Entry, EntryPayload};
use serde::{Deserialize, Serialize};

use crate::case::{Case, Level};
use crate::contender::{Contender, Failure, Lane, time};

const SEGMENT_BYTES: u64 = 8 << 20;

openraft::declare_raft_types!(
    /// Commands are bytes.
    pub Types: D = Command, R = ()
);

/// What a client asks the group's state machine to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Command(#[serde(with = "serde_bytes")] Vec<u8>);

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

struct Groups {
    lanes: Vec<Group>,
    case: Case,
    log: Log,
}

struct Group {
    store: RaftStore<Types>,
    next: u64,
    level: Level,
}

/// A log of its own, with a store a thread.
pub fn open(case: Case, dir: &Path) -> Result<Box<dyn Contender>, Failure> {
    let options =
        Options::new().segment_bytes(SEGMENT_BYTES).first_segment_bytes(SEGMENT_BYTES).snapshot_bytes(1 << 50);
    let options = match case.level {
        Level::NotSynced => options,
        Level::Durable => options.window(Window::Direct),
    };
    // SAFETY: the directory was made for this log, and nothing else writes there.
    let log = unsafe { options.open(dir) }?;
    let group = |thread: usize| -> Result<Group, Failure> {
        Ok(Group { store: RaftStore::open(&log, &name(thread))?, next: 0, level: case.level })
    };
    let lanes = (0..case.threads).map(group).collect::<Result<_, _>>()?;
    Ok(Box::new(Groups { lanes, case, log }))
}

fn name(thread: usize) -> String {
    format!("g{thread}")
}

impl Contender for Groups {
    fn prepare(&mut self, calls: u64) -> Result<(), Failure> {
        // Frame, length and Raft's own words are less than 100 bytes a record.
        let segments = ((self.case.bytes() + 100 * self.case.batch) as u64 * calls).div_ceil(SEGMENT_BYTES);
        for thread in 0..self.case.threads {
            self.log.partition(&name(thread))?.prepare(u32::try_from(segments)? + 1)?;
        }
        Ok(())
    }

    fn block(&mut self, ring: &[&[u8]], calls: u64) -> Result<f64, Failure> {
        time(&mut self.lanes, ring, self.case.batch, calls)
    }

    fn records(&mut self) -> Option<u64> {
        let end = |thread: usize| self.log.partition(&name(thread)).map(|partition| partition.end_offset()).ok();
        (0..self.case.threads).map(end).sum()
    }
}

impl Lane for Group {
    #[inline]
    fn append(&mut self, records: &[&[u8]]) -> Result<(), Failure> {
        let first = self.next;
        self.next += records.len() as u64;
        let entries = records.iter().zip(first..).map(|(record, index)| {
            let id: LogIdOf<Types> = log_id::<Types>(1, 1, index);
            Entry { log_id: id, payload: EntryPayload::Normal(Command(record.to_vec())) }
        });
        if self.level == Level::NotSynced {
            return Ok(pollster::block_on(self.store.append(entries, IOFlushed::noop()))?);
        }
        let (done, flushed) = Types::oneshot();
        pollster::block_on(async {
            self.store.append(entries, IOFlushed::signal(done)).await?;
            Ok(flushed.await??)
        })
    }
}
