//! A stretch of a soak in this process: writers of each way, readers, transactions, ended by a close.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use oncelog::{Answer, FetchError, Isolation, Log, Partition};

use super::outcome::Counts;
use super::{STRETCH_MAX_MS, WRITERS};
use crate::crash::course::Dice;
use crate::crash::pairs::{self, Stand, TRANSACTORS};
use crate::crash::plan::{Plan, open, payload, written_by};
use crate::crash::writers::Hand;

/// One writer's stretch: returns the number that comes next.
fn append(
    log: &Log,
    partition: &Partition,
    plan: &Plan,
    writer: u64,
    mut dice: Dice,
    stop: &AtomicBool,
    counts: &Counts,
) -> Result<u64, String> {
    let text = |error: oncelog::AppendError| error.to_string();
    let (mut hand, mut number) = Hand::new(log, partition, plan, writer)?;
    while !stop.load(Ordering::Relaxed) {
        let count = if dice.one_in(8) { 1 + dice.below(6) } else { 1 };
        let records: Vec<Vec<u8>> = (number..number + count).map(|number| payload(writer, number)).collect();
        let slices: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        if dice.one_in(60) {
            hand.give_up(partition, number).map_err(text)?;
            Counts::one(&counts.given_up);
        }
        let answer = hand.append(partition, number, &slices).map_err(text)?;
        let Answer::Appended { last, .. } = answer else {
            return Err(format!("number {number}, which comes next: {answer:?}"));
        };
        counts.appended.fetch_add(count, Ordering::Relaxed);
        number += count;
        if !hand.is_idempotent() {
            continue;
        }
        if dice.one_in(12) {
            let back = number.saturating_sub(1 + dice.below(400));
            let again = hand.append(partition, back, &[&payload(writer, back)]).map_err(text)?;
            if !matches!(again, Answer::Duplicate { .. } | Answer::DuplicateTrimmed) {
                return Err(format!("number {back} again, {number} comes next: {again:?}"));
            }
            Counts::one(&counts.retried);
        }
        if dice.one_in(3_000) {
            let (successor, next) = Hand::new(log, partition, plan, writer)?;
            if next != number {
                return Err(format!("its successor is told that {next} comes next, and {number} does"));
            }
            let late = hand.append(partition, number, &[&payload(writer, number)]).map_err(text)?;
            if !matches!(late, Answer::Fenced { .. }) {
                return Err(format!("number {number} behind a fence: {late:?}"));
            }
            hand = successor;
            Counts::one(&counts.fenced);
        }
        if dice.one_in(2_000) {
            let durable = partition.wait_durable(last, Duration::from_secs(60)).map_err(|error| error.to_string())?;
            if !durable {
                return Err(format!("offset {last} was not durable within a minute"));
            }
            Counts::one(&counts.flushed);
        }
    }
    Ok(number)
}

/// One reader's stretch: each record whole, and the next one of its writer.
fn read(partition: &Partition, stop: &AtomicBool, counts: &Counts) -> Result<(), String> {
    let mut reader = partition.read_from(partition.start_offset()).or_else(|_| partition.read_from_end());
    let mut next: [Option<u64>; WRITERS as usize] = [None; WRITERS as usize];
    let mut offset = 0;
    while !stop.load(Ordering::Relaxed) {
        let at = match &mut reader {
            Ok(at) => at,
            Err(error) => return Err(format!("no reader: {error}")),
        };
        match at.next() {
            Ok(Some(record)) => {
                let found = written_by(record.payload()).filter(|(writer, number)| {
                    *writer < WRITERS && record.payload() == payload(*writer, *number) && record.offset() >= offset
                });
                let Some((writer, number)) = found else {
                    return Err(format!("offset {}: not a record that was appended", record.offset()));
                };
                let expected = &mut next[writer as usize];
                if expected.is_some_and(|expected| expected != number) {
                    return Err(format!(
                        "offset {}: writer {writer} has number {number}, not {expected:?}",
                        record.offset()
                    ));
                }
                *expected = Some(number + 1);
                offset = record.offset() + 1;
                Counts::one(&counts.read);
            }
            Ok(None) => {
                at.wait(Duration::from_millis(5)).map_err(|error| error.to_string())?;
            }
            // Retention was faster.
            Err(FetchError::Trimmed { .. }) => {
                next = [None; WRITERS as usize];
                Counts::one(&counts.overtaken);
                reader = partition.read_from(partition.start_offset()).or_else(|_| partition.read_from_end());
            }
            Err(error) => return Err(format!("reading on from offset {offset}: {error}")),
        }
    }
    Ok(())
}

/// What comes next when a stretch is over.
pub(super) struct Nexts {
    /// By writer.
    pub(super) writers: Vec<u64>,
    /// By transactor.
    pub(super) pairs: Vec<u64>,
}

/// A stretch in this process, ended by a close.
pub(super) fn live(plan: &Plan, dice: &mut Dice, counts: &Counts) -> Result<Nexts, String> {
    let (log, partition) = open(&plan.dir, &plan.options())?;
    let stand = Stand::new(&log)?;
    // Writers are to end; those who read what they write, when they have.
    let (stop, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let stretch = Duration::from_millis(50 + dice.below(STRETCH_MAX_MS));
    let nexts = thread::scope(|scope| {
        let (log, partition, stand, stop, ended) = (&log, &partition, &stand, &stop, &ended);
        // One that has failed ends the stretch.
        let or_stop = move |done: Result<u64, String>| {
            if done.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            done
        };
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let dice = Dice::new(dice.roll());
                scope.spawn(move || {
                    let done = append(log, partition, plan, writer, dice, stop, counts);
                    or_stop(done.map_err(|reason| format!("writer {writer}: {reason}")))
                })
            })
            .collect();
        let transactors: Vec<_> = (0..TRANSACTORS)
            .map(|transactor| {
                let dice = Dice::new(dice.roll());
                scope.spawn(move || {
                    let done = pairs::transact(stand, transactor, dice, stop, &counts.pairs);
                    or_stop(done.map_err(|reason| format!("transactor {transactor}: {reason}")))
                })
            })
            .collect();
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(move || read(partition, stop, counts))).collect();
        let views: Vec<_> = [Isolation::ReadCommitted, Isolation::ReadUncommitted]
            .into_iter()
            .map(|isolation| scope.spawn(move || pairs::read(&stand.sides, isolation, ended, &counts.pairs.read)))
            .collect();
        let until = Instant::now() + stretch;
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
        let panicked = |_| "a thread panicked".to_owned();
        let nexts = |threads: Vec<thread::ScopedJoinHandle<'_, Result<u64, String>>>| {
            // All of them are waited for before the first fault is told: the readers wait for that.
            let all: Vec<_> = threads.into_iter().map(|thread| thread.join().map_err(panicked)?).collect();
            all.into_iter().collect::<Result<Vec<u64>, String>>()
        };
        let (writers, pairs) = (nexts(writers), nexts(transactors));
        ended.store(true, Ordering::SeqCst);
        let views: Vec<_> = views.into_iter().map(|view| view.join().map_err(panicked)?).collect();
        for reader in readers {
            reader.join().map_err(panicked)??;
        }
        let nexts = Nexts { writers: writers?, pairs: pairs? };
        for view in views {
            view?.compare(&nexts.pairs)?;
        }
        Ok::<_, String>(nexts)
    })?;
    drop((stand, partition));
    log.close().map_err(|error| format!("closing: {error}"))?;
    Ok(nexts)
}
