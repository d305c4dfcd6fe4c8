//! What a log has stored, piece by piece, for whoever audits one: its segments, snapshots, producers and frames. Built on
//! a log that is only looked at, so it works beside a writer and on damage.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | segments, snapshots and producers of a partition, and how far it is known to be durable |
//! | `walk.rs` | its frames in order, with what is damaged between them |

mod walk;

pub use walk::{FrameContent, FrameInfo, FrameItem, FrameWalk};

use crate::{
    ids::{Offsets, ProducerId},
    partition::snapshots,
    read_only::ReadOnlyPartition,
    segment::tail::FIRST_UNIT,
    stored::{
        files::{Named, StoredSegment},
        frames::{Frames, Item},
    },
};
use std::{io, path::PathBuf, sync::Arc};

/// What a segment file is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SegmentState {
    /// Prepared ahead, and not begun.
    Ready,
    /// Appended to when it was looked at, or left open by a crash.
    Open,
    /// Sealed when it was full.
    Full,
    /// Sealed when the log was closed.
    Closed,
    /// Sealed by an opening after a crash, behind its last whole frame.
    Recovered,
    /// Sealed when what stood behind was cut off.
    Cut,
    /// Nothing of it can be used.
    Unusable,
}

/// A segment file as it was found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its number: the first of a partition is 1, and numbers leave no gap.
    pub number: u64,
    /// The file.
    pub path: PathBuf,
    /// What it is used for.
    pub state: SegmentState,
    /// Bytes of the file.
    pub bytes: u64,
    /// Position of its first byte; none if it is not known.
    pub base_position: Option<u64>,
    /// Position behind its last frame, where it was sealed or is the last one that opening would keep.
    pub end_position: Option<u64>,
    /// Offset of its first record.
    pub base_offset: Option<u64>,
    /// Offsets that its frames take.
    pub records: Option<u64>,
    /// When it was prepared, in milliseconds since the Unix epoch.
    pub prepared_ms: Option<u64>,
    /// Time of its latest frame, where it was sealed.
    pub latest_ms: Option<u64>,
    /// Position up to which everything was known to be durable when it was sealed.
    pub durable_position: Option<u64>,
    /// Why opening the log would refuse it.
    pub fault: Option<String>,
}

/// A snapshot file as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// The segment at whose end it stands.
    pub segment: u64,
    /// The file.
    pub path: PathBuf,
    /// What it holds; or why it is of no use, which costs the next opening a longer replay.
    pub content: Result<SnapshotContent, String>,
}

/// What a snapshot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotContent {
    /// Position at which it stands.
    pub end_position: u64,
    /// Offset that comes next there.
    pub end_offset: u64,
    /// Producers in it.
    pub producers: u64,
    /// Registrations in it: only the log's own partition of producers has any.
    pub registrations: u64,
}

/// How far a producer has come in one partition, as opening would restore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerProgress {
    /// The producer.
    pub id: ProducerId,
    /// The epoch that appends to this partition.
    pub epoch: u32,
    /// The sequence that comes next.
    pub next_sequence: u64,
    /// Time of its last batch, in milliseconds since the Unix epoch; 0 if there is none.
    pub last_ms: u64,
    /// Position of the frame of its last batch; none if there is none.
    pub last_position: Option<u64>,
    /// Offsets of its last batch; none if retention has dropped it, or it does not hold any more.
    pub last_offsets: Option<Offsets>,
}

/// A transaction with frames in a partition and no marker behind them: open, or decided when the writer stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UndecidedTransaction {
    /// Whose it is.
    pub producer: ProducerId,
    /// The producer's epoch.
    pub epoch: u32,
    /// Its number.
    pub transaction: u64,
    /// Offset of its first record here.
    pub first_offset: u64,
}

impl ReadOnlyPartition {
    /// Transactions whose marker is missing here, by producer. Opening decides each of them.
    #[must_use]
    pub fn undecided(&self) -> Vec<UndecidedTransaction> {
        let undecided = self.outlook.replay.undecided().map(|found| UndecidedTransaction {
            producer: found.producer,
            epoch: found.epoch,
            transaction: found.transaction,
            first_offset: found.first_offset,
        });
        undecided.collect()
    }

    /// Its segment files, by number, with those that stand ready.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append(b"order 41")?;
    /// let seen = oncelog::ReadOnlyLog::open(directory.path())?;
    /// for segment in seen.partition("orders").expect("the partition").segments() {
    ///     assert!(segment.number >= 1);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let used = self.files.used.iter().map(|named| self.segment_info(named, false));
        let ready = self.files.ready.iter().map(|named| {
            let kept = self.outlook.kept.iter().any(|kept| kept.segment.number == named.number);
            self.segment_info(named, !kept)
        });
        let mut segments: Vec<SegmentInfo> = used.chain(ready).collect();
        segments.sort_by_key(|segment| segment.number);
        segments
    }

    fn segment_info(&self, named: &Named, is_ready: bool) -> SegmentInfo {
        let fault = named.refused.as_ref().map(|refused| refused.to_string());
        let Some(segment) = &named.segment else {
            let bytes = named.path.metadata().map_or(0, |file| file.len());
            return SegmentInfo {
                number: named.number,
                path: named.path.clone(),
                state: SegmentState::Unusable,
                bytes,
                base_position: None,
                end_position: None,
                base_offset: None,
                records: None,
                prepared_ms: None,
                latest_ms: None,
                durable_position: None,
                fault,
            };
        };
        let kept = &self.outlook.kept;
        let at = kept.iter().position(|kept| kept.segment.number == named.number);
        let base_offset = segment.seal.map(|seal| seal.base_offset).or(at.map(|at| kept[at].base_offset));
        let is_last = at.is_some_and(|at| at + 1 == kept.len());
        let next_offset = match at.and_then(|at| kept.get(at + 1)) {
            Some(next) => Some(next.base_offset),
            None => is_last.then_some(self.outlook.end_offset),
        };
        let (end_position, records) = match segment.seal {
            Some(seal) => (Some(segment.shape.position(seal.end_units as usize)), Some(seal.records)),
            None => (
                is_last.then_some(self.outlook.end_position),
                next_offset.zip(base_offset).and_then(|(next, base)| next.checked_sub(base)),
            ),
        };
        SegmentInfo {
            number: named.number,
            path: named.path.clone(),
            state: match segment.seal {
                Some(seal) => state_of(seal.reason),
                None if is_ready => SegmentState::Ready,
                None => SegmentState::Open,
            },
            bytes: segment.length,
            base_position: Some(segment.header.base_position),
            end_position,
            base_offset,
            records,
            prepared_ms: Some(segment.header.prepared_ms),
            latest_ms: segment.seal.map(|seal| seal.latest_ms),
            durable_position: segment.seal.map(|seal| seal.durable),
            fault: fault.or_else(|| segment.seal_is_damaged.then(|| "its seal is damaged".to_owned())),
        }
    }

    /// Its snapshot files, the eldest first.
    #[must_use]
    pub fn snapshots(&self) -> Vec<SnapshotInfo> {
        let info = |(segment, path): &(u64, PathBuf)| SnapshotInfo {
            segment: *segment,
            path: path.clone(),
            content: snapshots::read(path, self.files.identity.log, self.files.number).map(|snapshot| {
                SnapshotContent {
                    end_position: snapshot.header.end_position,
                    end_offset: snapshot.header.end_offset,
                    producers: snapshot.producers.len() as u64,
                    registrations: snapshot.registrations.len() as u64,
                }
            }),
        };
        self.files.snapshots.iter().map(info).collect()
    }

    /// Every producer that has appended here, or was fenced here, as opening would restore it; by slot.
    ///
    /// # Errors
    /// What the system refuses while the frames of the last batches are read.
    pub fn progress(&self) -> io::Result<Vec<ProducerProgress>> {
        let mut all: Vec<ProducerProgress> = self
            .outlook
            .replay
            .producers()
            .map(|entry| ProducerProgress {
                id: entry.id,
                epoch: entry.epoch,
                next_sequence: entry.progress.expected,
                last_ms: entry.progress.last_ms,
                last_position: Some(entry.progress.last_position).filter(|position| *position > 0),
                last_offsets: None,
            })
            .collect();
        // One segment after the other, however the producers' batches lie in them.
        let mut by_position: Vec<usize> = (0..all.len()).filter(|at| all[*at].last_position.is_some()).collect();
        by_position.sort_by_key(|at| all[*at].last_position);
        let mut open: Option<(&StoredSegment, Frames)> = None;
        for at in by_position {
            let position = all[at].last_position.unwrap_or(0);
            let Some(kept) = self.kept_at(position) else { continue };
            if open.as_ref().is_none_or(|(segment, _)| segment.number != kept.segment.number) {
                open = Frames::open(&kept.segment)?.map(|frames| (&kept.segment, frames));
            }
            let Some((segment, frames)) = &mut open else { continue };
            let unit = ((position - segment.header.base_position) / 8) as usize;
            if let Item::Frame(frame) = frames.at(unit)
                && frame.producer.is_some_and(|producer| producer.id == all[at].id)
                && let Some(more) = frame.stored.records().checked_sub(1)
            {
                let first = kept.base_offset + u64::from(frame.stored.offset_delta());
                all[at].last_offsets = Some(Offsets { first, last: first + u64::from(more) });
            }
        }
        Ok(all)
    }

    /// Position up to which the files say that everything was durable: MARK frames, seals and snapshots. A writer at work
    /// may be further.
    #[must_use]
    pub const fn durable_position(&self) -> u64 {
        self.outlook.durable
    }

    /// Offset behind the last record below [`ReadOnlyPartition::durable_position`].
    ///
    /// # Errors
    /// What the system refuses while the segment is read that the position lies in.
    pub fn durable_offset(&self) -> io::Result<u64> {
        let durable = self.durable_position();
        if durable >= self.outlook.end_position {
            return Ok(self.end_offset());
        }
        let Some(kept) = self.kept_at(durable) else { return Ok(self.start_offset()) };
        let Some(mut frames) = Frames::open(&kept.segment)? else { return Ok(kept.base_offset) };
        let limit = ((durable - kept.segment.header.base_position) / 8) as usize;
        let from = crate::segment::tail::Place { records: 0, units: FIRST_UNIT };
        let scan = frames.scan(from, limit.min(kept.segment.limit()), false, |_, _| {});
        Ok(kept.base_offset + scan.end.records)
    }

    /// Its frames in order, from the first one of that segment on, or of the next there is.
    #[must_use]
    pub fn frames_from(&self, segment: u64) -> FrameWalk {
        let named = self.files.used.iter().chain(&self.files.ready);
        let mut segments: Vec<StoredSegment> = named.filter_map(|named| named.segment.clone()).collect();
        segments.retain(|found| found.number >= segment);
        segments.sort_by_key(|segment| segment.number);
        segments.dedup_by_key(|segment| segment.number);
        FrameWalk::new(segments, Arc::clone(&self.files))
    }

    fn kept_at(&self, position: u64) -> Option<&crate::stored::outlook::Kept> {
        let kept = &self.outlook.kept;
        let at = kept.partition_point(|kept| kept.segment.header.base_position <= position).checked_sub(1)?;
        kept.get(at).filter(|kept| position < kept.segment.end_of_file())
    }
}

const fn state_of(reason: crate::format::segment_header::SealReason) -> SegmentState {
    use crate::format::segment_header::SealReason;
    match reason {
        SealReason::Full => SegmentState::Full,
        SealReason::Closed => SegmentState::Closed,
        SealReason::Recovered => SegmentState::Recovered,
        SealReason::Cut => SegmentState::Cut,
    }
}
