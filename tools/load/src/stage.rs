//! A stage: a log set up for one workload, with a lane for each thread and segments prepared ahead.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oncelog::format::{FRAME_ALIGN, FRAME_HEADER_BYTES, PRODUCER_BYTES, SEGMENT_HEADER_BYTES};
use oncelog::{FlushStats, Log, Options, Partition, ProducerId};

use crate::error::LoadError;
use crate::lane::{Kind, Lane, Place};
use crate::payload::Feed;
use crate::turns::Turns;
use crate::verify::Check;
use crate::workload::{Acknowledge, Idempotence, Window, Workload};

/// A figure runs over more rotations than this.
pub(crate) const ROTATIONS_MIN: u64 = 16;
/// Prepared beyond what a block fills, so that the preparer has nothing to do while it is timed.
const SPARE_SEGMENTS: u64 = 3;
/// Retries that append nothing fill no segment; a block makes at most this many times its appends.
const CALLS_MAX: f64 = 20.0;
/// How often a durable log in the mapped window flushes when nobody waits: seldom, since somebody does.
const MAPPED_FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Each lane goes through this many appends before the clock starts, so that code and stack are in memory.
const WARM_UP: usize = 1_000;

/// How much one block appends, and into what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extent {
    /// Bytes of each segment.
    pub segment_bytes: u64,
    /// Segments that a block fills, of all partitions together.
    pub segments: u64,
    /// Bytes of one frame, in the mean.
    pub frame_bytes: f64,
    /// Calls of each thread in a block.
    pub calls: u64,
    /// Calls of all threads that warm up.
    pub warm_up: u64,
}

impl Extent {
    /// The block of a workload: enough to fill `segments` of these.
    #[must_use]
    pub fn of(workload: &Workload, segment_bytes: u64, segments: u64) -> Self {
        let frame_bytes = frame_bytes(workload);
        let per_segment = ((segment_bytes - SEGMENT_HEADER_BYTES as u64) as f64 / frame_bytes).floor().max(1.0);
        let appends = per_segment * segments as f64;
        let calls = appends / (1.0 - workload.duplicates).max(1.0 / CALLS_MAX);
        let round = workload.producers.max(workload.threads) * workload.partitions;
        Self {
            segment_bytes,
            segments,
            frame_bytes,
            calls: (calls / workload.threads as f64).ceil() as u64,
            warm_up: round.max(WARM_UP * workload.threads) as u64,
        }
    }

    /// Calls of one lane that warm up: at least one for each of its producers in each of its partitions.
    fn warm_up_of(lane: &Lane<'_>) -> u64 {
        lane.round().max(WARM_UP) as u64
    }

    /// Segments that stand ready in each partition before a block.
    pub(crate) fn prepared(&self, partitions: usize) -> u64 {
        self.segments.div_ceil(partitions as u64) + SPARE_SEGMENTS
    }

    /// Bytes that one stage holds at one time.
    #[must_use]
    pub fn bytes(&self, partitions: usize) -> u64 {
        let warm_up = self.warm_up as f64 * self.frame_bytes;
        (self.prepared(partitions) + 1) * partitions as u64 * self.segment_bytes + warm_up as u64
    }
}

/// Bytes of a frame of this workload, in the mean.
pub(crate) fn frame_bytes(workload: &Workload) -> f64 {
    let header = header_bytes(workload.idempotence);
    let ring = workload.payloads.ring(workload.batch);
    let frames = ring.chunks(workload.batch).map(|records| {
        let lengths = records.iter().map(|record| record.len());
        let body: usize = if records.len() == 1 { lengths.sum() } else { lengths.map(|length| 4 + length).sum() };
        (header + body).next_multiple_of(FRAME_ALIGN)
    });
    frames.sum::<usize>() as f64 / (ring.len() / workload.batch) as f64
}

/// Bytes of a frame before its body.
pub(crate) fn header_bytes(idempotence: Idempotence) -> usize {
    match idempotence {
        // The mutex keeps its sequences beside the log, not in it.
        Idempotence::Off | Idempotence::Mutex => FRAME_HEADER_BYTES,
        Idempotence::Session | Idempotence::ById => FRAME_HEADER_BYTES + PRODUCER_BYTES,
    }
}

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
        let lanes = kinds(log, name, workload, &partitions, seed)?.into_iter().map(lane).collect();
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

/// Producers and partitions, dealt out to the threads.
fn kinds(
    log: &Log,
    name: &str,
    workload: &Workload,
    partitions: &[Partition],
    seed: u64,
) -> Result<Vec<Kind>, LoadError> {
    let threads = workload.threads;
    let producer_name = |producer: usize| format!("{name}-producer-{producer}");
    let place = |partition: &Partition| -> Result<Place, LoadError> {
        Ok(Place { appender: partition.appender()?, partition: partition.clone() })
    };
    let places = || partitions.iter().map(place).collect::<Result<Vec<_>, _>>();
    let (ids, epoch) = match workload.idempotence {
        Idempotence::ById => register(log, workload.producers, producer_name)?,
        _ => ((0..workload.producers.max(threads) as u64).map(ProducerId::from_u64).collect(), 0),
    };
    let sequences: Vec<_> = partitions.iter().map(|_| Arc::new(Mutex::new(HashMap::new()))).collect();
    (0..threads)
        .map(|thread| {
            let own: Vec<ProducerId> = ids.iter().skip(thread).step_by(threads).copied().collect();
            let dealt: Vec<u32> = dealt(thread, threads, partitions.len());
            let turns = |ids: &[ProducerId]| Turns::shuffled(ids, &dealt, workload.batch, seed ^ (thread as u64) << 32);
            Ok(match workload.idempotence {
                Idempotence::Off if dealt.len() == 1 => Kind::Plain(place(&partitions[dealt[0] as usize])?),
                Idempotence::Off => Kind::PlainAmong { places: places()?, turns: turns(&own[..1]), at: 0 },
                Idempotence::Session => {
                    let names = (0..workload.producers).skip(thread).step_by(threads).map(producer_name);
                    let mut sessions = names.map(|name| log.session(&name)).collect::<Result<Vec<_>, _>>()?;
                    match sessions.pop() {
                        Some(session) if sessions.is_empty() && dealt.len() == 1 => Kind::Session {
                            session,
                            partition: partitions[dealt[0] as usize].clone(),
                            sequence: 0_u64.wrapping_sub(workload.batch as u64),
                        },
                        last => {
                            sessions.extend(last);
                            Kind::Sessions { sessions, partitions: partitions.to_vec(), turns: turns(&own), at: 0 }
                        }
                    }
                }
                Idempotence::ById => Kind::ById { places: places()?, turns: turns(&own), epoch, at: 0 },
                Idempotence::Mutex => Kind::Mutex {
                    places: places()?.into_iter().zip(sequences.iter().cloned()).collect(),
                    turns: turns(&own),
                    at: 0,
                },
            })
        })
        .collect()
}

/// Registers producers in chunks, so that their names are never all in memory.
fn register(log: &Log, producers: usize, name: impl Fn(usize) -> String) -> Result<(Vec<ProducerId>, u32), LoadError> {
    const CHUNK: usize = 65_536;
    let mut ids = Vec::with_capacity(producers);
    let mut epochs = None;
    for first in (0..producers).step_by(CHUNK) {
        let names: Vec<String> = (first..producers.min(first + CHUNK)).map(&name).collect();
        for registration in log.register_all(&names)? {
            if *epochs.get_or_insert(registration.epoch) != registration.epoch {
                return Err(LoadError::Answer(format!("epoch {} for a new name", registration.epoch)));
            }
            ids.push(registration.id);
        }
    }
    Ok((ids, epochs.unwrap_or(0)))
}

/// The partitions of one thread: all of them over all threads, and at least one each.
fn dealt(thread: usize, threads: usize, partitions: usize) -> Vec<u32> {
    if partitions >= threads {
        (thread as u32..partitions as u32).step_by(threads).collect()
    } else {
        vec![(thread % partitions) as u32]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payloads;

    #[test]
    fn every_partition_is_dealt_and_every_thread_gets_one() {
        assert_eq!(dealt(0, 2, 5), [0, 2, 4]);
        assert_eq!(dealt(1, 2, 5), [1, 3]);
        assert_eq!(dealt(3, 4, 3), [0]);
    }

    #[test]
    fn a_block_fills_its_segments_whatever_the_share_of_retries() {
        let plain = Workload::new(Arc::new(Payloads::fixed(100)));
        let extent = Extent::of(&plain, 8 << 20, 17);
        assert_eq!(extent.frame_bytes, 136.0);
        assert_eq!(extent.calls, (((8 << 20) - 4096) / 136) * 17);
        let half = Workload { idempotence: Idempotence::ById, duplicates: 0.5, ..plain };
        let halved = Extent::of(&half, 8 << 20, 17);
        assert_eq!(halved.frame_bytes, 160.0);
        assert_eq!(halved.calls, (((8 << 20) - 4096) / 160) * 34);
    }

    #[test]
    fn a_batch_carries_a_length_word_per_record() {
        let workload = Workload { batch: 100, ..Workload::new(Arc::new(Payloads::fixed(100))) };
        assert_eq!(frame_bytes(&workload), 32.0 + 10_400.0);
    }
}
