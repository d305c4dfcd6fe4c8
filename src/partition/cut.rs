//! Cutting a suffix off: where, what it tells that must be said again behind the place, and how far producers had come there.
//!
//! ```text
//!         kept                 cut off                 the segment that follows
//! |--F0--|--F1--|--F2--|  |--F3--|M|--F4--|      |START|F2'|M'|--F5--|
//!               ^ the place                       says: the frames before end at the place
//! ```
//!
//! Nothing is overwritten, and no file is cut short: the START frame of a new segment says where the frames before it end,
//! and once it is durable the cut is made, whatever is left to be done. A batch that is cut in the middle (F2) is cut off
//! whole, and what is kept of it is written again behind the START frame (F2'), before that frame is.

use super::state::{Kept, PartitionState};
use crate::{
    error::FetchError,
    format::{
        RECORD_LENGTH_BYTES,
        batch::Records,
        control::{Fence, Purge},
        frame::{Form, Header, Kind, Part, Producer, units_of},
    },
    ids::{ProducerId, Progress},
    partition::{chain::Located, replay::control_words},
    segment::{
        file::Segment,
        scan::{Found, Frame, find},
        tail::{self, Tail},
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};
use xxhash_rust::xxh3::xxh3_64;

/// Where a cut is made.
pub(crate) struct Place {
    /// The last segment of which anything stays.
    pub(crate) kept: Arc<Segment>,
    /// Where its frames end then.
    pub(crate) end: tail::Place,
    /// Time of the latest record up to there.
    pub(crate) latest_ms: u64,
    /// What is kept of the frame that stands there.
    pub(crate) partial: Option<Again>,
}

/// A frame that is written behind the place, since one like it was cut off.
pub(crate) struct Again {
    pub(crate) kind: Kind,
    pub(crate) records: u32,
    pub(crate) producer: Option<Producer>,
    pub(crate) body: Vec<u8>,
    pub(crate) at_ms: u64,
}

/// What a suffix tells of what is before it.
#[derive(Default)]
pub(crate) struct Told {
    /// Producers whose numbering has started again in it.
    restarts: BTreeMap<u64, Fence>,
    /// Markers of transactions with records before it.
    markers: Vec<(Kind, Producer)>,
}

impl Place {
    /// Position behind the last frame that is kept as it stands.
    pub(crate) fn position(&self) -> u64 {
        self.kept.shape().position(self.end.units)
    }

    /// Offset behind the last record that is.
    pub(crate) fn offset(&self) -> u64 {
        self.kept.base_offset().unwrap_or(0) + self.end.records
    }

    /// Whether the segment already ends there.
    pub(crate) fn is_sealed(&self) -> bool {
        self.kept.seal().is_some_and(|seal| seal.end_units == self.end.units as u64)
    }
}

impl Again {
    fn form(&self) -> Form {
        if self.producer.is_some() { Form::Far } else { Form::Plain }
    }

    /// A frame without offsets.
    pub(crate) fn control(kind: Kind, producer: Option<Producer>, body: Vec<u8>) -> Self {
        Self { kind, records: 0, producer, body, at_ms: 0 }
    }

    pub(crate) fn units(&self) -> usize {
        units_of(self.body.len(), self.form())
    }

    /// Appends the frame to a segment that nobody else appends to yet. Its position; none if there is no room.
    pub(crate) fn write(&self, tail: &Tail, now_ms: u64) -> Option<u64> {
        let mut reservation = tail.claim(self.records, self.units())?;
        let unit = reservation.place.units;
        let header = Header {
            body_bytes: self.body.len() as u32,
            kind: self.kind,
            records: self.records,
            offset_delta: reservation.place.records as u32,
            time_delta: tail.time_delta(if self.at_ms == 0 { now_ms } else { self.at_ms }),
            part: self.producer.map_or(Part::None, Part::Far),
        };
        let hash = if self.kind == Kind::Void { 0 } else { xxh3_64(&self.body) };
        reservation.claim.write(self.form().header_bytes(), &self.body);
        tail.publish(reservation.claim, unit, &header, hash);
        Some(tail.shape().position(unit))
    }
}

/// The first `records` records of a frame.
fn head_of(segment: &Segment, window: &crate::raw::window::Window, frame: &Frame, records: u32) -> Again {
    let body = match frame.stored.kind() {
        Kind::Batch => {
            let body = segment.body(window, frame);
            let bytes: usize =
                Records::new(body).take(records as usize).map(|one| one.len() + RECORD_LENGTH_BYTES).sum();
            body.get(..bytes).unwrap_or(&[]).to_vec()
        }
        // One that was given up holds nothing.
        _ => Vec::new(),
    };
    let at_ms = segment.shape().prepared_ms + u64::from(frame.stored.time_delta());
    let producer = frame.producer(window, segment.shape());
    Again { kind: frame.stored.kind(), records, producer, body, at_ms }
}

impl PartitionState {
    /// Where a cut is made for the record at `from` to be the first that is gone. None if there is no segment.
    pub(crate) fn place_of_cut(&self, from: u64) -> io::Result<Option<Place>> {
        let Some(segment) = self.chain.segment_with_offset(from) else { return Ok(None) };
        let record = from - segment.base_offset().unwrap_or(from);
        let mut latest = 0;
        let mut end = segment.seek(|index| {
            let floor = index.floor_record(record);
            latest = index.latest_before(record);
            floor
        })?;
        let (window, shape) = (segment.window()?, *segment.shape());
        let mut partial = None;
        while end.units < segment.limit() {
            let Found::Frame(frame) = find(&window, &shape, end.units) else { break };
            let records = u64::from(frame.stored.records());
            if records > 0 && end.records + records > record {
                let head = (record - end.records) as u32;
                partial = (head > 0).then(|| head_of(&segment, &window, &frame, head));
                break;
            }
            if records > 0 {
                latest = latest.max(frame.stored.time_delta());
            }
            end.units += frame.units;
            end.records += records;
        }
        let begins = end.records == 0 && end.units <= tail::Place::FIRST.units && partial.is_none();
        if begins && let Some(before) = self.chain.before(segment.number()) {
            let (end, latest_ms) = (before.visible()?, before.latest_ms()?);
            return Ok(Some(Place { kept: before, end, latest_ms, partial }));
        }
        let latest_ms = shape.prepared_ms + u64::from(latest);
        Ok(Some(Place { kept: segment, end, latest_ms, partial }))
    }

    /// Reads what a cut at that place would cut off.
    pub(crate) fn told_behind(&self, place: &Place) -> io::Result<Told> {
        let mut told = Told::default();
        // First frame in the suffix of each transaction: its sequence, and the batch before it.
        let mut begun: HashMap<(u64, u64), (u64, u64)> = HashMap::new();
        let position = place.position();
        for segment in self.chain.begun().iter().filter(|segment| segment.number() >= place.kept.number()) {
            let (window, shape) = (segment.window()?, *segment.shape());
            let mut unit = if segment.number() == place.kept.number() { place.end.units } else { tail::FIRST_UNIT };
            while unit < segment.limit() {
                let frame = match find(&window, &shape, unit) {
                    Found::Frame(frame) => frame,
                    Found::Padding { units } => {
                        unit += units;
                        continue;
                    }
                    Found::Nothing | Found::Invalid => break,
                };
                unit += frame.units;
                if place.partial.is_some() && frame.position(&shape) == position {
                    continue;
                }
                match frame.stored.kind() {
                    Kind::Fence => {
                        let fence = control_words(segment.body(&window, &frame)).map(Fence::from_words);
                        if let Some(fence) = fence.filter(|fence| fence.restart) {
                            told.restarts.insert(fence.producer.get(), fence);
                        }
                    }
                    Kind::Record | Kind::Batch if frame.stored.form() == Form::Far => {
                        if let Some(part) = frame.producer(&window, &shape).filter(|part| part.transaction != 0) {
                            let key = (part.id.get(), part.transaction);
                            begun.entry(key).or_insert((part.first_sequence, part.previous_position));
                        }
                    }
                    kind @ (Kind::Commit | Kind::Abort) => {
                        let Some(part) = frame.producer(&window, &shape) else { continue };
                        let reaches_back = match (kind, begun.get(&(part.id.get(), part.transaction))) {
                            (_, None) => true,
                            (Kind::Abort, Some((sequence, _))) => *sequence > part.first_sequence,
                            // Of this transaction or of an earlier one: a marker more is of no harm.
                            (_, Some((_, before))) => *before != 0 && *before <= position,
                        };
                        if reaches_back {
                            told.markers.push((kind, part));
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(told)
    }

    /// The frames to be written behind a cut, in their order: what is kept of a frame, what the embedder keeps, where the log
    /// starts, whose numbering has started again, how transactions ended.
    pub(crate) fn said_again(&self, place: &mut Place, told: &Told, kept: &Kept, keeps_start: bool) -> Vec<Again> {
        let position = place.position();
        let mut again: Vec<Again> = place.partial.take().into_iter().collect();
        if let Some(metadata) = kept.metadata.as_ref().filter(|_| kept.metadata_position >= position) {
            again.push(Again::control(Kind::Metadata, None, metadata.to_vec()));
        }
        if kept.purge_position >= position && keeps_start {
            let words = Purge { start: self.chain.start_offset() }.words();
            again.push(Again::control(Kind::Purge, None, words.map(u64::to_le_bytes).as_flattened().to_vec()));
        }
        for fence in told.restarts.values() {
            again.push(Again::control(Kind::Fence, None, fence.words().map(u64::to_le_bytes).as_flattened().to_vec()));
        }
        for (kind, producer) in &told.markers {
            again.push(Again::control(*kind, Some(*producer), Vec::new()));
        }
        again
    }

    /// How far a producer had come at a place, from how far it has come now. `again` is where the frame at the place is
    /// written again, and how many of its records.
    pub(crate) fn progress_at(
        &self,
        id: ProducerId,
        progress: Progress,
        position: u64,
        again: Option<(u64, u32)>,
    ) -> Result<Progress, FetchError> {
        let mut at = progress;
        while at.last_position >= position && at.last_position != 0 {
            let found = self.published_at(at.last_position)?;
            let stored = match &found {
                Some(Located { segment, frame, .. }) => {
                    let window = segment.window().map_err(|source| FetchError::Io { path: segment.path(), source })?;
                    frame.producer(&window, segment.shape()).filter(|stored| stored.id == id)
                }
                None => None,
            };
            let Some(stored) = stored else {
                let (path, offset) = (self.directory.clone(), self.chain.start_offset());
                let reason = "a producer's batch was expected here";
                return Err(FetchError::Corrupt { path, at: at.last_position, offset, reason });
            };
            if let Some((again, records)) = again.filter(|_| at.last_position == position) {
                let expected = stored.first_sequence + u64::from(records);
                return Ok(Progress { expected, last_position: again, ..at });
            }
            at = Progress { expected: stored.first_sequence, last_position: stored.previous_position, ..at };
        }
        if at.last_position == 0 {
            // Nothing of it is left.
            at.last_ms = 0;
        } else if at != progress
            && let Some(Located { segment, frame, .. }) = self.published_at(at.last_position)?
        {
            at.last_ms = segment.shape().prepared_ms + u64::from(frame.stored.time_delta());
        }
        Ok(at)
    }
}
