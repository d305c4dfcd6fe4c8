//! A segment file mapped into memory, shared with the page cache.

use super::{sys, window::Window};
use memmap2::{MmapOptions, MmapRaw};
use std::{fs::File, io};

/// Owns the mapping of a whole file; unmapped on drop.
pub(crate) struct Mapping {
    map: MmapRaw,
}

impl Mapping {
    /// Maps all of `file` for reading and writing.
    pub(crate) fn writable(file: &File, bytes: u64) -> io::Result<Self> {
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        Ok(Self { map: MmapOptions::new().len(length).map_raw(file)? })
    }

    /// Maps all of `file` for reading.
    pub(crate) fn readable(file: &File, bytes: u64) -> io::Result<Self> {
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        Ok(Self { map: MmapOptions::new().len(length).map_raw_read_only(file)? })
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

    /// Waits until the bytes in `[from, to)` are on the device.
    pub(crate) fn sync(&self, from: usize, to: usize) -> io::Result<()> {
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
