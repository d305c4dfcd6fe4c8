//! Producers: who they are, and how far they have come in each partition.

use std::collections::BTreeMap;

use oncelog::{Mode, ProducerId, ProducerInfo, ProducerProgress, ReadOnlyLog, ReadOnlyPartition};
use serde::Serialize;

use super::filter::Filter;
use super::{known, print, print_json, unread};
use crate::failure::Failure;
use crate::moment::moment;
use crate::verify::shortened;

#[derive(Serialize)]
struct Producer<'a> {
    id: u64,
    /// None of one that was closed.
    name: Option<&'a str>,
    epoch: Option<u32>,
    mode: Option<&'static str>,
    last_used: Option<String>,
    partitions: Vec<There<'a>>,
}

#[derive(Serialize)]
struct There<'a> {
    partition: &'a str,
    epoch: u32,
    last_sequence: Option<u64>,
    /// Of its last batch.
    first_offset: Option<u64>,
    last_offset: Option<u64>,
    position: Option<u64>,
    last_append: Option<String>,
}

impl<'a> There<'a> {
    fn of(partition: &'a str, progress: &ProducerProgress) -> Self {
        Self {
            partition,
            epoch: progress.epoch,
            last_sequence: progress.next_sequence.checked_sub(1),
            first_offset: progress.last_offsets.map(|offsets| offsets.first),
            last_offset: progress.last_offsets.map(|offsets| offsets.last),
            position: progress.last_position,
            last_append: Some(progress.last_ms).filter(|ms| *ms > 0).map(moment),
        }
    }
}

const fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Session => "session",
        Mode::ById => "by-id",
    }
}

pub(super) fn tell(
    log: &ReadOnlyLog,
    partitions: &[&ReadOnlyPartition],
    filter: &Filter,
    json: bool,
) -> Result<(), Failure> {
    let wanted = filter.producers(log)?;
    let is_wanted = |id: ProducerId| wanted.as_ref().is_none_or(|wanted| wanted.contains(&id));
    let mut there: BTreeMap<ProducerId, Vec<There<'_>>> = BTreeMap::new();
    for partition in partitions {
        for progress in partition.progress().map_err(unread(partition))?.iter().filter(|found| is_wanted(found.id)) {
            there.entry(progress.id).or_default().push(There::of(partition.name(), progress));
        }
    }
    let live = log.producers().iter().filter(|producer| is_wanted(producer.id)).map(|producer| {
        let ProducerInfo { id, name, epoch, mode, last_used_ms, .. } = producer;
        let partitions = there.remove(id).unwrap_or_default();
        Producer {
            id: id.get(),
            name: Some(name),
            epoch: Some(*epoch),
            mode: Some(word(*mode)),
            last_used: Some(moment(*last_used_ms)),
            partitions,
        }
    });
    let mut all: Vec<Producer<'_>> = live.collect();
    // Closed ones, whose places nobody has taken yet.
    all.extend(there.into_iter().map(|(id, partitions)| Producer {
        id: id.get(),
        name: None,
        epoch: None,
        mode: None,
        last_used: None,
        partitions,
    }));
    if json {
        return print_json(&all);
    }
    print(&format!("{:>20}  {:>5}  {:<7}  {:<20}  name", "id", "epoch", "mode", "last used"));
    print(&format!(
        "{:>22}  {:>5}  {:>13}  {:>23}  {:>14}",
        "in partition", "epoch", "last sequence", "offsets of its batch", "position"
    ));
    for producer in &all {
        let dash = || "-".to_owned();
        print(&format!(
            "{:>20}  {:>5}  {:<7}  {:<20}  {}",
            producer.id,
            known(producer.epoch),
            producer.mode.unwrap_or("closed"),
            producer.last_used.clone().unwrap_or_else(dash),
            shortened(producer.name.unwrap_or("-"), 38)
        ));
        for there in &producer.partitions {
            let offsets = there.first_offset.zip(there.last_offset);
            let offsets = offsets.map_or_else(dash, |(first, last)| format!("{first}..={last}"));
            print(&format!(
                "{:>22}  {:>5}  {:>13}  {offsets:>23}  {:>14}",
                shortened(there.partition, 22),
                there.epoch,
                known(there.last_sequence),
                known(there.position)
            ));
        }
    }
    print(&format!("{} producers", all.len()));
    Ok(())
}
