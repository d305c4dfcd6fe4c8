//! Who may append: names, ids and epochs, in memory. What they are is what the log's own partition of producers says;
//! `producers.rs` writes there first.

use crate::{
    error::RegisterError,
    format::registration::RegistrationEntry,
    ids::{Mode, ProducerId},
    names::check_producer_name,
};
use std::collections::{BTreeMap, HashMap};

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
    /// Time of its latest append in any partition, or of its registration where that was later, in milliseconds since the
    /// Unix epoch.
    pub last_used_ms: u64,
    /// The partitions that it has appended to, each with the last sequence there.
    pub partitions: Vec<(String, u64)>,
}

/// Registrations, in memory.
pub(crate) struct Registry {
    /// By slot: the latest owner, live or closed.
    entries: BTreeMap<u32, RegistrationEntry>,
    /// Live producers.
    names: HashMap<Box<str>, u32>,
    /// Slots whose owner was closed.
    free: Vec<u32>,
    limit: u32,
}

impl Registry {
    pub(crate) fn new<'a>(entries: impl Iterator<Item = &'a RegistrationEntry>, limit: u32) -> Self {
        let mut registry = Self { entries: BTreeMap::new(), names: HashMap::new(), free: Vec::new(), limit };
        for entry in entries {
            registry.put(entry.clone());
        }
        // Slots beyond a table that has become smaller are not given out.
        let slots = limit.min(registry.slots());
        registry.free = (0..slots).rev().filter(|slot| registry.live(*slot).is_none()).collect();
        registry
    }

    pub(crate) fn put(&mut self, entry: RegistrationEntry) {
        if entry.live {
            self.names.insert(entry.name.clone(), entry.id.slot());
        } else if self.names.get(&entry.name) == Some(&entry.id.slot()) {
            // Only its own: the name may have been registered again since, in another slot.
            self.names.remove(&entry.name);
        }
        self.entries.insert(entry.id.slot(), entry);
    }

    /// One more than the highest slot that was ever given out.
    fn slots(&self) -> u32 {
        self.entries.last_key_value().map_or(0, |(slot, _)| slot + 1)
    }

    /// All live producers.
    pub(crate) fn all_live(&self) -> impl Iterator<Item = &RegistrationEntry> {
        self.entries.values().filter(|entry| entry.live)
    }

    /// Takes what a registration took of the free slots out of the list.
    pub(crate) fn settle(&mut self, taken: &Taken) {
        let left = self.free.len() - taken.from_free;
        self.free.truncate(left);
    }

    /// Puts a closed producer's entry, and its slot on the list of free ones.
    pub(crate) fn release(&mut self, closed: RegistrationEntry) {
        if closed.id.slot() < self.limit {
            self.free.push(closed.id.slot());
        }
        self.put(closed);
    }

    /// The live owner of a slot.
    pub(crate) fn live(&self, slot: u32) -> Option<&RegistrationEntry> {
        self.entries.get(&slot).filter(|entry| entry.live)
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
    pub(crate) fn next(
        &self,
        name: &str,
        mode: Mode,
        at_ms: u64,
        taken: &mut Taken,
    ) -> Result<RegistrationEntry, RegisterError> {
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
                        let before = self.entries.get(&slot);
                        let (generation, epoch) = before.map_or((0, 0), |entry| (entry.id.generation(), entry.epoch));
                        // Epochs go on from one owner of a slot to the next: a state word never comes again.
                        let epoch = epoch.checked_add(1).ok_or_else(used_up)?;
                        (ProducerId::new(slot, generation.wrapping_add(1).max(1)), epoch)
                    }
                    None => {
                        let slot = self.slots() + taken.beyond;
                        if slot >= self.limit {
                            return Err(RegisterError::Full { limit: self.limit });
                        }
                        taken.beyond += 1;
                        (ProducerId::new(slot, 1), 1)
                    }
                }
            }
        };
        let entry = RegistrationEntry { id, epoch, mode, live: true, at_ms, name: name.into() };
        taken.names.insert(name.into(), id.slot());
        taken.entries.insert(id.slot(), entry.clone());
        Ok(entry)
    }
}

/// What a registration of several names has taken so far, before anything is written.
#[derive(Default)]
pub(crate) struct Taken {
    names: HashMap<Box<str>, u32>,
    entries: HashMap<u32, RegistrationEntry>,
    from_free: usize,
    beyond: u32,
}
