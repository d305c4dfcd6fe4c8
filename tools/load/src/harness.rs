//! For benchmarks that decide themselves how often: criterion asks for a number of blocks and is told their time. And for
//! tests that look at the schedule itself.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::closed::{Again, Block, block};
use crate::error::LoadError;
use crate::open::on_schedule;
use crate::payload::Payloads;
use crate::recorder::Recorder;
use crate::recover::Left;
use crate::run::SEGMENT_BYTES;
use crate::stage::{Extent, Stage, throw_away};
use crate::workload::{Pace, Workload};

/// Filled in a block: preparing them takes ten times as long as filling them, and a harness repeats often.
const SEGMENTS_OF_BLOCK: u64 = 4;

/// Records that a block of a workload sends.
#[must_use]
pub fn records_of_block(workload: &Workload) -> u64 {
    extent(workload).calls * (workload.threads * workload.batch) as u64
}

/// How long so many blocks take, each into a new log whose segments stand ready; what lies between the blocks is not
/// counted.
///
/// # Errors
/// As [`run`](crate::run()).
pub fn time_blocks(workload: &Workload, dir: &Path, blocks: u64) -> Result<Duration, LoadError> {
    workload.check()?;
    let ring = workload.payloads.ring(workload.batch);
    let extent = extent(workload);
    let mut seconds = 0.0;
    for seed in 0..blocks {
        let scratch = tempfile::tempdir_in(dir).map_err(LoadError::io("a scratch directory"))?;
        let mut stage = Stage::open(&scratch.path().join("log"), workload, &ring, extent, seed)?;
        stage.warm_up()?;
        stage.prepare()?;
        seconds += block(&mut stage, workload, extent, seed)?.seconds;
        throw_away(scratch.path());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// An operation of one thread on a schedule, without a log; what was recorded of it.
///
/// # Errors
/// The rate is none that a schedule can have.
pub fn time_on_schedule(rate_per_second: f64, seconds: f64, operation: impl FnMut()) -> Result<Recorder, LoadError> {
    let pace = Pace::Open { rate_per_second };
    Workload { pace, ..Workload::new(Arc::new(Payloads::fixed(1))) }.check()?;
    on_schedule(rate_per_second, seconds, operation)
}

/// One block of a workload on a log whose segments stand ready, with `before` and `after` called right around it.
///
/// # Errors
/// As [`run`](crate::run()).
pub fn around_block<T>(
    workload: &Workload,
    dir: &Path,
    before: impl FnOnce() -> T,
    after: impl FnOnce(T),
) -> Result<(), LoadError> {
    workload.check()?;
    let ring = workload.payloads.ring(workload.batch);
    let extent = extent(workload);
    let scratch = tempfile::tempdir_in(dir).map_err(LoadError::io("a scratch directory"))?;
    let mut stage = Stage::open(&scratch.path().join("log"), workload, &ring, extent, 1)?;
    stage.warm_up()?;
    stage.prepare()?;
    let calls = extent.calls;
    let lane = &mut stage.lanes[0];
    let begun = before();
    lane.appended += lane.work(Block::<false> { calls, visible: false, again: Again::new(0.0, 1) })?;
    after(begun);
    stage.verify()
}

fn extent(workload: &Workload) -> Extent {
    Extent::of(workload, SEGMENT_BYTES, SEGMENTS_OF_BLOCK)
}

/// Fills `segments` of a log, leaves it without a close, and has `measure` ask how long so many reopenings take, as often as
/// it likes: filling the log takes far longer than opening it.
///
/// # Errors
/// As [`run`](crate::run()).
pub fn with_reopenings<R>(
    workload: &Workload,
    dir: &Path,
    segments: u64,
    measure: impl FnOnce(&dyn Fn(u64) -> Result<Duration, LoadError>) -> R,
) -> Result<R, LoadError> {
    workload.check()?;
    let ring = workload.payloads.ring(workload.batch);
    let extent = Extent::of(workload, SEGMENT_BYTES, segments);
    let scratch = tempfile::tempdir_in(dir).map_err(LoadError::io("a scratch directory"))?;
    let left = Left::after(workload, &ring, extent, &scratch.path().join("origin"), 1)?;
    Ok(measure(&|times| {
        let mut whole = Duration::ZERO;
        for _ in 0..times {
            let copy = scratch.path().join("copy");
            whole += left.reopen_copy(&copy)?.reopen;
            fs::remove_dir_all(&copy).map_err(LoadError::io("removing the copy"))?;
        }
        Ok(whole)
    }))
}
