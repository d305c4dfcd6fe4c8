//! Small logs for the commands that look at one, whole and damaged.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use oncelog::{Log, Options, Partition, Stamp};
use serde_json::Value;
use tempfile::TempDir;

/// Bytes of the segments.
pub const SMALL: u64 = 64 << 10;

pub fn oncelog(arguments: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oncelog"));
    command.args(&arguments[..1]).arg(directory).args(&arguments[1..]).output().expect("the command runs")
}

/// What a command has found, as JSON, and its status.
pub fn found(arguments: &[&str], directory: &Path) -> (Value, Option<i32>) {
    let output = oncelog(&[arguments, &["--json"]].concat(), directory);
    let json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (json, output.status.code())
}

pub fn options() -> Options {
    Options::new().segment_bytes(SMALL).snapshot_bytes(SMALL)
}

pub fn open(directory: &Path) -> Log {
    // SAFETY: the directory is a test's own.
    unsafe { Log::open(directory, &options()) }.expect("the log opens")
}

pub fn orders(log: &Log) -> Partition {
    log.partition("orders").expect("a partition")
}

pub fn payload(sequence: u64) -> Vec<u8> {
    format!("record {sequence}").into_bytes()
}

/// Appends records of a session, each with a record by id and a plain one beside it now and then.
pub fn append(log: &Log, sequences: std::ops::Range<u64>) {
    let partition = orders(log);
    let mut session = log.session("session").expect("a session");
    let other = log.register("by id").expect("registered");
    let mut appender = partition.appender().expect("an appender");
    for sequence in sequences {
        assert!(session.append(&partition, sequence, &payload(sequence)).expect("answered").is_stored());
        if sequence % 10 == 0 {
            let stamp = Stamp { producer: other.id, epoch: other.epoch, sequence: sequence / 10 };
            assert!(appender.append_by_id(stamp, b"by id").expect("answered").is_stored());
            appender.append(b"plain").expect("appended");
        }
        if sequence % 500 == 0 {
            partition.flush().expect("flushed");
        }
    }
}

/// A log that was closed, with some segments and snapshots.
pub fn closed() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let log = open(directory.path());
    append(&log, 0..3_000);
    let until = Instant::now() + Duration::from_secs(30);
    while orders(&log).stats().snapshots < 2 {
        assert!(Instant::now() < until, "snapshots are never written");
        thread::sleep(Duration::from_millis(2));
    }
    log.close().expect("closed");
    directory
}

/// The same, killed behind some records more that nothing says to be durable.
pub fn killed() -> TempDir {
    let directory = closed();
    let log = open(directory.path());
    append(&log, 3_000..3_100);
    let copy = tempfile::tempdir().expect("a directory");
    // Names change only while segments are begun: the one at hand is far from full.
    thread::sleep(Duration::from_millis(100));
    copy_all(directory.path(), copy.path());
    copy
}

pub fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("listed") {
        let entry = entry.expect("listed");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copied");
        }
    }
}

pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("listed") {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Bytes, and times of change, of all that is below.
pub fn untouched(directory: &Path) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64)> {
    let entry = |path: PathBuf| {
        let file = fs::metadata(&path).expect("there");
        let state = (fs::read(&path).expect("readable"), file.mtime_nsec(), file.ctime_nsec());
        (path, state)
    };
    files(directory).into_iter().map(entry).collect()
}

/// Files of the partition, of that kind, in order.
pub fn of_kind(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = files(&directory.join("partitions/orders"));
    found.retain(|path| path.extension().is_some_and(|found| found == suffix));
    found
}

pub fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[at] ^= 0x10;
    fs::write(path, bytes).expect("written");
}

/// Where the last byte that is not zero lies.
pub fn last_used(path: &Path) -> usize {
    fs::read(path).expect("readable").iter().rposition(|byte| *byte != 0).expect("something")
}

/// All records: offset, producer with sequence, payload.
pub type Records = BTreeMap<u64, (Option<(u64, u64)>, Vec<u8>)>;

/// All records of a log that opens.
pub fn records(log: &Log) -> Records {
    let partition = orders(log);
    let mut reader = partition.read_from(partition.start_offset()).expect("a reader");
    let mut all = Records::new();
    while let Some(record) = reader.next().expect("read") {
        let producer = record.producer().map(|stamp| (stamp.producer.get(), stamp.sequence));
        all.insert(record.offset(), (producer, record.payload().to_vec()));
    }
    all
}
