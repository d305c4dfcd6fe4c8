//! A segment's memory: its file mapped, shared with the page cache, or memory of its own that is written to the file.

use super::{sys, window::Window};
use memmap2::{MmapMut, MmapOptions, MmapRaw};
use std::{fs::File, io};

const PAGE: usize = 4096;
/// Ranges of at least this many bytes are synced faster when they are not mapped.
const UNMAP_BYTES_MIN: usize = 128 << 10;

/// Bytes that are handed to the device at once, and pieces that it has at most besides the one that is made ready.
const PIECE_BYTES: usize = 8 << 20;
const PIECES_AT_ONCE: usize = 3;

/// Owns a segment's memory; unmapped on drop.
pub(crate) struct Mapping {
    map: MmapRaw,
    /// Of a file's pages, and not memory of its own.
    is_shared: bool,
}

impl Mapping {
    /// Maps all of `file` for reading and writing.
    pub(crate) fn writable(file: &File, bytes: u64) -> io::Result<Self> {
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        Ok(Self { map: MmapOptions::new().len(length).map_raw(file)?, is_shared: true })
    }

    /// Memory of its own, all zero.
    pub(crate) fn anonymous(bytes: u64) -> io::Result<Self> {
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        let map = MmapRaw::from(MmapMut::map_anon(length)?);
        // A hint: fewer and larger pages to touch ahead of the appenders.
        let _ = sys::advise_huge(map.as_mut_ptr(), map.len());
        Ok(Self { map, is_shared: false })
    }

    /// Writes the bytes in `[from, to)` to the same place of `file`; with `durably`, they are on the device on return.
    pub(crate) fn write_to(&self, file: &File, from: usize, to: usize, durably: bool) -> io::Result<()> {
        assert!(from <= to && to <= self.map.len(), "a write lies inside of its mapping");
        // SAFETY: in bounds by the assertion, and mapped for as long as `self` is borrowed.
        unsafe { sys::write_memory(file, self.map.as_ptr().wrapping_add(from), to - from, from as u64, durably) }
    }

    /// Writes the first `bytes` bytes to `offset` of `file`.
    pub(crate) fn write_at(&self, file: &File, bytes: usize, offset: u64) -> io::Result<()> {
        assert!(bytes <= self.map.len(), "a write lies inside of its mapping");
        // SAFETY: in bounds by the assertion, and mapped for as long as `self` is borrowed.
        unsafe { sys::write_memory(file, self.map.as_ptr(), bytes, offset, false) }
    }

    /// Stores bytes at `at` of memory that nobody else has yet.
    pub(crate) fn set(&mut self, at: usize, bytes: &[u8]) {
        assert!(at <= self.map.len() && bytes.len() <= self.map.len() - at, "a store lies inside of its mapping");
        let to = self.map.as_mut_ptr().wrapping_add(at);
        // SAFETY: in bounds by the assertion; `&mut self` is the only way to this memory.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }

    /// Address and length of the bytes in `[from, to)`, for a write that is handed to the kernel.
    pub(crate) fn range(&self, from: usize, to: usize) -> (*const u8, u32) {
        assert!(from <= to && to <= self.map.len(), "a range lies inside of its mapping");
        (self.map.as_ptr().wrapping_add(from), (to - from) as u32)
    }

    /// Tells the system to keep this mapping's pages small: a flush then writes the pages that were stored to, and not
    /// their neighbours.
    pub(crate) fn keep_pages_small(&self) -> io::Result<()> {
        sys::advise_random(self.map.as_mut_ptr(), self.map.len())
    }

    /// Maps all of `file` for reading.
    pub(crate) fn readable(file: &File, bytes: u64) -> io::Result<Self> {
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        Ok(Self { map: MmapOptions::new().len(length).map_raw_read_only(file)?, is_shared: true })
    }

    /// Makes every page present and writable, so that no store faults. An error where the file has no block for a page,
    /// where a store would have raised SIGBUS.
    pub(crate) fn populate_for_writing(&self) -> io::Result<()> {
        sys::populate_for_writing(self.map.as_mut_ptr(), self.map.len())
    }

    /// Whether all of it is in memory.
    pub(crate) fn is_resident(&self) -> bool {
        sys::is_resident(self.map.as_mut_ptr(), self.map.len()).unwrap_or(false)
    }

    /// Hands the bytes in `[from, to)` of `file`, which this maps, to the device piece by piece: it always has some to
    /// write while the next one is made ready, and never so many that another's small write waits for long behind them. It
    /// makes nothing durable.
    pub(crate) fn write_out(&self, file: &File, from: usize, to: usize) {
        for at in (from..to).step_by(PIECE_BYTES) {
            let end = (at + PIECE_BYTES).min(to);
            self.take_off(at, end);
            sys::start_writing_out(file, at as u64, end as u64);
            if let Some(before) = at.checked_sub(PIECES_AT_ONCE * PIECE_BYTES).filter(|before| *before >= from) {
                sys::await_writing_out(file, before as u64, (before + PIECE_BYTES) as u64);
            }
        }
    }

    /// Takes the whole pages in `[from, to)` off the mapping before they are written.
    fn take_off(&self, from: usize, to: usize) {
        let (first, end) = (from.next_multiple_of(PAGE), to / PAGE * PAGE);
        if self.is_shared && first + UNMAP_BYTES_MIN <= end {
            // Else the system takes each page of the mapping back for itself before it writes it, and interrupts every
            // processor for it. Taken off at once, they come back when they are read. A hint: it may fail.
            // SAFETY: the mapping is a file's, whose pages keep what was stored to them.
            let _ = unsafe { sys::unmap_pages(self.map.as_mut_ptr().wrapping_add(first), end - first) };
        }
    }

    /// Waits until the bytes in `[from, to)` are on the device. Nobody stores to them any more, but for those on the page
    /// in which they end.
    pub(crate) fn sync(&self, from: usize, to: usize) -> io::Result<()> {
        self.take_off(from, to);
        self.map.flush_range(from, to - from)
    }

    /// Where the mapping lies in memory.
    pub(crate) fn address(&self) -> usize {
        self.map.as_ptr().addr()
    }

    /// The window onto this mapping.
    ///
    /// # Safety
    /// No access is made through the window, its copies or their claims after this mapping is dropped; on a mapping that
    /// was made for reading, no claim is made.
    pub(crate) unsafe fn window(&self) -> Window {
        // SAFETY: a mapping begins at a page and is valid for its length until it is dropped, which the caller awaits.
        unsafe { Window::new(self.map.as_mut_ptr(), self.map.len()) }
    }
}
