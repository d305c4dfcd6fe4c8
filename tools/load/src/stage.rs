//! A stage: a log set up for one workload, with a lane for each thread and segments prepared ahead.

mod deal;
mod extent;

use std::path::Path;
use std::time::Duration;

use oncelog::{FlushStats, Log, Options, Partition};

pub use self::extent::Extent;
pub(crate) use self::extent::{ROTATIONS_MIN, frame_bytes, header_bytes};
use crate::error::LoadError;
use crate::lane::Lane;
use crate::payload::Feed;
use crate::verify::Check;
use crate::workload::{Acknowledge, Window, Workload};

/// How often a durable log in the mapped window flushes when nobody waits: seldom, since somebody does.
const MAPPED_FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// The options of a log that is measured: segments of one size, and no snapshot while the clock runs.
pub(crate) fn options(segment_bytes: u64, producers: u64, window: Window, acknowledge: Acknowledge) -> Options {
    let producers = u32::try_from(producers).unwrap_or(u32::MAX);
    let options = Options::new()
        .segment_bytes(segment_bytes)
        .first_segment_bytes(segment_bytes)
        .segments_ahead(2)
        .producers_max(producers.max(1_024))
        .snapshot_bytes(1 << 50);
    match (window, acknowledge) {
        (Window::Direct, _) => options.window(oncelog::Window::Direct),
        // Flushed now and then, so that segments are prepared for flushes.
        (Window::Mapped, Acknowledge::Durable) => options.flush_interval(Some(MAPPED_FLUSH_INTERVAL)),
        (Window::Mapped, _) => options,
    }
}

/// The options of a workload's log.
pub(crate) fn options_of(workload: &Workload, extent: Extent) -> Options {
    options(extent.segment_bytes, workload.producers as u64, workload.window, workload.acknowledge)
}

/// A log set up for one workload.
pub(crate) struct Stage<'p> {
    pub(crate) lanes: Vec<Lane<'p>>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) check: Check<'p>,
    extent: Extent,
    /// Last, so that handles go before what they belong to.
    log: Log,
}

impl<'p> Stage<'p> {
    /// Opens a log of its own in a directory that does not exist yet.
    pub(crate) fn open(
        dir: &Path,
        workload: &Workload,
        ring: &'p [&'p [u8]],
        extent: Extent,
        seed: u64,
    ) -> Result<Self, LoadError> {
        Self::open_with(&options_of(workload, extent), dir, workload, ring, extent, seed)
    }

    /// The same with options of its own.
    pub(crate) fn open_with(
        options: &Options,
        dir: &Path,
        workload: &Workload,
        ring: &'p [&'p [u8]],
        extent: Extent,
        seed: u64,
    ) -> Result<Self, LoadError> {
        // SAFETY: the directory is new and known to this process alone; nothing else writes to its files.
        let log = unsafe { options.open(dir) }?;
        Self::within(&log, "", workload, ring, extent, seed)
    }

    /// Sets up partitions and producers in an open log, their names beginning with `name`.
    pub(crate) fn within(
        log: &Log,
        name: &str,
        workload: &Workload,
        ring: &'p [&'p [u8]],
        extent: Extent,
        seed: u64,
    ) -> Result<Self, LoadError> {
        let partitions = (0..workload.partitions)
            .map(|partition| match (name, workload.partitions) {
                ("", _) => log.partition(&format!("p{partition}")),
                (name, 1) => log.partition(name),
                (name, _) => log.partition(&format!("{name}-{partition}")),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let lane = |kind| Lane { kind, feed: Feed::new(ring, workload.batch), batch: workload.batch, appended: 0 };
        let lanes = deal::kinds(log, name, workload, &partitions, seed)?.into_iter().map(lane).collect();
        let check = Check::new(workload, ring, &partitions)?;
        Ok(Self { lanes, partitions, check, extent, log: log.clone() })
    }

    /// Brings each lane's code, stack and slots into memory, unless it has appended already.
    pub(crate) fn warm_up(&mut self) -> Result<(), LoadError> {
        if self.lanes.iter().any(|lane| lane.appended > 0) {
            return Ok(());
        }
        let bytes = self.extent.warm_up as f64 * self.extent.frame_bytes / self.partitions.len() as f64;
        let segments = (bytes / self.extent.segment_bytes as f64).ceil() as u64 + 1;
        self.prepare_segments(segments)?;
        for lane in &mut self.lanes {
            let calls = Extent::warm_up_of(lane);
            lane.appended += lane.work(WarmUp { calls })?;
        }
        Ok(())
    }

    /// Makes the segments of the next block ready.
    pub(crate) fn prepare(&self) -> Result<(), LoadError> {
        self.prepare_segments(self.extent.prepared(self.partitions.len()))
    }

    fn prepare_segments(&self, segments: u64) -> Result<(), LoadError> {
        for partition in &self.partitions {
            partition.prepare(u32::try_from(segments).unwrap_or(u32::MAX))?;
        }
        Ok(())
    }

    /// Rotations of all partitions so far.
    pub(crate) fn rotations(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.stats().rotations).sum()
    }

    /// What the log's committer has done so far.
    pub(crate) fn flushes(&self) -> FlushStats {
        self.log.stats().flush
    }

    /// Waits until everything that was appended is durable.
    pub(crate) fn wait_until_durable(&self) -> Result<(), LoadError> {
        for partition in &self.partitions {
            if let Some(last) = partition.end_offset().checked_sub(1) {
                crate::closed::wait_until_durable(partition, last)?;
            }
        }
        Ok(())
    }

    /// Reads on from where the last check stopped: everything appended since, and nothing else, must be there.
    pub(crate) fn verify(&mut self) -> Result<(), LoadError> {
        self.check.read(&self.lanes)
    }
}

/// Removes the files of logs that nobody opens again, before the logs are dropped: those have nothing left to seal and to
/// sync then, which takes ten times as long as what is measured. What a background thread still makes goes with the scratch
/// directory itself.
pub(crate) fn throw_away(scratch: &Path) {
    let _ = std::fs::remove_dir_all(scratch);
}

struct WarmUp {
    calls: u64,
}

impl crate::lane::Work for WarmUp {
    type Output = u64;

    fn on(self, lane: &mut impl crate::lane::Append) -> Result<u64, LoadError> {
        for _ in 0..self.calls {
            lane.append(false)?;
        }
        Ok(self.calls)
    }
}
