//! Threads on a schedule: each waits for its next slot, appends, and notes when.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::plan::Plan;
use hdrhistogram::Histogram;

use crate::beside::{SameIo, keep_committing, while_beside};
use crate::closed::{Again, acknowledge};
use crate::error::LoadError;
use crate::lane::{Append, Outcome, Work};
use crate::recorder::Recorder;
use crate::stage::Stage;
use crate::sys::Usage;
use crate::tail::Tails;
use crate::timed::timed;
use crate::workload::{Acknowledge, Workload};

/// A repeat that takes this many times its schedule is given up: it is saturated already.
pub(super) const PATIENCE: f64 = 3.0;

/// Between setting up and the first slot: threads have to start.
const BEFORE_THE_FIRST: Duration = Duration::from_millis(5);

/// Which repeat it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) repeat: usize,
    /// Where it begins, of all that is recorded.
    pub(super) start: Duration,
    pub(super) seed: u64,
}

/// An operation on a schedule of one thread, without a log: what the schedule itself does.
pub(crate) fn on_schedule(
    rate_per_second: f64,
    seconds: f64,
    mut operation: impl FnMut(),
) -> Result<Recorder, LoadError> {
    let plan = Plan::of_rate(rate_per_second, seconds, 1);
    let scheduled = Scheduled::new(plan, 0, Place::default());
    let ended = scheduled.run(Instant::now() + BEFORE_THE_FIRST, || {
        operation();
        Ok(())
    })?;
    Ok(ended.recorder)
}

/// One repeat of all threads.
pub(super) struct Ran {
    pub(super) recorder: Recorder,
    pub(super) seconds: f64,
    pub(super) given_up: bool,
    pub(super) usage: Usage,
}

/// The appends of a stage on their schedule, with readers behind them if there are any.
pub(super) fn run(
    plan: Plan,
    workload: &Workload,
    stage: &mut Stage<'_>,
    tails: Tails,
    place: Place,
    busy: bool,
) -> Result<(Ran, Option<Histogram<u64>>), LoadError> {
    let level = workload.acknowledge;
    let partitions = stage.partitions.clone();
    let duplicates = workload.duplicates;
    let mut lanes: Vec<_> = stage
        .lanes
        .iter_mut()
        .enumerate()
        .map(|(thread, lane)| (lane, Some(Scheduled::new(plan, thread, place))))
        .collect();
    let t_0 = Instant::now() + BEFORE_THE_FIRST;
    let committing = busy.then_some(|over: &AtomicBool| keep_committing(&partitions, over));
    let appending = || {
        timed(&mut lanes, |(lane, scheduled)| {
            let Some(scheduled) = scheduled.take() else { return Err(LoadError::Panicked) };
            let again = Again::new(duplicates, place.seed);
            let (ended, appended) = lane.work(Paced { scheduled, t_0, level, again })?;
            lane.appended += appended;
            Ok(ended)
        })
    };
    let ((timing, ran), read) = tails.beside(t_0, || while_beside(committing, appending))?;
    Ok((together(ran, timing.usage), read))
}

/// The empty operation on the same schedule, with or without the same I/O beside it.
pub(super) fn run_empty(plan: Plan, threads: usize, place: Place, same: Option<&mut SameIo>) -> Result<Ran, LoadError> {
    let mut lanes: Vec<_> = (0..threads).map(|thread| Some(Scheduled::new(plan, thread, place))).collect();
    let t_0 = Instant::now() + BEFORE_THE_FIRST;
    let io = same.map(|same| |over: &AtomicBool| same.go_on(over));
    let (timing, ran) = while_beside(io, || {
        timed(&mut lanes, |scheduled| {
            let Some(scheduled) = scheduled.take() else { return Err(LoadError::Panicked) };
            scheduled.run(t_0, || {
                std::hint::black_box(());
                Ok(())
            })
        })
    })?;
    Ok(together(ran, timing.usage))
}

fn together(ran: Vec<Ended>, usage: Usage) -> Ran {
    let seconds = ran.iter().map(|ended| ended.seconds).fold(0.0, f64::max);
    let given_up = ran.iter().any(|ended| ended.given_up);
    let recorder = ran.into_iter().map(|ended| ended.recorder).reduce(|mut whole, other| {
        whole.merge(&other);
        whole
    });
    let recorder = recorder.unwrap_or_else(|| Recorder::new(0, Duration::ZERO, 0.0));
    Ran { recorder, seconds, given_up, usage }
}

/// One thread's slots.
struct Scheduled {
    plan: Plan,
    thread: usize,
    recorder: Recorder,
}

/// One thread that has had all its slots, or was given up.
struct Ended {
    recorder: Recorder,
    /// From the first recorded slot to the end of the last one.
    seconds: f64,
    given_up: bool,
}

impl Scheduled {
    fn new(plan: Plan, thread: usize, place: Place) -> Self {
        Self { plan, thread, recorder: Recorder::new(place.repeat, place.start, plan.recorded_seconds) }
    }

    #[inline]
    fn run(mut self, t_0: Instant, mut operation: impl FnMut() -> Result<(), LoadError>) -> Result<Ended, LoadError> {
        let plan = self.plan;
        let since_start = || Instant::now().saturating_duration_since(t_0).as_nanos() as u64;
        let warm_up = plan.slots(plan.warm_up_seconds);
        let slots = warm_up + plan.slots(plan.recorded_seconds);
        let recorded_from = plan.due(self.thread, warm_up);
        let patience = (plan.due(self.thread, slots) as f64 * PATIENCE) as u64;
        let mut done = 0;
        let mut given_up = false;
        for slot in 0..slots {
            let due = plan.due(self.thread, slot);
            // No pause in the loop: it would round the time of sending up to its own length.
            let mut sent = since_start();
            while sent < due {
                sent = since_start();
            }
            operation()?;
            done = since_start();
            if slot >= warm_up {
                self.recorder.record(due - recorded_from, sent - recorded_from, done - recorded_from);
            }
            if done > patience {
                given_up = true;
                break;
            }
        }
        let length = (done.saturating_sub(recorded_from) as f64 / 1e9).max(plan.recorded_seconds);
        Ok(Ended { recorder: self.recorder, seconds: length, given_up })
    }
}

/// One lane's appends on its schedule.
struct Paced {
    scheduled: Scheduled,
    t_0: Instant,
    level: Acknowledge,
    again: Again,
}

impl Work for Paced {
    /// What was recorded, and how many calls appended.
    type Output = (Ended, u64);

    fn on(mut self, lane: &mut impl Append) -> Result<Self::Output, LoadError> {
        let mut appended = 0;
        let ended = self.scheduled.run(self.t_0, || {
            if let Outcome::Appended { last } = lane.append(self.again.next())? {
                appended += 1;
                acknowledge(lane, last, self.level)?;
            }
            Ok(())
        })?;
        Ok((ended, appended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(rate_per_second: f64, threads: usize) -> Plan {
        Plan::of_rate(rate_per_second, 1.0, threads)
    }

    #[test]
    fn a_slow_operation_delays_the_next_ones_and_skips_none() {
        let scheduled = Scheduled::new(plan(10_000.0, 1), 0, Place::default());
        let mut calls = 0;
        let ended = scheduled
            .run(Instant::now(), || {
                calls += 1;
                if calls == 2_000 {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(())
            })
            .expect("no failure");
        assert_eq!(calls, 11_000);
        assert_eq!(ended.recorder.latency.len(), 10_000);
        // About 200 slots fell into the pause: every one of them waited, though only one was slow.
        let waited = ended.recorder.latency.len() - ended.recorder.latency.count_between(0, 1_000_000);
        assert!(waited >= 150, "{waited} slots waited");
    }

    #[test]
    fn a_rate_out_of_reach_is_saturated_and_given_up() {
        let scheduled = Scheduled::new(
            Plan { recorded_seconds: 0.02, warm_up_seconds: 0.0, ..plan(1_000.0, 1) },
            0,
            Place::default(),
        );
        let ended = scheduled
            .run(Instant::now(), || {
                std::thread::sleep(Duration::from_millis(10));
                Ok(())
            })
            .expect("no failure");
        assert!(ended.given_up);
        assert!((ended.recorder.latency.len() as f64 / ended.seconds) < 990.0);
    }
}
