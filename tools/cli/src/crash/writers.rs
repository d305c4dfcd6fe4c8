//! The child process: writers that append until they are killed, and say what was acknowledged.
//!
//! A report is 16 bytes in one write, which a pipe never tears: a writer, and the number up to which its records are
//! acknowledged, or `FULL` where there was no room.

use std::io::Write;
use std::process;
use std::thread;
use std::time::Duration;

use oncelog::{Answer, AppendError, Appender, FillError, Log, Partition, Session, Stamp};

use super::calls::filter;
use super::course::Dice;
use super::pairs::{self, Stand};
use super::plan::{Plan, Way, name, open, payload};
use crate::failure::Failure;

/// In place of a number: there is no room.
pub(super) const FULL: u64 = u64::MAX;

/// In place of a writer: the number is that of the descriptor at which the harness hears of this process's calls.
pub(super) const OBSERVED: u64 = u64::MAX;

/// How many of its last records a writer sends again when it begins, as one that has not heard the answers.
const SENT_AGAIN: u64 = 20;

const DURABLE_WITHIN: Duration = Duration::from_secs(60);

#[allow(clippy::print_stderr, reason = "the parent reads why its child ended")]
pub(crate) fn run(plan: &Plan) -> Result<(), Failure> {
    if let Some(observed) = plan.observed {
        let listener = filter::install(observed).map_err(Failure::failed("a filter for system calls"))?;
        report(OBSERVED, listener as u64).map_err(Failure::Failed)?;
    }
    let (log, partition) = open(&plan.dir, &plan.options()).map_err(Failure::Failed)?;
    // Without transactors there is nothing but the one partition.
    let stand = if plan.transactors > 0 { Some(Stand::new(&log).map_err(Failure::Failed)?) } else { None };
    thread::scope(|scope| {
        for (stand, transactor) in
            stand.iter().flat_map(|stand| (0..plan.transactors).map(move |number| (stand, number)))
        {
            scope.spawn(move || {
                let Err(reason) = pairs::transact_all(stand, plan, transactor);
                eprintln!("transactor {transactor}: {reason}");
                process::exit(1);
            });
        }
        for writer in 0..plan.threads {
            let (log, partition) = (&log, &partition);
            scope.spawn(move || {
                let Err(reason) = append_all(log, partition, plan, writer);
                eprintln!("writer {writer}: {reason}");
                process::exit(1);
            });
        }
    });
    Ok(())
}

/// A writer's handle.
pub(super) enum Hand {
    Plain(Appender),
    Session(Box<Session>),
    ById(Appender, Stamp),
}

impl Hand {
    /// A handle, and the number that comes next by the table of producers.
    pub(super) fn new(log: &Log, partition: &Partition, plan: &Plan, writer: u64) -> Result<(Self, u64), String> {
        let appender = || partition.appender().map_err(|error| format!("no appender: {error}"));
        match plan.way(writer) {
            Way::Off => Ok((Self::Plain(appender()?), plan.next.get(writer as usize).copied().unwrap_or(0))),
            Way::Session => {
                let mut session = log.session(&name(writer)).map_err(|error| format!("no session: {error}"))?;
                let last = session.last(partition).map_err(|error| format!("no last sequence: {error}"))?;
                Ok((Self::Session(Box::new(session)), last.map_or(0, |last| last.sequence + 1)))
            }
            Way::ById => {
                let registration = log.register(&name(writer)).map_err(|error| format!("no registration: {error}"))?;
                let infos = log.producers();
                let info = infos.iter().find(|info| info.id == registration.id).ok_or("registered and not listed")?;
                let next = info.partitions.first().map_or(0, |(_, last)| last + 1);
                let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence: 0 };
                Ok((Self::ById(appender()?, stamp), next))
            }
        }
    }

    /// Appends one record or a batch, the first of which has that number.
    pub(super) fn append(
        &mut self,
        partition: &Partition,
        number: u64,
        records: &[&[u8]],
    ) -> Result<Answer, AppendError> {
        match (self, records) {
            (Self::Plain(appender), [record]) => {
                appender.append(record).map(|at| Answer::Appended { first: at, last: at })
            }
            (Self::Plain(appender), _) => appender.append_batch(records).map(Answer::from),
            (Self::Session(session), [record]) => session.append(partition, number, record),
            (Self::Session(session), _) => session.append_batch(partition, number, records),
            (Self::ById(appender, stamp), [record]) => {
                appender.append_by_id(Stamp { sequence: number, ..*stamp }, record)
            }
            (Self::ById(appender, stamp), _) => {
                appender.append_batch_by_id(Stamp { sequence: number, ..*stamp }, records)
            }
        }
    }

    /// Begins to fill a record in place and gives up: a void frame.
    pub(super) fn give_up(&mut self, partition: &Partition, number: u64) -> Result<(), AppendError> {
        let fill = |_: u64, bytes: &mut [u8]| -> Result<(), ()> {
            bytes.fill(b'?');
            Err(())
        };
        let filled = match self {
            Self::Plain(appender) => appender.append_with(100, fill).map(|_| ()),
            Self::Session(session) => session.append_with(partition, number, 100, fill).map(|_| ()),
            Self::ById(..) => Ok(()),
        };
        match filled {
            Err(FillError::Append(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether a retry is recognised.
    pub(super) const fn is_idempotent(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }
}

fn append_all(log: &Log, partition: &Partition, plan: &Plan, writer: u64) -> Result<std::convert::Infallible, String> {
    let mut dice = Dice::new(plan.seed ^ (writer << 32));
    let (mut hand, next) = Hand::new(log, partition, plan, writer)?;
    if let Some(known) = plan.next.get(writer as usize)
        && *known != next
    {
        return Err(format!("the table says that {next} comes next, and the records {known}"));
    }
    let mut number = if hand.is_idempotent() { next.saturating_sub(SENT_AGAIN) } else { next };
    loop {
        let count = if number < next || !dice.one_in(4) { 1 } else { 2 + dice.below(3) };
        let records: Vec<_> = (number..number + count).map(|number| payload(writer, number)).collect();
        let records: Vec<_> = records.iter().map(Vec::as_slice).collect();
        if dice.one_in(50) {
            with_room(writer, || hand.give_up(partition, number))?;
        }
        let answer = with_room(writer, || hand.append(partition, number, &records))?;
        let last = match answer {
            Answer::Appended { last, .. } if number >= next => Some(last),
            Answer::Duplicate { .. } | Answer::DuplicateTrimmed if number < next => None,
            other => return Err(format!("number {number}, {next} came next at the beginning: {other:?}")),
        };
        if hand.is_idempotent() && dice.one_in(16) {
            let again = with_room(writer, || hand.append(partition, number, &records))?;
            if !matches!(again, Answer::Duplicate { .. } | Answer::DuplicateTrimmed) {
                return Err(format!("number {number} again: {again:?}"));
            }
        }
        number += count;
        if let Some(last) = last
            && dice.one_in(plan.waits_every)
        {
            acknowledge(partition, plan, last)?;
            report(writer, number - 1)?;
        }
    }
}

/// Tries until there is room, and says that there is none.
fn with_room<T>(writer: u64, mut append: impl FnMut() -> Result<T, AppendError>) -> Result<T, String> {
    let mut told = false;
    loop {
        match append() {
            Ok(answer) => return Ok(answer),
            Err(AppendError::NoSpace { .. }) => {
                if !told {
                    report(writer, FULL)?;
                    told = true;
                }
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Returns when what is at `offset` is acknowledged.
fn acknowledge(partition: &Partition, plan: &Plan, offset: u64) -> Result<(), String> {
    if plan.durable {
        return match partition.wait_durable(offset, DURABLE_WITHIN) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("offset {offset} was not durable within {DURABLE_WITHIN:?}")),
            Err(error) => Err(error.to_string()),
        };
    }
    while partition.end_offset() <= offset {
        thread::yield_now();
    }
    Ok(())
}

pub(super) fn report(writer: u64, number: u64) -> Result<(), String> {
    let bytes = [writer.to_le_bytes(), number.to_le_bytes()].concat();
    let mut out = std::io::stdout().lock();
    let written = out.write_all(&bytes).and_then(|()| out.flush());
    written.map_err(|error| format!("nobody listens: {error}"))
}
