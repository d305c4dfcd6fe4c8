//! One pass over a partition's segments, in order: frames, the chain of segments, seals, marks.

use super::{
    FINDINGS_MAX, Finding, PartitionAudit, Registrations, Verdict,
    ahead::{Ahead, Checked},
    frame::fault_of,
    producers::Producers,
};
use crate::{
    format::{control::Start, frame::Kind},
    names::Content,
    segment::tail::{FIRST_UNIT, Place},
    stored::{
        files::{PartitionFiles, StoredSegment},
        frames::{Frames, Item, Scan, Stop},
        outlook::{Outlook, Scans, outlook_with},
    },
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes between two words of progress.
const PROGRESS_STEP: u64 = 8 << 20;

/// See the head of this file.
pub(super) struct Pass {
    files: Arc<PartitionFiles>,
    in_use: bool,
    producers: Producers,
    scans: Scans,
    findings: Vec<Finding>,
    more: u64,
    /// Where the segment before has ended: its number, its file's end, its last frame's end, the offset that comes next.
    before: Option<Before>,
    /// The furthest position that was said to be durable, and by what.
    durable: Option<(u64, PathBuf, Option<u64>)>,
    summary: PartitionAudit,
    first_offset: Option<u64>,
}

#[derive(Clone, Copy)]
struct Before {
    number: u64,
    end_of_file: u64,
    frames_end: u64,
    /// The same, or the end of the padding behind it.
    padding_end: u64,
    offset: u64,
    /// Nothing was missing up to its end.
    whole: bool,
}

/// A place that a finding is about.
#[derive(Clone, Copy, Default)]
pub(super) struct Where {
    pub(super) at: Option<u64>,
    pub(super) position: Option<u64>,
    pub(super) offset: Option<u64>,
}

/// What is behind the place where frames stop following each other.
enum Behind {
    /// Nothing, as it should be.
    End,
    /// Nothing, and something is missing.
    Lost,
    /// A whole frame.
    Frame(Place),
}

/// How findings of damage are judged once it is known where recovery would end the partition.
const UNJUDGED: Verdict = Verdict::TornTail;

impl Pass {
    pub(super) fn new(files: &Arc<PartitionFiles>, in_use: bool) -> Self {
        let mut pass = Self {
            files: Arc::clone(files),
            in_use,
            producers: Producers::new(files),
            scans: Scans::new(),
            findings: Vec::new(),
            more: 0,
            before: None,
            durable: None,
            summary: PartitionAudit {
                name: files.name.clone(),
                segments: 0,
                bytes: 0,
                frames: 0,
                records: 0,
                producers: 0,
                snapshots: 0,
                start_offset: 0,
                end_offset: 0,
                verdict: Verdict::Clean,
            },
            first_offset: None,
        };
        for path in &files.strangers {
            pass.push(Finding::stranger(path, Some(&files.name)));
        }
        pass
    }

    fn push(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }

    pub(super) fn found(&mut self, verdict: Verdict, path: &Path, place: Where, what: String) {
        let Where { at, position, offset } = place;
        let partition = Some(self.files.name.clone());
        self.push(Finding { verdict, partition, path: path.to_owned(), at, position, offset, what });
    }

    /// Goes over the segments, then over what recovery would make of them.
    pub(super) fn run(&mut self, progress: &mut dyn FnMut(u64)) {
        let files = Arc::clone(&self.files);
        for named in &files.used {
            if let Some(refused) = named.refused.as_ref().filter(|_| !named.headless) {
                let finding = Finding::of_error(refused, Some(&files.name));
                self.push(finding);
            }
        }
        let segments = self.begun();
        let first = segments.first().map(|segment| segment.number);
        self.producers.begin(&files, segments.first());
        let snapshots: Vec<_> = self.producers.take_faults();
        for (path, what) in snapshots {
            self.found(Verdict::Corrupt, &path, Where { at: Some(0), ..Where::default() }, what);
        }
        let mut done = 0;
        Ahead::over(&segments, files.content(), FINDINGS_MAX, |ahead| {
            for (index, segment) in segments.iter().enumerate() {
                self.segment(segment, ahead.take(index), &mut |bytes| progress(done + bytes));
                done += segment.length;
                self.producers.at_end_of(segment, &files, self.before.is_some_and(|before| before.whole));
                for (path, what) in self.producers.take_faults() {
                    self.found(Verdict::Corrupt, &path, Where::default(), what);
                }
                progress(done);
            }
        });
        let outlook = outlook_with(&files, &self.scans);
        self.judge(&outlook);
        if first.is_some() && !self.in_use {
            for (path, what) in self.producers.compare_with_recovery(&outlook) {
                self.found(Verdict::Corrupt, &path, Where::default(), what);
            }
        }
    }

    /// Segments that can be read, in order, without those that stand ready.
    fn begun(&self) -> Vec<StoredSegment> {
        let used = self.files.used.iter().filter_map(|named| named.segment.clone());
        let mut segments: Vec<StoredSegment> = used.collect();
        for named in &self.files.ready {
            let taken = segments.iter().any(|segment| segment.number == named.number);
            if let Some(segment) = named.segment.as_ref().filter(|_| !taken)
                && Frames::open(segment).ok().flatten().is_some_and(|mut frames| frames.start().is_some())
            {
                segments.push(segment.clone());
            }
        }
        segments.sort_by_key(|segment| segment.number);
        segments
    }

    fn segment(
        &mut self,
        segment: &StoredSegment,
        checked: io::Result<Option<Checked>>,
        progress: &mut dyn FnMut(u64),
    ) {
        let checked = match checked {
            Ok(Some(checked)) => checked,
            Ok(None) => {
                let what = "it was dropped or used again by the log's writer meanwhile".to_owned();
                self.found(Verdict::Clean, &segment.path, Where::default(), what);
                self.before = None;
                return;
            }
            Err(error) => {
                self.found(Verdict::Corrupt, &segment.path, Where::default(), format!("it cannot be opened: {error}"));
                return;
            }
        };
        self.summary.segments += 1;
        let base_offset = self.chain(segment, checked.start);
        if self.first_offset.is_none() {
            self.first_offset = Some(base_offset);
        }
        let (mut frames, mut ahead) = self.take(segment, checked, base_offset);
        let mut from = Place { records: 0, units: FIRST_UNIT };
        let mut whole = true;
        loop {
            let scan = match ahead.take() {
                Some(scan) => scan,
                None => self.scan(segment, &mut frames, from, base_offset, progress),
            };
            let stop = scan.stop;
            let last = scan.end;
            let frames_end = scan.frames_end;
            if from.units == FIRST_UNIT {
                if stop.is_none() {
                    self.seal(segment, &scan, base_offset);
                }
                self.scans.insert(segment.number, scan);
            }
            let offset = base_offset + last.records;
            self.before = Some(Before {
                number: segment.number,
                end_of_file: segment.end_of_file(),
                frames_end: segment.shape.position(frames_end),
                padding_end: segment.shape.position(last.units),
                offset,
                whole,
            });
            let Some(stop) = stop else { break };
            let next = match self.behind(segment, &mut frames, last, base_offset, stop) {
                Behind::End => break,
                Behind::Lost => {
                    whole = false;
                    break;
                }
                Behind::Frame(next) => next,
            };
            whole = false;
            self.producers.doubt();
            from = next;
        }
        if !whole {
            self.producers.doubt();
        }
        if let Some(before) = &mut self.before {
            before.whole = whole;
        }
        self.summary.bytes += frames.read;
        if let Some(seal) = segment.seal {
            self.said_durable(seal.durable, &segment.path, Some(seal.slot() as u64 + 48));
        } else if segment.seal_is_damaged {
            let at = crate::format::segment_header::SEAL_AT[0] as u64;
            let what = "the seal is damaged: its checksum does not agree".to_owned();
            self.found(Verdict::Corrupt, &segment.path, Where { at: Some(at), ..Where::default() }, what);
        }
    }

    /// Takes over what was found in a segment: its frames up to the first break.
    fn take(&mut self, segment: &StoredSegment, checked: Checked, base_offset: u64) -> (Frames, Option<Scan>) {
        self.summary.frames += checked.count;
        self.summary.records += checked.records;
        let mut faults = Vec::new();
        for (unit, follows, taken) in checked.told(base_offset) {
            if follows {
                self.producers.follow(&taken);
            } else if let Some(fault) = self.producers.take(&taken).filter(|_| faults.len() < FINDINGS_MAX) {
                faults.push((unit, taken.offset, fault));
            }
        }
        let Checked { frames, scan, faults: more, marks, .. } = checked;
        faults.extend(more.into_iter().map(|(unit, delta, fault)| (unit, base_offset + u64::from(delta), fault)));
        self.tell(segment, faults, marks);
        (frames, Some(scan))
    }

    fn tell(&mut self, segment: &StoredSegment, faults: Vec<(usize, u64, String)>, marks: Vec<(usize, u64)>) {
        for (unit, offset, fault) in faults {
            self.found(Verdict::Corrupt, &segment.path, self.place(segment, unit, Some(offset)), fault);
        }
        for (unit, durable) in marks {
            if durable > segment.shape.position(unit) {
                let what = format!("a MARK frame says that position {durable} was durable, which is behind it");
                self.found(Verdict::Corrupt, &segment.path, self.place(segment, unit, None), what);
            }
            self.said_durable(durable, &segment.path, Some(unit as u64 * 8));
        }
    }

    /// Scans frames that follow each other behind a break, and checks each one.
    fn scan(
        &mut self,
        segment: &StoredSegment,
        frames: &mut Frames,
        from: Place,
        base_offset: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Scan {
        let mut told = 0;
        let mut faults = Vec::new();
        let mut marks = Vec::new();
        let (summary, producers) = (&mut self.summary, &mut self.producers);
        let scan = frames.scan(from, segment.limit(), segment.seal.is_none(), |frame, shape| {
            summary.frames += 1;
            let taken = frame.taken(shape, base_offset);
            if matches!(taken.kind, Kind::Record | Kind::Batch) {
                summary.records += u64::from(taken.records);
            }
            let fault = producers.take(&taken).or_else(|| fault_of(frame));
            if let Some(fault) = fault.filter(|_| faults.len() < FINDINGS_MAX) {
                faults.push((frame.unit, base_offset + u64::from(frame.stored.offset_delta()), fault));
            }
            if let Some(durable) = frame.mark() {
                marks.push((frame.unit, durable));
            }
            let bytes = frame.unit as u64 * 8;
            if bytes >= told + PROGRESS_STEP {
                told = bytes;
                progress(bytes);
            }
        });
        self.tell(segment, faults, marks);
        scan
    }

    fn place(&self, segment: &StoredSegment, unit: usize, offset: Option<u64>) -> Where {
        Where { at: Some(unit as u64 * 8), position: Some(segment.shape.position(unit)), offset }
    }

    fn said_durable(&mut self, durable: u64, path: &Path, at: Option<u64>) {
        if self.durable.as_ref().is_none_or(|(most, ..)| *most < durable) {
            self.durable = Some((durable, path.to_owned(), at));
        }
    }

    /// Compares a segment's beginning with the end of the one before. Returns its base offset.
    fn chain(&mut self, segment: &StoredSegment, start: Option<Start>) -> u64 {
        let sealed = segment.seal.map(|seal| seal.base_offset);
        let first = self.place(segment, FIRST_UNIT, sealed);
        if start.is_none() && segment.seal.is_some() {
            let what = "the segment does not begin with a START frame".to_owned();
            self.found(UNJUDGED, &segment.path, first, what);
        }
        let expected = self.before.map_or(0, |before| before.offset);
        let base_offset = start.map(|start| start.base_offset).or(sealed).unwrap_or(expected);
        let Some(before) = self.before else { return base_offset };
        if before.number + 1 < segment.number {
            let missing = match before.number + 2 == segment.number {
                true => format!("segment {} is missing", before.number + 1),
                false => format!("segments {} to {} are missing", before.number + 1, segment.number - 1),
            };
            let lost = base_offset.saturating_sub(before.offset);
            let what = format!("{missing}: offsets {} to {base_offset} ({lost} records)", before.offset);
            let place = Where { offset: Some(before.offset), position: Some(before.end_of_file), at: None };
            self.found(UNJUDGED, &segment.path, place, what);
            self.producers.doubt();
            return base_offset;
        }
        if segment.header.base_position != before.end_of_file {
            let what = format!(
                "the header says that the file begins at position {}, and the file before it ends at {}",
                segment.header.base_position, before.end_of_file
            );
            self.found(Verdict::Corrupt, &segment.path, Where { at: Some(56), ..Where::default() }, what);
        }
        if before.offset != base_offset {
            let what =
                format!("it begins at offset {base_offset}, and the segment before it ends at {}", before.offset);
            self.found(UNJUDGED, &segment.path, first, what);
            self.producers.doubt();
        } else if let Some(start) = start.filter(|start| {
            // Recovery ends a partition whose last segment is full behind its padding.
            before.whole && ![before.frames_end, before.padding_end].contains(&start.previous_end)
        }) {
            let what = format!(
                "the START frame says that the segment before ends at position {}, and its frames end at {}",
                start.previous_end, before.frames_end
            );
            self.found(Verdict::Corrupt, &segment.path, first, what);
        }
        base_offset
    }

    /// Compares a seal with the frames that it seals.
    fn seal(&mut self, segment: &StoredSegment, scan: &Scan, base_offset: u64) {
        let Some(seal) = segment.seal else { return };
        let slot = seal.slot() as u64;
        let times = [scan.latest_record_ms, scan.latest_ms];
        let fields = [
            (8, "the end at unit", seal.end_units, scan.end.units as u64),
            (16, "records:", seal.records, scan.end.records),
            (24, "base offset", seal.base_offset, base_offset),
            (
                32,
                "latest time",
                seal.latest_ms,
                if times.contains(&seal.latest_ms) { seal.latest_ms } else { times[0] },
            ),
        ];
        for (at, name, sealed, found) in fields {
            if sealed != found {
                let place = Where { at: Some(slot + at), position: None, offset: Some(base_offset) };
                let what = format!("the seal says {name} {sealed}, and the frames say {found}");
                self.found(Verdict::Corrupt, &segment.path, place, what);
            }
        }
    }

    /// Tells of a break at `end`, and looks for a whole frame behind it.
    fn behind(
        &mut self,
        segment: &StoredSegment,
        frames: &mut Frames,
        end: Place,
        base_offset: u64,
        stop: Stop,
    ) -> Behind {
        let limit = segment.limit();
        let sealed = segment.seal;
        let from = if matches!(stop, Stop::Offset { .. }) { end.units } else { end.units + 1 };
        let next = frames.next_frame(from, limit, end.records).and_then(|unit| match frames.at(unit) {
            Item::Frame(frame) => Some(Place { units: unit, records: u64::from(frame.stored.offset_delta()) }),
            _ => None,
        });
        let offset = base_offset + end.records;
        let unreadable =
            frames.unreadable(end.units * 8, end.units * 8 + 8).map(|(at, error)| (*at, error.to_string()));
        let reason = match (&unreadable, stop) {
            (Some((at, error)), _) => format!("byte {at} cannot be read: {error}"),
            (None, Stop::Nothing) => "no frame is published here".to_owned(),
            (None, Stop::Broken(what)) => what.to_owned(),
            (None, Stop::Offset { found }) => format!("the frame here has offset {}", base_offset + found),
        };
        let place = self.place(segment, end.units, Some(offset));
        let (until, records) = match (next, sealed) {
            (Some(next), _) => (next.units, Some(next.records)),
            (None, Some(seal)) => (limit, Some(seal.records)),
            (None, None) => (limit, None),
        };
        let begun_behind = self.files.used.iter().any(|named| named.number > segment.number);
        // The end of an open segment: nothing is there, and nothing behind it.
        if next.is_none() && sealed.is_none() && stop == Stop::Nothing && !begun_behind {
            return Behind::End;
        }
        let bytes = (until - end.units) as u64 * 8;
        let lost = match records {
            Some(records) if records > end.records => format!("{} records are lost", records - end.records),
            Some(_) => "no record is lost".to_owned(),
            None => "it is not known how many records are lost".to_owned(),
        };
        // A writer that is at work here has frames that are claimed and not yet published.
        let verdict = if self.in_use && sealed.is_none() { Verdict::Clean } else { UNJUDGED };
        let position = segment.shape.position(until);
        let what = match next {
            Some(_) => format!("{reason}; frames go on {bytes} bytes on, at position {position}: {lost}"),
            None => format!("{reason}; nothing whole follows in this segment: {lost}"),
        };
        self.found(verdict, &segment.path, place, what);
        next.map_or(Behind::Lost, Behind::Frame)
    }

    /// Judges what was found by what recovery would make of it: damage that it would take for a torn end is no corruption.
    fn judge(&mut self, outlook: &Outlook) {
        for finding in &mut self.findings {
            if finding.verdict == UNJUDGED
                && (outlook.refused.is_some() || finding.position.is_some_and(|at| at < outlook.end_position))
            {
                finding.verdict = Verdict::Corrupt;
            }
        }
        if let Some(refused) = outlook.refused.as_ref().filter(|_| !self.in_use) {
            let finding = Finding::of_error(refused, Some(&self.files.name));
            let what = format!("opening for writing refuses: {}", finding.what);
            self.push(Finding { what, ..finding });
        } else if !self.in_use {
            for dropped in outlook.dropped.iter().filter(|dropped| dropped.bytes > 0) {
                let is_ready = dropped.reason.starts_with("prepared");
                let known = self.findings.iter().any(|finding| finding.path == dropped.path);
                if !is_ready && !known && !self.is_free(&dropped.path, dropped.at) {
                    let place = Where { at: Some(dropped.at), ..Where::default() };
                    let what = format!("opening for writing drops {} bytes: {}", dropped.bytes, dropped.reason);
                    self.found(Verdict::TornTail, &dropped.path.clone(), place, what);
                }
            }
        }
        if let Some((durable, path, at)) = self.durable.take()
            && durable > outlook.reach()
            && !self.in_use
        {
            let what = format!("position {durable} was durable, and the partition ends at {}", outlook.end_position);
            let place = Where { at, position: Some(durable), offset: Some(outlook.end_offset) };
            self.found(Verdict::Corrupt, &path, place, what);
        }
        self.summary.end_offset = outlook.end_offset;
    }

    /// Whether nothing was ever published in a segment from that byte on: its free space.
    fn is_free(&self, path: &Path, at: u64) -> bool {
        let named = self.files.used.iter().chain(&self.files.ready).find(|named| named.path == *path);
        let Some(segment) = named.and_then(|named| named.segment.as_ref()).filter(|segment| segment.seal.is_none())
        else {
            return false;
        };
        let scan = self.scans.get(&segment.number);
        at >= FIRST_UNIT as u64 * 8 && scan.is_some_and(|scan| scan.stop == Some(Stop::Nothing))
    }

    pub(super) fn content(&self) -> Content {
        self.files.content()
    }

    /// The registrations that a replay gives, if nothing of them is in doubt.
    pub(super) fn registrations(&self) -> Option<Registrations> {
        self.producers.registrations()
    }

    pub(super) fn compare_with_registrations(&mut self, registered: &Registrations) {
        let directory = self.files.directory.clone();
        for what in self.producers.unregistered(registered) {
            self.found(Verdict::Corrupt, &directory, Where::default(), what);
        }
    }

    pub(super) fn end(mut self) -> (PartitionAudit, Vec<Finding>, u64) {
        self.summary.start_offset = self.first_offset.unwrap_or(self.summary.end_offset);
        self.summary.producers = self.producers.count();
        self.summary.snapshots = self.producers.snapshots_agreed();
        self.summary.verdict = self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Clean);
        (self.summary, self.findings, self.more)
    }
}
