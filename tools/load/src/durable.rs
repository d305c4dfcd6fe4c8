//! The durable closed loop: each append is waited for until it is on the device, and timed.
//!
//! What is compared goes by turns, a few milliseconds each: a raw direct write of the same blocks (the floor), the
//! append with idempotence off, one thread where there are several, and the append itself, then in the other
//! direction. A device drifts, and what is measured within a few milliseconds drifts together.

use std::path::Path;
use std::time::Instant;

use hdrhistogram::Histogram;
use oncelog::Log;

use crate::closed::{Again, Repeats, Site, acknowledge};
use crate::device::Writes;
use crate::error::LoadError;
use crate::floor::Floor;
use crate::lane::{Append, Outcome, Work};
use crate::recorder::{Histograms, add, floor_of, histogram, percentiles};
use crate::result::{Figure, SegmentsFrom};
use crate::spread::Spread;
use crate::stage::{Extent, Stage, frame_bytes, throw_away};
use crate::sys::Usage;
use crate::system_calls;
use crate::timed::timed;
use crate::verdict::Verdict;
use crate::verify::VerifyError;
use crate::workload::{Acknowledge, Idempotence, Workload};

/// Turns of each of those that are compared, in a repeat.
const TURNS: u64 = 8;
/// Appends of each thread in a turn.
const CALLS: u64 = 50;
/// The same where there are several, who have to find together first.
const CALLS_TOGETHER: u64 = 150;
/// No repeat appends more than this.
const BYTES_MAX: f64 = 64.0 * 1024.0 * 1024.0;

/// How much a turn appends, and into what.
pub(crate) fn extent(workload: &Workload, segment_bytes: u64) -> Extent {
    let bytes_of_call = frame_bytes(workload) * (workload.threads as u64 * TURNS) as f64;
    let calls =
        ((BYTES_MAX / bytes_of_call) as u64).clamp(1, if workload.threads > 1 { CALLS_TOGETHER } else { CALLS });
    // With the MARK frame that a round appends, and the rest of a block.
    let bytes = calls as f64 * (bytes_of_call + 64.0 * (workload.threads as u64 * TURNS) as f64);
    let segments = (bytes / segment_bytes as f64).ceil().max(1.0) as u64;
    Extent { calls, ..Extent::of(workload, segment_bytes, segments) }
}

/// Measures one workload beside its floor, and beside itself without idempotence and with one thread.
pub(crate) fn measure(
    workload: &Workload,
    segment_bytes: u64,
    repeats: Repeats,
    site: Site<'_>,
) -> Result<(Figure, Histograms), LoadError> {
    let ring = workload.payloads.ring(workload.batch);
    let off = (workload.idempotence != Idempotence::Off).then(|| workload.without_idempotence());
    let one = (workload.threads > 1).then(|| Workload { threads: 1, producers: 1, ..workload.clone() });
    let mut floor = Floor::prepare(site.scratch, workload).map_err(LoadError::io("preparing the floor's file"))?;
    let mut sums = Sums::new();
    let device = Writes::of(site.scratch);
    let start = Instant::now();
    let mut last = false;
    while !last {
        last = repeats.is_last(sums.own.len(), start.elapsed().as_secs_f64());
        let scratch = tempfile::tempdir_in(site.scratch).map_err(LoadError::io("a scratch directory"))?;
        let open = |name: &str, workload, log: Option<&Log>| {
            Side::open(&scratch.path().join(name), workload, &ring, segment_bytes, site.seed, log)
        };
        let mut own = open("own", workload, site.kept.filter(|_| last))?;
        let mut off = off.as_ref().map(|off| open("off", off, None)).transpose()?;
        let mut one = one.as_ref().map(|one| open("one", one, None)).transpose()?;
        let mut floor_times = histogram();
        let before = own.stage.flushes();
        for turn in 0..TURNS {
            let order = if turn % 2 == 0 { [0, 1, 2, 3] } else { [3, 2, 1, 0] };
            for which in order {
                match which {
                    0 => floor.write(&mut floor_times, own.extent.calls)?,
                    1 => off.as_mut().map_or(Ok(()), |off| off.turn(turn))?,
                    2 => one.as_mut().map_or(Ok(()), |one| one.turn(turn))?,
                    _ => {
                        let before = device.written();
                        own.turn(turn ^ site.seed)?;
                        sums.device_bytes += device.since(before);
                    }
                }
            }
        }
        let after = own.stage.flushes();
        sums.syncs = after.flushes - before.flushes;
        sums.bytes_written = after.bytes - before.bytes;
        sums.appends_per_sync = own.appended() as f64 / sums.syncs.max(1) as f64;
        for side in [Some(&mut own), off.as_mut(), one.as_mut()].into_iter().flatten() {
            sums.verdict.take(side.verify())?;
        }
        throw_away(scratch.path());
        sums.note(&own, off.as_ref(), one.as_ref(), &floor_times);
    }
    let device_bytes_written = device.told(sums.device_bytes, sums.own.len());
    let (mut figure, histograms) = sums.figure(workload, segment_bytes, site);
    figure.device_bytes_written = device_bytes_written;
    Ok((figure, histograms))
}

/// One of those that are compared, in one repeat.
struct Side<'p> {
    workload: Workload,
    stage: Stage<'p>,
    extent: Extent,
    /// Of each lane.
    times: Vec<Histogram<u64>>,
    seconds: f64,
    usage: Usage,
    rotations_before: u64,
}

impl<'p> Side<'p> {
    fn open(
        dir: &Path,
        workload: &Workload,
        ring: &'p [&'p [u8]],
        segment_bytes: u64,
        seed: u64,
        log: Option<&Log>,
    ) -> Result<Self, LoadError> {
        let extent = extent(workload, segment_bytes);
        let mut stage = match log {
            Some(log) => Stage::within(log, &workload.label(), workload, ring, extent, seed)?,
            None => Stage::open(dir, workload, ring, extent, seed)?,
        };
        stage.warm_up()?;
        stage.prepare()?;
        stage.wait_until_durable()?;
        let rotations_before = stage.rotations();
        let times = stage.lanes.iter().map(|_| histogram()).collect();
        Ok(Self {
            workload: workload.clone(),
            stage,
            extent,
            times,
            seconds: 0.0,
            usage: Usage::default(),
            rotations_before,
        })
    }

    fn turn(&mut self, seed: u64) -> Result<(), LoadError> {
        let (calls, level, share) = (self.extent.calls, self.workload.acknowledge, self.workload.duplicates);
        let mut lanes: Vec<_> = self.stage.lanes.iter_mut().zip(&mut self.times).collect();
        let (timing, ()) = timed(&mut lanes, |(lane, times)| {
            let appended = lane.work(Timed { calls, level, times, again: Again::new(share, seed) })?;
            lane.appended += appended;
            Ok(())
        })
        .map(|(timing, _)| (timing, ()))?;
        self.seconds += timing.seconds;
        self.usage += timing.usage;
        Ok(())
    }

    fn calls(&self) -> u64 {
        self.extent.calls * TURNS
    }

    /// Calls of all lanes.
    fn appended(&self) -> u64 {
        self.calls() * self.workload.threads as u64
    }

    fn ns_per_append(&self) -> f64 {
        self.seconds * 1e9 / self.calls() as f64
    }

    fn per_second(&self) -> f64 {
        self.appended() as f64 / self.seconds
    }

    fn times(&self) -> Histogram<u64> {
        let mut whole = histogram();
        self.times.iter().for_each(|times| add(&mut whole, times));
        whole
    }

    /// All that was appended is there, and durable without anybody waiting for it any more.
    fn verify(&mut self) -> Result<(), LoadError> {
        self.stage.verify()?;
        for partition in &self.stage.partitions {
            let (durable, end) = (partition.durable_offset(), partition.end_offset());
            if self.workload.acknowledge == Acknowledge::Durable && durable != end {
                return Err(VerifyError::NotDurable { durable, end }.into());
            }
        }
        Ok(())
    }
}

/// One lane's appends of a turn, each of them timed.
struct Timed<'h> {
    calls: u64,
    level: Acknowledge,
    times: &'h mut Histogram<u64>,
    again: Again,
}

impl Work for Timed<'_> {
    /// How many calls appended.
    type Output = u64;

    fn on(mut self, lane: &mut impl Append) -> Result<u64, LoadError> {
        let mut appended = 0;
        for _ in 0..self.calls {
            let again = self.again.next();
            let begin = Instant::now();
            if let Outcome::Appended { last } = lane.append(again)? {
                acknowledge(lane, last, self.level)?;
                appended += 1;
            }
            self.times.saturating_record(begin.elapsed().as_nanos() as u64);
        }
        Ok(appended)
    }
}

/// What all repeats gave.
struct Sums {
    own: Vec<f64>,
    off: Vec<f64>,
    /// Appends a second.
    rates: Vec<f64>,
    one_rates: Vec<f64>,
    /// Medians.
    own_p50: Vec<f64>,
    floor_p50: Vec<f64>,
    times: Histogram<u64>,
    floor: Histogram<u64>,
    usage: Usage,
    appends: u64,
    rotations: u64,
    syncs: u64,
    bytes_written: u64,
    device_bytes: u64,
    appends_per_sync: f64,
    frame_bytes: f64,
    verdict: Verdict,
}

impl Sums {
    fn new() -> Self {
        Self {
            own: Vec::new(),
            off: Vec::new(),
            rates: Vec::new(),
            one_rates: Vec::new(),
            own_p50: Vec::new(),
            floor_p50: Vec::new(),
            times: histogram(),
            floor: histogram(),
            usage: Usage::default(),
            appends: 0,
            rotations: 0,
            syncs: 0,
            bytes_written: 0,
            device_bytes: 0,
            appends_per_sync: 0.0,
            frame_bytes: 0.0,
            verdict: Verdict::default(),
        }
    }

    fn note(&mut self, own: &Side<'_>, off: Option<&Side<'_>>, one: Option<&Side<'_>>, floor: &Histogram<u64>) {
        let times = own.times();
        self.own.push(own.ns_per_append());
        self.rates.push(own.per_second());
        self.off.extend(off.map(Side::ns_per_append));
        self.one_rates.extend(one.map(Side::per_second));
        self.own_p50.push(times.value_at_quantile(0.5) as f64);
        self.floor_p50.push(floor.value_at_quantile(0.5) as f64);
        add(&mut self.times, &times);
        add(&mut self.floor, floor);
        self.usage += own.usage;
        self.appends += own.appended();
        self.rotations = own.stage.rotations() - own.rotations_before;
        self.frame_bytes = own.extent.frame_bytes;
    }

    fn figure(self, workload: &Workload, segment_bytes: u64, site: Site<'_>) -> (Figure, Histograms) {
        let record_bytes = workload.payloads.mean_bytes() as f64 * workload.batch as f64;
        let mut figure = Figure::of(workload);
        figure.repeats = Some(self.own.len());
        figure.ns_per_append = Spread::of(self.own.iter().copied());
        figure.ns_per_record = Spread::of(self.own.iter().map(|ns| ns / workload.batch as f64));
        figure.appends_per_second = Spread::of(self.rates.iter().copied());
        figure.bytes_per_second = Spread::of(self.rates.iter().map(|rate| rate * record_bytes));
        figure.off_ns_per_append = Spread::of(self.off.iter().copied());
        figure.ratio_to_off = Spread::of_ratios(&self.own, &self.off);
        figure.one_thread_per_second = Spread::of(self.one_rates.iter().copied());
        figure.ratio_to_one_thread = Spread::of_ratios(&self.rates, &self.one_rates);
        figure.latency_ns = Some(percentiles(&self.times));
        figure.floor_ns = Some(floor_of(&self.floor));
        figure.ratio_to_floor = Spread::of_ratios(&self.own_p50, &self.floor_p50);
        figure.stored_bytes_per_record = Some(self.frame_bytes / workload.batch as f64);
        figure.segment_bytes = Some(segment_bytes);
        figure.rotations = Some(self.rotations);
        figure.segments_from = Some(SegmentsFrom::Ahead);
        figure.caused(self.usage, self.appends);
        figure.system_calls_per_append = system_calls::per_append(workload, site);
        figure.syncs = Some(self.syncs);
        figure.appends_per_sync = Some(self.appends_per_sync);
        figure.bytes_written = Some(self.bytes_written);
        self.verdict.mark(&mut figure);
        let label = workload.label();
        figure.histograms = Some(format!("append-{label}"));
        let histograms = Histograms {
            label: format!("append-{label}"),
            kinds: vec![("latency", self.times), ("floor", self.floor)],
            intervals: Vec::new(),
        };
        (figure, histograms)
    }
}
