//! Reopening: how long a log takes that was left without a close.
//!
//! The files of a log are copied while it is open and nobody appends: that is what a killed process leaves. The
//! copy is synced first, timed apart, and then opened; so what is timed is recovery from a warm cache, not the disk.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use oncelog::{Options, Partition};

use crate::closed::{Repeats, Site, block};
use crate::error::LoadError;
use crate::result::{Figure, Kind};
use crate::spread::Spread;
use crate::stage::{Extent, Stage, options_of};
use crate::verify::VerifyError;
use crate::workload::{Idempotence, Workload};

/// Reopens what a workload has appended since the newest snapshot.
pub(crate) fn measure(
    workload: &Workload,
    extent: Extent,
    repeats: Repeats,
    site: Site<'_>,
) -> Result<Figure, LoadError> {
    let ring = workload.payloads.ring(workload.batch);
    let scratch = tempfile::tempdir_in(site.scratch).map_err(LoadError::io("a scratch directory"))?;
    let left = Left::after(workload, &ring, extent, &scratch.path().join("origin"), site.seed)?;
    let mut times: Vec<Times> = Vec::new();
    let start = Instant::now();
    while times.len() < repeats.least || (times.len() < repeats.most && start.elapsed().as_secs_f64() < repeats.seconds)
    {
        let copy = scratch.path().join("copy");
        times.push(left.reopen_copy(&copy)?);
        fs::remove_dir_all(&copy).map_err(LoadError::io("removing the copy"))?;
    }
    let seconds = || times.iter().map(|times| times.reopen.as_secs_f64());
    let bytes = left.bytes();
    let mut figure = Figure::empty(Kind::Recover);
    figure.idempotence = Some(workload.idempotence);
    figure.payload_bytes = Some(workload.payloads.mean_bytes());
    figure.batch = Some(workload.batch);
    figure.producers = (workload.idempotence != Idempotence::Off).then_some(workload.producers);
    figure.partitions = Some(workload.partitions);
    figure.window = Some(workload.window);
    figure.repeats = Some(times.len());
    figure.bytes = Some(bytes);
    figure.segments = Some(left.stage.rotations() + workload.partitions as u64);
    figure.segment_bytes = Some(extent.segment_bytes);
    figure.bytes_per_second = Spread::of(seconds().map(|seconds| bytes as f64 / seconds));
    figure.sync_seconds = Spread::of(times.iter().map(|times| times.sync.as_secs_f64())).map(|spread| spread.median);
    if let Some(spread) = Spread::of(seconds()) {
        figure.seconds = Some(spread.median);
        figure.seconds_min = Some(spread.min);
        figure.seconds_max = Some(spread.max);
    }
    figure.verified = true;
    Ok(figure)
}

/// A log that is full and will not be closed before it is copied.
pub(crate) struct Left<'p> {
    stage: Stage<'p>,
    origin: PathBuf,
    options: Options,
    extent: Extent,
    batch: usize,
}

/// One reopening.
pub(crate) struct Times {
    pub(crate) sync: Duration,
    pub(crate) reopen: Duration,
}

impl<'p> Left<'p> {
    /// Appends one block to a new log.
    pub(crate) fn after(
        workload: &Workload,
        ring: &'p [&'p [u8]],
        extent: Extent,
        origin: &Path,
        seed: u64,
    ) -> Result<Self, LoadError> {
        let mut stage = Stage::open(origin, workload, ring, extent, seed)?;
        stage.prepare()?;
        block(&mut stage, workload, extent, seed)?;
        stage.verify()?;
        // What the direct window holds in memory alone would not be in the copy.
        stage.wait_until_durable()?;
        let options = options_of(workload, extent);
        Ok(Self { stage, origin: origin.to_owned(), options, extent, batch: workload.batch })
    }

    /// Bytes of all frames.
    fn bytes(&self) -> u64 {
        let records: u64 = self.stage.partitions.iter().map(Partition::end_offset).sum();
        (records as f64 * self.extent.frame_bytes / self.batch as f64) as u64
    }

    /// Copies the log, syncs the copy, opens it, and compares where its partitions end.
    pub(crate) fn reopen_copy(&self, copy: &Path) -> Result<Times, LoadError> {
        copy_at_rest(&self.origin, copy).map_err(LoadError::io("copying the log"))?;
        let start = Instant::now();
        sync_tree(copy).map_err(LoadError::io("syncing the copy"))?;
        let sync = start.elapsed();
        let start = Instant::now();
        // SAFETY: the copy is known to this process alone, and nothing writes to it any more.
        let log = unsafe { self.options.open(copy) }?;
        let names = self.stage.partitions.iter().map(Partition::name);
        let partitions = names.map(|name| log.partition(name)).collect::<Result<Vec<_>, _>>()?;
        let reopen = start.elapsed();
        for (number, (found, expected)) in partitions.iter().zip(&self.stage.partitions).enumerate() {
            let (found, expected) = (found.end_offset(), expected.end_offset());
            if found != expected {
                return Err(VerifyError::Count { partition: number, expected, found }.into());
            }
        }
        Ok(Times { sync, reopen })
    }
}

/// Copies a log whose background threads may still be renaming and sealing what was appended: until no name has changed
/// meanwhile, since no crash leaves a file under two names.
fn copy_at_rest(from: &Path, to: &Path) -> io::Result<()> {
    const TRIES: usize = 100;
    for _ in 0..TRIES {
        let before = names(from)?;
        match copy_tree(from, to) {
            Ok(()) if names(from)? == before => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::remove_dir_all(to)?,
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(io::Error::other("its files do not come to rest"))
}

fn names(dir: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            all.append(&mut names(&entry.path())?);
        }
        all.insert(entry.path());
    }
    Ok(all)
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(dir)?.sync_all()
}
