//! raft-engine: the log of many raft groups, with an index in memory. A group a thread, since a group's entries are
//! numbered by its only writer.

use std::path::Path;
use std::sync::Arc;

use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use crate::case::{Case, Level};
use crate::contender::{Contender, Failure, Lane, time};

/// Bytes of a payload that hold the entry's index, which raft-engine asks of the entry itself.
const INDEX_BYTES: usize = 8;

struct Payload;

impl MessageExt for Payload {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        entry.value.first_chunk::<INDEX_BYTES>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

struct Rival {
    lanes: Vec<Group>,
    case: Case,
}

struct Group {
    engine: Arc<Engine>,
    id: u64,
    next: u64,
    entries: Vec<BytesValue>,
    batch: LogBatch,
    sync: bool,
}

/// An engine without compression, which random payloads would only suffer from.
pub fn open(case: Case, dir: &Path) -> Result<Box<dyn Contender>, Failure> {
    let dir = dir.to_str().ok_or_else(|| format!("{} is not UTF-8, which raft-engine needs", dir.display()))?;
    let config = Config { dir: dir.to_owned(), batch_compression_threshold: ReadableSize::kb(0), ..Config::default() };
    let engine = Arc::new(Engine::open(config)?);
    let group = |thread: usize| Group {
        engine: Arc::clone(&engine),
        id: thread as u64 + 1,
        next: 1,
        entries: Vec::new(),
        batch: LogBatch::with_capacity(case.batch),
        sync: case.level == Level::Durable,
    };
    Ok(Box::new(Rival { lanes: (0..case.threads).map(group).collect(), case }))
}

impl Contender for Rival {
    fn block(&mut self, ring: &[&[u8]], calls: u64) -> Result<f64, Failure> {
        time(&mut self.lanes, ring, self.case.batch, calls)
    }

    fn records(&mut self) -> Option<u64> {
        let last = |group: &Group| group.engine.last_index(group.id).unwrap_or(0);
        Some(self.lanes.iter().map(last).sum())
    }
}

impl Lane for Group {
    #[inline]
    fn append(&mut self, records: &[&[u8]]) -> Result<(), Failure> {
        self.entries.resize_with(records.len(), BytesValue::new);
        for (entry, record) in self.entries.iter_mut().zip(records) {
            let value = &mut entry.value;
            value.clear();
            value.extend_from_slice(record);
            let index = value.first_chunk_mut::<INDEX_BYTES>().ok_or("a record is shorter than 8 bytes")?;
            *index = self.next.to_le_bytes();
            self.next += 1;
        }
        self.batch.add_entries::<Payload>(self.id, &self.entries)?;
        self.engine.write(&mut self.batch, self.sync)?;
        Ok(())
    }
}
