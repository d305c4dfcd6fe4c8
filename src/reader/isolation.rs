//! A reader of committed records: up to where it comes, and what it passes over.

use super::{Frame, Reader};
use crate::{
    error::FetchError,
    format::{
        frame::{Form, Producer},
        snapshot::Extent,
    },
    ids::ProducerId,
    isolation::Isolation,
    partition::stability::Fate,
};

/// Transactions whose outcome a reader remembers.
const REMEMBERED: usize = 16;

/// A decided transaction, and where it ends if it is passed over. No transaction has the number 0.
#[derive(Clone, Copy)]
struct Decided {
    producer: ProducerId,
    transaction: u64,
    hidden: Option<Extent>,
}

/// What a reader with `ReadCommitted` knows.
pub(super) struct Seen {
    /// Offset behind the last stable record, as it was when this was last asked for. Beyond all, for a reader that sees
    /// everything.
    pub(super) limit: u64,
    /// Cuts of the partition when it was asked for: behind another one it may be lower.
    cuts: u64,
    /// The outcome asked for last: records of a transaction often follow each other.
    last: Decided,
    /// Outcomes of transactions below the limit, which no longer change.
    outcomes: [Decided; REMEMBERED],
}

impl Seen {
    pub(super) const fn of(isolation: Isolation) -> Self {
        let limit = match isolation {
            Isolation::ReadUncommitted => u64::MAX,
            Isolation::ReadCommitted => 0,
        };
        let nothing = Decided { producer: ProducerId::from_u64(0), transaction: 0, hidden: None };
        Self { limit, cuts: 0, last: nothing, outcomes: [nothing; REMEMBERED] }
    }
}

impl Reader {
    /// Which records of transactions are seen from now on.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append(b"order 41")?;
    /// # use oncelog::Isolation;
    /// let mut reader = orders.read_from(0)?;
    /// reader.set_isolation(Isolation::ReadCommitted);
    /// assert!(reader.next()?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
        self.ask_for_limit()?;
        if self.next_offset < self.seen.limit {
            return Ok(true);
        }
        if self.place.as_ref().is_some_and(|place| place.segment.is_superseded()) {
            self.pass_over()?;
        }
        Ok(self.next_offset < self.seen.limit)
    }

    /// What lies behind a cut was not there when the limit was asked for: it is asked for again, for a reader that has one.
    pub(super) fn take_limit_back(&mut self) -> Result<(), FetchError> {
        let is_older = self.isolation == Isolation::ReadCommitted && self.seen.cuts != self.partition.chain.cuts();
        if is_older { self.ask_for_limit() } else { Ok(()) }
    }

    fn ask_for_limit(&mut self) -> Result<(), FetchError> {
        let partition = &self.partition;
        // Before the limit: one that is made meanwhile is found to be another.
        self.seen.cuts = partition.chain.cuts();
        let limit = partition.stability.limit(|| partition.chain.visible_end().map(|end| end.offset));
        self.seen.limit = limit.map_err(|source| self.io(source))?;
        Ok(())
    }

    /// Whether a frame below the limit is to be passed over.
    #[inline(always)]
    pub(super) fn is_hidden(&mut self, frame: &Frame) -> Result<bool, FetchError> {
        if self.isolation == Isolation::ReadUncommitted || frame.stored.form() != Form::Far {
            return Ok(false);
        }
        match self.transaction_of(frame) {
            Some((producer, position)) => Ok(self.outcome(&producer, position)?.is_some()),
            None => Ok(false),
        }
    }

    fn transaction_of(&self, frame: &Frame) -> Option<(Producer, u64)> {
        let place = self.place.as_ref()?;
        let producer = frame.producer(&place.window, &place.shape).filter(|producer| producer.transaction != 0)?;
        Some((producer, frame.position(&place.shape)))
    }

    #[inline(always)]
    fn outcome(&mut self, of: &Producer, position: u64) -> Result<Option<Extent>, FetchError> {
        let last = self.seen.last;
        if (last.producer, last.transaction) == (of.id, of.transaction) {
            return Ok(last.hidden);
        }
        self.ask_outcome(of, position)
    }

    fn ask_outcome(&mut self, of: &Producer, position: u64) -> Result<Option<Extent>, FetchError> {
        let at = (of.id.get() ^ of.transaction.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize;
        let Some(remembered) = self.seen.outcomes.get_mut(at % REMEMBERED) else { return Ok(None) };
        if (remembered.producer, remembered.transaction) != (of.id, of.transaction) {
            let hidden = match self.partition.stability.fate(of.id, of.transaction, position) {
                Fate::Read => None,
                Fate::Hidden(end) => Some(end),
                Fate::Forgotten => {
                    let start = self.partition.chain.start_offset();
                    return Err(FetchError::Trimmed { offset: self.next_offset, start });
                }
            };
            *remembered = Decided { producer: of.id, transaction: of.transaction, hidden };
        }
        self.seen.last = *remembered;
        Ok(remembered.hidden)
    }

    /// Passes over a hidden frame, the one that this reader stands at; and over all of its transaction's, if no other's are
    /// between them: then there are as many offsets left as sequences.
    pub(super) fn pass_over_hidden(&mut self, frame: &Frame) {
        let of = self.transaction_of(frame);
        let extent = of.and_then(|(of, position)| Some((of.first_sequence, self.outcome(&of, position).ok()??)));
        let Some(place) = &mut self.place else { return };
        let offset = place.base_offset + u64::from(frame.stored.offset_delta());
        if let Some((sequence, Extent { last_offset, end_sequence, end_position })) = extent
            && end_sequence > sequence
            && last_offset.checked_sub(offset) == Some(end_sequence - sequence - 1)
            && let Some(units) = end_position.checked_sub(place.shape.base_position).map(|bytes| (bytes / 8) as usize)
            && (frame.unit + frame.units..=place.segment.limit()).contains(&units)
        {
            // What comes behind was to be asked for along the way.
            place.window.fetch_on(frame.unit * 8, (units - frame.unit) * 8);
            place.unit = units;
            self.next_offset = last_offset + 1;
            return;
        }
        frame.fetch_on(&place.window);
        place.unit = frame.unit + frame.units;
        self.next_offset = offset + u64::from(frame.stored.records());
    }
}
