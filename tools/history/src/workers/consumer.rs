//! One of a group: reads what is committed in the first partition, produces to the others, and commits the group's offset
//! with what it has produced. Another one of the group takes over at any time.

use oncelog::{Group, Isolation, Reader, Session, TransactionError};

use super::{answered, pause, session::append, taken_back};
use crate::{
    dice::Dice,
    event::What,
    stage::{GROUPS, PARTITIONS, Stage, group_name, words},
};
use std::mem;

pub(crate) fn name(number: u32) -> String {
    format!("consumer {number}")
}

/// How a turn ended.
enum Turn {
    Committed,
    /// The offsets go on from where they were.
    TakenBack,
    /// The group was taken over, or the session fenced.
    Replaced,
    Crashed,
}

/// Reads and produces until it is over.
pub(crate) fn run(stage: &Stage<'_>, number: u32, mut dice: Dice) -> Result<(), String> {
    let group_number = number % GROUPS;
    let input = stage.partition(0)?;
    while !stage.is_over() {
        let mut session = stage.log.session(&name(number)).map_err(words("a session"))?;
        let group = stage.log.group(&group_name(group_number)).map_err(words("a group"))?;
        let mut from = group.committed(input).unwrap_or(0);
        let mut reader = input.read_from(from).map_err(words("a reader"))?;
        reader.set_isolation(Isolation::ReadCommitted);
        for _ in 0..5 + dice.below(60) {
            if stage.is_over() {
                return Ok(());
            }
            match one_turn(stage, &mut session, &group, group_number, &mut reader, from, &mut dice)? {
                Turn::Committed => from = reader.next_offset(),
                Turn::TakenBack => reader.seek(from).map_err(words("a seek"))?,
                Turn::Replaced => break,
                Turn::Crashed => return Ok(()),
            }
            pause(&mut dice);
        }
    }
    Ok(())
}

fn one_turn(
    stage: &Stage<'_>,
    session: &mut Session,
    group: &Group,
    number: u32,
    reader: &mut Reader,
    from: u64,
    dice: &mut Dice,
) -> Result<Turn, String> {
    let mut read = 0;
    while read < 8 && reader.next().map_err(words("a consumer's reader"))?.is_some() {
        read += 1;
    }
    let to = reader.next_offset();
    if read == 0 {
        std::thread::sleep(std::time::Duration::from_micros(300));
        return Ok(Turn::TakenBack);
    }
    let attempt = stage.attempt();
    let mut transaction = match session.begin() {
        Ok(transaction) => transaction,
        Err(TransactionError::Fenced { .. }) => return Ok(Turn::Replaced),
        Err(error) => return Err(format!("attempt {attempt}, begin: {error}")),
    };
    stage.recorder.record(What::Begun { attempt, id: None });
    // Before, between and after the outputs.
    let offset_at = dice.below(read + 1);
    let mut records = [0; PARTITIONS as usize];
    for index in 0..=read {
        if index == offset_at {
            match transaction.commit_offset(group, stage.partition(0)?, to) {
                Ok(()) => stage.recorder.record(What::Offset { attempt, group: number, from, to }),
                Err(
                    TransactionError::StaleGeneration { .. }
                    | TransactionError::Fenced { .. }
                    | TransactionError::Aborted { .. },
                ) => {
                    stage.count("offsets refused to who was replaced");
                    drop(transaction);
                    stage.aborted(attempt, "before its offset was added");
                    return Ok(Turn::Replaced);
                }
                Err(error) => return Err(format!("attempt {attempt}, an offset: {error}")),
            }
        }
        if index == read {
            break;
        }
        let partition = 1 + dice.below(u64::from(PARTITIONS) - 1) as u32;
        let Some(record) = records.get_mut(partition as usize) else { continue };
        if !append(stage, &mut transaction, attempt, stage.partition(partition)?, partition, record)? {
            drop(transaction);
            stage.aborted(attempt, "fenced");
            return Ok(Turn::Replaced);
        }
        if stage.is_crashed() {
            mem::forget(transaction);
            return Ok(Turn::Crashed);
        }
    }
    pause(dice);
    if dice.one_in(8) {
        stage.recorder.record(What::Abort { attempt });
        taken_back(stage, attempt, transaction.abort())?;
        return Ok(Turn::TakenBack);
    }
    stage.recorder.record(What::Commit { attempt });
    let committed = answered(stage, attempt, transaction.commit(), dice)?;
    Ok(if committed { Turn::Committed } else { Turn::Replaced })
}
