//! `oncelog crash kill`: the process is killed with SIGKILL, again and again on one log, and then on a fresh one.

use std::path::Path;
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::check::check;
use super::child::Child;
use super::course::{Bounds, Course, Dice};
use super::logs::{crashes, each_log, look_at_copy};
use super::plan::{Idempotence, Plan, Side};

/// Most kills on one log.
const KILLS_MAX: u64 = 8;

/// Most time that a child has after its first acknowledgement.
const LIFE_MAX_US: u64 = 60_000;

/// Arguments of `oncelog crash kill`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) bounds: Bounds,

    #[command(flatten)]
    pub(super) load: Load,
}

/// What is appended while it crashes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Load {
    /// The memory that is written to.
    #[arg(long, value_enum, default_value_t = Windows::Both)]
    pub(super) window: Windows,

    /// How retries are recognised; mixed has writers of each kind.
    #[arg(long, value_enum, default_value_t = Idempotence::Mixed)]
    idempotence: Idempotence,

    /// Threads that append, each with records of its own.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Windows {
    Mapped,
    Direct,
    Both,
}

impl Windows {
    /// The one of a log; of both, they take turns.
    pub(super) const fn side(self, seed: u64) -> Side {
        match self {
            Self::Mapped => Side::Mapped,
            Self::Direct => Side::Direct,
            Self::Both if seed.is_multiple_of(2) => Side::Mapped,
            Self::Both => Side::Direct,
        }
    }
}

impl Load {
    /// The plan of one log. Acknowledged is what survives a kill, unless `durable` asks for what survives a power cut.
    pub(super) fn plan(&self, dir: &Path, seed: u64, durable: bool) -> Plan {
        let window = self.window.side(seed);
        Plan {
            dir: dir.to_owned(),
            window,
            idempotence: self.idempotence,
            threads: self.threads,
            transactors: 0,
            seed,
            retention: (seed / 2).is_multiple_of(2),
            durable: durable || window == Side::Direct,
            // Few flushes leave much to lose, over several segments; many leave many marks.
            waits_every: if (seed / 4).is_multiple_of(2) { 8 } else { 200 },
            next: Vec::new(),
            observed: None,
        }
    }
}

pub(super) fn run(arguments: &Arguments, course: &mut Course) -> Result<(), String> {
    each_log(course, |_| false, |directory, course| one_log(directory, arguments, course))
}

fn one_log(directory: &Path, arguments: &Arguments, course: &mut Course) -> Result<(), String> {
    let mut dice = Dice::new(course.seed);
    let log = directory.join("log");
    let mut plan = arguments.load.plan(&log, course.seed, false);
    let kills = 1 + dice.below(KILLS_MAX);
    crashes(course, kills, plan.window, |kill, course| {
        plan.seed = dice.roll();
        let mut child = Child::start(&plan)?;
        // One in a few is killed while it opens the log.
        let early = kill > 0 && dice.one_in(4);
        if !early {
            child.wait("acknowledgement", |reports| !reports.acknowledged.is_empty())?;
        }
        if plan.retention && kill == 0 {
            // Not left to chance: what is dropped and used again is in these logs' crashes.
            child.wait("segment that retention dropped", |_| plan.has_dropped())?;
            course.count("logs that retention has dropped from before the kill", 1);
        }
        thread::sleep(Duration::from_micros(dice.below(LIFE_MAX_US)));
        child.still_runs()?;
        let acknowledged = child.kill().acknowledged;
        let next = if dice.one_in(2) {
            course.count("looked at in a copy, the next child finds the crash itself", 1);
            look_at_copy(&log, |copied| check(copied, &plan, &acknowledged, false, &mut dice))?
        } else {
            check(&log, &plan, &acknowledged, true, &mut dice)?
        };
        course.count(if early { "killed while opening" } else { "killed while appending" }, 1);
        course.count("records acknowledged at the last look of each log and kill", acknowledged.values().sum());
        plan.next = next;
        Ok(())
    })
}
