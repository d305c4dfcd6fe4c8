//! The thread of the child that truncates, purges and resets the writers' partition, and sets its metadata.

use std::convert::Infallible;
use std::thread;
use std::time::Duration;

use oncelog::{Partition, TruncateError};

use super::course::Dice;
use super::known::{metadata, metadata_number};
use super::plan::Plan;
use super::reports::{Change, Turns};

/// Longest time between two changes.
const PAUSE_MAX_US: u64 = 6_000;

/// Most records that are cut off, but now and then.
const NEAR: u64 = 300;

/// How far a reset goes beyond the end: whether it was made can be told from where the log starts.
const FAR: u64 = 1 << 20;

pub(super) fn truncate_all(partition: &Partition, plan: &Plan, turns: &Turns) -> Result<Infallible, String> {
    let mut dice = Dice::new(plan.seed ^ 0x7472_756e_6361_7465);
    let kept = partition.metadata().map_or(Some(0), |bytes| metadata_number(&bytes));
    let mut number = kept.ok_or("the metadata is none that was set")?;
    turns.begun.wait();
    loop {
        thread::sleep(Duration::from_micros(dice.below(PAUSE_MAX_US)));
        let (start, end) = (partition.start_offset(), partition.end_offset());
        let kept = end.saturating_sub(start);
        let change = match dice.below(64) {
            0 => Change::Reset(end + FAR),
            1..=2 => Change::Truncate(start + dice.below(kept + 1)),
            // Beyond the end as well.
            3..=8 => Change::Purge(start + dice.below(kept.min(20_000) + 10)),
            9..=18 => {
                number += 1;
                Change::Metadata(number)
            }
            _ => Change::Truncate(end - dice.below(kept.min(NEAR) + 1)),
        };
        turns.change(change, || make(partition, change))?;
    }
}

/// False if it was refused, since the partition has changed meanwhile.
fn make(partition: &Partition, change: Change) -> Result<bool, String> {
    let cut = match change {
        Change::Truncate(from) => partition.truncate(from).map(drop),
        Change::Reset(base) => partition.reset(base).map(drop),
        Change::Purge(to) => partition.purge(to),
        Change::Metadata(number) => {
            partition.set_metadata(&metadata(number)).map_err(|error| format!("{change:?}: {error}"))?;
            partition.flush().map_err(|error| format!("{change:?}, flushing: {error}"))?;
            Ok(())
        }
    };
    match cut {
        Ok(()) => Ok(true),
        // Retention was faster.
        Err(TruncateError::OutOfRange { .. }) => Ok(false),
        Err(error) => Err(format!("{change:?}: {error}")),
    }
}
