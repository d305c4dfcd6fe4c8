//! Whose turn it is to make records durable, and who waits for it.
//!
//! The role is taken by whoever needs it: a thread that waits for its record becomes the committer if nobody is, so that
//! the one that waits alone pays for no hand-over. Who comes while a round is under way rides the next one. A round that
//! follows a group waits, up to the time of one flush, for those whom the last one woke: they are likely to be back. The
//! last of them begins it. The first only sleeps for so long, in case they are not: being woken takes longer than coming.
//!
//! Generic over what has a durable mark, so that the models of `tests/loom/` run it as it is.

use crate::{
    raw::word::Word,
    signal::Signal,
    sync::{Arc, AtomicU64, Instant, Mutex, MutexGuard, Ordering, PoisonError, pause},
};
use std::{io, sync::OnceLock, task::Waker, time::Duration};

/// A round waits for those whom the last one woke for as long as so many rounds took.
const LINGER_ROUNDS: u32 = 2;
/// And not longer than this.
const LINGER_MAX: Duration = Duration::from_millis(1);

/// Pause of a committer that finds nothing to write while somebody waits: a frame before the one waited for is open.
pub(crate) const OPEN_FRAME_PAUSE: Duration = Duration::from_micros(50);

/// What was being done, and why it failed.
pub(crate) type Failure = (&'static str, io::Error);

/// What has a durable mark.
pub(crate) trait Marked {
    /// Offset behind the last durable record.
    fn durable_offset(&self) -> u64;
}

/// How waiting for an offset ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Durable,
    TimedOut,
    /// A write or a flush has failed, and the offset was not durable before.
    Failed,
}

/// Who waits for an offset to be durable.
struct Waiting<P> {
    partition: Arc<P>,
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

pub(crate) struct Role<P> {
    taken: bool,
    waiting: Vec<Waiting<P>>,
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

impl<P> Role<P> {
    const fn new() -> Self {
        Self {
            taken: false,
            waiting: Vec::new(),
            tickets: 0,
            round: 0,
            lingers: None,
            expected: 0,
            last_round: Duration::ZERO,
        }
    }

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
    fn seat(&mut self, partition: &Arc<P>, offset: u64) -> Seat {
        self.tickets += 1;
        let seat = Seat { ticket: self.tickets, round: self.round + u64::from(self.taken) };
        let wake = Wake::Thread { round: seat.round };
        self.waiting.push(Waiting { partition: Arc::clone(partition), offset, ticket: seat.ticket, wake });
        seat
    }

    /// The partitions that somebody waits for.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &Arc<P>> {
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
pub(crate) struct Turns<P> {
    role: Mutex<Role<P>>,
    /// Changed when a round is over: of an even round the first, of an odd one the second. Those who wait for it sleep on
    /// it, and one call wakes them all.
    words: [Word; 2],
    /// The role's, to be read without its lock.
    round: AtomicU64,
    /// Rouses the committer's own thread, which commits for tasks and by interval.
    pub(crate) signal: Signal,
    /// 0 until something has failed. Set behind what it was, by whoever has the role; read by everyone.
    failed: AtomicU64,
    failure: OnceLock<Failure>,
}

impl<P: Marked> Turns<P> {
    pub(crate) fn new() -> Self {
        Self {
            role: Mutex::new(Role::new()),
            words: [Word::new(), Word::new()],
            round: AtomicU64::new(0),
            signal: Signal::default(),
            failed: AtomicU64::new(0),
            failure: OnceLock::new(),
        }
    }

    pub(crate) fn role(&self) -> MutexGuard<'_, Role<P>> {
        self.role.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As behind a round that so many have waited for.
    #[cfg(loom)]
    pub(crate) fn expect(&self, waiters: usize) {
        self.role().expected = waiters;
    }

    /// What failed, if anything has.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        if self.has_failed() { self.failure.get() } else { None }
    }

    /// Whether a write or a flush has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire) != 0
    }

    /// Notes what failed; the first failure counts.
    pub(crate) fn fail(&self, failure: Failure) {
        let _ = self.failure.set(failure);
        // Release: pairs with the Acquire in `has_failed`.
        self.failed.store(1, Ordering::Release);
    }

    /// Waits until `offset` is durable. Where this thread gets the role, `round` makes what there is so, and says whether
    /// any mark moved; `behind` is called when the role is given up. What is not there any more, as `gone` says, is waited for
    /// no longer.
    pub(crate) fn wait(
        &self,
        partition: &Arc<P>,
        offset: u64,
        timeout: Duration,
        round: impl Fn() -> bool,
        behind: impl Fn(),
        gone: impl Fn() -> bool,
    ) -> Waited {
        let until = Instant::now().checked_add(timeout);
        let covered = || partition.durable_offset() > offset || gone();
        let mut seat = None;
        loop {
            if let Some(ended) = self.ended(covered) {
                self.leave(seat);
                return ended;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                self.leave(seat);
                return if covered() { Waited::Durable } else { Waited::TimedOut };
            }
            if let Turn::Wait { round, value, pause } = self.enter(partition, offset, &mut seat) {
                // A mark that moved before the entry was made has not woken this thread.
                if !covered() {
                    self.word(round).sleep(value, pause.into_iter().chain(left).min());
                }
                continue;
            }
            let moved = round();
            self.hand_over(true);
            behind();
            if !moved && !covered() && !self.has_failed() {
                pause(left.map_or(OPEN_FRAME_PAUSE, |left| left.min(OPEN_FRAME_PAUSE)));
            }
        }
    }

    /// How waiting has ended, if it has. The failure is looked at before the mark, which moves no more behind it: what became
    /// durable before the failure is never taken for what it has hit.
    pub(crate) fn ended(&self, covered: impl Fn() -> bool) -> Option<Waited> {
        let failed = self.has_failed();
        if covered() { Some(Waited::Durable) } else { failed.then_some(Waited::Failed) }
    }

    /// One round, by whoever has the role: whether any mark moved. Behind one that has failed there is none any more.
    pub(crate) fn round(&self, flush: impl FnOnce() -> Result<bool, Failure>) -> bool {
        if self.has_failed() {
            return false;
        }
        let begun = Instant::now();
        let done = flush();
        self.role().last_round = Instant::now().saturating_duration_since(begun);
        done.unwrap_or_else(|failure| {
            self.fail(failure);
            false
        })
    }

    /// Seats the calling thread among those that wait, or makes it the committer.
    pub(crate) fn enter(&self, partition: &Arc<P>, offset: u64, seat: &mut Option<Seat>) -> Turn {
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
        Turn::Wait { round: own.round, value: self.word(own.round).value(), pause }
    }

    fn word(&self, round: u64) -> &Word {
        &self.words[(round & 1) as usize]
    }

    /// Wakes `waker` once `offset` is durable.
    pub(crate) fn add_waker(&self, partition: &Arc<P>, offset: u64, waker: &Waker) {
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
    fn rouse_one(&self, role: &Role<P>) {
        match role.waiting.first().map(|waiting| &waiting.wake) {
            None => {}
            Some(Wake::Thread { round }) => {
                // Changed for one that is about to sleep; what those who do so already have seen of it is of no matter.
                self.word(*round).change();
                self.word(*round).wake(1);
            }
            // A task has no thread to commit with: the committer's own thread does it.
            Some(Wake::Task(_)) => self.signal.raise(),
        }
    }

    /// Gives the role up, wakes whom the marks cover, and one of the others, who takes it on.
    pub(crate) fn hand_over(&self, own: bool) {
        let mut covered = Vec::new();
        let failed = self.has_failed();
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
                *round > over && !failed
            }
            Wake::Task(waker) => {
                let covers = failed || waiting.partition.durable_offset() > waiting.offset;
                if covers {
                    covered.push(waker.clone());
                }
                !covers
            }
        });
        self.word(over).change();
        if failed {
            self.word(over + 1).change();
        }
        self.rouse_one(&role);
        drop(role);
        // One call for all of them.
        if threads {
            self.word(over).wake(u32::MAX);
        }
        if failed {
            self.word(over + 1).wake(u32::MAX);
        }
        // Without the lock: a waker may run code of its own.
        covered.into_iter().for_each(Waker::wake);
    }

    /// Whether tasks wait, for whom the committer's own thread must commit.
    pub(crate) fn tasks_wait(&self) -> bool {
        self.role().waiting.iter().any(|waiting| matches!(waiting.wake, Wake::Task(_)))
    }
}
