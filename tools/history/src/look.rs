//! All that is in a log between two lives, read once more from the start.

use std::collections::BTreeMap;

use serde::Serialize;

use oncelog::{Isolation, Log, Partition};

use crate::{
    event::Found,
    payload::written_by,
    stage::{GROUPS, PARTITIONS, group_name, partition_name},
};

/// What is in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Look {
    /// By partition, what a reader of committed records gets.
    pub committed: Vec<Vec<Found>>,
    /// By partition, what a reader of everything gets.
    pub all: Vec<Vec<Found>>,
    /// By partition, the offset behind the last record.
    pub ends: Vec<u64>,
    /// By group, what it has committed.
    pub groups: Vec<u64>,
    /// By producer, and by partition, the last sequence.
    pub lasts: BTreeMap<u64, BTreeMap<u32, u64>>,
}

/// Reads a record for what it says of itself.
pub(crate) fn found(partition: u32, record: &oncelog::Record<'_>) -> Result<Found, String> {
    let place = || format!("partition {partition}, offset {}", record.offset());
    let (attempt, meant_for, number) =
        written_by(record.payload()).ok_or_else(|| format!("{}: no record that was appended", place()))?;
    if meant_for != partition {
        return Err(format!("{}: a record for partition {meant_for}", place()));
    }
    let (producer, sequence) = record.producer().map_or((0, 0), |stamp| (stamp.producer.get(), stamp.sequence));
    Ok(Found(record.offset(), attempt, number, producer, sequence))
}

fn read(partition: u32, of: &Partition, isolation: Isolation) -> Result<Vec<Found>, String> {
    let mut reader = of.read_from(of.start_offset()).map_err(|error| error.to_string())?;
    reader.set_isolation(isolation);
    let mut all = Vec::new();
    while let Some(record) = reader.next().map_err(|error| format!("partition {partition}: {error}"))? {
        all.push(found(partition, &record)?);
    }
    if reader.next_offset() != of.end_offset() {
        return Err(format!(
            "partition {partition}: a reader with {isolation:?} ends at offset {}, and the partition at {}",
            reader.next_offset(),
            of.end_offset()
        ));
    }
    Ok(all)
}

/// Looks at all of a log in which no transaction is open.
///
/// # Errors
/// What could not be read, or was no record that was appended, in words.
pub fn look(log: &Log) -> Result<Look, String> {
    let mut look = Look::default();
    for number in 0..PARTITIONS {
        let partition = log.partition(&partition_name(number)).map_err(|error| error.to_string())?;
        look.committed.push(read(number, &partition, Isolation::ReadCommitted)?);
        look.all.push(read(number, &partition, Isolation::ReadUncommitted)?);
        look.ends.push(partition.end_offset());
    }
    let input = log.partition(&partition_name(0)).map_err(|error| error.to_string())?;
    look.groups = (0..GROUPS).map(|group| log.group_at(&group_name(group), 0).committed(&input).unwrap_or(0)).collect();
    for info in log.producers() {
        for (name, last) in info.partitions {
            if let Some(number) = (0..PARTITIONS).find(|number| partition_name(*number) == name) {
                look.lasts.entry(info.id.get()).or_default().insert(number, last);
            }
        }
    }
    Ok(look)
}
