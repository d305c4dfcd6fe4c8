//! Cutting a partition: its suffix, all of it, or what it has not come to yet. `partition/cut.rs` says what is on disk.
//!
//! ```text
//! 1. fence everyone who wrote beyond the cut       they append no more; their open transactions end
//! 2. make durable what is kept, and settle the commits that have records here
//! 3. hold the tail: nobody claims, and all that was claimed is published
//! 4. write again what the suffix says of what is kept; flush
//! 5. the START frame of the next segment says where the cut is; flush: from here on it is made
//! 6. take everything back in memory: groups, slots, readers' limits, the chain, the durable mark; lead on
//! 7. seal the segment that was cut, remove files and snapshots of what is gone
//! ```
//!
//! Whoever comes between 1 and 3 is found behind 3, and it begins again: a producer that is fenced stays so meanwhile, since
//! the registry's lock is held throughout. For what is appended and committed all the time it does not: that is flushed and
//! settled once more behind the committer's role, which is little then.

mod removal;
mod stillness;

use self::removal::remove;
use crate::{
    core::{Core, Source},
    error::{AppendError, DurableError, TruncateError},
    format::{
        NUMBER_MAX, SEGMENT_HEADER_BYTES,
        control::{Purge, Start},
        frame::Kind,
        ledger::{GroupOffset, LedgerEntry},
        snapshot::{Aborted, Extent as Ends},
    },
    ids::{ProducerId, Progress},
    ledger::Ledger,
    partition::{
        Kept, PartitionState,
        append::{Cursor, Supply},
        chain::{Cut, End},
        cut::{Again, Place},
        durability::Extent,
        locked,
    },
    producers::slot_of,
    raw::limit::LimitReached,
    registry::Registry,
    segment::{
        backing::BLOCK,
        file::Segment,
        tail::{FIRST_UNIT, Held, START_UNITS, Tail},
    },
    sync::{Arc, Backoff},
};
use std::{collections::BTreeSet, io, path::Path, thread, time::Duration};

/// Between two tries to take the committer's role.
const ROLE_PAUSE: Duration = Duration::from_micros(50);

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Everything from an offset on.
    From(u64),
    /// Nothing: the next record has this offset, beyond the end, and the log starts there.
    Beyond(u64),
    /// Everything: the next record has this offset.
    All(u64),
}

/// What came of it.
pub(crate) struct Made {
    /// Records that are gone.
    pub(crate) records: u64,
    pub(crate) fenced: BTreeSet<ProducerId>,
}

/// The committer's role, given up on drop.
struct Role<'a>(&'a Core);

impl Drop for Role<'_> {
    fn drop(&mut self) {
        self.0.committer.turns.hand_over(false);
    }
}

/// What a cut does to what is in memory, all found out before the first of it is done.
struct Switch {
    place: Place,
    start: Start,
    cut: Cut,
    /// Offset that the next record has.
    end: u64,
    /// Position behind what is written in the next segment.
    next_position: u64,
    progress: Vec<(ProducerId, Progress)>,
    markers: Vec<Aborted>,
    metadata_position: Option<u64>,
    purge_position: Option<u64>,
}

impl Core {
    /// Cuts a partition: durable on return.
    pub(crate) fn cut(&self, partition: &Arc<PartitionState>, which: Which) -> Result<Made, TruncateError> {
        if let Which::Beyond(offset) | Which::All(offset) = which
            && offset > NUMBER_MAX / 2
        {
            return Err(TruncateError::Offset { offset, limit: NUMBER_MAX / 2 });
        }
        let _tending = locked(&partition.tending);
        let mut registry = self.registry();
        let mut made = Made { records: 0, fenced: BTreeSet::new() };
        // Until it is done, so that the segment it goes on in is there when the others let it.
        partition.wish(1);
        let cut = self.cut_at_last(partition, which, &mut registry, &mut made);
        partition.unwish(1);
        cut.map(|()| made)
    }

    fn cut_at_last(
        &self,
        partition: &Arc<PartitionState>,
        which: Which,
        registry: &mut Registry,
        made: &mut Made,
    ) -> Result<(), TruncateError> {
        loop {
            self.refuse_if_poisoned()?;
            let (start, end) = bounds(partition)?;
            match which {
                Which::From(offset) if offset < start || offset > end => {
                    return Err(TruncateError::OutOfRange { offset, start, end });
                }
                Which::From(offset) if offset == end => return Ok(()),
                // It has come so far meanwhile.
                Which::Beyond(offset) if offset <= end => return Ok(()),
                _ => {}
            }
            if self.try_cut(partition, which, registry, made)? {
                return Ok(());
            }
        }
    }

    /// One try: false if somebody came between.
    fn try_cut(
        &self,
        partition: &Arc<PartitionState>,
        which: Which,
        registry: &mut Registry,
        made: &mut Made,
    ) -> Result<bool, TruncateError> {
        let source = Source { core: self, partition };
        let mut cursor = Cursor::new(partition.chain.newest_tail());
        // What was sealed before the log was opened has no tail to hold.
        while cursor.is_full() {
            cursor.step(&source)?;
        }
        source.prepare_until(|| cursor.at().has_next())?;

        let Some(place) = place_of(partition, which)? else { return Ok(false) };
        let beyond = self.producers_beyond(registry, partition, place.position());
        let unfenced: Vec<ProducerId> = beyond.into_iter().filter(|id| !made.fenced.contains(id)).collect();
        self.fence_again(registry, &unfenced)?;
        made.fenced.extend(unfenced);
        self.settle_all_of(partition)?;
        if partition.durable.position() < place.position() {
            self.flush_up_to(partition, place.position() - 1)?;
        }
        self.seal_before(partition, &place)?;
        self.refuse_to_forget(partition, place.position())?;

        let mut kept = locked(&partition.kept);
        while !self.committer.turns.take_role() {
            thread::sleep(ROLE_PAUSE);
        }
        let role = Role(self);
        let mut ledger = self.ledger();
        self.settle_behind_role(&mut ledger, partition)?;
        self.make_room_for_groups(&ledger, partition, which)?;
        let held = self.hold(partition, &mut cursor)?;
        let mut backoff = Backoff::new();
        while visible_end(partition)?.position < held.end_position() {
            self.refuse_if_poisoned()?;
            backoff.wait();
        }
        // From here on nothing moves. What was found may be old.
        let Some(next) = held.next() else { return Ok(false) };
        let (Some(place), (start, end)) = (place_of(partition, which)?, bounds(partition)?) else { return Ok(false) };
        let has_come = matches!(which, Which::Beyond(offset) if offset <= end);
        let beyond = self.producers_beyond(registry, partition, place.position());
        // Of a commit that is not durable yet, nothing is taken away where nothing is cut off.
        let is_settled = matches!(which, Which::Beyond(_)) || !is_unsettled(&ledger, partition);
        let is_quiet = beyond.iter().all(|id| made.fenced.contains(id)) && is_settled;
        if !is_quiet || has_come {
            return Ok(false);
        }
        if partition.durable.position() < place.position() {
            // Nobody has waited while it was held: what came since the flush above is made durable here.
            self.flush_behind_role(std::slice::from_ref(partition))?;
        }
        // What has filled up since the last look.
        self.seal_before(partition, &place)?;
        made.records = match which {
            Which::From(offset) => end - offset,
            Which::Beyond(_) => 0,
            Which::All(_) => end - start,
        };
        let written = self.write_cut(partition, which, place, &beyond, &kept, &held, &next);
        let written = match written {
            Ok(Some(switch)) => self.take_groups_back(&mut ledger, partition, &switch).map(|()| Some(switch)),
            other => other,
        };
        if self.committer.is_poisoned() {
            // The cut may be made, and in memory it is not: nothing goes on.
            held.keep();
            return Err(written.err().unwrap_or_else(|| self.closed()));
        }
        let Some(switch) = written? else { return Ok(false) };
        let (sealed, removed) = switch_over(&mut ledger, partition, &switch, &mut kept, &held, &next);
        drop(held);
        source.opened();
        drop((kept, ledger, role));
        remove(partition, &switch, sealed, removed)?;
        Ok(true)
    }

    /// Writes what stands behind the cut, and the START frame that makes it: durable on return. None if there is no room in
    /// the segment that stands ready, and the next one is larger.
    #[expect(clippy::too_many_arguments, reason = "what was found, and what is held")]
    fn write_cut(
        &self,
        partition: &Arc<PartitionState>,
        which: Which,
        mut place: Place,
        beyond: &[ProducerId],
        kept: &Kept,
        held: &Held,
        next: &Arc<Tail>,
    ) -> Result<Option<Switch>, TruncateError> {
        let is_suffix = matches!(which, Which::From(_));
        if !is_suffix {
            place.partial = None;
        }
        let head = place.partial.as_ref().map(|head| head.records);
        let position = place.position();
        let Some(segment) = partition.chain.segment(next.shape().number) else { return Ok(None) };
        let told = partition.told_behind(&place).map_err(reading(partition))?;
        let again = partition.said_again(&mut place, &told, kept, is_suffix);
        let bytes = again.iter().map(Again::units).sum::<usize>() as u64 * 8;
        let limit = (next.shape().capacity * 8 - SEGMENT_HEADER_BYTES - START_UNITS * 8) as u64;
        if bytes > limit {
            let largest = next.shape().capacity as u64 * 8 >= partition.options.segment_bytes;
            return if largest { Err(TruncateError::TooMuch { bytes, limit }) } else { Ok(None) };
        }
        // Where producers go back to is found out before anything is written: a frame that can't be read leaves all as it is.
        let first = next.shape().position(FIRST_UNIT + START_UNITS);
        let mut progress = Vec::with_capacity(beyond.len());
        for id in beyond {
            let Some(slot) = slot_of(partition, *id) else { continue };
            progress
                .push((*id, partition.progress_at(*id, slot.progress(), position, head.map(|head| (first, head)))?));
        }
        if segment.needs_its_name_synced() {
            // Before anything is written: a directory that can't be opened now leaves all as it is.
            partition
                .sync_names()
                .map_err(|error| self.refused_or_poisoned(&partition.directory, "sync a directory", error))?;
            segment.name_is_synced();
        }
        let now_ms = self.clock.now_ms();
        let mut positions = Vec::with_capacity(again.len());
        for frame in &again {
            // No room: closed for good, since a flush has failed meanwhile.
            let Some(position) = frame.write(next, now_ms) else { return Err(self.closed()) };
            positions.push(position);
        }
        let (base_offset, end) = match which {
            Which::From(from) => (place.offset(), from),
            Which::Beyond(offset) | Which::All(offset) => (offset, offset),
        };
        let start = Start { base_offset, previous_end: position, cut: true, origin: !is_suffix };
        if !again.is_empty() {
            self.flush_begun(&segment, next)?;
        }
        held.write_start(next, start);
        self.flush_begun(&segment, next)?;

        let written =
            |kind: Kind| again.iter().zip(&positions).find(|(frame, _)| frame.kind == kind).map(|(_, at)| *at);
        let aborts = again.iter().zip(&positions).filter(|(frame, _)| frame.kind == Kind::Abort);
        let markers = aborts.filter_map(|(frame, marker)| {
            let producer = frame.producer?;
            let (id, transaction) = (producer.id, producer.transaction);
            // Where it ends now, readers find out frame by frame.
            Some(Aborted { producer: id, transaction, marker: *marker, end: Ends::default() })
        });
        let offset = if let Which::From(from) = which { from } else { place.offset() };
        Ok(Some(Switch {
            start,
            cut: Cut { number: next.shape().number, position, until: next.shape().base_position, offset },
            end,
            next_position: next.shape().position(next.claimed()),
            progress,
            markers: markers.collect(),
            metadata_position: written(Kind::Metadata),
            purge_position: written(Kind::Purge),
            place,
        }))
    }

    /// Makes the frames durable that were written in a segment that nobody else appends to yet.
    fn flush_begun(&self, segment: &Arc<Segment>, tail: &Tail) -> Result<(), TruncateError> {
        let from = if segment.is_direct() { FIRST_UNIT * 8 } else { 0 };
        let extent = Extent { segment: Arc::clone(segment), from, to: (tail.claimed() * 8).next_multiple_of(BLOCK) };
        let flushed = self.committer.write_and_flush(&[&extent]);
        flushed.map(|_| ()).map_err(|(doing, error)| self.poisoned_by(doing, error))
    }

    fn closed(&self) -> TruncateError {
        let closed = || AppendError::Poisoned { doing: "append", source: io::Error::other("the segment is closed") };
        self.refuse_if_poisoned().err().unwrap_or_else(closed).into()
    }

    /// What could not be begun for want of a descriptor or a mapping has left all as it is.
    fn refused_or_poisoned(&self, path: &Path, doing: &'static str, source: io::Error) -> TruncateError {
        if LimitReached::of(&source).is_some() {
            return TruncateError::Io { doing, path: path.to_owned(), source };
        }
        self.poisoned_by(doing, source)
    }

    fn poisoned_by(&self, doing: &'static str, error: io::Error) -> TruncateError {
        let source = crate::error::copy(&error);
        self.poison(doing, error);
        TruncateError::Durable(DurableError::Poisoned { doing, source })
    }

    /// Takes groups back that have come beyond the end: durable on return, before anything is appended there.
    fn take_groups_back(
        &self,
        ledger: &mut Ledger,
        partition: &Arc<PartitionState>,
        switch: &Switch,
    ) -> Result<(), TruncateError> {
        let mut back = Vec::new();
        for (group, state) in &mut ledger.groups {
            let Some(offset) = state.offsets.get_mut(&partition.number).filter(|offset| **offset > switch.end) else {
                continue;
            };
            *offset = switch.end;
            back.push(GroupOffset {
                group: group.clone(),
                generation: state.generation,
                partition: partition.number,
                offset: switch.end,
            });
        }
        for open in ledger.open.values_mut() {
            for one in open.offsets.iter_mut().filter(|one| one.partition == partition.number) {
                one.offset = one.offset.min(switch.end);
            }
            let here = open.parts.iter_mut().filter(|part| Arc::ptr_eq(&part.partition, partition));
            here.for_each(|part| part.first_offset = part.first_offset.min(switch.end));
        }
        if back.is_empty() {
            return Ok(());
        }
        let written = self.write_entry(ledger, &LedgerEntry::Offsets(back));
        if let Err(error) = written {
            return Err(self.poisoned_by("take a group back behind a cut", io::Error::other(error.to_string())));
        }
        let own = ledger.own.as_ref().map(|(own, _)| Arc::clone(own));
        let flushed = self.committer.flush(own.as_slice(), self.clock.now_ms());
        flushed.map(|_| ()).map_err(|(doing, error)| self.poisoned_by(doing, error))
    }

    /// Lets the log start at an offset: durable on return. Beyond the end it is empty then.
    pub(crate) fn purge(&self, partition: &Arc<PartitionState>, to: u64) -> Result<(), TruncateError> {
        loop {
            {
                let mut kept = locked(&partition.kept);
                let (start, end) = bounds(partition)?;
                if to <= start {
                    return Ok(());
                }
                if to <= end {
                    let source = Source { core: self, partition };
                    let mut cursor = Cursor::new(partition.chain.newest_tail());
                    let words = Purge { start: to }.words().map(u64::to_le_bytes);
                    let position = cursor.note(Kind::Purge, words.as_flattened(), self.clock.now_ms(), &source)?;
                    kept.purge_position = position;
                    self.flush_up_to(partition, position)?;
                    partition.chain.purge(to);
                    drop(kept);
                    // Segments that are purged whole are dropped by upkeep, once snapshots stand for their producers.
                    self.upkeep.raise();
                    return Ok(());
                }
            }
            self.cut(partition, Which::Beyond(to))?;
            self.upkeep.raise();
        }
    }
}

fn reading(partition: &PartitionState) -> impl FnOnce(io::Error) -> TruncateError {
    let path = partition.directory.clone();
    move |source| TruncateError::Io { doing: "read", path, source }
}

fn visible_end(partition: &PartitionState) -> Result<End, TruncateError> {
    partition.chain.visible_end().map_err(reading(partition))
}

fn bounds(partition: &PartitionState) -> Result<(u64, u64), TruncateError> {
    Ok((partition.chain.start_offset(), visible_end(partition)?.offset))
}

fn place_of(partition: &PartitionState, which: Which) -> Result<Option<Place>, TruncateError> {
    let from = match which {
        Which::From(from) => from,
        Which::Beyond(_) => visible_end(partition)?.offset,
        Which::All(_) => partition.chain.start_offset(),
    };
    partition.place_of_cut(from).map_err(reading(partition))
}

/// Whether a commit with records in a partition is not known to be durable, or not marked there.
fn is_unsettled(ledger: &Ledger, partition: &Arc<PartitionState>) -> bool {
    ledger.decided.iter().any(|decided| decided.is_unsettled_in(partition))
}

/// Takes everything in memory back to the cut. Returns the segment that was cut, if it is to be sealed, and what is gone.
fn switch_over(
    ledger: &mut Ledger,
    partition: &Arc<PartitionState>,
    switch: &Switch,
    kept: &mut Kept,
    held: &Held,
    next: &Arc<Tail>,
) -> (Option<Arc<Segment>>, Vec<Arc<Segment>>) {
    let Switch { place, start, cut, end, .. } = switch;
    for (id, progress) in &switch.progress {
        // Fenced, and nobody is given the new epoch before the registry's lock is: the slot is nobody's.
        if let Some(slot) = slot_of(partition, *id) {
            slot.advance(*progress);
        }
    }
    for decided in &mut ledger.decided {
        decided.parts.retain(|part| !Arc::ptr_eq(&part.partition, partition) || part.last_offset < cut.offset);
    }
    kept.metadata_position = switch.metadata_position.unwrap_or(kept.metadata_position);
    kept.purge_position = switch.purge_position.unwrap_or(kept.purge_position);
    partition.follow_no_further(place.kept.number());
    let sealed = (!place.is_sealed()).then(|| {
        let base_offset = place.kept.base_offset().unwrap_or(0);
        Arc::new(place.kept.cut(place.end, base_offset, place.latest_ms, cut.position))
    });
    let mut removed = Vec::new();
    partition.stability.cut(cut.position, *end, &switch.markers, || {
        removed = partition.chain.cut(*cut, place.kept.number(), sealed.clone(), *start, || held.open(next, *start));
    });
    partition.durable.cut(cut.offset, End { position: switch.next_position, offset: *end });
    (sealed, removed)
}
