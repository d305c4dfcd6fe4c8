//! The thread that waits for the device, so that no task of the embedder's runtime does.
//!
//! It does one thing after the other, in the order in which it was asked: a vote is saved behind all entries that were
//! appended before it, and nothing is cut off while a callback for it is still due. Appends need not ask it: only their
//! callbacks come here. While it waits for one flush more of them arrive, and the next flush serves them all.

use crate::{codec::failed, marks::Marks};
use oncelog::Partition;
use openraft::{
    RaftTypeConfig,
    alias::{LogIdOf, VoteOf},
    storage::IOFlushed,
};
use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError, mpsc::Receiver},
    time::Duration,
};

/// A Raft group: its entries, and what it knows besides.
pub(crate) struct Group<C: RaftTypeConfig> {
    pub(crate) entries: Partition,
    marks: Mutex<Marks<C>>,
}

/// What the thread is asked to do.
pub(crate) enum Job<C: RaftTypeConfig> {
    /// Wait until the entry at this offset is durable.
    Wait(u64),
    /// Save a vote, durably.
    Vote(VoteOf<C>),
    /// Cut off the entries from this offset on.
    Truncate(u64),
    /// Drop the entries up to this one.
    Purge(LogIdOf<C>),
    /// Let the entries, of which there are none, begin at this offset.
    Begin(u64),
}

impl<C: RaftTypeConfig> Group<C> {
    pub(crate) fn open(entries: Partition) -> io::Result<Self> {
        let marks = Mutex::new(Marks::open(&entries)?);
        Ok(Self { entries, marks })
    }

    pub(crate) fn marks(&self) -> MutexGuard<'_, Marks<C>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what it is asked until nobody can ask any more.
    pub(crate) fn serve(&self, jobs: &Receiver<(Job<C>, IOFlushed<C>)>) {
        for (job, done) in jobs {
            done.io_completed(self.carry_out(job));
        }
    }

    fn carry_out(&self, job: Job<C>) -> io::Result<()> {
        let entries = &self.entries;
        match job {
            Job::Wait(offset) => match entries.wait_durable(offset, Duration::MAX) {
                Ok(true) => Ok(()),
                Ok(false) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("entry {offset} is not durable"))),
                Err(error) => Err(failed(error)),
            },
            Job::Vote(vote) => {
                self.marks().write(entries, |marks| marks.vote = Some(vote))?;
                entries.flush().map_err(failed)?;
                self.marks().are_durable();
                Ok(())
            }
            Job::Truncate(offset) => entries.truncate(offset).map(drop).map_err(failed),
            Job::Purge(log_id) => {
                let start = log_id.index() + 1;
                // First, and in one order with it: no entry is dropped before it is known up to which one.
                self.marks().write(entries, |marks| marks.purged = Some(log_id))?;
                self.drop_before(start)
            }
            Job::Begin(offset) => entries.reset(offset).map(drop).map_err(failed),
        }
    }

    /// Drops the entries before this offset, also where it is beyond all of them.
    pub(crate) fn drop_before(&self, offset: u64) -> io::Result<()> {
        self.entries.purge(offset).map_err(failed)
    }
}
