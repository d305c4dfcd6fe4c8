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
//! follows a group waits, up to the time of one flush, for those whom the last one woke: they are likely to be back. The
//! last of them begins it. The first only sleeps for so long, in case they are not: being woken takes longer than coming.
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
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

/// A round waits for those whom the last one woke for as long as so many rounds took.
const LINGER_ROUNDS: u32 = 2;
/// And not longer than this.
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
    /// It sleeps until that round is over.
    Thread {
        round: u64,
    },
    Task(Waker),
}

/// A thread's place among those that wait, until its round is over.
#[derive(Clone, Copy)]
pub(crate) struct Seat {
    ticket: u64,
    round: u64,
}

#[derive(Default)]
pub(crate) struct Role {
    taken: bool,
    waiting: Vec<Waiting>,
    tickets: u64,
    /// The round that is under way, or the next one.
    round: u64,
    /// Whose ticket begins the next round if the others are not back by then.
    lingers: Option<(u64, Instant)>,
    /// How many were waiting when the last round ended: all are likely to be back, those of that round and the later ones.
    expected: usize,
    /// How long the last round took.
    pub(crate) last_round: Duration,
}

impl Role {
    fn take(&mut self, seat: Option<Seat>) {
        self.taken = true;
        self.lingers = None;
        if let Some(own) = seat {
            self.waiting.retain(|waiting| waiting.ticket != own.ticket);
        }
    }

    /// How long a thread waits before it begins a round itself: not at all where all others are back; none where somebody
    /// else does.
    fn pause(&self, seat: Option<Seat>) -> Option<Duration> {
        let others = self.waiting.len() - usize::from(seat.is_some());
        match self.lingers {
            _ if self.taken => None,
            _ if others + 1 >= self.expected => Some(Duration::ZERO),
            Some((ticket, _)) if seat.is_none_or(|own| own.ticket != ticket) => None,
            Some((_, until)) => Some(until.saturating_duration_since(Instant::now())),
            None => Some((self.last_round * LINGER_ROUNDS).min(LINGER_MAX)),
        }
    }

    /// A new entry for a thread, which the next round that begins may serve.
    fn seat(&mut self, partition: &Arc<PartitionState>, offset: u64) -> Seat {
        self.tickets += 1;
        let seat = Seat { ticket: self.tickets, round: self.round + u64::from(self.taken) };
        let wake = Wake::Thread { round: seat.round };
        self.waiting.push(Waiting { partition: Arc::clone(partition), offset, ticket: seat.ticket, wake });
        seat
    }

    /// The partitions that somebody waits for.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &Arc<PartitionState>> {
        self.waiting.iter().map(|waiting| &waiting.partition)
    }
}

/// What a thread does whose record is not durable.
pub(crate) enum Turn {
    /// It has the role.
    Commit,
    /// It sleeps until that round is over, whose word has this value as long as it is not; and not longer than the pause.
    Wait { round: u64, value: u32, pause: Option<Duration> },
}

/// See the head of this file.
pub(crate) struct Committer {
    role: Mutex<Role>,
    /// Changed when a round is over: of an even round the first, of an odd one the second. Those who wait for it sleep on
    /// it, and one call wakes them all.
    words: [AtomicU32; 2],
    /// The role's, to be read without its lock.
    round: AtomicU64,
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
            words: [AtomicU32::new(0), AtomicU32::new(0)],
            round: AtomicU64::new(0),
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

    /// Seats the calling thread among those that wait, or makes it the committer.
    pub(crate) fn enter(&self, partition: &Arc<PartitionState>, offset: u64, seat: &mut Option<Seat>) -> Turn {
        let mut role = self.role();
        // Whoever waited for a round that is over has lost its seat with it.
        seat.take_if(|seat| seat.round < role.round);
        let pause = match role.pause(*seat) {
            Some(pause) if pause.is_zero() => {
                role.take(seat.take());
                return Turn::Commit;
            }
            pause => pause,
        };
        let own = *seat.get_or_insert_with(|| role.seat(partition, offset));
        if let (Some(pause), None) = (pause, role.lingers) {
            role.lingers = Some((own.ticket, Instant::now() + pause));
        }
        Turn::Wait { round: own.round, value: self.word(own.round).load(Ordering::Relaxed), pause }
    }

    /// Sleeps until the round is over, or for so long.
    pub(crate) fn sleep(&self, round: u64, value: u32, time: Duration) {
        sys::sleep_on(self.word(round), value, time);
    }

    fn word(&self, round: u64) -> &AtomicU32 {
        &self.words[(round & 1) as usize]
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

    /// Takes a waiting thread's seat back. If others wait for it to begin the next round, another one does.
    pub(crate) fn leave(&self, seat: Option<Seat>) {
        let Some(own) = seat else { return };
        // Most threads are woken by the end of their round, which has taken their seats back: no lock for those.
        if own.round < self.round.load(Ordering::Acquire) {
            return;
        }
        let mut role = self.role();
        role.waiting.retain(|waiting| waiting.ticket != own.ticket);
        role.lingers.take_if(|(lingering, _)| *lingering == own.ticket);
        if !role.taken && role.lingers.is_none() {
            self.rouse_one(&role);
        }
    }

    /// Takes the role, if nobody has it.
    pub(crate) fn take_role(&self) -> bool {
        let mut role = self.role();
        let free = !role.taken;
        if free {
            role.take(None);
        }
        free
    }

    /// Wakes one of those that wait for the next round, to begin it.
    fn rouse_one(&self, role: &Role) {
        match role.waiting.first().map(|waiting| &waiting.wake) {
            None => {}
            Some(Wake::Thread { round }) => {
                // Changed for one that is about to sleep; what those who do so already have seen of it is of no matter.
                self.word(*round).fetch_add(1, Ordering::Relaxed);
                sys::wake(self.word(*round), 1);
            }
            // A task has no thread to commit with: the committer's own thread does it.
            Some(Wake::Task(_)) => self.signal.raise(),
        }
    }

    /// Gives the role up, wakes whom the marks cover, and one of the others, who takes it on.
    pub(crate) fn hand_over(&self, own: bool) {
        let mut covered = Vec::new();
        let poisoned = self.is_poisoned();
        let mut role = self.role();
        let over = role.round;
        role.taken = false;
        role.round += 1;
        self.round.store(role.round, Ordering::Release);
        role.expected = role.waiting.len() + usize::from(own);
        let mut threads = false;
        role.waiting.retain(|waiting| match &waiting.wake {
            // Those who are not covered after all come back at once, too.
            Wake::Thread { round } => {
                threads |= *round == over;
                *round > over && !poisoned
            }
            Wake::Task(waker) => {
                let covers = poisoned || waiting.partition.durable.offset() > waiting.offset;
                if covers {
                    covered.push(waker.clone());
                }
                !covers
            }
        });
        self.word(over).fetch_add(1, Ordering::Relaxed);
        if poisoned {
            self.word(over + 1).fetch_add(1, Ordering::Relaxed);
        }
        self.rouse_one(&role);
        drop(role);
        // One call for all of them.
        if threads {
            sys::wake(self.word(over), u32::MAX);
        }
        if poisoned {
            sys::wake(self.word(over + 1), u32::MAX);
        }
        // Without the lock: a waker may run code of its own.
        covered.into_iter().for_each(Waker::wake);
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
    pub(crate) fn write_and_flush(&self, extents: &[&Extent]) -> Result<u64, (&'static str, io::Error)> {
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
