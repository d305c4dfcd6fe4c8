//! A small log, damaged in one place and opened, again and again: in a process of its own, which may die of it.
//!
//! Opening must refuse with a named error, or give a log whose records are what they were, or a prefix of that. A panic,
//! another record, or memory by a length that was not checked is a fault.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use oncelog::{Log, OpenError, Options, Partition, Stamp};

use super::course::Dice;
use super::logs::copy;
use super::plan::payload;
use crate::failure::Failure;

/// Address space that one opening may take beyond what the first ones took, in KiB.
const MEMORY_MORE_MAX_KIB: u64 = 256 << 10;

/// Parts that all damages are cut into.
/// An odd number, so that each slice has bytes of every place in a word, flipped and cut.
pub(super) const SLICES: u64 = 251;

/// What a line begins with that says which damage comes next; what became of it; and the end.
pub(super) const NEXT: &str = "next ";
pub(super) const CAME: &str = "came ";
pub(super) const FAULT: &str = "fault ";
pub(super) const END: &str = "end";

/// Arguments of the process.
#[derive(Args, Clone, Debug)]
pub(crate) struct Slice {
    /// Where the two logs are.
    #[arg(long)]
    pub(super) place: PathBuf,
    #[arg(long)]
    pub(super) slice: u64,
}

/// One way to damage a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip(usize),
    Cut(usize),
}

/// Panics of any thread since the process began.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// The names of the two logs: one that was closed, and one as a kill leaves it.
const LOGS: [&str; 2] = ["closed", "killed"];

/// A record as it was read: offset, producer and sequence, payload.
type Record = (u64, Option<(u64, u64)>, Vec<u8>);

fn options() -> Options {
    Options::new().segment_bytes(64 << 10).segments_ahead(1).snapshot_bytes(64 << 10).producers_max(64)
}

/// Makes the two logs.
pub(super) fn build(place: &Path) -> Result<(), String> {
    let (closed, killed) = (place.join(LOGS[0]), place.join(LOGS[1]));
    // SAFETY: the directory is ours alone.
    let log = unsafe { Log::open(&closed, &options()) }.map_err(|error| error.to_string())?;
    let orders = log.partition("orders").map_err(|error| error.to_string())?;
    fill(&log, &orders).map_err(|error| format!("filling the small log: {error}"))?;
    // Until upkeep has come to rest, files are renamed and made meanwhile. What there is then is what a kill would leave.
    thread::sleep(Duration::from_millis(300));
    copy(&closed, &killed).map_err(|error| format!("copying the small log: {error}"))?;
    drop(orders);
    log.close().map_err(|error| error.to_string())?;
    Ok(())
}

fn fill(log: &Log, orders: &Partition) -> Result<(), Box<dyn std::error::Error>> {
    let mut plain = orders.appender()?;
    let registration = log.register("by id")?;
    // Registered twice: a fence frame is among the others.
    let mut sequence = 0;
    for round in 0..2 {
        let mut session = log.session("session")?;
        for _ in 0..if round == 0 { 70 } else { 50 } {
            plain.append(&payload(2, sequence))?;
            let stored = session.append_batch(orders, 2 * sequence, &[&payload(0, sequence), b""])?.is_stored();
            let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence };
            if !(plain.append_by_id(stamp, &payload(1, sequence))?.is_stored() && stored) {
                return Err("a record of the small log was refused".into());
            }
            if sequence % 40 == 0 {
                // Given up: a void frame, whose offset stays empty.
                let _ = plain.append_with(50, |_, _| Err(()));
                orders.flush()?;
            }
            sequence += 1;
        }
    }
    Ok(())
}

/// All records of a log by partition.
fn read(log: &Log) -> Result<BTreeMap<String, Vec<Record>>, String> {
    let mut all = BTreeMap::new();
    for name in log.partition_names() {
        let partition = log.partition(&name).map_err(|error| error.to_string())?;
        let mut reader = partition.read_from(partition.start_offset()).map_err(|error| error.to_string())?;
        let mut records = Vec::new();
        while let Some(record) = reader.next().map_err(|error| error.to_string())? {
            let producer = record.producer().map(|stamp| (stamp.producer.get(), stamp.sequence));
            records.push((record.offset(), producer, record.payload().to_vec()));
        }
        all.insert(name, records);
    }
    Ok(all)
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

/// A file of one of the logs, and its bytes.
struct Target {
    log: &'static str,
    path: PathBuf,
    bytes: usize,
}

fn targets(place: &Path) -> Result<Vec<Target>, String> {
    let mut all = Vec::new();
    for name in LOGS {
        let log = place.join(name);
        for path in files(&log, &log)? {
            let bytes = fs::metadata(log.join(&path)).map_err(|error| error.to_string())?.len() as usize;
            all.push(Target { log: name, path, bytes });
        }
    }
    Ok(all)
}

/// How many damages there are: each byte can be flipped, and each length be cut.
pub(super) fn damages(place: &Path) -> Result<u64, String> {
    Ok(targets(place)?.iter().map(|target| 2 * target.bytes as u64).sum())
}

/// The damages of a slice: every so many-th of all, in their order.
fn damages_of(slice: u64, targets: &[Target]) -> impl Iterator<Item = (&Target, Damage)> {
    let mut left = slice as usize;
    targets.iter().flat_map(move |target| {
        let first = left;
        let all = 2 * target.bytes;
        let here = (first..all).step_by(SLICES as usize);
        left = first + here.len() * SLICES as usize - all;
        here.map(move |index| {
            let damage = if index % 2 == 0 { Damage::Flip(index / 2) } else { Damage::Cut(index / 2) };
            (target, damage)
        })
    })
}

/// Tries each damage of a slice, and says so line by line.
pub(crate) fn run(slice: &Slice) -> Result<(), Failure> {
    panic::set_hook(Box::new(|_| {
        PANICS.fetch_add(1, Ordering::SeqCst);
    }));
    let told = match try_slice(slice) {
        Ok(()) => say(END),
        Err(fault) => say(&format!("{FAULT}{}", fault.replace('\n', " "))),
    };
    told.map_err(Failure::Failed)
}

fn say(line: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let said = writeln!(out, "{line}").and_then(|()| out.flush());
    said.map_err(|error| format!("nobody listens: {error}"))
}

fn try_slice(slice: &Slice) -> Result<(), String> {
    let own = tempfile::tempdir_in(&slice.place).map_err(|error| error.to_string())?;
    let targets = targets(&slice.place)?;
    let mut expected = BTreeMap::new();
    for name in LOGS {
        let at = own.path().join("whole");
        copy(&slice.place.join(name), &at).map_err(|error| error.to_string())?;
        let (log, records) = open(&at).map_err(|error| format!("the whole log: {error}"))?;
        expected.insert(name, records.map_err(|error| format!("the whole log: {error}"))?);
        drop(log);
        fs::remove_dir_all(&at).map_err(|error| error.to_string())?;
    }
    let usual_kib = memory_peak_kib();
    let mut damages: Vec<_> = damages_of(slice.slice, &targets).collect();
    // What a bound leaves out is a bit of each part.
    Dice::new(slice.slice).shuffle(&mut damages);
    let mut came = String::new();
    for (Target { log: name, path, .. }, damage) in damages {
        let Some(expected) = expected.get(name) else { continue };
        let damaged = own.path().join("damaged");
        copy(&slice.place.join(name), &damaged).map_err(|error| format!("copying: {error}"))?;
        let what = format!("{name} log, {}, {damage:?}", path.display());
        say(&format!("{came}{NEXT}{what}"))?;
        let part = spoil(&damaged.join(path), damage).map_err(|error| format!("{what}: {error}"))?;
        let outcome = judge(&damaged, expected).map_err(|reason| format!("{what}: {reason}"))?;
        if memory_peak_kib() > usual_kib + MEMORY_MORE_MAX_KIB {
            return Err(format!("{what}: memory went from {usual_kib} KiB to {} KiB", memory_peak_kib()));
        }
        came = format!("{CAME}{name}: {part}: {outcome}\n");
        fs::remove_dir_all(&damaged).map_err(|error| error.to_string())?;
    }
    say(came.trim_end())
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
