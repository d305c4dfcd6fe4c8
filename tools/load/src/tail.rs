//! Readers that follow what is appended: how long it takes from an append's being sent, or due, to a reader's having it.
//!
//! No record carries a time. A partition that one thread appends to holds the records in the order of that thread's
//! appends, so an offset tells which of them it was: on a schedule that says when it was due, back to back some of them
//! are noted when they are sent.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use oncelog::Reader;

use crate::error::LoadError;
use crate::recorder::{add, histogram};
use crate::stage::Stage;
use crate::workload::{Reading, Workload};

/// The longest that a blocked reader does not ask whether all is over.
const PATIENCE: Duration = Duration::from_millis(20);
/// Of so many appends that go back to back one is noted: reading the clock takes longer than an append.
const NOTED_OF: u64 = 256;

/// When an append of a thread was sent or due, in nanoseconds since the start; none if that is not recorded.
pub(crate) type SentAt = Box<dyn Fn(u64) -> Option<u64> + Send>;

/// The readers of one repeat, each at the end of its partition.
pub(crate) struct Tails {
    tails: Vec<Tail>,
}

/// One reader, and what its partition's offsets mean.
struct Tail {
    reader: Reader,
    reading: Reading,
    sent_at: SentAt,
    /// The offset of the first append that counts.
    first: u64,
    batch: u64,
    times: Histogram<u64>,
}

impl Tails {
    /// So many readers for each partition of a stage that has warmed up. `sent_at` tells of a thread when it has sent what.
    pub(crate) fn behind(
        stage: &Stage<'_>,
        workload: &Workload,
        sent_at: impl Fn(usize) -> SentAt,
    ) -> Result<Self, LoadError> {
        let mut tails = Vec::new();
        for (thread, partition) in stage.partitions.iter().enumerate() {
            let first = partition.end_offset();
            for _ in 0..workload.readers {
                tails.push(Tail {
                    reader: partition.read_from(first)?,
                    reading: workload.reading,
                    sent_at: sent_at(thread),
                    first,
                    batch: workload.batch as u64,
                    times: histogram(),
                });
            }
        }
        Ok(Self { tails })
    }

    /// Does some work while the readers follow it; its result, and the times of all readers where there are any.
    pub(crate) fn beside<R>(
        self,
        t_0: Instant,
        work: impl FnOnce() -> Result<R, LoadError>,
    ) -> Result<(R, Option<Histogram<u64>>), LoadError> {
        if self.tails.is_empty() {
            return Ok((work()?, None));
        }
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let over = &over;
            let readers: Vec<_> =
                self.tails.into_iter().map(|tail| scope.spawn(move || tail.follow(t_0, over))).collect();
            let result = work();
            over.store(true, Ordering::Release);
            let mut whole = histogram();
            for reader in readers {
                add(&mut whole, &reader.join().map_err(|_| LoadError::Panicked)??);
            }
            Ok((result?, Some(whole)))
        })
    }
}

impl Tail {
    /// Reads until the work is over and everything is read.
    fn follow(mut self, t_0: Instant, over: &AtomicBool) -> Result<Histogram<u64>, LoadError> {
        loop {
            // Looked at first: what was appended before it was set is found by the reading below.
            let last = over.load(Ordering::Acquire);
            let Some(record) = self.reader.next()? else {
                if last {
                    return Ok(self.times);
                }
                match self.reading {
                    Reading::Polling => std::hint::spin_loop(),
                    Reading::Blocking => {
                        self.reader.wait(PATIENCE)?;
                    }
                }
                continue;
            };
            let read = record.offset() - self.first + 1;
            // An append has arrived with the last of its records.
            if read.is_multiple_of(self.batch)
                && let Some(sent) = (self.sent_at)(read / self.batch - 1)
            {
                let now = Instant::now().saturating_duration_since(t_0).as_nanos() as u64;
                self.times.saturating_record(now.saturating_sub(sent));
            }
        }
    }
}

/// When a thread has sent some of its appends.
pub(crate) struct Notes {
    at: Vec<AtomicU64>,
}

impl Notes {
    /// Room for those of so many appends.
    pub(crate) fn of(calls: u64) -> Self {
        Self { at: (0..calls.div_ceil(NOTED_OF)).map(|_| AtomicU64::new(0)).collect() }
    }

    fn place(&self, call: u64) -> Option<&AtomicU64> {
        call.is_multiple_of(NOTED_OF).then(|| self.at.get((call / NOTED_OF) as usize))?
    }

    /// Notes that this append is sent now, if it is one that is noted.
    #[inline]
    pub(crate) fn note(&self, call: u64, t_0: Instant) {
        if let Some(place) = self.place(call) {
            // Relaxed: the append's own publication carries it to whoever reads the record.
            place.store(Instant::now().saturating_duration_since(t_0).as_nanos() as u64, Ordering::Relaxed);
        }
    }

    /// When this append was sent, if it was noted.
    pub(crate) fn sent_at(&self, call: u64) -> Option<u64> {
        self.place(call).map(|place| place.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_append_of_many_is_noted_and_none_beyond_the_last() {
        let t_0 = Instant::now();
        let notes = Notes::of(NOTED_OF + 1);
        (0..2 * NOTED_OF).for_each(|call| notes.note(call, t_0));
        assert_eq!(notes.sent_at(1), None);
        assert!(notes.sent_at(0) <= notes.sent_at(NOTED_OF) && notes.sent_at(NOTED_OF) > Some(0));
        notes.note(2 * NOTED_OF, t_0);
        assert_eq!(notes.sent_at(2 * NOTED_OF), None);
    }
}
