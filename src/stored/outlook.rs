//! What recovery would make of a partition: its steps, in the order of `partition/recovery.rs`, with nothing done.

use super::{
    files::{Named, PartitionFiles, StoredSegment},
    frames::{Frames, Scan},
};
use crate::{
    error::{OpenError, io_at},
    format::SEGMENT_HEADER_BYTES,
    partition::{ledger::LedgerReplay, replay::Replay, snapshots::read, unfinished::is_cut_off},
    segment::tail::{FIRST_UNIT, Place},
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A segment that recovery would keep.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) segment: StoredSegment,
    pub(crate) base_offset: u64,
}

/// Bytes that recovery would drop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// The file.
    pub path: PathBuf,
    /// The first byte of it.
    pub at: u64,
    /// How many, up to the end of the file.
    pub bytes: u64,
    /// Why.
    pub reason: String,
}

/// See the head of this file.
pub(crate) struct Outlook {
    pub(crate) kept: Vec<Kept>,
    /// Where the partition ends, as position and offset.
    pub(crate) end_position: u64,
    pub(crate) end_offset: u64,
    pub(crate) snapshot: Option<PathBuf>,
    pub(crate) scanned: u64,
    pub(crate) dropped: Vec<Dropped>,
    /// Segment and unit from where on opening drops what no live writer may still be about to publish.
    pub(crate) cut: Option<(u64, usize)>,
    pub(crate) refused: Option<Arc<OpenError>>,
    /// The furthest position that marks, seals and snapshots say was durable, as far as they were looked at.
    pub(crate) durable: u64,
    /// Producers; only those of what was scanned before a refusal.
    pub(crate) replay: Replay,
}

struct Begun {
    segments: Vec<StoredSegment>,
    headless: Vec<(u64, PathBuf, Arc<OpenError>)>,
}

fn corrupt(path: &Path, at: u64, reason: String) -> Arc<OpenError> {
    Arc::new(OpenError::Corrupt { path: path.to_owned(), at, reason })
}

/// The segment's START frame: its base offset.
fn base_offset(segment: &StoredSegment) -> Result<Option<u64>, Arc<OpenError>> {
    if let Some(seal) = segment.seal {
        return Ok(Some(seal.base_offset));
    }
    let mut frames = open(segment)?;
    Ok(frames.start().map(|start| start.base_offset))
}

fn open(segment: &StoredSegment) -> Result<Frames, Arc<OpenError>> {
    let removed = || std::io::Error::from(std::io::ErrorKind::NotFound);
    let frames = Frames::open(segment).and_then(|frames| frames.ok_or_else(removed));
    frames.map_err(|error| Arc::new(io_at("read", &segment.path)(error)))
}

/// As `begun_segments` of `partition/listing.rs`.
fn begun(files: &PartitionFiles, dropped: &mut Vec<Dropped>) -> Result<Begun, Arc<OpenError>> {
    let mut begun = Begun { segments: Vec::new(), headless: Vec::new() };
    let recoverable = |refused: &OpenError| matches!(refused, OpenError::Foreign { .. } | OpenError::Corrupt { .. });
    for Named { number, path, segment, refused, headless } in &files.used {
        match (refused, segment) {
            (Some(refused), _) if *headless && recoverable(refused) => {
                begun.headless.push((*number, path.clone(), Arc::clone(refused)));
            }
            (Some(refused), _) => return Err(Arc::clone(refused)),
            (None, Some(segment)) => begun.segments.push(segment.clone()),
            (None, None) => {}
        }
    }
    let mut last_begun = begun.segments.last().map_or(0, |segment| segment.number);
    let mut ready = Vec::new();
    for Named { number, path, segment, refused, headless } in &files.ready {
        if let Some(refused) = refused.as_ref().filter(|refused| !recoverable(refused)) {
            return Err(Arc::clone(refused));
        }
        let taken = files.used.iter().any(|used| used.number == *number);
        let whole = segment.as_ref().filter(|_| refused.is_none() && !taken);
        if let Some(segment) = whole
            && open(segment)?.start().is_some()
        {
            last_begun = last_begun.max(*number);
        }
        ready.push((*number, taken, path, segment, refused, *headless));
    }
    for (number, taken, path, segment, refused, headless) in ready {
        if taken || number > last_begun {
            dropped.push(Dropped {
                path: path.clone(),
                at: 0,
                bytes: segment.as_ref().map_or(0, |segment| segment.length),
                reason: "prepared and not begun".to_owned(),
            });
            continue;
        }
        match (refused, segment) {
            (Some(refused), _) if headless => begun.headless.push((number, path.clone(), Arc::clone(refused))),
            (Some(refused), _) => return Err(Arc::clone(refused)),
            (None, Some(segment)) => begun.segments.push(segment.clone()),
            (None, None) => {}
        }
    }
    begun.headless.sort_by_key(|(number, ..)| *number);
    begun.segments.sort_by_key(|segment| segment.number);
    for (before, after) in begun.segments.iter().zip(begun.segments.iter().skip(1)) {
        let torn_between = begun.headless.iter().any(|(number, ..)| *number == before.number + 1);
        if before.number + 1 != after.number && !torn_between && !after.is_behind_a_cut() {
            let reason = format!("segment {} is followed by segment {}", before.number, after.number);
            return Err(corrupt(&after.path, 0, reason));
        }
    }
    Ok(begun)
}

fn is_cut_off_name(number: u64, segments: &[StoredSegment]) -> bool {
    let behind = segments.partition_point(|segment| segment.number < number);
    let before = behind.checked_sub(1).and_then(|at| segments.get(at));
    let start = segments.get(behind).and_then(|next| next.start).filter(|start| start.cut);
    let before = before.map(|before| (before.header.base_position, before.end_of_file()));
    is_cut_off(before, start.map(|start| start.previous_end))
}

/// As `refuse_damage` of `partition/recovery.rs`.
fn refuse_damage(
    segment: &StoredSegment,
    unit: usize,
    behind: &[StoredSegment],
    position: u64,
    mut durable: u64,
) -> Result<(), Arc<OpenError>> {
    for (segment, from) in std::iter::once((segment, unit)).chain(behind.iter().map(|segment| (segment, FIRST_UNIT))) {
        durable = durable.max(segment.seal.map_or(0, |seal| seal.durable));
        durable = durable.max(open(segment)?.durable_behind(from));
    }
    if durable > position {
        let reason =
            format!("no valid frame here, at position {position}, and all up to position {durable} was durable");
        return Err(corrupt(&segment.path, unit as u64 * 8, reason));
    }
    Ok(())
}

/// Scans of segments from their first frame on, by number.
pub(crate) type Scans = HashMap<u64, Scan>;

/// What recovery would make of a partition.
pub(crate) fn outlook(files: &PartitionFiles) -> Outlook {
    outlook_with(files, &Scans::new())
}

/// The same, where segments were scanned already. What these hold is not in the producers then.
pub(crate) fn outlook_with(files: &PartitionFiles, scans: &Scans) -> Outlook {
    let mut outlook = Outlook {
        kept: Vec::new(),
        end_position: 0,
        end_offset: 0,
        snapshot: None,
        scanned: 0,
        dropped: Vec::new(),
        cut: None,
        refused: None,
        durable: 0,
        replay: Replay::new(files.content()),
    };
    if let Err(refused) = outlook.recover(files, scans) {
        outlook.refused = Some(refused);
    }
    outlook
}

impl Outlook {
    fn drop_from(&mut self, segment: &StoredSegment, at: u64, reason: &str) {
        let bytes = segment.length.saturating_sub(at);
        self.dropped.push(Dropped { path: segment.path.clone(), at, bytes, reason: reason.to_owned() });
    }

    fn recover(&mut self, files: &PartitionFiles, scans: &Scans) -> Result<(), Arc<OpenError>> {
        let Begun { segments, mut headless } = begun(files, &mut self.dropped)?;
        // As `take_cut_off` of `partition/unfinished.rs`.
        for (_, path, _) in headless.extract_if(.., |(number, ..)| is_cut_off_name(*number, &segments)) {
            self.dropped.push(Dropped { path, at: 0, bytes: 0, reason: "cut off".to_owned() });
        }
        let (covered, witnessed) = self.begin_with_a_snapshot(files, &segments);
        // A name without a header where the first segment should be.
        let torn_first = headless.iter().any(|(number, ..)| *number == covered + 1);
        let is_gone = |first: &&StoredSegment| first.number > covered + 1 && !torn_first;
        if let Some(first) = segments.first().filter(is_gone).filter(|first| !first.cuts_at(self.end_position)) {
            let reason = format!("segments before {} are gone, and no valid snapshot stands for them", first.number);
            return Err(corrupt(&first.path, 0, reason));
        }
        let mut before: Option<u64> = None;
        self.durable = self.end_position.max(witnessed);
        for segment in &segments {
            // Whoever cuts makes durable first what he keeps.
            let position = segment.start.filter(|start| start.cut).map_or(0, |start| start.previous_end);
            self.durable = self.durable.max(position);
        }
        for Named { path, segment, .. } in &files.cut_off {
            let bytes = segment.as_ref().map_or(0, |segment| segment.length);
            self.dropped.push(Dropped { path: path.clone(), at: 0, bytes, reason: "cut off".to_owned() });
        }
        let mut rest = segments.as_slice();
        while let Some((segment, behind)) = rest.split_first() {
            rest = behind;
            let follows = match before {
                Some(number) => number + 1 == segment.number || segment.cuts_at(self.end_position),
                None => !torn_first || segment.number <= covered + 1,
            };
            if !follows {
                refuse_damage(segment, FIRST_UNIT, behind, self.reach(), self.durable).map_err(|damage| {
                    let at = headless.iter().position(|(number, ..)| number + 1 == segment.number);
                    at.map_or(damage, |at| Arc::clone(&headless[at].2))
                })?;
                self.cut = Some(
                    self.kept.last().map_or((covered, 0), |kept| (kept.segment.number, kept.segment.shape.capacity)),
                );
                self.drop_all(segment, behind);
                break;
            }
            let Some(base_offset) = base_offset(segment)? else {
                refuse_damage(segment, FIRST_UNIT, behind, segment.shape.position(FIRST_UNIT), self.durable)?;
                self.drop_all(segment, behind);
                break;
            };
            if before.is_some() && self.end_offset != base_offset && !segment.is_origin() {
                let reason =
                    format!("it begins at offset {base_offset}, and the segment before it ends at {}", self.end_offset);
                return Err(corrupt(&segment.path, SEGMENT_HEADER_BYTES as u64, reason));
            }
            let is_covered = segment.number <= covered;
            if let Some(seal) = segment.seal.filter(|_| is_covered) {
                self.keep(segment, base_offset, Place { records: seal.records, units: seal.end_units as usize });
                before = Some(segment.number);
                continue;
            }
            let (end, marked) = match scans.get(&segment.number) {
                Some(scan) => (scan.end, scan.durable),
                None => self.scan(segment, base_offset, is_covered).map(|scan| (scan.end, scan.durable))?,
            };
            self.durable = self.durable.max(marked).max(segment.seal.map_or(0, |seal| seal.durable));
            let whole = match segment.seal {
                Some(seal) => end.units as u64 >= seal.end_units && end.records == seal.records,
                None => end.units == segment.limit(),
            };
            self.keep(segment, base_offset, end);
            before = Some(segment.number);
            if !whole {
                refuse_damage(segment, end.units, behind, segment.shape.position(end.units), self.durable)?;
                self.cut = segment.seal.map(|_| (segment.number, end.units));
                self.drop_from(segment, end.units as u64 * 8, "no whole frame follows");
                for segment in behind {
                    self.drop_from(segment, 0, "behind a segment that ended early");
                }
                rest = &[];
            }
        }
        let durable_end = self.kept.last().map_or(covered, |kept| kept.segment.number);
        let reached = self.reach();
        for (number, path, refused) in headless.drain(..).rev() {
            if number <= durable_end || self.durable > reached {
                return Err(refused);
            }
            self.dropped.push(Dropped { path, at: 0, bytes: 0, reason: "a name without a header".to_owned() });
        }
        if self.durable > reached {
            let (end, durable) = (self.end_position, self.durable);
            let reason = format!("the segments end at position {end}, and all up to position {durable} was durable");
            return Err(corrupt(&files.directory, 0, reason));
        }
        match self.replay.ledger().and_then(LedgerReplay::undecodable) {
            Some(position) => Err(self.undecodable(files, position)),
            None => Ok(()),
        }
    }

    /// As in `partition/recovery.rs`: a record of the ledger that this build can't read.
    fn undecodable(&self, files: &PartitionFiles, position: u64) -> Arc<OpenError> {
        let reason = format!("no entry of the ledger that this build knows, at position {position}");
        match self.kept.iter().map(|kept| &kept.segment).find(|segment| position < segment.end_of_file()) {
            Some(segment) => corrupt(&segment.path, position - segment.header.base_position, reason),
            None => corrupt(&files.directory, position, reason),
        }
    }

    /// As `reach` of `partition/recovery.rs`.
    pub(crate) fn reach(&self) -> u64 {
        let behind =
            self.kept.last().map_or(self.end_position.next_multiple_of(4096), |kept| kept.segment.end_of_file());
        behind + SEGMENT_HEADER_BYTES as u64
    }

    fn drop_all(&mut self, segment: &StoredSegment, behind: &[StoredSegment]) {
        self.drop_from(segment, 0, "not begun by a whole frame, or behind what was not");
        for segment in behind {
            self.drop_from(segment, 0, "behind a segment that was not begun");
        }
    }

    fn keep(&mut self, segment: &StoredSegment, base_offset: u64, end: Place) {
        self.end_position = segment.shape.position(end.units);
        self.end_offset = base_offset + end.records;
        self.kept.push(Kept { segment: segment.clone(), base_offset });
    }

    fn scan(&mut self, segment: &StoredSegment, base_offset: u64, is_covered: bool) -> Result<Scan, Arc<OpenError>> {
        let mut frames = open(segment)?;
        let is_open = segment.seal.is_none();
        // What the snapshot stands for already is not applied once more.
        let mut replay = (!is_covered).then_some(&mut self.replay);
        let from = Place { records: 0, units: FIRST_UNIT };
        let scan = frames.scan(from, segment.limit(), is_open, |frame, shape| {
            if let Some(replay) = &mut replay {
                replay.take(&frame.taken(shape, base_offset));
            }
        });
        self.scanned += frames.read;
        Ok(scan)
    }

    /// As `usable_snapshot` of `partition/recovery.rs`: the segment that it stands behind, and the furthest position that
    /// any snapshot says was durable.
    fn begin_with_a_snapshot(&mut self, files: &PartitionFiles, segments: &[StoredSegment]) -> (u64, u64) {
        let first = segments.first().map(|segment| segment.number);
        let mut covered = None;
        let mut durable = 0;
        for (number, path) in files.snapshots.iter().rev() {
            let Ok(snapshot) = read(path, files.identity.log, files.number) else { continue };
            let header = snapshot.header;
            durable = durable.max(header.end_position);
            let stands = header.segment == *number
                && match (first, segments.iter().find(|segment| segment.number == *number)) {
                    (_, Some(segment)) => segment
                        .seal
                        .is_some_and(|seal| segment.shape.position(seal.end_units as usize) == header.end_position),
                    (Some(number), None) => {
                        let cuts = segments.first().is_some_and(|first| first.cuts_at(header.end_position));
                        covered.is_some() || header.segment + 1 == number || cuts
                    }
                    (None, None) => true,
                };
            if stands && covered.is_none() {
                covered = Some(*number);
                self.snapshot = Some(path.clone());
                (self.end_position, self.end_offset) = (header.end_position, header.end_offset);
                self.replay = Replay::from_snapshot(&snapshot, files.content());
            }
        }
        (covered.unwrap_or(0), durable)
    }
}
