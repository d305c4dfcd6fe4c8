//! A run: rows measured one after the other, and the facts around them.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oncelog::Log;
use tempfile::TempDir;

use crate::closed::{self, Repeats, Site};
use crate::error::LoadError;
use crate::open::{self, OpenResult};
use crate::progress::Progress;
use crate::reopen::Reopen;
use crate::result::{Figure, RunFacts, RunResult, SCHEMA_VERSION};
use crate::stage::{Extent, ROTATIONS_MIN, options};
use crate::sustained::Sustained;
use crate::workload::{Acknowledge, Idempotence, Pace, Window, Workload};
use crate::{device, durable, endless, fetch, host, pipelined, prefault, recover, reopen, sustained, sys};

/// Bytes of a segment, unless said otherwise: 17 of them are well below what fits into memory, and filling one takes
/// long enough for a rotation not to be what is measured. Small where the compiler did not optimise.
pub const SEGMENT_BYTES: u64 = if cfg!(debug_assertions) { 256 << 10 } else { 8 << 20 };
/// The smallest segment of a log.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// Filled in a block without end.
const SEGMENTS_ENDLESS: u64 = 32;
/// Filled in a pipeline.
const SEGMENTS_PIPELINED: u64 = 16;
/// Filled before a scan.
const SEGMENTS_FETCH: u64 = 8;
/// Filled before a reopening.
const SEGMENTS_RECOVER: u64 = 16;
/// No more memory is touched beforehand than this.
const PREFAULT_BYTES_MAX: u64 = 2 << 30;

/// Something to measure.
#[derive(Clone, Debug)]
pub enum Row {
    /// Appends, in the loop that the workload names.
    Append(Workload),
    /// Appends into segments that are made meanwhile.
    Endless(Workload),
    /// Durable appends of which only the last is waited for.
    Pipelined(Workload),
    /// Many bytes with retention.
    Sustained(Workload, Sustained),
    /// Reopening a large log, cold.
    Reopen(Workload, Reopen),
    /// Scans of what the workload appends, with each kind of check.
    Fetch(Workload),
    /// Reopening what the workload has appended.
    Recover(Workload),
}

impl Row {
    /// The workload behind it.
    #[must_use]
    pub fn workload(&self) -> &Workload {
        match self {
            Self::Append(workload)
            | Self::Endless(workload)
            | Self::Pipelined(workload)
            | Self::Sustained(workload, _)
            | Self::Reopen(workload, _)
            | Self::Fetch(workload)
            | Self::Recover(workload) => workload,
        }
    }

    /// A name for files and for choosing rows by.
    #[must_use]
    pub fn label(&self) -> String {
        let kind = match self {
            Self::Append(_) => "append",
            Self::Endless(_) => "endless",
            Self::Pipelined(_) => "pipelined",
            Self::Sustained(..) => "sustained",
            Self::Reopen(..) => "reopen",
            Self::Fetch(_) => "fetch",
            Self::Recover(_) => "recover",
        };
        format!("{kind}-{}", self.workload().label())
    }

    fn extent(&self, segment_bytes: u64) -> Extent {
        let segments = match self {
            Self::Append(_) | Self::Sustained(..) | Self::Reopen(..) => ROTATIONS_MIN + 1,
            Self::Pipelined(_) => SEGMENTS_PIPELINED,
            Self::Endless(_) => SEGMENTS_ENDLESS,
            Self::Fetch(_) => SEGMENTS_FETCH,
            Self::Recover(_) => SEGMENTS_RECOVER,
        };
        Extent::of(self.workload(), segment_bytes, segments)
    }

    /// Bytes of files at one time: a log, the one it is compared with, and the limit's.
    fn bytes(&self, segment_bytes: u64, repeats: Repeats) -> u64 {
        let workload = self.workload();
        let extent = self.extent(segment_bytes);
        match self {
            Self::Append(_) if workload.pace != Pace::Closed => open::bytes(workload, segment_bytes, repeats),
            Self::Append(_) if closed::serves_all_repeats(workload) => {
                extent.bytes(workload.partitions) * (2 + repeats.least as u64)
            }
            Self::Append(workload) if workload.acknowledge == Acknowledge::Durable => {
                3 * durable::extent(workload, segment_bytes).bytes(workload.partitions)
            }
            Self::Append(_) => 3 * extent.bytes(workload.partitions),
            Self::Pipelined(_) | Self::Endless(_) => 2 * extent.bytes(workload.partitions),
            Self::Sustained(_, sustained) => sustained.room(segment_bytes),
            Self::Reopen(_, reopen) => reopen.bytes + (1 << 30),
            Self::Fetch(_) => extent.bytes(workload.partitions),
            Self::Recover(_) => 2 * extent.bytes(workload.partitions),
        }
    }
}

/// How a run is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often and how long each figure is repeated.
    pub repeats: Repeats,
    /// Bytes of a segment; [`SEGMENT_BYTES`] if none.
    pub segment_bytes: Option<u64>,
    /// A directory that becomes one log, with a partition for each figure and its last repeat in it.
    pub dir: Option<PathBuf>,
    /// Where logs are made that do not stay.
    pub scratch: PathBuf,
    /// Decides the order of producers and which appends are retries.
    pub seed: u64,
    /// The command line, for the result.
    pub command: String,
}

/// A finished run, with the histograms that do not fit into its JSON.
pub struct Outcome {
    /// What `run.json` holds.
    pub result: RunResult,
    /// Each open loop with its label.
    pub open_loops: Vec<(String, OpenResult)>,
    /// When it began.
    pub started: SystemTime,
}

/// Measures these rows.
///
/// # Errors
/// The first thing that could not be measured, or that did not verify.
pub fn run(rows: &[Row], settings: &Settings, progress: &mut Progress) -> Result<Outcome, LoadError> {
    for row in rows {
        row.workload().check()?;
    }
    let started = SystemTime::now();
    let segment_bytes = segment_bytes(rows, settings)?;
    progress.steps(rows.len() + 1);
    progress.step(0, "the machine: clock, device, memory");
    let (scratch, kept) = directories(rows, settings, segment_bytes)?;
    let host = host::facts(scratch.path());
    let device = device::facts(scratch.path());
    make_room(rows, settings, segment_bytes, scratch.path())?;

    let site = Site { scratch: scratch.path(), kept: kept.as_ref(), seed: settings.seed };
    let kept_window = rows.first().map_or(Window::Mapped, |row| row.workload().window);
    let mut figures = Vec::new();
    let mut open_loops = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        progress.step(number + 1, &row.label());
        sys::forget_peak_memory();
        let first = figures.len();
        let site = Site { kept: kept.as_ref().filter(|_| row.workload().window == kept_window), ..site };
        match measure(row, segment_bytes, settings.repeats, site, progress)? {
            Measured::Figures(measured) => figures.extend(measured),
            Measured::Open(open) => {
                figures.push(open.figure.clone());
                open_loops.push((row.label(), *open));
            }
        }
        let peak_memory_bytes = sys::peak_memory_bytes();
        for figure in &mut figures[first..] {
            figure.peak_memory_bytes = peak_memory_bytes;
            if settings.dir.is_some() && site.kept.is_none() {
                figure.notes.push(format!("not kept: the log that stays has the {kept_window} window"));
            }
            if figure.latency_ns.is_some() {
                let times = if figure.pace == Some("open") { "three times" } else { "twice" };
                figure.notes.push(format!("the clock is read {times} an append, at {:.0} ns each", host.clock_ns));
            }
        }
    }
    if let Some(log) = kept {
        log.close()?;
    }
    progress.finish();
    let (commit, dirty) = host::commit();
    let run = RunFacts {
        id: run_id(started),
        started: host::utc(started),
        ended: host::utc(SystemTime::now()),
        commit,
        dirty,
        crate_version: env!("CARGO_PKG_VERSION").to_owned(),
        rustc: env!("ONCELOG_RUSTC").to_owned(),
        target_features: env!("ONCELOG_TARGET_FEATURES").split(',').map(str::to_owned).collect(),
        profile: env!("ONCELOG_PROFILE").to_owned(),
        command: settings.command.clone(),
        seed: settings.seed,
    };
    Ok(Outcome {
        result: RunResult { schema_version: SCHEMA_VERSION, run, host, device, figures },
        open_loops,
        started,
    })
}

enum Measured {
    Figures(Vec<Figure>),
    Open(Box<OpenResult>),
}

fn measure(
    row: &Row,
    segment_bytes: u64,
    repeats: Repeats,
    site: Site<'_>,
    progress: &Progress,
) -> Result<Measured, LoadError> {
    let extent = row.extent(segment_bytes);
    Ok(Measured::Figures(match row {
        Row::Append(workload) => match workload.pace {
            Pace::Closed => vec![closed::measure(workload, extent, repeats, site)?],
            Pace::Open { rate_per_second } => {
                let open = open::measure(workload, segment_bytes, repeats, site, rate_per_second)?;
                return Ok(Measured::Open(Box::new(open)));
            }
        },
        Row::Endless(workload) => vec![endless::measure(workload, extent, repeats, site)?],
        Row::Pipelined(workload) => vec![pipelined::measure(workload, extent, repeats, site)?],
        Row::Sustained(workload, sustained) => {
            vec![sustained::measure(workload, *sustained, segment_bytes, site, progress)?]
        }
        Row::Reopen(workload, reopen) => vec![reopen::measure(workload, *reopen, site)?],
        Row::Fetch(workload) => fetch::measure(workload, extent, repeats, site)?,
        Row::Recover(workload) => vec![recover::measure(workload, extent, repeats, site)?],
    }))
}

/// A name for the run that sorts by time.
fn run_id(started: SystemTime) -> String {
    let moment = host::utc(started).replace(':', "-");
    format!("{moment}-{:04x}", std::process::id() & 0xffff)
}

/// One size for all figures: with many partitions it is smaller, since each has segments of its own.
fn segment_bytes(rows: &[Row], settings: &Settings) -> Result<u64, LoadError> {
    let partitions = rows.iter().map(|row| row.workload().partitions).max().unwrap_or(1) as u64;
    if rows.iter().any(|row| matches!(row, Row::Sustained(..))) {
        return Ok(settings.segment_bytes.unwrap_or(sustained::SEGMENT_BYTES));
    }
    let shared = (SEGMENT_BYTES * 4 / partitions.next_power_of_two().max(4)).max(SEGMENT_BYTES_MIN);
    let bytes = settings.segment_bytes.unwrap_or(shared);
    for row in rows {
        let frame = (row.workload().payloads.longest() + 4) * row.workload().batch + 128;
        if frame as u64 * 4 > bytes {
            return Err(LoadError::Segment { frame_bytes: frame as u64, segment_bytes: bytes });
        }
    }
    Ok(bytes)
}

/// The scratch directory, and the log that stays if one is asked for.
fn directories(rows: &[Row], settings: &Settings, segment_bytes: u64) -> Result<(TempDir, Option<Log>), LoadError> {
    let within = |dir: &Path| {
        let made = tempfile::Builder::new().prefix(".oncelog-").tempdir_in(dir);
        made.map_err(LoadError::io(format!("writing to {}", dir.display())))
    };
    let Some(dir) = &settings.dir else { return Ok((within(&settings.scratch)?, None)) };
    std::fs::create_dir_all(dir).map_err(LoadError::io(format!("creating {}", dir.display())))?;
    let mut entries = std::fs::read_dir(dir).map_err(LoadError::io(format!("reading {}", dir.display())))?;
    if entries.next().is_some() {
        return Err(LoadError::NotEmpty(dir.clone()));
    }
    // Beside the log, so that both lie on the same device; in it, they would be taken for a part of it.
    let whole = std::fs::canonicalize(dir).map_err(LoadError::io(format!("reading {}", dir.display())))?;
    let scratch = within(whole.parent().unwrap_or(&whole)).or_else(|_| within(&settings.scratch))?;
    let stamped = rows.iter().map(Row::workload).filter(|workload| workload.idempotence != Idempotence::Off);
    let producers: usize = stamped.map(|workload| workload.producers).sum();
    let window = rows.first().map_or(Window::Mapped, |row| row.workload().window);
    let durable = rows.iter().any(|row| row.workload().acknowledge == Acknowledge::Durable);
    let level = if durable { Acknowledge::Durable } else { Acknowledge::Written };
    let options = options(segment_bytes, producers as u64, window, level);
    // SAFETY: the directory was empty and is this process's to fill; whoever asks for it does not write there.
    let log = unsafe { options.open(dir) }?;
    Ok((scratch, Some(log)))
}

/// Refuses a run that does not fit, and has the memory used once that it will use.
fn make_room(rows: &[Row], settings: &Settings, segment_bytes: u64, scratch: &Path) -> Result<(), LoadError> {
    let bytes = |row: &Row| row.bytes(segment_bytes, settings.repeats);
    let at_one_time = rows.iter().map(bytes).max().unwrap_or(0);
    let kept = if settings.dir.is_some() { rows.iter().map(bytes).sum::<u64>() / 3 } else { 0 };
    let needed = at_one_time + kept;
    let available = sys::room(scratch).map_err(LoadError::io("asking for room"))?;
    if available < needed {
        return Err(LoadError::Room { dir: scratch.to_owned(), needed, available });
    }
    prefault::touch(scratch, at_one_time.min(PREFAULT_BYTES_MAX)).map_err(LoadError::io("touching memory"))
}
