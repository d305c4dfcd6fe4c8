//! The log beside its oracle: each operation on both, and each answer, record and producer compared.

use super::logs::{self, directory_in_memory, killed, open, rest, small};
use super::model::{Expected, NAMES, Oracle, PARTITIONS, Producer};
use super::ops::{From, Op, Outcome, bytes_of};
use oncelog::{
    Answer, AppendError, Appender, FillError, Log, Mode, Numbering, Options, Partition, ProducerId, Session, Stamp,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tempfile::TempDir;

struct Held {
    session: Session,
    name: &'static str,
    /// What it was told when it was first refused: it is told the same from then on.
    refused: Option<Answer>,
}

/// The log, and what the oracle knows of it.
pub struct Pair {
    directory: TempDir,
    log: Option<Log>,
    partitions: Vec<Partition>,
    appenders: Vec<Appender>,
    sessions: Vec<Held>,
    oracle: Oracle,
}

fn options() -> Options {
    small().snapshot_bytes(logs::SMALL).producers_max(NAMES.len() as u32)
}

fn pick<T>(of: &[T], number: u8) -> Option<&T> {
    of.get(usize::from(number).checked_rem(of.len())?)
}

fn sequence_from(from: From, next: u64) -> u64 {
    match from {
        From::Next => next,
        From::Before(records) => next.saturating_sub(records.into()),
        From::After(records) => next + u64::from(records),
    }
}

impl Pair {
    pub fn new() -> Self {
        let mut pair = Self {
            directory: directory_in_memory(),
            log: None,
            partitions: Vec::new(),
            appenders: Vec::new(),
            sessions: Vec::new(),
            oracle: Oracle::default(),
        };
        pair.open();
        pair
    }

    fn log(&self) -> &Log {
        self.log.as_ref().expect("it is open")
    }

    fn open(&mut self) {
        let log = open(self.directory.path(), &options());
        self.partitions = PARTITIONS.iter().map(|name| log.partition(name).expect("a partition")).collect();
        self.appenders = self.partitions.iter().map(|partition| partition.appender().expect("an appender")).collect();
        self.log = Some(log);
    }

    fn close(&mut self) {
        self.sessions.clear();
        self.appenders.clear();
        self.partitions.clear();
        self.log.take().expect("it is open").close().expect("the last handle");
    }

    /// The next sequence of a producer in a partition, so that a random one may be near it.
    fn next(&mut self, id: ProducerId, partition: usize) -> u64 {
        self.oracle.live(id).map_or(0, |producer| producer.offsets[partition].len() as u64)
    }

    pub fn run(&mut self, op: &Op) {
        match op.clone() {
            Op::Append { partition, payload } => {
                let partition = usize::from(partition) % PARTITIONS.len();
                let bytes = bytes_of(payload);
                let offset = self.appenders[partition].append(&bytes).expect("appended");
                assert_eq!(offset, self.oracle.records[partition].len() as u64);
                self.oracle.records[partition].push(Some((bytes, None)));
            }
            Op::AppendBatch { partition, payloads } => {
                let partition = usize::from(partition) % PARTITIONS.len();
                let bytes: Vec<_> = payloads.iter().map(|payload| bytes_of(*payload)).collect();
                let slices: Vec<_> = bytes.iter().map(Vec::as_slice).collect();
                if slices.iter().map(|slice| slice.len() + 4).sum::<usize>() > 15_288 {
                    let error = self.appenders[partition].append_batch(&slices).expect_err("too large");
                    assert!(matches!(error, AppendError::TooLarge { .. }), "{error}");
                    return;
                }
                let offsets = self.appenders[partition].append_batch(&slices).expect("appended");
                let first = self.oracle.records[partition].len() as u64;
                assert_eq!((offsets.first, offsets.last), (first, first + bytes.len() as u64 - 1));
                self.oracle.records[partition].extend(bytes.into_iter().map(|bytes| Some((bytes, None))));
            }
            Op::Fill { partition, payload, outcome } => {
                let partition = usize::from(partition) % PARTITIONS.len();
                let bytes = bytes_of(payload);
                let appender = &mut self.appenders[partition];
                let filled = catch_unwind(AssertUnwindSafe(|| {
                    appender.append_with(bytes.len(), |_, to| fill(to, &bytes, outcome))
                }));
                let offset = self.oracle.records[partition].len() as u64;
                match (filled, outcome) {
                    (Ok(Ok(filled)), Outcome::Filled) if filled == offset => {
                        self.oracle.records[partition].push(Some((bytes, None)));
                    }
                    (Ok(Err(FillError::Fill(()))), Outcome::Refused) | (Err(_), Outcome::Panicked) => {
                        self.oracle.records[partition].push(None);
                    }
                    (filled, _) => panic!("{:?}", filled.map(|filled| filled.map_err(|error| format!("{error:?}")))),
                }
            }
            Op::Session { session, partition, from, payloads, other } => {
                self.session(session, partition, from, &payloads, other)
            }
            Op::SessionFill { session, partition, from, payload, outcome } => {
                self.session_fill(session, partition, from, payload, outcome);
            }
            Op::ById { id, epoch, partition, from, payloads, other } => {
                self.by_id(id, epoch, partition, from, &payloads, other)
            }
            // One of the three is only ever a session, one only ever by id, one changes.
            Op::OpenSession { name } => {
                let Some(name) = pick(&NAMES[..2], name) else { return };
                let session = self.log().session(name).expect("registered");
                self.registered(name, session.id(), session.epoch(), Mode::Session, false);
                self.sessions.push(Held { session, name, refused: None });
            }
            Op::Register { name, restart } => {
                let Some(name) = pick(&NAMES[1..], name) else { return };
                let numbering = if restart { Numbering::Restart } else { Numbering::Continue };
                let registration = self.log().register_with(name, numbering).expect("registered");
                self.registered(name, registration.id, registration.epoch, Mode::ById, restart);
            }
            Op::Close { name } => {
                let Some(producer) = pick(&NAMES, name).and_then(|name| self.oracle.producers.remove(name)) else {
                    return;
                };
                self.log().close_producer(producer.id).expect("closed");
            }
            Op::Read { partition, from } => {
                let partition = usize::from(partition) % PARTITIONS.len();
                let end = self.oracle.records[partition].len() as u64;
                self.check_records(partition, end * u64::from(from) / 255);
            }
            Op::Truncate { partition, from } => {
                let partition = usize::from(partition) % PARTITIONS.len();
                let end = self.oracle.records[partition].len() as u64;
                let from = end * u64::from(from) / 255;
                let made = self.partitions[partition].truncate(from).expect("truncated");
                assert_eq!((made.records, made.fenced), (end - from, self.oracle.truncate(partition, from)));
                self.check();
            }
            Op::Reopen => {
                self.close();
                self.open();
                self.check();
            }
            Op::Kill => {
                let copy = killed(self.directory.path());
                self.close();
                self.directory = copy;
                self.open();
                self.check();
            }
        }
    }

    fn session(&mut self, session: u8, partition: u8, from: From, payloads: &[u8], other: bool) {
        let partition = usize::from(partition) % PARTITIONS.len();
        let Some(at) = usize::from(session).checked_rem(self.sessions.len()) else { return };
        let (id, epoch) = (self.sessions[at].session.id(), self.sessions[at].session.epoch());
        let sequence = sequence_from(from, self.next(id, partition));
        let bytes = self.oracle.bytes(id, partition, sequence, payloads, other);
        let slices: Vec<_> = bytes.iter().map(Vec::as_slice).collect();
        let session = &mut self.sessions[at].session;
        let answer = match slices[..] {
            [one] => session.append(&self.partitions[partition], sequence, one),
            _ => session.append_batch(&self.partitions[partition], sequence, &slices),
        };
        if let Err(AppendError::TooLarge { .. }) = answer {
            assert!(bytes.iter().map(|bytes| bytes.len() + 4).sum::<usize>() > 15_288);
            return;
        }
        let sent: Vec<_> = bytes.into_iter().map(Some).collect();
        let stamp = Stamp { producer: id, epoch, sequence };
        self.check_session(at, stamp, partition, &sent, answer.expect("an answer"));
    }

    fn session_fill(&mut self, session: u8, partition: u8, from: From, payload: u8, outcome: Outcome) {
        let partition = usize::from(partition) % PARTITIONS.len();
        let Some(at) = usize::from(session).checked_rem(self.sessions.len()) else { return };
        let (id, epoch) = (self.sessions[at].session.id(), self.sessions[at].session.epoch());
        let next = self.next(id, partition);
        let sequence = sequence_from(from, next);
        let bytes = bytes_of(payload);
        let session = &mut self.sessions[at].session;
        let filled = catch_unwind(AssertUnwindSafe(|| {
            session.append_with(&self.partitions[partition], sequence, bytes.len(), |_, to| fill(to, &bytes, outcome))
        }));
        let live =
            self.oracle.live(id).is_some_and(|producer| (producer.epoch, producer.mode) == (epoch, Mode::Session));
        if live && sequence == next && !matches!(outcome, Outcome::Filled) {
            assert!(matches!(filled, Err(_) | Ok(Err(FillError::Fill(())))));
            self.oracle.records[partition].push(None);
            return;
        }
        let answer = filled.expect("it is not called").expect("an answer");
        let bytes = (sequence >= next).then_some(bytes);
        self.check_session(at, Stamp { producer: id, epoch, sequence }, partition, &[bytes], answer);
    }

    fn check_session(&mut self, at: usize, stamp: Stamp, partition: usize, sent: &[Option<Vec<u8>>], answer: Answer) {
        let Held { name, refused, .. } = &mut self.sessions[at];
        let expected = match *refused {
            Some(refused) => Expected::Answer(refused),
            None => self.oracle.append(stamp, Mode::Session, partition, sent),
        };
        assert_eq!(Expected::Answer(answer), expected, "session {name}, {stamp:?}");
        if matches!(answer, Answer::Fenced { .. } | Answer::UnknownProducer) {
            *refused = Some(answer);
            self.take_gap(partition, sent.len());
        }
    }

    /// What a session sends after it was fenced may take offsets, and nothing else.
    fn take_gap(&mut self, partition: usize, records: usize) {
        let gap = self.partitions[partition].end_offset() - self.oracle.records[partition].len() as u64;
        assert!(gap == 0 || gap == records as u64, "{gap} offsets were taken for {records} records");
        self.oracle.records[partition].extend((0..gap).map(|_| None));
    }

    fn by_id(&mut self, id: u8, epoch: i8, partition: u8, from: From, payloads: &[u8], other: bool) {
        let partition = usize::from(partition) % PARTITIONS.len();
        let Some(id) = pick(&self.oracle.ids, id).copied() else { return };
        let present = self.oracle.live(id).map_or(1, |producer| producer.epoch);
        let epoch = present.saturating_add_signed(epoch.into());
        let sequence = sequence_from(from, self.next(id, partition));
        let bytes = self.oracle.bytes(id, partition, sequence, payloads, other);
        let slices: Vec<_> = bytes.iter().map(Vec::as_slice).collect();
        let stamp = Stamp { producer: id, epoch, sequence };
        let answer = match slices[..] {
            [one] => self.appenders[partition].append_by_id(stamp, one),
            _ => self.appenders[partition].append_batch_by_id(stamp, &slices),
        };
        let answer = match answer {
            Ok(answer) => Expected::Answer(answer),
            Err(AppendError::WrongMode { registered: Mode::Session, .. }) => Expected::WrongMode,
            Err(AppendError::TooLarge { .. }) => {
                assert!(bytes.iter().map(|bytes| bytes.len() + 4).sum::<usize>() > 15_288);
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let sent: Vec<_> = bytes.into_iter().map(Some).collect();
        let expected = self.oracle.append(stamp, Mode::ById, partition, &sent);
        assert_eq!(answer, expected, "{stamp:?}");
    }

    fn registered(&mut self, name: &'static str, id: ProducerId, epoch: u32, mode: Mode, restart: bool) {
        let oracle = &mut self.oracle;
        match oracle.producers.get_mut(name) {
            Some(producer) => {
                assert_eq!((id, epoch), (producer.id, producer.epoch + 1), "{name} is registered again");
                (producer.epoch, producer.mode) = (epoch, mode);
                if restart {
                    producer.offsets = Default::default();
                }
            }
            None => {
                assert!(!oracle.ids.contains(&id), "{id} was given before");
                oracle.ids.push(id);
                oracle.producers.insert(name, Producer { id, epoch, mode, offsets: Default::default() });
            }
        }
    }

    fn check_records(&self, partition: usize, from: u64) {
        let mut reader = self.partitions[partition].read_from(from).expect("in range");
        let seen = rest(&mut reader).expect("every record");
        let stored = self.oracle.records[partition].iter().zip(0..).skip(from as usize);
        let stored: Vec<_> =
            stored.filter_map(|(stored, offset)| stored.as_ref().map(|stored| (offset, stored))).collect();
        assert_eq!(seen.len(), stored.len(), "records from offset {from}");
        for (seen, (offset, (bytes, stamp))) in seen.iter().zip(stored) {
            assert!(
                (seen.offset, &seen.payload, &seen.producer) == (offset, bytes, stamp),
                "offset {offset}: {seen:?}"
            );
        }
    }

    /// All that is stored, and the table.
    pub fn check(&mut self) {
        for partition in 0..PARTITIONS.len() {
            assert_eq!(self.partitions[partition].end_offset(), self.oracle.records[partition].len() as u64);
            self.check_records(partition, 0);
        }
        let mut listed = self.log().producers();
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        let listed: Vec<_> =
            listed.into_iter().map(|info| (info.name, info.id, info.epoch, info.mode, info.partitions)).collect();
        let known = self.oracle.producers.iter().map(|(name, producer)| {
            let last = producer.offsets.iter().zip(PARTITIONS);
            let last =
                last.filter_map(|(offsets, name)| Some((name.to_owned(), (offsets.len() as u64).checked_sub(1)?)));
            ((*name).to_owned(), producer.id, producer.epoch, producer.mode, last.collect())
        });
        assert_eq!(listed, known.collect::<Vec<_>>());
    }
}

fn fill(to: &mut [u8], bytes: &[u8], outcome: Outcome) -> Result<(), ()> {
    to.copy_from_slice(bytes);
    match outcome {
        Outcome::Filled => Ok(()),
        Outcome::Refused => Err(()),
        // Not `panic!`, which would print.
        Outcome::Panicked => std::panic::resume_unwind(Box::new(())),
    }
}
