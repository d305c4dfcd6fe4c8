//! The segments of a partition: by number, by offset, by position; and how far they are visible.

use super::state::locked;
use crate::{
    format::control::Start,
    segment::{
        backing::Spare,
        file::Segment,
        scan::{Found, Frame, find},
        tail::{Place, Tail},
    },
};
use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

/// Where a partition ends: all before is visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) position: u64,
    pub(crate) offset: u64,
}

/// See the head of this file.
pub(crate) struct Chain {
    links: Mutex<Links>,
}

struct Links {
    /// The newest tail without a segment: of what was appended before this opening, or in a segment that was dropped or
    /// handed over to its file since. Leads to the tails of the segments that have one.
    root: Arc<Tail>,
    /// Whether a segment was begun since the log was opened.
    begun: bool,
    /// Nothing is appended any more.
    closed_for_good: bool,
    /// Where the next segment file begins.
    next_position: u64,
    end_before: End,
    /// By number, without a gap but where a cut has taken segments out: sealed ones first, then those that are appended to,
    /// then those that stand ready.
    segments: VecDeque<Arc<Segment>>,
    /// Number of the segment that the log starts in, where that is not the first: those before it are only kept for what they
    /// say of producers.
    origin: u64,
    /// Offset of the first record that counts, if that is not the first one stored.
    start: u64,
    /// What was cut off, oldest first; a cut that reaches below an earlier one stands for both.
    cuts: Vec<Cut>,
    /// Cuts since the log was opened.
    cut_count: u64,
    /// Dropped by retention, to be used again.
    spares: Vec<Spare>,
}

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

/// What stands at the end of the chain, for the preparer.
pub(crate) struct ChainEnd {
    pub(crate) next_number: u64,
    pub(crate) next_position: u64,
    pub(crate) last_bytes: Option<u64>,
    /// Segments that stand ready.
    pub(crate) ready: usize,
    /// Whether any segment was begun since the log was opened.
    pub(crate) begun: bool,
}

/// A frame of an earlier time, and the segment that holds it.
pub(crate) struct Located {
    pub(crate) segment: Arc<Segment>,
    pub(crate) frame: Frame,
}

/// What a position leads to.
pub(crate) enum Lookup {
    Found(Located),
    /// No segment holds the position any more.
    Trimmed,
    /// Claimed and not yet published.
    Unpublished,
    /// Something else than a frame, where one was published.
    Corrupt {
        path: PathBuf,
        at: u64,
    },
}

impl Links {
    /// A segment leaves the chain, or its memory does: its tail, if it has one, is the newest without a segment, since
    /// segments leave in their order.
    fn retire(&mut self, segment: &Segment) {
        if let Some(tail) = segment.tail() {
            self.root = Arc::clone(tail);
            self.begun = true;
        }
    }

    /// Segments that were begun: all but those that stand ready at the end.
    fn begun(&self) -> impl DoubleEndedIterator<Item = &Arc<Segment>> + ExactSizeIterator {
        let begun = self.segments.partition_point(|segment| segment.base_offset().is_some());
        self.segments.iter().take(begun)
    }

    fn index_of(&self, number: u64) -> Option<usize> {
        self.segments.binary_search_by_key(&number, |segment| segment.number()).ok()
    }

    /// Index of the first segment with a number above that one, and from the origin on.
    fn index_behind(&self, number: u64) -> usize {
        self.segments.partition_point(|segment| segment.number() <= number || segment.number() < self.origin)
    }

    /// Segments whose records count, those that stand ready behind them.
    fn counting(&self) -> impl DoubleEndedIterator<Item = &Arc<Segment>> {
        self.segments.iter().skip(self.segments.partition_point(|segment| segment.number() < self.origin))
    }

    fn note(&mut self, cut: Cut) {
        self.cuts.retain(|earlier| earlier.position < cut.position);
        self.cuts.push(cut);
    }
}

impl Chain {
    pub(crate) fn new(
        segments: Vec<Arc<Segment>>,
        last_number: u64,
        next_position: u64,
        end: End,
        bounds: Bounds,
    ) -> Self {
        let base = segments.last().map_or(end.position, |segment| segment.shape().base_position);
        let root = Arc::new(Tail::ended(last_number, base, end.position, end.offset));
        let links = Links {
            root,
            begun: false,
            closed_for_good: false,
            next_position,
            end_before: end,
            segments: segments.into(),
            origin: bounds.origin,
            start: bounds.start,
            cuts: bounds.cuts,
            cut_count: 0,
            spares: Vec::new(),
        };
        Self { links: Mutex::new(links) }
    }

    /// The tail that a new handle starts at: the newest that was opened.
    pub(crate) fn newest_tail(&self) -> Arc<Tail> {
        let links = locked(&self.links);
        let newest =
            links.segments.iter().rev().filter_map(|segment| segment.tail()).find(|tail| tail.opened().is_some());
        Arc::clone(newest.unwrap_or(&links.root))
    }

    /// The segment of that number, begun or not.
    pub(crate) fn segment(&self, number: u64) -> Option<Arc<Segment>> {
        let links = locked(&self.links);
        links.segments.get(links.index_of(number)?).cloned()
    }

    /// The first segment whose records count, if it was begun.
    pub(crate) fn first(&self) -> Option<Arc<Segment>> {
        locked(&self.links).counting().next().filter(|first| first.base_offset().is_some()).cloned()
    }

    /// The first segment behind the one with that number, if there is one that was begun.
    pub(crate) fn behind(&self, number: u64) -> Option<Arc<Segment>> {
        let links = locked(&self.links);
        links.segments.get(links.index_behind(number)).filter(|next| next.base_offset().is_some()).cloned()
    }

    /// The segment before the one with that number.
    pub(crate) fn before(&self, number: u64) -> Option<Arc<Segment>> {
        let links = locked(&self.links);
        links.segments.get(links.index_of(number)?.checked_sub(1)?).cloned()
    }

    /// The segment that holds that offset or would be the next to hold it.
    pub(crate) fn segment_with_offset(&self, offset: u64) -> Option<Arc<Segment>> {
        let links = locked(&self.links);
        let first = links.segments.partition_point(|segment| segment.number() < links.origin);
        let after = links.segments.partition_point(|segment| {
            segment.number() < links.origin || segment.base_offset().is_some_and(|base| base <= offset)
        });
        // Segments without a record share their base offset with the next one: the first of them holds what is between.
        links.segments.get(after.checked_sub(1).filter(|at| *at >= first)?).cloned()
    }

    /// The segment whose file holds that position.
    fn segment_with_position(&self, position: u64) -> Option<Arc<Segment>> {
        let links = locked(&self.links);
        let after = links.segments.partition_point(|segment| segment.shape().base_position <= position);
        links.segments.get(after.checked_sub(1)?).filter(|segment| position < segment.end_of_file()).cloned()
    }

    /// The frame at a position.
    pub(crate) fn frame_at(&self, position: u64) -> io::Result<Lookup> {
        let Some(segment) = self.segment_with_position(position) else { return Ok(Lookup::Trimmed) };
        let unit = ((position - segment.shape().base_position) / 8) as usize;
        if unit >= segment.limit() {
            // Cut off.
            return Ok(Lookup::Trimmed);
        }
        let window = segment.window()?;
        // Looked at before the word: a segment is sealed when all of its words are there.
        let sealed = segment.seal().is_some();
        Ok(match find(&window, segment.shape(), unit) {
            Found::Frame(frame) => Lookup::Found(Located { segment, frame }),
            Found::Nothing if !sealed => Lookup::Unpublished,
            Found::Nothing | Found::Padding { .. } | Found::Invalid => {
                Lookup::Corrupt { path: segment.path(), at: unit as u64 * 8 }
            }
        })
    }

    /// Offset of the first record that is kept.
    pub(crate) fn start_offset(&self) -> u64 {
        let links = locked(&self.links);
        let first = links.counting().next().and_then(|segment| segment.base_offset());
        first.unwrap_or(links.end_before.offset).max(links.start)
    }

    /// Lets the log start at `start`, up to which it has come. Whether it did not before.
    pub(crate) fn purge(&self, start: u64) -> bool {
        let mut links = locked(&self.links);
        let news = start > links.start;
        links.start = links.start.max(start);
        news
    }

    /// Whether no record of the first segment counts: retention may drop it, once it is sealed.
    pub(crate) fn first_is_purged(&self) -> bool {
        let links = locked(&self.links);
        let end = |segment: &Segment| segment.seal().map_or(u64::MAX, |seal| seal.base_offset + seal.records);
        let purged =
            |first: &Arc<Segment>| first.number() < links.origin || links.start > 0 && end(first) <= links.start;
        links.begun().next().is_some_and(purged)
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
            place.supersede();
            let before = std::mem::replace(place, sealed);
            links.retire(&before);
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

    /// Position of the first byte that is kept.
    pub(crate) fn start_position(&self) -> u64 {
        let links = locked(&self.links);
        links.segments.front().map_or(links.next_position, |segment| segment.shape().base_position)
    }

    /// Where the visible prefix ends.
    pub(crate) fn visible_end(&self) -> io::Result<End> {
        // The begun segments that are not sealed, and the one before them: few, and walked without the lock.
        let (end_before, open) = {
            let links = locked(&self.links);
            let mut open: Vec<_> = Vec::new();
            for segment in links.begun().rev() {
                open.push(Arc::clone(segment));
                if segment.seal().is_some() {
                    break;
                }
            }
            (links.end_before, open)
        };
        let mut end = end_before;
        for segment in open.iter().rev() {
            let Some(base) = segment.base_offset() else { break };
            let place = segment.visible()?;
            end = End { position: segment.shape().position(place.units), offset: base + place.records };
            if segment.seal().is_none() && place.units < segment.shape().capacity {
                break;
            }
        }
        Ok(end)
    }

    /// Position of the oldest frame that is claimed and not published.
    pub(crate) fn oldest_open(&self) -> io::Result<Option<u64>> {
        let end = self.visible_end()?;
        let Some(segment) = self.segment_with_position(end.position) else { return Ok(None) };
        let unit = ((end.position - segment.shape().base_position) / 8) as usize;
        let claimed = segment.tail().is_some_and(|tail| tail.opened().is_some() && unit < tail.claimed());
        Ok(claimed.then_some(end.position))
    }

    pub(crate) fn end(&self) -> ChainEnd {
        let links = locked(&self.links);
        let tail = links.segments.back().and_then(|segment| segment.tail()).unwrap_or(&links.root);
        let begun = links.begun().len();
        ChainEnd {
            next_number: tail.shape().number + 1,
            next_position: links.next_position,
            last_bytes: links.segments.back().map(|segment| segment.bytes()),
            ready: links.segments.len() - begun,
            begun: links.begun || links.begun().next_back().is_some_and(|segment| segment.tail().is_some()),
        }
    }

    /// Puts a prepared segment at the end, where appenders will find it. Called by the one preparer.
    pub(crate) fn push(&self, segment: Arc<Segment>) {
        let mut links = locked(&self.links);
        let before = links.segments.back().and_then(|segment| segment.tail()).unwrap_or(&links.root);
        if let Some(tail) = segment.tail() {
            if links.closed_for_good {
                tail.close();
            }
            before.link(Arc::clone(tail));
        }
        links.next_position = segment.end_of_file();
        links.segments.push_back(segment);
    }

    /// Closes every segment, those that stand ready too, so that whoever appends comes to ask for another one.
    pub(crate) fn close_for_good(&self) {
        let mut links = locked(&self.links);
        links.closed_for_good = true;
        for tail in links.segments.iter().filter_map(|segment| segment.tail()) {
            tail.close();
        }
    }

    /// Puts `sealed` in the place of the segment with its number, whose memory readers leave at their next frame.
    pub(crate) fn replace(&self, sealed: Arc<Segment>) {
        let mut links = locked(&self.links);
        let at = links.index_of(sealed.number());
        if let Some(place) = at.and_then(|at| links.segments.get_mut(at)) {
            place.supersede();
            let before = std::mem::replace(place, sealed);
            links.retire(&before);
        }
    }

    /// All segments that were begun, oldest first.
    pub(crate) fn begun(&self) -> Vec<Arc<Segment>> {
        locked(&self.links).begun().cloned().collect()
    }

    /// Takes the segments that stand ready off the end, once nobody appends any more.
    pub(crate) fn take_ready(&self) -> Vec<Arc<Segment>> {
        let mut links = locked(&self.links);
        let begun = links.begun().len();
        links.segments.split_off(begun).into()
    }

    /// Takes the oldest segment off.
    pub(crate) fn drop_first(&self) -> Option<Arc<Segment>> {
        let mut links = locked(&self.links);
        let first = links.segments.pop_front()?;
        links.retire(&first);
        Some(first)
    }

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

    /// Segments, those of them that stand ready, and bytes of all.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        let links = locked(&self.links);
        let begun = links.begun().len();
        let bytes = links.segments.iter().map(|segment| segment.bytes()).sum();
        (begun as u64, (links.segments.len() - begun) as u64, bytes)
    }
}

/// Where the records that count begin, and what was cut off, as recovery found it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    /// Number of the segment that the log starts in, if it is said.
    pub(crate) origin: u64,
    /// Offset of the first record that counts, if it is said.
    pub(crate) start: u64,
    pub(crate) cuts: Vec<Cut>,
}

impl End {
    /// The end of one segment, up to `place`.
    pub(crate) fn of(segment: &Segment, base_offset: u64, place: Place) -> Self {
        Self { position: segment.shape().position(place.units), offset: base_offset + place.records }
    }
}
