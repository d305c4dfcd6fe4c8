//! All that is in a log between two lives: each transaction whole or not at all, once, in order, and none lost.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::attempts::{Attempt, Attempts};
use crate::{
    event::Found,
    history::{End, History},
    look::Look,
};

pub(super) fn check(history: &History, attempts: &Attempts, number: usize) -> Result<(), String> {
    let Some(life) = history.lives.get(number) else { return Ok(()) };
    let look = &life.look;
    for (partition, all) in (0..).zip(&look.all) {
        once_and_known(partition, all, attempts)?;
    }
    for (partition, committed) in (0..).zip(&look.committed) {
        once_and_known(partition, committed, attempts)?;
        in_order(partition, committed, look)?;
        for Found(offset, attempt, ..) in committed {
            let Some(one) = attempts.get(*attempt) else { continue };
            if one.is_aborted || one.is_refused || one.commit_at.is_none() {
                return Err(format!("aborted read: partition {partition}, offset {offset} is of attempt {attempt}"));
            }
        }
    }
    whole_or_not(history, attempts, number, look)?;
    nothing_lost(history, number)
}

/// Ascending offsets, each record at one, and at the one that its append was answered with.
fn once_and_known(partition: u32, records: &[Found], attempts: &Attempts) -> Result<(), String> {
    let (mut next, mut seen) = (0, HashSet::new());
    for Found(offset, attempt, record, ..) in records {
        let place = || format!("partition {partition}, offset {offset}, record {record} of attempt {attempt}");
        if *offset < next {
            return Err(format!("non-monotonic poll: {} comes behind offset {}", place(), next - 1));
        }
        next = offset + 1;
        if !seen.insert((attempt, record)) {
            return Err(format!("duplicate: {} is there before", place()));
        }
        let one = attempts.get(*attempt).filter(|one| one.called_at(partition, *record).is_some());
        let Some(one) = one else { return Err(format!("from nowhere: {}: nobody has appended it", place())) };
        if one.records.get(&(partition, *record)).is_some_and(|answered| answered != offset) {
            return Err(format!("duplicate: {} was answered with another offset", place()));
        }
    }
    Ok(())
}

/// Each producer's sequences from 0 on without a gap, up to the one that the table of producers says.
fn in_order(partition: u32, committed: &[Found], look: &Look) -> Result<(), String> {
    let mut next: BTreeMap<u64, u64> = BTreeMap::new();
    let mut records: HashMap<u64, u32> = HashMap::new();
    for Found(offset, attempt, record, producer, sequence) in committed {
        let next_record = records.entry(*attempt).or_default();
        if record != next_record {
            return Err(format!(
                "out of order: partition {partition}, offset {offset}: record {record} of attempt {attempt}, and \
                 {next_record} comes next"
            ));
        }
        *next_record += 1;
        if *producer != 0 {
            let next = next.entry(*producer).or_default();
            if sequence != next {
                return Err(format!(
                    "out of order: partition {partition}, offset {offset}: sequence {sequence} of producer {producer}, \
                     and {next} comes next"
                ));
            }
            *next += 1;
        }
    }
    for (producer, lasts) in &look.lasts {
        let next = next.get(producer).copied().unwrap_or(0);
        if let Some(last) = lasts.get(&partition).filter(|last| **last + 1 != next) {
            return Err(format!(
                "out of order: partition {partition}: producer {producer} is at sequence {last} by the table, and {next} \
                 comes next by the records"
            ));
        }
    }
    Ok(())
}

/// Where the attempt's records are: all of them in the look, or none.
fn whole_or_not(history: &History, attempts: &Attempts, number: usize, look: &Look) -> Result<(), String> {
    let mut there: HashMap<u64, u64> = HashMap::new();
    for Found(_, attempt, ..) in look.committed.iter().flatten() {
        *there.entry(*attempt).or_default() += 1;
    }
    for (attempt, one) in attempts.iter().take_while(|(_, one)| one.life <= number) {
        let Attempt { records, .. } = one;
        let (there, all) = (there.get(&attempt).copied().unwrap_or(0), records.len() as u64);
        // One that was not answered is there whole or not as well; how many it has is known from its call.
        if there != 0 && all != 0 && there != all {
            return Err(format!("torn transaction: {there} of the {all} records of attempt {attempt} are there"));
        }
        if there != all && attempts.is_required(history, one, number) {
            return Err(format!(
                "lost write: {there} of the {all} records of attempt {attempt} of life {} are there, acknowledged",
                one.life
            ));
        }
    }
    Ok(())
}

/// What an opening has found after a crash stays.
fn nothing_lost(history: &History, number: usize) -> Result<(), String> {
    let lives = history.lives.get(..=number).unwrap_or_default();
    let Some((last, before)) = lives.split_last() else { return Ok(()) };
    let stays = |end: End| end != End::Quiet || last.end != End::KeepsDurable;
    let Some(before) = before.iter().rev().find(|life| stays(life.end)) else { return Ok(()) };
    for (partition, (now, then)) in last.look.committed.iter().zip(&before.look.committed).enumerate() {
        if let Some((index, found)) = then.iter().enumerate().find(|(index, found)| now.get(*index) != Some(found)) {
            return Err(format!(
                "lost write: partition {partition}: {found:?} was there before, and now {:?} is",
                now.get(index)
            ));
        }
    }
    Ok(())
}
