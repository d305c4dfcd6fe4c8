//! What the frames of a partition say of its producers: one fold, used by recovery, by snapshots, and by whoever wants to
//! check a live table. It never fails on history: what was appended was admitted then, and is taken as it stands.

use super::{ledger::LedgerReplay, pages::Pages};
use crate::{
    format::{
        control::{CONTROL_BYTES, Fence, Purge, Start},
        frame::{Form, Kind, Producer},
        registration::RegistrationEntry,
        snapshot::{Aborted, Beside, Extent, ProducerEntry, Snapshot, SnapshotHeader, Undecided},
    },
    ids::{ProducerId, Progress},
    names::Content,
    options::PRODUCERS_MAX,
    raw::window::Window,
    segment::{file::Segment, scan::Frame},
};
use std::collections::BTreeMap;

/// What a replay takes of a frame.
#[derive(Clone, Copy)]
pub(crate) struct Taken<'a> {
    pub(crate) position: u64,
    /// Position behind the frame.
    pub(crate) end_position: u64,
    /// Of its first record.
    pub(crate) offset: u64,
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
    producers: Pages<ProducerEntry>,
    /// Transactions without a marker, by producer and number.
    undecided: BTreeMap<(u64, u64), Undecided>,
    /// In the order of their markers.
    aborted: Vec<Aborted>,
    /// By slot; only kept for the log's own partition of producers.
    registrations: Option<BTreeMap<u32, RegistrationEntry>>,
    /// Only kept for the log's own partition of transactions.
    ledger: Option<LedgerReplay>,
    beside: Beside,
    /// Positions of the frames that say so; where a snapshot does, its last one.
    metadata_position: u64,
    purge_position: u64,
}

/// What stands beside the records: see `Kept` of `state.rs`.
pub(crate) struct KeptBeside<'a> {
    /// Offset of the first record that counts, if it is said.
    pub(crate) start: u64,
    /// The lowest offset that was cut off, of those that are known.
    pub(crate) cut: Option<u64>,
    pub(crate) metadata: Option<&'a [u8]>,
    pub(crate) metadata_position: u64,
    pub(crate) purge_position: u64,
}

impl Replay {
    pub(crate) fn new(content: Content) -> Self {
        Self {
            producers: Pages::new(),
            undecided: BTreeMap::new(),
            aborted: Vec::new(),
            registrations: (content == Content::Registrations).then(BTreeMap::new),
            ledger: (content == Content::Ledger).then(LedgerReplay::default),
            beside: Beside::default(),
            metadata_position: 0,
            purge_position: 0,
        }
    }

    pub(crate) fn from_snapshot(snapshot: &Snapshot, content: Content) -> Self {
        let mut replay = Self::new(content);
        for entry in &snapshot.producers {
            replay.put(*entry);
        }
        let key = |undecided: &Undecided| (undecided.producer.get(), undecided.transaction);
        replay.undecided = snapshot.undecided.iter().map(|undecided| (key(undecided), *undecided)).collect();
        replay.aborted.clone_from(&snapshot.aborted);
        replay.beside.clone_from(&snapshot.beside);
        // Where the frames are that say so, nobody knows any more: not behind this. A cut that takes the snapshot away has
        // to say it again.
        let before = snapshot.header.end_position.saturating_sub(1);
        replay.metadata_position = if replay.beside.metadata.is_some() { before } else { 0 };
        replay.purge_position = if replay.beside.start > 0 { before } else { 0 };
        if let Some(kept) = &mut replay.registrations {
            let known = snapshot.registrations.iter().filter(|entry| entry.id.slot() < PRODUCERS_MAX);
            kept.extend(known.map(|entry| (entry.id.slot(), entry.clone())));
        }
        if let Some(ledger) = &mut replay.ledger {
            *ledger = LedgerReplay::from_entries(&snapshot.ledger);
        }
        replay
    }

    fn put(&mut self, entry: ProducerEntry) {
        if let Some(place) = self.slot(entry.id) {
            *place = Some(entry);
        }
    }

    fn slot(&mut self, id: ProducerId) -> Option<&mut Option<ProducerEntry>> {
        // One beyond is not of this engine's making.
        if id.slot() >= PRODUCERS_MAX {
            return None;
        }
        Some(self.producers.place(id.slot()))
    }

    /// Whether a frame may change anything here. One that takes no offset is a control frame, also where a flipped bit has
    /// made a record of its kind; one that has lost its producer's flag has another length than its header says.
    pub(crate) fn is_told_by(&self, frame: &Frame) -> bool {
        let plain = frame.stored.form() == Form::Plain
            && frame.stored.records() > 0
            && matches!(frame.stored.kind(), Kind::Record | Kind::Batch | Kind::Void);
        !plain || self.registrations.is_some() || self.ledger.is_some()
    }

    /// Takes one frame into account.
    #[inline]
    pub(crate) fn apply(&mut self, frame: &Frame, segment: &Segment, window: &Window, base_offset: u64) {
        self.take(&Taken {
            position: frame.position(segment.shape()),
            end_position: segment.shape().position(frame.unit + frame.units),
            offset: base_offset + u64::from(frame.stored.offset_delta()),
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
            match frame.kind {
                Kind::Commit => self.decide(producer, true, frame.position),
                Kind::Abort => self.decide(producer, false, frame.position),
                _ => self.batch(producer, frame),
            }
            return;
        }
        match frame.kind {
            Kind::Record if self.ledger.is_some() => {
                if let Some(ledger) = &mut self.ledger {
                    ledger.take(frame.offset, frame.position, frame.body);
                }
            }
            Kind::Metadata => {
                self.beside.metadata = Some(frame.body.into());
                self.metadata_position = frame.position;
            }
            Kind::Purge => {
                // One that lets the log start behind its own place is not of this engine's making.
                let purge =
                    control_words(frame.body).map(Purge::from_words).filter(|purge| purge.start <= frame.offset);
                if let Some(Purge { start }) = purge {
                    self.beside.start = self.beside.start.max(start);
                    self.purge_position = frame.position;
                }
            }
            Kind::Start => {
                // Nor is one that begins nothing where it stands.
                let begins = |start: &Start| start.base_offset == frame.offset;
                let Some(start) = control_words(frame.body).map(Start::from_words).filter(begins) else { return };
                if start.origin {
                    self.beside.start = start.base_offset;
                }
                if start.cut {
                    let cut = self.beside.cut.unwrap_or(u64::MAX).min(start.base_offset);
                    self.beside.cut = Some(cut);
                }
            }
            Kind::Fence => {
                if let Some(words) = control_words(frame.body) {
                    self.fence(Fence::from_words(words));
                }
            }
            Kind::Record if self.registrations.is_some() => {
                if let (Some(kept), Some((entry, _))) = (&mut self.registrations, RegistrationEntry::decode(frame.body))
                    && entry.id.slot() < PRODUCERS_MAX
                {
                    kept.insert(entry.id.slot(), entry);
                }
            }
            _ => {}
        }
    }

    #[inline]
    fn batch(&mut self, producer: Producer, frame: &Taken<'_>) {
        let mut transaction = producer.transaction;
        if transaction != 0 {
            self.batch_in_transaction(producer, frame);
        } else if let Some(before) = self.producer_in(producer.id.slot()).filter(|before| before.id == producer.id) {
            transaction = before.transaction;
        }
        let progress = Progress {
            expected: producer.first_sequence.saturating_add(u64::from(frame.records)),
            last_position: frame.position,
            last_ms: frame.at_ms,
        };
        self.put(ProducerEntry { id: producer.id, epoch: producer.epoch, progress, transaction });
    }

    fn batch_in_transaction(&mut self, producer: Producer, frame: &Taken<'_>) {
        let before = self.producer_in(producer.id.slot()).filter(|before| before.id == producer.id);
        let before = before.map_or_else(Progress::default, |before| before.progress);
        let Producer { id, epoch, transaction, .. } = producer;
        let undecided = self.undecided.entry((id.get(), transaction)).or_insert(Undecided {
            producer: id,
            transaction,
            epoch,
            first_offset: frame.offset,
            end: Extent::default(),
            before,
        });
        undecided.end = Extent {
            last_offset: frame.offset + u64::from(frame.records).max(1) - 1,
            end_sequence: producer.first_sequence.saturating_add(u64::from(frame.records)),
            end_position: frame.end_position,
        };
    }

    /// Takes a marker into account, or what recovery writes one for.
    pub(crate) fn decide(&mut self, marker: Producer, committed: bool, position: u64) {
        let Producer { id, epoch, first_sequence, previous_position, transaction } = marker;
        let undecided = self.undecided.remove(&(id.get(), transaction));
        if committed {
            return;
        }
        let end = undecided.map_or_else(Extent::default, |undecided| undecided.end);
        self.aborted.push(Aborted { producer: id, transaction, marker: position, end });
        let owner = self.producer_in(id.slot()).copied();
        if owner.is_some_and(|owner| owner.id != id) {
            // The slot has another owner since, whose numbering this is not.
            return;
        }
        if let (Some(owner), Some(undecided)) = (owner, undecided)
            && owner.progress.last_position >= undecided.end.end_position
        {
            // It has gone on since, as only a salvage that lost the marker can have left it: that stands.
            return;
        }
        let before = owner;
        let progress = Progress {
            expected: first_sequence,
            last_position: previous_position,
            last_ms: before.map_or(0, |before| before.progress.last_ms),
        };
        let epoch = before.map_or(epoch, |before| before.epoch.max(epoch));
        let transaction = before.map_or(transaction, |before| before.transaction.max(transaction));
        self.put(ProducerEntry { id, epoch, progress, transaction });
    }

    /// Forgets aborted transactions of which nothing is kept.
    pub(crate) fn forget_aborted_before(&mut self, start: u64) {
        self.aborted.retain(|aborted| aborted.marker >= start);
    }

    /// Transactions without a marker, by producer and number.
    pub(crate) fn undecided(&self) -> impl DoubleEndedIterator<Item = &Undecided> {
        self.undecided.values()
    }

    /// Aborted transactions, in the order of their markers.
    pub(crate) fn aborted(&self) -> &[Aborted] {
        &self.aborted
    }

    /// What the ledger says, of the log's own partition of transactions.
    pub(crate) const fn ledger(&self) -> Option<&LedgerReplay> {
        self.ledger.as_ref()
    }

    /// The same, to take back what recovery does not bear out.
    pub(crate) const fn ledger_mut(&mut self) -> Option<&mut LedgerReplay> {
        self.ledger.as_mut()
    }

    /// The producer in a slot, if one has appended.
    #[inline]
    pub(crate) fn producer_in(&self, slot: u32) -> Option<&ProducerEntry> {
        self.producers.get(slot)
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
            _ => {
                let progress = Progress::default();
                *place = Some(ProducerEntry { id: fence.producer, epoch: fence.epoch, progress, transaction: 0 });
            }
        }
    }

    /// What stands beside the records.
    pub(crate) fn kept(&self) -> KeptBeside<'_> {
        KeptBeside {
            start: self.beside.start,
            cut: self.beside.cut,
            metadata: self.beside.metadata.as_deref(),
            metadata_position: self.metadata_position,
            purge_position: self.purge_position,
        }
    }

    /// Producers, ascending by slot.
    pub(crate) fn producers(&self) -> impl Iterator<Item = &ProducerEntry> {
        self.producers.iter()
    }

    /// Registrations, ascending by slot.
    pub(crate) fn registrations(&self) -> impl Iterator<Item = &RegistrationEntry> {
        self.registrations.iter().flat_map(BTreeMap::values)
    }

    pub(crate) fn into_snapshot(self, header: SnapshotHeader) -> Snapshot {
        let registrations = self.registrations().cloned().collect();
        Snapshot {
            header,
            producers: self.producers.iter().copied().collect(),
            undecided: self.undecided.into_values().collect(),
            aborted: self.aborted,
            registrations,
            ledger: self.ledger.map(LedgerReplay::into_entries).unwrap_or_default(),
            beside: self.beside,
        }
    }
}

/// The words of a control frame's body.
pub(crate) fn control_words<const N: usize>(body: &[u8]) -> Option<[u64; N]> {
    const { assert!(N * 8 == CONTROL_BYTES) };
    (body.len() == N * 8)
        .then(|| std::array::from_fn(|index| u64::from_le_bytes(std::array::from_fn(|at| body[index * 8 + at]))))
}
