//! The frames of a partition in order, with what is damaged between them.

use crate::{
    format::{
        control::{Fence, Mark, Purge, Start},
        frame::Kind,
        ledger::LedgerEntry,
        registration::RegistrationEntry,
    },
    ids::{Mode, ProducerId, Stamp},
    names::Content,
    partition::replay::control_words,
    segment::tail::FIRST_UNIT,
    stored::{
        files::{PartitionFiles, StoredSegment},
        frames::{Frames, Item, StoredFrame},
    },
};
use std::{io, path::PathBuf, sync::Arc};

/// How often an unpublished place of an open segment is read again: a writer may just be about to publish it.
const LOOKS: u32 = 3;

/// A frame as it is stored: its checksum agrees with its bytes and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameInfo {
    /// Number of its segment.
    pub segment: u64,
    /// Where it begins in the segment's file.
    pub at: u64,
    /// Its position in the partition.
    pub position: u64,
    /// Bytes that it takes, with its header and what fills it up to 8 bytes.
    pub bytes: u64,
    /// Bytes of its body.
    pub body_bytes: u64,
    /// Offset of its first record; of a frame without records, the offset that comes next.
    pub offset: u64,
    /// Offsets that it takes.
    pub records: u32,
    /// When it was appended, in milliseconds since the Unix epoch by the engine's clock.
    pub timestamp_ms: u64,
    /// Who appended it, and the sequence of its first record.
    pub producer: Option<Stamp>,
    /// Position of the frame of the producer's previous batch in this partition.
    pub previous_position: Option<u64>,
    /// The transaction that it belongs to.
    pub transaction: Option<u64>,
    /// What it holds.
    pub content: FrameContent,
}

/// What a frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameContent {
    /// One record.
    Record,
    /// A record of the log's own partition of producers: a producer was registered, or closed.
    Registration {
        /// The producer.
        producer: ProducerId,
        /// The epoch that it was given.
        epoch: u32,
        /// How it appends.
        mode: Mode,
        /// False if it was closed.
        live: bool,
        /// Its name.
        name: String,
    },
    /// Several records that were appended together.
    Batch,
    /// Space that was reserved and given up.
    Void,
    /// The beginning of a segment.
    Start {
        /// Offset of the segment's first record.
        base_offset: u64,
        /// Position at which the frames before end.
        previous_end: u64,
        /// What stood at that position and behind it was cut off.
        cut: bool,
        /// The log starts here: no record before counts.
        origin: bool,
    },
    /// From here on only that epoch of a producer appends.
    Fence {
        /// The producer.
        producer: ProducerId,
        /// The epoch.
        epoch: u32,
        /// Its numbering starts again at 0.
        restart: bool,
    },
    /// How far the partition was durable when this was appended.
    Mark {
        /// Position behind the last durable frame.
        durable: u64,
    },
    /// A producer's transaction is committed: its marker in this partition.
    Commit,
    /// A producer's transaction is aborted: its marker in this partition, and how the producer goes on.
    Abort,
    /// A record of the log's own partition of transactions: one is committed, if all that it names is there.
    Decision {
        /// Whose transaction it is.
        producer: ProducerId,
        /// The producer's epoch.
        epoch: u32,
        /// The transaction's number.
        transaction: u64,
        /// Partitions that it has appended to.
        partitions: u64,
        /// Groups' offsets that count with it.
        offsets: u64,
    },
    /// Another record of that partition: groups' offsets, a group's generation, or what was decided and is undone.
    Ledger(String),
    /// What the embedder keeps beside the records.
    Metadata,
    /// From here on the log starts at that offset.
    Purge {
        /// The offset.
        start: u64,
    },
    /// A control frame whose body is not one of its kind.
    Malformed,
}

/// What a [`FrameWalk`] comes by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameItem {
    /// A whole frame.
    Frame(FrameInfo),
    /// Bytes to be skipped, up to the end of a segment.
    Padding {
        /// Number of the segment.
        segment: u64,
        /// Position in the partition.
        position: u64,
        /// How many.
        bytes: u64,
    },
    /// A place where a frame should be and none is; the walk goes on with the next whole one.
    Damage {
        /// Number of the segment.
        segment: u64,
        /// The file.
        path: PathBuf,
        /// Byte in the file.
        at: u64,
        /// Position in the partition.
        position: u64,
        /// The offset that should come next.
        offset: u64,
        /// Bytes up to the next whole frame, or to where the segment's frames should end.
        bytes: u64,
        /// What is wrong.
        reason: String,
    },
}

/// Goes over the frames of a partition in order, verifying each one. See
/// [`ReadOnlyPartition::frames_from`](crate::ReadOnlyPartition::frames_from).
pub struct FrameWalk {
    /// Segments that are still to be walked, the next one last.
    segments: Vec<StoredSegment>,
    files: Arc<PartitionFiles>,
    at: Option<Place>,
}

struct Place {
    segment: StoredSegment,
    frames: Frames,
    base_offset: u64,
    unit: usize,
    /// Offsets taken before `unit`.
    records: u64,
    looks: u32,
}

impl FrameWalk {
    pub(super) fn new(mut segments: Vec<StoredSegment>, files: Arc<PartitionFiles>) -> Self {
        segments.reverse();
        Self { segments, files, at: None }
    }

    /// The body of the frame that was returned last: a record's bytes, or a batch's records, each behind its length in 4
    /// bytes, little-endian. Empty if `frame` is not of the segment that the walk is in.
    pub fn body(&mut self, frame: &FrameInfo) -> &[u8] {
        let Some(place) = self.at.as_mut().filter(|place| place.segment.number == frame.segment) else { return &[] };
        match place.frames.at((frame.at / 8) as usize) {
            Item::Frame(frame) => frame.body,
            _ => &[],
        }
    }

    /// What comes next; none at the end, where a writer may append more.
    ///
    /// # Errors
    /// What the system refuses.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator's users would have to stop at the first error by hand"
    )]
    pub fn next(&mut self) -> io::Result<Option<FrameItem>> {
        loop {
            if self.at.is_none() {
                let Some(segment) = self.segments.pop() else { return Ok(None) };
                self.at = enter(segment)?;
                continue;
            }
            let Some(place) = &mut self.at else { return Ok(None) };
            let begun_behind = self.files.used.iter().any(|named| named.number > place.segment.number);
            if let Some(item) = place.step(&self.files, begun_behind) {
                return Ok(Some(item));
            }
            self.at = None;
        }
    }
}

/// Begins with a segment; none if it was never begun, or was dropped meanwhile.
fn enter(segment: StoredSegment) -> io::Result<Option<Place>> {
    let Some(mut frames) = Frames::open(&segment)? else { return Ok(None) };
    let start = frames.start().map(|start| start.base_offset);
    // Without a seal and a first frame it was never begun, or its first frame is damaged and says nothing of offsets.
    let begun =
        segment.seal.is_some() || start.is_some() || frames.next_frame(FIRST_UNIT, segment.limit(), 0).is_some();
    let base_offset = start.or(segment.seal.map(|seal| seal.base_offset)).unwrap_or(0);
    Ok(begun.then_some(Place { segment, frames, base_offset, unit: FIRST_UNIT, records: 0, looks: LOOKS }))
}

impl Place {
    /// What stands here, and moves behind it; none at the end of the segment's frames.
    fn step(&mut self, files: &PartitionFiles, begun_behind: bool) -> Option<FrameItem> {
        let limit = self.segment.limit();
        loop {
            if self.unit >= limit {
                return None;
            }
            let position = self.segment.shape.position(self.unit);
            let (reason, from, is_published) = match self.frames.at(self.unit) {
                Item::Frame(frame) if u64::from(frame.stored.offset_delta()) == self.records => {
                    let info = info_of(&frame, &self.segment, self.base_offset, files.content());
                    self.unit += frame.units;
                    self.records += u64::from(info.records);
                    self.looks = LOOKS;
                    return Some(FrameItem::Frame(info));
                }
                Item::Padding(units) => {
                    self.unit += units;
                    let (segment, bytes) = (self.segment.number, units as u64 * 8);
                    return Some(FrameItem::Padding { segment, position, bytes });
                }
                Item::Frame(frame) => {
                    let found = self.base_offset + u64::from(frame.stored.offset_delta());
                    (format!("the frame here has offset {found}"), self.unit, true)
                }
                Item::Nothing => ("no frame is published here".to_owned(), self.unit + 1, false),
                Item::Broken(reason) => (reason.to_owned(), self.unit + 1, true),
            };
            if self.looks > 0 && self.segment.seal.is_none() {
                self.looks -= 1;
                self.frames.forget();
                continue;
            }
            let next = self.frames.next_frame(from, limit, 0).and_then(|unit| match self.frames.at(unit) {
                Item::Frame(frame) => Some((unit, u64::from(frame.stored.offset_delta()))),
                _ => None,
            });
            // The end of what was appended.
            if next.is_none() && !is_published && self.segment.seal.is_none() && !begun_behind {
                return None;
            }
            let until = next.map_or(limit, |(unit, _)| unit);
            let damage = FrameItem::Damage {
                segment: self.segment.number,
                path: self.segment.path.clone(),
                at: self.unit as u64 * 8,
                position,
                offset: self.base_offset + self.records,
                bytes: (until - self.unit) as u64 * 8,
                reason,
            };
            self.unit = until;
            self.records = next.map_or(self.records, |(_, records)| records);
            return Some(damage);
        }
    }
}

fn info_of(frame: &StoredFrame<'_>, segment: &StoredSegment, base_offset: u64, content: Content) -> FrameInfo {
    let shape = &segment.shape;
    let producer = frame.producer;
    FrameInfo {
        segment: segment.number,
        at: frame.unit as u64 * 8,
        position: shape.position(frame.unit),
        bytes: frame.units as u64 * 8,
        body_bytes: frame.body.len() as u64,
        offset: base_offset + u64::from(frame.stored.offset_delta()),
        records: frame.stored.records(),
        timestamp_ms: shape.prepared_ms + u64::from(frame.stored.time_delta()),
        producer: producer.map(|producer| Stamp {
            producer: producer.id,
            epoch: producer.epoch,
            sequence: producer.first_sequence,
        }),
        previous_position: producer.map(|producer| producer.previous_position).filter(|position| *position > 0),
        transaction: producer.map(|producer| producer.transaction).filter(|number| *number > 0),
        content: content_of(frame, content),
    }
}

fn content_of(frame: &StoredFrame<'_>, content: Content) -> FrameContent {
    let words = || control_words(frame.body);
    let control = match frame.stored.kind() {
        Kind::Record if content == Content::Ledger => LedgerEntry::decode(frame.body).map(ledger_content),
        Kind::Record if content == Content::Registrations => {
            RegistrationEntry::decode(frame.body).map(|(entry, _)| FrameContent::Registration {
                producer: entry.id,
                epoch: entry.epoch,
                mode: entry.mode,
                live: entry.live,
                name: entry.name.into(),
            })
        }
        Kind::Record => Some(FrameContent::Record),
        Kind::Batch => Some(FrameContent::Batch),
        Kind::Void => Some(FrameContent::Void),
        Kind::Start => words().map(|words| {
            let Start { base_offset, previous_end, cut, origin } = Start::from_words(words);
            FrameContent::Start { base_offset, previous_end, cut, origin }
        }),
        Kind::Fence => words().map(|words| {
            let Fence { producer, epoch, restart } = Fence::from_words(words);
            FrameContent::Fence { producer, epoch, restart }
        }),
        Kind::Mark => words().map(|words| FrameContent::Mark { durable: Mark::from_words(words).durable }),
        Kind::Commit => Some(FrameContent::Commit),
        Kind::Abort => Some(FrameContent::Abort),
        Kind::Metadata => Some(FrameContent::Metadata),
        Kind::Purge => words().map(|words| FrameContent::Purge { start: Purge::from_words(words).start }),
    };
    control.unwrap_or(FrameContent::Malformed)
}

fn ledger_content(entry: LedgerEntry) -> FrameContent {
    match entry {
        LedgerEntry::Commit { producer, epoch, transaction, parts, offsets } => FrameContent::Decision {
            producer,
            epoch,
            transaction,
            partitions: parts.len() as u64,
            offsets: offsets.len() as u64,
        },
        LedgerEntry::Offsets(offsets) => {
            let told =
                offsets.iter().map(|at| format!("{:?} of partition {} at {}", at.group, at.partition, at.offset));
            FrameContent::Ledger(format!("group {}", told.collect::<Vec<_>>().join(", ")))
        }
        LedgerEntry::Group { group, generation } => {
            FrameContent::Ledger(format!("group {group:?}, generation {generation}"))
        }
        LedgerEntry::Undo { from } => FrameContent::Ledger(format!("undoes from offset {from} on")),
    }
}
