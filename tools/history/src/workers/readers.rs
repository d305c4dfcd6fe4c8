//! Readers of both kinds that poll all along, and one who asks for the last stable offsets and for the groups'.

use std::{thread, time::Duration};

use oncelog::{Isolation, Reader};

use crate::{
    dice::Dice,
    event::What,
    look::found,
    stage::{GROUPS, PARTITIONS, Stage, group_name, words},
};

struct One {
    number: u64,
    partition: u32,
    committed: bool,
    reader: Reader,
}

/// Reads with one reader of each kind in each partition until it is over, and then to the end.
pub(crate) fn run(stage: &Stage<'_>, _: u32, mut dice: Dice) -> Result<(), String> {
    let mut readers = Vec::new();
    for partition in 0..PARTITIONS {
        for committed in [true, false] {
            readers.push(begin(stage, partition, committed, 0)?);
        }
    }
    loop {
        // Asked before the last round: what there is then is read.
        let over = stage.is_over();
        for one in &mut readers {
            if dice.one_in(200) {
                // A new one, from anywhere.
                let end = stage.partition(one.partition)?.end_offset();
                *one = begin(stage, one.partition, one.committed, dice.below(end + 1))?;
            }
            poll(stage, one, if over { u64::MAX } else { 1 + dice.below(64) })?;
        }
        if over {
            return Ok(());
        }
        thread::sleep(Duration::from_micros(dice.below(400)));
    }
}

fn begin(stage: &Stage<'_>, partition: u32, committed: bool, from: u64) -> Result<One, String> {
    let mut reader = stage.partition(partition)?.read_from(from).map_err(words("a reader"))?;
    reader.set_isolation(if committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted });
    Ok(One { number: stage.reader(), partition, committed, reader })
}

fn poll(stage: &Stage<'_>, one: &mut One, most: u64) -> Result<(), String> {
    let from = one.reader.next_offset();
    let mut records = Vec::new();
    while (records.len() as u64) < most {
        let Some(record) = one.reader.next().map_err(words("a reader"))? else { break };
        records.push(found(one.partition, &record)?);
    }
    let to = one.reader.next_offset();
    if to != from || !records.is_empty() {
        let One { number, partition, committed, .. } = *one;
        stage.recorder.record(What::Read { reader: number, partition, committed, from, to, records });
    }
    Ok(())
}

/// Asks for stable and committed offsets until it is over.
pub(crate) fn watch(stage: &Stage<'_>, _: u32, mut dice: Dice) -> Result<(), String> {
    let input = stage.partition(0)?;
    let groups: Vec<_> = (0..GROUPS).map(|group| stage.log.group_at(&group_name(group), 0)).collect();
    while !stage.is_over() {
        for partition in 0..PARTITIONS {
            let since = stage.recorder.now();
            let offset = stage.partition(partition)?.stats().stable_offset;
            stage.recorder.record(What::Stable { since, partition, offset });
        }
        for (group, of) in (0..).zip(&groups) {
            let since = stage.recorder.now();
            let offset = of.committed(input).unwrap_or(0);
            stage.recorder.record(What::GroupAt { since, group, offset });
        }
        thread::sleep(Duration::from_micros(dice.below(600)));
    }
    Ok(())
}
