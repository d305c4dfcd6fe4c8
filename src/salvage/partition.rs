//! One partition: its segments in order, others in the place of missing ones, its snapshots.

use super::{
    Loss, SalvagedPartition,
    segment::{NewSegment, part_bytes},
};
use crate::{
    error::{OpenError, io_at},
    format::{
        FRAME_HEADER_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_HEADER_BYTES,
        control::{Fence, Start},
        frame::{CHECKSUM_AT, Kind, Part, Producer, TAG_BITS, checksum},
        segment_header::{Seal, SealReason, SegmentHeader},
        snapshot::{Snapshot, SnapshotHeader},
    },
    ids::ProducerId,
    partition::{
        replay::{Replay, control_words},
        snapshots::{SNAPSHOT, read, write_durably},
    },
    raw::sys,
    segment::{file::file_name, tail::FIRST_UNIT},
    stored::{
        files::{PartitionFiles, StoredSegment},
        frames::{Frames, Item},
    },
};
use std::{collections::HashMap, path::Path};
use xxhash_rust::xxh3::xxh3_64;

const PROGRESS_STEP: u64 = 8 << 20;

/// Where the new partition ends so far.
#[derive(Clone, Copy)]
struct Before {
    number: u64,
    end_of_file: u64,
    frames_end: u64,
    offset: u64,
}

/// A segment that has something to keep, its base offset if that is known, and where the one before it ended.
struct Source {
    segment: StoredSegment,
    base_offset: Option<u64>,
    previous_end: Option<u64>,
    /// What stood behind that was cut off.
    cut: bool,
    /// The log starts here.
    origin: bool,
}

struct Salvager<'a> {
    files: &'a PartitionFiles,
    to: &'a Path,
    losses: &'a mut Vec<Loss>,
    summary: SalvagedPartition,
    before: Option<Before>,
    /// Each producer's last kept batch: its id, its position, and the sequence behind it.
    kept: HashMap<u32, (ProducerId, u64, u64)>,
    snapshots: Vec<Snapshot>,
}

/// Salvages a partition into a directory.
pub(super) fn salvage(
    files: &PartitionFiles,
    to: &Path,
    losses: &mut Vec<Loss>,
    progress: &mut dyn FnMut(u64),
) -> Result<SalvagedPartition, OpenError> {
    let mut salvager = Salvager {
        files,
        to,
        losses,
        summary: SalvagedPartition { name: files.name.clone(), ..SalvagedPartition::default() },
        before: None,
        kept: HashMap::new(),
        snapshots: Vec::new(),
    };
    salvager.read_snapshots();
    let sources = salvager.sources()?;
    salvager.begin(sources.first())?;
    let mut done = 0;
    for (at, source) in sources.iter().enumerate() {
        salvager.bridge(source)?;
        let next = sources.get(at + 1);
        salvager.segment(source, next, &mut |bytes| progress(done + bytes))?;
        salvager.write_snapshots_at(source.segment.number)?;
        done += source.segment.length;
        progress(done);
    }
    salvager.end(&sources)?;
    Ok(salvager.summary)
}

impl Salvager<'_> {
    fn lose(
        &mut self,
        path: &Path,
        positions: Option<(u64, u64)>,
        offsets: Option<(u64, u64)>,
        what: impl Into<String>,
    ) {
        let partition = Some(self.files.name.clone());
        self.losses.push(Loss { partition, path: path.to_owned(), positions, offsets, what: what.into() });
        if let Some((first, end)) = offsets {
            self.summary.records_lost += end - first;
        }
    }

    fn read_snapshots(&mut self) {
        for (number, path) in &self.files.snapshots {
            match read(path, self.files.identity.log, self.files.number) {
                Ok(snapshot) if snapshot.header.segment == *number => self.snapshots.push(snapshot),
                Ok(_) => self.lose(path, None, None, "the snapshot is of another segment"),
                Err(reason) => self.lose(path, None, None, format!("the snapshot is damaged: {reason}")),
            }
        }
    }

    /// Segments with a whole frame, in order.
    fn sources(&mut self) -> Result<Vec<Source>, OpenError> {
        let mut sources: Vec<Source> = Vec::new();
        let named = self.files.used.iter().map(|named| (named, true));
        for (named, used) in named.chain(self.files.ready.iter().map(|named| (named, false))) {
            let refused = named.refused.as_ref().map_or_else(String::new, |refused| format!(": {refused}"));
            let Some(segment) = &named.segment else {
                if used {
                    self.lose(&named.path, None, None, format!("nothing of this file can be used{refused}"));
                }
                continue;
            };
            let opened = Frames::open(segment).map_err(io_at("open", &segment.path))?;
            let Some(mut frames) = opened else { continue };
            let start = frames.start();
            let is_begun = start.is_some() || frames.next_frame(FIRST_UNIT, segment.limit(), 0).is_some();
            if !is_begun && (!used || segment.header_is_damaged || segment.seal.is_none()) {
                if used {
                    self.lose(&named.path, None, None, format!("no whole frame is in this file{refused}"));
                }
                continue;
            }
            if sources.iter().any(|source| source.segment.number == named.number) {
                continue;
            }
            let sealed = segment.seal.map(|seal| seal.base_offset);
            sources.push(Source {
                segment: segment.clone(),
                base_offset: start.map(|start| start.base_offset).or(sealed),
                previous_end: start.map(|start| start.previous_end),
                cut: start.is_some_and(|start| start.cut),
                origin: start.is_some_and(|start| start.origin),
            });
        }
        sources.sort_by_key(|source| source.segment.number);
        Ok(sources)
    }

    /// Makes the new partition begin where its first segment does: with the snapshots that stand before it, or with one in
    /// their place, since the segments before the first are gone.
    fn begin(&mut self, first: Option<&Source>) -> Result<(), OpenError> {
        let Some(first) = first else {
            // Whatever there was of segments is lost; producers are not.
            let newest = self.snapshots.last().map(|snapshot| snapshot.header.segment);
            return newest.map_or(Ok(()), |number| self.write_snapshots_at(number));
        };
        let number = first.segment.number;
        if number == 1 {
            return Ok(());
        }
        // Behind a cut: that of the segment that was cut.
        let behind = self.snapshots.iter().map(|snapshot| &snapshot.header);
        let behind =
            behind.filter(|header| first.segment.cuts_at(header.end_position)).map(|header| header.segment).max();
        self.write_snapshots_at(behind.unwrap_or(number - 1))?;
        if behind.is_some() || self.snapshots.iter().any(|snapshot| snapshot.header.segment + 1 >= number) {
            return Ok(());
        }
        let header = SnapshotHeader {
            log: self.files.identity.log,
            partition: self.files.number,
            segment: number - 1,
            end_position: first.previous_end.unwrap_or(first.segment.header.base_position),
            end_offset: first.base_offset.unwrap_or(0),
        };
        let what = "segments before this one are gone, and no whole snapshot stands for their producers";
        self.lose(&first.segment.path, None, None, what);
        self.write_snapshot(&Replay::new(self.files.content()).into_snapshot(header))
    }

    fn write_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), OpenError> {
        write_durably(self.to, &file_name(snapshot.header.segment, SNAPSHOT), &snapshot.encode())?;
        self.summary.snapshots += 1;
        Ok(())
    }

    /// Writes the snapshot that stands at the end of the segment of that number, if there is one. Positions of batches that
    /// are lost are replaced by those of the batches before them.
    fn write_snapshots_at(&mut self, number: u64) -> Result<(), OpenError> {
        let Some(snapshot) = self.snapshots.iter().find(|snapshot| snapshot.header.segment == number) else {
            return Ok(());
        };
        let mut snapshot = snapshot.clone();
        if self.summary.segments > 0 {
            for entry in &mut snapshot.producers {
                let kept = self.kept.get(&entry.id.slot()).filter(|(id, ..)| *id == entry.id);
                entry.progress.last_position =
                    self.link(kept.copied(), entry.progress.last_position, entry.progress.expected);
            }
        }
        self.write_snapshot(&snapshot)
    }

    /// Where a link to a producer's batch at `position` leads, if what it leads to must be below `sequence`.
    fn link(&self, kept: Option<(ProducerId, u64, u64)>, position: u64, sequence: u64) -> u64 {
        match kept {
            _ if position == 0 => 0,
            Some((_, kept, _)) if kept == position => position,
            Some((_, kept, end)) if end <= sequence => kept,
            // Below what was kept of the log it is trimmed, as it was.
            None if self.start().is_some_and(|start| position < start) => position,
            _ => 0,
        }
    }

    /// Position at which the first segment begins.
    fn start(&self) -> Option<u64> {
        let named = self.files.used.iter().chain(&self.files.ready);
        named.filter_map(|named| named.segment.as_ref()).map(|segment| segment.header.base_position).min()
    }

    /// Writes segments in the place of those that are missing before `next`.
    fn bridge(&mut self, next: &Source) -> Result<(), OpenError> {
        let gap = self.before.filter(|before| before.number + 1 < next.segment.number && !next.cut);
        let Some(before) = gap else { return Ok(()) };
        let path = &next.segment.path;
        let count = next.segment.number - before.number - 1;
        let position = next.segment.header.base_position;
        let bytes = position.saturating_sub(before.end_of_file);
        let end_offset = next.base_offset.unwrap_or(before.offset).max(before.offset);
        let each = bytes / count / 4096 * 4096;
        let last = bytes - each * (count - 1);
        let possible = SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX;
        let units = usize::try_from(bytes / 8).unwrap_or(usize::MAX);
        if !NewSegment::has_room(units, end_offset - before.offset) {
            return Err(OpenError::Corrupt {
                path: path.clone(),
                at: SEGMENT_HEADER_BYTES as u64,
                reason: format!(
                    "offsets {} to {end_offset} are missing before it, and {bytes} bytes of positions have no room for them",
                    before.offset
                ),
            });
        }
        if !possible.contains(&each) || !possible.contains(&last) || !last.is_multiple_of(4096) {
            return Err(OpenError::Corrupt {
                path: path.clone(),
                at: 56,
                reason: format!("{count} segments are missing before it, and {bytes} bytes of positions are no such"),
            });
        }
        let what = format!("segments {} to {} are missing", before.number + 1, next.segment.number - 1);
        self.lose(path, Some((before.end_of_file, position)), Some((before.offset, end_offset)), what);
        let share = (end_offset - before.offset) / count;
        for index in 0..count {
            let Some(before) = self.before else { return Ok(()) };
            let is_last = index + 1 == count;
            let random = || sys::random_u64().map_err(io_at("draw a tag for", self.to));
            let header = SegmentHeader {
                number: before.number + 1,
                bytes: if is_last { last } else { each },
                base_position: before.end_of_file,
                tag: (random()? >> (64 - TAG_BITS)).max(1),
                salt: random()?,
                ..next.segment.header
            };
            let records = if is_last { end_offset - before.offset } else { share };
            let mut new = NewSegment::create(self.to, header)?;
            new.start(Start::following(before.offset, before.frames_end))?;
            let capacity = new.shape.capacity;
            let stop = next.previous_end.filter(|_| is_last).and_then(|end| end.checked_sub(header.base_position));
            let stop = stop.map_or(capacity, |stop| (stop / 8) as usize).clamp(NewSegment::first_unit(), capacity);
            new.void(NewSegment::first_unit(), stop, 0, records)?;
            new.padding(stop, capacity)?;
            let frames_end = new.shape.position(stop);
            self.seal(new, capacity, records, header.prepared_ms, before.offset, SealReason::Full, frames_end)?;
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a seal")]
    fn seal(
        &mut self,
        new: NewSegment,
        end: usize,
        records: u64,
        latest_ms: u64,
        base_offset: u64,
        reason: SealReason,
        frames_end: u64,
    ) -> Result<(), OpenError> {
        let seal = Seal {
            generation: 1,
            end_units: end as u64,
            records,
            base_offset,
            latest_ms,
            durable: new.shape.position(end),
            reason,
        };
        self.before = Some(Before {
            number: new.header.number,
            end_of_file: new.header.base_position + new.header.bytes,
            frames_end,
            offset: base_offset + records,
        });
        self.summary.segments += 1;
        new.seal(&seal)
    }

    /// Copies what is whole of a segment.
    fn segment(
        &mut self,
        source: &Source,
        next: Option<&Source>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), OpenError> {
        let Source { segment, .. } = source;
        let base_offset = source.base_offset.unwrap_or_else(|| self.before.map_or(0, |before| before.offset));
        if let Some(before) = self.before.filter(|before| before.offset != base_offset && !source.origin) {
            return Err(OpenError::Corrupt {
                path: segment.path.clone(),
                at: FIRST_UNIT as u64 * 8,
                reason: format!(
                    "it begins at offset {base_offset}, and what is kept before it ends at {}",
                    before.offset
                ),
            });
        }
        let opened = Frames::open(segment).map_err(io_at("open", &segment.path))?;
        let Some(mut frames) = opened else { return Ok(()) };
        // A damaged header may say another length; where the next file begins is known by its own.
        let follows = next.filter(|next| next.segment.number == segment.number + 1);
        let bytes = follows.map(|next| next.segment.header.base_position.wrapping_sub(segment.header.base_position));
        let possible = |bytes: &u64| (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(bytes);
        let bytes = bytes.filter(|bytes| segment.header_is_damaged && possible(bytes)).unwrap_or(segment.header.bytes);
        let mut new = NewSegment::create(self.to, SegmentHeader { bytes, ..segment.header })?;
        let capacity = new.shape.capacity;

        let previous_end = source.previous_end.or(self.before.map(|before| before.frames_end)).unwrap_or(0);
        new.start(Start { base_offset, previous_end, cut: source.cut, origin: source.origin })?;
        let mut unit = NewSegment::first_unit();
        if frames.start().is_none() {
            self.lose(&segment.path, None, None, "the START frame is damaged: written anew");
        }
        let (mut records, mut frames_end, mut latest_ms) = (0, unit, segment.header.prepared_ms);
        // Where its seal says that it ended; where that is lost, where a snapshot says so.
        let sealed = segment.seal.map(|seal| (seal.end_units as usize, seal.records)).or_else(|| {
            let stood = self.snapshots.iter().find(|snapshot| snapshot.header.segment == segment.number)?.header;
            let units = stood.end_position.checked_sub(segment.header.base_position)? / 8;
            Some((units as usize, stood.end_offset.checked_sub(base_offset)?))
        });
        let sealed = sealed.filter(|(units, _)| (unit..=capacity).contains(units));
        let limit = sealed.map_or(capacity, |(units, _)| units).min(segment.cut.unwrap_or(capacity));
        let mut told = 0;
        let mut is_whole = true;
        loop {
            let (reason, here) = match frames.at(unit) {
                Item::Padding(units) if unit < limit => {
                    new.padding(unit, unit + units)?;
                    unit += units;
                    continue;
                }
                Item::Frame(frame) if unit < limit && u64::from(frame.stored.offset_delta()) == records => {
                    let (units, stored, producer) = (frame.units, frame.stored, frame.producer);
                    let fence = (stored.kind() == Kind::Fence).then(|| control_words(frame.body)).flatten();
                    self.keep(&mut new, &mut frames, unit, units, producer)?;
                    if let Some(fence) = fence.map(Fence::from_words).filter(|fence| fence.restart) {
                        self.kept.remove(&fence.producer.slot());
                    }
                    if matches!(stored.kind(), Kind::Record | Kind::Batch) {
                        self.summary.records += u64::from(stored.records());
                    }
                    if let Some(producer) = producer.filter(|_| stored.kind() == Kind::Abort) {
                        // The producer goes on as it was before.
                        let Producer { id, previous_position, first_sequence, .. } = producer;
                        self.kept.insert(id.slot(), (id, previous_position, first_sequence));
                    } else if let Some(producer) = producer.filter(|_| !stored.kind().is_marker()) {
                        let end = producer.first_sequence.saturating_add(u64::from(stored.records()));
                        self.kept.insert(producer.id.slot(), (producer.id, new.shape.position(unit), end));
                    }
                    self.summary.frames += 1;
                    records += u64::from(stored.records());
                    if stored.records() > 0 {
                        latest_ms = latest_ms.max(new.shape.prepared_ms + u64::from(stored.time_delta()));
                    }
                    unit += units;
                    frames_end = unit;
                    if unit as u64 * 8 >= told + PROGRESS_STEP {
                        told = unit as u64 * 8;
                        progress(told);
                    }
                    continue;
                }
                _ if unit >= limit => break,
                Item::Broken(reason) => (reason, unit),
                _ => ("no frame is published here", unit),
            };
            // The next whole frame in this segment before which as many records as it says may have stood; what is missing
            // before it is filled.
            let mut from = here;
            let found = loop {
                let Some(next) = frames.next_frame(from, limit, records) else { break None };
                if let Item::Frame(frame) = frames.at(next) {
                    let delta = u64::from(frame.stored.offset_delta());
                    if NewSegment::has_room(next - unit, delta - records) {
                        break Some((next, delta));
                    }
                }
                from = next + 1;
            };
            let Some((next, delta)) = found else {
                let known = sealed.map(|(_, records)| records);
                let known = known.or_else(|| Some(follows?.base_offset?.saturating_sub(base_offset)));
                // Where its frames ended, where that is known: what is behind is padding.
                let end = limit;
                let stop = follows.and_then(|next| next.previous_end?.checked_sub(segment.header.base_position));
                let stop = stop.map_or(end, |stop| (stop / 8) as usize).clamp(unit, end);
                let lost = known.map(|total| total.saturating_sub(records));
                let Some(lost) = lost.filter(|lost| NewSegment::has_room(stop - unit, *lost)) else { break };
                if stop > unit || lost > 0 {
                    is_whole = false;
                    let positions = (new.shape.position(unit), new.shape.position(stop));
                    let offsets = (base_offset + records, base_offset + records + lost);
                    self.lose(&segment.path, Some(positions), Some(offsets), reason);
                    new.void(unit, stop, records, lost)?;
                    frames_end = stop;
                }
                new.padding(stop, end)?;
                records += lost;
                unit = end;
                break;
            };
            let positions = (new.shape.position(unit), new.shape.position(next));
            self.lose(&segment.path, Some(positions), Some((base_offset + records, base_offset + delta)), reason);
            new.void(unit, next, records, delta - records)?;
            is_whole = false;
            records = delta;
            unit = next;
        }
        let said = segment.seal.map(|seal| (seal.reason, seal.latest_ms));
        let reason = if unit == capacity { SealReason::Full } else { SealReason::Recovered };
        let (reason, sealed_ms) = said.unwrap_or((reason, 0));
        // The latest frame may be among those that are lost.
        let latest_ms = if is_whole { latest_ms.max(sealed_ms) } else { latest_ms };
        let frames_end = new.shape.position(frames_end);
        self.seal(new, unit, records, latest_ms, base_offset, reason, frames_end)
    }

    /// Copies a frame; a link of its to a lost one leads to the one before that.
    fn keep(
        &mut self,
        new: &mut NewSegment,
        frames: &mut Frames,
        unit: usize,
        units: usize,
        producer: Option<Producer>,
    ) -> Result<(), OpenError> {
        let mut bytes = frames.raw(unit, units).to_vec();
        if let Some(producer) = producer.filter(|producer| producer.previous_position != 0) {
            let kept = self.kept.get(&producer.id.slot()).filter(|(id, ..)| *id == producer.id).copied();
            let previous_position = self.link(kept, producer.previous_position, producer.first_sequence);
            if previous_position != producer.previous_position
                && let Item::Frame(frame) = frames.at(unit)
            {
                let (position, form) = (new.shape.position(unit), frame.stored.form());
                // What the frame's form can't reach is like what was trimmed.
                let previous_position = if form.reaches(position, previous_position) { previous_position } else { 0 };
                let part = Part::of(Producer { previous_position, ..producer }, form).words(position);
                let hash = if frame.stored.kind() == Kind::Void { 0 } else { xxh3_64(frame.body) };
                let sum = checksum(frame.stored.words(), &part, hash, position, new.shape.salt);
                let part = part_bytes(&part);
                bytes[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + part.len()].copy_from_slice(&part);
                bytes[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&sum.to_le_bytes());
            }
        }
        new.put(unit, &bytes)
    }

    /// Names what is not carried over behind the last segment.
    fn end(&mut self, sources: &[Source]) -> Result<(), OpenError> {
        let Some(last) = sources.last().map(|source| source.segment.number) else { return Ok(()) };
        let beyond: Vec<_> = self.files.snapshots.iter().filter(|(number, _)| *number > last).cloned().collect();
        for (number, path) in beyond {
            let what = format!("the snapshot stands behind segment {number}, which is gone, as are its records");
            self.lose(&path, None, None, what);
        }
        Ok(())
    }
}
