//! The sealed segments of a log that are mapped: at most so many, and those that were used last.
//!
//! ```text
//! Segment::window()   maps the file, and is entered here; from then on each look at it stamps the segment
//! more than the most  the least recently used ones are unmapped by whoever came last, but for those that somebody holds
//! ```
//!
//! A segment that a reader stands in, or a slice is of, is held by them: it stays mapped, above the bound if need be. What
//! is unmapped is mapped again when it is read. Segments that are appended to, or stand ready to be, do not count.

use super::backing::Backing;
use std::sync::{
    Mutex, PoisonError, Weak,
    atomic::{AtomicU64, Ordering},
};

/// Of so many, one is given up beyond what is needed, so that not every mapping has to look for another one to give up.
const SLACK: usize = 16;
/// Where so many are held, one more is mapped before it is looked again who can go.
const HELD_SLACK: usize = 64;

/// Who keeps segments, by their numbers.
pub(crate) trait Home: Send + Sync {
    /// When the segment was used last; none if it is not there, or not mapped.
    fn last_use(&self, number: u64) -> Option<u64>;

    /// Takes a sealed segment's mapping, if nobody holds the segment.
    fn unmap(&self, number: u64) -> Option<Backing>;
}

/// What a segment says of itself when it is mapped.
pub(crate) struct Resident {
    pub(crate) home: Weak<dyn Home>,
    pub(crate) number: u64,
}

/// See the head of this file.
pub(crate) struct Residents {
    most: usize,
    /// Counts mappings: the time that uses are told by.
    clock: AtomicU64,
    list: Mutex<List>,
}

struct List {
    residents: Vec<Resident>,
    /// How many there may be before it is looked who can go.
    look_at: usize,
}

impl Residents {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, clock: AtomicU64::new(1), list: Mutex::new(List { residents: Vec::new(), look_at: most }) }
    }

    /// The time, for a segment that is used now.
    pub(crate) fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Enters a segment that was mapped, and gives up others if they are too many.
    pub(crate) fn enter(&self, resident: Resident) {
        self.clock.fetch_add(1, Ordering::Relaxed);
        let given_up = {
            let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
            list.residents.push(resident);
            if list.residents.len() > list.look_at { list.give_up_beyond(self.most) } else { Vec::new() }
        };
        // Unmapping takes its time, and nobody else need wait for it.
        drop(given_up);
    }

    /// Gives up all that nobody holds: the system has no room for another mapping.
    pub(crate) fn give_up_all(&self) {
        let given_up = self.list.lock().unwrap_or_else(PoisonError::into_inner).give_up_beyond(0);
        drop(given_up);
    }
}

impl List {
    fn give_up_beyond(&mut self, most: usize) -> Vec<Backing> {
        let last_use = |resident: &Resident| resident.home.upgrade()?.last_use(resident.number);
        let mut by_use: Vec<(u64, Resident)> =
            self.residents.drain(..).filter_map(|resident| Some((last_use(&resident)?, resident))).collect();
        by_use.sort_by_key(|(used, _)| *used);
        let kept = most - most / SLACK;
        let mut excess = if by_use.len() > most { by_use.len() - kept } else { 0 };
        let mut given_up = Vec::new();
        for (_, resident) in by_use {
            let backing = match resident.home.upgrade() {
                Some(home) if excess > 0 => home.unmap(resident.number),
                _ => None,
            };
            match backing {
                Some(backing) => {
                    excess -= 1;
                    given_up.push(backing);
                }
                None => self.residents.push(resident),
            }
        }
        // Where very many are held, not each further one has to find that out.
        self.look_at = most.max(self.residents.len() + self.residents.len() / HELD_SLACK);
        given_up
    }
}
