//! The records of a partition, in order, read beside whoever writes them.

use super::{
    Decided, ReadOnlyPartition,
    level::{Level, OnDevice},
    steps::Step,
};
use crate::{
    error::FetchError,
    format::{
        RECORD_LENGTH_BYTES,
        frame::{Kind, Producer, Stored, units_of},
    },
    ids::Stamp,
    isolation::Isolation,
    segment::tail::FIRST_UNIT,
    stored::{
        files::{PartitionFiles, StoredSegment},
        frames::{Frames, Item},
    },
};
use std::sync::Arc;

/// Reads the records of one partition in order, also those that a writer appends meanwhile.
///
/// Every frame's checksum is compared. In the mapped window it sees what is visible to the writer's own readers; in the
/// direct window, what the committer has written; in both, with [`Level::Durable`], only what survives a power cut.
///
/// It keeps a shared lock on the segment file that it stands in: the writer never uses such a file again, and what it
/// removes stays readable here to its end.
pub struct ReadOnlyReader {
    pub(super) files: Arc<PartitionFiles>,
    /// Opening for writing would refuse: what does not hold is damage, and not the end.
    pub(super) refused: bool,
    /// Segment and unit from where on opening for writing would drop everything.
    pub(super) cut: Option<(u64, usize)>,
    pub(super) place: Option<Place>,
    pub(super) next_offset: u64,
    batch: Option<Batch>,
    isolation: Isolation,
    decided: Decided,
    pub(super) level: Level,
    pub(super) on_device: Option<OnDevice>,
}

pub(super) struct Place {
    pub(super) segment: StoredSegment,
    pub(super) frames: Frames,
    pub(super) base_offset: u64,
    pub(super) unit: usize,
}

/// A batch that is being read.
#[derive(Clone, Copy)]
struct Batch {
    unit: usize,
    stored: Stored,
    producer: Option<Producer>,
    at: usize,
    index: u32,
}

/// A record as it is stored, copied from its file.
#[derive(Clone, Copy, Debug)]
pub struct StoredRecord<'a> {
    offset: u64,
    timestamp_ms: u64,
    producer: Option<Stamp>,
    position: u64,
    payload: &'a [u8],
}

impl<'a> StoredRecord<'a> {
    /// The record's number in its partition.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes that were appended.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// When the record was appended, in milliseconds since the Unix epoch by the engine's clock.
    #[must_use]
    pub const fn timestamp_ms(&self) -> u64 {
        self.timestamp_ms
    }

    /// Who appended the record, and with which sequence; none for a plain append.
    #[must_use]
    pub const fn producer(&self) -> Option<Stamp> {
        self.producer
    }

    /// Position of the frame that holds the record.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }
}

impl ReadOnlyPartition {
    /// A reader whose first record is the one at `offset`, or the next behind it where offsets were given up.
    ///
    /// # Errors
    /// [`FetchError::OutOfRange`] for an offset that was not kept when the log was opened, [`FetchError::Io`] for what the
    /// system refuses.
    pub fn read_from(&self, offset: u64) -> Result<ReadOnlyReader, FetchError> {
        let (start, end) = (self.start_offset(), self.end_offset());
        if offset < start || (offset > end && !self.is_refused()) {
            return Err(FetchError::OutOfRange { offset, start, end });
        }
        let mut reader = ReadOnlyReader {
            files: Arc::clone(&self.files),
            refused: self.is_refused(),
            cut: self.outlook.cut.filter(|_| !self.is_refused()),
            place: None,
            next_offset: start,
            batch: None,
            isolation: Isolation::default(),
            decided: self.decided.clone(),
            level: Level::default(),
            on_device: None,
        };
        // The last segment that begins at or before the offset; segments without a record share theirs with the next.
        let kept = self.outlook.kept.get(self.origin..).unwrap_or(&[]);
        let after = kept.partition_point(|kept| kept.base_offset <= offset);
        let base = after.checked_sub(1).and_then(|at| kept.get(at)).map(|kept| kept.base_offset);
        if let Some(kept) = kept.iter().find(|kept| Some(kept.base_offset) == base) {
            reader.enter(kept.segment.clone(), kept.base_offset)?;
            reader.next_offset = kept.base_offset;
        }
        while reader.next_offset < offset {
            let before = reader.next_offset;
            match reader.step()? {
                Step::Frame { stored, .. } if before + u64::from(stored.records()) <= offset => {
                    reader.pass(&stored);
                }
                Step::Frame { unit, stored, producer } => {
                    reader.begin(unit, stored, producer);
                    while reader.next_offset < offset && reader.record()?.is_some() {}
                }
                Step::Again => {}
                Step::End => break,
            }
        }
        Ok(reader)
    }
}

impl ReadOnlyReader {
    /// Offset that the next record has, or is behind.
    #[must_use]
    pub const fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// The next record, or none if there is none yet: asked again later, there may be.
    ///
    /// # Errors
    /// [`FetchError::Trimmed`] if the writer's retention overtook this reader, [`FetchError::Truncated`] if the writer has
    /// cut off what this reader has read, or comes to: it is told at the end of what was there, if not before.
    /// [`FetchError::Corrupt`] for damage: the reader stays before it, and [`ReadOnlyReader::skip_damage`] goes beyond.
    #[expect(clippy::should_implement_trait, reason = "a record borrows from its reader, which no iterator's item can")]
    pub fn next(&mut self) -> Result<Option<StoredRecord<'_>>, FetchError> {
        if let Some(Batch { stored, index, .. }) = self.batch.filter(|batch| self.hides(batch.producer.as_ref())) {
            // One that the reader was put into before it was told what to see.
            self.next_offset += u64::from(stored.records() - index);
            self.batch = None;
        }
        while self.batch.is_none_or(|batch| batch.index >= batch.stored.records()) {
            self.batch = None;
            if self.isolation == Isolation::ReadCommitted && self.next_offset >= self.decided.limit {
                return Ok(None);
            }
            match self.step()? {
                Step::Frame { stored, producer, .. } if self.hides(producer.as_ref()) => self.pass(&stored),
                Step::Frame { unit, stored, producer } => {
                    if self.level == Level::Durable {
                        self.wait_for_the_device(unit + units_of(stored.body_bytes() as usize, stored.form()))?;
                    }
                    self.begin(unit, stored, producer);
                }
                Step::Again => {}
                Step::End => return Ok(None),
            }
        }
        self.record()
    }

    /// Which records of transactions are seen from now on. [`Isolation::ReadCommitted`] goes by what was decided when the log
    /// was opened, and comes to no record behind that: for later ones it is to be opened again.
    pub const fn set_isolation(&mut self, isolation: Isolation) {
        self.isolation = isolation;
    }

    fn hides(&self, producer: Option<&Producer>) -> bool {
        self.isolation == Isolation::ReadCommitted
            && producer.is_some_and(|producer| {
                producer.transaction != 0 && self.decided.is_hidden(producer.id, producer.transaction)
            })
    }

    /// Moves behind damage, to the next frame that holds in this segment or a later one. Returns the offset that comes next
    /// then; none if nothing holds behind it, and the reader stays.
    ///
    /// # Errors
    /// [`FetchError::Io`] for what the system refuses.
    pub fn skip_damage(&mut self) -> Result<Option<u64>, FetchError> {
        self.batch = None;
        if let Some(place) = &mut self.place {
            let records = self.next_offset.saturating_sub(place.base_offset);
            let (from, limit) = (place.unit + 1, place.segment.limit());
            if let Some(unit) = place.frames.next_frame(from, limit, records)
                && let Item::Frame(frame) = place.frames.at(unit)
            {
                self.next_offset = place.base_offset + u64::from(frame.stored.offset_delta());
                place.unit = unit;
                return Ok(Some(self.next_offset));
            }
        }
        let number = self.place.as_ref().map_or(0, |place| place.segment.number);
        let named = self.files.used.iter().chain(&self.files.ready);
        let mut behind: Vec<StoredSegment> =
            named.filter(|named| named.number > number).filter_map(|named| named.segment.clone()).collect();
        behind.sort_by_key(|segment| segment.number);
        for segment in behind {
            let path = segment.path.clone();
            let frames = Frames::open(&segment).map_err(|source| FetchError::Io { path, source })?;
            let Some(mut frames) = frames else { continue };
            let start = frames.start().map(|start| start.base_offset);
            let Some(base_offset) = start.or_else(|| segment.seal.map(|seal| seal.base_offset)) else { continue };
            let Some(unit) = frames.next_frame(FIRST_UNIT, segment.limit(), 0) else { continue };
            let Item::Frame(frame) = frames.at(unit) else { continue };
            self.next_offset = base_offset + u64::from(frame.stored.offset_delta());
            self.place = Some(Place { segment, frames, base_offset, unit });
            return Ok(Some(self.next_offset));
        }
        Ok(None)
    }

    fn begin(&mut self, unit: usize, stored: Stored, producer: Option<Producer>) {
        self.pass(&stored);
        // Offsets come one by one as the records do.
        self.next_offset -= u64::from(stored.records());
        self.batch = Some(Batch { unit, stored, producer, at: 0, index: 0 });
    }

    /// Moves behind a frame.
    pub(super) fn pass(&mut self, stored: &Stored) {
        if let Some(place) = &mut self.place {
            place.unit += units_of(stored.body_bytes() as usize, stored.form());
        }
        self.next_offset += u64::from(stored.records());
    }

    /// The next record of the frame at hand.
    fn record(&mut self) -> Result<Option<StoredRecord<'_>>, FetchError> {
        let (Some(place), Some(batch)) = (&mut self.place, &mut self.batch) else { return Ok(None) };
        let Batch { unit, stored, producer, at, index } = *batch;
        let offset = place.base_offset + u64::from(stored.offset_delta()) + u64::from(index);
        let shape = *place.frames.shape();
        let body = place.frames.body(unit, &stored);
        let payload = match stored.kind() {
            Kind::Batch => body.get(at..).and_then(|rest| {
                let (length, rest) = rest.split_first_chunk::<RECORD_LENGTH_BYTES>()?;
                rest.get(..u32::from_le_bytes(*length) as usize)
            }),
            _ => Some(body),
        };
        let Some(payload) = payload else {
            let reason = "a batch holds fewer records than it says";
            return Err(FetchError::Corrupt { path: place.segment.path.clone(), at: unit as u64 * 8, offset, reason });
        };
        batch.at += RECORD_LENGTH_BYTES + payload.len();
        batch.index += 1;
        self.next_offset = offset + 1;
        Ok(Some(StoredRecord {
            offset,
            timestamp_ms: shape.prepared_ms + u64::from(stored.time_delta()),
            producer: producer.map(|producer| Stamp {
                producer: producer.id,
                epoch: producer.epoch,
                sequence: producer.first_sequence.wrapping_add(u64::from(index)),
            }),
            position: shape.position(unit),
            payload,
        }))
    }
}
