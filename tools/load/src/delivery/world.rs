//! A link that faults strike, and the one clock that all of its clients live by.
//!
//! Everything happens in one thread, in the order of its time: a request that is sent arrives, the broker answers, the
//! reply arrives. A client that waits lets time pass until something comes for it. So a seed gives the same run again,
//! whatever the machine does meanwhile.

mod events;
mod link;
mod sent;

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use hdrhistogram::Histogram;
use oncelog::delivery::{Call, LinkError, Outcome, Patience, Reply, Request};

use self::events::{Event, Events, What};
pub(super) use self::link::FaultyLink;
use self::sent::Sent;
use super::fault::{Fault, Injector, Target};
use super::host::Host;
use super::journal::{Commit, Journal, Moment};
use super::sink::RECORDS;
use crate::error::LoadError;

/// What sending takes of a client's time.
const SENDING: Duration = Duration::from_micros(1);
/// From one end of the link to the other.
const LATENCY: Duration = Duration::from_micros(50);
/// How far behind a request its double, or a request that is overtaken, arrives.
const BEHIND: Duration = Duration::from_micros(8);
/// How long a late reply takes: longer than any client waits for a first attempt.
const LATE: Duration = Duration::from_millis(4);
/// From a broker's end to its next beginning.
const DOWN: Duration = Duration::from_micros(20);

/// How patient the clients of this link are.
pub(super) const PATIENCE: Patience = Patience {
    timeout: Duration::from_millis(1),
    timeout_max: Duration::from_millis(8),
    give_up_after: Duration::from_secs(60),
};

/// Bytes at the head of each payload that say which message it is.
pub(super) const MESSAGE_BYTES: usize = 8;

/// The message that a payload says it is.
pub(super) fn message_of(payload: &[u8]) -> Option<u64> {
    payload.first_chunk::<MESSAGE_BYTES>().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The link, the broker at its one end, and what is known about all of it.
pub(super) struct World {
    now: Duration,
    events: Events,
    clients: Vec<Client>,
    injector: Injector,
    pub(super) host: Host,
    up_at: Duration,
    pub(super) journal: Journal,
    /// By client and request: commits that the journal has.
    noted: HashSet<(usize, u64)>,
    sent: Sent,
    fenced: u64,
    /// Why the broker could not be started again.
    broken: Option<LoadError>,
}

#[derive(Default)]
struct Client {
    inbox: VecDeque<Reply>,
    /// Requests of a client that is held up.
    held: Option<Vec<Request>>,
    is_dead: bool,
}

impl World {
    pub(super) fn new(host: Host, injector: Injector, messages: u64) -> Self {
        Self {
            now: Duration::ZERO,
            events: Events::default(),
            clients: Vec::new(),
            injector,
            host,
            up_at: Duration::ZERO,
            journal: Journal::default(),
            noted: HashSet::new(),
            sent: Sent::new(messages),
            fenced: 0,
            broken: None,
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// From a message's being handed to its producer to the producer's hearing that it is stored.
    pub(super) fn latency(&self) -> &Histogram<u64> {
        &self.sent.latency
    }

    /// Notes that a message is handed to a producer.
    pub(super) fn handed(&mut self, message: u64) {
        self.sent.handed(message, self.now);
    }

    /// Notes messages that were handed over then, and are done now.
    pub(super) fn took(&mut self, then: Duration, messages: u64) {
        let ns = self.now.saturating_sub(then).as_nanos() as u64;
        self.sent.latency.saturating_record_n(ns, messages);
    }

    /// Holds up everything that a client sends from now on.
    pub(super) fn hold(&mut self, client: usize) {
        self.clients[client].held.get_or_insert_default();
    }

    /// Sends what was held up.
    pub(super) fn release(&mut self, client: usize) {
        for request in self.clients[client].held.take().unwrap_or_default() {
            self.pass(SENDING);
            self.schedule(LATENCY, client, What::Request(request));
        }
    }

    /// Lets everything happen that is under way.
    pub(super) fn settle(&mut self) -> Result<(), LoadError> {
        while let Some(event) = self.events.next() {
            self.happen(event);
        }
        self.check()
    }

    /// Refuses to go on with a broker that did not come back.
    pub(super) fn check(&mut self) -> Result<(), LoadError> {
        self.broken.take().map_or(Ok(()), Err)
    }

    /// Messages whose producer has heard that they are stored.
    pub(super) fn acknowledged(&self) -> u64 {
        self.sent.acknowledged
    }

    /// Whether something of a client's is held up.
    pub(super) fn is_held(&self, client: usize) -> bool {
        self.clients[client].held.is_some()
    }

    /// Requests of clients that were replaced which the broker has refused as theirs.
    pub(super) fn fenced(&self) -> u64 {
        self.fenced
    }

    /// Whether a client was killed.
    pub(super) fn is_dead(&self, client: usize) -> bool {
        self.clients[client].is_dead
    }

    /// Offset behind the last record of a partition. From here on the broker is in this process.
    pub(super) fn end_of(&mut self, partition: &str) -> Result<u64, LoadError> {
        Ok(self.host.log()?.partition(partition)?.end_offset())
    }

    fn schedule(&mut self, after: Duration, client: usize, what: What) {
        self.events.schedule(self.now + after, client, what);
    }

    fn strikes(&mut self, fault: Fault, client: usize, request: (u64, u32)) -> bool {
        let (number, attempt) = request;
        let strikes =
            self.injector.fault == fault && self.injector.strikes(Target::Request { client, number, attempt });
        self.journal.injected += u64::from(strikes);
        strikes
    }

    /// Whether a consumer is killed at its commit, and on which side of it.
    fn kills(&self, client: usize, request: &Request) -> Option<Moment> {
        let target = Target::Request { client, number: request.number, attempt: request.attempt };
        let dies = self.injector.fault == Fault::ConsumerKilled && self.injector.strikes_one_of(RECORDS, target);
        dies.then_some(if self.injector.is_before(target) { Moment::Before } else { Moment::After })
    }

    /// Whether a pipeline is held up at its commit, and taken for dead.
    fn holds_up(&mut self, client: usize, request: &Request) -> bool {
        let target = Target::Request { client, number: request.number, attempt: request.attempt };
        let held = self.injector.fault == Fault::ZombieProducer && self.injector.strikes_one_of(RECORDS, target);
        self.journal.injected += u64::from(held);
        held
    }

    /// A client has taken some time: whatever is due by now happens.
    fn pass(&mut self, time: Duration) {
        let now = self.now + time;
        while let Some(event) = self.events.next_by(now) {
            self.happen(event);
        }
        self.now = now;
    }

    fn send(&mut self, client: usize, request: Request) -> Result<(), LinkError> {
        self.pass(SENDING);
        if self.clients[client].is_dead {
            return Err(dead());
        }
        if let Some(held) = &mut self.clients[client].held {
            held.push(request);
            return Ok(());
        }
        if let Call::Append { payload, .. } = &request.call
            && let Some(message) = message_of(payload)
        {
            self.sent.carried((client, request.number), message);
        }
        let which = (request.number, request.attempt);
        if self.strikes(Fault::RequestLost, client, which) {
            return Ok(());
        }
        if let Some(offset) = committed_by(&request.call)
            && let Some(Moment::Before) = self.kills(client, &request)
        {
            self.journal.injected += 1;
            self.journal.commits.push(Commit { offset, killed: Some(Moment::Before) });
            self.clients[client].is_dead = true;
            return Err(dead());
        }
        if let Call::CommitTransaction { .. } = &request.call
            && self.holds_up(client, &request)
        {
            self.clients[client].held.get_or_insert_default().push(request);
            self.clients[client].is_dead = true;
            return Err(dead());
        }
        if self.strikes(Fault::Reordered, client, which) {
            self.schedule(LATENCY + BEHIND, client, What::Request(request));
            return Ok(());
        }
        if self.strikes(Fault::RequestDoubled, client, which) {
            self.schedule(LATENCY + BEHIND, client, What::Request(request.clone()));
        }
        self.schedule(LATENCY, client, What::Request(request));
        Ok(())
    }

    fn receive(&mut self, client: usize, until: Duration) -> Result<Option<Reply>, LinkError> {
        loop {
            if self.clients[client].is_dead {
                return Err(dead());
            }
            if let Some(error) = &self.broken {
                return Err(LinkError::Closed { reason: error.to_string() });
            }
            if let Some(reply) = self.clients[client].inbox.pop_front() {
                return Ok(Some(reply));
            }
            match self.events.next_by(until) {
                Some(event) => self.happen(event),
                None => {
                    self.now = self.now.max(until);
                    return Ok(None);
                }
            }
        }
    }

    fn happen(&mut self, event: Event) {
        self.now = self.now.max(event.at);
        match event.what {
            What::Request(request) => self.arrive(event.client, &request),
            What::Reply(reply) => {
                if matches!(&reply.outcome, Outcome::Answered(answer) if answer.is_stored()) {
                    self.sent.stored((event.client, reply.number), self.now);
                }
                self.clients[event.client].inbox.push_back(reply);
            }
        }
    }

    /// A request is at the broker.
    fn arrive(&mut self, client: usize, request: &Request) {
        if self.now < self.up_at {
            return;
        }
        if let Err(error) = self.host.restart() {
            self.broken.get_or_insert(error);
            return;
        }
        let which = (request.number, request.attempt);
        if self.strikes(Fault::BrokerKilledBeforeStore, client, which) {
            self.stop();
            return;
        }
        let reply = match self.host.handle(request) {
            Ok(reply) => reply,
            Err(error) => {
                self.broken.get_or_insert(error);
                return;
            }
        };
        self.note_delivered(client, request);
        let is_fenced = matches!(&reply, Some(Reply { outcome: Outcome::Fenced { .. }, .. }));
        self.fenced += u64::from(is_fenced);
        if self.strikes(Fault::BrokerKilledAfterStore, client, which) {
            self.stop();
            return;
        }
        if self.clients[client].is_dead {
            return;
        }
        let Some(reply) = reply else { return };
        if self.strikes(Fault::AckLost, client, which) {
            return;
        }
        let late = self.strikes(Fault::AckLate, client, which);
        self.schedule(if late { LATE } else { LATENCY }, client, What::Reply(reply));
    }

    fn stop(&mut self) {
        self.host.kill();
        self.up_at = self.now + DOWN;
    }

    /// Notes what a living broker was given.
    fn note_delivered(&mut self, client: usize, request: &Request) {
        if let Call::Append { payload, .. } = &request.call {
            self.journal.delivered.extend(message_of(payload));
        }
        let Some(offset) = committed_by(&request.call) else { return };
        if !self.noted.insert((client, request.number)) {
            return;
        }
        let killed = self.kills(client, request);
        self.journal.injected += u64::from(killed.is_some());
        self.clients[client].is_dead |= killed.is_some();
        self.journal.commits.push(Commit { offset, killed });
    }
}

/// The offset that a request commits.
fn committed_by(call: &Call) -> Option<u64> {
    match call {
        Call::CommitOffset { offset, .. } => Some(*offset),
        // Which one was added before.
        Call::CommitTransaction { .. } => Some(0),
        _ => None,
    }
}

fn dead() -> LinkError {
    LinkError::Closed { reason: "this client was killed".to_owned() }
}
