//! What goes on beside an open loop: a thread that keeps the log's committer at work, or one that writes and flushes as
//! much to another file, so that what the I/O itself does to a schedule is known.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use oncelog::{FlushStats, Partition};

use crate::error::LoadError;
use crate::floor::Floor;
use crate::recorder::histogram;

/// Pause of a thread that finds everything durable.
const NOTHING_TO_WAIT_FOR: Duration = Duration::from_micros(50);

/// Does some work while another thread runs until the work is over.
pub(crate) fn while_beside<R>(
    beside: Option<impl FnOnce(&AtomicBool) -> Result<(), LoadError> + Send>,
    work: impl FnOnce() -> Result<R, LoadError>,
) -> Result<R, LoadError> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = &over;
        let beside = beside.map(|beside| scope.spawn(move || beside(over)));
        let result = work();
        over.store(true, Ordering::Release);
        if let Some(beside) = beside {
            beside.join().map_err(|_| LoadError::Panicked)??;
        }
        result
    })
}

/// Waits for the newest record of each partition, again and again: the committer never rests.
pub(crate) fn keep_committing(partitions: &[Partition], over: &AtomicBool) -> Result<(), LoadError> {
    while !over.load(Ordering::Acquire) {
        let mut waited = false;
        for partition in partitions {
            let end = partition.end_offset();
            if partition.durable_offset() < end {
                waited |= partition.wait_durable(end - 1, Duration::from_secs(1))?;
            }
        }
        if !waited {
            thread::sleep(NOTHING_TO_WAIT_FOR);
        }
    }
    Ok(())
}

/// The same I/O as a committer's rounds: as many bytes, as often.
pub(crate) struct SameIo {
    floor: Floor,
    every: Duration,
}

impl SameIo {
    /// As between two looks at a log's committer; none if it did nothing.
    pub(crate) fn of(
        dir: &Path,
        before: FlushStats,
        after: FlushStats,
        seconds: f64,
    ) -> Result<Option<Self>, LoadError> {
        let (rounds, bytes) = (after.rounds - before.rounds, after.bytes - before.bytes);
        if rounds == 0 {
            return Ok(None);
        }
        let floor = Floor::of_bytes(dir, (bytes / rounds).max(1) as usize).map_err(LoadError::io("another file"))?;
        Ok(Some(Self { floor, every: Duration::from_secs_f64(seconds / rounds as f64) }))
    }

    pub(crate) fn go_on(&mut self, over: &AtomicBool) -> Result<(), LoadError> {
        let mut times = histogram();
        let begin = Instant::now();
        let mut writes = 0;
        while !over.load(Ordering::Acquire) {
            self.floor.write(&mut times, 1)?;
            writes += 1;
            let due = self.every * writes;
            thread::sleep(due.saturating_sub(begin.elapsed()));
        }
        Ok(())
    }
}
