//! `oncelog crash power`: the power is cut below the disk that a log is on (`disk.rs`).

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use clap::Args;

use super::calls::filter::Observed;
use super::calls::{Aligned, Calls, Wish};
use super::check::check;
use super::child::Child;
use super::course::{Bounds, Course, Dice};
use super::disk::{Images, Nested};
use super::kill::Load;

/// Cuts of one log.
const CUTS: u64 = 4;

const LIFE_MAX_US: u64 = 150_000;

/// Arguments of `oncelog crash power`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) bounds: Bounds,

    #[command(flatten)]
    pub(super) load: Load,

    /// Flush nothing: shows that the harness finds it.
    #[arg(long, hide = true)]
    pub(super) without_flush: bool,
}

pub(super) fn run(arguments: &Arguments, course: &mut Course) -> Result<(), String> {
    let place = tempfile::tempdir().map_err(|error| error.to_string())?;
    if let Err(reason) = Images::make(place.path()).and_then(|images| images.mount().map(drop)) {
        course.skip(format!("it needs root, loop devices and ext4: {reason}"));
        return Ok(());
    }
    while course.goes_on() {
        one_log(place.path(), arguments, course)?;
        course.seed += 1;
    }
    Ok(())
}

fn one_log(place: &Path, arguments: &Arguments, course: &mut Course) -> Result<(), String> {
    let mut dice = Dice::new(course.seed);
    let images = Images::make(place)?;
    let log = images.inner.join("log");
    let mut plan = arguments.load.plan(&log, course.seed, true);
    // The disk is small.
    plan.retention = true;
    plan.observed = arguments.without_flush.then_some(Observed::Unflushed);
    let mut nested = images.mount()?;
    for _ in 0..CUTS {
        if !course.goes_on() {
            break;
        }
        plan.seed = dice.roll();
        let mut child = Child::start(&plan)?;
        if arguments.without_flush {
            let calls = child.calls()?;
            thread::spawn(move || write_without_flush(&calls));
        }
        child.wait("acknowledgement", |reports| !reports.acknowledged.is_empty())?;
        thread::sleep(Duration::from_micros(dice.below(LIFE_MAX_US)));
        child.still_runs()?;
        nested.outer.cut_power().map_err(|error| format!("cutting the power: {error}"))?;
        // What is acknowledged after the cut must be there as well: its flush has succeeded.
        let acknowledged = child.kill().acknowledged;
        let Nested { inner, outer } = nested;
        drop(inner);
        drop(outer);
        nested = images.mount()?;
        plan.next = check(&log, &plan, &acknowledged, true, &mut dice)?;
        course.count(plan.window.label(), 1);
        course.count("records acknowledged at the last look of each cut", acknowledged.values().sum());
        course.step();
    }
    course.count("logs", 1);
    let Nested { inner, outer } = nested;
    drop(inner);
    drop(outer);
    Ok(())
}

/// Makes the writes of a child that are to be durable as if they were not, until it is dead.
fn write_without_flush(calls: &Calls) -> io::Result<()> {
    while calls.is_alive() {
        let Some(call) = calls.next(Duration::from_millis(20))? else { continue };
        match &call.wish {
            Wish::Write { file, at: Some(at), bytes, .. } => {
                let written = file.write_at(Aligned::of(bytes).bytes(), *at);
                calls.answer(&call, written.map(|bytes| bytes as u64))?;
            }
            _ => calls.pass(&call)?,
        }
    }
    Ok(())
}
