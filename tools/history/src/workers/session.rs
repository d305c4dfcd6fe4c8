//! A producer with a session: transactions over several partitions, and plain appends between them.

use std::mem;

use oncelog::{Answer, Partition, Session, Transaction};

use super::{answered, pause, taken_back, timeout};
use crate::{
    dice::Dice,
    event::What,
    payload::payload,
    stage::{PARTITIONS, Stage, words},
};

pub(crate) fn name(number: u32) -> String {
    format!("session {number}")
}

/// Appends until it is over.
pub(crate) fn run(stage: &Stage<'_>, number: u32, mut dice: Dice) -> Result<(), String> {
    let name = name(number);
    let mut session = stage.log.session(&name).map_err(words("a session"))?;
    while !stage.is_over() {
        let fenced = if dice.one_in(4) {
            append_plainly(stage, &mut session, &mut dice)?
        } else {
            one_transaction(stage, &mut session, &mut dice)?
        };
        if fenced {
            session = stage.log.session(&name).map_err(words("a session"))?;
        }
        pause(&mut dice);
    }
    Ok(())
}

/// Appends one record outside of transactions. Whether the session is fenced.
fn append_plainly(stage: &Stage<'_>, session: &mut Session, dice: &mut Dice) -> Result<bool, String> {
    let (attempt, partition) = (stage.attempt(), dice.below(PARTITIONS.into()) as u32);
    stage.recorder.record(What::Plain { attempt, partition, records: 1 });
    let answer = session.append_next(stage.partition(partition)?, &payload(attempt, partition, 0));
    match answer.map_err(words("a plain append"))? {
        Answer::Appended { first: offset, .. } => {
            stage.recorder.record(What::Appended { attempt, partition, record: 0, records: 1, offset });
            Ok(false)
        }
        Answer::Fenced { .. } => {
            stage.aborted(attempt, "fenced before a plain append");
            Ok(true)
        }
        other => Err(format!("attempt {attempt}, a plain append: {other:?}")),
    }
}

/// Begins a transaction, appends, and ends it in one way or another. Whether the session is fenced.
fn one_transaction(stage: &Stage<'_>, session: &mut Session, dice: &mut Dice) -> Result<bool, String> {
    let attempt = stage.attempt();
    let mut transaction = match session.begin_for(timeout(dice)) {
        Ok(transaction) => transaction,
        Err(oncelog::TransactionError::Fenced { .. }) => return Ok(true),
        Err(error) => return Err(format!("attempt {attempt}, begin: {error}")),
    };
    stage.recorder.record(What::Begun { attempt, id: None });
    let mut records = [0; PARTITIONS as usize];
    let mut refused = false;
    for _ in 0..dice.below(8) {
        pause(dice);
        let partition = dice.below(PARTITIONS.into()) as u32;
        let Some(record) = records.get_mut(partition as usize) else { continue };
        refused = !append(stage, &mut transaction, attempt, stage.partition(partition)?, partition, record)?;
        if refused {
            break;
        }
        if stage.is_crashed() {
            mem::forget(transaction);
            return Ok(false);
        }
    }
    finish(stage, transaction, attempt, refused, dice)
}

/// Appends the next record. Whether it was appended.
pub(super) fn append(
    stage: &Stage<'_>,
    transaction: &mut Transaction<'_>,
    attempt: u64,
    to: &Partition,
    partition: u32,
    record: &mut u32,
) -> Result<bool, String> {
    stage.recorder.record(What::Append { attempt, partition, record: *record, records: 1 });
    match transaction.append_next(to, &payload(attempt, partition, *record)).map_err(words("an append"))? {
        Answer::Appended { first: offset, .. } => {
            stage.recorder.record(What::Appended { attempt, partition, record: *record, records: 1, offset });
            *record += 1;
            Ok(true)
        }
        Answer::Fenced { .. } | Answer::InvalidTransaction { .. } => {
            stage.recorder.record(What::Refused { attempt });
            Ok(false)
        }
        other => Err(format!("attempt {attempt}, an append: {other:?}")),
    }
}

/// Ends it: most are committed, some aborted, dropped, or left open where everything is. Whether the session is fenced.
fn finish(
    stage: &Stage<'_>,
    transaction: Transaction<'_>,
    attempt: u64,
    refused: bool,
    dice: &mut Dice,
) -> Result<bool, String> {
    match dice.below(10) {
        0 => {
            stage.recorder.record(What::Abort { attempt });
            taken_back(stage, attempt, transaction.abort())?;
        }
        1 => {
            stage.recorder.record(What::Abort { attempt });
            drop(transaction);
            stage.aborted(attempt, "dropped");
        }
        _ => {
            stage.recorder.record(What::Commit { attempt });
            let committed = answered(stage, attempt, transaction.commit(), dice)?;
            return Ok(!committed);
        }
    }
    Ok(refused)
}
