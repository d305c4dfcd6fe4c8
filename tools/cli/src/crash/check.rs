//! A log after a crash, against what is known of it: each writer's records once and in order, what was acknowledged there and
//! what was cut off not, the table of producers a replay of them, sequences that go on.

use std::collections::BTreeMap;
use std::path::Path;

use oncelog::{Answer, Log, Partition};

use super::child::Reports;
use super::course::{Course, Dice};
use super::known::{Became, Known, Seen};
use super::plan::{Plan, Way, name, open, payload, written_by};
use super::reports::Told;
use super::writers::Hand;

/// What a look has found.
pub(super) struct Looked {
    /// By writer, the number that comes next; a writer that has appended on has it counted.
    pub(super) next: Vec<u64>,
    /// What is known from now on, if what was looked at stays.
    pub(super) known: Known,
    /// What became of the change that was under way.
    pub(super) became: Option<Became>,
}

impl Looked {
    /// Counts what was done to the bounds of the partition by the process that has ended.
    pub(super) fn count(&self, reports: &Reports, course: &mut Course) {
        if reports.changes > 0 {
            course.count("truncations, purges, resets and metadata that had returned", reports.changes);
        }
        match self.became {
            Some(Became::Made) => course.count("truncations and resets under way, made", 1),
            Some(Became::NotMade) => course.count("truncations and resets under way, not made", 1),
            Some(Became::Unknown) | None => {}
        }
    }
}

/// Compares the log in `directory` with what is known of it. `append_on` has each writer see that its sequences continue.
pub(super) fn check(
    directory: &Path,
    plan: &Plan,
    known: &Known,
    append_on: bool,
    dice: &mut Dice,
) -> Result<Looked, String> {
    // Without retention, which would go on while this is read.
    let (log, partition) = open(directory, &plan.options().retention_bytes(None))?;
    let mut seen = read(&partition, plan)?;
    let mut known = known.clone();
    let became = known.found(&seen)?;
    let table: BTreeMap<String, u64> =
        log.producers().into_iter().filter_map(|info| Some((info.name, info.partitions.first()?.1 + 1))).collect();
    let mut next = Vec::with_capacity(plan.threads as usize);
    for writer in 0..plan.threads {
        let comes_next = in_order(writer, &seen, plan, &known)?;
        next.push(match (plan.way(writer), comes_next) {
            (Way::Off, None) => plan.next.get(writer as usize).copied().unwrap_or(0).max(known.next(writer)),
            (Way::Off, Some(next)) => next.max(known.next(writer)),
            (_, comes_next) => {
                let listed = table.get(&name(writer)).copied().unwrap_or(0);
                if let Some(next) = comes_next.filter(|next| *next != listed) {
                    return Err(format!(
                        "writer {writer}: {next} comes next by the records, and {listed} by the table"
                    ));
                }
                listed
            }
        });
    }
    known.compare(&seen, |writer| next.get(writer as usize).copied().unwrap_or(u64::MAX))?;
    if !plan.truncates {
        // What an earlier look has found stays.
        let back = next.iter().zip(&plan.next).enumerate().find(|(_, (next, before))| next < before);
        if let Some((writer, (next, before))) = back {
            return Err(format!("writer {writer}: {next} comes next, and {before} did before the crash"));
        }
    }
    if append_on {
        for (writer, next) in (0..).zip(&mut next) {
            let plan = Plan { next: Vec::new(), ..plan.clone() };
            let told = go_on(&log, &partition, &plan, writer, *next, &seen, dice)
                .map_err(|reason| format!("writer {writer}: {reason}"))?;
            seen.records.entry(writer).or_default().push(told);
            *next += 1;
        }
    }
    known.take_in(&seen);
    drop(partition);
    log.close().map_err(|error| format!("closing: {error}"))?;
    Ok(Looked { next, known, became })
}

/// Reads all records: each is whole.
fn read(partition: &Partition, plan: &Plan) -> Result<Seen, String> {
    let start = partition.start_offset();
    let mut seen = Seen { start, end: partition.end_offset(), metadata: partition.metadata(), ..Seen::default() };
    let mut reader = partition.read_from(start).map_err(|error| error.to_string())?;
    let mut offset = start;
    while let Some(record) = reader.next().map_err(|error| error.to_string())? {
        if record.offset() < offset {
            return Err(format!("offset {} comes behind {offset}", record.offset()));
        }
        offset = record.offset() + 1;
        let torn = || format!("offset {}: not a record that was appended", record.offset());
        let (writer, number) = written_by(record.payload()).ok_or_else(torn)?;
        if writer >= plan.threads || record.payload() != payload(writer, number) {
            return Err(torn());
        }
        let stamp = record.producer();
        let sequence = stamp.map(|stamp| stamp.sequence);
        if sequence != (plan.way(writer) != Way::Off).then_some(number) {
            return Err(format!("offset {}: number {number} has the sequence {sequence:?}", record.offset()));
        }
        let epoch = stamp.map_or(0, |stamp| stamp.epoch);
        seen.records.entry(writer).or_default().push(Told { number, offset: record.offset(), epoch });
    }
    if offset > seen.end {
        return Err(format!("offset {} is behind the end {}", offset - 1, seen.end));
    }
    Ok(seen)
}

/// Whether a writer's records are in order, none twice and none missing. Returns the number that comes next by them; none if
/// there is no record and there may have been some.
fn in_order(writer: u64, seen: &Seen, plan: &Plan, known: &Known) -> Result<Option<u64>, String> {
    let trimmed = seen.start > 0;
    let (mut next, mut before) = (0, None);
    for Told { number, offset, .. } in seen.of(writer).iter().copied() {
        let begins_later = before.is_none() && trimmed;
        // Who has no sequences does not go back to where he was cut off.
        let is_cut = || plan.way(writer) == Way::Off && number > next && known.may_lack(before, offset);
        if number != next && !begins_later && !is_cut() {
            return Err(format!("offset {offset}: writer {writer} has number {number}, and {next} comes next"));
        }
        (next, before) = (number + 1, Some(offset));
    }
    Ok((before.is_some() || !trimmed).then_some(next))
}

/// Sends one record again, which must be recognised, and the next one, which must be appended.
fn go_on(
    log: &Log,
    partition: &Partition,
    plan: &Plan,
    writer: u64,
    next: u64,
    seen: &Seen,
    dice: &mut Dice,
) -> Result<Told, String> {
    let (mut hand, by_table) = Hand::new(log, partition, plan, writer)?;
    if hand.is_idempotent() && by_table != next {
        return Err(format!("{by_table} comes next to its handle, and {next} by the table"));
    }
    let error = |error: oncelog::AppendError| error.to_string();
    let records = seen.of(writer);
    if hand.is_idempotent() && !records.is_empty() {
        let Told { number, offset, .. } =
            records.get(dice.below(records.len() as u64) as usize).copied().unwrap_or_default();
        let answer = hand.append(partition, number, &[&payload(writer, number)]).map_err(error)?;
        if answer != (Answer::Duplicate { first: offset, last: offset }) {
            return Err(format!("number {number}, which is at offset {offset}, sent again: {answer:?}"));
        }
    }
    let end = partition.end_offset();
    let answer = hand.append(partition, next, &[&payload(writer, next)]).map_err(error)?;
    match answer {
        Answer::Appended { first, last } if first == last && first >= end => {
            Ok(Told { number: next, offset: first, epoch: hand.epoch() })
        }
        _ => Err(format!("number {next} comes next, at offset {end} or behind: {answer:?}")),
    }
}
