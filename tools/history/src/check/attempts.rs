//! What is known of each attempt.

use std::collections::{BTreeMap, HashMap};

use crate::{
    event::What,
    history::{End, History},
};

/// One try of a transaction, or one append outside of transactions.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// The life it belongs to.
    pub(super) life: usize,
    pub(super) is_plain: bool,
    /// Records whose append was called, with the ticket.
    called: BTreeMap<(u32, u32), u64>,
    /// Records whose append was answered, with their offsets.
    pub(super) records: BTreeMap<(u32, u32), u64>,
    /// Ticket from which on it may be seen: of the call of its commit, or of the plain append.
    pub(super) commit_at: Option<u64>,
    /// Ticket of the answer, in its own life.
    pub(super) committed_at: Option<u64>,
    pub(super) is_committed: bool,
    pub(super) is_aborted: bool,
    pub(super) is_refused: bool,
    pub(super) is_durable: bool,
    /// Group, and from where to where.
    pub(super) group: Option<(u32, u64, u64)>,
}

impl Attempt {
    /// The ticket of the call that has appended a record.
    pub(super) fn called_at(&self, partition: u32, record: u32) -> Option<u64> {
        self.called.get(&(partition, record)).copied()
    }
}

/// All of a history's.
pub(super) struct Attempts {
    all: HashMap<u64, Attempt>,
    /// In the order of their numbers.
    numbers: Vec<u64>,
}

impl Attempts {
    pub(super) fn of(history: &History) -> Result<Self, String> {
        let mut all: HashMap<u64, Attempt> = HashMap::new();
        for (life, events) in history.lives.iter().map(|life| &life.events).enumerate() {
            for event in events {
                take(&mut all, life, event.at, &event.what);
            }
            // A commit that is durable is so with those that were answered before it was called; of nothing, it always is.
            let durable = |one: &Attempt| {
                let says = one.life == life && one.is_durable && !one.records.is_empty();
                one.commit_at.filter(|_| says)
            };
            let latest = all.values().filter(|one| !one.is_plain).filter_map(durable).max();
            for one in all.values_mut().filter(|one| one.life == life && !one.is_plain) {
                one.is_durable |= one.committed_at.is_some_and(|at| latest.is_some_and(|latest| at < latest));
            }
        }
        for (number, one) in &all {
            if one.is_committed && one.is_aborted {
                return Err(format!("two outcomes: attempt {number} was answered as committed and as aborted"));
            }
            if one.is_committed && one.is_refused {
                return Err(format!("torn transaction: attempt {number} was committed without a record it refused"));
            }
        }
        let mut numbers: Vec<u64> = all.keys().copied().collect();
        numbers.sort_unstable();
        Ok(Self { all, numbers })
    }

    pub(super) fn get(&self, number: u64) -> Option<&Attempt> {
        self.all.get(&number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Attempt)> {
        self.numbers.iter().filter_map(|number| Some((*number, self.all.get(number)?)))
    }

    /// Whether an attempt has to be there when a life has ended.
    pub(super) fn is_required(&self, history: &History, attempt: &Attempt, life: usize) -> bool {
        let lossy = |number: &usize| history.lives.get(*number).is_some_and(|life| life.end == End::KeepsDurable);
        match (attempt.life..=life).find(lossy) {
            None => attempt.is_committed || (attempt.is_plain && is_quiet(history, attempt, life)),
            Some(_) => attempt.is_durable,
        }
    }
}

/// Whether what was merely appended has become visible: everything before it is finished when a life ends in quiet.
fn is_quiet(history: &History, attempt: &Attempt, life: usize) -> bool {
    let quiet = history.lives.get(attempt.life).is_some_and(|life| life.end == End::Quiet);
    quiet && attempt.life <= life && !attempt.records.is_empty()
}

fn take(all: &mut HashMap<u64, Attempt>, life: usize, at: u64, what: &What) {
    let Some(attempt) = attempt_of(what) else { return };
    let one = all.entry(attempt).or_insert_with(|| Attempt { life, ..Attempt::default() });
    match what {
        What::Plain { partition, records, .. } => {
            (one.is_plain, one.commit_at) = (true, Some(at));
            one.called.extend((0..*records).map(|record| ((*partition, record), at)));
        }
        What::Append { partition, record, records, .. } => {
            one.called.extend((*record..record + records).map(|record| ((*partition, record), at)));
        }
        What::Appended { partition, record, records, offset, .. } => {
            let records = (0..*records).map(|more| ((*partition, record + more), offset + u64::from(more)));
            one.records.extend(records);
        }
        What::Refused { .. } => one.is_refused = true,
        What::Offset { group, from, to, .. } => one.group = Some((*group, *from, *to)),
        What::Commit { .. } => one.commit_at = Some(at),
        What::Committed { .. } => {
            one.is_committed = true;
            if one.life == life {
                one.committed_at = one.committed_at.or(Some(at));
            } else {
                // Found by an opening, which has made it so.
                one.is_durable = true;
            }
        }
        What::Durable { .. } => (one.is_durable, one.is_committed) = (true, true),
        What::Aborted { .. } => one.is_aborted = true,
        _ => {}
    }
}

const fn attempt_of(what: &What) -> Option<u64> {
    match what {
        What::Plain { attempt, .. }
        | What::Begun { attempt, .. }
        | What::Append { attempt, .. }
        | What::Appended { attempt, .. }
        | What::Refused { attempt }
        | What::Offset { attempt, .. }
        | What::Commit { attempt }
        | What::Committed { attempt }
        | What::Durable { attempt }
        | What::Abort { attempt }
        | What::Aborted { attempt, .. } => Some(*attempt),
        What::Read { .. } | What::Stable { .. } | What::GroupAt { .. } | What::Strange { .. } | What::Count { .. } => {
            None
        }
    }
}
