//! One life of a log: its partitions and groups, who is at work on them, and how they are stopped.

use std::{
    fmt::Display,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use oncelog::{Log, Options, Partition, TransactionError, Window};

use crate::{
    dice::Dice,
    event::{What, transaction_of},
    recorder::Recorder,
    workers,
};

/// Partitions; the first one is what groups read.
pub(crate) const PARTITIONS: u32 = 4;
pub(crate) const GROUPS: u32 = 2;

const GOES_ON: u8 = 0;
/// Everybody ends what they have begun.
const FINISH: u8 = 1;
/// Everybody stops where they are: what is open stays so.
const DROP_ALL: u8 = 2;

pub(crate) fn partition_name(number: u32) -> String {
    format!("p{number}")
}

pub(crate) fn group_name(number: u32) -> String {
    format!("group {number}")
}

/// A transaction by id whose commit was called in an earlier life, and never answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The attempt.
    pub attempt: u64,
    /// Producer, epoch and number.
    pub id: (u64, u32, u64),
}

/// One life of a log, with all who are at work on it.
pub struct Stage<'a> {
    pub(crate) log: &'a Log,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) recorder: &'a Recorder,
    seed: u64,
    stop: AtomicU8,
    attempts: AtomicU64,
    readers: AtomicU64,
}

impl<'a> Stage<'a> {
    /// Options that put rotation, snapshots and flushes into every life.
    #[must_use]
    pub fn options(window: Window) -> Options {
        Options::new()
            .window(window)
            .segment_bytes(64 << 10)
            .segments_ahead(2)
            .snapshot_bytes(64 << 10)
            .producers_max(64)
    }

    /// Sets the stage for a log's life of that number, which is its own.
    ///
    /// # Errors
    /// What could not be opened, in words.
    pub fn new(log: &'a Log, recorder: &'a Recorder, seed: u64, life: u64) -> Result<Self, String> {
        let partitions: Result<_, _> = (0..PARTITIONS).map(|number| log.partition(&partition_name(number))).collect();
        Ok(Self {
            log,
            partitions: partitions.map_err(|error| error.to_string())?,
            recorder,
            seed,
            stop: AtomicU8::new(GOES_ON),
            attempts: AtomicU64::new(life << 32),
            readers: AtomicU64::new(0),
        })
    }

    /// Asks once more for the ends of what an earlier life has left.
    pub fn ask_again(&self, pending: &[Pending]) {
        for Pending { attempt, id } in pending {
            match self.log.commit_transaction(transaction_of(*id)) {
                Ok(_) => self.recorder.record(What::Committed { attempt: *attempt }),
                Err(TransactionError::Aborted { .. } | TransactionError::Fenced { .. }) => {
                    self.aborted(*attempt, "a commit, asked again after a crash");
                }
                // One that wrote nothing, or whose producer has had others since.
                Err(TransactionError::NotOpen { .. }) => {}
                Err(error) => self.strange(format!("attempt {attempt}, a commit asked again: {error}")),
            }
        }
    }

    /// Lets everybody work for that long. Then they finish what they have begun, or leave everything as it is.
    pub fn run(&self, time: Duration, finish: bool) {
        thread::scope(|scope| {
            self.start(scope);
            thread::sleep(time);
            self.stop.store(if finish { FINISH } else { DROP_ALL }, Ordering::SeqCst);
        });
    }

    /// Lets everybody work until the process ends.
    pub fn run_for_ever(&self) {
        thread::scope(|scope| self.start(scope));
    }

    fn start<'scope>(&'scope self, scope: &'scope thread::Scope<'scope, '_>) {
        let mut dice = Dice::new(self.seed);
        let mut begin = |work: fn(&Stage<'_>, u32, Dice) -> Result<(), String>, number: u32| {
            let dice = Dice::new(dice.roll());
            scope.spawn(move || {
                if let Err(strange) = work(self, number, dice) {
                    self.strange(strange);
                }
            });
        };
        for number in 0..2 {
            begin(workers::session::run, number);
            begin(workers::by_id::run, number);
        }
        for number in 0..3 {
            // Two of them are of one group.
            begin(workers::consumer::run, number);
        }
        begin(workers::rival::run, 0);
        begin(workers::plain::run, 0);
        begin(workers::readers::run, 0);
        begin(workers::readers::watch, 0);
    }

    /// Whether to begin nothing more.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst) != GOES_ON
    }

    /// Whether to leave everything as it is.
    pub(crate) fn is_crashed(&self) -> bool {
        self.stop.load(Ordering::SeqCst) == DROP_ALL
    }

    pub(crate) fn attempt(&self) -> u64 {
        self.attempts.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn reader(&self) -> u64 {
        self.readers.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn partition(&self, number: u32) -> Result<&Partition, String> {
        self.partitions.get(number as usize).ok_or_else(|| format!("there is no partition {number}"))
    }

    pub(crate) fn strange(&self, what: String) {
        self.recorder.record(What::Strange { what });
    }

    pub(crate) fn count(&self, what: &str) {
        self.recorder.record(What::Count { what: what.to_owned() });
    }

    pub(crate) fn aborted(&self, attempt: u64, why: &str) {
        self.recorder.record(What::Aborted { attempt, why: why.to_owned() });
    }
}

/// An error in words.
pub(crate) fn words<E: Display>(doing: &str) -> impl FnOnce(E) -> String + '_ {
    move |error| format!("{doing}: {error}")
}
