//! Who may append: names, ids and epochs, written durably to a partition of the log's own before they are given out.
//!
//! Everything here is cold and under one lock: registering, fencing, closing, and a producer's first append to a
//! partition. The hot paths only look at a slot.

use crate::{
    core::{Core, Source},
    error::{RegisterError, check_producer_name},
    format::{control::Fence, registration::RegistrationEntry},
    ids::{Mode, ProducerId, Progress},
    partition::{
        PartitionState,
        append::Cursor,
        body::Single,
        slot::{Slot, State},
    },
    sync::Backoff,
};
use std::{collections::HashMap, fs::File};

/// The log's own partition of registrations.
pub(crate) const PRODUCERS: &str = "__producers";

/// Whether a producer's numbering goes on when it is registered again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbering {
    /// Sequences go on where they ended, across epochs: a retry is recognised however often its producer was restarted.
    #[default]
    Continue,
    /// Sequences start again at 0 in every partition, as the clients of some brokers expect of a new epoch. Retries from
    /// before are no longer recognised.
    Restart,
}

/// A registered producer that appends by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registration {
    /// The producer's id: the same each time its name is registered, until it is closed.
    pub id: ProducerId,
    /// The epoch that appends from now on; all before it are fenced.
    pub epoch: u32,
}

/// What a live producer is, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerInfo {
    /// The producer's id.
    pub id: ProducerId,
    /// The name it registered under.
    pub name: String,
    /// The epoch that appends.
    pub epoch: u32,
    /// How it appends.
    pub mode: Mode,
    /// Time of its latest append in any partition, in milliseconds since the Unix epoch; 0 if it has never appended.
    pub last_used_ms: u64,
    /// The partitions that it has appended to, each with the last sequence there.
    pub partitions: Vec<(String, u64)>,
}

/// Registrations, in memory.
pub(crate) struct Registry {
    /// By slot: the latest owner, live or closed.
    entries: Vec<Option<RegistrationEntry>>,
    /// Live producers.
    names: HashMap<Box<str>, u32>,
    /// Slots whose owner was closed.
    free: Vec<u32>,
    limit: u32,
    /// Number of the newest segment of the log's own partition that is known to be durable in its directory.
    synced: u64,
}

/// A producer's place in a partition, as found under the registry's lock.
pub(crate) enum Place {
    /// The slot is the producer's, in this state.
    Own { state: State, progress: Progress },
    /// No live producer has the id.
    Unknown,
    /// Another epoch appends.
    Epoch(u32),
    /// The producer is in the other mode.
    Mode(Mode),
}

impl Registry {
    pub(crate) fn new<'a>(entries: impl Iterator<Item = &'a RegistrationEntry>, limit: u32) -> Self {
        let mut registry = Self { entries: Vec::new(), names: HashMap::new(), free: Vec::new(), limit, synced: 0 };
        for entry in entries {
            registry.put(entry.clone());
        }
        registry.free =
            (0..registry.entries.len() as u32).rev().filter(|slot| registry.live(*slot).is_none()).collect();
        registry
    }

    fn put(&mut self, entry: RegistrationEntry) {
        let slot = entry.id.slot() as usize;
        if slot >= self.entries.len() {
            self.entries.resize(slot + 1, None);
        }
        if entry.live {
            self.names.insert(entry.name.clone(), entry.id.slot());
        } else {
            self.names.remove(&entry.name);
        }
        if let Some(place) = self.entries.get_mut(slot) {
            *place = Some(entry);
        }
    }

    /// The live owner of a slot.
    pub(crate) fn live(&self, slot: u32) -> Option<&RegistrationEntry> {
        self.entries.get(slot as usize)?.as_ref().filter(|entry| entry.live)
    }

    /// The live producer with that id.
    pub(crate) fn find(&self, id: ProducerId) -> Option<&RegistrationEntry> {
        self.live(id.slot()).filter(|entry| entry.id == id)
    }

    pub(crate) fn live_count(&self) -> usize {
        self.names.len()
    }

    /// One more than the highest slot that a live producer has: the smallest table that holds them all.
    pub(crate) fn slots_needed(&self) -> u32 {
        self.names.values().max().map_or(0, |slot| slot + 1)
    }

    /// What registering `name` would write.
    fn next(&self, name: &str, mode: Mode, taken: &mut Taken) -> Result<RegistrationEntry, RegisterError> {
        check_producer_name(name).map_err(|rule| RegisterError::Name { name: name.to_owned(), rule })?;
        let earlier = taken.names.get(name).or_else(|| self.names.get(name)).copied();
        let used_up = || RegisterError::EpochsUsedUp { name: name.to_owned() };
        let (id, epoch) = match earlier {
            Some(slot) => {
                let entry = taken.entries.get(&slot).or_else(|| self.live(slot));
                let entry = entry.ok_or(RegisterError::Unknown { producer: ProducerId::new(slot, 0) })?;
                (entry.id, entry.epoch.checked_add(1).ok_or_else(used_up)?)
            }
            None => {
                let free = self.free.len().checked_sub(taken.from_free + 1).and_then(|at| self.free.get(at)).copied();
                match free {
                    Some(slot) => {
                        taken.from_free += 1;
                        let before = self.entries.get(slot as usize).and_then(Option::as_ref);
                        let (generation, epoch) = before.map_or((0, 0), |entry| (entry.id.generation(), entry.epoch));
                        // Epochs go on from one owner of a slot to the next: a state word never comes again.
                        let epoch = epoch.checked_add(1).ok_or_else(used_up)?;
                        (ProducerId::new(slot, generation.wrapping_add(1).max(1)), epoch)
                    }
                    None => {
                        let slot = self.entries.len() as u32 + taken.beyond;
                        if slot >= self.limit {
                            return Err(RegisterError::Full { limit: self.limit });
                        }
                        taken.beyond += 1;
                        (ProducerId::new(slot, 1), 1)
                    }
                }
            }
        };
        let entry = RegistrationEntry { id, epoch, mode, live: true, name: name.into() };
        taken.names.insert(name.into(), id.slot());
        taken.entries.insert(id.slot(), entry.clone());
        Ok(entry)
    }
}

/// What a registration of several names has taken so far, before anything is written.
#[derive(Default)]
struct Taken {
    names: HashMap<Box<str>, u32>,
    entries: HashMap<u32, RegistrationEntry>,
    from_free: usize,
    beyond: u32,
}

/// The slot of a producer in a partition's table.
pub(crate) fn slot_of(partition: &PartitionState, id: ProducerId) -> Option<&Slot> {
    partition.table.get(id.slot() as usize)
}

impl Core {
    /// Registers producers under their names: durable, and every elder handle of theirs fenced, on return.
    pub(crate) fn register<N: AsRef<str>>(
        &self,
        names: &[N],
        mode: Mode,
        numbering: Numbering,
    ) -> Result<Vec<Registration>, RegisterError> {
        let mut registry = self.registry();
        let mut taken = Taken::default();
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            entries.push(registry.next(name.as_ref(), mode, &mut taken)?);
        }
        self.write(&mut registry, &entries)?;
        let left = registry.free.len() - taken.from_free;
        registry.free.truncate(left);
        for entry in &entries {
            registry.put(entry.clone());
        }
        for entry in &entries {
            self.fence_everywhere(entry, numbering)?;
        }
        Ok(entries.iter().map(|entry| Registration { id: entry.id, epoch: entry.epoch }).collect())
    }

    /// Writes registrations to the log's own partition, and waits until they are durable.
    fn write(&self, registry: &mut Registry, entries: &[RegistrationEntry]) -> Result<(), RegisterError> {
        let partitions = self.all_partitions();
        let Some(own) = partitions.first() else { return Ok(()) };
        let source = Source { core: self, partition: own };
        let mut cursor = Cursor::new(own.chain.newest_tail());
        let mut bytes = Vec::new();
        for entry in entries {
            bytes.clear();
            entry.encode(&mut bytes);
            cursor.append(&Single(&bytes), self.clock.now_ms(), &source)?;
        }
        let synced = registry.synced;
        for segment in own.chain.begun().iter().filter(|segment| segment.number() >= synced) {
            let sync = || {
                let end = segment.visible()?;
                segment.sync(end.units)?;
                if segment.number() > synced {
                    File::open(&own.directory)?.sync_all()?;
                }
                Ok(())
            };
            sync().map_err(|source| RegisterError::Sync { path: segment.path(), source })?;
            registry.synced = segment.number();
        }
        Ok(())
    }

    /// Fences a producer in every partition that it has appended to. Called under the registry's lock.
    fn fence_everywhere(&self, entry: &RegistrationEntry, numbering: Numbering) -> Result<(), RegisterError> {
        for partition in self.all_partitions() {
            let Some(slot) = slot_of(&partition, entry.id) else { continue };
            if slot.state() == State::UNUSED || slot.producer() != entry.id {
                continue;
            }
            let source = Source { core: self, partition: &partition };
            let restart = numbering == Numbering::Restart;
            let fence = Fence { producer: entry.id, epoch: entry.epoch, restart };
            let to = State::new(entry.epoch, entry.mode);
            let mut cursor = Cursor::new(partition.chain.newest_tail());
            let progress = cursor
                .fence(slot, to, fence, self.clock.now_ms(), &source, |position| wait_visible(&partition, position))?;
            if restart {
                slot.advance(Progress { last_ms: progress.last_ms, ..Progress::default() });
            }
        }
        Ok(())
    }

    /// Closes a producer: its id and its handles append no more, its name and its slot are free.
    pub(crate) fn close_producers(&self, ids: &[ProducerId]) -> Result<(), RegisterError> {
        let mut registry = self.registry();
        let mut closed = Vec::with_capacity(ids.len());
        for id in ids {
            let entry = registry.find(*id).ok_or(RegisterError::Unknown { producer: *id })?;
            let epoch = entry
                .epoch
                .checked_add(1)
                .ok_or_else(|| RegisterError::EpochsUsedUp { name: entry.name.to_string() })?;
            closed.push(RegistrationEntry { epoch, live: false, ..entry.clone() });
        }
        self.write(&mut registry, &closed)?;
        for entry in closed {
            self.fence_everywhere(&entry, Numbering::Continue)?;
            for partition in self.all_partitions() {
                if let Some(slot) = slot_of(&partition, entry.id).filter(|slot| slot.producer() == entry.id) {
                    slot.assign(ProducerId::from_u64(0), State::UNUSED, Progress::default());
                }
            }
            registry.free.push(entry.id.slot());
            registry.put(entry);
        }
        Ok(())
    }

    /// Where a producer stands in a partition; gives it its slot there on its first call.
    pub(crate) fn place(&self, partition: &PartitionState, id: ProducerId, epoch: u32, mode: Mode) -> Place {
        let registry = self.registry();
        let Some(entry) = registry.find(id) else { return Place::Unknown };
        if entry.mode != mode {
            return Place::Mode(entry.mode);
        }
        if entry.epoch != epoch {
            return Place::Epoch(entry.epoch);
        }
        let Some(slot) = slot_of(partition, id) else { return Place::Unknown };
        let state = State::new(epoch, mode);
        if slot.state() == State::UNUSED || slot.producer() != id {
            slot.assign(id, state, Progress::default());
        }
        Place::Own { state, progress: slot.progress() }
    }

    /// Live producers, those that have been idle for longest first.
    pub(crate) fn producers(&self) -> Vec<ProducerInfo> {
        let registry = self.registry();
        let partitions = self.all_partitions();
        let mut infos: Vec<ProducerInfo> = registry
            .entries
            .iter()
            .flatten()
            .filter(|entry| entry.live)
            .map(|entry| {
                let mut info = ProducerInfo {
                    id: entry.id,
                    name: entry.name.to_string(),
                    epoch: entry.epoch,
                    mode: entry.mode,
                    last_used_ms: 0,
                    partitions: Vec::new(),
                };
                for partition in &partitions {
                    let Some(slot) = slot_of(partition, entry.id) else { continue };
                    if slot.state() == State::UNUSED || slot.producer() != entry.id {
                        continue;
                    }
                    let progress = slot.progress();
                    info.last_used_ms = info.last_used_ms.max(progress.last_ms);
                    if let Some(last) = progress.expected.checked_sub(1) {
                        info.partitions.push((partition.name.to_string(), last));
                    }
                }
                info
            })
            .collect();
        infos.sort_by_key(|info| (info.last_used_ms, info.id));
        infos
    }
}

/// Returns when every frame before `position` is published. Gives up on a partition whose files can't be read: then no
/// frame of it can be either.
fn wait_visible(partition: &PartitionState, position: u64) {
    let mut backoff = Backoff::new();
    while partition.chain.visible_end().is_ok_and(|end| end.position < position) {
        backoff.wait();
    }
}

/// Gives the recovered producers of a partition their slots.
pub(crate) fn restore(partition: &PartitionState, replay: &crate::partition::replay::Replay, registry: &Registry) {
    for entry in replay.producers() {
        let Some(owner) = registry.find(entry.id) else { continue };
        if let Some(slot) = slot_of(partition, entry.id) {
            slot.assign(entry.id, State::new(owner.epoch, owner.mode), entry.progress);
        }
    }
}
