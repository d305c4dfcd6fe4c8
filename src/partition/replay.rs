//! What the frames of a partition say of its producers: one fold, used by recovery, by snapshots, and by whoever wants to
//! check a live table. It never fails on history: what was appended was admitted then, and is taken as it stands.

use crate::{
    format::{
        control::{CONTROL_BYTES, Fence},
        frame::{Form, Kind, Producer},
        registration::RegistrationEntry,
        snapshot::{ProducerEntry, Snapshot, SnapshotHeader},
    },
    ids::{ProducerId, Progress},
    raw::window::Window,
    segment::{file::Segment, scan::Frame},
};
use std::collections::BTreeMap;

/// Slots that a frame can name; one beyond is not of this engine's making.
const SLOTS_MAX: u32 = 1 << 28;

/// What a replay takes of a frame.
#[derive(Clone, Copy)]
pub(crate) struct Taken<'a> {
    pub(crate) position: u64,
    pub(crate) at_ms: u64,
    pub(crate) kind: Kind,
    pub(crate) records: u32,
    pub(crate) producer: Option<Producer>,
    pub(crate) body: &'a [u8],
}

/// Producers as of some place in the log.
#[derive(Clone)]
pub(crate) struct Replay {
    /// By slot.
    producers: Vec<Option<ProducerEntry>>,
    /// By slot; only kept for the log's own partition of producers.
    registrations: Option<BTreeMap<u32, RegistrationEntry>>,
}

impl Replay {
    pub(crate) fn new(registrations: bool) -> Self {
        Self { producers: Vec::new(), registrations: registrations.then(BTreeMap::new) }
    }

    pub(crate) fn from_snapshot(snapshot: &Snapshot, registrations: bool) -> Self {
        let mut replay = Self::new(registrations);
        for entry in &snapshot.producers {
            replay.put(*entry);
        }
        if let Some(kept) = &mut replay.registrations {
            kept.extend(snapshot.registrations.iter().map(|entry| (entry.id.slot(), entry.clone())));
        }
        replay
    }

    fn put(&mut self, entry: ProducerEntry) {
        if let Some(place) = self.slot(entry.id) {
            *place = Some(entry);
        }
    }

    fn slot(&mut self, id: ProducerId) -> Option<&mut Option<ProducerEntry>> {
        if id.slot() >= SLOTS_MAX {
            return None;
        }
        let slot = id.slot() as usize;
        if slot >= self.producers.len() {
            self.producers.resize(slot + 1, None);
        }
        self.producers.get_mut(slot)
    }

    /// Whether a frame may change anything here. One that takes no offset is a control frame, also where a flipped bit has
    /// made a record of its kind; one that has lost its producer's flag has another length than its header says.
    pub(crate) fn is_told_by(&self, frame: &Frame) -> bool {
        let plain = frame.stored.form() == Form::Plain
            && frame.stored.records() > 0
            && matches!(frame.stored.kind(), Kind::Record | Kind::Batch | Kind::Void);
        !plain || self.registrations.is_some()
    }

    /// Takes one frame into account.
    #[inline]
    pub(crate) fn apply(&mut self, frame: &Frame, segment: &Segment, window: &Window) {
        self.take(&Taken {
            position: frame.position(segment.shape()),
            at_ms: segment.shape().prepared_ms + u64::from(frame.stored.time_delta()),
            kind: frame.stored.kind(),
            records: frame.stored.records(),
            producer: frame.producer(window, segment.shape()),
            body: segment.body(window, frame),
        });
    }

    /// Takes one frame into account, wherever it was read.
    #[inline]
    pub(crate) fn take(&mut self, frame: &Taken<'_>) {
        if let Some(producer) = frame.producer {
            let progress = Progress {
                expected: producer.first_sequence.saturating_add(u64::from(frame.records)),
                last_position: frame.position,
                last_ms: frame.at_ms,
            };
            self.put(ProducerEntry { id: producer.id, epoch: producer.epoch, progress });
            return;
        }
        match frame.kind {
            Kind::Fence => {
                if let Some(words) = control_words(frame.body) {
                    self.fence(Fence::from_words(words));
                }
            }
            Kind::Record if self.registrations.is_some() => {
                if let (Some(kept), Some((entry, _))) = (&mut self.registrations, RegistrationEntry::decode(frame.body))
                {
                    kept.insert(entry.id.slot(), entry);
                }
            }
            _ => {}
        }
    }

    /// The producer in a slot, if one has appended.
    #[inline]
    pub(crate) fn producer_in(&self, slot: u32) -> Option<&ProducerEntry> {
        self.producers.get(slot as usize)?.as_ref()
    }

    fn fence(&mut self, fence: Fence) {
        let Some(place) = self.slot(fence.producer) else { return };
        match place {
            Some(entry) if entry.id == fence.producer => {
                entry.epoch = entry.epoch.max(fence.epoch);
                if fence.restart {
                    entry.progress = Progress { last_ms: entry.progress.last_ms, ..Progress::default() };
                }
            }
            _ => *place = Some(ProducerEntry { id: fence.producer, epoch: fence.epoch, progress: Progress::default() }),
        }
    }

    /// One more than the highest slot that a producer was seen in.
    pub(crate) fn slots(&self) -> u32 {
        self.producers.len() as u32
    }

    /// Producers, ascending by slot.
    pub(crate) fn producers(&self) -> impl Iterator<Item = &ProducerEntry> {
        self.producers.iter().flatten()
    }

    /// Registrations, ascending by slot.
    pub(crate) fn registrations(&self) -> impl Iterator<Item = &RegistrationEntry> {
        self.registrations.iter().flat_map(BTreeMap::values)
    }

    pub(crate) fn into_snapshot(self, header: SnapshotHeader) -> Snapshot {
        let registrations = self.registrations().cloned().collect();
        Snapshot { header, producers: self.producers.into_iter().flatten().collect(), registrations }
    }
}

/// The words of a control frame's body.
pub(crate) fn control_words<const N: usize>(body: &[u8]) -> Option<[u64; N]> {
    const { assert!(N * 8 == CONTROL_BYTES) };
    (body.len() == N * 8)
        .then(|| std::array::from_fn(|index| u64::from_le_bytes(std::array::from_fn(|at| body[index * 8 + at]))))
}
