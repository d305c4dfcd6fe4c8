//! The child process: writers that append until they are killed, and say what was acknowledged (`reports.rs`).

use std::process;
use std::thread;
use std::time::{Duration, Instant};

use oncelog::{Answer, AppendError, Appender, DurableError, FillError, Log, Partition, Session, Stamp};

use super::calls::filter;
use super::course::Dice;
use super::pairs::{self, Stand};
use super::plan::{Plan, Way, name, open, payload};
use super::reports::{Said, Told, Turns};
use super::truncator::truncate_all;
use crate::failure::Failure;

/// How many of its last records a writer sends again when it begins, as one that has not heard the answers.
const SENT_AGAIN: u64 = 20;

const DURABLE_WITHIN: Duration = Duration::from_secs(60);

/// After which it is looked whether what is waited for was cut off.
const LOOKED_EVERY: Duration = Duration::from_millis(20);

#[allow(clippy::print_stderr, reason = "the parent reads why its child ended")]
pub(crate) fn run(plan: &Plan) -> Result<(), Failure> {
    if let Some(observed) = plan.observed {
        let listener = filter::install(observed).map_err(Failure::failed("a filter for system calls"))?;
        Said::Observed { listener: listener as u64 }.say().map_err(Failure::Failed)?;
    }
    let (log, partition) = open(&plan.dir, &plan.options()).map_err(Failure::Failed)?;
    // Without transactors there is nothing but the one partition.
    let stand = if plan.transactors > 0 { Some(Stand::new(&log).map_err(Failure::Failed)?) } else { None };
    let turns = Turns::new(plan.threads as usize + usize::from(plan.truncates));
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
            let (log, partition, turns) = (&log, &partition, &turns);
            scope.spawn(move || {
                let Err(reason) = append_all(log, partition, plan, writer, turns);
                eprintln!("writer {writer}: {reason}");
                process::exit(1);
            });
        }
        if plan.truncates {
            let (partition, turns) = (&partition, &turns);
            scope.spawn(move || {
                let Err(reason) = truncate_all(partition, plan, turns);
                eprintln!("{reason}");
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
            Way::Session => loop {
                let mut session = log.session(&name(writer)).map_err(|error| format!("no session: {error}"))?;
                let last = session.last(partition).map_err(|error| format!("no last sequence: {error}"))?;
                let next = last.map_or(0, |last| last.sequence + 1);
                // A truncation may have fenced it at once, and then it is told nothing.
                let epoch = log.producers().iter().find(|info| info.id == session.id()).map(|info| info.epoch);
                if !plan.truncates || epoch == Some(session.epoch()) {
                    return Ok((Self::Session(Box::new(session)), next));
                }
            },
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

    /// The epoch that its records have; 0 without one.
    pub(super) fn epoch(&self) -> u32 {
        match self {
            Self::Plain(_) => 0,
            Self::Session(session) => session.epoch(),
            Self::ById(_, stamp) => stamp.epoch,
        }
    }

    /// Whether a retry is recognised.
    pub(super) const fn is_idempotent(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }
}

fn append_all(
    log: &Log,
    partition: &Partition,
    plan: &Plan,
    writer: u64,
    turns: &Turns,
) -> Result<std::convert::Infallible, String> {
    let mut dice = Dice::new(plan.seed ^ (writer << 32));
    let (mut hand, mut next) = Hand::new(log, partition, plan, writer)?;
    if let Some(known) = plan.next.get(writer as usize)
        && *known != next
    {
        return Err(format!("the table says that {next} comes next, and the records {known}"));
    }
    turns.begun.wait();
    let mut number = if hand.is_idempotent() { next.saturating_sub(SENT_AGAIN) } else { next };
    loop {
        let turn = turns.now();
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
            Answer::Fenced { .. } if plan.truncates => {
                // Its last records were cut off: it goes on from where it is taken back to.
                let (successor, back) = Hand::new(log, partition, plan, writer)?;
                if back > number.max(next) {
                    return Err(format!("{number} was not appended yet, and behind a truncation {back} comes next"));
                }
                (hand, next) = (successor, back);
                number = next.saturating_sub(dice.below(3));
                continue;
            }
            other => return Err(format!("number {number}, {next} came next at the beginning: {other:?}")),
        };
        if hand.is_idempotent() && dice.one_in(16) {
            let again = with_room(writer, || hand.append(partition, number, &records))?;
            let is_cut = plan.truncates && matches!(again, Answer::Fenced { .. });
            if !is_cut && !matches!(again, Answer::Duplicate { .. } | Answer::DuplicateTrimmed) {
                return Err(format!("number {number} again: {again:?}"));
            }
        }
        number += count;
        if let Some(last) = last
            && dice.one_in(plan.waits_every)
        {
            if is_acknowledged(partition, plan, last, || turns.is_still(turn))? {
                turns.acknowledge(turn, writer, Told { number: number - 1, offset: last, epoch: hand.epoch() })?;
            } else {
                // Appending without a pause it would be far ahead of the truncation, which flushes what it keeps.
                thread::sleep(Duration::from_millis(1));
            }
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
                    Said::Full { writer }.say()?;
                    told = true;
                }
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Returns true when what is at `offset` is acknowledged, and false if the end is moved meanwhile.
fn is_acknowledged(
    partition: &Partition,
    plan: &Plan,
    offset: u64,
    is_still: impl Fn() -> bool,
) -> Result<bool, String> {
    let began = Instant::now();
    while is_still() {
        if !plan.durable {
            if partition.end_offset() > offset {
                return Ok(true);
            }
            thread::yield_now();
            continue;
        }
        match partition.wait_durable(offset, if plan.truncates { LOOKED_EVERY } else { DURABLE_WITHIN }) {
            Ok(true) => return Ok(true),
            Ok(false) if began.elapsed() < DURABLE_WITHIN => {}
            Ok(false) => return Err(format!("offset {offset} was not durable within {DURABLE_WITHIN:?}")),
            Err(DurableError::Truncated { .. }) if plan.truncates => return Ok(false),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(false)
}
