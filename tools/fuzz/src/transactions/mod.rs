//! Transactions in any order, told by an input's bytes: by session and by id, with a group's offsets, ended in every way,
//! beside appends outside of them; reopened, killed, and with the power cut. Each answer is the oracle's, and so is what
//! readers of both isolations get after each step.

mod oracle;
mod tear;

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use oncelog::{
    Answer, Appender, Commit, Group, Isolation, Log, Options, Partition, Registration, Session, Stamp,
    TransactionError, TransactionId, Window,
};

use self::oracle::{Oracle, Outcome, PRODUCERS, Read, SIDES};
use crate::files::{Files, write};
use crate::operations::logs::{directory_in_memory, files, killed, try_open};

/// Most steps of one input.
const STEPS_MAX: usize = 100;

const GROUP: &str = "group";
const LONG: Duration = Duration::from_secs(3_600);

type Done = std::result::Result<(), String>;

/// The transaction that is open by id.
struct ById {
    attempt: usize,
    id: TransactionId,
    offset: Option<u64>,
    /// The group was taken over since it got its offset.
    is_stale: bool,
}

struct Open {
    log: Log,
    sides: [Partition; 2],
    appenders: [Appender; 2],
    session: Session,
    registration: Registration,
    group: Group,
    by_id: Option<ById>,
    /// Commits that were not told to be durable: producer, number, entry.
    commits: Vec<(u64, u64, usize, Commit)>,
}

struct Course {
    directory: tempfile::TempDir,
    options: Options,
    open: Option<Open>,
    oracle: Oracle,
}

fn fault<E: std::fmt::Display>(doing: &'static str) -> impl FnOnce(E) -> String {
    move |error| format!("{doing}: {error}")
}

fn payload(input: &mut Unstructured<'_>, number: usize) -> Result<Vec<u8>> {
    let bytes = if input.ratio(1, 6)? { input.int_in_range(0..=12_000)? } else { input.int_in_range(0..=60)? };
    Ok(vec![number as u8; bytes])
}

impl Open {
    fn new(directory: &std::path::Path, options: &Options) -> std::result::Result<Self, String> {
        let log = try_open(directory, options).map_err(fault("opening"))?;
        let side = |name: &str| log.partition(name).map_err(fault("opening a partition"));
        let sides = [side(SIDES[0])?, side(SIDES[1])?];
        let appender = |side: usize| sides[side].appender().map_err(fault("an appender"));
        let appenders = [appender(0)?, appender(1)?];
        let session = log.session(PRODUCERS[0]).map_err(fault("a session"))?;
        let registration = log.register(PRODUCERS[1]).map_err(fault("registering"))?;
        let group = log.group(GROUP).map_err(fault("taking the group over"))?;
        Ok(Self { log, sides, appenders, session, registration, group, by_id: None, commits: Vec::new() })
    }

    fn read(&self, side: usize, isolation: Isolation) -> std::result::Result<Vec<Read>, String> {
        let mut reader = self.sides[side].read_from(0).map_err(fault("a reader"))?;
        reader.set_isolation(isolation);
        let mut all = Vec::new();
        while let Some(record) = reader.next().map_err(fault("reading"))? {
            let by = match record.producer() {
                None => None,
                Some(stamp) if stamp.producer == self.session.id() => Some((0, stamp.sequence)),
                Some(stamp) if stamp.producer == self.registration.id => Some((1, stamp.sequence)),
                Some(stamp) => return Err(format!("a record of nobody: {stamp:?}")),
            };
            all.push((record.offset(), record.payload().to_vec(), by));
        }
        Ok(all)
    }

    /// Ends the one that is open by id as the log does by itself.
    fn abandon(&mut self, oracle: &mut Oracle) {
        if let Some(by_id) = self.by_id.take() {
            oracle.abort(by_id.attempt);
        }
    }
}

fn expect(what: &str, answer: Answer, expected: Answer) -> Done {
    if answer == expected { Ok(()) } else { Err(format!("{what}: {answer:?} instead of {expected:?}")) }
}

impl Course {
    fn at_hand(&mut self) -> std::result::Result<(&mut Open, &mut Oracle), String> {
        let open = self.open.as_mut().ok_or_else(|| "no log is open".to_owned())?;
        Ok((open, &mut self.oracle))
    }

    /// Compares all that can be read.
    fn compare(&mut self) -> Done {
        let (open, oracle) = self.at_hand()?;
        for (side, name) in SIDES.iter().enumerate() {
            for (isolation, committed) in [(Isolation::ReadUncommitted, false), (Isolation::ReadCommitted, true)] {
                let (found, expected) = (open.read(side, isolation)?, oracle.expected(side, committed));
                if found != expected {
                    let differs = found.iter().zip(&expected).position(|(found, expected)| found != expected);
                    return Err(format!(
                        "{}, {isolation:?}: {} records, and {} expected; the first to differ is number {differs:?}",
                        name,
                        found.len(),
                        expected.len()
                    ));
                }
            }
            let (stable, expected) = (open.sides[side].stats().stable_offset, oracle.stable(side));
            if stable != expected {
                return Err(format!("{name}: stable up to {stable}, and {expected} expected"));
            }
        }
        let (found, expected) = (open.group.committed(&open.sides[0]), oracle.group());
        if found != expected {
            return Err(format!("the group has committed {found:?}, and {expected:?} was"));
        }
        Ok(())
    }

    /// A plain append, or one of a producer outside of transactions.
    fn append(&mut self, way: u8, side: usize, payload: Vec<u8>) -> Done {
        let (open, oracle) = self.at_hand()?;
        let end = oracle.end(side);
        let appended = Answer::Appended { first: end, last: end };
        match way {
            0 => {
                let offset = open.appenders[side].append(&payload).map_err(fault("appending"))?;
                expect("a plain append", Answer::Appended { first: offset, last: offset }, appended)?;
                oracle.store(side, payload, None, None);
            }
            1 => {
                let answer = open.session.append_next(&open.sides[side], &payload).map_err(fault("appending"))?;
                expect("outside, by session", answer, appended)?;
                oracle.store(side, payload, Some(0), None);
            }
            _ => {
                let Registration { id, epoch, .. } = open.registration;
                let stamp = Stamp { producer: id, epoch, sequence: oracle.next(1, side) };
                let answer = open.appenders[side].append_by_id(stamp, &payload).map_err(fault("appending"))?;
                let attempt = open.by_id.as_ref().map(|by_id| by_id.attempt);
                if attempt.is_some() && oracle.records[side].iter().any(|stored| stored.attempt == attempt) {
                    // Inside or outside, not both at once in one partition.
                    return match answer {
                        Answer::InvalidTransaction { .. } => Ok(()),
                        other => Err(format!("outside, by id, with one open there: {other:?}")),
                    };
                }
                expect("outside, by id", answer, appended)?;
                oracle.store(side, payload, Some(1), None);
            }
        }
        Ok(())
    }

    /// A whole transaction of the session.
    fn transact(&mut self, input: &mut Unstructured<'_>) -> Result<Done> {
        let mut appends = Vec::new();
        for _ in 0..input.int_in_range(0..=4_u8)? {
            appends.push((input.int_in_range(0..=1_usize)?, payload(input, appends.len())?));
        }
        let (offset_back, regroups) = (input.int_in_range(0..=9_u64)?, input.ratio(1, 12)?);
        let (ends, waits) = (input.int_in_range(0..=7_u8)?, input.ratio(1, 5)?);
        Ok(self.transact_so(appends, offset_back, regroups, ends, waits))
    }

    fn transact_so(
        &mut self,
        appends: Vec<(usize, Vec<u8>)>,
        offset_back: u64,
        regroups: bool,
        ends: u8,
        waits: bool,
    ) -> Done {
        let (open, oracle) = self.at_hand()?;
        let producer = open.session.id().get();
        let attempt = oracle.begin();
        let mut transaction = open.session.begin_for(LONG).map_err(fault("beginning"))?;
        let number = transaction.number();
        for (side, payload) in appends {
            let end = oracle.end(side);
            let answer = transaction.append_next(&open.sides[side], &payload).map_err(fault("appending"))?;
            expect("inside, by session", answer, Answer::Appended { first: end, last: end })?;
            oracle.store(side, payload, Some(0), Some(attempt));
        }
        let offset = (offset_back < 5).then(|| oracle.end(0).saturating_sub(offset_back));
        if let Some(offset) = offset {
            transaction.commit_offset(&open.group, &open.sides[0], offset).map_err(fault("an offset"))?;
        }
        if regroups {
            open.group = open.log.group(GROUP).map_err(fault("taking the group over"))?;
            if let Some(by_id) = &mut open.by_id {
                by_id.is_stale = by_id.offset.is_some();
            }
        }
        match ends {
            0 => transaction.abort().map_err(fault("aborting"))?,
            1 => drop(transaction),
            2 => {
                // Somebody else comes by that name.
                drop(transaction);
                oracle.abort(attempt);
                open.session = open.log.session(PRODUCERS[0]).map_err(fault("a session"))?;
                return Ok(());
            }
            _ => match transaction.commit() {
                Ok(_) if regroups && offset.is_some() => return Err("committed in an elder generation".to_owned()),
                Ok(commit) => {
                    if waits {
                        commit.wait_durable(LONG).map_err(fault("waiting"))?;
                    }
                    let entry = oracle.entries.len();
                    oracle.commit(attempt, offset, waits);
                    if oracle.attempts[attempt] == Outcome::Committed(Some(entry)) && !waits {
                        open.commits.push((producer, number, entry, commit));
                    }
                    return Ok(());
                }
                Err(TransactionError::StaleGeneration { .. }) if regroups && offset.is_some() => {}
                Err(error) => return Err(format!("committing: {error}")),
            },
        }
        oracle.abort(attempt);
        Ok(())
    }

    fn begin_by_id(&mut self) -> Done {
        let (open, oracle) = self.at_hand()?;
        let Registration { id: producer, epoch, .. } = open.registration;
        let number = open.log.next_transaction(producer);
        let id = TransactionId { producer, epoch, number };
        match (open.log.begin_transaction(id, LONG), &open.by_id) {
            (Ok(()), None) => {
                let attempt = oracle.begin();
                open.by_id = Some(ById { attempt, id, offset: None, is_stale: false });
                Ok(())
            }
            (Err(TransactionError::AlreadyOpen { open: number }), Some(by_id)) if number == by_id.id.number => Ok(()),
            (answer, _) => Err(format!("beginning number {number} by id: {answer:?}")),
        }
    }

    fn append_by_id(&mut self, side: usize, payload: Vec<u8>, again: bool) -> Done {
        let (open, oracle) = self.at_hand()?;
        let Some(by_id) = &open.by_id else { return Ok(()) };
        let TransactionId { producer, epoch, number } = by_id.id;
        let (sequence, end) = (oracle.next(1, side), oracle.end(side));
        let stamp = Stamp { producer, epoch, sequence };
        let mut append =
            || open.appenders[side].append_in_transaction(number, stamp, &payload).map_err(fault("appending by id"));
        expect("inside, by id", append()?, Answer::Appended { first: end, last: end })?;
        if again {
            expect("the same again", append()?, Answer::Duplicate { first: end, last: end })?;
        }
        oracle.store(side, payload, Some(1), Some(by_id.attempt));
        Ok(())
    }

    fn offset_by_id(&mut self, back: u64) -> Done {
        let (open, oracle) = self.at_hand()?;
        let Some(by_id) = &mut open.by_id else { return Ok(()) };
        let offset = oracle.end(0).saturating_sub(back);
        open.log.add_offset(by_id.id, &open.group, &open.sides[0], offset).map_err(fault("an offset by id"))?;
        // The later one counts, and it is the present generation's.
        (by_id.offset, by_id.is_stale) = (Some(offset), false);
        Ok(())
    }

    fn end_by_id(&mut self, commits: bool, again: bool, waits: bool) -> Done {
        let (open, oracle) = self.at_hand()?;
        let Some(ById { attempt, id, offset, is_stale }) = open.by_id.take() else { return Ok(()) };
        if !commits {
            for _ in 0..if again { 2 } else { 1 } {
                open.log.abort_transaction(id).map_err(fault("aborting by id"))?;
            }
            oracle.abort(attempt);
            return Ok(());
        }
        match open.log.commit_transaction(id) {
            Ok(_) if is_stale => return Err("committed by id in an elder generation".to_owned()),
            Ok(commit) => {
                if again {
                    let _durable = open.log.commit_transaction(id).map_err(fault("committing by id again"))?;
                }
                if waits {
                    commit.wait_durable(LONG).map_err(fault("waiting"))?;
                }
                let entry = oracle.entries.len();
                oracle.commit(attempt, offset, waits);
                if oracle.attempts[attempt] == Outcome::Committed(Some(entry)) && !waits {
                    open.commits.push((id.producer.get(), id.number, entry, commit));
                }
            }
            Err(TransactionError::StaleGeneration { .. }) if is_stale => oracle.abort(attempt),
            Err(error) => return Err(format!("committing by id: {error}")),
        }
        Ok(())
    }

    /// Who comes anew: the group, the producer by id.
    fn replace(&mut self, which: u8, back: u64) -> Done {
        let (open, oracle) = self.at_hand()?;
        match which {
            0 => {
                open.group = open.log.group(GROUP).map_err(fault("taking the group over"))?;
                if let Some(by_id) = &mut open.by_id {
                    by_id.is_stale = by_id.offset.is_some();
                }
            }
            1 => {
                open.registration = open.log.register(PRODUCERS[1]).map_err(fault("registering"))?;
                open.abandon(oracle);
            }
            _ => {
                let offset = oracle.end(0).saturating_sub(back);
                let _visible = open.group.commit(&open.sides[0], offset).map_err(fault("an offset outside"))?;
                oracle.commit_offset(offset);
            }
        }
        Ok(())
    }

    fn reopen(&mut self) -> Done {
        let (open, oracle) = self.at_hand()?;
        open.abandon(oracle);
        let Open { log, .. } = self.open.take().ok_or("no log is open")?;
        log.close().map_err(fault("closing"))?;
        for entry in &mut self.oracle.entries {
            entry.is_durable = true;
        }
        self.open = Some(Open::new(self.directory.path(), &self.options)?);
        Ok(())
    }

    /// A kill; and with the power cut, what was not durable may be lost from any frame on.
    fn crash(&mut self, cut: bool, input: &mut Unstructured<'_>) -> Result<Done> {
        let named = |(path, bytes): (std::path::PathBuf, Vec<u8>)| Some((path.to_str()?.to_owned(), bytes));
        let copy = |directory: &std::path::Path| -> Files {
            files(killed(directory).path()).into_iter().filter_map(named).collect()
        };
        let is_mapped = self.options == self.options.clone().window(Window::Mapped);
        let directory = self.directory.path().to_owned();
        let (open, oracle) = match self.at_hand() {
            Ok(at_hand) => at_hand,
            Err(fault) => return Ok(Err(fault)),
        };
        // The log flushes by itself too. What is in the direct window's files was asked for before they were copied; of the
        // mapped one's, only what was not durable even behind the copy is taken away.
        let before = if is_mapped { Some(copy(&directory)) } else { None };
        for (_, _, entry, commit) in &open.commits {
            oracle.entries[*entry].is_durable |= commit.is_durable();
        }
        let mut durable = [0, 1].map(|side: usize| open.sides[side].durable_offset());
        let mut now = before.unwrap_or_else(|| copy(&directory));
        if is_mapped && cut {
            let is_durable = |producer: u64, number: u64| {
                let mut of = open.commits.iter().filter(|(id, of, ..)| (*id, *of) == (producer, number));
                !of.any(|(.., commit)| !commit.is_durable())
            };
            tear::tear(&mut now, durable, is_durable, input)?;
        } else if is_mapped {
            durable = [0, 1].map(|side| oracle.end(side));
            for entry in &mut oracle.entries {
                entry.is_durable = true;
            }
        }
        self.open = None;
        self.directory = directory_in_memory();
        Ok(write(&now, self.directory.path()).map_err(fault("writing what is left")).and_then(|()| self.found(durable)))
    }

    /// Opens what a crash has left.
    fn found(&mut self, durable: [u64; 2]) -> Done {
        let open = Open::new(self.directory.path(), &self.options)?;
        let ends = [0, 1].map(|side: usize| open.sides[side].end_offset());
        let offsets = |side: usize| -> std::result::Result<Vec<u64>, String> {
            Ok(open.read(side, Isolation::ReadCommitted)?.into_iter().map(|(offset, ..)| offset).collect())
        };
        let committed = [offsets(0)?, offsets(1)?];
        let group = open.group.committed(&open.sides[0]);
        self.oracle.crash(durable, ends, [&committed[0], &committed[1]], group)?;
        self.open = Some(open);
        Ok(())
    }

    fn flush(&mut self, side: usize) -> Done {
        let (open, _) = self.at_hand()?;
        open.sides[side].flush().map_err(fault("flushing")).map(|_| ())
    }

    fn step(&mut self, number: usize, input: &mut Unstructured<'_>) -> Result<Done> {
        let side = input.int_in_range(0..=1_usize)?;
        Ok(match input.int_in_range(0..=39_u8)? {
            0..=6 => {
                let payload = payload(input, number)?;
                self.append(input.int_in_range(0..=2)?, side, payload)
            }
            7..=15 => self.transact(input)?,
            16..=18 => self.begin_by_id(),
            19..=26 => {
                let payload = payload(input, number)?;
                self.append_by_id(side, payload, input.ratio(1, 6)?)
            }
            27..=28 => self.offset_by_id(input.int_in_range(0..=6)?),
            29..=31 => self.end_by_id(input.ratio(3, 4)?, input.ratio(1, 3)?, input.ratio(1, 5)?),
            32..=33 => self.replace(input.int_in_range(0..=2)?, input.int_in_range(0..=6)?),
            34 => self.flush(side),
            35 => self.reopen(),
            36 => self.crash(false, input)?,
            _ => self.crash(true, input)?,
        })
    }
}

/// Runs what the input says.
pub(crate) fn run(input: &mut Unstructured<'_>) -> Result<Done> {
    let window = if input.ratio(1, 3)? { Window::Direct } else { Window::Mapped };
    let options = Options::new().segment_bytes(64 << 10).snapshot_bytes(64 << 10).producers_max(8).window(window);
    let mut course = Course { directory: directory_in_memory(), options, open: None, oracle: Oracle::default() };
    match Open::new(course.directory.path(), &course.options) {
        Ok(open) => course.open = Some(open),
        Err(fault) => return Ok(Err(fault)),
    }
    for number in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        let done = course.step(number, input)?;
        if let Err(fault) = done.and_then(|()| course.compare()) {
            return Ok(Err(format!("step {number}: {fault}")));
        }
    }
    Ok(Ok(()))
}
