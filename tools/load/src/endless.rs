//! Appends without end: nothing stands ready but the usual few segments and nothing is recycled, so the background
//! preparer is the limit. It is compared with two bare threads that do the same: one populates segments, as many
//! ahead as the log, and one copies the same bytes into them.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use crate::bare::Bare;
use crate::closed::{Repeats, Site, block};
use crate::error::LoadError;
use crate::limit;
use crate::payload::Feed;
use crate::result::{Figure, Kind, SegmentsFrom};
use crate::spread::Spread;
use crate::stage::{Extent, Stage, throw_away};
use crate::sys::Usage;
use crate::verdict::Verdict;
use crate::workload::{Window, Workload};

/// Segments that stand ready at most, as in the log's options.
const AHEAD: usize = 2;

/// Measures a workload whose segments are made while it runs. One thread, one partition, batches of one.
pub(crate) fn measure(
    workload: &Workload,
    extent: Extent,
    repeats: Repeats,
    site: Site<'_>,
) -> Result<Figure, LoadError> {
    let ring = workload.payloads.ring(workload.batch);
    let (mut own, mut bare, mut usage, mut rotations) = (Vec::new(), Vec::new(), Usage::default(), 0);
    let mut verdict = Verdict::default();
    let start = Instant::now();
    while own.len() < repeats.least || (own.len() < repeats.most && start.elapsed().as_secs_f64() < repeats.seconds) {
        let scratch = tempfile::tempdir_in(site.scratch).map_err(LoadError::io("a scratch directory"))?;
        let mut log = || -> Result<(), LoadError> {
            let mut stage = Stage::open(&scratch.path().join("own"), workload, &ring, extent, site.seed)?;
            stage.warm_up()?;
            let rotations_before = stage.rotations();
            let timing = block(&mut stage, workload, extent, site.seed)?;
            own.push(timing.seconds * 1e9 / extent.calls as f64);
            usage += timing.usage;
            rotations = stage.rotations() - rotations_before;
            verdict.take(stage.verify())?;
            throw_away(&scratch.path().join("own"));
            Ok(())
        };
        // The two take the memory of each other in turn, so neither always gets it first.
        if bare.len() % 2 == 0 {
            log()?;
            bare.push(two_bare_threads(scratch.path(), &ring, extent)?);
        } else {
            bare.push(two_bare_threads(scratch.path(), &ring, extent)?);
            log()?;
        }
    }
    let mut figure = Figure::of(workload);
    figure.workload = Kind::Endless;
    figure.repeats = Some(own.len());
    figure.ns_per_append = Spread::of(own.iter().copied());
    figure.ns_per_record = figure.ns_per_append;
    figure.appends_per_second = Spread::of(own.iter().map(|ns| 1e9 / ns));
    figure.bytes_per_second = Spread::of(own.iter().map(|ns| 1e9 / ns * workload.payloads.mean_bytes() as f64));
    figure.limit_ns_per_append = Spread::of(bare.iter().copied());
    figure.ratio_to_limit = Spread::of_ratios(&own, &bare);
    figure.stored_bytes_per_record = Some(extent.frame_bytes);
    figure.segment_bytes = Some(extent.segment_bytes);
    figure.rotations = Some(rotations);
    figure.segments_from = Some(SegmentsFrom::OnDemand);
    figure.caused(usage, own.len() as u64 * extent.calls);
    verdict.mark(&mut figure);
    figure.notes.push("the limit is two bare threads: one populates segments, one copies into them".to_owned());
    Ok(figure)
}

/// Nanoseconds an append of two threads that populate and copy.
fn two_bare_threads(dir: &Path, ring: &[&[u8]], extent: Extent) -> Result<f64, LoadError> {
    let (send, receive) = mpsc::sync_channel::<Bare>(AHEAD);
    let bytes = extent.segment_bytes as usize;
    let per_segment = (extent.segment_bytes as f64 / extent.frame_bytes) as u64;
    thread::scope(|scope| {
        let preparer = scope.spawn(move || -> std::io::Result<()> {
            while send.send(Bare::prepared(dir, bytes, Window::Mapped)?).is_ok() {}
            Ok(())
        });
        let mut feed = Feed::new(ring, 1);
        // The first segments are ready before the clock starts, as the log's are.
        let mut next = receive.recv().ok();
        let start = Instant::now();
        let mut filled = Vec::new();
        let mut left = extent.calls;
        while left > 0 {
            let Some(segment) = next.take() else { break };
            let calls = left.min(per_segment);
            limit::write::<{ oncelog::format::FRAME_HEADER_BYTES }>(std::slice::from_ref(&segment), &mut feed, calls);
            left -= calls;
            // Kept mapped, as the log keeps its segments: giving memory back is not part of an append.
            filled.push(segment);
            if left > 0 {
                next = receive.recv().ok();
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        drop(receive);
        preparer.join().map_err(|_| LoadError::Panicked)?.map_err(LoadError::io("preparing the limit's segments"))?;
        Ok(seconds * 1e9 / extent.calls as f64)
    })
}
