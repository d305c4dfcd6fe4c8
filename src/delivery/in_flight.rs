//! What a producer has sent and not heard of, in the order of its numbers.

use std::{collections::VecDeque, sync::Arc, time::Duration};

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Sent, and to be sent again at its deadline.
    Sent { deadline: Duration },
    /// To be sent once those before it are acknowledged.
    Waiting,
    /// Only kept because one before it is not.
    Acknowledged,
}

/// A message under way.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) state: State,
    /// How often it was sent before; replies to earlier attempts tell less.
    pub(super) attempt: u32,
    /// How often its time was over.
    pub(super) timeouts: u32,
    /// The oldest message in doubt when it was sent.
    pub(super) behind: u64,
    pub(super) accepted: Duration,
    pub(super) payload: Arc<[u8]>,
}

impl Entry {
    /// One that was not sent yet.
    pub(super) fn new(payload: Arc<[u8]>, accepted: Duration) -> Self {
        Self { state: State::Waiting, attempt: 0, timeouts: 0, behind: 0, accepted, payload }
    }
}

/// Messages with consecutive numbers, the oldest of which is not acknowledged.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    entries: VecDeque<Entry>,
    /// Number of the oldest message.
    first: u64,
}

impl InFlight {
    /// Of messages that are counted from `first` on.
    pub(super) fn starting(first: u64) -> Self {
        Self { entries: VecDeque::new(), first }
    }

    /// The oldest message that is not acknowledged, or the one that comes next.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// The message that comes next.
    pub(super) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Counts a message that nothing will be heard of.
    pub(super) fn pass(&mut self) {
        self.first += 1;
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    pub(super) fn get(&self, message: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(message.checked_sub(self.first)?).ok()?)
    }

    pub(super) fn get_mut(&mut self, message: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(message.checked_sub(self.first)?).ok()?)
    }

    /// When the first of those that were sent is to be sent again.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let deadlines = self.entries.iter().filter_map(|entry| match entry.state {
            State::Sent { deadline } => Some(deadline),
            State::Waiting | State::Acknowledged => None,
        });
        deadlines.min()
    }

    /// The first message, from `from` on, that is sent and past its deadline.
    pub(super) fn overdue(&self, from: u64, now: Duration) -> Option<u64> {
        (from..self.next()).find(|message| {
            matches!(self.get(*message), Some(Entry { state: State::Sent { deadline }, .. }) if *deadline <= now)
        })
    }

    /// The first message, from `from` on, that waits for those before it.
    pub(super) fn waiting(&self, from: u64) -> Option<u64> {
        let behind = usize::try_from(from.checked_sub(self.first)?).ok()?;
        let at = self.entries.iter().skip(behind).position(|entry| entry.state == State::Waiting)?;
        Some(from + at as u64)
    }

    /// Whether the oldest message was sent more than once, so that it is in doubt.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.entries.front().is_some_and(|oldest| oldest.attempt > 0)
    }

    /// Marks a message; false if it was acknowledged before. Lets go of the oldest ones up to the first that is not.
    pub(super) fn acknowledge(&mut self, message: u64) -> bool {
        let Some(entry) = self.get_mut(message) else { return false };
        if entry.state == State::Acknowledged {
            return false;
        }
        entry.state = State::Acknowledged;
        while self.entries.front().is_some_and(|oldest| oldest.state == State::Acknowledged) {
            self.entries.pop_front();
            self.first += 1;
        }
        true
    }
}
