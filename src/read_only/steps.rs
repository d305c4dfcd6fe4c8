//! How a reader moves: from frame to frame, and from one segment file to the next, while they are sealed, dropped or cut off.

use super::reader::{Place, ReadOnlyReader};
use crate::{
    error::{FetchError, OpenError},
    format::frame::{Kind, Producer, Stored},
    segment::tail::FIRST_UNIT,
    stored::{
        files::{LogFiles, PartitionFiles, StoredSegment},
        frames::{Frames, Item},
    },
};
use std::{io, path::PathBuf, sync::Arc};

/// How often a frame that does not hold is read again before it counts as broken.
const LOOKS: u32 = 20;

/// What the reader stands at.
pub(super) enum Step {
    /// A frame with records.
    Frame { unit: usize, stored: Stored, producer: Option<Producer> },
    /// Passed over.
    Again,
    /// Nothing there yet.
    End,
}

impl ReadOnlyReader {
    pub(super) fn enter(&mut self, segment: StoredSegment, base_offset: u64) -> Result<(), FetchError> {
        let opened = Frames::open(&segment);
        let path = segment.path.clone();
        match opened.map_err(|source| FetchError::Io { path, source })? {
            Some(frames) => {
                self.place = Some(Place { segment, frames, base_offset, unit: FIRST_UNIT });
                Ok(())
            }
            None => Err(self.trimmed()?),
        }
    }

    /// Lists the partition's files again.
    fn list(&mut self) -> Result<(), FetchError> {
        let io = |error: OpenError| match error {
            OpenError::Io { path, source, .. } => FetchError::Io { path, source },
            other => FetchError::Io { path: PathBuf::new(), source: io::Error::other(other.to_string()) },
        };
        let log = LogFiles {
            directory: self.files.directory.join("../..").components().collect(),
            identity: self.files.identity,
            partitions: Vec::new(),
            faults: Vec::new(),
            strangers: Vec::new(),
        };
        let files = PartitionFiles::list(&log, self.files.number, &self.files.name).map_err(io)?;
        self.files = Arc::new(files);
        Ok(())
    }

    fn trimmed(&mut self) -> Result<FetchError, FetchError> {
        self.list()?;
        let first = self.files.used.iter().find_map(|named| named.segment.as_ref()).cloned();
        let start = match first {
            Some(first) => base_offset_of(&first)?.unwrap_or(self.next_offset),
            None => self.next_offset,
        };
        Ok(FetchError::Trimmed { offset: self.next_offset, start })
    }

    /// Looks at what comes next and moves over all that is no frame with records.
    pub(super) fn step(&mut self) -> Result<Step, FetchError> {
        let mut looks = LOOKS;
        loop {
            let is_cut = |(number, unit)| match &self.place {
                Some(place) => (place.segment.number, place.unit) >= (number, unit),
                None => unit == 0,
            };
            if self.cut.is_some_and(is_cut) {
                return Ok(Step::End);
            }
            let Some(place) = &mut self.place else {
                return if self.next_segment()? { Ok(Step::Again) } else { Ok(Step::End) };
            };
            if place.unit >= place.segment.limit() {
                return if self.next_segment()? { Ok(Step::Again) } else { Ok(Step::End) };
            }
            let reason = match place.frames.at(place.unit) {
                Item::Frame(frame) => {
                    let offset = place.base_offset + u64::from(frame.stored.offset_delta());
                    let (unit, stored, producer) = (frame.unit, frame.stored, frame.producer);
                    if stored.records() > 0 && offset != self.next_offset {
                        "records are missing before this frame"
                    } else if matches!(stored.kind(), Kind::Record | Kind::Batch) {
                        return Ok(Step::Frame { unit, stored, producer });
                    } else {
                        self.pass(&stored);
                        return Ok(Step::Again);
                    }
                }
                Item::Padding(units) => {
                    place.unit += units;
                    return Ok(Step::Again);
                }
                Item::Nothing if looks == 0 && place.segment.seal.is_none() && !self.refused => {
                    return Ok(Step::End);
                }
                Item::Nothing => "a published frame was expected here",
                Item::Broken(reason) => reason,
            };
            if looks > 0 && place.segment.seal.is_none() {
                // Read ahead of what was published since; or sealed since.
                looks = if reason == "a published frame was expected here" { 0 } else { looks - 1 };
                place.frames.forget();
                self.look_for_a_seal()?;
                continue;
            }
            let (path, at) = (place.segment.path.clone(), place.unit as u64 * 8);
            let is_end = place.segment.seal.is_none() && !self.refused;
            return if is_end {
                Ok(Step::End)
            } else {
                Err(FetchError::Corrupt { path, at, offset: self.next_offset, reason })
            };
        }
    }

    /// Notices that the open segment at hand was sealed since it was entered, dropped, or cut off.
    fn look_for_a_seal(&mut self) -> Result<(), FetchError> {
        let Some(place) = &self.place else { return Ok(()) };
        if let Some(sealed) = StoredSegment::again(&place.segment, &self.files.identity, self.files.number) {
            if let Some(place) = &mut self.place {
                place.segment = sealed;
            }
            return Ok(());
        }
        self.list()?;
        let Some(place) = &mut self.place else { return Ok(()) };
        let number = place.segment.number;
        let is_dropped = self.files.used.iter().chain(&self.files.ready).all(|named| named.number > number);
        place.frames.forget();
        // What retention drops was sealed: it is read on to the last frame that is there now. Of what was cut off, nothing
        // more is read.
        if !is_dropped || matches!(place.frames.at(place.unit), Item::Nothing | Item::Broken(_)) {
            place.segment.cut = Some(place.unit);
        }
        Ok(())
    }

    /// Steps to the segment behind the one that is read to its end. Whether there is one with frames.
    fn next_segment(&mut self) -> Result<bool, FetchError> {
        let number = self.place.as_ref().map(|place| place.segment.number);
        let wanted = |found: u64| number.is_none_or(|number| found == number + 1);
        for listed in [false, true] {
            if listed {
                self.list()?;
            }
            let files = &self.files;
            // One that stands ready and is not whole was never begun: opening removes it.
            let ready = || files.ready.iter().filter(|named| named.refused.is_none());
            let all = || files.used.iter().chain(ready()).filter_map(|named| named.segment.as_ref());
            let first = all().filter(|segment| wanted(segment.number)).min_by_key(|segment| segment.number).cloned();
            // Segments without a record may have been dropped behind this reader.
            let later = number.and_then(|number| {
                all().map(|segment| segment.number).min().filter(|first| *first > number + 1)?;
                all().min_by_key(|segment| segment.number).cloned()
            });
            let cutting = all().filter(|segment| number.is_some_and(|number| segment.number > number));
            let cutting = cutting.min_by_key(|segment| segment.number).filter(|next| next.is_behind_a_cut()).cloned();
            let Some(next) = first.or(cutting).or(later) else { continue };
            let Some(base_offset) = base_offset_of(&next)? else { continue };
            if base_offset < self.next_offset && number.is_some() && !listed {
                // When it was listed it stood ready, and nothing said yet that it begins behind a cut.
                continue;
            }
            if let (Some(start), Some(place)) = (next.start.filter(|start| start.cut), &self.place)
                && base_offset < self.next_offset
                && start.previous_end < place.segment.shape.position(place.unit)
            {
                return Err(FetchError::Truncated { offset: self.next_offset, end: base_offset });
            }
            if base_offset > self.next_offset && (listed || number.is_none()) {
                return Err(FetchError::Trimmed { offset: self.next_offset, start: base_offset });
            }
            if base_offset <= self.next_offset {
                self.enter(next, base_offset)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn base_offset_of(segment: &StoredSegment) -> Result<Option<u64>, FetchError> {
    if let Some(seal) = segment.seal {
        return Ok(Some(seal.base_offset));
    }
    let frames = Frames::open(segment).map_err(|source| FetchError::Io { path: segment.path.clone(), source })?;
    Ok(frames.and_then(|mut frames| frames.start()).map(|start| start.base_offset))
}
