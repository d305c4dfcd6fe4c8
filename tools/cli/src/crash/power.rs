//! `oncelog crash power`: the power is cut below the disk that a log is on (`disk.rs`).

use std::io;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use super::calls::filter::Observed;
use super::calls::{Aligned, Calls, Wish};
use super::check::check;
use super::child::Child;
use super::course::Course;
use super::course::Dice;
use super::disk::Images;
use super::known::Known;
use super::load::Cutting;
use super::logs::{crashes, each_disk};

/// Cuts of one log.
const CUTS: u64 = 4;

const LIFE_MAX_US: u64 = 150_000;

pub(super) fn run(arguments: &Cutting, course: &mut Course) -> Result<(), String> {
    each_disk(course, |images, course| one_log(images, arguments, course))
}

fn one_log(images: &Images, arguments: &Cutting, course: &mut Course) -> Result<(), String> {
    let mut dice = Dice::new(course.seed);
    let log = images.inner.join("log");
    let mut plan = arguments.load.plan(&log, course.seed, true);
    // The disk is small.
    plan.retention = true;
    plan.observed = arguments.without_flush.then_some(Observed::Unflushed);
    let mut nested = images.mount()?;
    let mut known = Known::default();
    crashes(course, CUTS, plan.window, |_, course| {
        plan.seed = dice.roll();
        let mut child = Child::start(&plan, known.clone())?;
        if arguments.without_flush {
            let calls = child.calls()?;
            thread::spawn(move || write_without_flush(&calls));
        }
        child.wait("acknowledgement", |reports| !reports.acknowledged.is_empty())?;
        thread::sleep(Duration::from_micros(dice.below(LIFE_MAX_US)));
        child.still_runs()?;
        nested.cut_power()?;
        // What is acknowledged after the cut must be there as well: its flush has succeeded.
        let reports = child.kill();
        nested.mount_again(images)?;
        let looked = check(&log, &plan, &reports.known, true, &mut dice)?;
        looked.count(&reports, course);
        (plan.next, known) = (looked.next, looked.known);
        course.count("records acknowledged at the last look of each cut", reports.acknowledged.values().sum());
        Ok(())
    })
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
