//! A log after a crash, against what was acknowledged: each writer's records once and in order, the table of producers a
//! replay of them, sequences that go on.

use std::collections::BTreeMap;
use std::path::Path;

use oncelog::{Answer, Log, Partition};

use super::course::Dice;
use super::plan::{Plan, Way, name, open, payload, written_by};
use super::writers::Hand;

/// One writer's records as they were found.
#[derive(Default)]
struct Found {
    /// The first number, which is above 0 where retention has dropped what was before.
    first: u64,
    /// By number, from the first one on.
    offsets: Vec<u64>,
}

impl Found {
    fn next(&self) -> u64 {
        self.first + self.offsets.len() as u64
    }
}

/// Compares the log in `directory` with what was acknowledged. Returns by writer the number that comes next; a writer that
/// appends on to see that its sequences continue has it counted.
pub(super) fn check(
    directory: &Path,
    plan: &Plan,
    acknowledged: &BTreeMap<u64, u64>,
    append_on: bool,
    dice: &mut Dice,
) -> Result<Vec<u64>, String> {
    // Without retention, which would go on while this is read.
    let (log, partition) = open(directory, &plan.options().retention_bytes(None))?;
    let found = read(&partition, plan)?;
    let table: BTreeMap<String, u64> =
        log.producers().into_iter().filter_map(|info| Some((info.name, info.partitions.first()?.1 + 1))).collect();
    let trimmed = partition.start_offset() > 0;
    let mut next = Vec::with_capacity(plan.threads as usize);
    for writer in 0..plan.threads {
        let there = found.get(&writer);
        let mut comes_next = there.map_or(0, Found::next);
        if plan.way(writer) != Way::Off {
            let listed = table.get(&name(writer)).copied().unwrap_or(0);
            if listed != comes_next && !(trimmed && there.is_none()) {
                return Err(format!(
                    "writer {writer}: {comes_next} comes next by the records, and {listed} by the table"
                ));
            }
            comes_next = listed;
        } else if there.is_none() && trimmed {
            comes_next = plan.next.get(writer as usize).copied().unwrap_or(0);
        }
        if let Some(number) = acknowledged.get(&writer)
            && comes_next <= *number
            && !(plan.way(writer) == Way::Off && there.is_none() && trimmed)
        {
            return Err(format!("writer {writer}: {number} was acknowledged, and {comes_next} comes next"));
        }
        // What an earlier look has found stays.
        if let Some(known) = plan.next.get(writer as usize).filter(|known| comes_next < **known) {
            return Err(format!("writer {writer}: {comes_next} comes next, and {known} did before the crash"));
        }
        next.push(comes_next);
    }
    if append_on {
        for (writer, next) in (0..).zip(&mut next) {
            go_on(&log, &partition, &Plan { next: Vec::new(), ..plan.clone() }, writer, next, &found, dice)
                .map_err(|reason| format!("writer {writer}: {reason}"))?;
        }
    }
    drop(partition);
    log.close().map_err(|error| format!("closing: {error}"))?;
    Ok(next)
}

/// Reads all records: each is whole, and the next one of its writer.
fn read(partition: &Partition, plan: &Plan) -> Result<BTreeMap<u64, Found>, String> {
    let mut found: BTreeMap<u64, Found> = BTreeMap::new();
    let start = partition.start_offset();
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
        let of_writer = found.entry(writer).or_default();
        if of_writer.offsets.is_empty() && start > 0 {
            of_writer.first = number;
        }
        if number != of_writer.next() {
            return Err(format!(
                "offset {}: writer {writer} has number {number}, and {} comes next",
                record.offset(),
                of_writer.next()
            ));
        }
        let sequence = record.producer().map(|stamp| stamp.sequence);
        if sequence != (plan.way(writer) != Way::Off).then_some(number) {
            return Err(format!("offset {}: number {number} has the sequence {sequence:?}", record.offset()));
        }
        of_writer.offsets.push(record.offset());
    }
    if offset > partition.end_offset() {
        return Err(format!("offset {} is behind the end {}", offset - 1, partition.end_offset()));
    }
    Ok(found)
}

/// Sends one record again, which must be recognised, and the next one, which must be appended.
fn go_on(
    log: &Log,
    partition: &Partition,
    plan: &Plan,
    writer: u64,
    next: &mut u64,
    found: &BTreeMap<u64, Found>,
    dice: &mut Dice,
) -> Result<(), String> {
    let (mut hand, by_table) = Hand::new(log, partition, plan, writer)?;
    if hand.is_idempotent() && by_table != *next {
        return Err(format!("{by_table} comes next to its handle, and {next} by the table"));
    }
    let error = |error: oncelog::AppendError| error.to_string();
    if let Some(found) = found.get(&writer).filter(|_| hand.is_idempotent()) {
        let index = dice.below(found.offsets.len() as u64);
        let number = found.first + index;
        let offset = found.offsets.get(index as usize).copied().unwrap_or(0);
        let answer = hand.append(partition, number, &[&payload(writer, number)]).map_err(error)?;
        if answer != (Answer::Duplicate { first: offset, last: offset }) {
            return Err(format!("number {number}, which is at offset {offset}, sent again: {answer:?}"));
        }
    }
    let end = partition.end_offset();
    let answer = hand.append(partition, *next, &[&payload(writer, *next)]).map_err(error)?;
    if !matches!(answer, Answer::Appended { first, last } if first == last && first >= end) {
        return Err(format!("number {next} comes next, at offset {end} or behind: {answer:?}"));
    }
    *next += 1;
    Ok(())
}
