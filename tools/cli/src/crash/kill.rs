//! `oncelog crash kill`: the process is killed with SIGKILL, again and again on one log, and then on a fresh one.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::check::check;
use super::child::Child;
use super::course::{Course, Dice};
use super::known::Known;
use super::load::Appending;
use super::logs::{crashes, each_log, look_at_copy};

/// Most kills on one log.
const KILLS_MAX: u64 = 8;

/// Most time that a child has after its first acknowledgement.
const LIFE_MAX_US: u64 = 60_000;

pub(super) fn run(arguments: &Appending, course: &mut Course) -> Result<(), String> {
    each_log(course, |_| false, |directory, course| one_log(directory, arguments, course))
}

fn one_log(directory: &Path, arguments: &Appending, course: &mut Course) -> Result<(), String> {
    let mut dice = Dice::new(course.seed);
    let log = directory.join("log");
    let mut plan = arguments.load.plan(&log, course.seed, false);
    let mut known = Known::default();
    let kills = 1 + dice.below(KILLS_MAX);
    crashes(course, kills, plan.window, |kill, course| {
        plan.seed = dice.roll();
        let mut child = Child::start(&plan, known.clone())?;
        // One in a few is killed while it opens the log.
        let early = kill > 0 && dice.one_in(4);
        if !early {
            child.wait("acknowledgement", |reports| !reports.acknowledged.is_empty())?;
        }
        if plan.retention && !plan.truncates && kill == 0 {
            // Not left to chance: what is dropped and used again is in these logs' crashes.
            child.wait("segment that retention dropped", |_| plan.has_dropped())?;
            course.count("logs that retention has dropped from before the kill", 1);
        }
        // A truncation takes some of it.
        let life = if plan.truncates { 4 * LIFE_MAX_US } else { LIFE_MAX_US };
        thread::sleep(Duration::from_micros(dice.below(life)));
        child.still_runs()?;
        let reports = child.kill();
        let looked = if dice.one_in(2) {
            course.count("looked at in a copy, the next child finds the crash itself", 1);
            look_at_copy(&log, |copied| check(copied, &plan, &reports.known, false, &mut dice))?
        } else {
            check(&log, &plan, &reports.known, true, &mut dice)?
        };
        looked.count(&reports, course);
        (plan.next, known) = (looked.next, looked.known);
        course.count(if early { "killed while opening" } else { "killed while appending" }, 1);
        let acknowledged = reports.acknowledged.values().sum();
        course.count("records acknowledged at the last look of each log and kill", acknowledged);
        Ok(())
    })
}
