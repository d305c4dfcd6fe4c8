//! Transactions and groups, in memory: which are open, which are decided and not yet marked everywhere, how far groups have
//! come. What they are is what the log's own partition of transactions says; `decide.rs` writes there first.

use crate::{
    format::ledger::GroupOffset,
    ids::{Mode, ProducerId, Progress, Spread},
    partition::{
        PartitionState,
        append::Cursor,
        ledger::{GroupState, LedgerState},
    },
    sync::Arc,
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::BuildHasherDefault,
    time::{Duration, Instant},
};

/// By producers' slots. A tree would make and free a node whenever a transaction comes and goes by itself.
pub(crate) type BySlot<T> = HashMap<u32, T, BuildHasherDefault<Spread>>;

/// Who ends or adds to a transaction.
#[derive(Clone, Copy)]
pub(crate) struct By {
    pub(crate) id: ProducerId,
    pub(crate) epoch: u32,
    pub(crate) mode: Mode,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Committed,
    Aborted,
    /// It was older than its timeout.
    TimedOut,
    /// Its producer was registered again.
    Fenced,
}

/// What is known of a producer's transactions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Author {
    pub(crate) id: ProducerId,
    /// The epoch that may begin one, and how its producer appends; 0 while nobody has asked the registry.
    pub(crate) epoch: u32,
    pub(crate) mode: Mode,
    /// Its latest transaction; 0 for none.
    pub(crate) last: u64,
    /// How that one ended, if it is not open. Of one that was not open when the log was opened, committed or aborted.
    pub(crate) ended: Ended,
    /// The epoch that it was begun in; 0 where that is not known any more.
    pub(crate) last_epoch: u32,
    /// Offset of the ledger's entry that committed it, since the log was opened.
    pub(crate) entry: Option<u64>,
}

/// An undecided transaction in one partition.
pub(crate) struct OpenPart {
    pub(crate) partition: Arc<PartitionState>,
    /// The producer's before it.
    pub(crate) before: Progress,
    /// No record of it is before this.
    pub(crate) first_offset: u64,
}

/// An undecided transaction.
pub(crate) struct OpenTransaction {
    pub(crate) id: ProducerId,
    pub(crate) epoch: u32,
    pub(crate) mode: Mode,
    pub(crate) number: u64,
    pub(crate) began: Instant,
    pub(crate) timeout: Duration,
    pub(crate) parts: Vec<OpenPart>,
    pub(crate) offsets: Vec<GroupOffset>,
    /// Its producer is being fenced: it is neither added to nor committed any more, and aborted behind the fences.
    pub(crate) doomed: Option<Ended>,
    /// It is being aborted, and how; where a marker could not be written, the others are still to come.
    pub(crate) aborting: Option<Ended>,
}

/// A committed transaction in one partition.
pub(crate) struct DecidedPart {
    pub(crate) partition: Arc<PartitionState>,
    pub(crate) last_offset: u64,
    pub(crate) marked: bool,
}

/// A committed transaction that is not marked in all its partitions.
pub(crate) struct Decided {
    pub(crate) id: ProducerId,
    pub(crate) epoch: u32,
    pub(crate) number: u64,
    /// Of its entry in the ledger.
    pub(crate) offset: u64,
    pub(crate) parts: Vec<DecidedPart>,
    /// What it was made of: the last offsets that its groups have come to, by their partitions.
    pub(crate) inputs: Vec<(Arc<PartitionState>, u64)>,
}

impl Decided {
    /// The last offset that has to be durable for this to be, by partition.
    pub(crate) fn needs(&self) -> impl Iterator<Item = (&Arc<PartitionState>, u64)> {
        let parts = self.parts.iter().map(|part| (&part.partition, part.last_offset));
        parts.chain(self.inputs.iter().map(|(partition, last)| (partition, *last)))
    }

    /// Whether this has records in a partition that are not marked, or was made of records there that may not be durable.
    pub(crate) fn is_unsettled_in(&self, partition: &Arc<PartitionState>) -> bool {
        self.parts.iter().any(|part| Arc::ptr_eq(&part.partition, partition) && !part.marked)
            || self.inputs.iter().any(|(input, _)| Arc::ptr_eq(input, partition))
    }

    /// Whether all that this names, other than its entry, is durable.
    pub(crate) fn is_durable(&self) -> bool {
        self.needs().all(|(partition, last)| partition.durable.offset() > last)
    }
}

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Ledger {
    /// The log's own partition of transactions, once there is one, and the way into it.
    pub(crate) own: Option<(Arc<PartitionState>, Cursor)>,
    /// By slot.
    pub(crate) authors: BySlot<Author>,
    /// Their names, by slot, of those that have begun one since the log was opened.
    pub(crate) names: HashMap<u32, Box<str>>,
    /// By slot.
    pub(crate) open: BySlot<OpenTransaction>,
    /// In the order of their entries.
    pub(crate) decided: VecDeque<Decided>,
    pub(crate) groups: BTreeMap<Box<str>, GroupState>,
    /// For entries that are being encoded.
    pub(crate) buffer: Vec<u8>,
}

impl OpenTransaction {
    /// How it will have ended, if it is not to go on.
    pub(crate) fn ending(&self) -> Option<Ended> {
        self.aborting.or(self.doomed)
    }
}

impl Ledger {
    /// As recovery found it.
    pub(crate) fn new(state: LedgerState) -> Self {
        let mut ledger = Self { groups: state.groups, ..Self::default() };
        for committed in state.committed.into_values() {
            ledger.saw(committed.producer, committed.transaction, committed.epoch, Ended::Committed);
        }
        ledger
    }

    /// Takes into account that a producer has had a transaction, as recovery found it; the later one counts.
    pub(crate) fn saw(&mut self, id: ProducerId, transaction: u64, last_epoch: u32, ended: Ended) {
        let author = Author { id, epoch: 0, mode: Mode::Session, last: transaction, ended, last_epoch, entry: None };
        let known = self.authors.entry(id.slot()).or_insert(author);
        if known.id != id || known.last < transaction {
            *known = author;
        }
    }

    /// The producer in its slot, if anything is known of its transactions.
    pub(crate) fn author(&mut self, id: ProducerId) -> Option<&mut Author> {
        self.authors.get_mut(&id.slot()).filter(|author| author.id == id)
    }

    /// The producer's open transaction.
    pub(crate) fn open_of(&self, id: ProducerId) -> Option<&OpenTransaction> {
        self.open.get(&id.slot()).filter(|open| open.id == id)
    }

    /// Notes how a transaction ended that is no longer open.
    pub(crate) fn end(&mut self, id: ProducerId, ended: Ended) {
        if let Some(author) = self.author(id) {
            author.ended = ended;
        }
    }

    /// Offset in the ledger before which every commit is marked everywhere; none if all are.
    pub(crate) fn first_unmarked(&self) -> Option<u64> {
        self.decided.front().map(|decided| decided.offset)
    }

    /// Offset of the ledger's latest entry that commits a transaction of the producer in that partition, or in any, if it is
    /// not known to be durable.
    pub(crate) fn unsettled(&self, id: ProducerId, partition: Option<&PartitionState>) -> Option<u64> {
        let there = |decided: &Decided, partition: &PartitionState| {
            decided.parts.iter().any(|part| std::ptr::eq(&*part.partition, partition))
        };
        let of = |decided: &&Decided| decided.id == id && partition.is_none_or(|partition| there(decided, partition));
        self.decided.iter().rev().find(of).map(|decided| decided.offset)
    }

    /// What has to be durable for the entry at `offset` to be: the last offset of each partition that it, or an entry
    /// before it, names.
    pub(crate) fn needs(&self, offset: u64) -> Vec<(Arc<PartitionState>, u64)> {
        let mut needs: Vec<(Arc<PartitionState>, u64)> = Vec::new();
        let before = self.decided.iter().take_while(|decided| decided.offset <= offset);
        for (partition, last_offset) in before.flat_map(Decided::needs) {
            match needs.iter_mut().find(|(known, _)| Arc::ptr_eq(known, partition)) {
                Some((_, last)) => *last = (*last).max(last_offset),
                None => needs.push((Arc::clone(partition), last_offset)),
            }
        }
        needs
    }
}
