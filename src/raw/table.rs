//! A large array of zeroed slots: its addresses are reserved at once, its memory is taken page by page when a slot is used.

use super::sys;
use memmap2::{MmapMut, MmapRaw};
use std::{io, marker::PhantomData};

/// From here on a table asks for huge pages: below, they would cost more memory than they save time.
const HUGE_FROM_BYTES: usize = 32 << 20;

/// Types for which all bytes zero is a value, and which are shared through atomics alone.
///
/// # Safety
/// Zeroed memory is a valid value of the type; the type is `Sync` and needs no drop.
pub(crate) unsafe trait ZeroedSlot: Sync {}

/// A fixed number of slots, all zero at first.
pub(crate) struct Table<T> {
    map: MmapRaw,
    slots: usize,
    slot: PhantomData<T>,
}

impl<T: ZeroedSlot> Table<T> {
    /// Reserves `slots` slots.
    pub(crate) fn new(slots: usize) -> io::Result<Self> {
        let bytes =
            slots.checked_mul(size_of::<T>()).ok_or_else(|| io::Error::other("a table too large to address"))?;
        let map = MmapRaw::from(MmapMut::map_anon(bytes.max(1))?);
        if bytes >= HUGE_FROM_BYTES {
            // A hint: without huge pages a random slot costs one more memory access, nothing else.
            let _ = sys::advise_huge(map.as_mut_ptr(), map.len());
        }
        Ok(Self { map, slots, slot: PhantomData })
    }

    /// Bytes of address space.
    pub(crate) fn bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// The slot of that number, if the table has it.
    #[inline]
    pub(crate) fn get(&self, slot: usize) -> Option<&T> {
        if slot >= self.slots {
            return None;
        }
        let slot = self.map.as_ptr().cast::<T>().wrapping_add(slot);
        // SAFETY: in bounds by the check; a mapping is aligned to a page and thereby to `T`; all-zero is a `T` by the
        // trait's contract, and only shared references are ever made.
        Some(unsafe { &*slot })
    }
}
