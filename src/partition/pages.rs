//! Entries by slot, with memory for the slots that are used: a slot is read from a file, and a single high one must not
//! take the memory of all below it.

/// Slots of a page.
const PAGE: usize = 64;

/// Pages of entries, up to a highest slot.
#[derive(Clone)]
pub(crate) struct Pages<T> {
    /// By slot, divided by `PAGE`.
    pages: Vec<Option<Box<[Option<T>; PAGE]>>>,
}

impl<T: Copy> Pages<T> {
    pub(crate) const fn new() -> Self {
        Self { pages: Vec::new() }
    }

    /// The place of a slot. A page without anything takes 8 bytes, so the caller bounds the slot.
    #[inline]
    pub(crate) fn place(&mut self, slot: u32) -> &mut Option<T> {
        let (page, at) = (slot as usize / PAGE, slot as usize % PAGE);
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, || None);
        }
        &mut self.pages[page].get_or_insert_with(|| Box::new([None; PAGE]))[at]
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        self.pages.get(slot as usize / PAGE)?.as_ref()?[slot as usize % PAGE].as_ref()
    }

    /// All entries, ascending by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten().flat_map(|page| page.iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_in_the_order_of_their_slots() {
        let mut pages = Pages::new();
        for slot in [7, 1 << 20, 0, 63, 64] {
            *pages.place(slot) = Some(slot);
        }
        *pages.place(63) = None;
        assert_eq!(pages.iter().copied().collect::<Vec<_>>(), [0, 7, 64, 1 << 20]);
        assert_eq!((pages.get(64), pages.get(63), pages.get(65), pages.get(u32::MAX)), (Some(&64), None, None, None));
    }
}
