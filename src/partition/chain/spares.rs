//! Segments that were dropped and wait to be used again; and how much there is of all.

use super::{Chain, locked};
use crate::segment::backing::Spare;

/// How many segments a chain has, of which kind.
pub(crate) struct Totals {
    /// That hold frames.
    pub(crate) segments: u64,
    /// That stand ready.
    pub(crate) ready: u64,
    /// Of all files.
    pub(crate) bytes: u64,
    /// Of all, those that are mapped or have memory of their own.
    pub(crate) mapped: u64,
    /// Of those, those that are sealed.
    pub(crate) mapped_sealed: u64,
    /// Of all that are mapped.
    pub(crate) mapped_bytes: u64,
    /// Files that are open.
    pub(crate) files: u64,
}

impl Chain {
    /// Keeps memory and file of a dropped segment for another use; gives it back if there are enough.
    pub(crate) fn put_spare(&self, spare: Spare, most: usize) -> Option<Spare> {
        let mut links = locked(&self.links);
        if links.spares.len() >= most {
            return Some(spare);
        }
        links.spares.push(spare);
        None
    }

    pub(crate) fn take_spare(&self, bytes: u64) -> Option<Spare> {
        let mut links = locked(&self.links);
        let at = links.spares.iter().position(|spare| spare.bytes == bytes)?;
        Some(links.spares.swap_remove(at))
    }

    pub(crate) fn has_spare(&self) -> bool {
        !locked(&self.links).spares.is_empty()
    }

    pub(crate) fn take_spares(&self) -> Vec<Spare> {
        std::mem::take(&mut locked(&self.links).spares)
    }

    /// How many segments there are of which kind.
    pub(crate) fn totals(&self) -> Totals {
        let links = locked(&self.links);
        let begun = links.begun().len();
        let mapped = links.segments.iter().filter(|segment| segment.backing().is_some());
        Totals {
            segments: begun as u64,
            ready: (links.segments.len() - begun) as u64,
            bytes: links.segments.iter().map(|segment| segment.bytes()).sum(),
            mapped: mapped.clone().count() as u64,
            mapped_sealed: mapped.clone().filter(|segment| segment.seal().is_some()).count() as u64,
            mapped_bytes: mapped.clone().map(|segment| segment.bytes()).sum(),
            files: mapped.filter(|segment| segment.is_direct()).count() as u64,
        }
    }
}
