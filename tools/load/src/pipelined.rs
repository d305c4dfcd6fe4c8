//! Durable appends in a pipeline: each goes on as soon as the one before is written, and only the last is waited for.
//! How many bytes a second become durable like that is compared with the device's own sequential writes, by turns.

use std::path::Path;
use std::time::Instant;

use crate::closed::{Repeats, Site, block};
use crate::device::{Stream, Writes};
use crate::error::LoadError;
use crate::result::{Figure, Kind, SegmentsFrom};
use crate::spread::Spread;
use crate::stage::{Extent, Stage};
use crate::verdict::Verdict;
use crate::workload::{Acknowledge, Workload};

/// Measures one workload beside the device's own stream.
pub(crate) fn measure(
    workload: &Workload,
    extent: Extent,
    repeats: Repeats,
    site: Site<'_>,
) -> Result<Figure, LoadError> {
    let ring = workload.payloads.ring(workload.batch);
    let bytes = (extent.segments * extent.segment_bytes).next_multiple_of(1 << 20);
    let stream = Stream::prepare(site.scratch, bytes).map_err(LoadError::io("preparing the device's own file"))?;
    // What is waited for is the end of the block, not each append.
    let appended = Workload { acknowledge: Acknowledge::Written, ..workload.clone() };
    let (mut own, mut device) = (Vec::new(), Vec::new());
    let (mut syncs, mut bytes_written, mut rotations, mut device_bytes) = (0, 0, 0, 0);
    let writes = Writes::of(site.scratch);
    let mut verdict = Verdict::default();
    let start = Instant::now();
    let mut last = false;
    while !last {
        last = repeats.is_last(own.len(), start.elapsed().as_secs_f64());
        let scratch = tempfile::tempdir_in(site.scratch).map_err(LoadError::io("a scratch directory"))?;
        let kept = site.kept.filter(|_| last);
        let mut log = |own: &mut Vec<f64>| -> Result<(), LoadError> {
            let dir: &Path = &scratch.path().join("own");
            let mut stage = match kept {
                Some(log) => Stage::within(log, &workload.label(), workload, &ring, extent, site.seed)?,
                None => Stage::open(dir, workload, &ring, extent, site.seed)?,
            };
            stage.warm_up()?;
            stage.prepare()?;
            stage.wait_until_durable()?;
            let (before, rotations_before) = (stage.flushes(), stage.rotations());
            let device_before = writes.written();
            let begin = Instant::now();
            block(&mut stage, &appended, extent, site.seed)?;
            stage.wait_until_durable()?;
            own.push(begin.elapsed().as_secs_f64());
            device_bytes += writes.since(device_before);
            let after = stage.flushes();
            syncs = after.flushes - before.flushes;
            bytes_written = after.bytes - before.bytes;
            rotations = stage.rotations() - rotations_before;
            verdict.take(stage.verify())
        };
        let stream = |device: &mut Vec<f64>| -> Result<(), LoadError> {
            device.push(stream.write().map_err(LoadError::io("writing to the device"))?);
            Ok(())
        };
        if own.len() % 2 == 0 {
            log(&mut own)?;
            stream(&mut device)?;
        } else {
            stream(&mut device)?;
            log(&mut own)?;
        }
    }
    let calls = extent.calls as f64 * workload.threads as f64;
    let record_bytes = workload.payloads.mean_bytes() as f64 * workload.batch as f64;
    let rates: Vec<f64> = own.iter().map(|seconds| calls * record_bytes / seconds).collect();
    let mut figure = Figure::of(workload);
    figure.workload = Kind::Pipelined;
    figure.repeats = Some(own.len());
    figure.ns_per_append = Spread::of(own.iter().map(|seconds| seconds * 1e9 / extent.calls as f64));
    figure.appends_per_second = Spread::of(own.iter().map(|seconds| calls / seconds));
    figure.bytes_per_second = Spread::of(rates.iter().copied());
    figure.device_bytes_per_second = Spread::of(device.iter().copied());
    figure.ratio_to_device = Spread::of_ratios(&rates, &device);
    figure.stored_bytes_per_record = Some(extent.frame_bytes / workload.batch as f64);
    figure.segment_bytes = Some(extent.segment_bytes);
    figure.rotations = Some(rotations);
    figure.segments_from = Some(SegmentsFrom::Ahead);
    figure.syncs = Some(syncs);
    figure.bytes_written = Some(bytes_written);
    figure.device_bytes_written = writes.told(device_bytes, own.len());
    verdict.mark(&mut figure);
    Ok(figure)
}
