//! One pass over a partition's segments, in order: frames, the chain of segments, seals, marks.

use super::{
    FINDINGS_MAX, Finding, PartitionAudit, Registrations, Verdict,
    ahead::{Ahead, Checked},
    frame::fault_of,
    producers::Producers,
};
use crate::{
    format::frame::Kind,
    ids::ProducerId,
    names::Content,
    partition::ledger::{CommitEntry, LedgerReplay},
    segment::tail::{FIRST_UNIT, Place},
    stored::{
        files::{PartitionFiles, StoredSegment},
        frames::{Frames, Item, Scan, Stop},
        outlook::{Scans, outlook_with},
    },
};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes between two words of progress.
const PROGRESS_STEP: u64 = 8 << 20;

/// See the head of this file.
pub(super) struct Pass {
    pub(super) files: Arc<PartitionFiles>,
    pub(super) in_use: bool,
    pub(super) producers: Producers,
    pub(super) scans: Scans,
    pub(super) findings: Vec<Finding>,
    more: u64,
    /// Where the segment before has ended: its number, its file's end, its last frame's end, the offset that comes next.
    pub(super) before: Option<Before>,
    /// The furthest position that was said to be durable, and by what.
    pub(super) durable: Option<(u64, PathBuf, Option<u64>)>,
    pub(super) summary: PartitionAudit,
    pub(super) first_offset: Option<u64>,
    /// The partitions, by number, that the ledger's commits name, and the first of those.
    named: BTreeMap<u32, Naming>,
}

/// An entry of the ledger that names a partition.
struct Naming {
    path: PathBuf,
    offset: u64,
    producer: ProducerId,
    transaction: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Before {
    pub(super) number: u64,
    pub(super) end_of_file: u64,
    pub(super) frames_end: u64,
    /// The same, or the end of the padding behind it.
    pub(super) padding_end: u64,
    pub(super) offset: u64,
    /// Nothing was missing up to its end.
    pub(super) whole: bool,
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
pub(super) const UNJUDGED: Verdict = Verdict::TornTail;

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
            named: BTreeMap::new(),
        };
        for path in &files.strangers {
            pass.push(Finding::stranger(path, Some(&files.name)));
        }
        pass
    }

    pub(super) fn push(&mut self, finding: Finding) {
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
        if let Some(position) = self.producers.ledger().and_then(LedgerReplay::undecodable) {
            let holder = segments.iter().find(|segment| position < segment.end_of_file());
            let (path, at) = holder.map_or((&files.directory, None), |segment| {
                (&segment.path, position.checked_sub(segment.header.base_position))
            });
            let what = "no entry of the ledger that this build knows: opening refuses".to_owned();
            self.found(Verdict::Corrupt, path, Where { at, position: Some(position), offset: None }, what);
        }
        let outlook = outlook_with(&files, &self.scans);
        self.judge(&outlook);
        for commit in self.producers.ledger().into_iter().flat_map(LedgerReplay::commits) {
            let CommitEntry { offset, producer, transaction, parts, offsets } = commit;
            let numbers = parts.iter().map(|part| part.partition).chain(offsets.iter().map(|one| one.partition));
            for number in numbers {
                let holder = || outlook.kept.iter().rfind(|kept| kept.base_offset <= offset);
                let path = || holder().map_or_else(|| files.directory.clone(), |kept| kept.segment.path.clone());
                let naming = || Naming { path: path(), offset, producer, transaction };
                self.named.entry(number).or_insert_with(naming);
            }
        }
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
        if self.first_offset.is_none() || segment.is_origin() {
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

    pub(super) fn place(&self, segment: &StoredSegment, unit: usize, offset: Option<u64>) -> Where {
        Where { at: Some(unit as u64 * 8), position: Some(segment.shape.position(unit)), offset }
    }

    fn said_durable(&mut self, durable: u64, path: &Path, at: Option<u64>) {
        if self.durable.as_ref().is_none_or(|(most, ..)| *most < durable) {
            self.durable = Some((durable, path.to_owned(), at));
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
        if next.is_none() && sealed.is_none() && segment.cut.is_none() && stop == Stop::Nothing && !begun_behind {
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

    /// Compares the partitions that the ledger names with those that there are.
    pub(super) fn compare_with_partitions(&mut self, is_there: impl Fn(u32) -> bool) {
        let missing: Vec<_> =
            std::mem::take(&mut self.named).into_iter().filter(|(number, _)| !is_there(*number)).collect();
        for (number, Naming { path, offset, producer, transaction }) in missing {
            let what = format!(
                "the entry commits transaction {transaction} of producer {producer} in partition number {number}, which is \
                 not there"
            );
            self.found(Verdict::Corrupt, &path, Where { offset: Some(offset), ..Where::default() }, what);
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
