//! Who makes records durable: one round of writes and flushes at a time, for all that wait.
//!
//! ```text
//! 1. each dirty partition: what is visible now and not durable      partition/durability.rs
//! 2. write it                                                       one write with RWF_DSYNC, or several and then a flush
//! 3. move the durable marks, wake whom they cover
//! ```
//!
//! The role is taken by whoever needs it: a thread that waits for its record becomes the committer if nobody is, so that
//! the one that waits alone pays for no hand-over. Who comes while a round is under way rides the next one. A round that
//! follows a group waits, up to the time of one flush, for those whom the last one woke: they are likely to be back.
//!
//! After a write or a flush has failed, nobody knows what is on the device: the system may have dropped the pages and
//! cleared the error. So nothing is tried again. The log is poisoned: nothing above the durable marks is acknowledged any
//! more, and appending is over until it is opened again (Rebello et al., "Can Applications Recover from fsync Failures?",
//! USENIX ATC 2020).

use crate::{
    error::{DurableError, copy},
    partition::{
        PartitionState,
        durability::{Dirty, Extent},
    },
    raw::{
        ring::{Ring, Write},
        sys,
    },
    segment::backing::Backing,
    signal::Signal,
};
use std::{
    fs::File,
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Waker,
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// Longest that a round waits for those whom the last one woke.
const LINGER_MAX: Duration = Duration::from_millis(1);

/// How what a round writes is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FlushKind {
    /// The mapped window: the range of each file that was stored to.
    RangeOfEachFile,
    /// The direct window: one write that is durable itself, or several and one flush of the device for all of them.
    OneForAll,
    /// The direct window on a file system where a flush is each file's own.
    EachFile,
}

/// Who waits for an offset to be durable.
pub(crate) struct Waiting {
    partition: Arc<PartitionState>,
    offset: u64,
    ticket: u64,
    wake: Wake,
}

enum Wake {
    Thread(Thread),
    Task(Waker),
}

#[derive(Default)]
pub(crate) struct Role {
    pub(crate) taken: bool,
    pub(crate) waiting: Vec<Waiting>,
    tickets: u64,
    /// Whom the last round has woken and who may come back.
    woken: usize,
    /// How long the last round took.
    pub(crate) last_round: Duration,
}

impl Role {
    /// Whether as many wait as the last round woke: the thread that is about to commit is one of them.
    fn all_are_back(&self) -> bool {
        self.waiting.len() + 1 >= self.woken
    }

    /// The partitions that somebody waits for.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &Arc<PartitionState>> {
        self.waiting.iter().map(|waiting| &waiting.partition)
    }
}

/// See the head of this file.
pub(crate) struct Committer {
    role: Mutex<Role>,
    /// Somebody has come to wait.
    came: Condvar,
    /// Rouses the committer's own thread, which commits for tasks and by interval.
    pub(crate) signal: Signal,
    /// Appenders wait for the device to catch up. Set by the preparer, taken by the committer's own thread.
    pub(crate) is_behind: AtomicBool,
    poison: OnceLock<(&'static str, io::Error)>,
    /// None where the system has no io_uring for this process.
    ring: Mutex<Option<Ring>>,
    pub(crate) has_ring: bool,
    /// One flush makes every direct write of this log durable.
    pub(crate) one_flush_serves_all: bool,
    pub(crate) rounds: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

impl Committer {
    pub(crate) fn new(io_uring: bool, one_flush_serves_all: bool) -> Self {
        let ring = if io_uring { Ring::new().ok() } else { None };
        Self {
            role: Mutex::default(),
            came: Condvar::new(),
            signal: Signal::default(),
            is_behind: AtomicBool::new(false),
            poison: OnceLock::new(),
            has_ring: ring.is_some(),
            ring: Mutex::new(ring),
            one_flush_serves_all,
            rounds: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn role(&self) -> MutexGuard<'_, Role> {
        self.role.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What failed, if anything has.
    pub(crate) fn poison(&self) -> Option<DurableError> {
        self.poison.get().map(|(doing, source)| DurableError::Poisoned { doing, source: copy(source) })
    }

    /// Whether a write or a flush has failed.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poison.get().is_some()
    }

    /// Notes what failed; the first failure counts.
    pub(crate) fn poison_with(&self, doing: &'static str, error: io::Error) {
        let _ = self.poison.set((doing, error));
    }

    /// Puts the calling thread among those that wait for the committer, and returns the entry's ticket; none if there is no
    /// committer any more, and the thread may be it.
    pub(crate) fn add_thread(&self, partition: &Arc<PartitionState>, offset: u64) -> Option<u64> {
        let mut role = self.role();
        if !role.taken {
            return None;
        }
        role.tickets += 1;
        let ticket = role.tickets;
        let wake = Wake::Thread(thread::current());
        role.waiting.push(Waiting { partition: Arc::clone(partition), offset, ticket, wake });
        // The last one that a lingering committer waits for, and not each of them: being woken takes longer than coming.
        let all_are_back = role.all_are_back();
        drop(role);
        if all_are_back {
            self.came.notify_one();
        }
        Some(ticket)
    }

    /// Wakes `waker` once `offset` is durable.
    pub(crate) fn add_waker(&self, partition: &Arc<PartitionState>, offset: u64, waker: &Waker) {
        let mut role = self.role();
        // One entry a task and offset: polled again, it has the newer waker.
        let known = role.waiting.iter_mut().find(|waiting| {
            waiting.offset == offset
                && Arc::ptr_eq(&waiting.partition, partition)
                && matches!(&waiting.wake, Wake::Task(task) if task.will_wake(waker))
        });
        if known.is_none() {
            role.tickets += 1;
            let ticket = role.tickets;
            let wake = Wake::Task(waker.clone());
            role.waiting.push(Waiting { partition: Arc::clone(partition), offset, ticket, wake });
        }
        drop(role);
        self.signal.raise();
    }

    /// Takes a waiting thread's entry back. If it was to be the next committer, another one is.
    pub(crate) fn leave(&self, ticket: Option<u64>) {
        let Some(own) = ticket else { return };
        let mut role = self.role();
        role.waiting.retain(|waiting| waiting.ticket != own);
        if !role.taken {
            self.rouse_next(&role);
        }
    }

    /// Takes the role, if nobody has it, and the thread's own entry back.
    pub(crate) fn take_role(&self, ticket: Option<u64>) -> bool {
        let mut role = self.role();
        if role.taken {
            return false;
        }
        role.taken = true;
        if let Some(own) = ticket {
            role.waiting.retain(|waiting| waiting.ticket != own);
        }
        true
    }

    /// Wakes the one who has waited for longest, to become the committer.
    fn rouse_next(&self, role: &Role) {
        match role.waiting.first().map(|waiting| &waiting.wake) {
            None => {}
            Some(Wake::Thread(thread)) => thread.unpark(),
            // A task has no thread to commit with: the committer's own thread does it.
            Some(Wake::Task(_)) => self.signal.raise(),
        }
    }

    /// Waits for those whom the last round woke, up to the time of one round.
    pub(crate) fn linger(&self) {
        let mut role = self.role();
        let until = Instant::now() + role.last_round.min(LINGER_MAX);
        while !role.all_are_back() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            role = self.came.wait_timeout(role, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Gives the role up, wakes whom the marks cover, and one of the others, who takes it on.
    pub(crate) fn hand_over(&self, own: bool) {
        let mut covered = Vec::new();
        let poisoned = self.is_poisoned();
        {
            let mut role = self.role();
            role.taken = false;
            for waiting in std::mem::take(&mut role.waiting) {
                if poisoned || waiting.partition.durable.offset() > waiting.offset {
                    covered.push(waiting.wake);
                } else {
                    role.waiting.push(waiting);
                }
            }
            role.woken = covered.len() + usize::from(own);
            self.rouse_next(&role);
        }
        // Without the lock: a waker may run code of its own.
        for wake in covered {
            match wake {
                Wake::Thread(thread) => thread.unpark(),
                Wake::Task(waker) => waker.wake(),
            }
        }
    }

    /// Whether tasks wait, for whom the committer's own thread must commit.
    pub(crate) fn tasks_wait(&self) -> bool {
        self.role().waiting.iter().any(|waiting| matches!(waiting.wake, Wake::Task(_)))
    }

    /// Makes what is visible now durable in these partitions: whether there was anything.
    pub(crate) fn flush(
        &self,
        partitions: &[Arc<PartitionState>],
        now_ms: u64,
    ) -> Result<bool, (&'static str, io::Error)> {
        let mut dirty: Vec<(&Arc<PartitionState>, Dirty)> = Vec::new();
        for partition in partitions {
            if let Some(found) = partition.collect(now_ms).map_err(|error| ("map a segment", error))? {
                dirty.push((partition, found));
            }
        }
        if dirty.is_empty() {
            return Ok(false);
        }
        for (partition, Dirty { extents, .. }) in &dirty {
            if extents.iter().any(|extent| extent.segment.needs_its_name_synced()) {
                partition.sync_names().map_err(|error| ("sync a directory", error))?;
                extents.iter().for_each(|extent| extent.segment.name_is_synced());
            }
        }
        let extents: Vec<&Extent> = dirty.iter().flat_map(|(_, dirty)| &dirty.extents).collect();
        let flushes = self.write_and_flush(&extents)?;
        self.rounds.fetch_add(1, Ordering::Relaxed);
        self.flushes.fetch_add(flushes, Ordering::Relaxed);
        let bytes: usize = extents.iter().map(|extent| extent.to - extent.from).sum();
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        for (partition, Dirty { end, .. }) in &dirty {
            partition.durable.advance(*end);
        }
        Ok(true)
    }

    /// Writes the extents and makes them durable. Returns the number of flushes it took.
    fn write_and_flush(&self, extents: &[&Extent]) -> Result<u64, (&'static str, io::Error)> {
        let direct: Vec<(&Extent, &File)> = extents
            .iter()
            .filter_map(|extent| match extent.segment.backing() {
                Some(Backing::Direct { file, .. }) => Some((*extent, file)),
                _ => None,
            })
            .collect();
        if direct.len() < 2 || direct.len() < extents.len() {
            // Mapped, or one write: it says itself that it is to be durable.
            for extent in extents {
                let Some(backing) = extent.segment.backing() else { continue };
                backing.flush(extent.from, extent.to).map_err(|error| ("write a segment durably", error))?;
            }
            return Ok(extents.len() as u64);
        }
        self.write_several(&direct).map_err(|error| ("write a segment", error))?;
        let mut flushes = 0;
        let mut flushed: Vec<&Arc<_>> = Vec::new();
        for (extent, file) in &direct {
            if flushed.iter().any(|segment| Arc::ptr_eq(segment, &extent.segment)) {
                continue;
            }
            file.sync_data().map_err(|error| ("flush a segment", error))?;
            flushes += 1;
            if self.one_flush_serves_all {
                break;
            }
            flushed.push(&extent.segment);
        }
        Ok(flushes)
    }

    /// Writes several extents, at once where there is a ring. What a write left undone is written one by one.
    fn write_several(&self, direct: &[(&Extent, &File)]) -> io::Result<()> {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = vec![0; direct.len()];
        if let Some(ring) = ring.as_mut() {
            let writes: Vec<Write<'_>> = direct
                .iter()
                .filter_map(|(extent, file)| {
                    let memory = extent.segment.backing()?.mapping();
                    Some(Write { file, memory, from: extent.from, to: extent.to })
                })
                .collect();
            for (place, result) in done.iter_mut().zip(ring.write_all(&writes)?) {
                *place = result? as usize;
            }
        }
        for ((extent, file), done) in direct.iter().zip(done) {
            let Some(backing) = extent.segment.backing() else { continue };
            // A write may stop short, at a block: the rest of it follows.
            let from = extent.from + done / 4096 * 4096;
            if from < extent.to {
                backing.mapping().write_to(file, from, extent.to, false)?;
            }
        }
        Ok(())
    }
}

/// Whether one flush serves all partitions of a log in this directory.
pub(crate) fn one_flush_serves_all(directory: &File) -> bool {
    sys::one_flush_serves_all(directory)
}
