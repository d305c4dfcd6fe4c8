//! What of a partition no longer counts, though a file may still hold it: what was purged before, and cut off behind.

use super::{Chain, locked};
use crate::{format::control::Start, segment::file::Segment};
use std::{io, sync::Arc};

/// A suffix that was cut off, and what follows in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The segment that follows.
    pub(crate) number: u64,
    /// Position of the first frame that was cut off.
    pub(crate) position: u64,
    /// Position at which the segment that follows begins: in between nothing counts.
    pub(crate) until: u64,
    /// Offset of the first record that was cut off.
    pub(crate) offset: u64,
}

/// Where the records that count begin, and what was cut off, as recovery found it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    /// Number of the segment that the log starts in, if it is said.
    pub(crate) origin: u64,
    /// Offset of the first record that counts, if it is said.
    pub(crate) start: u64,
    pub(crate) cuts: Vec<Cut>,
    /// The lowest offset that was cut off at some time, also by cuts that retention has dropped since.
    pub(crate) lowest_cut: Option<u64>,
}

impl Chain {
    /// Lets the log start at `start`, up to which it has come. Whether it did not before.
    pub(crate) fn purge(&self, start: u64) -> bool {
        let mut links = locked(&self.links);
        let news = start > links.start;
        links.start = links.start.max(start);
        news
    }

    /// How many segments from the first on hold no record that counts: retention may drop them, once they are sealed.
    pub(crate) fn purged(&self) -> usize {
        let links = locked(&self.links);
        let end = |segment: &Segment| segment.seal().map_or(u64::MAX, |seal| seal.base_offset + seal.records);
        let is_purged =
            |segment: &&Arc<Segment>| segment.number() < links.origin || links.start > 0 && end(segment) <= links.start;
        links.begun().take_while(is_purged).count()
    }

    /// Puts the segment that `held` leads to behind `last`, and takes what stands between off: atomically to all that come
    /// through the chain. Readers of what was taken off leave it at their next frame. Returns what was taken off.
    pub(crate) fn cut(
        &self,
        cut: Cut,
        last: u64,
        sealed: Option<Arc<Segment>>,
        start: Start,
        open: impl FnOnce(),
    ) -> Vec<Arc<Segment>> {
        let mut links = locked(&self.links);
        if let Some(sealed) = sealed
            && let Some(place) = links.index_of(sealed.number()).and_then(|at| links.segments.get_mut(at))
        {
            self.take_in(&sealed);
            place.supersede();
            let before = std::mem::replace(place, sealed);
            links.retire(before.tail());
        }
        let from = links.segments.partition_point(|segment| segment.number() <= last);
        let to = links.segments.partition_point(|segment| segment.number() < cut.number);
        let removed: Vec<_> = links.segments.drain(from..to).collect();
        removed.iter().for_each(|segment| segment.supersede());
        if start.origin {
            links.segments.iter().take(from).for_each(|segment| segment.supersede());
            (links.origin, links.start) = (cut.number, start.base_offset);
        }
        links.note(cut);
        links.cut_count += 1;
        open();
        removed
    }

    /// Whether the record before an offset was cut off at some time.
    pub(crate) fn is_cut_before(&self, offset: u64) -> bool {
        let links = locked(&self.links);
        links.lowest_cut.is_some_and(|cut| cut < offset) || links.cuts.iter().any(|cut| cut.offset < offset)
    }

    /// Whether something was dropped before the first segment, and not cut off.
    pub(crate) fn has_dropped(&self) -> bool {
        let links = locked(&self.links);
        let number = links.segments.front().map_or(1, |first| first.number());
        number > 1 && !links.cuts.iter().any(|cut| (cut.number, cut.position) == (number, 0))
    }

    /// Cuts since the log was opened.
    pub(crate) fn cuts(&self) -> u64 {
        locked(&self.links).cut_count
    }

    /// Whether what stood at that position was cut off.
    pub(crate) fn is_cut(&self, position: u64) -> bool {
        locked(&self.links).cuts.iter().any(|cut| (cut.position..cut.until).contains(&position))
    }

    /// The lowest offset that was cut off under somebody who stands at that position of that segment.
    pub(crate) fn cut_under(&self, number: u64, position: u64) -> Option<u64> {
        let links = locked(&self.links);
        let under = links.cuts.iter().filter(|cut| cut.number > number && cut.position <= position);
        under.map(|cut| cut.offset).min()
    }

    /// Whether a segment that was found before cannot be mapped because retention, or a cut, has taken it off since, and
    /// with it its file.
    pub(crate) fn has_lost(&self, segment: &Segment, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::NotFound && self.segment(segment.number()).is_none()
    }
}
