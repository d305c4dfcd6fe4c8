//! A run: rows measured one after the other, and the facts around them.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oncelog::Log;
use tempfile::TempDir;

use crate::closed::{self, Repeats, Site};
use crate::delivery::cost;
use crate::error::LoadError;
use crate::progress::Progress;
use crate::recorder::Histograms;
use crate::result::{Figure, Kind, RunFacts, RunResult, SCHEMA_VERSION};
use crate::row::Row;
use crate::stage::options;
use crate::workload::{Acknowledge, Idempotence, Pace, Window};
use crate::{
    device, durable, endless, fetch, generator, host, open, pipelined, prefault, recover, reopen, sustained, sweep,
    sys, transaction,
};

/// Bytes of a segment, unless said otherwise: 17 of them are well below what fits into memory, and filling one takes
/// long enough for a rotation not to be what is measured. Small where the compiler did not optimise.
pub const SEGMENT_BYTES: u64 = if cfg!(debug_assertions) { 256 << 10 } else { 8 << 20 };
/// The smallest segment of a log.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// No more memory is touched beforehand than this.
const PREFAULT_BYTES_MAX: u64 = 2 << 30;

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

/// A run so far, with the histograms that do not fit into its JSON.
pub struct Outcome {
    /// What `run.json` holds.
    pub result: RunResult,
    /// Those of figures that have any.
    pub histograms: Vec<Histograms>,
    /// When it began.
    pub started: SystemTime,
}

/// Measures these rows.
///
/// # Errors
/// The first thing that could not be measured. What did not verify is no error: its figures are marked.
pub fn run(rows: &[Row], settings: &Settings, progress: &mut Progress) -> Result<Outcome, LoadError> {
    run_watched(rows, settings, progress, &mut |_| Ok(ControlFlow::Continue(())))
}

/// The same, shown to `watch` after each row, which may keep what there is, and may end the run: one that ends before its
/// last row is marked as interrupted.
///
/// # Errors
/// As [`run`], and those of `watch`.
pub fn run_watched(
    rows: &[Row],
    settings: &Settings,
    progress: &mut Progress,
    watch: &mut dyn FnMut(&Outcome) -> io::Result<ControlFlow<()>>,
) -> Result<Outcome, LoadError> {
    for row in rows {
        row.check()?;
    }
    let started = SystemTime::now();
    let segment_bytes = segment_bytes(rows, settings)?;
    progress.steps(rows.len() + 1);
    progress.step(0, "the machine: clock, device, memory");
    let (scratch, kept) = directories(rows, settings, segment_bytes)?;
    let mut outcome = begin(settings, started, scratch.path())?;
    make_room(rows, settings, segment_bytes, scratch.path())?;

    let site = Site { scratch: scratch.path(), kept: kept.as_ref(), seed: settings.seed };
    let kept_window = rows.first().map_or(Window::Mapped, |row| row.workload().window);
    for (number, row) in rows.iter().enumerate() {
        progress.step(number + 1, &row.label());
        sys::forget_peak_memory();
        let site = Site { kept: kept.as_ref().filter(|_| row.workload().window == kept_window), ..site };
        let mut measured = match measure(row, segment_bytes, settings.repeats, site, progress) {
            Err(error) if error.is_about_contents() => vec![unverified(row, &error)],
            other => other?,
        };
        let peak_memory_bytes = sys::peak_memory_bytes();
        for (figure, _) in &mut measured {
            figure.peak_memory_bytes = peak_memory_bytes;
            if settings.dir.is_some() && site.kept.is_none() {
                figure.notes.push(format!("not kept: the log that stays has the {kept_window} window"));
            }
            if figure.latency_ns.is_some() {
                let times = if figure.pace == Some("open") { "three times" } else { "twice" };
                let clock_ns = outcome.result.host.clock_ns;
                figure.notes.push(format!("the clock is read {times} an append, at {clock_ns:.0} ns each"));
            }
        }
        for (figure, histograms) in measured {
            outcome.result.figures.push(figure);
            outcome.histograms.extend(histograms);
        }
        outcome.result.run.ended = host::utc(SystemTime::now());
        outcome.result.interrupted = number + 1 < rows.len();
        if watch(&outcome).map_err(LoadError::io("keeping the figures so far"))?.is_break() {
            break;
        }
    }
    if let Some(log) = kept {
        log.close()?;
    }
    progress.finish();
    Ok(outcome)
}

/// Everything but figures.
fn begin(settings: &Settings, started: SystemTime, scratch: &Path) -> Result<Outcome, LoadError> {
    let (host, device) = (host::facts(scratch), device::facts(scratch));
    let (commit, dirty) = host::commit();
    let run = RunFacts {
        id: run_id(started),
        started: host::utc(started),
        ended: host::utc(started),
        commit,
        dirty,
        crate_version: env!("CARGO_PKG_VERSION").to_owned(),
        rustc: env!("ONCELOG_RUSTC").to_owned(),
        target_features: env!("ONCELOG_TARGET_FEATURES").split(',').map(str::to_owned).collect(),
        profile: env!("ONCELOG_PROFILE").to_owned(),
        command: settings.command.clone(),
        seed: settings.seed,
    };
    let mut notes = Vec::new();
    if host::is_memory(&host.file_system) {
        notes
            .push(format!("the file system is memory ({}): nothing here says anything about a disk", host.file_system));
    }
    if run.profile != "release" {
        notes.push(format!("this is a {} build: its figures mean nothing", run.profile));
    }
    let generator = generator::facts()?;
    let result = RunResult {
        schema_version: SCHEMA_VERSION,
        run,
        host,
        device,
        generator,
        figures: Vec::new(),
        interrupted: true,
        notes,
    };
    Ok(Outcome { result, histograms: Vec::new(), started })
}

/// What stays of a row whose reader found something else than was appended.
fn unverified(row: &Row, error: &LoadError) -> Measured {
    let mut figure = Figure::of(row.workload());
    figure.workload = match row {
        Row::Append(_) => Kind::Append,
        Row::Sweep(_) => Kind::Sweep,
        Row::Endless(_) => Kind::Endless,
        Row::Pipelined(_) => Kind::Pipelined,
        Row::Sustained(..) => Kind::Sustained,
        Row::Fetch(_) => Kind::Fetch,
        Row::Recover(_) | Row::Reopen(..) => Kind::Recover,
        Row::Transaction(_) => Kind::Transaction,
        Row::Delivery(..) => Kind::Delivery,
    };
    figure.notes.push(format!("not verified: {error}"));
    (figure, None)
}

/// A figure, and the histograms behind it.
type Measured = (Figure, Option<Histograms>);

fn measure(
    row: &Row,
    segment_bytes: u64,
    repeats: Repeats,
    site: Site<'_>,
    progress: &Progress,
) -> Result<Vec<Measured>, LoadError> {
    let extent = row.extent(segment_bytes);
    let with = |(figure, histograms): (Figure, Histograms)| (figure, Some(histograms));
    let figures = match row {
        Row::Append(workload) => match workload.pace {
            Pace::Closed if workload.acknowledge == Acknowledge::Durable => {
                return Ok(vec![with(durable::measure(workload, segment_bytes, repeats, site)?)]);
            }
            Pace::Closed => return Ok(vec![closed::measure(workload, extent, repeats, site)?]),
            Pace::Open { rate_per_second } => {
                return Ok(vec![with(open::measure(workload, segment_bytes, repeats, site, rate_per_second)?)]);
            }
        },
        Row::Sweep(workload) => {
            let told = |rate: &str| progress.about(rate);
            let measured = sweep::measure(workload, segment_bytes, repeats, site, told)?;
            return Ok(measured.into_iter().map(with).collect());
        }
        Row::Endless(workload) => vec![endless::measure(workload, extent, repeats, site)?],
        Row::Pipelined(workload) => vec![pipelined::measure(workload, extent, repeats, site)?],
        Row::Sustained(workload, sustained) => {
            vec![sustained::measure(workload, *sustained, segment_bytes, site, progress)?]
        }
        Row::Reopen(workload, reopen) => vec![reopen::measure(workload, *reopen, site)?],
        Row::Fetch(workload) => fetch::measure(workload, extent, repeats, site)?,
        Row::Transaction(workload) => vec![transaction::measure(workload, repeats, site)?],
        Row::Delivery(workload, lost) => cost::measure(workload, *lost, repeats, site)?,
        Row::Recover(workload) => vec![recover::measure(workload, extent, repeats, site)?],
    };
    Ok(figures.into_iter().map(|figure| (figure, None)).collect())
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
