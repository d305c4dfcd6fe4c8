//! Readers that follow what an open loop appends: how long it takes from the time on the schedule to a reader's having it.
//!
//! No record carries a time. A partition that one thread appends to holds the records in the order of that thread's
//! slots, so an offset tells when its append was due.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use hdrhistogram::Histogram;
use oncelog::Reader;

use super::plan::Plan;
use crate::error::LoadError;
use crate::recorder::{add, histogram};
use crate::stage::Stage;
use crate::workload::Workload;

/// The readers of one repeat, each at the end of its partition.
pub(super) struct Tails {
    tails: Vec<Tail>,
}

/// One reader, and what its partition's offsets mean.
struct Tail {
    reader: Reader,
    /// The thread that appends to the partition.
    thread: usize,
    /// The offset of the first append on the schedule.
    first: u64,
    batch: u64,
    plan: Plan,
    times: Histogram<u64>,
}

impl Tails {
    /// So many readers for each partition of a stage that has warmed up.
    pub(super) fn behind(stage: &Stage<'_>, workload: &Workload, plan: Plan) -> Result<Self, LoadError> {
        let mut tails = Vec::new();
        for (thread, partition) in stage.partitions.iter().enumerate() {
            let first = partition.end_offset();
            for _ in 0..workload.readers {
                let reader = partition.read_from(first)?;
                let batch = workload.batch as u64;
                tails.push(Tail { reader, thread, first, batch, plan, times: histogram() });
            }
        }
        Ok(Self { tails })
    }

    /// Does some work while the readers follow it; its result, and the times of all readers where there are any.
    pub(super) fn beside<R>(
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
    /// Reads without pause until the work is over and everything is read.
    fn follow(mut self, t_0: Instant, over: &AtomicBool) -> Result<Histogram<u64>, LoadError> {
        let warm_up = self.plan.slots(self.plan.warm_up_seconds);
        loop {
            // Looked at first: what was appended before it was set is found by the reading below.
            let last = over.load(Ordering::Acquire);
            let Some(record) = self.reader.next()? else {
                if last {
                    return Ok(self.times);
                }
                std::hint::spin_loop();
                continue;
            };
            let read = record.offset() - self.first + 1;
            // An append has arrived with the last of its records.
            let slot = read / self.batch;
            if read.is_multiple_of(self.batch) && slot > warm_up {
                let now = Instant::now().saturating_duration_since(t_0).as_nanos() as u64;
                self.times.saturating_record(now.saturating_sub(self.plan.due(self.thread, slot - 1)));
            }
        }
    }
}
