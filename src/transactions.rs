//! Transactions behind their handles: beginning one, ending one, by session or by id, and what ends by itself.

use crate::{
    core::Core,
    error::{AppendError, DurableError, RegisterError, TransactionError},
    format::ledger::{GroupOffset, LedgerEntry},
    ids::{Mode, ProducerId},
    ledger::{Author, By, Ended, Ledger, OpenTransaction},
    partition::{PartitionState, slot::ENDED},
    sync::Arc,
};
use std::{
    sync::{MutexGuard, atomic::Ordering},
    time::{Duration, Instant},
};

/// Shortest time that a transaction may be open.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// Timeouts below this are looked for sooner than upkeep comes by itself.
const TIMEOUT_SHORT: Duration = Duration::from_secs(1);
/// Commits that may wait for their markers before they are made durable for that.
const UNMARKED_MAX: usize = 4096;

/// How long a beginning waits for the fence that is about to refuse it, and between two looks.
const FENCE_PATIENCE: Duration = Duration::from_millis(100);
const FENCE_PAUSE: Duration = Duration::from_micros(200);
/// Numbers end where a slot's flag begins.
const NUMBER_END: u64 = ENDED;

/// What beginning a transaction comes to.
enum Begun {
    /// It is open.
    Number(u64),
    /// The one before is about to be ended, and its producer fenced.
    Doomed(u64, Ended),
}

/// What a call about a transaction meets.
enum Standing<'a> {
    Open(MutexGuard<'a, Ledger>),
    Ended(Ended),
}

impl Core {
    /// Begins a transaction, with a number of its own, or with the given one. The same call again changes nothing.
    pub(crate) fn begin(&self, by: By, number: Option<u64>, timeout: Duration) -> Result<u64, TransactionError> {
        if timeout < TIMEOUT_MIN {
            return Err(TransactionError::Timeout { timeout });
        }
        let mut until = None;
        loop {
            let (doomed, how) = match self.try_begin(by, number, timeout)? {
                Begun::Number(number) => return Ok(number),
                Begun::Doomed(doomed, how) => (doomed, how),
            };
            // Whoever ends the one before is about to fence the producer: then this one's epoch is the elder.
            let now = self.registry().find(by.id).map(|entry| (entry.epoch, entry.mode));
            let (epoch, mode) = now.ok_or(TransactionError::UnknownProducer { producer: by.id })?;
            refuse(by, epoch, mode)?;
            if Instant::now() >= *until.get_or_insert_with(|| Instant::now() + FENCE_PATIENCE) {
                // The fence has failed, and is tried again.
                return Err(self.ended_otherwise(by, doomed, how));
            }
            std::thread::sleep(FENCE_PAUSE);
        }
    }

    fn try_begin(&self, by: By, number: Option<u64>, timeout: Duration) -> Result<Begun, TransactionError> {
        let By { id, epoch, mode } = by;
        let mut ledger = self.ledger();
        let known = ledger.author(id).is_some_and(|author| (author.epoch, author.mode) == (epoch, mode));
        if !known {
            drop(ledger);
            // The registry's lock first, and both: a registration that comes between finds what is begun here.
            let registry = self.registry();
            let Some(entry) = registry.find(id) else { return Err(TransactionError::UnknownProducer { producer: id }) };
            refuse(by, entry.epoch, entry.mode)?;
            ledger = self.ledger();
            let new = Author { id, epoch, mode, last: 0, ended: Ended::Aborted, last_epoch: 0, entry: None };
            let author = ledger.authors.entry(id.slot()).or_insert(new);
            if author.id != id {
                *author = new;
            }
            (author.epoch, author.mode) = (epoch, mode);
            ledger.names.insert(id.slot(), entry.name.clone());
        }
        if let Some(open) = ledger.open_of(id) {
            if let (None, Some(how)) = (open.aborting, open.doomed) {
                return Ok(Begun::Doomed(open.number, how));
            }
            match (open.aborting, open.number) {
                // What is left of an abort comes first.
                (Some(ended), number) => self.abort_open(&mut ledger, id, number, ended)?,
                (None, open) if number == Some(open) => return Ok(Begun::Number(open)),
                (None, open) => return Err(TransactionError::AlreadyOpen { open }),
            }
        }
        let Some(author) = ledger.author(id) else { return Err(TransactionError::UnknownProducer { producer: id }) };
        let number = number.unwrap_or(author.last + 1);
        if number <= author.last || number >= NUMBER_END {
            return Err(TransactionError::NumberUsed { transaction: number, last: author.last });
        }
        (author.last, author.last_epoch, author.ended, author.entry) = (number, epoch, Ended::Aborted, None);
        let open = OpenTransaction {
            id,
            epoch,
            mode,
            number,
            began: Instant::now(),
            timeout,
            parts: Vec::new(),
            offsets: Vec::new(),
            doomed: None,
            aborting: None,
        };
        ledger.open.insert(id.slot(), open);
        drop(ledger);
        if timeout < TIMEOUT_SHORT {
            // It may be asleep for longer than that.
            self.upkeep.raise();
        }
        Ok(Begun::Number(number))
    }

    /// The transaction, if it is open for this caller, or how it ended.
    fn standing(&self, by: By, number: u64) -> Result<Standing<'_>, TransactionError> {
        let By { id, epoch, mode } = by;
        let mut ledger = self.ledger();
        if let Some(open) = ledger.open_of(id).filter(|open| open.number == number && open.epoch == epoch) {
            if open.mode != mode {
                return Err(TransactionError::WrongMode { producer: id, registered: open.mode });
            }
            let ending = open.ending();
            return Ok(ending.map_or_else(|| Standing::Open(ledger), Standing::Ended));
        }
        let author = ledger.author(id).copied();
        if let Some(author) = author.filter(|author| author.last == number && [0, epoch].contains(&author.last_epoch)) {
            return Ok(Standing::Ended(author.ended));
        }
        drop(ledger);
        let registry = self.registry();
        let Some(entry) = registry.find(id) else { return Err(TransactionError::UnknownProducer { producer: id }) };
        refuse(by, entry.epoch, entry.mode)?;
        Err(TransactionError::NotOpen { transaction: number, last: author.map_or(0, |author| author.last) })
    }

    /// Commits: the offset of the ledger's entry, if there was anything to commit. The same call again gives the same
    /// answer; of what was committed before the log was opened, which is durable, without the offset.
    pub(crate) fn commit_transaction(&self, by: By, number: u64) -> Result<Option<u64>, TransactionError> {
        let ledger = match self.standing(by, number)? {
            Standing::Open(ledger) => ledger,
            Standing::Ended(Ended::Committed) => {
                return Ok(self.ledger().author(by.id).and_then(|author| author.entry));
            }
            Standing::Ended(ended) => return Err(self.ended_otherwise(by, number, ended)),
        };
        self.commit_open(ledger, by, number)
    }

    /// Aborts. The same call again changes nothing.
    pub(crate) fn abort_transaction(&self, by: By, number: u64) -> Result<(), TransactionError> {
        match self.standing(by, number)? {
            Standing::Open(mut ledger) => Ok(self.abort_open(&mut ledger, by.id, number, Ended::Aborted)?),
            Standing::Ended(Ended::Aborted | Ended::TimedOut) => {
                // What is left of it, if its markers could not be written.
                let mut ledger = self.ledger();
                match ledger.open_of(by.id).filter(|open| open.number == number).and_then(|open| open.aborting) {
                    Some(ended) => Ok(self.abort_open(&mut ledger, by.id, number, ended)?),
                    None => Ok(()),
                }
            }
            Standing::Ended(ended) => Err(self.ended_otherwise(by, number, ended)),
        }
    }

    fn ended_otherwise(&self, by: By, transaction: u64, ended: Ended) -> TransactionError {
        match ended {
            Ended::Committed => TransactionError::Committed { transaction },
            Ended::Aborted => TransactionError::Aborted { transaction },
            Ended::TimedOut => TransactionError::TimedOut { transaction },
            Ended::Fenced => {
                let epoch = self.registry().find(by.id).map_or(by.epoch, |entry| entry.epoch);
                TransactionError::Fenced { epoch }
            }
        }
    }

    /// Adds a partition to an open transaction of a producer that appends by id.
    pub(crate) fn add_partition(
        &self,
        by: By,
        number: u64,
        partition: &Arc<PartitionState>,
    ) -> Result<(), TransactionError> {
        match self.standing(by, number)? {
            Standing::Open(ledger) => drop(ledger),
            Standing::Ended(ended) => return Err(self.ended_otherwise(by, number, ended)),
        }
        // Gives the producer its slot there.
        self.place(partition, by.id, by.epoch, by.mode)?;
        if self.enter_transaction(by.id, by.epoch, number, partition)? {
            return Ok(());
        }
        Err(TransactionError::NotOpen { transaction: number, last: number })
    }

    /// Adds a group's offset to an open transaction; the later one for a partition counts.
    pub(crate) fn add_offset(&self, by: By, number: u64, offset: GroupOffset) -> Result<(), TransactionError> {
        let mut ledger = match self.standing(by, number)? {
            Standing::Open(ledger) => ledger,
            Standing::Ended(ended) => return Err(self.ended_otherwise(by, number, ended)),
        };
        self.refuse_stale(&ledger, &offset)?;
        let Some(open) = ledger.open.get_mut(&by.id.slot()) else { return Ok(()) };
        let same = |one: &&mut GroupOffset| (&one.group, one.partition) == (&offset.group, offset.partition);
        match open.offsets.iter_mut().find(same) {
            Some(one) => *one = offset,
            None => open.offsets.push(offset),
        }
        Ok(())
    }

    fn refuse_stale(&self, ledger: &Ledger, offset: &GroupOffset) -> Result<(), TransactionError> {
        let current = ledger.groups.get(&offset.group).map_or(0, |group| group.generation);
        // Generations begin at 1: one that was never given is no group's.
        if offset.generation == current && current > 0 {
            return Ok(());
        }
        let group = offset.group.to_string();
        Err(TransactionError::StaleGeneration { group, generation: offset.generation, current })
    }

    /// A new generation of a group: durable on return, and elder ones commit no more.
    pub(crate) fn next_generation(&self, name: &str) -> Result<u64, TransactionError> {
        let mut ledger = self.ledger();
        let generation = ledger.groups.get(name).map_or(0, |group| group.generation) + 1;
        let offset = self.write_entry(&mut ledger, &LedgerEntry::Group { group: name.into(), generation })?;
        // From here on: an elder one that comes between this and the flush is told so already.
        ledger.groups.entry(name.into()).or_default().generation = generation;
        drop(ledger);
        self.wait_entry_durable(offset, Duration::MAX)?;
        Ok(generation)
    }

    /// Commits groups' offsets outside of a transaction; the offset of the ledger's entry.
    pub(crate) fn commit_offsets(&self, offsets: Vec<GroupOffset>) -> Result<u64, TransactionError> {
        let mut ledger = self.ledger();
        for offset in &offsets {
            self.refuse_stale(&ledger, offset)?;
        }
        let entry = LedgerEntry::Offsets(offsets);
        let offset = self.write_entry(&mut ledger, &entry)?;
        if let LedgerEntry::Offsets(offsets) = entry {
            for one in offsets {
                ledger.groups.entry(one.group).or_default().offsets.insert(one.partition, one.offset);
            }
        }
        Ok(offset)
    }

    /// Whether the ledger's entry at `offset`, and all that it and those before it name, is durable.
    pub(crate) fn is_entry_durable(&self, offset: u64) -> bool {
        let ledger = self.ledger();
        let own = ledger.own.as_ref().is_none_or(|(own, _)| own.durable.offset() > offset);
        own && ledger.needs(offset).iter().all(|(partition, last)| partition.durable.offset() > *last)
    }

    /// What has to be durable for the ledger's entry at `offset` to be, itself included.
    pub(crate) fn needs_of_entry(&self, offset: u64) -> Vec<(Arc<PartitionState>, u64)> {
        let ledger = self.ledger();
        let mut needs: Vec<_> = ledger.own.iter().map(|(own, _)| (Arc::clone(own), offset)).collect();
        needs.extend(ledger.needs(offset));
        needs
    }

    /// Waits until it is; false if the time is over first.
    pub(crate) fn wait_entry_durable(&self, offset: u64, timeout: Duration) -> Result<bool, DurableError> {
        let until = Instant::now().checked_add(timeout);
        for (partition, last) in self.needs_of_entry(offset) {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            match self.wait_durable(&partition, last, left) {
                // A cut waits for the commits that it reaches into: what was to be durable was.
                Ok(true) | Err(DurableError::Truncated { .. }) => {}
                other => return other,
            }
        }
        self.try_settle();
        Ok(true)
    }

    /// Waits until no commit of the producer in the partition, or in any, could be undone by a power cut: what it appends
    /// there outside of transactions must not outlive them.
    pub(crate) fn wait_settled(&self, id: ProducerId, partition: Option<&PartitionState>) -> Result<(), DurableError> {
        let unsettled = self.ledger().unsettled(id, partition);
        match unsettled {
            Some(offset) => self.wait_entry_durable(offset, Duration::MAX).map(|_| ()),
            None => Ok(()),
        }
    }

    /// A producer is about to append to a partition outside of transactions. Whether it may: not while one is open there,
    /// and not before those that it has committed there are durable.
    pub(crate) fn leave_transaction(
        &self,
        id: ProducerId,
        partition: &Arc<PartitionState>,
    ) -> Result<bool, AppendError> {
        let Some(slot) = partition.table.get(id.slot() as usize) else { return Ok(true) };
        let mut ledger = self.ledger();
        let behind = slot.transaction();
        if let Some(open) = ledger.open_of(id)
            && open.parts.iter().any(|part| Arc::ptr_eq(&part.partition, partition))
        {
            let (number, Some(ended)) = (open.number, open.aborting) else { return Ok(false) };
            self.abort_open(&mut ledger, id, number, ended)?;
        }
        drop(ledger);
        self.wait_settled(id, Some(partition))?;
        slot.leave(behind);
        Ok(true)
    }

    /// Time until the next transaction is over its timeout.
    pub(crate) fn next_expiry(&self) -> Option<Duration> {
        let ledger = self.ledger();
        // What is being ended is tried again at leisure.
        let open = ledger.open.values().filter(|open| open.ending().is_none());
        open.map(|open| open.timeout.saturating_sub(open.began.elapsed())).min()
    }

    /// Ends what has been open for too long, tries again what could not be marked, and lets the ledger be trimmed.
    pub(crate) fn look_after_transactions(&self) {
        let (mut expired, mut halfway) = (Vec::new(), Vec::new());
        let unmarked = {
            let ledger = self.ledger();
            for open in ledger.open.values() {
                match open.aborting {
                    Some(ended) => halfway.push((open.id, open.number, ended)),
                    // Over its time, or doomed by a registration that has failed behind that.
                    None if open.doomed.is_some() || open.began.elapsed() >= open.timeout => {
                        expired.push((open.id, open.number));
                    }
                    None => {}
                }
            }
            ledger.decided.len()
        };
        for (id, number, ended) in halfway {
            let mut ledger = self.ledger();
            if ledger.open_of(id).is_some_and(|open| open.number == number && open.aborting.is_some()) {
                // What fails now is tried again.
                let _ = self.abort_open(&mut ledger, id, number, ended);
            }
        }
        for (id, number) in expired {
            event!(WARN, producer = %id, transaction = number, "a transaction was open for too long, and is aborted");
            let _ = self.fence_out(id, number, Ended::TimedOut);
        }
        if unmarked > UNMARKED_MAX {
            let newest = self.ledger().decided.back().map(|decided| decided.offset);
            let _ = newest.map(|offset| self.wait_entry_durable(offset, Duration::from_millis(500)));
        }
        self.let_ledger_be_trimmed();
    }

    /// Aborts a producer's open transaction, if it is that one, and fences the producer.
    pub(crate) fn fence_out(&self, id: ProducerId, number: u64, ended: Ended) -> Result<bool, RegisterError> {
        // Doomed at once: it can no longer be committed, nor another one be begun in its place.
        let is_open = {
            let mut ledger = self.ledger();
            let open = ledger.open.get_mut(&id.slot()).filter(|open| (open.id, open.number) == (id, number));
            open.map(|open| open.doomed = open.doomed.or(Some(ended))).is_some()
        };
        if is_open {
            self.register_again(id, number, ended)?;
        }
        Ok(is_open)
    }

    /// Snapshots of the ledger may stand where all commits before are marked, and the markers durable: what a snapshot
    /// stands for is dropped, and could decide nothing any more.
    fn let_ledger_be_trimmed(&self) {
        if !self.carried_out.load(Ordering::Acquire) {
            return;
        }
        let (own, limit) = {
            let mut ledger = self.ledger();
            self.settle(&mut ledger, true);
            let Some((own, _)) = &ledger.own else { return };
            let end = own.chain.visible_end().map_or(0, |end| end.offset);
            (Arc::clone(own), ledger.first_unmarked().unwrap_or(end))
        };
        if own.chain.begun().len() < 2 && !self.closing.load(Ordering::Acquire) {
            // Nothing is trimmed yet.
            return;
        }
        if limit <= own.snapshot_limit.load(Ordering::Relaxed) {
            return;
        }
        for partition in self.all_partitions() {
            let marked = partition.marked.load(Ordering::Relaxed);
            // No marker is at 0: there is none.
            if marked > 0 && marked >= partition.durable.position() && self.flush_up_to(&partition, marked).is_err() {
                return;
            }
        }
        own.snapshot_limit.store(limit, Ordering::Relaxed);
    }

    /// Before the log is closed: aborts what is open, makes commits durable and marks them. What is left undone, the next
    /// opening does.
    pub(crate) fn leave_no_transaction_open(&self) {
        let open: Vec<(ProducerId, u64)> = self.ledger().open.values().map(|open| (open.id, open.number)).collect();
        for (id, number) in open {
            let _ = self.abort_open(&mut self.ledger(), id, number, Ended::Aborted);
        }
        let newest = self.ledger().decided.back().map(|decided| decided.offset);
        if let Some(offset) = newest {
            let _ = self.wait_entry_durable(offset, Duration::from_secs(60));
            self.settle(&mut self.ledger(), true);
        }
        self.let_ledger_be_trimmed();
    }
}

fn refuse(by: By, epoch: u32, mode: Mode) -> Result<(), TransactionError> {
    if mode != by.mode {
        return Err(TransactionError::WrongMode { producer: by.id, registered: mode });
    }
    match epoch.cmp(&by.epoch) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(TransactionError::Fenced { epoch }),
        std::cmp::Ordering::Less => Err(TransactionError::EpochNotIssued { current: epoch }),
    }
}
