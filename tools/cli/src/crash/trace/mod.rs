//! `oncelog crash trace`: what a process writes and flushes is observed, call by call, and the power is cut in thought
//! between two of them.
//!
//! ```text
//! child:    the log as it is, four writers      every call that changes a file or flushes stops here
//! harness:  makes the call in its place         cache.rs: what is on the device for certain, what may be
//!           at some calls: a directory of what a cut may leave, opened and compared with what was acknowledged
//! ```
//!
//! Rings of io_uring are refused to the child, since what they write would pass unseen: it falls back to calls. Power cuts
//! see the rings.
//!
//! The next child goes on from what a cut has left, so that reopening is cut off as well; or, now and then, from what the
//! kill of the child has left, with a cache that holds what was never flushed.

mod cache;
mod cut;
mod names;

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::calls::filter::Observed;
use super::calls::{Call, Calls, Wish};
use super::check::{Looked, check};
use super::child::{Child, Reports};
use super::course::{Course, Dice};
use super::known::Known;
use super::load::Cutting;
use super::logs::{Stop, crashes, each_log, look_at_copy};
use super::plan::{Plan, Side};

use self::cache::{Cache, Done};

/// Most lives of one log.
const LIVES_MAX: u64 = 4;

/// Most calls of a life.
const CALLS_MAX: u64 = 400;

/// Cuts of a life besides the one that ends it.
const CUTS: u64 = 3;

/// Longest time without a call.
const SILENCE_MAX: Duration = Duration::from_secs(20);

pub(super) fn run(arguments: &Cutting, course: &mut Course) -> Result<(), String> {
    // Flushes are observed, not waited for: in memory all else is quick too.
    each_log(course, |_| true, |place, course| one_log(place, arguments, course))
}

fn one_log(place: &Path, arguments: &Cutting, course: &mut Course) -> Result<(), Stop> {
    let mut dice = Dice::new(course.seed);
    let io = |error: io::Error| Stop::Fault(error.to_string());
    let mut plan = arguments.load.plan(Path::new(""), course.seed, true);
    plan.observed = Some(Observed::Files);
    let mut disk = place.join("0");
    fs::create_dir(&disk).map_err(io)?;
    let mut before = Before::default();
    let lives = 1 + dice.below(LIVES_MAX);
    crashes(course, lives, plan.window, |life, course| {
        plan.seed = dice.roll();
        plan.dir = disk.join("log");
        let mut cache = match before.cache.take() {
            Some(cache) => cache,
            None => Cache::new(&disk, !arguments.without_flush, dice.one_in(2)).map_err(io)?,
        };
        let reports = one_life(place, &plan, &before, &mut cache, course, &mut dice)?;
        if dice.one_in(3) {
            // Killed, and nothing cut: what was not flushed is still in the cache when the next process opens the log.
            let looked =
                look_at_copy(&disk, |copied| check(&copied.join("log"), &plan, &reports.known, false, &mut dice))?;
            looked.count(&reports, course);
            plan.next = looked.next;
            before.cache = Some(cache);
            before.known = reports.known;
            before.known.note(looked.became);
            course.count("processes killed with the cache left as it was", 1);
        } else {
            let left = place.join("left");
            let looked = cut(&left, &cache, || reports.clone(), &before.plan(&plan), false, course, &mut dice)?;
            looked.count(&reports, course);
            plan.next.clone_from(&looked.next);
            fs::remove_dir_all(&disk).map_err(io)?;
            disk = place.join((life + 1).to_string());
            fs::rename(&left, &disk).map_err(io)?;
            before = Before { cache: None, known: looked.known, next: looked.next };
        }
        Ok(())
    })
}

/// What is known when a process begins.
#[derive(Default)]
struct Before {
    /// The disk, if it was not cut off since the last process.
    cache: Option<Cache>,
    /// What is on the device for certain, and what was said since.
    known: Known,
    /// By writer, the number that came next after the last cut.
    next: Vec<u64>,
}

impl Before {
    /// The plan by which what a cut leaves is looked at.
    fn plan(&self, plan: &Plan) -> Plan {
        Plan { next: self.next.clone(), ..plan.clone() }
    }
}

/// Lets a process run for some calls, and looks at cuts meanwhile. Returns all that it has said.
fn one_life(
    place: &Path,
    plan: &Plan,
    before: &Before,
    cache: &mut Cache,
    course: &mut Course,
    dice: &mut Dice,
) -> Result<Reports, Stop> {
    let mut child = Child::start(plan, before.known.clone())?;
    let calls = match child.calls() {
        Ok(calls) => calls,
        // Where a filter or a look at another process is forbidden, which a container may do.
        Err(reason) => return Err(Stop::Skip(format!("system calls cannot be observed here: {reason}"))),
    };
    let last = 1 + dice.below(CALLS_MAX);
    let mut cuts: Vec<u64> = (0..CUTS).map(|_| dice.below(last)).collect();
    cuts.sort_unstable();
    let mut silent_since = Instant::now();
    let mut seen = 0;
    while seen < last {
        let next = calls.next(Duration::from_millis(100)).map_err(|error| format!("hearing of a call: {error}"))?;
        let Some(call) = next else {
            child.still_runs()?;
            if silent_since.elapsed() > SILENCE_MAX {
                return Err(Stop::Fault(format!("the process has called for nothing in {SILENCE_MAX:?}")));
            }
            continue;
        };
        for _ in cuts.iter().filter(|cut| **cut == seen) {
            let directory = place.join("cut");
            let looked_at = before.plan(plan);
            cut(&directory, cache, || child.reports(), &looked_at, dice.one_in(2), course, dice)?;
            fs::remove_dir_all(&directory).map_err(|error| error.to_string())?;
        }
        answer(&calls, &call, cache).map_err(|error| format!("answering {:?}: {error}", call.wish))?;
        silent_since = Instant::now();
        seen += 1;
    }
    child.still_runs()?;
    course.count("calls observed", seen);
    course.count("flushes among them", std::mem::take(&mut cache.flushes_seen));
    // Killed between two calls; what it said before it died counts.
    Ok(child.kill())
}

fn answer(calls: &Calls, call: &Call, cache: &mut Cache) -> io::Result<()> {
    if let Wish::AskKind { address } = &call.wish {
        calls.tell(*address, &cache.kind())?;
        return calls.answer(call, Ok(0));
    }
    match cache.perform(&call.wish) {
        Ok(Done::Value(value)) => calls.answer(call, Ok(value)),
        Ok(Done::Opened(file)) => calls.give(call, &file),
        Ok(Done::Nothing) => calls.pass(call),
        Err(error) => calls.answer(call, Err(error)),
    }
}

/// Puts what a cut may leave into `directory`, and looks at a copy of it.
fn cut(
    directory: &Path,
    cache: &Cache,
    reports: impl FnOnce() -> Reports,
    plan: &Plan,
    append_on: bool,
    course: &mut Course,
    dice: &mut Dice,
) -> Result<Looked, String> {
    let io = |error: io::Error| error.to_string();
    fs::create_dir(directory).map_err(io)?;
    let loss = cache.cut_power(directory, plan.window == Side::Mapped, dice).map_err(io)?;
    // Behind the copy, since a process goes on meanwhile that stores in its pages: what they hold it has announced by now, and
    // what it has acknowledged was flushed by calls that were answered before.
    let reports = reports();
    let looked = look_at_copy(directory, |copied| check(&copied.join("log"), plan, &reports.known, append_on, dice))?;
    course.count("cuts looked at", 1);
    course.count("records acknowledged before them", reports.acknowledged.values().map(|number| number + 1).sum());
    course.count("sectors and pages not flushed", loss.unflushed);
    course.count("sectors and pages lost", loss.lost);
    course.count("names and lengths lost", loss.changes);
    Ok(looked)
}
