//! A sequence that is not the next one: a gap, an overlap, or a retry. The original of a retry is found however old it
//! is, by walking the positions that each of a producer's frames has of the one before, from the slot's last, or from a
//! snapshot that is nearer.

use super::{
    body::Body,
    chain::{Located, Lookup},
    state::{PartitionState, locked},
};
use crate::{
    answer::Answer,
    error::{AppendError, FetchError},
    format::{
        batch::Records,
        frame::{Kind, Producer},
        snapshot::Snapshot,
    },
    ids::{Offsets, ProducerId, Progress},
    raw::window::Window,
    segment::{
        file::Segment,
        scan::{Found, Frame, find},
    },
    sync::Backoff,
};
use std::fs::File;

/// Steps back after which the snapshots are asked for a nearer start.
const STEPS_BEFORE_SNAPSHOTS: u32 = 64;

/// A frame of the producer that a retry meets.
struct Original {
    located: Located,
    stored: Producer,
    first_sequence: u64,
    last_sequence: u64,
    first_offset: u64,
}

/// Whether a stored frame is a body's, with its boundaries and its bytes.
fn is_same<B: Body>(segment: &Segment, window: &Window, frame: &Frame, body: &B) -> bool {
    frame.stored.records() as usize == body.records()
        && frame.stored.kind() == B::KIND
        && frame.stored.body_bytes() as usize == body.bytes()
        && frame.checksum_of(window, segment.shape(), body.hash()) == frame.checksum
}

impl PartitionState {
    /// What `body` at `sequence` means to a producer that has come as far as `progress`, where `sequence` is not the one
    /// that comes next. Nothing is written.
    #[cold]
    pub(crate) fn judge<B: Body>(
        &self,
        producer: ProducerId,
        progress: Progress,
        sequence: u64,
        body: &B,
    ) -> Result<Answer, AppendError> {
        let expected = progress.expected;
        if sequence > expected {
            return Ok(Answer::OutOfOrder { expected });
        }
        let last = sequence + (body.records() as u64 - 1);
        if last >= expected {
            return Ok(Answer::Overlap { expected });
        }
        if let Some(answer) = self.judge_recent(producer, progress, sequence, body).map_err(AppendError::Original)? {
            return Ok(answer);
        }
        let Some(originals) = self.originals(producer, progress, sequence, last).map_err(AppendError::Original)? else {
            return Ok(Answer::DuplicateTrimmed);
        };
        if !self.same_bytes(&originals, sequence, body).map_err(AppendError::Original)? {
            return Ok(Answer::SequenceReused { expected });
        }
        let offset = |sequence: u64| {
            let holder = originals.iter().find(|original| original.last_sequence >= sequence);
            holder.map_or(0, |original| original.first_offset + (sequence - original.first_sequence))
        };
        let Offsets { first, last } = Offsets { first: offset(sequence), last: offset(last) };
        if first < self.chain.start_offset() {
            // Purged, and its segment is still there.
            return Ok(Answer::DuplicateTrimmed);
        }
        Ok(Answer::Duplicate { first, last })
    }

    /// The retries that are sent most often, those of one of the last batches as it was: its stored header and the retry's
    /// hash tell, and of the very last one no stored payload is read. The segment that holds the last batch is looked up once,
    /// and no other is gone to: what is not found this way, or not as it was written, is none, and for `originals` to tell.
    fn judge_recent<B: Body>(
        &self,
        producer: ProducerId,
        progress: Progress,
        sequence: u64,
        body: &B,
    ) -> Result<Option<Answer>, FetchError> {
        let Some(Located { segment, mut frame, .. }) = self.published_at(progress.last_position)? else {
            return Ok(None);
        };
        let window = segment.window().map_err(|source| FetchError::Io { path: segment.path(), source })?;
        let shape = segment.shape();
        for steps in 0..STEPS_BEFORE_SNAPSHOTS {
            let stored = frame.producer(&window, shape).filter(|stored| stored.id == producer);
            let Some(Producer { first_sequence, previous_position: previous, .. }) = stored else { return Ok(None) };
            if first_sequence <= sequence {
                let whole = first_sequence == sequence
                    && is_same(&segment, &window, &frame, body)
                    && (steps == 0 || segment.verifies(&window, &frame));
                let first = segment.base_offset().unwrap_or(0) + u64::from(frame.stored.offset_delta());
                return Ok(whole.then(|| match first < self.chain.start_offset() {
                    true => Answer::DuplicateTrimmed,
                    false => Answer::Duplicate { first, last: first + (body.records() as u64 - 1) },
                }));
            }
            if !segment.verifies(&window, &frame) || !(shape.base_position..frame.position(shape)).contains(&previous) {
                return Ok(None);
            }
            match find(&window, shape, ((previous - shape.base_position) / 8) as usize) {
                Found::Frame(before) => frame = before,
                Found::Nothing | Found::Padding { .. } | Found::Invalid => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The frame at a position, once it is published; none if it is no longer kept.
    pub(crate) fn published_at(&self, position: u64) -> Result<Option<Located>, FetchError> {
        let mut backoff = Backoff::new();
        loop {
            let lookup = self
                .chain
                .frame_at(position)
                .map_err(|source| FetchError::Io { path: self.directory.clone(), source })?;
            match lookup {
                Lookup::Found(located) => return Ok(Some(located)),
                Lookup::Trimmed => return Ok(None),
                // A retry that overtook its original: the original's thread has claimed and is still copying. Its answer
                // is ours.
                Lookup::Unpublished => backoff.wait(),
                Lookup::Corrupt { path, at } => {
                    let reason = "a published frame was expected here";
                    return Err(FetchError::Corrupt { path, at, offset: self.chain.start_offset(), reason });
                }
            }
        }
    }

    /// Offset of the producer's last record, if it is kept.
    pub(crate) fn last_offset(&self, producer: ProducerId, progress: Progress) -> Result<Option<u64>, FetchError> {
        let Some(last) = progress.expected.checked_sub(1) else { return Ok(None) };
        let originals = self.originals(producer, progress, last, last)?;
        Ok(originals
            .and_then(|found| found.first().map(|original| original.first_offset + (last - original.first_sequence))))
    }

    /// The frames that hold the sequences from `first` to `last`, in order; none if one of them is no longer kept.
    fn originals(
        &self,
        producer: ProducerId,
        progress: Progress,
        first: u64,
        last: u64,
    ) -> Result<Option<Vec<Original>>, FetchError> {
        let mut originals = Vec::new();
        let mut position = progress.last_position;
        let mut steps = 0;
        while position != 0 {
            let Some(original) = self.original_at(producer, position)? else { return Ok(None) };
            let Producer { previous_position: previous, epoch, .. } = original.stored;
            let reached = original.first_sequence <= first;
            let before = original.first_sequence;
            if original.first_sequence <= last {
                originals.push(original);
            }
            if reached {
                originals.reverse();
                // Without a gap, unless a salvage has lost some of them.
                let end = originals.iter().try_fold(first, |next, original| {
                    (original.first_sequence <= next && next <= original.last_sequence)
                        .then(|| original.last_sequence.saturating_add(1))
                });
                return Ok(end.filter(|end| *end > last).map(|_| originals));
            }
            steps += 1;
            position = match steps {
                // A hint that leads nowhere, as a damaged snapshot's may, costs the longer walk and nothing else.
                STEPS_BEFORE_SNAPSHOTS => self
                    .nearer(producer, epoch, last, before)
                    .filter(|nearer| self.is_way_back(producer, *nearer))
                    .unwrap_or(previous),
                _ => previous,
            };
        }
        Ok(None)
    }

    /// Whether a hint leads to a batch of the producer that counts: one of an aborted transaction is on nobody's way back.
    fn is_way_back(&self, producer: ProducerId, position: u64) -> bool {
        let Ok(Some(original)) = self.original_at(producer, position) else { return false };
        let transaction = original.stored.transaction;
        transaction == 0 || self.stability.hidden(producer, transaction).is_none()
    }

    /// The producer's frame at a position, once it is published; none if it is no longer kept.
    fn original_at(&self, producer: ProducerId, position: u64) -> Result<Option<Original>, FetchError> {
        let Some(located) = self.published_at(position)? else { return Ok(None) };
        let Located { segment, frame, .. } = &located;
        let corrupt = |reason| FetchError::Corrupt {
            path: segment.path(),
            at: frame.unit as u64 * 8,
            offset: segment.base_offset().unwrap_or(0) + u64::from(frame.stored.offset_delta()),
            reason,
        };
        let window = segment.window().map_err(|source| FetchError::Io { path: segment.path(), source })?;
        if !segment.verifies(&window, frame) {
            return Err(corrupt("the checksum does not agree"));
        }
        let Some(stored) = frame.producer(&window, segment.shape()).filter(|stored| stored.id == producer) else {
            return Err(corrupt("a producer's batch was expected here"));
        };
        Ok(Some(Original {
            stored,
            first_sequence: stored.first_sequence,
            last_sequence: stored.first_sequence.saturating_add(u64::from(frame.stored.records()).max(1) - 1),
            first_offset: segment.base_offset().unwrap_or(0) + u64::from(frame.stored.offset_delta()),
            located,
        }))
    }

    /// A position to go on from that is nearer to `sequence` than the frame with the sequence `before`. Only a snapshot
    /// of the same epoch will do: with an epoch, numbering may have started again.
    fn nearer(&self, producer: ProducerId, epoch: u32, sequence: u64, before: u64) -> Option<u64> {
        let snapshots = locked(&self.snapshots).clone();
        // The oldest snapshot that already knew the sequence is the nearest.
        snapshots.iter().find_map(|snapshot| {
            let entry = Snapshot::look_up(&File::open(&snapshot.path).ok()?, producer).ok()??;
            // Below the snapshot's end all is sealed, so that a position that a damaged file made up is no frame that one
            // would wait for.
            let sealed = entry.progress.last_position < snapshot.end_position;
            let knew = sealed && entry.progress.expected > sequence && entry.progress.expected <= before;
            (knew && entry.epoch == epoch && entry.progress.last_position >= self.chain.start_position())
                .then_some(entry.progress.last_position)
        })
    }

    /// Whether a retry brings the bytes that are stored. Where it has the boundaries of one stored frame, its hash and
    /// the stored header tell; else the records are compared.
    fn same_bytes<B: Body>(&self, originals: &[Original], sequence: u64, body: &B) -> Result<bool, FetchError> {
        if let [Original { located: Located { segment, frame, .. }, first_sequence, .. }] = originals
            && *first_sequence == sequence
            && frame.stored.records() as usize == body.records()
            && frame.stored.kind() == B::KIND
        {
            let window = segment.window().map_err(|source| FetchError::Io { path: segment.path(), source })?;
            return Ok(is_same(segment, &window, frame, body));
        }
        let mut at = sequence;
        for Original { located: Located { segment, frame, .. }, first_sequence, .. } in originals {
            let window = segment.window().map_err(|source| FetchError::Io { path: segment.path(), source })?;
            let stored = segment.body(&window, frame);
            let mut one = std::iter::once(stored);
            let mut several = Records::new(stored);
            let records: &mut dyn Iterator<Item = &[u8]> =
                if frame.stored.kind() == Kind::Batch { &mut several } else { &mut one };
            for (number, record) in records.enumerate() {
                let index = (first_sequence + number as u64).checked_sub(sequence).map(|index| index as usize);
                if let Some(index) = index.filter(|index| *index < body.records()) {
                    if body.record(index) != record {
                        return Ok(false);
                    }
                    at += 1;
                }
            }
        }
        Ok(at - sequence == body.records() as u64)
    }
}
