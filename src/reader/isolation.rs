//! What a reader sees of transactions.

use super::{Frame, Reader};
use crate::{error::FetchError, format::frame::Form, ids::ProducerId};

/// Which records of transactions a reader sees. Records outside of transactions it sees either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// All of them, also of transactions that are open or aborted.
    #[default]
    ReadUncommitted,
    /// Those of committed ones, up to the last stable offset: the first record of the oldest transaction that is open in
    /// the partition. So no record comes out of its order.
    ReadCommitted,
}

/// Transactions whose outcome a reader remembers.
const REMEMBERED: usize = 16;

/// What a reader with `ReadCommitted` knows.
pub(super) struct Seen {
    /// Offset behind the last stable record, as it was when this was last asked for. Beyond all, for a reader that sees
    /// everything.
    pub(super) limit: u64,
    /// The outcome asked for last: records of a transaction often follow each other.
    last: (ProducerId, u64, bool),
    /// Outcomes of transactions below the limit, which no longer change: producer, number, whether it is passed over.
    outcomes: [(ProducerId, u64, bool); REMEMBERED],
}

impl Seen {
    pub(super) const fn of(isolation: Isolation) -> Self {
        let limit = match isolation {
            Isolation::ReadUncommitted => u64::MAX,
            Isolation::ReadCommitted => 0,
        };
        // No transaction has the number 0.
        let nothing = (ProducerId::from_u64(0), 0, false);
        Self { limit, last: nothing, outcomes: [nothing; REMEMBERED] }
    }
}

impl Reader {
    /// Which records of transactions are seen from now on.
    pub fn set_isolation(&mut self, isolation: Isolation) {
        self.isolation = isolation;
        self.seen = Seen::of(isolation);
    }

    /// Whether there is a stable record at `next_offset`; looks for the limit once more if not as far as is known.
    #[inline(always)]
    pub(super) fn is_within_limit(&mut self) -> Result<bool, FetchError> {
        if self.next_offset < self.seen.limit {
            return Ok(true);
        }
        self.look_for_limit()
    }

    #[cold]
    fn look_for_limit(&mut self) -> Result<bool, FetchError> {
        let partition = &self.partition;
        let limit = partition.stability.limit(|| partition.chain.visible_end().map(|end| end.offset));
        self.seen.limit = limit.map_err(|source| self.io(source))?;
        Ok(self.next_offset < self.seen.limit)
    }

    /// Whether a frame below the limit is to be passed over.
    #[inline(always)]
    pub(super) fn passes_over(&mut self, frame: &Frame) -> bool {
        self.isolation == Isolation::ReadCommitted && frame.stored.form() == Form::Far && self.is_of_aborted(frame)
    }

    #[inline(always)]
    fn is_of_aborted(&mut self, frame: &Frame) -> bool {
        let Some(place) = &self.place else { return false };
        let Some(producer) = frame.producer(&place.window, &place.shape).filter(|one| one.transaction != 0) else {
            return false;
        };
        let key = (producer.id, producer.transaction);
        let last = self.seen.last;
        if (last.0, last.1) == key { last.2 } else { self.ask_outcome(key) }
    }

    fn ask_outcome(&mut self, key: (ProducerId, u64)) -> bool {
        let at = (key.0.get() ^ key.1.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize;
        let Some(remembered) = self.seen.outcomes.get_mut(at % REMEMBERED) else { return false };
        if (remembered.0, remembered.1) != key {
            let hidden = self.partition.stability.is_hidden(key.0, key.1);
            *remembered = (key.0, key.1, hidden);
        }
        self.seen.last = *remembered;
        remembered.2
    }
}
