//! Deciding transactions: entering a partition, committing, aborting, marking. Everything here is under the ledger's lock,
//! so of a commit, an abort, a fence and a timeout the first one counts.
//!
//! ```text
//! commit   1. every partition's last frame of the transaction: where it is, its checksum; all before it visible
//!          2. one entry in the ledger that names them: from here on it is committed
//!          3. readers are let past; markers follow when the entry and all that it names are durable
//! abort    1. in each partition a marker, and the producer goes on as if nothing had been
//!          2. readers are let past, and pass over its records
//! ```

use crate::{
    answer::Answer,
    core::{Core, Source},
    error::{AppendError, OpenError, TransactionError},
    format::{
        frame::{Kind, Producer},
        ledger::{CommitPart, GroupOffset, LedgerEntry},
        snapshot::{Aborted, Extent},
    },
    ids::{ProducerId, Progress},
    ledger::{By, Decided, DecidedPart, Ended, Ledger, OpenPart, OpenTransaction},
    names::TRANSACTIONS,
    partition::{
        PartitionState,
        append::Cursor,
        body::{Single, fit},
        chain::Located,
        marker::try_mark,
        slot::{ENDED, Locked, Slot},
        stability::Open,
    },
    sync::{Arc, Backoff},
};
use std::sync::{MutexGuard, atomic::Ordering};

/// Where a transaction ends, as its commit names it.
struct End {
    part: Option<(CommitPart, u64)>,
    visible: bool,
}

/// The slot's lock, whatever its state.
fn lock(slot: &Slot) -> Locked<'_> {
    let mut backoff = Backoff::new();
    loop {
        if let Some(locked) = slot.lock(slot.state()) {
            return locked;
        }
        backoff.wait();
    }
}

/// The producer's slot in a partition of its transaction.
fn slot_of(partition: &PartitionState, id: ProducerId) -> Option<&Slot> {
    partition.table.get(id.slot() as usize)
}

impl Core {
    /// Writes an entry of the ledger; returns its offset. It is visible on return.
    pub(crate) fn write_entry(&self, ledger: &mut Ledger, entry: &LedgerEntry) -> Result<u64, TransactionError> {
        if ledger.own.is_none() {
            let own = self.partition_named(TRANSACTIONS).map_err(|error| no_ledger(self, error))?;
            let cursor = Cursor::new(own.chain.newest_tail());
            ledger.own = Some((own, cursor));
        }
        let Ledger { own, buffer, .. } = ledger;
        let Some((own, cursor)) = own else { unreachable!("it was made above") };
        buffer.clear();
        entry.encode(buffer);
        let record = Single(buffer);
        let fitting = fit(&record, own.options.body_bytes_max()).map_err(AppendError::from)?;
        let offset = cursor.append(&fitting, self.clock.now_ms(), &Source { core: self, partition: own })?.first;
        // Only the committer's own marks may still be in the way.
        let mut backoff = Backoff::new();
        while own.chain.visible_end().is_ok_and(|end| end.offset <= offset) {
            backoff.wait();
        }
        Ok(offset)
    }

    /// A transaction is about to append to a partition for the first time. Whether it is open.
    pub(crate) fn enter_transaction(
        &self,
        id: ProducerId,
        epoch: u32,
        number: u64,
        partition: &Arc<PartitionState>,
    ) -> Result<bool, AppendError> {
        let mut ledger = self.ledger();
        let open = ledger
            .open
            .get_mut(&id.slot())
            .filter(|open| (open.id, open.epoch, open.number) == (id, epoch, number) && open.ending().is_none());
        let Some(open) = open else { return Ok(false) };
        let Some(slot) = slot_of(partition, id) else { return Ok(false) };
        if open.parts.iter().any(|part| Arc::ptr_eq(&part.partition, partition)) {
            // Not while it is being committed.
            return Ok(slot.transaction() == number);
        }
        let next = partition.chain.next_offset();
        let first_offset = next.map_err(|source| AppendError::Prepare { path: partition.directory.clone(), source })?;
        partition.stability.enter(Open { producer: id, transaction: number, first_offset });
        let locked = lock(slot);
        let before = locked.slot().progress();
        locked.slot().set_transaction(number);
        drop(locked);
        open.parts.push(OpenPart { partition: Arc::clone(partition), before, first_offset });
        Ok(true)
    }

    /// The answer to an append that belongs to no open transaction.
    pub(crate) fn invalid_transaction(&self, id: ProducerId) -> Answer {
        let ledger = self.ledger();
        Answer::InvalidTransaction { open: ledger.open_of(id).filter(|o| o.ending().is_none()).map(|open| open.number) }
    }

    /// Commits the open transaction, whose producer and number were checked. The offset of the ledger's entry, if there
    /// was anything to commit.
    pub(crate) fn commit_open<'a>(
        &'a self,
        mut ledger: MutexGuard<'a, Ledger>,
        by: By,
        number: u64,
    ) -> Result<Option<u64>, TransactionError> {
        let id = by.id;
        let mut backoff = Backoff::new();
        let ends = loop {
            let Some(open) = ledger
                .open
                .get(&id.slot())
                .filter(|open| (open.id, open.number) == (id, number) && open.ending().is_none())
            else {
                // Ended by its timeout, or by a registration, or committed by another call, while its last frames were
                // waited for.
                return ended_meanwhile(&mut ledger, by, number);
            };
            let ends = open.parts.iter().map(|part| end_of(open, part)).collect::<Result<Vec<End>, _>>();
            match ends {
                Ok(ends) if ends.iter().all(|end| end.visible) => break ends,
                Ok(_) => {}
                Err(error) => {
                    reopen(open);
                    return Err(error);
                }
            }
            drop(ledger);
            backoff.wait();
            ledger = self.ledger();
        };
        // A consumer that was replaced commits nothing, whatever else is in the transaction.
        if let Some(stale) = stale_offset(&ledger, id) {
            self.abort_open(&mut ledger, id, number, Ended::Aborted)?;
            return Err(stale);
        }
        let Some(open) = ledger.open.remove(&id.slot()) else { return Ok(None) };
        let parts: Vec<CommitPart> = ends.iter().filter_map(|end| Some(end.part?.0)).collect();
        let empty = parts.is_empty() && open.offsets.is_empty();
        let offsets = open.offsets.clone();
        let entry = LedgerEntry::Commit { producer: id, epoch: open.epoch, transaction: number, parts, offsets };
        let offset = if empty { None } else { Some(self.write_entry(&mut ledger, &entry)) };
        let offset = match offset.transpose() {
            Ok(offset) => offset,
            Err(error) => {
                reopen(&open);
                ledger.open.insert(id.slot(), open);
                return Err(error);
            }
        };
        for one in &open.offsets {
            let group = ledger.groups.entry(one.group.clone()).or_default();
            group.offsets.insert(one.partition, one.offset);
        }
        ledger.end(id, Ended::Committed);
        if let Some(author) = ledger.author(id) {
            author.entry = offset;
        }
        let mut decided = Vec::with_capacity(open.parts.len());
        for (part, end) in open.parts.into_iter().zip(&ends) {
            part.partition.stability.decide(id, number, None);
            if let Some((_, last_offset)) = end.part {
                decided.push(DecidedPart { partition: part.partition, last_offset, marked: false });
            }
        }
        let inputs = self.inputs_of(&open.offsets);
        if let Some(offset) = offset.filter(|_| !decided.is_empty() || !inputs.is_empty()) {
            ledger.decided.push_back(Decided { id, epoch: open.epoch, number, offset, parts: decided, inputs });
        }
        Ok(offset)
    }

    /// The last records that groups have read, by partition: what was made of them is not to outlive them.
    fn inputs_of(&self, offsets: &[GroupOffset]) -> Vec<(Arc<PartitionState>, u64)> {
        let input = |one: &GroupOffset| Some((self.partition_numbered(one.partition)?, one.offset.checked_sub(1)?));
        // Most are durable by the time that they are read, and need not be asked again.
        offsets.iter().filter_map(input).filter(|(partition, last)| partition.durable.offset() <= *last).collect()
    }

    /// Aborts the producer's open transaction. If a marker can't be written, the transaction stays, to be ended so later.
    pub(crate) fn abort_open(
        &self,
        ledger: &mut Ledger,
        id: ProducerId,
        number: u64,
        ended: Ended,
    ) -> Result<(), AppendError> {
        let open = ledger.open.get_mut(&id.slot()).filter(|open| (open.id, open.number) == (id, number));
        let Some(open) = open else { return Ok(()) };
        let ended = *open.aborting.get_or_insert(open.doomed.unwrap_or(ended));
        while let Some(part) = open.parts.last() {
            let marker = self.abort_part(open, part)?;
            part.partition.stability.decide(id, open.number, marker);
            open.parts.pop();
        }
        ledger.open.remove(&id.slot());
        ledger.end(id, ended);
        Ok(())
    }

    fn abort_part(&self, open: &OpenTransaction, part: &OpenPart) -> Result<Option<Aborted>, AppendError> {
        let partition = &*part.partition;
        let Some(slot) = slot_of(partition, open.id) else { return Ok(None) };
        let locked = lock(slot);
        // From here on nothing is appended in it.
        locked.slot().set_transaction(open.number | ENDED);
        let progress = locked.slot().progress();
        drop(locked);
        if progress.last_position == part.before.last_position {
            return Ok(None);
        }
        let before = part.before;
        let producer = Producer {
            id: open.id,
            first_sequence: before.expected,
            epoch: open.epoch,
            previous_position: before.last_position,
            transaction: open.number,
        };
        let mut cursor = Cursor::new(partition.chain.newest_tail());
        let source = Source { core: self, partition };
        let marker = cursor.mark(Kind::Abort, producer, self.clock.now_ms(), &source)?;
        lock(slot).slot().advance(Progress { last_ms: progress.last_ms, ..before });
        // What is not known of where it ended, readers find out frame by frame.
        let end = extent(partition, progress).unwrap_or_default();
        Ok(Some(Aborted { producer: open.id, transaction: open.number, marker, end }))
    }

    /// Writes the markers of commits that are durable with all that they name: where there is room for them, or waiting for
    /// it.
    pub(crate) fn settle(&self, ledger: &mut Ledger, waiting: bool) {
        let Ledger { own: Some((own, _)), decided, .. } = ledger else { return };
        let durable = own.durable.offset();
        // Those from the first on that are durable, and marked everywhere.
        let mut settled = 0;
        for (at, one) in decided.iter_mut().enumerate() {
            if durable <= one.offset || !one.is_durable() {
                break;
            }
            let Decided { id, epoch, number, parts, .. } = one;
            for part in parts.iter_mut().filter(|part| !part.marked) {
                let producer =
                    Producer { id: *id, first_sequence: 0, epoch: *epoch, previous_position: 0, transaction: *number };
                let tail = part.partition.chain.newest_tail();
                let now_ms = self.clock.now_ms();
                let marked = try_mark(&tail, Kind::Commit, producer, now_ms);
                let marked = marked.or_else(|| {
                    let source = Source { core: self, partition: &part.partition };
                    // What there is no room for now is tried again.
                    waiting.then(|| Cursor::new(tail).mark(Kind::Commit, producer, now_ms, &source).ok())?
                });
                if let Some(position) = marked {
                    part.partition.marked.fetch_max(position, Ordering::Relaxed);
                    part.marked = true;
                }
            }
            settled += usize::from(settled == at && parts.iter().all(|part| part.marked));
        }
        decided.drain(..settled);
    }

    /// The same, unless somebody else has the ledger: for whoever others wait for.
    pub(crate) fn try_settle(&self) {
        if let Ok(mut ledger) = self.ledger.try_lock()
            && !ledger.decided.is_empty()
        {
            self.settle(&mut ledger, false);
        }
    }
}

/// What a commit is answered with whose transaction is no longer open.
fn ended_meanwhile(ledger: &mut Ledger, by: By, number: u64) -> Result<Option<u64>, TransactionError> {
    let By { id, epoch, .. } = by;
    let ending = ledger.open_of(id).filter(|open| open.number == number).and_then(OpenTransaction::ending);
    let Some(author) = ledger.author(id).copied() else {
        return Err(TransactionError::NotOpen { transaction: number, last: 0 });
    };
    if author.last != number {
        // Whoever has fenced this one may have begun a transaction since.
        let fenced = author.epoch > epoch;
        return Err(match fenced {
            true => TransactionError::Fenced { epoch: author.epoch },
            false => TransactionError::NotOpen { transaction: number, last: author.last },
        });
    }
    match ending.unwrap_or(author.ended) {
        Ended::Committed => Ok(author.entry),
        Ended::Aborted => Err(TransactionError::Aborted { transaction: number }),
        Ended::TimedOut => Err(TransactionError::TimedOut { transaction: number }),
        Ended::Fenced => Err(TransactionError::Fenced { epoch: author.epoch }),
    }
}

/// The first offset of an open transaction whose group was taken over since.
fn stale_offset(ledger: &Ledger, id: ProducerId) -> Option<TransactionError> {
    let newest = |one: &GroupOffset| ledger.groups.get(&one.group).map_or(0, |group| group.generation);
    let one = ledger.open_of(id)?.offsets.iter().find(|one| one.generation != newest(one))?;
    let (group, generation, current) = (one.group.to_string(), one.generation, newest(one));
    Some(TransactionError::StaleGeneration { group, generation, current })
}

fn no_ledger(core: &Core, error: OpenError) -> AppendError {
    let source = match error {
        OpenError::Io { source, .. } => source,
        other => std::io::Error::other(other.to_string()),
    };
    AppendError::Prepare { path: core.directory.clone(), source }
}

/// Where an open transaction ends in one of its partitions. Nothing more is appended in it from here on.
fn end_of(open: &OpenTransaction, part: &OpenPart) -> Result<End, TransactionError> {
    let nothing = End { part: None, visible: true };
    let partition = &*part.partition;
    let Some(slot) = slot_of(partition, open.id) else { return Ok(nothing) };
    let locked = lock(slot);
    locked.slot().set_transaction(open.number | ENDED);
    let position = locked.slot().progress().last_position;
    drop(locked);
    if position == part.before.last_position {
        return Ok(nothing);
    }
    let number = partition.number;
    let Some(located) = partition.published_at(position)? else {
        // Dropped by retention, so it was durable.
        let part = CommitPart { partition: number, position, checksum: 0 };
        return Ok(End { part: Some((part, partition.chain.start_offset().saturating_sub(1))), visible: true });
    };
    let first = located.segment.base_offset().unwrap_or(0) + u64::from(located.frame.stored.offset_delta());
    let last = first + u64::from(located.frame.stored.records()).max(1) - 1;
    let part = CommitPart { partition: number, position, checksum: located.frame.checksum };
    let visible = partition.chain.is_visible(&located).unwrap_or(false);
    Ok(End { part: Some((part, last)), visible })
}

/// Where the frames of a transaction end, of which that is the producer's last word.
fn extent(partition: &PartitionState, progress: Progress) -> Option<Extent> {
    let Located { segment, frame, .. } = partition.published_at(progress.last_position).ok()??;
    let first = segment.base_offset()? + u64::from(frame.stored.offset_delta());
    Some(Extent {
        last_offset: first + u64::from(frame.stored.records()).max(1) - 1,
        end_sequence: progress.expected,
        end_position: segment.shape().position(frame.unit + frame.units),
    })
}

/// Lets a transaction be appended in again, whose commit has failed.
fn reopen(open: &OpenTransaction) {
    for slot in open.parts.iter().filter_map(|part| slot_of(&part.partition, open.id)) {
        lock(slot).slot().set_transaction(open.number);
    }
}
