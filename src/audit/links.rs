//! The rest of a pass: segments against the ones before, seals against their frames, and how what was found is judged.

use super::{
    Finding, Verdict,
    partition::{Before, Pass, UNJUDGED, Where},
};
use crate::{
    format::control::Start,
    segment::tail::FIRST_UNIT,
    stored::{
        files::StoredSegment,
        frames::{Scan, Stop},
        outlook::Outlook,
    },
};
use std::path::Path;

impl Pass {
    /// Compares a segment's beginning with the end of the one before. Returns its base offset.
    pub(super) fn chain(&mut self, segment: &StoredSegment, start: Option<Start>) -> u64 {
        let sealed = segment.seal.map(|seal| seal.base_offset);
        let first = self.place(segment, FIRST_UNIT, sealed);
        if start.is_none() && segment.seal.is_some() {
            let what = "the segment does not begin with a START frame".to_owned();
            self.found(UNJUDGED, &segment.path, first, what);
        }
        let expected = self.before.map_or(0, |before| before.offset);
        let base_offset = start.map(|start| start.base_offset).or(sealed).unwrap_or(expected);
        let Some(before) = self.before else { return base_offset };
        if start.is_some_and(|start| start.cut) {
            return self.chain_of_a_cut(segment, base_offset, before, first);
        }
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

    /// The same for a segment that says that what stood before it was cut off.
    fn chain_of_a_cut(&mut self, segment: &StoredSegment, base_offset: u64, before: Before, first: Where) -> u64 {
        let ends = [before.frames_end, before.padding_end];
        if before.whole && !ends.iter().any(|end| segment.cuts_at(*end)) {
            let said = segment.start.map_or(0, |start| start.previous_end);
            let end = before.frames_end;
            let what = format!("the START frame says that the cut is at position {said}, and frames end at {end}");
            self.found(UNJUDGED, &segment.path, first, what);
            self.producers.doubt();
        }
        if before.offset != base_offset && !segment.is_origin() {
            let what =
                format!("it begins at offset {base_offset}, and the segment before it ends at {}", before.offset);
            self.found(UNJUDGED, &segment.path, first, what);
            self.producers.doubt();
        }
        base_offset
    }

    /// Compares a seal with the frames that it seals.
    pub(super) fn seal(&mut self, segment: &StoredSegment, scan: &Scan, base_offset: u64) {
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

    /// Judges what was found by what recovery would make of it: damage that it would take for a torn end is no corruption.
    pub(super) fn judge(&mut self, outlook: &Outlook) {
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
        // What was purged is there until its segments are dropped.
        let start = outlook.replay.kept().start.min(outlook.end_offset);
        self.first_offset = self.first_offset.map(|first| first.max(start));
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
}
