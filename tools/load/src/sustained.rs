//! A sustained run: many more bytes than memory holds go through a log that keeps only the newest of them, and the clock
//! starts when the first lap is over, where segments begin to be dropped. Each second's bytes stand beside the memory
//! that the process holds and that the system has yet to write back, and the whole beside the device's own stream.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use oncelog::{FetchError, Log, Options, Partition, Verify};

use crate::closed::{Site, wait_until_durable};
use crate::device::{Stream, Writes};
use crate::error::LoadError;
use crate::progress::Progress;
use crate::result::{Figure, Kind, Second, SegmentsFrom, SustainedSecond};
use crate::spread::Spread;
use crate::stage::Extent;
use crate::sys;
use crate::verify::VerifyError;
use crate::workload::{Window, Workload};

/// Bytes of a segment unless said otherwise: as a log has them by default.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;
/// The device's own stream goes over at most this much at a time.
const STREAM_BYTES_MAX: u64 = 1 << 30;
/// What waits to be written in the mapped window is bounded by this much of each partition.
const FLUSH_BYTES: u64 = 64 << 20;
/// Longest time that a record stays undurable in the mapped window.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// Appends between two looks at the clock's flag.
const APPENDS_AT_A_TIME: u64 = 256;

/// How much, and what stays of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sustained {
    /// Frame bytes appended after the first lap.
    pub bytes: u64,
    /// Bytes of segments that the log keeps.
    pub retention_bytes: u64,
    /// Whether dropped segments are used again.
    pub recycle: bool,
}

impl Sustained {
    /// The options of its log.
    fn options(self, segment_bytes: u64, window: Window) -> Options {
        let options = Options::new()
            .segment_bytes(segment_bytes)
            .first_segment_bytes(segment_bytes)
            .retention_bytes(Some(self.retention_bytes))
            .recycle(self.recycle);
        match window {
            Window::Mapped => options.flush_interval(Some(FLUSH_INTERVAL)).flush_bytes(Some(FLUSH_BYTES)),
            Window::Direct => options.window(oncelog::Window::Direct),
        }
    }

    /// Bytes of files at one time, the device's own among them.
    pub(crate) fn room(self, segment_bytes: u64) -> u64 {
        self.retention_bytes * 2 + 16 * segment_bytes + self.stream_bytes()
    }

    fn stream_bytes(self) -> u64 {
        self.bytes.next_multiple_of(1 << 20).min(STREAM_BYTES_MAX)
    }
}

/// Appends `sustained.bytes` and says how it went.
pub(crate) fn measure(
    workload: &Workload,
    sustained: Sustained,
    segment_bytes: u64,
    site: Site<'_>,
    progress: &Progress,
) -> Result<Figure, LoadError> {
    let scratch = tempfile::tempdir_in(site.scratch).map_err(LoadError::io("a scratch directory"))?;
    let stream =
        Stream::prepare(scratch.path(), sustained.stream_bytes()).map_err(LoadError::io("the device's own file"))?;
    let device = || stream.write().map_err(LoadError::io("writing to the device"));
    let mut device_rates = vec![device()?, device()?];
    let options = sustained.options(segment_bytes, workload.window);
    // SAFETY: the directory is new and known to this process alone; nothing else writes to its files.
    let log = unsafe { options.open(scratch.path().join("log")) }?;
    let partition = log.partition("sustained")?;
    let extent = Extent::of(workload, segment_bytes, 1);
    let writes = Writes::of(scratch.path());
    let ran = run(workload, sustained, &log, &partition, extent, progress, &writes)?;
    let flushes = log.stats().flush;
    verify(workload, &partition, ran.appended)?;
    let stats = partition.stats();
    drop(partition);
    log.close()?;
    device_rates.extend([device()?, device()?]);

    let payload_bytes = ran.measured as f64 * workload.payloads.mean_bytes() as f64;
    let rate = payload_bytes / ran.seconds;
    let device = Spread::of(device_rates);
    let mut figure = Figure::of(workload);
    figure.workload = Kind::Sustained;
    figure.bytes = Some(payload_bytes as u64);
    figure.seconds = Some(ran.seconds);
    figure.ns_per_append = Spread::of([ran.seconds * 1e9 / ran.measured as f64]);
    figure.appends_per_second = Spread::of([ran.measured as f64 / ran.seconds]);
    figure.bytes_per_second = Spread::of([rate]);
    figure.device_bytes_per_second = device;
    // What reaches the device is frames, not payloads alone.
    figure.ratio_to_device =
        device.and_then(|device| Spread::of([ran.measured as f64 * extent.frame_bytes / ran.seconds / device.median]));
    figure.stored_bytes_per_record = Some(extent.frame_bytes);
    figure.segment_bytes = Some(segment_bytes);
    figure.retention_bytes = Some(sustained.retention_bytes);
    figure.rotations = Some(stats.rotations);
    figure.segments_from = Some(if sustained.recycle { SegmentsFrom::Recycled } else { SegmentsFrom::OnDemand });
    figure.syncs = Some(flushes.flushes);
    figure.bytes_written = Some(flushes.bytes);
    figure.device_bytes_written = writes.told(ran.device_bytes, 1);
    figure.notes.push(format!(
        "of {} segments prepared {} were used before; an append waited for one {} times",
        stats.segments_prepared, stats.segments_recycled, stats.rotations_waited
    ));
    figure.per_second = Some(ran.per_second.into_iter().map(Second::Sustained).collect());
    figure.verified = true;
    Ok(figure)
}

struct Ran {
    /// Of the whole log.
    appended: u64,
    /// While the clock ran.
    measured: u64,
    seconds: f64,
    device_bytes: u64,
    per_second: Vec<SustainedSecond>,
}

fn run(
    workload: &Workload,
    sustained: Sustained,
    log: &Log,
    partition: &Partition,
    extent: Extent,
    progress: &Progress,
    writes: &Writes,
) -> Result<Ran, LoadError> {
    let ring = workload.payloads.ring(1);
    let mut appender = partition.appender()?;
    let mut appended = 0;
    let mut append = |records: u64| -> Result<(), LoadError> {
        for _ in 0..records {
            appender.append(ring[(appended % ring.len() as u64) as usize])?;
            appended += 1;
        }
        Ok(())
    };
    let lap = || partition.stats().segments_dropped > 0;
    while !lap() {
        append(APPENDS_AT_A_TIME)?;
    }
    let measured = (sustained.bytes as f64 / extent.frame_bytes).ceil() as u64;
    let over = AtomicBool::new(false);
    let device_before = writes.written();
    let (seconds, per_second) = thread::scope(|scope| {
        let over = &over;
        let watch = Watch { partition, record_bytes: workload.payloads.mean_bytes() as u64 };
        let watcher = scope.spawn(move || watch.until(over, progress, measured));
        let begin = Instant::now();
        let mut left = measured;
        let mut all = || -> Result<f64, LoadError> {
            while left > 0 {
                let now = left.min(APPENDS_AT_A_TIME);
                append(now)?;
                left -= now;
            }
            // The clock stops when all of it is on the device.
            wait_until_durable(partition, partition.end_offset() - 1)?;
            Ok(begin.elapsed().as_secs_f64())
        };
        let seconds = all();
        over.store(true, Ordering::Release);
        let per_second = watcher.join().map_err(|_| LoadError::Panicked)?;
        Ok::<_, LoadError>((seconds?, per_second))
    })?;
    if log.stats().flush.poisoned {
        return Err(LoadError::Answer("a log that was poisoned".to_owned()));
    }
    let device_bytes = writes.since(device_before);
    Ok(Ran { appended, measured, seconds, device_bytes, per_second })
}

/// Looks at a partition and at the system's memory, each second.
struct Watch<'a> {
    partition: &'a Partition,
    record_bytes: u64,
}

impl Watch<'_> {
    fn until(&self, over: &AtomicBool, progress: &Progress, measured: u64) -> Vec<SustainedSecond> {
        let begin = Instant::now();
        let (first, mut end, mut durable) = self.ends();
        let mut rows = Vec::new();
        loop {
            let next = Duration::from_secs(rows.len() as u64 + 1);
            while begin.elapsed() < next && !over.load(Ordering::Acquire) {
                thread::sleep((next - begin.elapsed().min(next)).min(Duration::from_millis(20)));
            }
            // The last part of a second says nothing about a second.
            if begin.elapsed() < next {
                return rows;
            }
            let (_, end_now, durable_now) = self.ends();
            let (dirty, writeback) = sys::dirty_and_writeback_bytes().unwrap_or_default();
            rows.push(SustainedSecond {
                second: (rows.len() + 1) as f64,
                bytes: (end_now - end) * self.record_bytes,
                durable_bytes: (durable_now - durable) * self.record_bytes,
                resident_bytes: sys::resident_bytes().unwrap_or_default(),
                dirty_bytes: dirty,
                writeback_bytes: writeback,
            });
            (end, durable) = (end_now, durable_now);
            progress.part((end_now - first) as f64 / measured.max(1) as f64);
        }
    }

    fn ends(&self) -> (u64, u64, u64) {
        let end = self.partition.end_offset();
        (end, end, self.partition.durable_offset())
    }
}

/// Reads what the log has kept: every record is the one that was appended at its offset, up to the last one.
fn verify(workload: &Workload, partition: &Partition, appended: u64) -> Result<(), LoadError> {
    let found = loop {
        match read_all(workload, partition, partition.stats().start_offset) {
            // Retention is still at it, behind what was appended last.
            Err(LoadError::Fetch(FetchError::Trimmed { .. })) => {}
            other => break other?,
        }
    };
    if found == appended { Ok(()) } else { Err(VerifyError::Count { partition: 0, expected: appended, found }.into()) }
}

/// Reads from `next` on; the offset behind the last record.
fn read_all(workload: &Workload, partition: &Partition, mut next: u64) -> Result<u64, LoadError> {
    let ring = workload.payloads.ring(1);
    let mut reader = partition.read_from(next)?;
    reader.set_verify(Verify::Always);
    while let Some(record) = reader.next()? {
        if record.offset() != next {
            return Err(VerifyError::Order { expected: next, found: record.offset() }.into());
        }
        if record.payload() != ring[(next % ring.len() as u64) as usize] {
            return Err(VerifyError::Contents { offset: next }.into());
        }
        next += 1;
    }
    Ok(next)
}
