//! For benchmarks that decide themselves how often: criterion asks for a number of appends and is told their time.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::closed::block;
use crate::error::LoadError;
use crate::recover::Left;
use crate::stage::{Extent, ROTATIONS_MIN, Stage};
use crate::run::SEGMENT_BYTES;
use crate::workload::Workload;

/// How long `calls` appends of each thread take, in blocks into segments that stand ready; what lies between the
/// blocks is not counted.
///
/// # Errors
/// As [`run`](crate::run).
pub fn time_appends(workload: &Workload, dir: &Path, calls: u64) -> Result<Duration, LoadError> {
    workload.check()?;
    let ring = workload.payloads.ring(workload.batch);
    let whole = Extent::of(workload, SEGMENT_BYTES, ROTATIONS_MIN + 1);
    let mut seconds = 0.0;
    let mut left = calls;
    while left > 0 {
        // A few appends do not need seventeen segments.
        let now = left.min(whole.calls);
        let segments = (whole.segments * now).div_ceil(whole.calls);
        let extent = Extent { calls: now, segments, ..whole };
        let scratch = tempfile::tempdir_in(dir).map_err(LoadError::io("a scratch directory"))?;
        let mut stage = Stage::open(&scratch.path().join("log"), workload, &ring, extent, left)?;
        stage.warm_up()?;
        stage.prepare()?;
        seconds += block(&mut stage, workload, extent, left)?.seconds;
        left -= now;
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// How long it takes to reopen a log `times` times that was left without a close after filling `segments`.
///
/// # Errors
/// As [`run`](crate::run).
pub fn time_reopening(workload: &Workload, dir: &Path, segments: u64, times: u64) -> Result<Duration, LoadError> {
    workload.check()?;
    let ring = workload.payloads.ring(workload.batch);
    let extent = Extent::of(workload, SEGMENT_BYTES, segments);
    let scratch = tempfile::tempdir_in(dir).map_err(LoadError::io("a scratch directory"))?;
    let left = Left::after(workload, &ring, extent, &scratch.path().join("origin"), 1)?;
    let mut whole = Duration::ZERO;
    for _ in 0..times {
        let copy = scratch.path().join("copy");
        whole += left.reopen_copy(&copy)?.reopen;
        fs::remove_dir_all(&copy).map_err(LoadError::io("removing the copy"))?;
    }
    Ok(whole)
}
