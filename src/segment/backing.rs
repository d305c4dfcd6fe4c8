//! A segment's memory and the file behind it, in one of two windows.
//!
//! - *mapped*: the file's pages themselves. What is stored is the system's to write back; flushing waits for it.
//! - *direct*: memory of its own, which a committer writes to the file past the cache. Flushing never touches what
//!   appenders store to, so it never stalls them; but what was not written is lost with the process.

use crate::{
    format::{SEGMENT_HEADER_BYTES, segment_header::SegmentHeader},
    options::{Options, Window},
    raw::{mapping::Mapping, sys},
};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A file system's block: what a direct write must begin and end at.
pub(crate) const BLOCK: usize = 4096;

/// What is written at once of a new mapped file that will be flushed: the cache keeps so much together, and writes it
/// together. A flush of one record writes all of it, and a stream is written in pieces of it: with 4 KiB, a device was seen to
/// take 1.5 GB/s instead of 2.3; with 64 KiB it gains little more.
const CACHED_TOGETHER: usize = 16 << 10;

/// The file of a segment that was dropped, to be used again, with its mapping if it has a writable one.
pub(crate) struct Spare {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) mapping: Option<Mapping>,
}

/// See the head of this file.
pub(crate) enum Backing {
    Mapped(Mapping),
    Direct { memory: Mapping, file: File },
}

/// The first block of a segment. Whole, since a seal of the file's earlier use must not outlive it.
fn first_block(header: &SegmentHeader) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut block = [0; SEGMENT_HEADER_BYTES];
    let bytes = header.encode();
    block[..bytes.len()].copy_from_slice(&bytes);
    block
}

/// Opens a file for writes past the cache; where the file system has no such writes, for ordinary ones.
fn open_direct(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(create);
    match options.clone().custom_flags(libc::O_DIRECT).open(path) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            // The refusal may come after the file was made.
            options.create_new(false).create(create).truncate(false).open(path)
        }
        other => other,
    }
}

impl Backing {
    /// Makes a segment's file and memory ready at `path`: allocated, mapped, touched, with its header in place. No store
    /// into it will fault or fail. In the direct window, and where flushes are asked for, every block is also written
    /// once, so that no flush has to journal it.
    pub(crate) fn prepare(
        path: &Path,
        header: &SegmentHeader,
        spare: Option<Spare>,
        options: &Options,
    ) -> io::Result<Self> {
        match options.window {
            Window::Mapped => Self::prepare_mapped(path, header, spare, options.flushes_by_itself()),
            Window::Direct => Self::prepare_direct(path, header, spare),
        }
    }

    fn prepare_mapped(path: &Path, header: &SegmentHeader, spare: Option<Spare>, flushed: bool) -> io::Result<Self> {
        let mapping = match spare {
            Some(Spare { path: from, mapping: Some(mapping), .. }) => {
                fs::rename(&from, path)?;
                OpenOptions::new().write(true).open(path)?.write_all_at(&first_block(header), 0)?;
                mapping
            }
            other => {
                if let Some(spare) = other {
                    fs::remove_file(&spare.path)?;
                }
                let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
                // Blocks before anything is mapped: a full disk is an error here, and never a signal at a store.
                sys::allocate(&file, header.bytes)?;
                if flushed {
                    // Through the cache, so that nothing has to be read from the device again; a few pages at a time.
                    let zeros = [0; CACHED_TOGETHER];
                    for at in (0..header.bytes).step_by(CACHED_TOGETHER) {
                        let bytes = (header.bytes - at).min(CACHED_TOGETHER as u64) as usize;
                        file.write_all_at(&zeros[..bytes], at)?;
                    }
                    file.write_all_at(&first_block(header), 0)?;
                    file.sync_all()?;
                } else {
                    file.write_all_at(&first_block(header), 0)?;
                }
                let mapping = Mapping::writable(&file, header.bytes)?;
                if flushed {
                    mapping.keep_pages_small()?;
                }
                mapping
            }
        };
        mapping.populate_for_writing()?;
        Ok(Self::Mapped(mapping))
    }

    fn prepare_direct(path: &Path, header: &SegmentHeader, spare: Option<Spare>) -> io::Result<Self> {
        let file = match spare {
            Some(spare) => {
                fs::rename(&spare.path, path)?;
                let file = open_direct(path, false)?;
                let mut block = Mapping::anonymous(BLOCK as u64)?;
                block.set(0, &first_block(header));
                block.write_to(&file, 0, BLOCK, true)?;
                file
            }
            None => {
                let file = OpenOptions::new().write(true).create_new(true).open(path)?;
                sys::allocate(&file, header.bytes)?;
                write_once(path, header)?;
                open_direct(path, false)?
            }
        };
        let memory = Mapping::anonymous(header.bytes)?;
        memory.populate_for_writing()?;
        Ok(Self::Direct { memory, file })
    }

    pub(crate) const fn mapping(&self) -> &Mapping {
        match self {
            Self::Mapped(mapping) => mapping,
            Self::Direct { memory, .. } => memory,
        }
    }

    /// The mapping, if it is the file's.
    pub(crate) fn into_mapping(self) -> Option<Mapping> {
        match self {
            Self::Mapped(mapping) => Some(mapping),
            Self::Direct { .. } => None,
        }
    }

    /// Makes the bytes in `[from, to)` durable. In the direct window both are multiples of a block.
    pub(crate) fn flush(&self, from: usize, to: usize) -> io::Result<()> {
        match self {
            Self::Mapped(mapping) => mapping.sync(from, to),
            Self::Direct { memory, file } => memory.write_to(file, from, to, true),
        }
    }
}

/// Writes every block of a file, its header among them, and waits until they are on the device.
fn write_once(path: &Path, header: &SegmentHeader) -> io::Result<()> {
    const CHUNK: usize = 1 << 20;
    let file = open_direct(path, false)?;
    let zeros = Mapping::anonymous(CHUNK as u64)?;
    let bytes = header.bytes as usize;
    let mut at = 0;
    while at < bytes {
        let chunk = CHUNK.min(bytes - at);
        zeros.write_at(&file, chunk, at as u64)?;
        at += chunk;
    }
    let mut block = Mapping::anonymous(BLOCK as u64)?;
    block.set(0, &first_block(header));
    block.write_to(&file, 0, BLOCK, false)?;
    file.sync_all()
}
