//! Which records of a partition are stable: those before the first record of every undecided transaction. And which of
//! them are to be passed over: those of aborted ones.
//!
//! ```text
//! writer   enter: store `first`     append, publish     decide: add to the aborted, and then take out of `first`
//! reader   load the visible end     load `first`        read up to the lower of both, ask whether each is aborted
//! ```
//!
//! A reader looks at the visible end first. Whatever it sees of a transaction's records there was published behind `enter`,
//! so it sees `first` too, or that the transaction is decided; and whoever is no longer held back by an aborted one finds
//! it among the aborted. The limit that a read has got never shrinks: what was below it was decided then.

use crate::{
    format::snapshot::{Aborted, Extent},
    ids::{ProducerId, Spread},
    sync::{AtomicU64, Mutex, MutexGuard, Ordering, PoisonError},
};
use std::{
    collections::{HashMap, VecDeque},
    hash::BuildHasherDefault,
};

/// No transaction is undecided.
const NONE: u64 = u64::MAX;

/// An undecided transaction, in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) producer: ProducerId,
    pub(crate) transaction: u64,
    /// No record of it is before this.
    pub(crate) first_offset: u64,
}

#[derive(Default)]
struct Hidden {
    all: HashMap<(ProducerId, u64), Extent, BuildHasherDefault<Spread>>,
    /// In the order of their markers.
    order: VecDeque<Aborted>,
    /// Position below which nothing is known any more.
    forgotten: u64,
}

/// What becomes of a decided transaction's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Read,
    /// They are passed over, up to there.
    Hidden(Extent),
    /// They are no longer kept, and neither is what became of them.
    Forgotten,
}

/// See the head of this file.
pub(crate) struct Stability {
    /// Lowest first offset of an undecided transaction, or `NONE`. Written under `open`'s lock, with Release; read by
    /// readers with Acquire.
    first: AtomicU64,
    /// The highest limit that was given since the last cut. Raised by readers, who look at the visible end under this lock: so
    /// that none brings an end from before a cut after it.
    given: Mutex<u64>,
    open: Mutex<Vec<Open>>,
    /// Readers ask once a transaction.
    hidden: Mutex<Hidden>,
}

impl Stability {
    pub(crate) fn new(aborted: &[Aborted]) -> Self {
        let mut hidden = Hidden::default();
        for aborted in aborted {
            hidden.all.insert((aborted.producer, aborted.transaction), aborted.end);
            hidden.order.push_back(*aborted);
        }
        Self {
            first: AtomicU64::new(NONE),
            given: Mutex::new(0),
            open: Mutex::new(Vec::new()),
            hidden: Mutex::new(hidden),
        }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_hidden(&self) -> MutexGuard<'_, Hidden> {
        self.hidden.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store_first(&self, open: &[Open]) {
        let first = open.iter().map(|open| open.first_offset).min().unwrap_or(NONE);
        // Release: pairs with the Acquire in `limit`; a transaction that is taken out was added to the aborted before.
        self.first.store(first, Ordering::Release);
    }

    /// A transaction is about to append here.
    pub(crate) fn enter(&self, transaction: Open) {
        let mut open = self.open();
        open.push(transaction);
        self.store_first(&open);
    }

    /// A transaction is decided. An aborted one's marker says below what its records are.
    pub(crate) fn decide(&self, producer: ProducerId, transaction: u64, aborted: Option<Aborted>) {
        if let Some(aborted) = aborted {
            let mut hidden = self.all_hidden();
            hidden.all.insert((producer, transaction), aborted.end);
            hidden.order.push_back(aborted);
        }
        let mut open = self.open();
        open.retain(|open| (open.producer, open.transaction) != (producer, transaction));
        self.store_first(&open);
    }

    /// Offset behind the last stable record. `visible_end` is called first.
    pub(crate) fn limit<E>(&self, visible_end: impl FnOnce() -> Result<u64, E>) -> Result<u64, E> {
        // Whoever gets a limit that another read has raised sees what that one has seen.
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let end = visible_end()?;
        // Acquire: pairs with the Release in `store_first`.
        let limit = end.min(self.first.load(Ordering::Acquire));
        *given = limit.max(*given);
        Ok(*given)
    }

    /// What is behind a place is cut off, by `cut`, which everyone sees once it has returned. Of the aborted transactions whose
    /// markers are cut off, those are remembered that have other markers: records of theirs are before the place.
    pub(crate) fn cut(&self, position: u64, offset: u64, markers: &[Aborted], cut: impl FnOnce()) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut open = self.open();
            open.iter_mut().for_each(|open| open.first_offset = open.first_offset.min(offset));
            self.store_first(&open);
        }
        {
            let mut hidden = self.all_hidden();
            let Hidden { all, order, .. } = &mut *hidden;
            order.retain(|aborted| aborted.marker < position);
            order.extend(markers);
            all.clear();
            all.extend(order.iter().map(|aborted| ((aborted.producer, aborted.transaction), aborted.end)));
        }
        *given = (*given).min(offset);
        cut();
    }

    /// Where a transaction ends that was aborted, if it was: its records are to be passed over.
    pub(crate) fn hidden(&self, producer: ProducerId, transaction: u64) -> Option<Extent> {
        self.all_hidden().all.get(&(producer, transaction)).copied()
    }

    /// What becomes of a transaction's frame at a position, for readers.
    pub(crate) fn fate(&self, producer: ProducerId, transaction: u64, position: u64) -> Fate {
        let hidden = self.all_hidden();
        match hidden.all.get(&(producer, transaction)) {
            Some(end) => Fate::Hidden(*end),
            None if position < hidden.forgotten => Fate::Forgotten,
            None => Fate::Read,
        }
    }

    /// Aborted transactions that are remembered.
    pub(crate) fn aborted(&self) -> usize {
        self.all_hidden().order.len()
    }

    /// Undecided transactions, and the one of them that holds the limit back.
    pub(crate) fn undecided(&self) -> (usize, Option<Open>) {
        let open = self.open();
        (open.len(), open.iter().min_by_key(|open| open.first_offset).copied())
    }

    /// Forgets aborted transactions of which nothing is kept: nothing is before that position.
    pub(crate) fn forget_before(&self, start: u64) {
        let mut hidden = self.all_hidden();
        hidden.forgotten = start;
        while let Some(first) = hidden.order.front().copied().filter(|first| first.marker < start) {
            hidden.order.pop_front();
            hidden.all.remove(&(first.producer, first.transaction));
        }
    }
}
