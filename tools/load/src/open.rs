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
mod scheduled;

use std::time::Duration;

use hdrhistogram::Histogram;

use self::plan::{PREPARED_BYTES_MAX, Plan};
pub(crate) use self::scheduled::on_schedule;
use self::scheduled::{PATIENCE, Place, run, run_empty};
use crate::beside::SameIo;
use crate::closed::{Repeats, Site};
use crate::device::Writes;
use crate::error::LoadError;
use crate::floor::Floor;
use crate::recorder::{Histograms, Recorder, add, floor_of, histogram, percentiles};
use crate::result::{Figure, SegmentsFrom};
use crate::spread::Spread;
use crate::stage::{Stage, options_of, throw_away};
use crate::sys::Usage;
use crate::tail::Tails;
use crate::verdict::Verdict;
use crate::workload::{Acknowledge, Pace, Window, Workload};

/// Under this share of the target rate a run is saturated.
const ACHIEVED_MIN: f64 = 0.99;
/// A committer that nobody waits for does nothing for so long.
const AT_REST: Duration = Duration::from_secs(3600);
/// Raw durable writes whose time stands beside that of durable appends.
const FLOOR_WRITES: u64 = 500;

/// Measures one workload on its schedule, and the empty operation on the same, by turns.
pub(crate) fn measure(
    workload: &Workload,
    segment_bytes: u64,
    repeats: Repeats,
    site: Site<'_>,
    rate_per_second: f64,
) -> Result<(Figure, Histograms), LoadError> {
    let ring = workload.payloads.ring(workload.batch);
    let plan = Plan::new(workload, rate_per_second, repeats.seconds / repeats.least as f64);
    let extent = plan.extent(workload, segment_bytes);
    let mut sums = Sums::default();
    let device = Writes::of(site.scratch);
    // Something is written and flushed meanwhile; in the direct window without pause, to see what that does to appends.
    let with_io = workload.window == Window::Direct || workload.acknowledge == Acknowledge::Durable;
    let busy = workload.window == Window::Direct && workload.acknowledge != Acknowledge::Durable;
    for repeat in 0..repeats.least {
        let start = Duration::from_secs_f64(repeat as f64 * plan.recorded_seconds);
        let place = Place { repeat, start, seed: site.seed };
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
        let tails = Tails::behind(&stage, workload, |thread| plan.when_due(thread))?;
        let device_before = device.written();
        let (ran, read) = run(plan, workload, &mut stage, tails, place, busy)?;
        sums.device_bytes += device.since(device_before);
        let flushes_after = stage.flushes();
        sums.syncs = flushes_after.flushes - flushes_before.flushes;
        sums.rotations += stage.rotations() - rotations_before;
        let seconds = ran.seconds;
        sums.note(ran, read);
        sums.verdict.take(stage.verify())?;
        throw_away(&scratch.path().join("own"));
        drop(stage);

        let empty = run_empty(plan, workload.threads, place, None)?.recorder;
        sums.baseline_p50.push(median(&empty));
        follow(&mut sums.baseline, empty);
        if with_io {
            let mut same = SameIo::of(site.scratch, flushes_before, flushes_after, seconds)?;
            follow(&mut sums.baseline_io, run_empty(plan, workload.threads, place, same.as_mut())?.recorder);
        }
        if busy {
            let options = options_of(workload, extent).flush_interval(Some(AT_REST));
            let dir = scratch.path().join("at-rest");
            let mut stage = Stage::open_with(&options, &dir, workload, &ring, extent, site.seed)?;
            stage.warm_up()?;
            stage.prepare()?;
            let tails = Tails::behind(&stage, workload, |thread| plan.when_due(thread))?;
            let (ran, _) = run(plan, workload, &mut stage, tails, place, false)?;
            sums.at_rest_p50.push(median(&ran.recorder));
            follow(&mut sums.at_rest, ran.recorder);
            sums.verdict.take(stage.verify())?;
            throw_away(&dir);
        }
    }
    let mut figure = Figure::of(workload);
    figure.repeats = Some(repeats.least);
    figure.stored_bytes_per_record = Some(extent.frame_bytes / workload.batch as f64);
    figure.segment_bytes = Some(segment_bytes);
    figure.segments_from =
        Some(if plan.bytes(workload) > PREPARED_BYTES_MAX { SegmentsFrom::OnDemand } else { SegmentsFrom::Ahead });
    figure.syncs = with_io.then_some(sums.syncs);
    figure.device_bytes_written = device.told(sums.device_bytes, repeats.least).filter(|_| with_io);
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
    figure.notes.push(format!("the first {:.0} ms of each repeat are not recorded", plan.warm_up_seconds * 1e3));
    let histograms = sums.give(&mut figure, workload, rate_per_second);
    Ok((figure, histograms))
}

/// What all repeats gave.
#[derive(Default)]
struct Sums {
    recorded: Option<Recorder>,
    read: Option<Histogram<u64>>,
    baseline: Option<Recorder>,
    baseline_io: Option<Recorder>,
    at_rest: Option<Recorder>,
    /// Appends a second.
    rates: Vec<f64>,
    /// Medians.
    p50: Vec<f64>,
    baseline_p50: Vec<f64>,
    at_rest_p50: Vec<f64>,
    rotations: u64,
    syncs: u64,
    device_bytes: u64,
    usage: Usage,
    given_up: bool,
    verdict: Verdict,
}

impl Sums {
    fn note(&mut self, ran: scheduled::Ran, read: Option<Histogram<u64>>) {
        self.usage += ran.usage;
        self.given_up |= ran.given_up;
        self.rates.push(ran.recorder.latency.len() as f64 / ran.seconds);
        self.p50.push(median(&ran.recorder));
        follow(&mut self.recorded, ran.recorder);
        if let Some(read) = read {
            add(self.read.get_or_insert_with(histogram), &read);
        }
    }

    /// Puts the values into the figure; the histograms that they came from.
    fn give(self, figure: &mut Figure, workload: &Workload, rate_per_second: f64) -> Histograms {
        let label = format!("append-{}", workload.label());
        let record_bytes = workload.payloads.mean_bytes() as f64 * workload.batch as f64;
        figure.appends_per_second = Spread::of(self.rates.iter().copied());
        figure.bytes_per_second = Spread::of(self.rates.iter().map(|rate| rate * record_bytes));
        figure.rotations = Some(self.rotations);
        figure.ratio_to_baseline = Spread::of_ratios(&self.p50, &self.baseline_p50);
        figure.ratio_to_at_rest = Spread::of_ratios(&self.p50, &self.at_rest_p50);
        figure.saturated = Some(self.given_up || is_saturated(&self.rates, rate_per_second));
        if self.given_up {
            figure.notes.push(format!("given up after {PATIENCE} times the scheduled time"));
        }
        let mut histograms = Histograms { label: label.clone(), kinds: Vec::new(), intervals: Vec::new() };
        let mut keep = |kind, histogram: Histogram<u64>| {
            let told = percentiles(&histogram);
            histograms.kinds.push((kind, histogram));
            Some(told)
        };
        if let Some(recorded) = self.recorded {
            figure.caused(self.usage, recorded.latency.len());
            figure.per_second = Some(recorded.per_second());
            figure.latency_ns = keep("latency", recorded.latency);
            figure.service_ns = keep("service", recorded.service);
            figure.send_delay_ns = keep("send-delay", recorded.send_delay);
            figure.end_to_end_ns = self.read.and_then(|read| keep("end-to-end", read));
            figure.baseline_ns = self.baseline.and_then(|recorder| keep("baseline", recorder.latency));
            figure.baseline_io_ns = self.baseline_io.and_then(|recorder| keep("baseline-io", recorder.latency));
            figure.at_rest_ns = self.at_rest.and_then(|recorder| keep("at-rest", recorder.latency));
            histograms.intervals = recorded.intervals;
        }
        figure.histograms = Some(label);
        self.verdict.mark(figure);
        histograms
    }
}

fn median(recorder: &Recorder) -> f64 {
    recorder.latency.value_at_quantile(0.5) as f64
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_99_percent_of_the_schedule_is_saturated() {
        assert!(is_saturated(&[980.0, 985.0, 999.0], 1_000.0));
        assert!(!is_saturated(&[900.0, 995.0, 999.0], 1_000.0), "one disturbed repeat does not decide");
    }
}
