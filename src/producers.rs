//! Registering, fencing and closing producers, and a producer's first append to a partition: everything that is cold and
//! under the registry's lock. The hot paths only look at a slot.
//!
//! A registration is durable before it counts, and counts before its fences: a fence that fails is made up for by the
//! next registration, whose epoch was never given to anyone else.

use crate::{
    core::{Core, Source},
    error::{AppendError, RegisterError, copy},
    format::{control::Fence, registration::RegistrationEntry},
    ids::{Mode, ProducerId, Progress},
    ledger::Ended,
    partition::{
        PartitionState,
        append::Cursor,
        body::{Single, fit},
        replay::Replay,
        slot::{Slot, State},
    },
    registry::{Numbering, ProducerInfo, Registration, Registry, Taken},
    sync::{Arc, Backoff},
};

/// A producer's place in a partition, as found under the registry's lock.
pub(crate) enum Place {
    /// The slot is the producer's, in this state.
    Own { state: State },
    /// No live producer has the id.
    Unknown,
    /// Another epoch appends.
    Epoch(u32),
    /// The producer is in the other mode.
    Mode(Mode),
}

/// The slot that a producer has, or would have, in a partition's table.
#[inline]
pub(crate) fn slot_of(partition: &PartitionState, id: ProducerId) -> Option<&Slot> {
    partition.table.get(id.slot() as usize)
}

/// A producer's slot in a partition, if it has ever appended there.
pub(crate) fn own_slot(partition: &PartitionState, id: ProducerId) -> Option<&Slot> {
    slot_of(partition, id).filter(|slot| slot.state() != State::UNUSED && slot.producer() == id)
}

impl Core {
    /// Registers producers under their names: durable, and every elder handle of theirs fenced, on return.
    pub(crate) fn register<N: AsRef<str>>(
        &self,
        names: &[N],
        mode: Mode,
        numbering: Numbering,
    ) -> Result<Vec<Registration>, RegisterError> {
        self.register_under(&mut self.registry(), names, mode, numbering, Ended::Fenced)
    }

    /// Registers a producer once more as it is, for nobody: fences every handle of its, and ends its open transaction. Does
    /// nothing if that one has been ended meanwhile, as by a registration of somebody's: his handle is not to be fenced.
    pub(crate) fn register_again(&self, id: ProducerId, transaction: u64, ended: Ended) -> Result<(), RegisterError> {
        let mut registry = self.registry();
        if self.ledger().open_of(id).is_none_or(|open| open.number != transaction) {
            return Ok(());
        }
        let Some(entry) = registry.find(id).cloned() else { return Err(RegisterError::Unknown { producer: id }) };
        self.register_under(&mut registry, &[&entry.name], entry.mode, Numbering::Continue, ended)?;
        Ok(())
    }

    /// Live producers whose last batch in a partition is at a position or behind it. Whole where they are fenced.
    pub(crate) fn producers_beyond(
        &self,
        registry: &Registry,
        partition: &PartitionState,
        position: u64,
    ) -> Vec<ProducerId> {
        let beyond = |id: &ProducerId| {
            own_slot(partition, *id).is_some_and(|slot| slot.progress().last_position >= position.max(1))
        };
        registry.all_live().map(|entry| entry.id).filter(beyond).collect()
    }

    /// Registers producers once more as they are, for nobody: fences every handle of theirs, and ends their open transactions.
    pub(crate) fn fence_again(&self, registry: &mut Registry, ids: &[ProducerId]) -> Result<(), RegisterError> {
        for mode in [Mode::Session, Mode::ById] {
            let of_mode = ids.iter().filter_map(|id| registry.find(*id)).filter(|entry| entry.mode == mode);
            let names: Vec<Box<str>> = of_mode.map(|entry| entry.name.clone()).collect();
            if !names.is_empty() {
                self.register_under(registry, &names, mode, Numbering::Continue, Ended::Fenced)?;
            }
        }
        Ok(())
    }

    fn register_under<N: AsRef<str>>(
        &self,
        registry: &mut Registry,
        names: &[N],
        mode: Mode,
        numbering: Numbering,
        ended: Ended,
    ) -> Result<Vec<Registration>, RegisterError> {
        let mut taken = Taken::default();
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            entries.push(registry.next(name.as_ref(), mode, self.clock.now_ms(), &mut taken)?);
        }
        for entry in &entries {
            self.settle_for_good(entry.id)?;
        }
        self.write(&entries)?;
        registry.settle(&taken);
        for entry in &entries {
            registry.put(entry.clone());
        }
        for entry in &entries {
            self.fence_everywhere(entry, numbering, ended)?;
        }
        Ok(entries.iter().map(|entry| Registration { id: entry.id, epoch: entry.epoch }).collect())
    }

    /// Writes registrations to the log's own partition, and waits until they are durable.
    fn write(&self, entries: &[RegistrationEntry]) -> Result<(), RegisterError> {
        let partitions = self.all_partitions();
        let Some(own) = partitions.first() else { return Ok(()) };
        let source = Source { core: self, partition: own };
        let mut cursor = Cursor::new(own.chain.newest_tail());
        let mut bytes = Vec::new();
        for entry in entries {
            bytes.clear();
            entry.encode(&mut bytes);
            let record = Single(&bytes);
            let fitting = fit(&record, own.options.body_bytes_max()).map_err(AppendError::from)?;
            cursor.append(&fitting, self.clock.now_ms(), &source)?;
        }
        // As every durable record: with a mark before it, so that damage to it is not taken for the end of the log, and
        // with the log poisoned if it fails.
        self.flush_now(own)
    }

    /// Makes all that is visible in a partition durable.
    fn flush_now(&self, partition: &Arc<PartitionState>) -> Result<(), RegisterError> {
        match self.committer.flush(std::slice::from_ref(partition), self.clock.now_ms()) {
            Ok(_) => Ok(()),
            Err((doing, error)) => {
                let source = copy(&error);
                self.poison(doing, error);
                Err(RegisterError::Sync { path: partition.directory.clone(), source })
            }
        }
    }

    /// Waits until no commit of a producer could be undone by a power cut: numbering that starts again, or a slot that
    /// changes its owner, must not be followed by what would go back to before it.
    fn settle_for_good(&self, id: ProducerId) -> Result<(), AppendError> {
        Ok(self.wait_settled(id, None)?)
    }

    /// Fences a producer in every partition that it has appended to, and ends its open transaction so.
    fn fence_everywhere(
        &self,
        entry: &RegistrationEntry,
        numbering: Numbering,
        ended: Ended,
    ) -> Result<(), RegisterError> {
        {
            let mut ledger = self.ledger();
            if let Some(author) = ledger.author(entry.id) {
                // From here on the elder epoch neither begins nor commits.
                (author.epoch, author.mode) = (entry.epoch, entry.mode);
            }
            if let Some(open) = ledger.open.get_mut(&entry.id.slot()).filter(|open| open.id == entry.id) {
                open.doomed = open.doomed.or(Some(ended));
            }
        }
        for partition in self.all_partitions() {
            if let Some(slot) = own_slot(&partition, entry.id) {
                self.fence(&partition, slot, entry, Numbering::Continue)?;
            }
        }
        // Behind the fences, so that nothing of it comes after its markers.
        let open = self.ledger().open_of(entry.id).map(|open| open.number);
        if let Some(number) = open {
            self.abort_open(&mut self.ledger(), entry.id, number, ended)?;
        }
        if numbering == Numbering::Restart {
            // What was committed since the first look.
            self.settle_for_good(entry.id)?;
            for partition in self.all_partitions() {
                if let Some(slot) = own_slot(&partition, entry.id) {
                    self.fence(&partition, slot, entry, numbering)?;
                    // Lost in a crash, it would leave the old numbering, and new records be taken for old ones.
                    let end = partition.chain.visible_end().map_or(0, |end| end.position);
                    let flushed = self.flush_up_to(&partition, end.saturating_sub(1));
                    flushed.map_err(AppendError::from)?;
                }
            }
        }
        Ok(())
    }

    /// Fences a producer in one partition. Called under the registry's lock.
    fn fence(
        &self,
        partition: &PartitionState,
        slot: &Slot,
        entry: &RegistrationEntry,
        numbering: Numbering,
    ) -> Result<(), AppendError> {
        let source = Source { core: self, partition };
        let restart = numbering == Numbering::Restart;
        let fence = Fence { producer: entry.id, epoch: entry.epoch, restart };
        let to = State::new(entry.epoch, entry.mode);
        let mut cursor = Cursor::new(partition.chain.newest_tail());
        let wait = |position| wait_visible(partition, position);
        let progress = cursor.fence(slot, to, fence, self.clock.now_ms(), &source, wait)?;
        if restart {
            slot.advance(Progress { last_ms: progress.last_ms, ..Progress::default() });
        }
        Ok(())
    }

    /// Closes producers: their ids and handles append no more, their names and slots are free.
    pub(crate) fn close_producers(&self, ids: &[ProducerId]) -> Result<(), RegisterError> {
        let mut registry = self.registry();
        let mut entries = Vec::with_capacity(ids.len());
        for id in ids {
            entries.push(registry.find(*id).ok_or(RegisterError::Unknown { producer: *id })?.clone());
        }
        self.close(&mut registry, entries)
    }

    /// Closes the producers that have neither appended nor registered since `oldest_ms`. Looked at under the lock, so one
    /// that has just done so is not among them.
    pub(crate) fn close_producers_before(&self, oldest_ms: u64) -> Result<Vec<ProducerId>, RegisterError> {
        let mut registry = self.registry();
        let partitions = self.all_partitions();
        let idle = |entry: &&RegistrationEntry| {
            let slots = partitions.iter().filter_map(|partition| own_slot(partition, entry.id));
            let appended = slots.map(|slot| slot.progress().last_ms).max().unwrap_or(0);
            appended.max(entry.at_ms) < oldest_ms
        };
        let entries: Vec<_> = registry.all_live().filter(idle).cloned().collect();
        let ids = entries.iter().map(|entry| entry.id).collect();
        self.close(&mut registry, entries)?;
        Ok(ids)
    }

    fn close(&self, registry: &mut Registry, mut entries: Vec<RegistrationEntry>) -> Result<(), RegisterError> {
        for entry in &mut entries {
            let used_up = || RegisterError::EpochsUsedUp { name: entry.name.to_string() };
            entry.epoch = entry.epoch.checked_add(1).ok_or_else(used_up)?;
            entry.live = false;
        }
        for entry in &entries {
            self.settle_for_good(entry.id)?;
        }
        self.write(&entries)?;
        // What is durable has happened: all are closed before the first fence can fail. Where one fails, the slot is still
        // taken from the elder handles by its state, and reopening gives a closed producer none.
        for entry in &entries {
            registry.release(entry.clone());
        }
        let mut result = Ok(());
        for entry in &entries {
            let fenced = self.fence_everywhere(entry, Numbering::Continue, Ended::Fenced);
            for slot in self.all_partitions().iter().filter_map(|partition| own_slot(partition, entry.id)) {
                slot.assign(ProducerId::from_u64(0), State::UNUSED, Progress::default());
            }
            result = result.and(fenced);
        }
        result
    }

    /// Where a producer stands in a partition; gives it its slot there on its first call.
    pub(crate) fn place(
        &self,
        partition: &PartitionState,
        id: ProducerId,
        epoch: u32,
        mode: Mode,
    ) -> Result<Place, AppendError> {
        let registry = self.registry();
        let Some(entry) = registry.find(id) else { return Ok(Place::Unknown) };
        if entry.mode != mode {
            return Ok(Place::Mode(entry.mode));
        }
        if entry.epoch != epoch {
            return Ok(Place::Epoch(entry.epoch));
        }
        let Some(slot) = slot_of(partition, id) else { return Ok(Place::Unknown) };
        let state = State::new(epoch, mode);
        if own_slot(partition, id).is_none() {
            slot.assign(id, state, Progress::default());
        } else if slot.state() != state {
            // The fence of this registration failed here, or never came so far: now is the time.
            self.fence(partition, slot, entry, Numbering::Continue)?;
        }
        Ok(Place::Own { state })
    }

    /// Live producers, those that have been idle for longest first.
    pub(crate) fn producers(&self) -> Vec<ProducerInfo> {
        let registry = self.registry();
        let partitions = self.all_partitions();
        let mut infos: Vec<ProducerInfo> = registry.all_live().map(|entry| info(entry, &partitions)).collect();
        infos.sort_by_key(|info| (info.last_used_ms, info.id));
        infos
    }
}

fn info(entry: &RegistrationEntry, partitions: &[Arc<PartitionState>]) -> ProducerInfo {
    let mut info = ProducerInfo {
        id: entry.id,
        name: entry.name.to_string(),
        epoch: entry.epoch,
        mode: entry.mode,
        last_used_ms: entry.at_ms,
        partitions: Vec::new(),
    };
    for partition in partitions {
        let Some(progress) = own_slot(partition, entry.id).map(Slot::progress) else { continue };
        info.last_used_ms = info.last_used_ms.max(progress.last_ms);
        if let Some(last) = progress.expected.checked_sub(1) {
            info.partitions.push((partition.name.to_string(), last));
        }
    }
    info
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
pub(crate) fn restore(partition: &PartitionState, replay: &Replay, registry: &Registry) {
    for entry in replay.producers() {
        let Some(owner) = registry.find(entry.id) else { continue };
        if let Some(slot) = slot_of(partition, entry.id) {
            slot.assign(entry.id, State::new(owner.epoch, owner.mode), entry.progress);
        }
    }
}
