//! The broker: it answers requests on the log that it embeds. All that it knows is in the log, but for whose the last
//! registrations are.

mod refusal;
mod transactions;

use self::refusal::Refusal;
use super::{Acknowledge, Call, Message, Outcome, Reply, Request};
use crate::{
    answer::Answer,
    appender::Appender,
    error::FetchError,
    ids::Stamp,
    isolation::Isolation,
    log::{Log, Partition},
    reader::Reader,
    registry::Registration,
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender},
    },
    thread,
    time::Duration,
};

/// Longest wait of one request for the device.
const DURABLE_PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of one fetch beyond its first record.
const FETCH_BYTES_MAX: usize = 1 << 20;

/// Answers requests on a log. Clones share the log and serve a connection each, from whatever thread: producers append by
/// id, so it does not matter through which of them.
pub struct Broker {
    log: Log,
    /// By the producer's name: the client that registered it last, and what it was given.
    registered: Given<Registration>,
    /// By the group's name: the client that joined last, and its generation.
    joined: Given<u64>,
    lanes: HashMap<Arc<str>, Lane>,
    /// The lane of the latest request, out of `lanes` meanwhile: most requests of a connection are for the partition of the
    /// one before.
    latest: Option<(Arc<str>, Lane)>,
}

/// What a name was given last, and the client that asked.
type Given<T> = Arc<Mutex<HashMap<Arc<str>, (u64, T)>>>;

/// A connection's way into one partition.
struct Lane {
    partition: Partition,
    appender: Appender,
    reader: Option<Reader>,
}

impl Clone for Broker {
    fn clone(&self) -> Self {
        Self {
            log: self.log.clone(),
            registered: Arc::clone(&self.registered),
            joined: Arc::clone(&self.joined),
            lanes: HashMap::new(),
            latest: None,
        }
    }
}

impl Broker {
    /// A broker on this log. It creates the partitions that requests name.
    #[must_use]
    pub fn new(log: &Log) -> Self {
        let (registered, joined) = (Arc::default(), Arc::default());
        Self { log: log.clone(), registered, joined, lanes: HashMap::new(), latest: None }
    }

    /// Answers requests until the last one that can send any is gone, or nobody hears the answers.
    pub fn serve(&mut self, requests: &Receiver<Request>, replies: &Sender<Reply>) {
        for request in requests {
            if let Some(reply) = self.handle(&request)
                && replies.send(reply).is_err()
            {
                return;
            }
        }
    }

    /// Answers one request; not at all where none is asked for.
    #[inline]
    pub fn handle(&mut self, request: &Request) -> Option<Reply> {
        let Request { client, number, attempt, call } = request;
        let outcome = match call {
            Call::Append { partition, stamp, transaction, acknowledge, payload } => {
                let answer = self.append(partition, *stamp, *transaction, *acknowledge, payload);
                if *acknowledge == Acknowledge::Nothing {
                    return None;
                }
                answer.map(Outcome::Answered)
            }
            Call::Register { producer, partition } => self.register(*client, producer, partition),
            Call::Join { group, partition } => self.join(*client, group, partition),
            Call::CommitOffset { group, generation, partition, offset } => {
                self.commit_offset(group, *generation, partition, *offset)
            }
            Call::Begin { transaction, timeout } => self.begin(*transaction, *timeout),
            Call::AddOffset { transaction, group, generation, partition, offset } => {
                self.add_offset(*transaction, group, *generation, partition, *offset)
            }
            Call::CommitTransaction { transaction, acknowledge } => self.commit(*transaction, *acknowledge),
            Call::AbortTransaction { transaction } => self.abort(*transaction),
            Call::Fetch { partition, offset, records } => self.fetch(partition, *offset, *records),
        };
        let outcome = outcome.unwrap_or_else(Refusal::into_outcome);
        Some(Reply { client: *client, number: *number, attempt: *attempt, outcome })
    }

    /// Registers a producer. A client that asks again, because the reply was lost or the link doubled the request, is given
    /// what it was given before: with another epoch it would be fenced by its own echo. After a restart of the broker
    /// it may be, and is told so: nothing is stored twice.
    fn register(&mut self, client: u64, producer: &Arc<str>, partition: &Arc<str>) -> Result<Outcome, Refusal> {
        let partition = self.lane(partition)?.partition.clone();
        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        let registration = match registered.get(producer) {
            Some((owner, registration)) if *owner == client => *registration,
            _ => {
                let registration = self.log.register(producer)?;
                registered.insert(Arc::clone(producer), (client, registration));
                registration
            }
        };
        let Registration { id, epoch } = registration;
        let next_sequence = partition.next_sequence(id);
        let next_transaction = self.log.next_transaction(id);
        Ok(Outcome::Registered { producer: id, epoch, next_sequence, next_transaction })
    }

    #[inline]
    fn append(
        &mut self,
        partition: &Arc<str>,
        stamp: Option<Stamp>,
        transaction: Option<u64>,
        acknowledge: Acknowledge,
        payload: &[u8],
    ) -> Result<Answer, Refusal> {
        let lane = self.lane(partition)?;
        let answer = match (stamp, transaction) {
            (Some(stamp), None) => lane.appender.append_by_id(stamp, payload)?,
            (Some(stamp), Some(number)) => lane.appender.append_in_transaction(number, stamp, payload)?,
            (None, Some(_)) => return Err(Refusal::for_good("a transaction is a producer's, and none is named")),
            (None, None) => {
                let offset = lane.appender.append(payload)?;
                Answer::Appended { first: offset, last: offset }
            }
        };
        // A duplicate is acknowledged at the level that was asked for too, which its original may not have reached yet.
        if let Some(offsets) = answer.offsets() {
            lane.wait(acknowledge, offsets.last)?;
        }
        Ok(answer)
    }

    fn fetch(&mut self, partition: &Arc<str>, offset: u64, records: u32) -> Result<Outcome, Refusal> {
        let lane = self.lane(partition)?;
        // What is not there yet, because nothing was appended at that offset: an empty answer, and no error.
        if offset >= lane.partition.end_offset() {
            return Ok(Outcome::Fetched { messages: Vec::new(), next: offset });
        }
        match lane.read(offset, records) {
            Ok((messages, next)) => Ok(Outcome::Fetched { messages, next }),
            Err(FetchError::Trimmed { start, .. }) => Ok(Outcome::Trimmed { start }),
            Err(FetchError::OutOfRange { start, .. }) if offset < start => Ok(Outcome::Trimmed { start }),
            Err(error) => Err(Refusal::for_good(error)),
        }
    }

    #[inline]
    fn lane(&mut self, partition: &Arc<str>) -> Result<&mut Lane, Refusal> {
        // Of one name they are the same text in memory, mostly, and compared without a look at it.
        if self.latest.as_ref().is_none_or(|(name, _)| name != partition) {
            self.change_to(partition)?;
        }
        match &mut self.latest {
            Some((_, lane)) => Ok(lane),
            None => unreachable!("it was put there above"),
        }
    }

    #[cold]
    fn change_to(&mut self, partition: &Arc<str>) -> Result<(), Refusal> {
        let next = match self.lanes.remove_entry(partition) {
            Some(known) => known,
            None => {
                let opened = self.log.partition(partition).map_err(Refusal::for_good)?;
                let lane = Lane { appender: opened.appender()?, partition: opened, reader: None };
                (Arc::clone(partition), lane)
            }
        };
        self.lanes.extend(self.latest.replace(next));
        Ok(())
    }
}

impl Lane {
    /// Waits until the record at `offset` is what its acknowledgement will say.
    #[inline]
    fn wait(&mut self, acknowledge: Acknowledge, offset: u64) -> Result<(), Refusal> {
        match acknowledge {
            Acknowledge::Nothing => Ok(()),
            Acknowledge::Visible => {
                // Another connection's record before it may still be being copied.
                while !self.appender.sees(offset) {
                    thread::yield_now();
                }
                Ok(())
            }
            Acknowledge::Durable => match self.partition.wait_durable(offset, DURABLE_PATIENCE) {
                Ok(true) => Ok(()),
                Ok(false) => Err(Refusal::for_now(format!("not durable within {DURABLE_PATIENCE:?}"))),
                Err(error) => Err(error.into()),
            },
        }
    }

    fn read(&mut self, offset: u64, records: u32) -> Result<(Vec<Message>, u64), FetchError> {
        let reader = match &mut self.reader {
            Some(reader) => {
                if reader.next_offset() != offset {
                    reader.seek(offset)?;
                }
                reader
            }
            none => {
                let reader = none.insert(self.partition.read_from(offset)?);
                reader.set_isolation(Isolation::ReadCommitted);
                reader
            }
        };
        let mut messages = Vec::new();
        let mut bytes = 0;
        while messages.len() < records as usize && bytes < FETCH_BYTES_MAX {
            let Some(record) = reader.next()? else { break };
            bytes += record.payload().len();
            messages.push(Message { offset: record.offset(), payload: record.payload().into() });
        }
        Ok((messages, reader.next_offset()))
    }
}
