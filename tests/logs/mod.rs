//! Logs in directories of their own: opened, killed, looked into.

#![allow(dead_code, reason = "each test file uses a part of it")]

use oncelog::{Answer, FetchError, Log, OpenError, Options, Partition, ProducerInfo, Reader, Session, Stamp};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What a test waits at most for something that another thread does; only a broken engine lets it pass.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of the smallest segment.
pub const SMALL: u64 = 64 << 10;

/// The smallest segments there are.
pub fn small() -> Options {
    Options::new().segment_bytes(SMALL)
}

pub fn try_open(directory: &Path, options: &Options) -> Result<Log, OpenError> {
    // SAFETY: the directory is a test's own; while the log is open no one writes to it but the log.
    unsafe { Log::open(directory, options) }
}

pub fn open(directory: &Path, options: &Options) -> Log {
    try_open(directory, options).expect("the log opens")
}

pub fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory of the test's own")
}

/// A directory in memory, if there is such a place: for tests that open so many logs that flushing would take most of
/// their time, and that are not about flushing.
pub fn directory_in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| directory())
}

/// A new log with small segments, and one partition of it.
pub fn fresh() -> (TempDir, Log, Partition) {
    fresh_with(&small())
}

pub fn fresh_with(options: &Options) -> (TempDir, Log, Partition) {
    let directory = directory();
    let log = open(directory.path(), options);
    let partition = log.partition("orders").expect("a partition");
    (directory, log, partition)
}

/// Closes a log, all other handles of which are gone, and opens it again.
pub fn reopened(directory: &Path, log: Log, options: &Options) -> (Log, Partition) {
    log.close().expect("the last handle closes the log");
    let log = open(directory, options);
    let partition = log.partition("orders").expect("the partition is still there");
    (log, partition)
}

/// What the files of a log would be if its process were killed now. Nobody may be appending.
pub fn killed(log: &Path) -> TempDir {
    let until = Instant::now() + PATIENCE;
    loop {
        let copy = directory_in_memory();
        // The log's own threads rename and remove: a copy counts if no file has changed its name meanwhile.
        let before = names(log);
        match copy_all(log, copy.path()) {
            Ok(()) if names(log) == before => return copy,
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => panic!("the log could not be copied: {error}"),
        }
        assert!(Instant::now() < until, "the log's files never come to rest");
    }
}

/// A copy of a log's directory that is changed before it is opened.
pub fn copy_of(log: &Path) -> TempDir {
    let copy = directory_in_memory();
    copy_all(log, copy.path()).expect("copied");
    copy
}

pub fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn names(directory: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                directories.push(entry.path());
            }
            names.push(entry.path());
        }
    }
    names.sort();
    names
}

/// Every file below a directory, with its bytes.
pub fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = names(directory).into_iter().filter(|path| path.is_file());
    files
        .map(|path| (path.strip_prefix(directory).expect("below").to_owned(), fs::read(&path).expect("readable")))
        .collect()
}

/// A file of the partition `orders`.
pub fn file(log: &Path, name: &str) -> PathBuf {
    log.join("partitions").join("orders").join(name)
}

/// The segment files that hold frames, by number.
pub fn segment_file(log: &Path, number: u64) -> PathBuf {
    file(log, &format!("{number:016}.seg"))
}

/// Changes one byte of a file.
pub fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[at] ^= 0x10;
    fs::write(path, bytes).expect("writable");
}

/// A record as a test looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub offset: u64,
    pub payload: Vec<u8>,
    pub producer: Option<Stamp>,
}

/// All that a reader gets before it comes to the end.
pub fn rest(reader: &mut Reader) -> Result<Vec<Seen>, FetchError> {
    let mut seen = Vec::new();
    while let Some(record) = reader.next()? {
        seen.push(Seen { offset: record.offset(), payload: record.payload().to_vec(), producer: record.producer() });
    }
    Ok(seen)
}

/// All records that a partition keeps.
pub fn all(partition: &Partition) -> Vec<Seen> {
    let mut reader = partition.read_from(partition.start_offset()).expect("a reader at the start");
    rest(&mut reader).expect("every record")
}

/// The payloads of all records that a partition keeps.
pub fn payloads(partition: &Partition) -> Vec<Vec<u8>> {
    all(partition).into_iter().map(|seen| seen.payload).collect()
}

/// Fails unless the next records of the session are appended at the end of the partition, one by one.
pub fn append_many(session: &mut Session, partition: &Partition, sequences: std::ops::Range<u64>) {
    for sequence in sequences {
        let payload = payload_of(sequence);
        let answer = session.append(partition, sequence, &payload).expect("answered");
        assert!(matches!(answer, Answer::Appended { .. }), "sequence {sequence}: {answer:?}");
    }
}

/// A payload that tells its sequence, and makes about 600 of them fill a small segment.
pub fn payload_of(sequence: u64) -> Vec<u8> {
    format!("record {sequence}").into_bytes()
}

/// Returns when the log's clock has moved on.
pub fn let_time_pass(log: &Log) {
    let clock = log.partition("clock").expect("a partition");
    let mut appender = clock.appender().expect("an appender");
    let mut reader = clock.read_from_end().expect("a reader");
    let mut now = || {
        appender.append(b"tick").expect("appended");
        reader.next().expect("read").expect("just appended").timestamp_ms()
    };
    let before = now();
    eventually("the clock moves on", || now() > before + 1);
}

/// Waits for what another thread is about to do.
pub fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < until, "waited in vain for this: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// All that a reopening has to bring back.
#[derive(Debug, PartialEq)]
pub struct State {
    pub records: Vec<Seen>,
    pub start: u64,
    pub end: u64,
    pub producers: Vec<ProducerInfo>,
}

pub fn state(log: &Log, partition: &Partition) -> State {
    State {
        records: all(partition),
        start: partition.start_offset(),
        end: partition.end_offset(),
        producers: log.producers(),
    }
}

/// The state of the log in a directory, opened for it.
pub fn state_in(directory: &Path, options: &Options) -> State {
    let log = open(directory, options);
    state(&log, &log.partition("orders").expect("the partition"))
}

/// Bytes of a frame by its parts; see the drawing in `src/format/frame.rs`.
pub const fn frame(body: usize, producer: bool) -> usize {
    (32 + if producer { 24 } else { 0 } + body).next_multiple_of(8)
}
