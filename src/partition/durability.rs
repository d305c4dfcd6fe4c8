//! How far a partition is durable, and what has to be written for it to be durable further.

use super::{
    chain::End,
    state::{PartitionState, locked},
};
use crate::{
    format::{
        control::{CONTROL_BYTES, Mark},
        frame::{Form, Header, Kind, Part, units_of},
    },
    raw::limit,
    segment::{backing::BLOCK, file::Segment, tail::FIRST_UNIT},
};
use std::{
    fs::File,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// The durable mark. Moved by whoever holds the committer's role, when a round is over; read by everyone.
pub(crate) struct Durable {
    /// Offset behind the last durable record. Release when moved, Acquire when read: what it covers was flushed before.
    offset: AtomicU64,
    /// The same as a position, and the position that the newest MARK frame carries: for the committer alone.
    committed: Mutex<Committed>,
    /// How often the partition was cut since it was opened. Raised behind `offset`, so that whoever sees the new offset by a
    /// cut, and looks here next, sees that too.
    cuts: AtomicU64,
    /// The lowest offset cut off by each of them and all later ones: number of the cut, offset.
    cut_offsets: Mutex<Vec<(u64, u64)>>,
}

/// Cuts that are told apart by those that wait for what is durable.
const CUTS_KEPT: usize = 64;

#[derive(Clone, Copy)]
struct Committed {
    position: u64,
    marked: u64,
}

/// Bytes of one segment that a round has to flush.
pub(crate) struct Extent {
    pub(crate) segment: Arc<Segment>,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// What a round has to flush of a partition, and how far the partition is durable then.
pub(crate) struct Dirty {
    pub(crate) extents: Vec<Extent>,
    pub(crate) end: End,
}

impl Durable {
    pub(crate) fn at(end: End) -> Self {
        Self {
            offset: AtomicU64::new(end.offset),
            committed: Mutex::new(Committed { position: end.position, marked: end.position }),
            cuts: AtomicU64::new(0),
            cut_offsets: Mutex::default(),
        }
    }

    /// How often the partition was cut since it was opened.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Acquire)
    }

    /// The lowest offset that was cut off since there were so many cuts.
    pub(crate) fn cut_since(&self, cuts: u64) -> Option<u64> {
        if self.cuts() == cuts {
            return None;
        }
        locked(&self.cut_offsets).iter().find(|(number, _)| *number > cuts).map(|(_, offset)| *offset)
    }

    /// Moves the mark back to where a cut was made, and the position on to where what follows is durable. By whoever has the
    /// committer's role.
    pub(crate) fn cut(&self, cut: u64, end: End) {
        let mut offsets = locked(&self.cut_offsets);
        let number = self.cuts() + 1;
        // Only what is lower than all later ones is asked for.
        offsets.retain(|(_, offset)| *offset < cut);
        offsets.push((number, cut));
        if offsets.len() > CUTS_KEPT {
            // The older of two stands for both: a cut that is told to reach a little lower than it did.
            let (_, lower) = offsets.remove(0);
            if let Some(first) = offsets.first_mut() {
                first.1 = first.1.min(lower);
            }
        }
        locked(&self.committed).position = end.position;
        self.cuts.store(number, Ordering::Release);
        self.offset.store(end.offset, Ordering::Release);
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset.load(Ordering::Acquire)
    }

    pub(crate) fn position(&self) -> u64 {
        locked(&self.committed).position
    }

    /// Moves the mark, once everything before `end` has been flushed.
    pub(crate) fn advance(&self, end: End) {
        let mut committed = locked(&self.committed);
        committed.position = committed.position.max(end.position);
        self.offset.fetch_max(end.offset, Ordering::AcqRel);
    }
}

impl PartitionState {
    /// Bytes that are visible and not durable.
    pub(crate) fn dirty_bytes(&self) -> u64 {
        self.chain.visible_end().map_or(0, |end| end.position.saturating_sub(self.durable.position()))
    }

    /// What has to be flushed for all that is visible now to be durable; none if there is nothing.
    ///
    /// The first frame of what is flushed says up to where the partition was durable before: a reopening that finds it
    /// knows that whatever is broken below was not lost, but damaged.
    pub(crate) fn collect(&self, now_ms: u64) -> io::Result<Option<Dirty>> {
        let durable = self.durable.position();
        if self.chain.visible_end()?.position <= durable {
            return Ok(None);
        }
        self.mark(durable, now_ms);
        // Sampled before anything is submitted: what becomes visible from here on is the next round's.
        let end = self.chain.visible_end()?;
        let mut extents = Vec::new();
        for segment in self.chain.begun() {
            let shape = segment.shape();
            let first = shape.position(FIRST_UNIT);
            if segment.end_of_file() <= durable || first >= end.position {
                continue;
            }
            // The header is durable before a direct segment is used, and goes along with the first flush of a mapped one.
            let from = match durable.checked_sub(first) {
                Some(_) => (durable - shape.base_position) as usize,
                None if segment.is_direct() => FIRST_UNIT * 8,
                None => 0,
            };
            let to = (end.position.min(segment.end_of_file()) - shape.base_position) as usize;
            if to > from {
                extents.push(Extent { segment, from: from / BLOCK * BLOCK, to: to.next_multiple_of(BLOCK) });
            }
        }
        Ok(Some(Dirty { extents, end }))
    }

    /// Appends a MARK frame, if the mark has moved since the last one. Best effort: where there is no room for it in the
    /// segment at hand, the next round's will do.
    fn mark(&self, durable: u64, now_ms: u64) {
        {
            let mut committed = locked(&self.durable.committed);
            if committed.marked >= durable {
                return;
            }
            committed.marked = durable;
        }
        let tail = self.chain.newest_tail();
        if tail.opened().is_none() || tail.is_full() {
            return;
        }
        let Some(reservation) = tail.claim(0, units_of(CONTROL_BYTES, Form::Plain)) else { return };
        let header = Header {
            body_bytes: CONTROL_BYTES as u32,
            kind: Kind::Mark,
            records: 0,
            offset_delta: reservation.place.records as u32,
            time_delta: tail.time_delta(now_ms),
            part: Part::None,
        };
        tail.publish_control(reservation.claim, reservation.place.units, header, Mark { durable }.words());
    }

    /// Makes the names of files in this partition's directory durable.
    pub(crate) fn sync_names(&self) -> io::Result<()> {
        // What comes while this waits is not covered.
        let new = self.chain.without_durable_names();
        File::open(&self.directory).map_err(limit::named)?.sync_all()?;
        new.iter().for_each(|segment| segment.name_is_synced());
        Ok(())
    }
}
