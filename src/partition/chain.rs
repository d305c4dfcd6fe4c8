//! The segments of a partition: by number, by offset, by position; and how far they are visible.

mod cuts;
mod spares;

pub(crate) use cuts::{Bounds, Cut};

use super::state::locked;
use crate::segment::{
    backing::{Backing, Spare},
    file::{Residence, Segment},
    residents::{Home, Resident, Residents},
    scan::{Found, Frame, find},
    tail::{Place, Tail},
};
use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, Weak},
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
    own: Weak<Self>,
    /// The log's segments that are mapped, these among them.
    residents: Arc<Residents>,
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
    /// The lowest offset that was cut off before the log was opened.
    lowest_cut: Option<u64>,
    /// Cuts since the log was opened.
    cut_count: u64,
    /// Dropped by retention, to be used again.
    spares: Vec<Spare>,
    /// The last tail of all, if it is of a segment that was withdrawn: the next one is linked behind it.
    withdrawn: Option<Arc<Tail>>,
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
    /// All segments before this one are visible to their ends.
    pub(crate) leads: bool,
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
    /// A tail's segment leaves the chain, or its memory does.
    fn retire(&mut self, tail: Option<&Arc<Tail>>) {
        if let Some(tail) = tail {
            self.begun = true;
            if tail.shape().number > self.root.shape().number {
                self.root = Arc::clone(tail);
            }
        }
    }

    /// The tail that the next one is linked behind.
    fn last_tail(&self) -> &Arc<Tail> {
        let last = self.withdrawn.as_ref().or_else(|| self.segments.back().and_then(|segment| segment.tail()));
        last.unwrap_or(&self.root)
    }

    /// Segments that were begun: all but those that stand ready at the end.
    fn begun(&self) -> impl DoubleEndedIterator<Item = &Arc<Segment>> + ExactSizeIterator {
        let begun = self.segments.partition_point(|segment| segment.base_offset().is_some());
        self.segments.iter().take(begun)
    }

    /// Whether all segments before the one at an index are known to be visible to their ends. They are sealed in order.
    fn leads(&self, at: usize) -> bool {
        let mut unsealed = self.segments.iter().take(at).rev().take_while(|before| before.seal().is_none());
        unsealed.all(|before| before.is_known_full())
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
    /// The segments that were there before, and where they end. Those that were mapped to be looked through are unmapped.
    pub(crate) fn new(
        mut segments: Vec<Arc<Segment>>,
        last_number: u64,
        next_position: u64,
        end: End,
        bounds: Bounds,
        residents: &Arc<Residents>,
    ) -> Arc<Self> {
        let base = segments.last().map_or(end.position, |segment| segment.shape().base_position);
        let root = Arc::new(Tail::ended(last_number, base, end.position, end.offset));
        let links = Links {
            root,
            begun: false,
            closed_for_good: false,
            next_position,
            end_before: end,
            segments: VecDeque::new(),
            origin: bounds.origin,
            start: bounds.start,
            cuts: bounds.cuts,
            lowest_cut: bounds.lowest_cut,
            cut_count: 0,
            spares: Vec::new(),
            withdrawn: None,
        };
        for segment in segments.iter_mut().filter_map(Arc::get_mut) {
            let _ = segment.unmap();
        }
        let chain = Arc::new_cyclic(|own| Self {
            links: Mutex::new(links),
            own: Weak::clone(own),
            residents: Arc::clone(residents),
        });
        for segment in &segments {
            chain.take_in(segment);
        }
        locked(&chain.links).segments = segments.into();
        chain
    }

    /// Tells a segment that it is this chain's.
    fn take_in(&self, segment: &Segment) {
        let home: Weak<dyn Home> = self.own.clone();
        let resident = Resident { home, number: segment.number() };
        segment.reside(Residence { resident, residents: Arc::clone(&self.residents) });
    }

    /// The tail that a new handle starts at: the newest that was opened.
    pub(crate) fn newest_tail(&self) -> Arc<Tail> {
        let links = locked(&self.links);
        let newest =
            links.segments.iter().rev().filter_map(|segment| segment.tail()).find(|tail| tail.opened().is_some());
        let is_newer = |tail: &&Arc<Tail>| tail.shape().number > links.root.shape().number;
        Arc::clone(newest.filter(is_newer).unwrap_or(&links.root))
    }

    /// Position up to which space was claimed.
    pub(crate) fn claimed_position(&self) -> u64 {
        let tail = self.newest_tail();
        tail.shape().position(tail.claimed())
    }

    /// The segment of that number, begun or not.
    pub(crate) fn segment(&self, number: u64) -> Option<Arc<Segment>> {
        let links = locked(&self.links);
        links.segments.get(links.index_of(number)?).cloned()
    }

    /// The first segment behind the one with that number, if there is one that was begun.
    pub(crate) fn behind(&self, number: u64) -> Option<Arc<Segment>> {
        let links = locked(&self.links);
        links.segments.get(links.index_behind(number)).filter(|next| next.base_offset().is_some()).cloned()
    }

    /// The segment before the one with that number, if its records count.
    pub(crate) fn before(&self, number: u64) -> Option<Arc<Segment>> {
        let links = locked(&self.links);
        let before = links.segments.get(links.index_of(number)?.checked_sub(1)?)?;
        (before.number() >= links.origin).then(|| Arc::clone(before))
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

    /// The segment whose file holds that position, and whether all before it are visible to their ends.
    pub(crate) fn segment_with_position(&self, position: u64) -> Option<(Arc<Segment>, bool)> {
        let links = locked(&self.links);
        let after = links.segments.partition_point(|segment| segment.shape().base_position <= position);
        let at = after.checked_sub(1)?;
        let segment = links.segments.get(at).filter(|segment| position < segment.end_of_file())?;
        Some((Arc::clone(segment), links.leads(at)))
    }

    /// The frame at a position.
    pub(crate) fn frame_at(&self, position: u64) -> io::Result<Lookup> {
        match self.segment_with_position(position) {
            Some((segment, leads)) => self.frame_in(segment, leads, position),
            None => Ok(Lookup::Trimmed),
        }
    }

    /// The frame at a position of a segment that was found to hold it.
    pub(crate) fn frame_in(&self, segment: Arc<Segment>, leads: bool, position: u64) -> io::Result<Lookup> {
        let unit = ((position - segment.shape().base_position) / 8) as usize;
        if unit >= segment.limit() {
            // Cut off.
            return Ok(Lookup::Trimmed);
        }
        let window = match segment.window() {
            Err(error) if self.has_lost(&segment, &error) => return Ok(Lookup::Trimmed),
            window => window?,
        };
        // Looked at before the word: a segment is sealed when all of its words are there.
        let sealed = segment.seal().is_some();
        Ok(match find(&window, segment.shape(), unit) {
            Found::Frame(frame) => Lookup::Found(Located { segment, frame, leads }),
            Found::Nothing if !sealed => Lookup::Unpublished,
            Found::Nothing | Found::Padding { .. } | Found::Invalid => {
                Lookup::Corrupt { path: segment.path(), at: unit as u64 * 8 }
            }
        })
    }

    /// Whether a frame is visible, and with it all before it.
    pub(crate) fn is_visible(&self, located: &Located) -> io::Result<bool> {
        let Located { segment, frame, leads } = located;
        if *leads {
            return Ok(segment.visible()?.units > frame.unit);
        }
        Ok(self.visible_end()?.position > frame.position(segment.shape()))
    }

    /// An offset that nothing appended from now on is before: above the visible end where others are just appending.
    pub(crate) fn next_offset(&self) -> io::Result<u64> {
        let next = {
            let links = locked(&self.links);
            let newest = links.begun().next_back().and_then(|segment| segment.tail());
            newest.and_then(|tail| tail.next_offset())
        };
        next.map_or_else(|| self.visible_end().map(|end| end.offset), Ok)
    }

    /// Offset of the first record that is kept.
    pub(crate) fn start_offset(&self) -> u64 {
        let links = locked(&self.links);
        let first = links.counting().next().and_then(|segment| segment.base_offset());
        first.unwrap_or(links.end_before.offset).max(links.start)
    }

    /// Position of the first byte that is kept.
    pub(crate) fn start_position(&self) -> u64 {
        let links = locked(&self.links);
        links.segments.front().map_or(links.next_position, |segment| segment.shape().base_position)
    }

    /// Where the visible prefix ends.
    pub(crate) fn visible_end(&self) -> io::Result<End> {
        // The begun segments that are not sealed, and the one before them: few, mostly one, and walked without the lock.
        let newest = {
            let links = locked(&self.links);
            let newest = links.begun().len().checked_sub(1).filter(|at| links.leads(*at));
            newest.and_then(|at| links.segments.get(at)).cloned()
        };
        if let Some((segment, base)) = newest.and_then(|segment| segment.base_offset().map(|base| (segment, base))) {
            return Ok(End::of(&segment, base, segment.visible()?));
        }
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
            end = End::of(segment, base, place);
            if segment.seal().is_none() && place.units < segment.shape().capacity {
                break;
            }
        }
        Ok(end)
    }

    /// Position of the oldest frame that is claimed and not published.
    pub(crate) fn oldest_open(&self) -> io::Result<Option<u64>> {
        let end = self.visible_end()?;
        let Some((segment, _)) = self.segment_with_position(end.position) else { return Ok(None) };
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
        self.take_in(&segment);
        let mut links = locked(&self.links);
        if let Some(tail) = segment.tail() {
            if links.closed_for_good {
                tail.close();
            }
            links.last_tail().link(Arc::clone(tail));
        }
        links.withdrawn = None;
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
            self.take_in(&sealed);
            place.supersede();
            let before = std::mem::replace(place, sealed);
            links.retire(before.tail());
        }
    }

    /// All segments that were begun, oldest first.
    pub(crate) fn begun(&self) -> Vec<Arc<Segment>> {
        locked(&self.links).begun().cloned().collect()
    }

    /// The segments that were begun and are not sealed, oldest first.
    pub(crate) fn unsealed(&self) -> Vec<Arc<Segment>> {
        let links = locked(&self.links);
        let mut unsealed: Vec<_> =
            links.begun().rev().take_while(|segment| segment.seal().is_none()).cloned().collect();
        unsealed.reverse();
        unsealed
    }

    /// Segments whose names may not outlive a power cut.
    pub(crate) fn without_durable_names(&self) -> Vec<Arc<Segment>> {
        let links = locked(&self.links);
        // They are new, and so at the end.
        let newest = links.segments.iter().rev();
        newest.take_while(|segment| segment.needs_its_name_synced()).cloned().collect()
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
        links.retire(first.tail());
        Some(first)
    }

    /// Takes the segments that stand ready off the end, but for one that an appender steps to meanwhile, and those before
    /// it. Not while one is prepared.
    pub(crate) fn withdraw_ready(&self) -> Vec<Arc<Segment>> {
        let mut withdrawn = Vec::new();
        let mut links = locked(&self.links);
        while let Some(segment) = links.segments.pop_back() {
            if !segment.tail().is_some_and(|tail| tail.withdraw()) {
                links.segments.push_back(segment);
                break;
            }
            if links.withdrawn.is_none() {
                links.withdrawn = segment.tail().cloned();
            }
            links.next_position = segment.shape().base_position;
            withdrawn.push(segment);
        }
        withdrawn
    }

    /// Unmaps every sealed segment of the log that nobody holds: the system has no room for another mapping.
    pub(crate) fn give_up_mappings(&self) {
        self.residents.give_up_all();
    }

    /// Whether no segment is appended to or stands ready to be.
    pub(crate) fn is_at_rest(&self) -> bool {
        locked(&self.links).segments.iter().all(|segment| segment.seal().is_some())
    }
}

impl Home for Chain {
    fn last_use(&self, number: u64) -> Option<u64> {
        let links = locked(&self.links);
        links.segments.get(links.index_of(number)?)?.last_use()
    }

    fn unmap(&self, number: u64) -> Option<Backing> {
        let mut links = locked(&self.links);
        let at = links.index_of(number)?;
        // Nobody else holds it, and nobody can come to: who wants one asks here, under the lock.
        let segment = links.segments.get_mut(at).and_then(Arc::get_mut)?;
        let (backing, tail) = segment.unmap()?;
        links.retire(tail.as_ref());
        Some(backing)
    }
}

impl End {
    /// The end of one segment, up to `place`.
    pub(crate) fn of(segment: &Segment, base_offset: u64, place: Place) -> Self {
        Self { position: segment.shape().position(place.units), offset: base_offset + place.records }
    }
}
