//! A disk with a volatile cache, as a log's process sees it, and what a power cut may leave of it.
//!
//! What a process has written is in the files of a directory. Beside them stands, for each file, what is on the device for
//! certain; a flush brings the one to the other. After a cut, each sector that the two differ in has its old bytes or its
//! new ones, each on its own.
//!
//! | call | on the device for certain from then on |
//! |---|---|
//! | flush of a file | its bytes and its length; and, past the cache, finished writes to blocks that were flushed before |
//! | a write that flushes | what it wrote, and the file's length |
//! | flush of a part of a mapping | that part, and the file's length |
//! | flush of a directory | names made, moved and removed in it |
//!
//! Names and lengths change in one order, as a journal has it: a cut leaves a beginning of it, and what was flushed. No
//! file system promises less to programs that flush.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::super::calls::{Aligned, Wish, open_as};
use super::names::{Change, Names};

const BLOCK: u64 = 4096;

/// Calls after which the files are remembered as they are then, and how many such moments.
const REMEMBERED_EVERY: u64 = 16;
const EARLIER_MAX: usize = 4;

/// What `statfs` says of ext4.
const EXT4: u64 = 0xEF53;

/// A file's bytes.
pub(super) struct Body {
    /// To read what the process sees.
    file: File,
    pub(super) durable: Vec<u8>,
    /// Blocks that were written, and those of them that a flush of the file has covered since.
    written: BTreeSet<u64>,
    flushed: BTreeSet<u64>,
    /// Written past the system's cache since the last flush of the device.
    past_the_cache: Vec<Range<u64>>,
    /// The whole file at some moments since its last flush: a page may have been written back at any of them.
    pub(super) earlier: Vec<Vec<u8>>,
}

/// What a call is answered with.
pub(super) enum Done {
    Value(u64),
    Opened(File),
    /// The call was of no interest, and may happen.
    Nothing,
}

/// See the head of this file.
pub(super) struct Cache {
    pub(super) root: PathBuf,
    /// At the beginning, when all was on the device.
    pub(super) before: Names,
    pub(super) changes: Vec<(Change, bool)>,
    pub(super) bodies: BTreeMap<u64, Body>,
    /// Whether flushes flush.
    flushes: bool,
    /// Whether one flush of the device serves all files, and the process is told that the disk is such a one.
    pub(super) one_flush_serves_all: bool,
    calls_seen: u64,
    pub(super) flushes_seen: u64,
}

/// What the process sees of a file.
pub(super) fn current(body: &Body) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; body.file.metadata()?.len() as usize];
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match body.file.read_at(rest, at as u64)? {
            0 => break,
            read => at += read,
        }
    }
    Ok(bytes)
}

impl Body {
    /// A file that is all on the device.
    fn settled(path: &Path) -> io::Result<Self> {
        let mut body = Self::new(path)?;
        body.durable = current(&body)?;
        let blocks: BTreeSet<u64> = (0..(body.durable.len() as u64).div_ceil(BLOCK)).collect();
        body.written.clone_from(&blocks);
        body.flushed = blocks;
        Ok(body)
    }

    fn new(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let (durable, written, flushed) = Default::default();
        Ok(Self { file, durable, written, flushed, past_the_cache: Vec::new(), earlier: Vec::new() })
    }

    /// Notes that the bytes in `range` are on the device.
    fn settle(&mut self, range: Range<u64>) -> io::Result<()> {
        let bytes = current(self)?;
        let range = range.start as usize..(range.end as usize).min(bytes.len());
        if self.durable.len() < bytes.len() {
            self.durable.resize(bytes.len(), 0);
        }
        if let (Some(to), Some(from)) = (self.durable.get_mut(range.clone()), bytes.get(range.clone())) {
            to.copy_from_slice(from);
        }
        for earlier in &mut self.earlier {
            // What was there before the flush is of no matter any more.
            earlier.resize(bytes.len(), 0);
            if let (Some(to), Some(from)) = (earlier.get_mut(range.clone()), bytes.get(range.clone())) {
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }

    /// Remembers what the file is like now, if that is not on the device.
    fn remember(&mut self) -> io::Result<()> {
        let now = current(self)?;
        if now == self.durable {
            self.earlier.clear();
        } else if self.earlier.first() != Some(&now) {
            self.earlier.truncate(EARLIER_MAX - 1);
            self.earlier.insert(0, now);
        }
        Ok(())
    }

    fn wrote(&mut self, range: &Range<u64>, past_the_cache: bool) {
        self.written.extend(range.start.div_ceil(BLOCK)..range.end / BLOCK);
        if past_the_cache {
            self.past_the_cache.push(range.clone());
        }
    }
}

impl Cache {
    /// A disk with the files that are below `root`, all of it on the device. With `flushes` false, nothing ever gets there.
    pub(super) fn new(root: &Path, flushes: bool, one_flush_serves_all: bool) -> io::Result<Self> {
        let mut cache = Self {
            root: root.to_owned(),
            before: Names::default(),
            changes: Vec::new(),
            bodies: BTreeMap::new(),
            flushes,
            one_flush_serves_all,
            calls_seen: 0,
            flushes_seen: 0,
        };
        cache.take_in(root)?;
        Ok(cache)
    }

    fn take_in(&mut self, directory: &Path) -> io::Result<()> {
        self.before.directories.insert(directory.to_owned());
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                self.take_in(&path)?;
                continue;
            }
            let body = Body::settled(&path)?;
            let inode = body.file.metadata()?.ino();
            self.before.files.insert(path, inode);
            self.before.lengths.insert(inode, body.durable.len() as u64);
            self.bodies.insert(inode, body);
        }
        Ok(())
    }

    pub(super) fn is_ours(&self, path: &Path) -> bool {
        path.starts_with(&self.root)
    }

    fn note(&mut self, change: Change) {
        self.changes.push((change, false));
    }

    /// Does what the process wants done, in its place.
    pub(super) fn perform(&mut self, wish: &Wish) -> io::Result<Done> {
        self.calls_seen += 1;
        if self.calls_seen.is_multiple_of(REMEMBERED_EVERY) {
            self.bodies.values_mut().try_for_each(Body::remember)?;
        }
        match wish {
            Wish::Create { path, flags, mode } if self.is_ours(path) => self.create(path, *flags, *mode),
            Wish::Rename { from, to } if self.is_ours(from) => {
                fs::rename(from, to)?;
                self.note(Change::Move { from: from.clone(), to: to.clone() });
                Ok(Done::Value(0))
            }
            Wish::Remove { path, directory: true } if self.is_ours(path) => {
                fs::remove_dir(path)?;
                self.note(Change::NoDirectory { path: path.clone() });
                Ok(Done::Value(0))
            }
            Wish::Remove { path, directory: false } if self.is_ours(path) => {
                fs::remove_file(path)?;
                self.note(Change::NoName { path: path.clone() });
                Ok(Done::Value(0))
            }
            Wish::MakeDirectory { path } if self.is_ours(path) => {
                fs::create_dir(path)?;
                self.note(Change::Directory { path: path.clone() });
                Ok(Done::Value(0))
            }
            Wish::Write { file, at, bytes, durably } => self.write(file, *at, bytes, *durably),
            Wish::Allocate { file, mode, at, bytes } => {
                // SAFETY: the call takes numbers and touches no memory; the descriptor is open while `file` is borrowed.
                let answer = unsafe { libc::fallocate(file.as_raw_fd(), *mode, *at as i64, *bytes as i64) };
                if answer != 0 {
                    return Err(io::Error::last_os_error());
                }
                self.note_length(file)?;
                Ok(Done::Value(0))
            }
            Wish::Truncate { file, bytes } => {
                file.set_len(*bytes)?;
                self.note_length(file)?;
                Ok(Done::Value(0))
            }
            Wish::Sync { file } => {
                self.sync(file)?;
                Ok(Done::Value(0))
            }
            Wish::SyncMapping { inode, from, bytes } => {
                self.flushes_seen += 1;
                if self.flushes && self.bodies.contains_key(inode) {
                    self.settle_length(*inode);
                    self.bodies.get_mut(inode).map_or(Ok(()), |body| body.settle(*from..*from + *bytes))?;
                    self.flush_device()?;
                }
                Ok(Done::Value(0))
            }
            _ => Ok(Done::Nothing),
        }
    }

    fn create(&mut self, path: &Path, flags: i32, mode: u32) -> io::Result<Done> {
        let was_there = path.exists();
        let file = open_as(path, flags, mode)?;
        if was_there {
            self.note_length(&file)?;
        } else {
            let inode = file.metadata()?.ino();
            self.bodies.insert(inode, Body::new(path)?);
            self.note(Change::Name { path: path.to_owned(), inode });
        }
        Ok(Done::Opened(file))
    }

    /// Notes the length that a file has now, if that is news.
    fn note_length(&mut self, file: &File) -> io::Result<()> {
        let now = file.metadata()?;
        let inode = now.ino();
        let known = self.changes.iter().rev().find_map(|(change, _)| match change {
            Change::Length { inode: of, bytes } if *of == inode => Some(*bytes),
            _ => None,
        });
        let known = known.or_else(|| self.before.lengths.get(&inode).copied()).unwrap_or(0);
        if known != now.len() {
            self.note(Change::Length { inode, bytes: now.len() });
        }
        Ok(())
    }

    fn write(&mut self, mut file: &File, at: Option<u64>, bytes: &[u8], durably: bool) -> io::Result<Done> {
        let inode = file.metadata()?.ino();
        if !self.bodies.contains_key(&inode) {
            return Ok(Done::Nothing);
        }
        // SAFETY: the call takes numbers and touches no memory; the descriptor is open while `file` is borrowed.
        let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
        let past_the_cache = flags & libc::O_DIRECT != 0;
        let written = match at {
            Some(at) => file.write_at(Aligned::of(bytes).bytes(), at)?,
            None => file.write(bytes)?,
        } as u64;
        self.note_length(file)?;
        self.flushes_seen += u64::from(durably);
        if let (Some(at), Some(body)) = (at, self.bodies.get_mut(&inode)) {
            let range = at..at + written;
            body.wrote(&range, past_the_cache);
            if durably && self.flushes {
                body.settle(range)?;
                self.settle_length(inode);
            }
        }
        Ok(Done::Value(written))
    }

    fn settle_length(&mut self, inode: u64) {
        for (change, settled) in &mut self.changes {
            *settled |= matches!(change, Change::Length { inode: of, .. } if *of == inode);
        }
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        self.flushes_seen += 1;
        if !self.flushes {
            return Ok(());
        }
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
            for (change, settled) in &mut self.changes {
                *settled |= change.is_in(&path);
            }
            return Ok(());
        }
        let inode = metadata.ino();
        self.settle_length(inode);
        if let Some(body) = self.bodies.get_mut(&inode) {
            body.settle(0..u64::MAX)?;
            body.past_the_cache.clear();
            body.flushed.clone_from(&body.written);
        }
        self.flush_device()
    }

    /// Writes past the cache are on the device when it is flushed, if nothing else has to be noted of their blocks.
    fn flush_device(&mut self) -> io::Result<()> {
        if !self.one_flush_serves_all {
            return Ok(());
        }
        for body in self.bodies.values_mut() {
            for range in std::mem::take(&mut body.past_the_cache) {
                if (range.start / BLOCK..range.end.div_ceil(BLOCK)).all(|block| body.flushed.contains(&block)) {
                    body.settle(range)?;
                }
            }
        }
        Ok(())
    }

    /// The kind of file system that the process is told of.
    pub(super) fn kind(&self) -> Vec<u8> {
        let mut answer = vec![0; size_of::<libc::statfs>()];
        let kind = if self.one_flush_serves_all { EXT4 } else { 0 };
        if let Some(place) = answer.get_mut(..8) {
            place.copy_from_slice(&kind.to_le_bytes());
        }
        answer
    }
}
