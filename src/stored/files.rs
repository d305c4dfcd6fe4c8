//! What is in the directories of a log and of a partition, whole or not. Nothing is made, renamed or removed.

use crate::{
    directory::{LOCK_FILE, LOG_FILE, PARTITION_FILE, PARTITIONS, holds_a_partition, missing, read_identity},
    error::{OpenError, io_at},
    format::{
        NUMBER_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
        control::Start,
        files::{Directory, Identity},
        segment_header::{HEADER_BYTES, HeaderFault, Seal, SegmentHeader},
    },
    names::Content,
    partition::{
        listing::{FirstBlock, is_headless},
        snapshots::{SNAPSHOT, UNFINISHED},
    },
    segment::{
        Shape,
        file::{READY, SPARE, USED},
    },
};
use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

/// How often a directory is listed again whose names change meanwhile, and how long after.
const LISTINGS: u32 = 50;
const BETWEEN_LISTINGS: Duration = Duration::from_millis(1);
/// How often the system's list of locks is looked at before a lock counts as not held.
const LOOKS: u32 = 8;

/// A segment file whose header can be used.
#[derive(Clone)]
pub(crate) struct StoredSegment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    pub(crate) shape: Shape,
    pub(crate) seal: Option<Seal>,
    /// What the START frame says, if it is whole.
    pub(crate) start: Option<Start>,
    /// Unit from which on a later segment's START frame cuts this one off, where the seal does not say so yet.
    pub(crate) cut: Option<usize>,
    /// A seal slot holds what is no seal.
    pub(crate) seal_is_damaged: bool,
    /// The header's checksum does not agree: what it says is proved by frames, or not at all.
    pub(crate) header_is_damaged: bool,
    /// Bytes of the file.
    pub(crate) length: u64,
}

impl StoredSegment {
    /// Units behind which there is no frame.
    pub(crate) fn limit(&self) -> usize {
        let limit = self.seal.map_or(self.shape.capacity, |seal| seal.end_units as usize);
        self.cut.map_or(limit, |cut| cut.min(limit))
    }

    /// The same segment as it is now; none if it was removed, or is used again.
    pub(crate) fn again(&self, identity: &Identity, partition: u32) -> Option<Self> {
        let used = self.path.with_extension(USED);
        let again = [&self.path, &used]
            .into_iter()
            .find_map(|path| named(self.number, path.clone(), identity, partition)?.segment);
        again.filter(|again| again.header == self.header)
    }

    /// Position behind the file's last byte.
    pub(crate) const fn end_of_file(&self) -> u64 {
        self.header.base_position + self.header.bytes
    }
}

/// What is found under a segment's name.
#[derive(Clone)]
pub(crate) struct Named {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    /// None if nothing of it can be used.
    pub(crate) segment: Option<StoredSegment>,
    /// Why opening would refuse it.
    pub(crate) refused: Option<Arc<OpenError>>,
    /// A name that came before its header.
    pub(crate) headless: bool,
}

/// What a partition's directory holds, ascending by number.
pub(crate) struct PartitionFiles {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) number: u32,
    pub(crate) identity: Identity,
    pub(crate) used: Vec<Named>,
    pub(crate) ready: Vec<Named>,
    pub(crate) snapshots: Vec<(u64, PathBuf)>,
    /// Files that are not the log's.
    pub(crate) strangers: Vec<PathBuf>,
    /// Segments that were cut off: opening for writing removes them.
    pub(crate) cut_off: Vec<Named>,
}

/// What a log's directory holds.
pub(crate) struct LogFiles {
    pub(crate) directory: PathBuf,
    pub(crate) identity: Identity,
    /// By number.
    pub(crate) partitions: Vec<(u32, String)>,
    /// Why opening would refuse it before it looks at a segment, the first reason first.
    pub(crate) faults: Vec<Arc<OpenError>>,
    /// Files that are not the log's.
    pub(crate) strangers: Vec<PathBuf>,
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).map_err(io_at("list", directory))? {
        entries.push(entry.map_err(io_at("list", directory))?.path());
    }
    entries.sort();
    Ok(entries)
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or("")
}

fn named(number: u64, path: PathBuf, identity: &Identity, partition: u32) -> Option<Named> {
    let (first, refused) = match FirstBlock::read(&path) {
        Ok((_, first)) => (Some(first), None),
        // Renamed or removed since it was listed.
        Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return None,
        Err(refused) => (None, Some(refused)),
    };
    let headless = is_headless(&path, number, identity, partition);
    let Some(first) = first else {
        return Some(Named { number, path, segment: None, refused: refused.map(Arc::new), headless });
    };
    let (header, refused) = match first.check(number, &path, identity, partition) {
        Ok(header) => (Some(header), None),
        Err(refused) => (usable_header(&first, number, identity, partition), Some(Arc::new(refused))),
    };
    let segment = header.map(|header| StoredSegment {
        number,
        path: path.clone(),
        header,
        shape: Shape::of(&header),
        seal: Seal::newest(&first.block, &header),
        start: first.start(&header),
        cut: None,
        seal_is_damaged: Seal::is_damaged(&first.block, &header),
        header_is_damaged: first.header() != Ok(header),
        length: first.length,
    });
    Some(Named { number, path, segment, refused, headless })
}

/// The header of a file that opening refuses, as far as frames may be looked for with it.
fn usable_header(first: &FirstBlock, number: u64, identity: &Identity, partition: u32) -> Option<SegmentHeader> {
    match first.header() {
        Ok(header) => {
            let ours = (header.log, header.partition, header.number) == (identity.log, partition, number);
            ours.then_some(header)
        }
        Err(HeaderFault::Version(_) | HeaderFault::Magic(0)) => None,
        Err(_) => {
            let (bytes, _) = first.block.split_first_chunk::<HEADER_BYTES>()?;
            // What may have been cut too.
            let length = (first.length / 4096 * 4096).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
            let header = SegmentHeader::as_it_stands(bytes);
            // A time proves nothing, and is not proved by any frame.
            let prepared_ms = if header.prepared_ms > NUMBER_MAX { 0 } else { header.prepared_ms };
            let header = SegmentHeader { bytes: length, prepared_ms, ..header };
            let is_place = header.base_position <= NUMBER_MAX && header.base_position.is_multiple_of(8);
            let possible = header.tag != 0 && is_place && first.length >= 8192;
            possible.then_some(SegmentHeader { log: identity.log, partition, number, ..header })
        }
    }
}

impl PartitionFiles {
    /// Lists a partition's directory. Beside a live writer, as it was at one moment, if there is such a moment.
    pub(crate) fn list(log: &LogFiles, number: u32, name: &str) -> Result<Self, OpenError> {
        let directory = log.directory.join(PARTITIONS).join(name);
        let mut before = entries(&directory)?;
        for _ in 0..LISTINGS {
            let files = Self::of(log, number, name, &directory, &before);
            let after = entries(&directory)?;
            if after == before {
                return Ok(files);
            }
            before = after;
            thread::sleep(BETWEEN_LISTINGS);
        }
        Ok(Self::of(log, number, name, &directory, &before))
    }

    fn of(log: &LogFiles, number: u32, name: &str, directory: &Path, paths: &[PathBuf]) -> Self {
        let mut files = Self {
            name: name.to_owned(),
            directory: directory.to_owned(),
            number,
            identity: log.identity,
            used: Vec::new(),
            ready: Vec::new(),
            snapshots: Vec::new(),
            strangers: Vec::new(),
            cut_off: Vec::new(),
        };
        for path in paths {
            let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or("");
            let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            match (suffix, stem) {
                (USED, Some(segment)) => files.used.extend(named(segment, path.clone(), &log.identity, number)),
                (READY, Some(segment)) => files.ready.extend(named(segment, path.clone(), &log.identity, number)),
                (SNAPSHOT, Some(segment)) => files.snapshots.push((segment, path.clone())),
                (UNFINISHED | SPARE, _) => {}
                _ if file_name(path) == PARTITION_FILE => {}
                _ => files.strangers.push(path.clone()),
            }
        }
        files.used.sort_by_key(|named| named.number);
        files.ready.sort_by_key(|named| named.number);
        files.snapshots.sort();
        super::cuts::apply(&mut files);
        files
    }

    /// Bytes of all segment files.
    pub(crate) fn bytes(&self) -> u64 {
        let named = self.used.iter().chain(&self.ready);
        named.filter_map(|named| named.segment.as_ref()).map(|segment| segment.length).sum()
    }

    /// Whether this is the log's own partition of producers.
    pub(crate) fn is_internal(&self) -> bool {
        self.content() != Content::Records
    }

    pub(crate) fn content(&self) -> Content {
        Content::of(&self.name)
    }
}

impl LogFiles {
    /// Looks at a log's directory. An error only if there is nothing of a log.
    pub(crate) fn list(directory: &Path) -> Result<Self, OpenError> {
        let log_file = directory.join(LOG_FILE);
        let found = entries(directory)?;
        let partitions = directory.join(PARTITIONS);
        if !log_file.exists() && !partitions.is_dir() {
            return Err(OpenError::Foreign {
                path: directory.to_owned(),
                reason: if found.is_empty() { "it is empty: there is no log in it" } else { "there is no log in it" }
                    .to_owned(),
            });
        }
        let mut faults = Vec::new();
        let mut identity = None;
        if log_file.exists() {
            match read_identity(&log_file) {
                Ok(read @ Identity { directory: Directory::Log, .. }) => identity = Some(read.log),
                Ok(Identity { directory: Directory::Partition { number }, .. }) => faults.push(OpenError::Foreign {
                    path: log_file,
                    reason: format!("it is the file of partition {number}, not of a log"),
                }),
                Err(fault) => faults.push(fault),
            }
        } else {
            let reason = "the directory is not empty, and is not a log".to_owned();
            faults.push(OpenError::Foreign { path: partitions.clone(), reason });
        }
        let known = [LOCK_FILE, LOG_FILE, PARTITIONS, "log.tmp", "lost+found"];
        let strangers = found.into_iter().filter(|path| !known.contains(&file_name(path))).collect();
        let mut log = Self {
            directory: directory.to_owned(),
            identity: Identity { log: 0, directory: Directory::Log },
            partitions: Vec::new(),
            faults: Vec::new(),
            strangers,
        };
        log.list_partitions(&partitions, identity, &mut faults)?;
        log.faults.extend(faults.into_iter().map(Arc::new));
        Ok(log)
    }

    fn list_partitions(
        &mut self,
        partitions: &Path,
        identity: Option<u128>,
        faults: &mut Vec<OpenError>,
    ) -> Result<(), OpenError> {
        let directories = if partitions.is_dir() { entries(partitions)? } else { Vec::new() };
        let mut read = Vec::new();
        for directory in directories {
            if !directory.is_dir() {
                self.strangers.push(directory);
                continue;
            }
            let file = directory.join(PARTITION_FILE);
            // One that was being made when the process was killed has no such file, and nothing in it.
            if file.exists() {
                read.push((read_identity(&file), directory));
            } else if holds_a_partition(&directory)? {
                read.push((Err(missing(&file)), directory));
            }
        }
        let believed = |identity: &Result<Identity, OpenError>| identity.as_ref().ok().map(|identity| identity.log);
        let log = identity.or_else(|| read.iter().find_map(|(identity, _)| believed(identity)));
        let log = log.or_else(|| read.iter().find_map(|(_, directory)| Some(header_below(directory)?.log)));
        self.identity.log = log.unwrap_or(0);
        for (identity, directory) in read {
            let file = directory.join(PARTITION_FILE);
            let number = match identity {
                Ok(Identity { log, .. }) if log != self.identity.log => {
                    let reason = "it is of another log".to_owned();
                    faults.push(OpenError::Foreign { path: file, reason });
                    continue;
                }
                Ok(Identity { directory: Directory::Partition { number }, .. }) => Some(number),
                Ok(Identity { directory: Directory::Log, .. }) => {
                    let reason = "it is the file of a log, not of a partition".to_owned();
                    faults.push(OpenError::Foreign { path: file, reason });
                    None
                }
                Err(fault) => {
                    faults.push(fault);
                    None
                }
            };
            // A segment's header says it too.
            let number = number.or_else(|| Some(header_below(&directory)?.partition));
            if let Some((number, name)) = number.zip(directory.file_name().and_then(|name| name.to_str())) {
                self.partitions.push((number, name.to_owned()));
            }
        }
        self.partitions.sort();
        for (expected, (number, name)) in self.partitions.iter().enumerate() {
            if expected as u32 != *number {
                let reason = format!("it is partition number {number}, where number {expected} should be");
                faults.push(OpenError::Foreign { path: partitions.join(name), reason });
                break;
            }
        }
        Ok(())
    }

    /// Whether a process has the log open for writing: the system's list of locks says so, and asking it takes no lock that
    /// would be in a writer's way.
    pub(crate) fn is_in_use(&self) -> bool {
        let Ok(lock) = fs::metadata(self.directory.join(LOCK_FILE)) else { return false };
        let (major, minor) = (libc::major(lock.dev()), libc::minor(lock.dev()));
        let place = format!("{major:02x}:{minor:02x}:{}", lock.ino());
        let is_held = |line: &str| {
            let mut words = line.split_whitespace();
            words.any(|word| word == "FLOCK") && words.any(|word| word == "WRITE") && words.any(|word| word == place)
        };
        // The list is given out page by page, and one that others lock and unlock meanwhile may lack an entry: what it has is
        // true, and what it lacks is only believed when it lacks it every time.
        (0..LOOKS).any(|_| locks().lines().any(is_held))
    }
}

/// The system's list of locks, in as few reads as it takes.
fn locks() -> String {
    let mut list = Vec::new();
    let mut page = vec![0; 64 << 10];
    if let Ok(mut file) = File::open("/proc/locks") {
        while let Ok(read @ 1..) = file.read(&mut page) {
            list.extend_from_slice(&page[..read]);
        }
    }
    String::from_utf8_lossy(&list).into_owned()
}

/// The header of a segment file, if it is one.
fn header_in(path: &Path) -> Option<SegmentHeader> {
    let is_segment = path.extension().is_some_and(|suffix| suffix == USED || suffix == READY);
    is_segment.then(|| FirstBlock::read(path).ok()?.1.header().ok()).flatten()
}

/// The first header that is found in a partition's directory.
fn header_below(directory: &Path) -> Option<SegmentHeader> {
    entries(directory).ok()?.iter().find_map(|path| header_in(path))
}
