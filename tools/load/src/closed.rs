//! The closed loop: whole blocks of appends, each sent when the one before has returned.
//!
//! What is compared is measured in turn, in one process: the limit, the append with idempotence off, the append
//! with it on, then again in the other direction. Each block is timed as a whole, since reading a clock costs more
//! than an append, and ratios are taken within one repeat.

mod followed;

use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use oncelog::{Log, Partition};

use crate::bare::Bare;
use crate::error::LoadError;
use crate::lane::{Append, Outcome, Work};
use crate::limit;
use crate::payload::{Feed, xorshift};
use crate::recorder::{Histograms, add, histogram, percentiles};
use crate::result::{Figure, SegmentsFrom};
use crate::spread::Spread;
use crate::stage::{Extent, Stage, header_bytes, throw_away};
use crate::sys::Usage;
use crate::system_calls;
use crate::timed::{Timing, timed};
use crate::verdict::Verdict;
use crate::workload::{Acknowledge, Idempotence, Workload};

/// With more producers than this, registering them takes longer than a block: one log serves all repeats.
const PRODUCERS_OF_FRESH_LOGS: usize = 65_536;

/// Whether one log serves all repeats of a workload.
pub(crate) fn serves_all_repeats(workload: &Workload) -> bool {
    workload.idempotence != Idempotence::Off && workload.producers > PRODUCERS_OF_FRESH_LOGS
}

/// How often and how long a figure is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Repeats {
    /// At least this often.
    pub least: usize,
    /// And on, until this much time has gone by.
    pub seconds: f64,
    /// But not more often.
    pub most: usize,
}

impl Repeats {
    /// Whether the repeat after `done` others is the last one: judged before it begins, by how long those took, since
    /// the last one's log may be kept, and a kept log takes one repeat.
    pub(crate) fn is_last(&self, done: usize, elapsed: f64) -> bool {
        let next = elapsed + elapsed / done.max(1) as f64;
        done + 1 >= self.most || (done + 1 >= self.least && next >= self.seconds)
    }
}

/// Where a figure's logs are made, and which of them stays.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) scratch: &'a Path,
    /// The log that keeps the last repeat of every figure.
    pub(crate) kept: Option<&'a Log>,
    pub(crate) seed: u64,
}

/// One repeat's blocks, in nanoseconds an append.
#[derive(Default)]
struct Blocks {
    limit: Vec<f64>,
    off: Vec<f64>,
    own: Vec<f64>,
    usage: Usage,
    rotations: u64,
    appends: u64,
    /// From sending to a reader's having it, where readers follow.
    read: Option<Histogram<u64>>,
}

/// Measures one workload beside its limit and, if it is idempotent, beside itself without idempotence.
pub(crate) fn measure(
    workload: &Workload,
    extent: Extent,
    repeats: Repeats,
    site: Site<'_>,
) -> Result<(Figure, Option<Histograms>), LoadError> {
    let ring = workload.payloads.ring(workload.batch);
    let off = (workload.idempotence != Idempotence::Off).then(|| workload.without_idempotence());
    let off_extent = off.as_ref().map(|off| Extent::of(off, extent.segment_bytes, extent.segments));
    let many_producers = serves_all_repeats(workload);
    // What all repeats append stays, so there are no more of them than must be.
    let repeats = if many_producers { Repeats { most: repeats.least, ..repeats } } else { repeats };
    let mut blocks = Blocks::default();
    let mut verdict = Verdict::default();
    let outer_scratch = tempfile::tempdir_in(site.scratch).map_err(LoadError::io("a scratch directory"))?;
    let mut long_lived: Option<Stage<'_>> = None;
    // One for all repeats: making its segments takes longer than all that is timed.
    let mut limit = Limit::prepare(outer_scratch.path(), workload, extent)?;
    let start = Instant::now();
    let mut done = 0;
    let mut last = false;
    while !last {
        last = repeats.is_last(done, start.elapsed().as_secs_f64());
        let scratch = tempfile::tempdir_in(site.scratch).map_err(LoadError::io("a scratch directory"))?;
        let own_scratch = if many_producers { outer_scratch.path() } else { scratch.path() };
        let open = |dir: &Path, workload, extent| Stage::open(&dir.join("log"), workload, &ring, extent, site.seed);
        limit.prepare_again()?;
        let mut off_stage = match off.as_ref().zip(off_extent) {
            Some((off, extent)) => Some(open(&scratch.path().join("off"), off, extent)?),
            None => None,
        };
        let mut stage = match (long_lived.take(), site.kept.filter(|_| last || many_producers)) {
            (Some(stage), _) => stage,
            (None, Some(log)) => Stage::within(log, &workload.label(), workload, &ring, extent, site.seed)?,
            (None, None) => open(own_scratch, workload, extent)?,
        };
        stage.warm_up()?;
        stage.prepare()?;
        if let Some(off_stage) = &mut off_stage {
            off_stage.warm_up()?;
            off_stage.prepare()?;
        }
        let rotations_before = stage.rotations();
        // Forth and back by turns, so that what slows down over a repeat does not always hit the same block.
        let order = if done % 2 == 0 { [0, 1, 2] } else { [2, 1, 0] };
        for which in order {
            match which {
                0 => blocks.limit.push(limit.block(&ring, workload, extent)?),
                1 => {
                    if let Some((stage, workload)) = off_stage.as_mut().zip(off.as_ref()) {
                        let extent = off_extent.unwrap_or(extent);
                        blocks.off.push(ns_per_append(followed::block(stage, workload, extent, site.seed)?.0, extent));
                    }
                }
                _ => {
                    let (timing, read) = followed::block(&mut stage, workload, extent, site.seed ^ done as u64)?;
                    if let Some(read) = read {
                        add(blocks.read.get_or_insert_with(histogram), &read);
                    }
                    blocks.usage += timing.usage;
                    blocks.appends += extent.calls * workload.threads as u64;
                    blocks.own.push(ns_per_append(timing, extent));
                }
            }
        }
        blocks.rotations = stage.rotations() - rotations_before;
        verdict.take(stage.verify())?;
        if let Some(off_stage) = &mut off_stage {
            verdict.take(off_stage.verify())?;
        }
        if many_producers {
            long_lived = Some(stage);
        }
        throw_away(scratch.path());
        done += 1;
    }
    let mut figure = figure(workload, extent, &blocks, site);
    verdict.mark(&mut figure);
    let read = blocks.read.map(|read| {
        let label = format!("append-{}", workload.label());
        figure.end_to_end_ns = Some(percentiles(&read));
        figure.histograms = Some(label.clone());
        figure
            .notes
            .push("to a reader from sending, of one append in 256; the limit has no readers beside it".to_owned());
        Histograms { label, kinds: vec![("end-to-end", read)], intervals: Vec::new() }
    });
    Ok((figure, read))
}

/// Bare segments, and as many threads on them as the workload has.
pub(crate) struct Limit {
    segments: Vec<Bare>,
}

impl Limit {
    pub(crate) fn prepare(dir: &Path, workload: &Workload, extent: Extent) -> Result<Self, LoadError> {
        // Frames of several sizes leave a larger rest at the end of a segment than frames of one size.
        let longest = (workload.payloads.longest() + 4) * workload.batch;
        let rests = (extent.segments * longest as u64).div_ceil(extent.segment_bytes);
        let segments = (0..=extent.segments + workload.threads as u64 + rests)
            .map(|_| Bare::prepared(dir, extent.segment_bytes as usize, workload.window))
            .collect::<Result<_, _>>()
            .map_err(LoadError::io("preparing the limit's segments"))?;
        Ok(Self { segments })
    }

    /// Makes the segments ready for the next block.
    fn prepare_again(&mut self) -> Result<(), LoadError> {
        let mut segments = self.segments.iter_mut();
        segments.try_for_each(Bare::prepare_again).map_err(LoadError::io("preparing the limit's segments"))
    }

    /// Runs one block; nanoseconds an append.
    pub(crate) fn block(&mut self, ring: &[&[u8]], workload: &Workload, extent: Extent) -> Result<f64, LoadError> {
        const PLAIN: usize = oncelog::format::FRAME_HEADER_BYTES;
        const STAMPED: usize = PLAIN + oncelog::format::PRODUCER_BYTES;
        let write = match (header_bytes(workload.idempotence), workload.batch) {
            (PLAIN, 1) => limit::write::<PLAIN>,
            (PLAIN, _) => limit::write_batches::<PLAIN>,
            (_, 1) => limit::write::<STAMPED>,
            (_, _) => limit::write_batches::<STAMPED>,
        };
        // As many frames as the log's block appends: its retries append nothing.
        let calls = (extent.calls as f64 * (1.0 - workload.duplicates)) as u64;
        let mut feeds: Vec<_> = (0..workload.threads).map(|_| Feed::new(ring, workload.batch)).collect();
        let (timing, _) = timed(&mut feeds, |feed| {
            write(&self.segments, feed, calls);
            Ok(())
        })?;
        Ok(timing.seconds * 1e9 / calls as f64)
    }
}

/// One block of every lane.
pub(crate) fn block(
    stage: &mut Stage<'_>,
    workload: &Workload,
    extent: Extent,
    seed: u64,
) -> Result<Timing, LoadError> {
    let visible = workload.acknowledge == Acknowledge::Visible;
    let (timing, appended) = timed(&mut stage.lanes, |lane| {
        if workload.duplicates > 0.0 {
            lane.work(Block::<true> { calls: extent.calls, visible, again: Again::new(workload.duplicates, seed) })
        } else {
            lane.work(Block::<false> { calls: extent.calls, visible, again: Again::new(0.0, seed) })
        }
    })?;
    for (lane, appended) in stage.lanes.iter_mut().zip(appended) {
        lane.appended += appended;
    }
    Ok(timing)
}

/// What an append takes of its thread's time.
fn ns_per_append(timing: Timing, extent: Extent) -> f64 {
    timing.seconds * 1e9 / extent.calls as f64
}

/// The appends of one lane, back to back.
pub(crate) struct Block<const DUPLICATES: bool> {
    pub(crate) calls: u64,
    pub(crate) visible: bool,
    pub(crate) again: Again,
}

impl<const DUPLICATES: bool> Work for Block<DUPLICATES> {
    /// How many calls appended.
    type Output = u64;

    fn on(mut self, lane: &mut impl Append) -> Result<u64, LoadError> {
        let mut duplicates = 0;
        for _ in 0..self.calls {
            let again = DUPLICATES && self.again.next();
            match lane.append(again)? {
                Outcome::Appended { last } => {
                    if self.visible {
                        wait_until_visible(lane, last);
                    }
                }
                Outcome::Duplicate => duplicates += 1,
            }
        }
        Ok(self.calls - duplicates)
    }
}

pub(crate) fn wait_until_visible(lane: &impl Append, last: u64) {
    while lane.partition().end_offset() <= last {
        std::hint::spin_loop();
    }
}

/// Waits for what an append is to have reached; in the direct window and the mapped one alike.
#[inline]
pub(crate) fn acknowledge(lane: &impl Append, last: u64, level: Acknowledge) -> Result<(), LoadError> {
    match level {
        Acknowledge::Written => Ok(()),
        Acknowledge::Visible => {
            wait_until_visible(lane, last);
            Ok(())
        }
        Acknowledge::Durable => wait_until_durable(lane.partition(), last),
    }
}

pub(crate) fn wait_until_durable(partition: &Partition, last: u64) -> Result<(), LoadError> {
    // A device that takes longer than this for a write is waited for all the same.
    while !partition.wait_durable(last, Duration::from_secs(60))? {}
    Ok(())
}

/// Which appends are retries: a share of them, at random, since a regular pattern would be foreseen by the processor.
pub(crate) struct Again {
    state: u64,
    below: u64,
}

impl Again {
    pub(crate) fn new(share: f64, seed: u64) -> Self {
        Self { state: seed | 1, below: (share * u64::MAX as f64) as u64 }
    }

    #[inline]
    pub(crate) fn next(&mut self) -> bool {
        self.state = xorshift(self.state);
        self.state < self.below
    }
}

fn figure(workload: &Workload, extent: Extent, blocks: &Blocks, site: Site<'_>) -> Figure {
    let threads = workload.threads as f64;
    let own = || blocks.own.iter().copied();
    let mut figure = Figure::of(workload);
    let record_bytes = workload.payloads.mean_bytes() as f64 * workload.batch as f64;
    figure.repeats = Some(blocks.own.len());
    figure.ns_per_append = Spread::of(own());
    figure.ns_per_record = Spread::of(own().map(|ns| ns / workload.batch as f64));
    figure.appends_per_second = Spread::of(own().map(|ns| threads * 1e9 / ns));
    figure.bytes_per_second = Spread::of(own().map(|ns| threads * 1e9 / ns * record_bytes));
    figure.limit_ns_per_append = Spread::of(blocks.limit.iter().copied());
    figure.ratio_to_limit = Spread::of_ratios(&blocks.own, &blocks.limit);
    figure.off_ns_per_append = Spread::of(blocks.off.iter().copied());
    figure.ratio_to_off = Spread::of_ratios(&blocks.own, &blocks.off);
    figure.stored_bytes_per_record = Some(extent.frame_bytes / workload.batch as f64);
    figure.segment_bytes = Some(extent.segment_bytes);
    figure.rotations = Some(blocks.rotations);
    figure.segments_from = Some(SegmentsFrom::Ahead);
    figure.caused(blocks.usage, blocks.appends);
    figure.system_calls_per_append = system_calls::per_append(workload, site);
    figure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_retries_is_what_was_asked_for() {
        for share in [0.01, 0.5] {
            let mut again = Again::new(share, 42);
            let retries = (0..1_000_000).filter(|_| again.next()).count();
            assert!((retries as f64 / 1e6 - share).abs() < share / 20.0, "{retries} of a million for {share}");
        }
        let mut never = Again::new(0.0, 42);
        assert!((0..1_000_000).all(|_| !never.next()));
    }

    /// It used to be asked twice, before and after: a repeat that was taken for the last one by the time the others took
    /// could go faster than they did, another followed into the partition that was kept already, and the check failed on
    /// the records of the one before.
    #[test]
    fn the_last_repeat_is_known_before_it_begins() {
        let repeats = Repeats { least: 5, seconds: 0.0, most: 9 };
        assert!(!repeats.is_last(3, 1.0) && repeats.is_last(4, 1.0));
        let long = Repeats { least: 5, seconds: 10.0, most: 9 };
        assert!(!long.is_last(5, 5.0), "six repeats take six seconds");
        assert!(long.is_last(6, 9.0), "the seventh brings it past ten");
        assert!(!long.is_last(7, 1.0) && long.is_last(8, 1.0), "nine at most");
    }
}
