//! Appends of nobody in particular, one by one and in batches, beside the transactions.

use std::{thread, time::Duration};

use super::{DURABLE_WITHIN, pause};
use crate::{
    dice::Dice,
    event::What,
    payload::payload,
    stage::{PARTITIONS, Stage, words},
};

/// Appends until it is over; waits until some are visible, and some durable.
pub(crate) fn run(stage: &Stage<'_>, _: u32, mut dice: Dice) -> Result<(), String> {
    let appenders: Result<Vec<_>, _> = stage.partitions.iter().map(oncelog::Partition::appender).collect();
    let mut appenders = appenders.map_err(words("an appender"))?;
    while !stage.is_over() {
        let (attempt, partition) = (stage.attempt(), dice.below(PARTITIONS.into()) as u32);
        let records = 1 + dice.below(3) as u32;
        let payloads: Vec<_> = (0..records).map(|record| payload(attempt, partition, record)).collect();
        let slices: Vec<_> = payloads.iter().map(Vec::as_slice).collect();
        stage.recorder.record(What::Plain { attempt, partition, records });
        let Some(appender) = appenders.get_mut(partition as usize) else { continue };
        let offsets = appender.append_batch(&slices).map_err(words("a plain append"))?;
        stage.recorder.record(What::Appended { attempt, partition, record: 0, records, offset: offsets.first });
        let of = stage.partition(partition)?;
        match dice.below(8) {
            0 => {
                if !of.wait_durable(offsets.last, DURABLE_WITHIN).map_err(words("a plain append"))? {
                    return Err(format!("attempt {attempt} was not durable within {DURABLE_WITHIN:?}"));
                }
                stage.recorder.record(What::Durable { attempt });
            }
            1 => {
                while of.end_offset() <= offsets.last {
                    thread::yield_now();
                }
                stage.recorder.record(What::Committed { attempt });
            }
            _ => {}
        }
        thread::sleep(Duration::from_micros(200));
        pause(&mut dice);
    }
    Ok(())
}
