//! `oncelog crash flip`: a small log, of which each byte is flipped and each length is cut, one at a time.
//!
//! Opening must refuse with a named error, or give a log whose records are what they were, or a prefix of that. A panic,
//! another record, or memory by a length that was not checked is a fault.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use oncelog::{Log, OpenError};

use super::course::{Bounds, Course};
use super::dice::Dice;
use super::kill::copy;
use super::small_log::{Record, build, options, read};

/// Address space that one opening may take beyond what the first ones took, in KiB.
const MEMORY_MORE_MAX_KIB: u64 = 256 << 10;

/// Arguments of `oncelog crash flip`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) bounds: Bounds,
}

/// One way to damage a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip(usize),
    Cut(usize),
}

/// Panics of any thread since the process began.
static PANICS: AtomicU64 = AtomicU64::new(0);

pub(super) fn run(_arguments: &Arguments, course: &mut Course) -> Result<(), String> {
    let before = panic::take_hook();
    panic::set_hook(Box::new(|_| {
        PANICS.fetch_add(1, Ordering::SeqCst);
    }));
    let result = run_all(course);
    panic::set_hook(before);
    result
}

fn run_all(course: &mut Course) -> Result<(), String> {
    // Openings sync what they read: in memory that costs nothing.
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let place = place.map_err(|error| error.to_string())?;
    let mut dice = Dice::new(course.seed);
    let mut all = Vec::new();
    let logs = build(place.path())?;
    for (index, log) in logs.iter().enumerate() {
        for path in files(log, log)? {
            let length = fs::metadata(log.join(&path)).map_err(|error| error.to_string())?.len() as usize;
            all.extend((0..length).map(|at| (index, path.clone(), Damage::Flip(at))));
            all.extend((0..length).map(|at| (index, path.clone(), Damage::Cut(at))));
        }
    }
    course.count("bytes and lengths there are, of a closed log and a killed one", all.len() as u64);
    // In an order of chance: what a bound leaves out is spread over all.
    dice.shuffle(&mut all);
    let mut expected = Vec::new();
    for log in &logs {
        let at = place.path().join("whole");
        copy(log, &at).map_err(|error| error.to_string())?;
        let (log, records) = open(&at).map_err(|error| format!("the whole log: {error}"))?;
        expected.push(records.map_err(|error| format!("the whole log: {error}"))?);
        drop(log);
        fs::remove_dir_all(&at).map_err(|error| error.to_string())?;
    }
    let usual_kib = memory_peak_kib();
    for (index, path, damage) in all {
        if !course.goes_on() {
            break;
        }
        let (Some(log), Some(expected)) = (logs.get(index), expected.get(index)) else { continue };
        let damaged = place.path().join("damaged");
        copy(log, &damaged).map_err(|error| format!("copying: {error}"))?;
        let what = format!("{} log, {}, {damage:?}", ["closed", "killed"][index % 2], path.display());
        let part = spoil(&damaged.join(&path), damage).map_err(|error| format!("{what}: {error}"))?;
        let outcome = judge(&damaged, expected).map_err(|reason| format!("{what}: {reason}"))?;
        if memory_peak_kib() > usual_kib + MEMORY_MORE_MAX_KIB {
            return Err(format!("{what}: memory went from {usual_kib} KiB to {} KiB", memory_peak_kib()));
        }
        course.count(&format!("{part}: {outcome}"), 1);
        course.step();
        fs::remove_dir_all(&damaged).map_err(|error| error.to_string())?;
    }
    course.seed += 1;
    Ok(())
}

/// All files below, as seen from `root`, without the lock.
fn files(root: &Path, directory: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() {
            found.extend(files(root, &path)?);
        } else if path.file_name().is_some_and(|name| name != "LOCK") {
            found.extend(path.strip_prefix(root).map(Path::to_owned));
        }
    }
    found.sort();
    Ok(found)
}

/// Damages a file, and names the part that was hit.
fn spoil(path: &Path, damage: Damage) -> std::io::Result<String> {
    let mut bytes = fs::read(path)?;
    let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or("log");
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let (at, verb) = match damage {
        Damage::Flip(at) => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (at % 8);
            }
            (at, "flipped")
        }
        Damage::Cut(at) => {
            bytes.truncate(at);
            (at, "cut")
        }
    };
    fs::write(path, bytes)?;
    let part = match (suffix, at) {
        ("seg" | "ready", 0..512) => "header",
        ("seg" | "ready", 512..4096) => "seals",
        ("seg" | "ready", at) if at < used => "frames",
        ("seg" | "ready", _) => "behind the end",
        _ => "",
    };
    Ok(format!("{suffix} {part} {verb}").replace("  ", " "))
}

/// An opened log and what could be read of it.
type Opened = (Log, Result<BTreeMap<String, Vec<Record>>, String>);

fn open(directory: &Path) -> Result<Opened, OpenError> {
    // SAFETY: the directory is ours alone, and nobody else has it open.
    let log = unsafe { Log::open(directory, &options()) }?;
    let records = read(&log);
    Ok((log, records))
}

/// What opening made of the damage.
fn judge(directory: &Path, expected: &BTreeMap<String, Vec<Record>>) -> Result<&'static str, String> {
    let panics = PANICS.load(Ordering::SeqCst);
    let opened = panic::catch_unwind(AssertUnwindSafe(|| open(directory)));
    if opened.is_err() || PANICS.load(Ordering::SeqCst) != panics {
        return Err("a thread panicked".to_owned());
    }
    let Ok(opened) = opened else { return Err("opening panicked".to_owned()) };
    let outcome = match opened {
        Err(OpenError::Corrupt { .. }) => "refused as corrupt",
        Err(OpenError::Foreign { .. }) => "refused as foreign",
        Err(OpenError::Version { .. }) => "refused by version",
        Err(error) => return Err(format!("an error that says nothing of the damage: {error}")),
        Ok((_log, Err(refusal))) if refusal.contains("corrupt") => "refused to the reader",
        Ok((_log, Err(refusal))) => return Err(refusal),
        Ok((_log, Ok(found))) => {
            let mut outcome = "all is as it was";
            for (partition, expected) in expected {
                let found = found.get(partition).map_or(&[][..], Vec::as_slice);
                if !expected.starts_with(found) {
                    return Err(format!(
                        "{partition}: {} records that are no beginning of the {} there were",
                        found.len(),
                        expected.len()
                    ));
                }
                if found.len() < expected.len() {
                    outcome = "the partition ends there";
                }
            }
            outcome
        }
    };
    if PANICS.load(Ordering::SeqCst) != panics {
        return Err("a thread of the log panicked".to_owned());
    }
    Ok(outcome)
}

/// The most address space that this process has had.
fn memory_peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
