//! What readers and those who asked for offsets have seen during a life.

use std::collections::HashMap;

use super::attempts::Attempts;
use crate::{
    event::{Event, Found, What},
    history::{End, History, Life},
};

pub(super) fn check(history: &History, attempts: &Attempts, number: usize) -> Result<(), String> {
    let Some(life) = history.lives.get(number) else { return Ok(()) };
    let mut at: HashMap<u64, u64> = HashMap::new();
    let mut limits = Limits::default();
    for event in &life.events {
        match &event.what {
            What::Read { reader, partition, committed, from, to, records } => {
                if at.insert(*reader, *to).is_some_and(|before| before != *from) || to < from {
                    return Err(format!("non-monotonic poll: reader {reader} goes on from {from} to {to}"));
                }
                read(event, *partition, *committed, attempts, number)?;
                let inside = |found: &&Found| (*from..*to).contains(&found.0);
                if records.iter().filter(inside).count() != records.len() {
                    return Err(format!("non-monotonic poll: partition {partition}, from {from} to {to}: {records:?}"));
                }
                agrees(life, attempts, number, *partition, *committed, (*from, *to), records)?;
                if *committed {
                    limits.add(*partition, event.at, *to);
                }
            }
            What::Stable { partition, offset, .. } => {
                let before = limits.asked.insert(*partition, *offset).unwrap_or(0);
                if *offset < before {
                    return Err(format!("unstable: partition {partition}: {before} was stable, and now {offset}"));
                }
                limits.add(*partition, event.at, *offset);
            }
            _ => {}
        }
    }
    // Nothing is passed while it is undecided.
    for (attempt, one) in attempts.iter().filter(|(_, one)| one.life == number && !one.is_plain && one.is_committed) {
        let Some(commit_at) = one.commit_at else { continue };
        for ((partition, _), offset) in &one.records {
            let limit = limits.before(*partition, commit_at);
            if limit > *offset {
                return Err(format!(
                    "unstable: partition {partition}: {limit} was passed before the commit of attempt {attempt} was \
                     called, which has a record at {offset}"
                ));
            }
        }
    }
    Ok(())
}

/// Up to where readers of committed records came, in the order of tickets.
#[derive(Default)]
struct Limits {
    by_partition: HashMap<u32, Vec<(u64, u64)>>,
    asked: HashMap<u32, u64>,
}

impl Limits {
    fn add(&mut self, partition: u32, at: u64, limit: u64) {
        let all = self.by_partition.entry(partition).or_default();
        let highest = all.last().map_or(0, |(_, limit)| *limit);
        all.push((at, highest.max(limit)));
    }

    /// The highest before a ticket.
    fn before(&self, partition: u32, at: u64) -> u64 {
        let Some(all) = self.by_partition.get(&partition) else { return 0 };
        let count = all.partition_point(|(earlier, _)| *earlier < at);
        count.checked_sub(1).and_then(|last| all.get(last)).map_or(0, |(_, limit)| *limit)
    }
}

/// Nobody has what was not there yet.
fn read(event: &Event, partition: u32, committed: bool, attempts: &Attempts, life: usize) -> Result<(), String> {
    let What::Read { records, .. } = &event.what else { return Ok(()) };
    for Found(offset, attempt, record, ..) in records {
        let place = || format!("partition {partition}, offset {offset}, record {record} of attempt {attempt}");
        let Some(one) = attempts.get(*attempt) else { return Err(format!("from nowhere: {}", place())) };
        let own = one.life == life;
        if own && one.called_at(partition, *record).is_none_or(|at| at > event.at) {
            return Err(format!("from nowhere: {}: nobody has appended it yet", place()));
        }
        if committed && (one.is_aborted || (own && one.commit_at.is_none_or(|at| at > event.at))) {
            return Err(format!("aborted read: {}: its commit was not called, or refused", place()));
        }
    }
    Ok(())
}

/// Whether a reader has got what is there in the end.
fn agrees(
    life: &Life,
    attempts: &Attempts,
    number: usize,
    partition: u32,
    committed: bool,
    (from, to): (u64, u64),
    records: &[Found],
) -> Result<(), String> {
    let look = &life.look;
    let views = if committed { &look.committed } else { &look.all };
    let Some(view) = views.get(partition as usize) else { return Ok(()) };
    let begin = view.partition_point(|found| found.0 < from);
    let end = view.partition_point(|found| found.0 < to);
    let there = view.get(begin..end).unwrap_or_default();
    let differs = |found: &Found| {
        let how = if committed { "of committed records" } else { "of all records" };
        format!("non-monotonic poll: a reader {how} of partition {partition}, {from} to {to}, and the end: {found:?}")
    };
    if life.end != End::KeepsDurable {
        let other = there.iter().find(|found| !records.contains(found));
        let other = other.or_else(|| records.iter().find(|found| !there.contains(found)));
        return other.map_or(Ok(()), |found| Err(differs(found)));
    }
    // What was not durable may be gone, and other records be in its place; but nobody has passed what is there now.
    let earlier = |found: &&Found| committed && attempts.get(found.1).is_some_and(|one| one.life <= number);
    match there.iter().filter(earlier).find(|found| !records.contains(found)) {
        Some(found) => Err(differs(found)),
        None => Ok(()),
    }
}
