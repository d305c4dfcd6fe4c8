//! The store: what openraft writes through.

use crate::{
    codec::{encode, failed},
    reader::LogReader,
    writer::{Group, Job},
};
use oncelog::{Appender, AtOffset, Log};
use openraft::{
    LogState, OptionalSend, RaftTypeConfig,
    alias::{LogIdOf, VoteOf},
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
    type_config::TypeConfigExt,
};
use std::{
    io,
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
};

/// The log of one Raft group, for openraft. The log behind it stays open while this or one of its readers lives.
pub struct RaftStore<C: RaftTypeConfig> {
    group: Arc<Group<C>>,
    appender: Appender,
    /// The latest entry that is there, or was purged.
    last: Option<LogIdOf<C>>,
    reader: LogReader<C>,
    /// None once the thread is told to end.
    jobs: Option<Sender<(Job<C>, IOFlushed<C>)>>,
    thread: Option<JoinHandle<()>>,
    record_bytes_max: usize,
}

impl<C: RaftTypeConfig> RaftStore<C> {
    /// The log of the group of that name: the partition that is called so, which is created if it is not there. A group has
    /// one store at a time, and nobody else appends to its partition.
    ///
    /// # Errors
    /// If the name cannot be a partition's, if the system refuses, or if what is stored is not a Raft group's.
    pub fn open(log: &Log, name: &str) -> io::Result<Self> {
        let group = Arc::new(Group::open(log.partition(name).map_err(failed)?)?);
        let purged = group.marks().purged();
        if let Some(purged) = &purged
            && group.entries.start_offset() <= purged.index()
        {
            // It was noted, and a crash came before the entries were dropped.
            group.drop_before(purged.index() + 1)?;
        }
        let mut reader = LogReader::new(Arc::clone(&group));
        let last = last_entry(&group, &mut reader)?.or(purged);
        let appender = group.entries.appender().map_err(failed)?;
        let record_bytes_max = group.entries.record_bytes_max();
        let (jobs, asked) = channel();
        let served = Arc::clone(&group);
        let thread = thread::Builder::new().name(format!("raft-{name}")).spawn(move || served.serve(&asked))?;
        Ok(Self { group, appender, last, reader, jobs: Some(jobs), thread: Some(thread), record_bytes_max })
    }

    /// Asks the thread; `done` is told how it went.
    fn ask(&self, job: Job<C>, done: IOFlushed<C>) -> io::Result<()> {
        let sent = self.jobs.as_ref().map(|jobs| jobs.send((job, done)));
        if matches!(sent, Some(Ok(()))) { Ok(()) } else { Err(gone()) }
    }

    /// Asks the thread, and waits for it without holding a thread of the runtime.
    async fn carried_out(&self, job: Job<C>) -> io::Result<()> {
        let (done, told) = C::oneshot();
        self.ask(job, IOFlushed::signal(done))?;
        told.await.map_err(|_| gone())?
    }

    /// Where the entries are to go on at `index`: at once behind the last one, or anywhere if there is none.
    async fn make_way(&self, index: u64) -> io::Result<()> {
        let entries = &self.group.entries;
        let (start, end) = (entries.start_offset(), entries.end_offset());
        if index == end {
            return Ok(());
        }
        if start == end {
            return self.carried_out(Job::Begin(index)).await;
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("entry {index} does not follow the last one, {}", end - 1),
        ))
    }
}

/// The log id of the last entry, if there is one.
fn last_entry<C: RaftTypeConfig>(group: &Group<C>, reader: &mut LogReader<C>) -> io::Result<Option<LogIdOf<C>>> {
    let end = group.entries.end_offset();
    let entries = reader.read(end.saturating_sub(1)..end, usize::MAX)?;
    Ok(entries.last().map(RaftEntry::log_id))
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the store's thread has ended")
}

impl<C: RaftTypeConfig> Drop for RaftStore<C> {
    /// Waits for what the thread is still asked to do: its callbacks are called.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl<C: RaftTypeConfig> RaftLogStorage<C> for RaftStore<C> {
    type LogReader = LogReader<C>;

    async fn get_log_state(&mut self) -> Result<LogState<C>, io::Error> {
        let last_purged_log_id = self.group.marks().purged();
        Ok(LogState { last_purged_log_id, last_log_id: self.last.clone() })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        LogReader::new(Arc::clone(&self.group))
    }

    async fn save_vote(&mut self, vote: &VoteOf<C>) -> Result<(), io::Error> {
        self.carried_out(Job::Vote(vote.clone())).await
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<C>>) -> Result<(), io::Error> {
        self.group.marks().write(&self.group.entries, |marks| marks.committed = committed)
    }

    async fn read_committed(&mut self) -> Result<Option<LogIdOf<C>>, io::Error> {
        // Never beyond the log, whatever was saved.
        Ok(self.group.marks().committed().min(self.last.clone()))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<C>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        // All are encoded and measured before one is written: they are appended, or refused, together.
        let (mut bytes, mut ends, mut first, mut last) = (Vec::new(), Vec::new(), None, None);
        for entry in entries {
            let log_id = entry.log_id();
            let follows = last.as_ref().is_none_or(|last: &LogIdOf<C>| last.index() + 1 == log_id.index());
            let start = bytes.len();
            bytes = encode(&entry, bytes)?;
            if !follows || bytes.len() - start > self.record_bytes_max - LENGTH_BYTES {
                let most = self.record_bytes_max - LENGTH_BYTES;
                let reason = if follows {
                    format!("entry {log_id} takes {} bytes: at most {most}", bytes.len() - start)
                } else {
                    format!("entry {log_id} does not follow the one before it")
                };
                return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
            }
            ends.push(bytes.len());
            first.get_or_insert(log_id.index());
            last = Some(log_id);
        }
        let (Some(first), Some(last)) = (first, last) else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        self.make_way(first).await?;
        let mut expected = first;
        for records in batches(&bytes, &ends, self.record_bytes_max) {
            let appended = match &records[..] {
                [record] => self.appender.append_at(expected, record),
                records => self.appender.append_batch_at(expected, records),
            };
            match appended.map_err(failed)? {
                AtOffset::Appended(offsets) => expected = offsets.last + 1,
                AtOffset::Moved { next } => {
                    let reason =
                        format!("entry {expected} would get offset {next}: somebody else appends to the group");
                    return Err(io::Error::other(reason));
                }
            }
        }
        let offset = last.index();
        self.last = Some(last);
        self.ask(Job::Wait(offset), callback)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogIdOf<C>>) -> Result<(), io::Error> {
        let entries = &self.group.entries;
        let (start, end) = (entries.start_offset(), entries.end_offset());
        // What is purged is committed, and never cut off.
        let offset = last_log_id.map_or(0, |last| last.index() + 1).max(start);
        if offset < end {
            self.carried_out(Job::Truncate(offset)).await?;
            let purged = self.group.marks().purged();
            self.last = last_entry(&self.group, &mut self.reader)?.or(purged);
        }
        Ok(())
    }

    async fn purge(&mut self, log_id: LogIdOf<C>) -> Result<(), io::Error> {
        if self.group.marks().purged().is_some_and(|purged| purged >= log_id) {
            return Ok(());
        }
        self.carried_out(Job::Purge(log_id.clone())).await?;
        if self.last.as_ref().is_none_or(|last| last.index() <= log_id.index()) {
            self.last = Some(log_id);
        }
        Ok(())
    }
}

/// Bytes that a batch takes for each record besides it.
const LENGTH_BYTES: usize = 4;

/// The records that end at `ends`, in as few batches as there can be of at most so many bytes.
fn batches<'a>(bytes: &'a [u8], ends: &[usize], bytes_max: usize) -> Vec<Vec<&'a [u8]>> {
    let (mut batches, mut batch, mut batch_bytes, mut start) = (Vec::new(), Vec::new(), 0, 0);
    for &end in ends {
        let record_bytes = end - start + LENGTH_BYTES;
        if batch_bytes + record_bytes > bytes_max && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
            batch_bytes = 0;
        }
        batch.push(&bytes[start..end]);
        batch_bytes += record_bytes;
        start = end;
    }
    batches.push(batch);
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncelog::Options;
    use openraft::{storage::RaftLogStorageExt, testing};
    use tokio::runtime::Builder;

    openraft::declare_raft_types!(Types: D = String, R = ());

    #[test]
    fn a_purge_that_a_crash_has_cut_short_is_finished() {
        let directory = tempfile::tempdir().expect("a directory");
        // SAFETY: the directory was made for this log, and nothing else writes there.
        #[expect(unsafe_code, reason = "opening is a promise of the caller's")]
        let log = unsafe { Log::open(directory.path(), &Options::new()) }.expect("opened");
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        for (purged, end) in [(4, 10), (20, 21)] {
            let mut store: RaftStore<Types> = RaftStore::open(&log, "group").expect("a store");
            if purged == 4 {
                let entries = (0..10).map(|index| testing::blank_ent::<Types>(1, 0, index));
                runtime.block_on(store.blocking_append(entries)).expect("appended");
            }
            // As far as it came: the log id is noted, and no entry dropped.
            let purged = testing::log_id::<Types>(1, 0, purged);
            store.group.marks().write(&store.group.entries, |marks| marks.purged = Some(purged)).expect("noted");
            drop(store);
            let mut store: RaftStore<Types> = RaftStore::open(&log, "group").expect("a store");
            let entries = &store.group.entries;
            assert_eq!((entries.start_offset(), entries.end_offset()), (purged.index() + 1, end));
            let state = runtime.block_on(store.get_log_state()).expect("read");
            assert_eq!(state.last_purged_log_id, Some(purged));
        }
    }

    #[test]
    fn records_are_batched_in_order_and_none_is_left_out() {
        let bytes: Vec<u8> = (0..=255).collect();
        let ends = [10, 30, 31, 131, 200, 256];
        for bytes_max in [104, 120, 200, 1000] {
            let batches = batches(&bytes, &ends, bytes_max);
            assert_eq!(batches.concat().concat(), bytes);
            assert_eq!(batches.concat().len(), ends.len());
            for batch in &batches {
                assert!(batch.iter().map(|record| record.len() + LENGTH_BYTES).sum::<usize>() <= bytes_max);
            }
        }
        assert_eq!(batches(&bytes, &ends, 1000).len(), 1);
    }
}
