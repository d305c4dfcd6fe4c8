//! A producer by id, as a broker would have it: every call may be sent again, and late ones come when the next transaction
//! is open.

use oncelog::{Answer, Appender, Partition, Stamp, TransactionError, TransactionId};

use super::{answered, pause, taken_back, timeout};
use crate::{
    dice::Dice,
    event::{What, id_of},
    payload::payload,
    stage::{PARTITIONS, Stage, partition_name, words},
};

pub(crate) fn name(number: u32) -> String {
    format!("by id {number}")
}

struct Client {
    appenders: Vec<Appender>,
    id: TransactionId,
    /// By partition, the sequence that comes next.
    next: Vec<u64>,
    /// The transaction before.
    before: Option<TransactionId>,
}

impl Client {
    fn register(stage: &Stage<'_>, name: &str) -> Result<Self, String> {
        let registration = stage.log.register(name).map_err(words("a registration"))?;
        let appenders: Result<Vec<_>, _> = stage.partitions.iter().map(Partition::appender).collect();
        let info = stage.log.producers().into_iter().find(|info| info.id == registration.id);
        let last = |number: u32| {
            let of = info.as_ref()?.partitions.iter().find(|(name, _)| *name == partition_name(number))?;
            Some(of.1 + 1)
        };
        Ok(Self {
            appenders: appenders.map_err(words("an appender"))?,
            id: TransactionId { producer: registration.id, epoch: registration.epoch, number: 0 },
            next: (0..PARTITIONS).map(|number| last(number).unwrap_or(0)).collect(),
            before: None,
        })
    }
}

/// Appends until it is over.
pub(crate) fn run(stage: &Stage<'_>, number: u32, mut dice: Dice) -> Result<(), String> {
    let name = name(number);
    let mut client = Client::register(stage, &name)?;
    while !stage.is_over() {
        if !one_transaction(stage, &mut client, &mut dice)? {
            client = Client::register(stage, &name)?;
        }
        pause(&mut dice);
    }
    Ok(())
}

/// Whether the producer may go on in its epoch.
fn one_transaction(stage: &Stage<'_>, client: &mut Client, dice: &mut Dice) -> Result<bool, String> {
    let attempt = stage.attempt();
    client.id.number = stage.log.next_transaction(client.id.producer);
    let (id, time) = (client.id, timeout(dice));
    for _ in 0..1 + dice.below(2) {
        match stage.log.begin_transaction(id, time) {
            Ok(()) => {}
            // A second one comes after a fence, or after the end of the time.
            Err(TransactionError::Fenced { .. } | TransactionError::NumberUsed { .. }) => return Ok(false),
            Err(error) => return Err(format!("attempt {attempt}, begin: {error}")),
        }
    }
    stage.recorder.record(What::Begun { attempt, id: Some(id_of(id)) });
    late_calls(stage, client, dice)?;
    let (next, mut records) = (client.next.clone(), [0; PARTITIONS as usize]);
    let mut refused = false;
    for _ in 0..dice.below(8) {
        pause(dice);
        let partition = dice.below(PARTITIONS.into()) as u32;
        let Some(record) = records.get_mut(partition as usize) else { continue };
        if dice.one_in(6) && stage.log.add_partition(id, stage.partition(partition)?).is_err() {
            // Ended meanwhile: its commit says how.
            break;
        }
        if !append(stage, client, attempt, partition, record, dice)? {
            refused = true;
            break;
        }
        if stage.is_crashed() {
            return Ok(true);
        }
    }
    client.before = Some(id);
    if dice.one_in(5) {
        stage.recorder.record(What::Abort { attempt });
        taken_back(stage, attempt, stage.log.abort_transaction(id))?;
        if dice.one_in(2) {
            taken_back(stage, attempt, stage.log.abort_transaction(id))?;
        }
        client.next = next;
        return Ok(!refused);
    }
    stage.recorder.record(What::Commit { attempt });
    let committed = answered(stage, attempt, stage.log.commit_transaction(id), dice)?;
    if dice.one_in(4) && answered(stage, attempt, stage.log.commit_transaction(id), dice)? != committed {
        return Err(format!("attempt {attempt}: a commit that was sent again has another answer"));
    }
    Ok(committed)
}

/// What belongs to the transaction before, and comes now: it must change nothing.
fn late_calls(stage: &Stage<'_>, client: &mut Client, dice: &mut Dice) -> Result<(), String> {
    let Some(before) = client.before.filter(|_| dice.one_in(3)) else { return Ok(()) };
    let partition = dice.below(PARTITIONS.into()) as usize;
    let sequence = client.next.get(partition).copied().unwrap_or(0);
    let stamp = Stamp { producer: before.producer, epoch: before.epoch, sequence };
    if let Some(appender) = client.appenders.get_mut(partition) {
        let answer = appender.append_in_transaction(before.number, stamp, b"late").map_err(words("a late append"))?;
        if !matches!(answer, Answer::InvalidTransaction { .. } | Answer::Fenced { .. }) {
            return Err(format!("a late append to transaction {}: {answer:?}", before.number));
        }
    }
    let late = if dice.one_in(2) {
        stage.log.commit_transaction(before).map(|_| ())
    } else {
        stage.log.abort_transaction(before)
    };
    match late {
        Err(TransactionError::NotOpen { .. } | TransactionError::Fenced { .. }) => {}
        other => return Err(format!("a late end of transaction {}: {other:?}", before.number)),
    }
    stage.count("late calls");
    Ok(())
}

/// Appends the next record, now and then twice. Whether it was appended.
fn append(
    stage: &Stage<'_>,
    client: &mut Client,
    attempt: u64,
    partition: u32,
    record: &mut u32,
    dice: &mut Dice,
) -> Result<bool, String> {
    let (Some(appender), Some(next)) =
        (client.appenders.get_mut(partition as usize), client.next.get_mut(partition as usize))
    else {
        return Ok(true);
    };
    let stamp = Stamp { producer: client.id.producer, epoch: client.id.epoch, sequence: *next };
    let records = 1 + dice.below(3) as u32;
    let payloads: Vec<_> = (*record..*record + records).map(|record| payload(attempt, partition, record)).collect();
    let slices: Vec<_> = payloads.iter().map(Vec::as_slice).collect();
    stage.recorder.record(What::Append { attempt, partition, record: *record, records });
    let mut answer = || {
        let answer = appender.append_batch_in_transaction(client.id.number, stamp, &slices);
        answer.map_err(words("an append"))
    };
    let offset = match answer()? {
        Answer::Appended { first, .. } => first,
        Answer::Fenced { .. } | Answer::InvalidTransaction { .. } => {
            stage.recorder.record(What::Refused { attempt });
            return Ok(false);
        }
        other => return Err(format!("attempt {attempt}, an append of sequence {}: {other:?}", stamp.sequence)),
    };
    stage.recorder.record(What::Appended { attempt, partition, record: *record, records, offset });
    if dice.one_in(6) {
        match answer()? {
            Answer::Duplicate { first, .. } if first == offset => stage.count("retries that were recognised"),
            // Ended between the two.
            Answer::Fenced { .. } | Answer::InvalidTransaction { .. } | Answer::OutOfOrder { .. } => {}
            other => return Err(format!("attempt {attempt}, sequence {} again: {other:?}", stamp.sequence)),
        }
    }
    *next += u64::from(records);
    *record += records;
    Ok(true)
}
