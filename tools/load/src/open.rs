//! The open loop: appends on a fixed schedule, and how late each is done.
//!
//! ```text
//!   t_0          t_1          t_2          t_3        t_i = t_0 + i / rate
//!    |--append--|.|-----------append-----------|append|.
//!                              ^due  ^send delay^ then the service time; latency is both
//! ```
//!
//! No slot is skipped: what comes late because the one before was slow counts as late. The same schedule with an
//! empty operation, measured in turn, is what the machine itself adds.

mod plan;

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use self::plan::{PREPARED_BYTES_MAX, Plan};
use crate::beside::{SameIo, keep_committing, while_beside};
use crate::closed::{Again, Repeats, Site, acknowledge};
use crate::error::LoadError;
use crate::floor::Floor;
use crate::lane::{Append, Outcome, Work};
use crate::recorder::{Recorder, floor_of, histogram, percentiles};
use crate::result::{Figure, SegmentsFrom};
use crate::spread::Spread;
use crate::stage::{Stage, options_of, throw_away};
use crate::timed::timed;
use crate::workload::{Acknowledge, Pace, Window, Workload};

/// A repeat that takes this many times its schedule is given up: it is saturated already.
const PATIENCE: f64 = 3.0;
/// Under this share of the target rate a run is saturated.
const ACHIEVED_MIN: f64 = 0.99;
/// A committer that nobody waits for does nothing for so long.
const AT_REST: Duration = Duration::from_secs(3600);
/// Raw durable writes whose time stands beside that of durable appends.
const FLOOR_WRITES: u64 = 500;

/// What an open loop gives: a figure, and the histograms that its files are made of.
pub struct OpenResult {
    /// The figure.
    pub figure: Figure,
    /// The appends.
    pub recorded: Recorder,
    /// The empty operation on the same schedule.
    pub baseline: Recorder,
}

/// Measures one workload on its schedule, and the empty operation on the same, by turns.
pub(crate) fn measure(
    workload: &Workload,
    segment_bytes: u64,
    repeats: Repeats,
    site: Site<'_>,
    rate_per_second: f64,
) -> Result<OpenResult, LoadError> {
    let ring = workload.payloads.ring(workload.batch);
    let plan = Plan::new(workload, rate_per_second, repeats.seconds / repeats.least as f64);
    let extent = plan.extent(workload, segment_bytes);
    let mut recorded: Option<Recorder> = None;
    let mut baseline: Option<Recorder> = None;
    let (mut baseline_io, mut at_rest) = (None::<Recorder>, None::<Recorder>);
    let (mut rates, mut rotations, mut faults, mut given_up) = (Vec::new(), 0, 0, false);
    let (mut medians, mut medians_at_rest, mut syncs) = (Vec::new(), Vec::new(), 0);
    // Something is written and flushed meanwhile; in the direct window without pause, to see what that does to appends.
    let with_io = workload.window == Window::Direct || workload.acknowledge == Acknowledge::Durable;
    let busy = workload.window == Window::Direct && workload.acknowledge != Acknowledge::Durable;
    for repeat in 0..repeats.least {
        let start = Duration::from_secs_f64(repeat as f64 * plan.recorded_seconds);
        let scratch = tempfile::tempdir_in(site.scratch).map_err(LoadError::io("a scratch directory"))?;
        let kept = site.kept.filter(|_| repeat + 1 == repeats.least);
        let mut stage = match kept {
            Some(log) => Stage::within(log, &workload.label(), workload, &ring, extent, site.seed)?,
            None => Stage::open(&scratch.path().join("own"), workload, &ring, extent, site.seed)?,
        };
        stage.warm_up()?;
        stage.prepare()?;
        if with_io {
            stage.wait_until_durable()?;
        }
        let (rotations_before, flushes_before) = (stage.rotations(), stage.flushes());
        let ran = run(plan, workload, &mut stage, repeat, start, site.seed, busy)?;
        let flushes_after = stage.flushes();
        syncs = flushes_after.flushes - flushes_before.flushes;
        rotations += stage.rotations() - rotations_before;
        faults += ran.minor_faults;
        given_up |= ran.given_up;
        rates.push(ran.recorder.latency.len() as f64 / ran.seconds);
        medians.push(ran.recorder.latency.value_at_quantile(0.5) as f64);
        let seconds = ran.seconds;
        follow(&mut recorded, ran.recorder);
        stage.verify()?;
        throw_away(&scratch.path().join("own"));
        drop(stage);

        follow(&mut baseline, run_empty(plan, workload.threads, repeat, start, None)?.recorder);
        if with_io {
            let mut same = SameIo::of(site.scratch, flushes_before, flushes_after, seconds)?;
            follow(&mut baseline_io, run_empty(plan, workload.threads, repeat, start, same.as_mut())?.recorder);
        }
        if busy {
            let options = options_of(workload, extent).flush_interval(Some(AT_REST));
            let dir = scratch.path().join("at-rest");
            let mut stage = Stage::open_with(&options, &dir, workload, &ring, extent, site.seed)?;
            stage.warm_up()?;
            stage.prepare()?;
            let ran = run(plan, workload, &mut stage, repeat, start, site.seed, false)?;
            medians_at_rest.push(ran.recorder.latency.value_at_quantile(0.5) as f64);
            follow(&mut at_rest, ran.recorder);
            stage.verify()?;
            throw_away(&dir);
        }
    }
    let (Some(recorded), Some(baseline)) = (recorded, baseline) else {
        return Err(LoadError::Answer("no repeat".to_owned()));
    };
    let appends = recorded.latency.len();
    let record_bytes = workload.payloads.mean_bytes() as f64 * workload.batch as f64;
    let mut figure = Figure::of(workload);
    figure.repeats = Some(repeats.least);
    figure.appends_per_second = Spread::of(rates.iter().copied());
    figure.bytes_per_second = Spread::of(rates.iter().map(|rate| rate * record_bytes));
    figure.stored_bytes_per_record = Some(extent.frame_bytes / workload.batch as f64);
    figure.latency_ns = Some(percentiles(&recorded.latency));
    figure.service_ns = Some(percentiles(&recorded.service));
    figure.send_delay_ns = Some(percentiles(&recorded.send_delay));
    figure.baseline_ns = Some(percentiles(&baseline.latency));
    figure.baseline_io_ns = baseline_io.map(|recorder| percentiles(&recorder.latency));
    figure.at_rest_ns = at_rest.map(|recorder| percentiles(&recorder.latency));
    figure.ratio_to_at_rest = Spread::of_ratios(&medians, &medians_at_rest);
    figure.syncs = with_io.then_some(syncs);
    if busy {
        figure
            .notes
            .push("a thread waits for each newest record to be durable, so the committer never rests".to_owned());
    }
    if workload.acknowledge == Acknowledge::Durable {
        let mut floor = Floor::prepare(site.scratch, workload).map_err(LoadError::io("preparing the floor's file"))?;
        let mut times = histogram();
        floor.write(&mut times, FLOOR_WRITES)?;
        figure.floor_ns = Some(floor_of(&times));
    }
    figure.segment_bytes = Some(segment_bytes);
    figure.rotations = Some(rotations);
    figure.segments_from =
        Some(if plan.bytes(workload) > PREPARED_BYTES_MAX { SegmentsFrom::OnDemand } else { SegmentsFrom::Ahead });
    figure.minor_faults_per_thousand = Some(faults as f64 * 1e3 / appends.max(1) as f64);
    figure.verified = true;
    figure.saturated = Some(given_up || is_saturated(&rates, rate_per_second));
    figure.notes.push(format!("the first {:.0} ms of each repeat are not recorded", plan.warm_up_seconds * 1e3));
    if given_up {
        figure.notes.push(format!("given up after {PATIENCE} times the scheduled time"));
    }
    figure.per_second = Some(recorded.per_second());
    Ok(OpenResult { figure, recorded, baseline })
}

/// Bytes of files that one repeat has at one time.
pub(crate) fn bytes(workload: &Workload, segment_bytes: u64, repeats: Repeats) -> u64 {
    let Pace::Open { rate_per_second } = workload.pace else { return 0 };
    let plan = Plan::new(workload, rate_per_second, repeats.seconds / repeats.least as f64);
    plan.extent(workload, segment_bytes).bytes(workload.partitions).max(plan.bytes(workload))
}

fn follow(whole: &mut Option<Recorder>, later: Recorder) {
    match whole {
        Some(whole) => whole.follow(later),
        None => *whole = Some(later),
    }
}

fn is_saturated(rates: &[f64], target: f64) -> bool {
    Spread::of(rates.iter().copied()).is_some_and(|rates| rates.median < target * ACHIEVED_MIN)
}

struct Ran {
    recorder: Recorder,
    seconds: f64,
    given_up: bool,
    minor_faults: u64,
}

fn run(
    plan: Plan,
    workload: &Workload,
    stage: &mut Stage<'_>,
    repeat: usize,
    start: Duration,
    seed: u64,
    busy: bool,
) -> Result<Ran, LoadError> {
    let level = workload.acknowledge;
    let partitions = stage.partitions.clone();
    let duplicates = workload.duplicates;
    let mut lanes: Vec<_> = stage
        .lanes
        .iter_mut()
        .enumerate()
        .map(|(thread, lane)| (lane, Some(Scheduled::new(plan, thread, repeat, start))))
        .collect();
    let t_0 = Instant::now() + Duration::from_millis(5);
    let committing = busy.then_some(|over: &AtomicBool| keep_committing(&partitions, over));
    let (timing, ran) = while_beside(committing, || {
        timed(&mut lanes, |(lane, scheduled)| {
            let Some(scheduled) = scheduled.take() else { return Err(LoadError::Panicked) };
            let again = Again::new(duplicates, seed);
            let (ended, appended) = lane.work(Paced { scheduled, t_0, level, again })?;
            lane.appended += appended;
            Ok(ended)
        })
    })?;
    Ok(together(ran, timing.minor_faults))
}

/// The empty operation on the same schedule, with or without the same I/O beside it.
fn run_empty(
    plan: Plan,
    threads: usize,
    repeat: usize,
    start: Duration,
    same: Option<&mut SameIo>,
) -> Result<Ran, LoadError> {
    let mut lanes: Vec<_> = (0..threads).map(|thread| Some(Scheduled::new(plan, thread, repeat, start))).collect();
    let t_0 = Instant::now() + Duration::from_millis(5);
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
    Ok(together(ran, timing.minor_faults))
}

fn together(ran: Vec<Ended>, minor_faults: u64) -> Ran {
    let seconds = ran.iter().map(|ended| ended.seconds).fold(0.0, f64::max);
    let given_up = ran.iter().any(|ended| ended.given_up);
    let recorder = ran.into_iter().map(|ended| ended.recorder).reduce(|mut whole, other| {
        whole.merge(&other);
        whole
    });
    let recorder = recorder.unwrap_or_else(|| Recorder::new(0, Duration::ZERO, 0.0));
    Ran { recorder, seconds, given_up, minor_faults }
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
    fn new(plan: Plan, thread: usize, repeat: usize, start: Duration) -> Self {
        Self { plan, thread, recorder: Recorder::new(repeat, start, plan.recorded_seconds) }
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
    use std::sync::Arc;

    use super::*;
    use crate::payload::Payloads;

    fn plan(rate_per_second: f64, threads: usize) -> Plan {
        let workload = Workload { threads, ..Workload::new(Arc::new(Payloads::fixed(100))) };
        Plan::new(&workload, rate_per_second, 1.0)
    }

    #[test]
    fn slots_are_spread_evenly_over_time_and_threads() {
        let plan = plan(1_000.0, 2);
        assert_eq!(
            [plan.due(0, 0), plan.due(1, 0), plan.due(0, 1), plan.due(1, 1)],
            [0, 1_000_000, 2_000_000, 3_000_000]
        );
        assert_eq!(plan.slots(1.0), 500);
        // No rounding adds up: after an hour the schedule is still where it should be.
        assert_eq!(super::tests::plan(3.0, 1).due(0, 3 * 3600), 3_600_000_000_000);
    }

    #[test]
    fn a_slow_operation_delays_the_next_ones_and_skips_none() {
        let scheduled = Scheduled::new(plan(10_000.0, 1), 0, 0, Duration::ZERO);
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
            0,
            Duration::ZERO,
        );
        let ended = scheduled
            .run(Instant::now(), || {
                std::thread::sleep(Duration::from_millis(10));
                Ok(())
            })
            .expect("no failure");
        assert!(ended.given_up);
        assert!(is_saturated(&[ended.recorder.latency.len() as f64 / ended.seconds], 1_000.0));
    }
}
