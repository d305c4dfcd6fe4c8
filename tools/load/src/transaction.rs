//! Transactions: what their records take beyond the same records outside of one, and how long a commit takes.

use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use oncelog::{Isolation, Log, Partition, Session};

use crate::closed::{Repeats, Site, wait_until_durable};
use crate::error::LoadError;
use crate::recorder::{histogram, percentiles};
use crate::result::{Figure, Kind};
use crate::run::SEGMENT_BYTES;
use crate::spread::Spread;
use crate::stage::{options, throw_away};
use crate::verify::VerifyError;
use crate::workload::{Acknowledge, Workload};

/// Records of a transaction in each of its partitions.
const RECORDS: u64 = 10;
/// Turns of a repeat, with and without transactions.
const TURNS: u64 = 10;
/// Transactions of a turn.
const VISIBLE: u64 = if cfg!(debug_assertions) { 5 } else { 200 };
/// The same where each is waited for.
const DURABLE: u64 = if cfg!(debug_assertions) { 1 } else { 20 };
/// Transactions before the clock starts.
const WARM_UP: u64 = 20;

fn of_turn(workload: &Workload) -> u64 {
    if workload.acknowledge == Acknowledge::Durable { DURABLE } else { VISIBLE }
}

/// Bytes of the files of one repeat.
pub(crate) fn bytes(workload: &Workload) -> u64 {
    let records = 2 * RECORDS * (WARM_UP + TURNS * of_turn(workload));
    let partition = records * (workload.payloads.longest() as u64 + 256) + 4 * SEGMENT_BYTES;
    partition * (workload.partitions as u64 + 2)
}

/// Measures transactions over all partitions of a workload beside the same appends without them, by turns.
pub(crate) fn measure(workload: &Workload, repeats: Repeats, site: Site<'_>) -> Result<Figure, LoadError> {
    let ring = workload.payloads.ring(1);
    let records = RECORDS * workload.partitions as u64;
    let (mut own, mut off) = (Vec::new(), Vec::new());
    let mut commits = histogram();
    let start = Instant::now();
    let mut last = false;
    while !last {
        last = repeats.is_last(own.len(), start.elapsed().as_secs_f64());
        let scratch = tempfile::tempdir_in(site.scratch).map_err(LoadError::io("a scratch directory"))?;
        let mut side = Side::open(&scratch.path().join("log"), workload, &ring)?;
        for _ in 0..WARM_UP {
            side.plain()?;
            side.transact(&mut histogram())?;
        }
        let (mut inside, mut outside) = (Duration::ZERO, Duration::ZERO);
        for turn in 0..TURNS {
            // To and fro, so that what drifts within a turn favours neither.
            for which in [turn % 2, (turn + 1) % 2] {
                let begin = Instant::now();
                for _ in 0..of_turn(workload) {
                    if which == 0 { side.plain()? } else { side.transact(&mut commits)? }
                }
                *(if which == 0 { &mut outside } else { &mut inside }) += begin.elapsed();
            }
        }
        let appended = (TURNS * of_turn(workload) * records) as f64;
        own.push(inside.as_nanos() as f64 / appended);
        off.push(outside.as_nanos() as f64 / appended);
        side.verify(2 * RECORDS * (WARM_UP + TURNS * of_turn(workload)))?;
        throw_away(scratch.path());
    }
    let mut figure = Figure::of(workload);
    figure.workload = Kind::Transaction;
    figure.records_per_transaction = Some(records);
    figure.partitions_per_transaction = Some(workload.partitions as u64);
    figure.repeats = Some(own.len());
    figure.ns_per_append = Spread::of(own.iter().copied());
    figure.off_ns_per_append = Spread::of(off.iter().copied());
    figure.ratio_to_off = Spread::of_ratios(&own, &off);
    figure.appends_per_second = Spread::of(own.iter().map(|ns| 1e9 / ns));
    figure.commit_ns = Some(percentiles(&commits));
    figure.segment_bytes = Some(SEGMENT_BYTES);
    figure.notes.push("x off is against the same records of a session outside of a transaction".to_owned());
    figure.verified = true;
    Ok(figure)
}

/// A log, and a session with and one without transactions.
struct Side<'p> {
    workload: &'p Workload,
    ring: &'p [&'p [u8]],
    log: Log,
    partitions: Vec<Partition>,
    plain: Session,
    inside: Session,
}

impl<'p> Side<'p> {
    fn open(dir: &Path, workload: &'p Workload, ring: &'p [&'p [u8]]) -> Result<Self, LoadError> {
        let options = options(SEGMENT_BYTES, 2, workload.window, workload.acknowledge);
        // SAFETY: the directory is this repeat's own, and was made for it.
        let log = unsafe { Log::open(dir, &options) }?;
        let partition = |number: usize| -> Result<Partition, LoadError> {
            let partition = log.partition(&format!("p{number}"))?;
            partition.prepare(2)?;
            Ok(partition)
        };
        let partitions = (0..workload.partitions).map(partition).collect::<Result<Vec<_>, _>>()?;
        let (plain, inside) = (log.session("plain")?, log.session("transactions")?);
        Ok(Self { workload, ring, log, partitions, plain, inside })
    }

    /// The records of a transaction, outside of one.
    fn plain(&mut self) -> Result<(), LoadError> {
        for partition in &self.partitions {
            let mut last = 0;
            for record in 0..RECORDS {
                let answer = self.plain.append_next(partition, self.ring[record as usize % self.ring.len()])?;
                let Some(offsets) = answer.offsets() else { return Err(LoadError::Answer(format!("{answer:?}"))) };
                last = offsets.last;
            }
            if self.workload.acknowledge != Acknowledge::Durable {
                while partition.end_offset() <= last {}
            }
        }
        if self.workload.acknowledge == Acknowledge::Durable {
            // One round covers all of them.
            for partition in &self.partitions {
                wait_until_durable(partition, partition.end_offset() - 1)?;
            }
        }
        Ok(())
    }

    /// The same records in a transaction; how long its commit took, up to the level that is acknowledged.
    fn transact(&mut self, commits: &mut Histogram<u64>) -> Result<(), LoadError> {
        let mut transaction = self.inside.begin()?;
        for partition in &self.partitions {
            for record in 0..RECORDS {
                let answer = transaction.append_next(partition, self.ring[record as usize % self.ring.len()])?;
                if !answer.is_stored() {
                    return Err(LoadError::Answer(format!("{answer:?}")));
                }
            }
        }
        let begin = Instant::now();
        let commit = transaction.commit()?;
        if self.workload.acknowledge == Acknowledge::Durable {
            while !commit.wait_durable(Duration::from_secs(60))? {}
        }
        commits.saturating_record(begin.elapsed().as_nanos() as u64);
        Ok(())
    }

    /// A reader of committed records finds all that were appended in each partition, with what they hold.
    fn verify(&self, expected: u64) -> Result<(), LoadError> {
        for (number, partition) in self.partitions.iter().enumerate() {
            let mut reader = partition.read_from(0)?;
            reader.set_isolation(Isolation::ReadCommitted);
            let mut found = 0;
            while let Some(record) = reader.next()? {
                if record.payload() != self.ring[(found % RECORDS) as usize % self.ring.len()] {
                    return Err(VerifyError::Contents { offset: record.offset() }.into());
                }
                found += 1;
            }
            if found != expected {
                return Err(VerifyError::Count { partition: number, expected, found }.into());
            }
        }
        match self.log.open_transactions().len() {
            0 => Ok(()),
            open => Err(LoadError::Answer(format!("{open} transactions that are still open"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::payload::Payloads;
    use crate::workload::{Idempotence, Window};

    #[test]
    fn transactions_are_measured_beside_the_same_records_without_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let repeats = Repeats { least: 2, seconds: 0.01, most: 2 };
        let site = Site { scratch: dir.path(), kept: None, seed: 1 };
        let plain = Workload::new(Arc::new(Payloads::fixed(100)));
        let visible =
            Workload { idempotence: Idempotence::Session, partitions: 3, acknowledge: Acknowledge::Visible, ..plain };
        let durable = Workload { acknowledge: Acknowledge::Durable, window: Window::Direct, ..visible.clone() };
        for workload in [visible, durable] {
            let figure = measure(&workload, repeats, site).expect("it runs");
            assert_eq!((figure.records_per_transaction, figure.partitions_per_transaction), (Some(30), Some(3)));
            assert!(figure.verified && figure.repeats == Some(2) && figure.ratio_to_off.is_some());
            assert!(figure.commit_ns.is_some_and(|times| times.p50 > 0 && times.max >= times.p50));
        }
    }
}
