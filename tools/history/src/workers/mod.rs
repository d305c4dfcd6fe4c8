//! Who is at work on a log: each in a thread of its own, until the stage says that it is over. What ends one early is
//! strange, and a fault.

pub(crate) mod by_id;
pub(crate) mod consumer;
pub(crate) mod plain;
pub(crate) mod readers;
pub(crate) mod rival;
pub(crate) mod session;

use std::{thread, time::Duration};

use oncelog::{Commit, TransactionError};

use crate::{dice::Dice, event::What, stage::Stage};

const DURABLE_WITHIN: Duration = Duration::from_secs(60);

/// A transaction's timeout: one in some is so short that it is over before the end.
fn timeout(dice: &mut Dice) -> Duration {
    if dice.one_in(8) { Duration::from_millis(1 + dice.below(3)) } else { Duration::from_secs(60) }
}

fn pause(dice: &mut Dice) {
    if dice.one_in(4) {
        thread::sleep(Duration::from_micros(dice.below(2_000)));
    }
}

/// Puts down how a commit was answered. Whether it was committed.
fn answered(
    stage: &Stage<'_>,
    attempt: u64,
    answer: Result<Commit, TransactionError>,
    dice: &mut Dice,
) -> Result<bool, String> {
    let why = match answer {
        Ok(commit) => {
            stage.recorder.record(What::Committed { attempt });
            if dice.one_in(4) {
                if !commit.wait_durable(DURABLE_WITHIN).map_err(|error| error.to_string())? {
                    return Err(format!("attempt {attempt} was not durable within {DURABLE_WITHIN:?}"));
                }
                stage.recorder.record(What::Durable { attempt });
            }
            return Ok(true);
        }
        Err(TransactionError::TimedOut { .. }) => "timed out",
        Err(TransactionError::Fenced { .. }) => "fenced",
        Err(TransactionError::StaleGeneration { .. }) => "of a group that was taken over",
        Err(TransactionError::Aborted { .. }) => "aborted by somebody else",
        Err(error) => return Err(format!("attempt {attempt}, commit: {error}")),
    };
    stage.aborted(attempt, why);
    Ok(false)
}

/// Puts down how an abort was answered.
fn taken_back(stage: &Stage<'_>, attempt: u64, answer: Result<(), TransactionError>) -> Result<(), String> {
    match answer {
        Ok(()) => stage.aborted(attempt, "asked for"),
        Err(TransactionError::Fenced { .. }) => stage.aborted(attempt, "fenced before its abort"),
        Err(error) => return Err(format!("attempt {attempt}, abort: {error}")),
    }
    Ok(())
}
