//! What all handles of a log share, and the threads behind them.
//!
//! | thread | does |
//! |---|---|
//! | clock | refreshes the time, wakes those who wait for records, passes on what appenders have asked for |
//! | preparer | makes segments ready ahead of the appenders (`preparer.rs`) |
//! | committer | makes records durable by interval, and for tasks that wait (`committer.rs`) |
//! | upkeep | seals full segments, writes snapshots, drops what need not be kept (`upkeep.rs`) |
//!
//! An appender never calls the system to ask for a segment ahead of time: it sets a flag that the clock thread finds.
//! Only one that has to wait for a segment rouses the preparer itself.

use crate::{
    clock::{Clock, TICK},
    committer::Committer,
    error::{AppendError, DurableError, OpenError, copy},
    format::files::Identity,
    ledger::Ledger,
    options::{Options, Window},
    partition::{PartitionState, append::Supply},
    raw::sys,
    registry::Registry,
    segment::{residents::Residents, tail::Tail},
    signal::Signal,
    sync::Backoff,
    wake::Waiters,
};
use std::{
    collections::HashMap,
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

/// How often upkeep looks at every partition that is awake, asked or not: for what only time brings about.
const UPKEEP_PERIOD: Duration = Duration::from_millis(500);
/// How often who waits for a segment asks for it again.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// Partitions at rest that upkeep looks at each time, in turn: retention by age drops what they hold, and nothing else
/// happens there.
const RESTING_LOOKED_AT: usize = 256;
/// A round that writes this much is worth its flush: the next one need not wait for more.
const STREAM_BYTES: u64 = 8 << 20;

/// The partitions of a log.
#[derive(Default)]
pub(crate) struct Partitions {
    /// By number.
    pub(crate) all: Vec<Arc<PartitionState>>,
    /// Those that somebody has appended to, until they are at rest: the log's threads look at these alone, and at the others
    /// now and then.
    pub(crate) awake: Vec<Arc<PartitionState>>,
    pub(crate) names: HashMap<Box<str>, u32>,
}

/// See the head of this file.
pub(crate) struct Core {
    pub(crate) directory: PathBuf,
    pub(crate) options: Options,
    pub(crate) identity: Identity,
    pub(crate) clock: Clock,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) partitions: RwLock<Partitions>,
    /// Sealed segments that are mapped.
    pub(crate) residents: Arc<Residents>,
    pub(crate) registry: Mutex<Registry>,
    /// Taken behind the registry's lock where both are.
    pub(crate) ledger: Mutex<Ledger>,
    /// Some appender has begun a segment. Set by appenders, taken by the clock thread.
    pub(crate) asked: AtomicBool,
    pub(crate) committer: Committer,
    pub(crate) preparer: Signal,
    pub(crate) upkeep: Signal,
    /// What recovery has decided about transactions is written and durable. Set once by whoever opens the log; before, nothing
    /// of the ledger is dropped or stood for by a snapshot.
    pub(crate) carried_out: AtomicBool,
    /// The log is being closed. Set once by whoever closes it.
    pub(crate) closing: AtomicBool,
    /// Its threads are to end. Set by whoever closes it, read by them.
    pub(crate) stopped: AtomicBool,
}

impl Core {
    pub(crate) fn all_partitions(&self) -> Vec<Arc<PartitionState>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).all.clone()
    }

    pub(crate) fn partition_numbered(&self, number: u32) -> Option<Arc<PartitionState>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).all.get(number as usize).cloned()
    }

    /// Partitions that are appended to, or were not long ago. Only these have anything that is not sealed and durable.
    pub(crate) fn awake_partitions(&self) -> Vec<Arc<PartitionState>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).awake.clone()
    }

    /// Asks for a segment of a partition, which thereby is awake.
    fn ask_for_segment(&self, partition: &PartitionState) {
        partition.wants_segment.store(true, Ordering::Release);
        self.wake(partition);
        self.preparer.raise();
    }

    /// Has the log's threads look at a partition.
    fn wake(&self, partition: &PartitionState) {
        // Under the lock under which a partition that wants nothing is put to rest, here and below: whoever is about to do
        // so has looked, and not yet said so.
        {
            let _partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
            if partition.is_awake.load(Ordering::Acquire) {
                return;
            }
        }
        let mut partitions = self.partitions.write().unwrap_or_else(PoisonError::into_inner);
        let own = partitions.all.get(partition.number as usize).cloned();
        if let Some(own) = own.filter(|_| !partition.is_awake.swap(true, Ordering::AcqRel)) {
            partitions.awake.push(own);
        }
    }

    /// Puts the partitions to rest that have been idle for longest, where more are than may stay awake.
    pub(crate) fn let_rest(&self, mut idle: Vec<(u64, Arc<PartitionState>)>) {
        let most = self.options.awake_partitions_max as usize;
        let awake = self.partitions.read().unwrap_or_else(PoisonError::into_inner).awake.len();
        idle.sort_by_key(|(since_ms, _)| *since_ms);
        for (_, partition) in idle.into_iter().take(awake.saturating_sub(most)) {
            if self.is_stopped() || self.committer.is_poisoned() {
                return;
            }
            match partition.go_to_rest() {
                Ok(true) => {}
                Err(error) if error.is_failed_flush() => return self.poison_by(error),
                // What else fails is tried again at the next look.
                Ok(false) | Err(_) => continue,
            }
            let mut partitions = self.partitions.write().unwrap_or_else(PoisonError::into_inner);
            if !partition.wants_segment.load(Ordering::Acquire) && partition.chain.is_at_rest() {
                partition.is_awake.store(false, Ordering::Release);
                partitions.awake.retain(|other| !Arc::ptr_eq(other, &partition));
                event!(DEBUG, partition = %partition.name, "a partition went to rest");
            }
        }
    }

    fn poison_by(&self, failed_flush: OpenError) {
        if let OpenError::Io { doing, source, .. } = failed_flush {
            self.poison(doing, source);
        }
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that are awake, and the next few of the others.
    fn partitions_to_look_at(&self, looked_at: &mut usize) -> Vec<Arc<PartitionState>> {
        let partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        let mut those = partitions.awake.clone();
        let all = partitions.all.len();
        for at in (0..all.min(RESTING_LOOKED_AT)).map(|step| (*looked_at + step) % all) {
            those.extend(partitions.all.get(at).filter(|one| !one.is_awake.load(Ordering::Acquire)).cloned());
        }
        *looked_at = (*looked_at + RESTING_LOOKED_AT) % all.max(1);
        those
    }

    /// After a failed write or flush nothing is appended any more.
    pub(crate) fn refuse_if_poisoned(&self) -> Result<(), AppendError> {
        self.committer.poison().map_or(Ok(()), |poison| Err(poison.into()))
    }

    /// Whether a partition's next segment is better prepared a moment later; rouses who is waited for.
    fn is_worth_waiting(&self, partition: &PartitionState) -> bool {
        if self.committer.is_poisoned() || !partition.lacks_segments() {
            return false;
        }
        if partition.outruns_the_device() {
            self.committer.is_behind.store(true, Ordering::Release);
            self.committer.turns.signal.raise();
            return true;
        }
        let awaits_spare = partition.awaits_spare();
        if awaits_spare {
            self.upkeep.raise();
        }
        awaits_spare
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

/// A partition as its appenders see it: where the next segment comes from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) core: &'a Core,
    pub(crate) partition: &'a PartitionState,
}

impl Supply for Source<'_> {
    type Error = AppendError;

    #[cold]
    fn wait_for_successor(&self, of: &Tail) -> Result<(), AppendError> {
        if !of.has_next() {
            PartitionState::count(&self.partition.counters.rotations_waited);
            return self.prepare_until(|| of.has_next());
        }
        // Prepared: what is missing is the word of the thread that crossed the end, which is between two stores.
        let mut backoff = Backoff::new();
        while !of.has_ended() {
            // Or of one that cuts the partition, and will never say it if that fails.
            self.core.refuse_if_poisoned()?;
            backoff.wait();
        }
        Ok(())
    }

    #[cold]
    fn opened(&self) {
        PartitionState::count(&self.partition.counters.rotations);
        event!(DEBUG, partition = %self.partition.name, "a segment was begun");
        self.partition.wants_segment.store(true, Ordering::Release);
        self.core.asked.store(true, Ordering::Release);
    }
}

impl Source<'_> {
    /// Rouses the preparer and sleeps until `enough`, or until a try that began after this call has failed.
    pub(crate) fn prepare_until(&self, enough: impl Fn() -> bool) -> Result<(), AppendError> {
        self.core.refuse_if_poisoned()?;
        let partition = self.partition;
        let mut preparation = partition.preparation.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tries = preparation.tries;
        preparation.failure = None;
        self.core.ask_for_segment(partition);
        while !enough() {
            let woken = partition.prepared.wait_timeout(preparation, ASK_AGAIN);
            preparation = woken.unwrap_or_else(PoisonError::into_inner).0;
            if preparation.tries > tries
                && let Some(failure) = &preparation.failure
            {
                let source = copy(failure);
                let path = partition.directory.clone();
                return Err(match source.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        AppendError::NoSpace { path, bytes: partition.next_segment_bytes(), source }
                    }
                    _ => AppendError::Prepare { path, source },
                });
            }
            tries = preparation.tries;
            if !enough() {
                // What was prepared may have been taken back, from a partition that seemed to be idle.
                self.core.ask_for_segment(partition);
            }
        }
        Ok(())
    }
}

/// Threads of a log, however many partitions it has.
pub(crate) const THREADS: usize = 4;

/// What a thread of a log runs.
type Run = fn(&Core);

/// Keeps a log open: its lock, its threads. When the last handle drops, the log is closed.
pub(crate) struct Handle {
    pub(crate) core: Arc<Core>,
    threads: Vec<JoinHandle<()>>,
    /// Of the log's directory.
    lock: File,
}

impl Handle {
    pub(crate) fn start(core: Core, lock: File) -> io::Result<Self> {
        let mut handle = Self { core: Arc::new(core), threads: Vec::new(), lock };
        let threads: [(&str, Run); THREADS] = [
            ("oncelog-clock", run_clock),
            ("oncelog-prepare", run_preparer),
            ("oncelog-upkeep", run_upkeep),
            ("oncelog-commit", run_committer),
        ];
        for (name, run) in threads {
            let core = Arc::clone(&handle.core);
            handle.threads.push(Builder::new().name(name.to_owned()).spawn(move || run(&core))?);
        }
        Ok(handle)
    }

    /// Stops the threads and seals what is open. Does nothing the second time.
    pub(crate) fn shut_down(&mut self) -> Result<(), OpenError> {
        if self.core.closing.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        // While there are threads that make room for markers.
        self.core.leave_no_transaction_open();
        self.core.stopped.store(true, Ordering::Release);
        self.core.preparer.raise();
        self.core.upkeep.raise();
        self.core.committer.turns.signal.raise();
        for thread in self.threads.drain(..) {
            // A waker may drop the last handle, on the thread that woke it: that one ends by itself.
            if thread.thread().id() == std::thread::current().id() {
                continue;
            }
            // A thread of ours that panicked has left its work undone, which sealing does not need.
            let _ = thread.join();
        }
        // What the direct window holds in memory alone goes to the files, whether anybody has waited for it or not.
        self.core.commit_in_background();
        let mut result = Ok(());
        if let Some(DurableError::Poisoned { doing, source }) = self.core.committer.poison() {
            // Nothing is sealed that may not be on the device: the next opening finds out what is.
            self.core.waiters.close();
            return Err(OpenError::Io { doing, path: self.core.directory.clone(), source });
        }
        for partition in self.core.all_partitions() {
            result = result.and(partition.close());
        }
        event!(INFO, directory = %self.core.directory.display(), is_sealed = result.is_ok(), "the log was closed");
        self.core.waiters.close();
        result
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Whoever wants to know calls `Log::close`. Reopening mends what could not be sealed here.
        let _ = self.shut_down();
        // And not only closed: a process that somebody begins at this moment holds the open file too, until it runs.
        let _ = sys::unlock(&self.lock);
    }
}

fn run_clock(core: &Core) {
    while !core.is_stopped() {
        core.clock.refresh();
        let pause = core.waiters.look(TICK);
        if core.asked.load(Ordering::Relaxed) && core.asked.swap(false, Ordering::AcqRel) {
            core.preparer.raise();
            core.upkeep.raise();
        }
        std::thread::sleep(pause);
    }
}

fn run_preparer(core: &Core) {
    while !core.is_stopped() {
        // One segment a partition in turn, so that a partition that asks for many does not hold up the others.
        let (mut more, mut waits) = (false, false);
        for partition in core.awake_partitions() {
            if partition.wants_segment.swap(false, Ordering::AcqRel) {
                if core.is_worth_waiting(&partition) {
                    partition.wants_segment.store(true, Ordering::Release);
                    waits = true;
                    continue;
                }
                more |= partition.prepare_one(core.clock.now_ms());
                // It may have seemed to be at rest, after its wish was taken and before there was a segment.
                core.wake(&partition);
            }
            if core.is_stopped() {
                return;
            }
        }
        if !more {
            core.preparer.wait(if waits { TICK } else { UPKEEP_PERIOD });
        }
    }
}

fn run_committer(core: &Core) {
    let interval = core.options.interval();
    let bytes = match core.options.window {
        Window::Mapped => core.options.flush_bytes,
        Window::Direct => Some(core.options.flush_bytes.unwrap_or(STREAM_BYTES)),
    };
    let is_much = || bytes.is_some_and(|most| core.awake_partitions().iter().any(|one| one.dirty_bytes() >= most));
    let pause = match (interval, core.options.flush_bytes) {
        (_, Some(_)) => TICK,
        (Some(interval), None) => interval,
        (None, None) => UPKEEP_PERIOD,
    };
    let mut last = Instant::now();
    // A log that is appended to without pause is flushed without pause.
    let mut streams = false;
    while !core.is_stopped() {
        if !(streams && is_much()) {
            core.committer.turns.signal.wait(if streams { TICK } else { pause });
        }
        let due = interval.is_some_and(|interval| last.elapsed() >= interval) || is_much();
        if due || core.committer.is_behind.swap(false, Ordering::AcqRel) || core.committer.turns.tasks_wait() {
            let before = core.committer.bytes.load(Ordering::Relaxed);
            core.commit_in_background();
            streams = core.committer.bytes.load(Ordering::Relaxed) - before >= STREAM_BYTES;
            last = Instant::now();
        }
    }
}

fn run_upkeep(core: &Core) {
    let mut looked_at = 0;
    while !core.is_stopped() {
        if !core.committer.is_poisoned() {
            core.look_after_transactions();
        }
        let mut idle = Vec::new();
        for partition in core.partitions_to_look_at(&mut looked_at) {
            if core.is_stopped() {
                return;
            }
            // After a failed flush nothing is sealed, stood for by a snapshot or dropped: it may not be on the device.
            if core.committer.is_poisoned() {
                continue;
            }
            if let Err(failed_flush) = partition.upkeep(core.clock.now_ms()) {
                core.poison_by(failed_flush);
                continue;
            }
            if partition.is_awake.load(Ordering::Acquire)
                && let Some(since_ms) = partition.look_for_idleness(core.clock.now_ms())
            {
                idle.push((since_ms, partition));
            } else if partition.asks_for_segments() {
                core.preparer.raise();
            }
        }
        core.let_rest(idle);
        core.upkeep.wait(core.next_expiry().map_or(UPKEEP_PERIOD, |expiry| expiry.clamp(TICK, UPKEEP_PERIOD)));
    }
}
