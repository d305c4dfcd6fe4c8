//! Crashes and reopenings in any order, told by an input's bytes: of what was stored since the last flush, any sectors
//! reach the device and any do not.
//!
//! What must hold then: the records are those that were appended, up to some offset that is not below what was flushed; and
//! each producer comes to stand behind its last record there.

use std::path::Path;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use oncelog::{Answer, FlushStats, Log, Options, Partition, Session, Stamp, Window};

use crate::files::{Files, write};
use crate::operations::logs::{directory_in_memory, files, killed, try_open};

/// What reaches the device whole or not at all.
const SECTOR: usize = 512;

/// Most steps of one input.
const STEPS_MAX: usize = 120;

/// Producers: one with a session, one by id.
const NAMES: [&str; 2] = ["session", "by id"];

/// A record: payload, and producer with sequence.
type Record = (Vec<u8>, Option<(usize, u64)>);

struct Course {
    directory: tempfile::TempDir,
    options: Options,
    open: Option<Open>,
    /// By offset; none where an offset was given up.
    records: Vec<Record>,
    /// Offset up to which all was flushed, the files as of then, and what the log had flushed until then.
    durable: u64,
    flushed: Files,
    flushes: Option<FlushStats>,
}

struct Open {
    log: Log,
    partition: Partition,
    session: Session,
    by_id: Stamp,
}

fn fault<E: std::fmt::Display>(doing: &'static str) -> impl FnOnce(E) -> String {
    move |error| format!("{doing}: {error}")
}

fn as_files(directory: &Path) -> Files {
    let named = |(path, bytes): (std::path::PathBuf, Vec<u8>)| Some((path.to_str()?.to_owned(), bytes));
    files(directory).into_iter().filter_map(named).collect()
}

/// The number of a file of the partition with that suffix.
fn number(name: &str, suffix: &str) -> Option<u64> {
    name.strip_prefix("partitions/orders/")?.strip_suffix(suffix)?.trim_end_matches('.').parse().ok()
}

impl Course {
    fn new(window: Window) -> std::result::Result<Self, String> {
        let mut options =
            Options::new().segment_bytes(64 << 10).snapshot_bytes(64 << 10).producers_max(8).window(window);
        if window == Window::Direct {
            // What the log flushes by itself no crash takes back: the input says when.
            options = options.flush_interval(Some(Duration::from_secs(3600)));
        }
        let mut course = Self {
            directory: directory_in_memory(),
            options,
            open: None,
            records: Vec::new(),
            durable: 0,
            flushed: Files::new(),
            flushes: None,
        };
        course.open()?;
        Ok(course)
    }

    fn open(&mut self) -> std::result::Result<(), String> {
        let log = try_open(self.directory.path(), &self.options).map_err(fault("opening"))?;
        let partition = log.partition("orders").map_err(fault("opening the partition"))?;
        let session = log.session(NAMES[0]).map_err(fault("registering"))?;
        let registration = log.register(NAMES[1]).map_err(fault("registering"))?;
        let by_id = Stamp { producer: registration.id, epoch: registration.epoch, sequence: 0 };
        self.open = Some(Open { log, partition, session, by_id });
        self.compare()?;
        // What recovery has read it has synced.
        self.note_flushed()
    }

    /// The files as they are, and what was flushed until then: looked at again where something was meanwhile.
    fn look(&mut self) -> std::result::Result<(Files, FlushStats), String> {
        let directory = self.directory.path().to_owned();
        let log = &self.at_hand()?.log;
        loop {
            let before = log.stats().flush;
            let now = as_files(killed(&directory).path());
            if log.stats().flush == before {
                return Ok((now, before));
            }
        }
    }

    fn note_flushed(&mut self) -> std::result::Result<(), String> {
        self.durable = self.records.len() as u64;
        let (flushed, flushes) = self.look()?;
        (self.flushed, self.flushes) = (flushed, Some(flushes));
        Ok(())
    }

    fn at_hand(&mut self) -> std::result::Result<&mut Open, String> {
        self.open.as_mut().ok_or_else(|| "no log is open".to_owned())
    }

    /// The sequence that comes next.
    fn next(&self, producer: usize) -> u64 {
        self.records.iter().filter(|(_, by)| by.is_some_and(|(by, _)| by == producer)).count() as u64
    }

    /// Compares what is there with what was appended, and forgets what was lost.
    fn compare(&mut self) -> std::result::Result<(), String> {
        let durable = self.durable;
        let records = self.records.clone();
        let open = self.at_hand()?;
        let end = open.partition.end_offset();
        if end < durable || end > records.len() as u64 {
            return Err(format!("offset {end} comes next; {durable} were flushed, and {} appended", records.len()));
        }
        let ids = [open.session.id(), open.by_id.producer];
        let mut reader = open.partition.read_from(0).map_err(fault("reading"))?;
        for (offset, (payload, by)) in (0..end).zip(&records) {
            let record = reader.next().map_err(fault("reading"))?.ok_or("a record is missing")?;
            let found = record.producer().map(|stamp| (stamp.producer, stamp.sequence));
            let stored = by.map(|(producer, sequence)| (ids[producer], sequence));
            if (record.offset(), record.payload(), found) != (offset, payload.as_slice(), stored) {
                return Err(format!(
                    "offset {offset} has {found:?} at {}, and {stored:?} was appended",
                    record.offset()
                ));
            }
        }
        drop(reader);
        self.records.truncate(end as usize);
        let nexts = [0, 1].map(|producer| self.next(producer));
        let open = self.at_hand()?;
        let last = open.session.last(&open.partition).map_err(fault("asking for the last sequence"))?;
        let infos = open.log.producers();
        let listed = infos.iter().find(|info| info.name == NAMES[1]).and_then(|info| info.partitions.first());
        let found = [last.map_or(0, |last| last.sequence + 1), listed.map_or(0, |(_, last)| last + 1)];
        if found != nexts {
            return Err(format!("sequences {found:?} come next, and by the records {nexts:?}"));
        }
        Ok(())
    }

    fn append(&mut self, way: u8, bytes: usize, again: bool) -> std::result::Result<(), String> {
        let offset = self.records.len() as u64;
        let payload = vec![offset as u8; bytes];
        let nexts = [0, 1].map(|producer| self.next(producer));
        let retried = |producer: usize| {
            let last = self.records.iter().rposition(|(_, by)| by.is_some_and(|(by, _)| by == producer));
            last.map(|offset| (offset as u64, self.records[offset].0.clone()))
        };
        let last = [retried(0), retried(1)];
        let open = self.at_hand()?;
        let appended = Answer::Appended { first: offset, last: offset };
        let mut appender = open.partition.appender().map_err(fault("an appender"))?;
        let by = match way {
            0 => {
                let found = appender.append(&payload).map_err(fault("appending"))?;
                if found != offset {
                    return Err(format!("a record got offset {found}, and {offset} comes next"));
                }
                None
            }
            _ => {
                let producer = usize::from(way - 1) % 2;
                let stored = last[producer].clone().filter(|_| again);
                let (sequence, payload, expected) = match &stored {
                    Some((at, stored)) => (nexts[producer] - 1, stored, Answer::Duplicate { first: *at, last: *at }),
                    None => (nexts[producer], &payload, appended),
                };
                let answer = match producer {
                    0 => open.session.append(&open.partition, sequence, payload),
                    _ => appender.append_by_id(Stamp { sequence, ..open.by_id }, payload),
                };
                let answer = answer.map_err(fault("appending"))?;
                if answer != expected {
                    return Err(format!(
                        "sequence {sequence} of {}: {answer:?} instead of {expected:?}",
                        NAMES[producer]
                    ));
                }
                if stored.is_some() {
                    return Ok(());
                }
                Some((producer, sequence))
            }
        };
        self.records.push((payload, by));
        Ok(())
    }

    fn flush(&mut self) -> std::result::Result<(), String> {
        let open = self.at_hand()?;
        open.partition.flush().map_err(fault("flushing"))?;
        self.note_flushed()
    }

    /// What a crash finds. Where the log has flushed by itself since the input did, as it does where memory is short, all
    /// of it is flushed: what of the files was on the device then is not known.
    fn before_a_crash(&mut self) -> std::result::Result<Files, String> {
        let (now, flushes) = self.look()?;
        if self.flushes.as_ref() == Some(&flushes) {
            return Ok(now);
        }
        self.flush()?;
        Ok(self.flushed.clone())
    }

    /// Crashes, with the sectors that the input chooses, and opens what is left.
    fn crash(&mut self, input: &mut Unstructured<'_>) -> Result<std::result::Result<(), String>> {
        let mut now = match self.before_a_crash() {
            Ok(now) => now,
            Err(fault) => return Ok(Err(fault)),
        };
        // Segments that a snapshot stands for were synced before it.
        let covered = now.keys().filter_map(|name| number(name, "snapshot")).max().unwrap_or(0);
        for (name, bytes) in &mut now {
            if number(name, "seg").or(number(name, "ready")).is_some_and(|number| number <= covered) {
                continue;
            }
            // What the log keeps for itself was synced before it was believed, and a snapshot before it got its name.
            if !name.contains("/orders/") || !(name.ends_with(".seg") || name.ends_with(".ready")) {
                continue;
            }
            let renamed = name.replace(".seg", ".ready");
            let before = self.flushed.get(name).or_else(|| self.flushed.get(&renamed));
            let all = input.ratio(1, 4)?;
            for (sector, bytes) in bytes.chunks_mut(SECTOR).enumerate() {
                let at = sector * SECTOR;
                let before = before.and_then(|before| before.get(at..at + bytes.len()));
                let differs = before.map_or_else(|| bytes.iter().any(|byte| *byte != 0), |before| before != &*bytes);
                if differs && !all && input.ratio(1, 3)? {
                    match before {
                        Some(before) => bytes.copy_from_slice(before),
                        None => bytes.fill(0),
                    }
                }
            }
        }
        self.open = None;
        self.directory = directory_in_memory();
        Ok(write(&now, self.directory.path()).map_err(fault("writing what is left")).and_then(|()| self.open()))
    }
}

/// Runs what the input says.
pub(crate) fn run(input: &mut Unstructured<'_>) -> Result<std::result::Result<(), String>> {
    let window = if input.ratio(1, 4)? { Window::Direct } else { Window::Mapped };
    let mut course = match Course::new(window) {
        Ok(course) => course,
        Err(fault) => return Ok(Err(fault)),
    };
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        let done = match input.int_in_range(0..=31_u8)? {
            0..=2 => course.flush(),
            3..=5 => course.crash(input)?,
            6 => {
                course.open = None;
                course.open()
            }
            _ => {
                let bytes =
                    if input.ratio(1, 3)? { input.int_in_range(0..=15_000)? } else { input.int_in_range(0..=200)? };
                course.append(input.int_in_range(0..=2)?, bytes, input.ratio(1, 5)?)
            }
        };
        if let Err(fault) = done {
            return Ok(Err(fault));
        }
    }
    Ok(Ok(()))
}
