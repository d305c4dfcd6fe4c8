//! The bytes of one segment, shared by every thread that appends to it or reads it.
//!
//! Who may touch what, when:
//!
//! 1. The first 8 bytes of a frame are its *publication word*. They are only ever touched as an `AtomicU64`.
//! 2. All other bytes of a frame belong to the thread that reserved them, through its [`Claim`], until it publishes.
//!    No one else reads or writes them before that.
//! 3. From the Release store of the publication word on, no byte of the frame changes while the mapping lives, and
//!    whoever loaded that word with Acquire may read them all.
//!
//! So a `&mut [u8]` exists only over a claim, a `&[u8]` only over published bytes, and the two never overlap. What
//! another process does to the file is outside of these rules; the contract of opening a log forbids it.

use super::hint::{fetch_for_load, fetch_for_store};
use std::{
    ptr,
    sync::atomic::{AtomicU64, Ordering},
};

/// How far ahead of a claim cache lines are asked for: some frames of 100 bytes, so that they come in time, and few enough
/// not to push anything out. 512 and 2,048 bytes were measured too, and gain less.
const FETCH_AHEAD_BYTES: usize = 1024;
/// How far ahead of a frame cache lines are asked for by whoever reads one frame after the other (31 against 18 ns a record of
/// 100 bytes, 31 against 25 with its checksum; 1,024 and 2,048 bytes gain less).
const READ_AHEAD_BYTES: usize = 4096;

/// From this length on, frames' headers are asked for without their bodies: to pass over a segment of 1 KiB frames took the
/// time that memory takes to give all of it.
const HEADERS_APART_BYTES_MIN: usize = 256;
/// How many frames ahead a header is asked for.
const HEADERS_AHEAD: usize = 8;

/// A view of a segment's bytes. It owns nothing: whoever holds one answers for the memory being there.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    base: *mut u8,
    bytes: usize,
}

// SAFETY: a window is an address and a length. Every access through it follows the rules at the head of this file,
// which are written for any number of threads.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    /// # Safety
    /// `base` is aligned to 8 and valid for reads and writes of `bytes` bytes for as long as any access is made through
    /// this window, a copy of it, or a claim made from it; and nothing outside of this file's rules touches them.
    pub(crate) unsafe fn new(base: *mut u8, bytes: usize) -> Self {
        assert!(base.addr().is_multiple_of(8), "a window begins at a multiple of 8");
        Self { base, bytes }
    }

    /// A window without bytes, for a tail that never hands out a claim.
    pub(crate) const fn empty() -> Self {
        Self { base: ptr::null_mut(), bytes: 0 }
    }

    /// The address of `bytes` bytes at `position`, all of them inside.
    #[inline]
    fn pointer(&self, position: usize, bytes: usize) -> *mut u8 {
        assert!(position <= self.bytes && bytes <= self.bytes - position, "an access lies inside of its window");
        self.base.wrapping_add(position)
    }

    /// The same for words.
    #[inline]
    fn word_pointer<T>(&self, position: usize) -> *mut T {
        assert!(position.is_multiple_of(8), "words lie at multiples of 8");
        self.pointer(position, size_of::<T>()).cast()
    }

    /// The publication word at `position`.
    #[inline]
    fn word(&self, position: usize) -> &AtomicU64 {
        let word = self.word_pointer(position);
        // SAFETY: in bounds and aligned; rule 1: this word is only touched as an atomic.
        unsafe { AtomicU64::from_ptr(word) }
    }

    /// Loads the publication word at `position`.
    #[inline]
    pub(crate) fn load(&self, position: usize) -> u64 {
        // Acquire: pairs with the Release in `Claim::publish`; whoever sees the word sees the frame.
        self.word(position).load(Ordering::Acquire)
    }

    /// Takes `bytes` bytes at `position` for the caller alone.
    ///
    /// # Safety
    /// The caller reserved exactly these bytes, no other claim overlaps them, and they are not published.
    #[inline]
    pub(crate) unsafe fn claim(&self, position: usize, bytes: usize) -> Claim {
        assert!(position.is_multiple_of(8) && bytes >= 8, "a claim has a publication word");
        self.pointer(position, bytes);
        self.fetch_ahead(position, bytes);
        Claim { window: *self, position, bytes }
    }

    /// Asks for the cache lines that the claims after this one will be stored to.
    ///
    /// The addition that makes a claim waits until the stores of the frame before it have reached the cache, and each new
    /// line that they touch comes from memory: without this, that wait is most of a small append (36 against 24 ns at 100
    /// bytes, 190 against 130 at 1 KiB, where memory takes a stream of stores at 8 GB/s). Lines further ahead than this are
    /// the hardware's to foresee. Two appenders gain too: whose claim a line will be is the same to both.
    #[inline(always)]
    fn fetch_ahead(&self, position: usize, bytes: usize) {
        let from = position + FETCH_AHEAD_BYTES;
        let to = (from + bytes.min(FETCH_AHEAD_BYTES)).min(self.bytes);
        for line in (from..to).step_by(64) {
            fetch_for_store(self.base.wrapping_add(line));
        }
    }

    /// Asks for the cache lines that a reader of the frames after this one will load: where the next one begins is only
    /// known once this one is loaded, so that without it each frame waits for memory in turn.
    #[inline(always)]
    pub(crate) fn fetch_on(&self, position: usize, bytes: usize) {
        let from = position + READ_AHEAD_BYTES;
        let to = (from + bytes.min(READ_AHEAD_BYTES)).min(self.bytes);
        for line in (from..to).step_by(64) {
            fetch_for_load(self.base.wrapping_add(line));
        }
    }

    /// Asks for the headers of frames to come, without what is between them: where they are if those frames are as long
    /// as this one. Frames that lie close together are asked for whole.
    #[inline(always)]
    pub(crate) fn fetch_headers_on(&self, position: usize, bytes: usize) {
        if bytes < HEADERS_APART_BYTES_MIN {
            return self.fetch_on(position, bytes);
        }
        let at = position.saturating_add(bytes.saturating_mul(HEADERS_AHEAD));
        if at + 64 < self.bytes {
            fetch_for_load(self.base.wrapping_add(at));
            // A header may lie on two lines.
            fetch_for_load(self.base.wrapping_add(at + 40));
        }
    }

    /// Reads `N` words at `position`.
    ///
    /// # Safety
    /// They belong to a published frame whose publication word the caller has loaded, and are not that word.
    #[inline]
    pub(crate) unsafe fn read_words<const N: usize>(&self, position: usize) -> [u64; N] {
        let words: *mut [u64; N] = self.word_pointer(position);
        // SAFETY: in bounds and aligned; published by the contract, so no one writes (rule 3).
        let words = unsafe { ptr::read(words) };
        words.map(u64::from_le)
    }

    /// Borrows `bytes` bytes at `position`.
    ///
    /// # Safety
    /// They belong to a published frame whose publication word the caller has loaded, exclude that word, and the memory
    /// stays for `'a`.
    #[inline]
    pub(crate) unsafe fn slice<'a>(&self, position: usize, bytes: usize) -> &'a [u8] {
        let start = self.pointer(position, bytes);
        // SAFETY: in bounds; published and alive by the contract (rule 3).
        unsafe { std::slice::from_raw_parts(start, bytes) }
    }
}

/// Bytes reserved by one thread and not yet published: its own until [`Claim::publish`].
pub(crate) struct Claim {
    window: Window,
    position: usize,
    bytes: usize,
}

impl Claim {
    /// The same claim, put together anew: see `Reservation::anew`.
    #[inline(always)]
    pub(crate) const fn anew(self) -> Self {
        let Self { window: Window { base, bytes: window_bytes }, position, bytes } = self;
        Self { window: Window { base, bytes: window_bytes }, position, bytes }
    }

    /// The address of `bytes` bytes at `at`, all of them in this claim and none of them in its publication word.
    #[inline]
    fn pointer(&self, at: usize, bytes: usize) -> *mut u8 {
        assert!(at >= 8 && at <= self.bytes && bytes <= self.bytes - at, "an access lies inside of its claim");
        self.window.base.wrapping_add(self.position + at)
    }

    /// Writes words at `at`, counted from the start of the claim; the publication word is not among them.
    #[inline]
    pub(crate) fn write_words<const N: usize>(&mut self, at: usize, words: [u64; N]) {
        assert!(at.is_multiple_of(8), "words lie at multiples of 8");
        let to = self.pointer(at, N * 8).cast::<[u64; N]>();
        // SAFETY: in bounds and aligned; ours alone (rule 2).
        unsafe { ptr::write(to, words.map(u64::to_le)) }
    }

    /// Copies bytes to `at`, counted from the start of the claim.
    #[inline]
    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        let to = self.pointer(at, bytes.len());
        // SAFETY: in bounds; ours alone (rule 2), so `bytes` cannot overlap it.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }

    /// Hands `bytes` zeroed bytes at `at` to `fill`.
    pub(crate) fn fill<R>(&mut self, at: usize, bytes: usize, fill: impl FnOnce(&mut [u8]) -> R) -> R {
        let start = self.pointer(at, bytes);
        // Zeroed first: recycled memory holds records of another time, which must not show where `fill` leaves gaps.
        // SAFETY: in bounds; ours alone (rule 2).
        unsafe { ptr::write_bytes(start, 0, bytes) };
        // SAFETY: in bounds, initialised above, ours alone (rule 2) for as long as `fill` runs.
        fill(unsafe { std::slice::from_raw_parts_mut(start, bytes) })
    }

    /// Lets `read` look at `bytes` bytes at `at` that this claim has written.
    #[inline]
    pub(crate) fn read<R>(&self, at: usize, bytes: usize, read: impl FnOnce(&[u8]) -> R) -> R {
        let start = self.pointer(at, bytes);
        // SAFETY: in bounds; mapped memory is initialised; ours alone (rule 2), and `&self` keeps it unchanged.
        read(unsafe { std::slice::from_raw_parts(start, bytes) })
    }

    /// Stores the publication word: from here on the frame exists and its bytes never change.
    #[inline]
    pub(crate) fn publish(self, word: u64) {
        // Release: everything that this claim has written; pairs with the Acquire in `Window::load`.
        self.window.word(self.position).store(word, Ordering::Release);
    }
}
