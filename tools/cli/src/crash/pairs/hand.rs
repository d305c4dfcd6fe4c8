//! One try to write a number: what it appends, and what ends it. Every end but a commit must leave nothing.

use std::time::Duration;

use oncelog::{
    Answer, AppendError, Appender, Commit, Group, ProducerId, Session, Stamp, Transaction, TransactionError,
    TransactionId,
};

use super::{RECORDS_MAX, SIDES, Stand, group, is_by_id, name};
use crate::crash::course::Dice;

/// What is to end a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    Commit,
    Abort,
    /// By session, the handle is dropped; by id, it is aborted twice.
    Drop,
    /// It is open for longer than it may be: by chance it is committed before.
    TimeOut,
    /// The producer is registered once more.
    Rival,
    /// The group is taken over.
    Regroup,
}

/// How it ended.
pub(super) enum Ended {
    Committed(Commit),
    Aborted,
    /// The handle is of no more use.
    Replaced,
}

/// What a try appends.
pub(super) struct Try {
    transactor: u64,
    number: u64,
    attempt: u64,
    records: [u64; 2],
    pub(super) ends: Ends,
}

impl Try {
    pub(super) fn new(transactor: u64, number: u64, dice: &mut Dice) -> Self {
        let ends = match dice.below(400) {
            0..=29 => Ends::Abort,
            30..=44 => Ends::Drop,
            45..=48 => Ends::TimeOut,
            49 => Ends::Rival,
            50 => Ends::Regroup,
            _ => Ends::Commit,
        };
        let records = [1 + dice.below(RECORDS_MAX), 1 + dice.below(RECORDS_MAX)];
        Self { transactor, number, attempt: dice.roll(), records, ends }
    }

    fn timeout(&self) -> Duration {
        if self.ends == Ends::TimeOut { Duration::from_millis(1) } else { Duration::from_secs(600) }
    }

    /// Its records, in turn: which side, and the bytes.
    fn payloads(&self) -> impl Iterator<Item = (usize, Vec<u8>)> {
        let turns = (0..RECORDS_MAX).flat_map(|index| [(0, index), (1, index)]);
        turns.filter(|(side, index)| *index < self.records[*side]).map(|(side, index)| {
            let words = [self.transactor, self.number, self.attempt, index, self.records[side]];
            let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let long = if self.attempt.is_multiple_of(151) { 4_000 } else { 0 };
            bytes.resize(bytes.len() + long + (self.attempt % 90) as usize, self.attempt as u8);
            (side, bytes)
        })
    }
}

/// A transactor's handle.
pub(super) struct Hand {
    group: Group,
    way: Way,
}

enum Way {
    Session(Box<Session>),
    ById(Box<ById>),
}

struct ById {
    appenders: [Appender; 2],
    producer: ProducerId,
    epoch: u32,
    /// By side, the sequence that comes next.
    next: [u64; 2],
}

fn words<E: std::fmt::Display>(doing: &'static str) -> impl FnOnce(E) -> String {
    move |error| format!("{doing}: {error}")
}

impl Hand {
    pub(super) fn new(stand: &Stand<'_>, transactor: u64) -> Result<Self, String> {
        let group = stand.log.group(&group(transactor)).map_err(words("taking the group over"))?;
        let name = name(transactor);
        if !is_by_id(transactor) {
            let session = stand.log.session(&name).map_err(words("a session"))?;
            return Ok(Self { group, way: Way::Session(Box::new(session)) });
        }
        let registration = stand.log.register(&name).map_err(words("a registration"))?;
        let infos = stand.log.producers();
        let info = infos.iter().find(|info| info.id == registration.id).ok_or("registered and not listed")?;
        let last = |side: &str| info.partitions.iter().find(|(name, _)| name == side).map_or(0, |(_, last)| last + 1);
        let appender = |side: usize| stand.sides[side].appender().map_err(words("an appender"));
        let by_id = ById {
            appenders: [appender(0)?, appender(1)?],
            producer: registration.id,
            epoch: registration.epoch,
            next: SIDES.map(last),
        };
        Ok(Self { group, way: Way::ById(Box::new(by_id)) })
    }

    /// Writes a number, or tries to.
    pub(super) fn run(&mut self, stand: &Stand<'_>, wanted: &Try) -> Result<Ended, String> {
        let group = self.group.clone();
        let ended = match &mut self.way {
            Way::Session(session) => by_session(stand, session, &group, wanted),
            Way::ById(by_id) => by_id.run(stand, &group, wanted),
        };
        ended.map_err(|reason| format!("number {}, to end by {:?}: {reason}", wanted.number, wanted.ends))
    }
}

/// Whether an append was one; none if the transaction has ended.
fn appended(answer: Result<Answer, AppendError>) -> Result<Option<()>, String> {
    match answer.map_err(words("appending"))? {
        Answer::Appended { .. } => Ok(Some(())),
        Answer::Fenced { .. } | Answer::InvalidTransaction { .. } => Ok(None),
        other => Err(format!("appending the sequence that comes next: {other:?}")),
    }
}

/// Whether it was done; none if the transaction has ended.
fn going_on<T>(doing: &'static str, done: Result<T, TransactionError>) -> Result<Option<T>, String> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(
            TransactionError::Fenced { .. }
            | TransactionError::TimedOut { .. }
            | TransactionError::StaleGeneration { .. }
            | TransactionError::Aborted { .. }
            | TransactionError::NotOpen { .. },
        ) => Ok(None),
        Err(error) => Err(format!("{doing}: {error}")),
    }
}

impl Try {
    /// Lets happen what comes between the last append and the end.
    fn interfere(&self, stand: &Stand<'_>) -> Result<(), String> {
        match self.ends {
            Ends::TimeOut => std::thread::sleep(Duration::from_micros(self.attempt % 4_000)),
            Ends::Rival if is_by_id(self.transactor) => {
                stand.log.register(&name(self.transactor)).map_err(words("a rival's registration"))?;
            }
            Ends::Rival => drop(stand.log.session(&name(self.transactor)).map_err(words("a rival's session"))?),
            Ends::Regroup => {
                stand.log.group(&group(self.transactor)).map_err(words("taking the group over"))?;
            }
            Ends::Commit | Ends::Abort | Ends::Drop => {}
        }
        Ok(())
    }

    /// What the answer to a commit means, which is none if it was refused.
    fn ended(&self, committed: Option<Commit>) -> Result<Ended, String> {
        match (committed, self.ends) {
            (Some(_), Ends::Rival | Ends::Regroup) => Err("it was committed".to_owned()),
            (Some(commit), _) => Ok(Ended::Committed(commit)),
            (None, Ends::Rival | Ends::Regroup | Ends::TimeOut) => Ok(Ended::Replaced),
            (None, _) => Err("it was aborted, and nobody has asked for that".to_owned()),
        }
    }
}

fn by_session(stand: &Stand<'_>, session: &mut Session, group: &Group, wanted: &Try) -> Result<Ended, String> {
    let mut transaction = session.begin_for(wanted.timeout()).map_err(words("beginning"))?;
    for (side, payload) in wanted.payloads() {
        if appended(transaction.append_next(&stand.sides[side], &payload))?.is_none() {
            return wanted.ended(None);
        }
    }
    if going_on("the offset", transaction.commit_offset(group, &stand.sides[0], wanted.number))?.is_none() {
        return wanted.ended(None);
    }
    wanted.interfere(stand)?;
    match wanted.ends {
        Ends::Abort => transaction.abort().map_err(words("aborting"))?,
        Ends::Drop => drop::<Transaction<'_>>(transaction),
        _ => return wanted.ended(going_on("committing", transaction.commit())?),
    }
    Ok(Ended::Aborted)
}

impl ById {
    fn run(&mut self, stand: &Stand<'_>, group: &Group, wanted: &Try) -> Result<Ended, String> {
        let number = stand.log.next_transaction(self.producer);
        let id = TransactionId { producer: self.producer, epoch: self.epoch, number };
        stand.log.begin_transaction(id, wanted.timeout()).map_err(words("beginning"))?;
        let before = self.next;
        for (side, payload) in wanted.payloads() {
            let stamp = Stamp { producer: self.producer, epoch: self.epoch, sequence: self.next[side] };
            let appender = &mut self.appenders[side];
            if appended(appender.append_in_transaction(number, stamp, &payload))?.is_none() {
                return wanted.ended(None);
            }
            if wanted.attempt.is_multiple_of(13) {
                match appender.append_in_transaction(number, stamp, &payload).map_err(words("appending again"))? {
                    Answer::Duplicate { .. } => {}
                    Answer::Fenced { .. } | Answer::InvalidTransaction { .. } | Answer::OutOfOrder { .. }
                        if wanted.ends == Ends::TimeOut => {}
                    other => return Err(format!("sequence {} again: {other:?}", stamp.sequence)),
                }
            }
            self.next[side] += 1;
        }
        if going_on("the offset", stand.log.add_offset(id, group, &stand.sides[0], wanted.number))?.is_none() {
            return wanted.ended(None);
        }
        wanted.interfere(stand)?;
        if matches!(wanted.ends, Ends::Abort | Ends::Drop) {
            stand.log.abort_transaction(id).map_err(words("aborting"))?;
            if wanted.ends == Ends::Drop {
                stand.log.abort_transaction(id).map_err(words("aborting again"))?;
            }
            // Its sequences are not used.
            self.next = before;
            return Ok(Ended::Aborted);
        }
        let committed = going_on("committing", stand.log.commit_transaction(id))?;
        if committed.is_some() && wanted.attempt.is_multiple_of(17) {
            let _durable = stand.log.commit_transaction(id).map_err(words("committing again"))?;
        }
        wanted.ended(committed)
    }
}
