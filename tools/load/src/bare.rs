//! Bare segments: mapped files with a tail, prepared as a log's are, for the limit to write to.

use std::io;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use memmap2::{Advice, MmapOptions, MmapRaw};

use crate::workload::Window;

/// One file of the limit: blocks allocated, mapped, every page populated for writing.
pub(crate) struct Bare {
    /// Where the next frame goes. On a cache line of its own, as any log's is.
    pub(crate) tail: Line<AtomicUsize>,
    /// Bytes of the file.
    pub(crate) bytes: usize,
    map: MmapRaw,
}

/// Keeps its neighbours off its cache line, and off the one that is fetched with it.
#[repr(align(128))]
pub(crate) struct Line<T>(pub(crate) T);

impl Bare {
    /// Asks for the cache lines of the frames to come, 1 KiB ahead, as the engine does: a limit that an append can stay
    /// under is no limit.
    #[inline]
    pub(crate) fn fetch_ahead(&self, at: usize, bytes: usize) -> &Self {
        #[cfg(target_arch = "x86_64")]
        for line in (at + 1024..(at + 1024 + bytes.min(1024)).min(self.bytes)).step_by(64) {
            use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
            let line = self.map.as_ptr().wrapping_add(line);
            // SAFETY: a hint, which reads and writes nothing, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(line.cast()) };
        }
        self
    }

    /// Creates and maps a file without a name: it is gone when it is dropped.
    pub(crate) fn create(dir: &Path, bytes: usize) -> io::Result<Self> {
        let file = tempfile::tempfile_in(dir)?;
        crate::sys::allocate(&file, bytes as u64)?;
        let map = MmapOptions::new().len(bytes).map_raw(&file)?;
        Ok(Self { tail: Line(AtomicUsize::new(0)), bytes, map })
    }

    /// Memory of its own, as a log's segments in the direct window have.
    fn in_memory(bytes: usize) -> io::Result<Self> {
        let map = MmapRaw::from(MmapOptions::new().len(bytes).map_anon()?);
        // A hint, which some kernels do not know.
        let _ = map.advise(Advice::HugePage);
        Ok(Self { tail: Line(AtomicUsize::new(0)), bytes, map })
    }

    /// Creates a segment whose pages are in memory and writable.
    pub(crate) fn prepared(dir: &Path, bytes: usize, window: Window) -> io::Result<Self> {
        let segment = match window {
            Window::Mapped => Self::create(dir, bytes)?,
            Window::Direct => Self::in_memory(bytes)?,
        };
        segment.populate()?;
        Ok(segment)
    }

    /// Makes a segment that was written to as good as new: its bytes are zero and as fresh in the processor's cache as a
    /// new page's, whose zeros the kernel has just written.
    pub(crate) fn prepare_again(&mut self) -> io::Result<()> {
        *self.tail.0.get_mut() = 0;
        // The system may have written pages back meanwhile, and a store to one of those would fault.
        self.populate()?;
        // SAFETY: the mapping is as long as this, and `&mut self` is the only way to it.
        unsafe { ptr::write_bytes(self.map.as_mut_ptr(), 0, self.bytes) };
        Ok(())
    }

    /// Brings every page in, writable.
    pub(crate) fn populate(&self) -> io::Result<()> {
        self.map.advise(Advice::PopulateWrite)
    }

    /// Copies bytes to a position.
    ///
    /// # Safety
    /// `at + bytes.len()` is within the file, and no other thread reads or writes there meanwhile.
    #[inline]
    pub(crate) unsafe fn copy(&self, at: usize, bytes: &[u8]) {
        // SAFETY: the caller keeps the range inside of the mapping, so the pointer does too.
        let to = unsafe { self.map.as_mut_ptr().add(at) };
        // SAFETY: the caller has the range to itself, and a slice from elsewhere cannot overlap it.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }

    /// Bytes that were copied in.
    ///
    /// # Safety
    /// `at + len` is within the file, and no other thread writes there while the slice lives.
    #[inline]
    pub(crate) unsafe fn slice(&self, at: usize, len: usize) -> &[u8] {
        // SAFETY: the caller keeps the range inside of the mapping, so the pointer does too.
        let from = unsafe { self.map.as_ptr().add(at) };
        // SAFETY: mapped memory is initialised, and the caller keeps writers away from it.
        unsafe { std::slice::from_raw_parts(from, len) }
    }

    /// The word at a position.
    ///
    /// # Safety
    /// `at` is a multiple of 8 and `at + 8` is within the file.
    #[inline]
    pub(crate) unsafe fn word(&self, at: usize) -> &AtomicU64 {
        // SAFETY: the caller keeps the word inside of the mapping.
        let word = unsafe { self.map.as_mut_ptr().add(at) };
        // SAFETY: a mapping begins at a page, so the word is aligned; it lives as long as `self`.
        unsafe { AtomicU64::from_ptr(word.cast()) }
    }
}
