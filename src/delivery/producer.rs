//! A producer: it sends, hears or does not hear, and sends again, as its delivery has it.

use super::{
    Call, Delivery, DeliveryError, Link, Outcome, ProducerOptions, Reply, Strays,
    in_flight::{Entry, InFlight, State},
    line::Line,
};
use crate::{
    answer::Answer,
    delivery::Acknowledge,
    ids::{ProducerId, Stamp},
};
use std::sync::Arc;

/// Sends messages to one partition.
///
/// - At most once: each is sent once, and nothing is heard of it.
/// - At least once: several are in flight; one that is not acknowledged in time is sent again. It may be stored by then,
///   and those behind it are: so there are second copies, and late ones.
/// - Exactly once: each has a sequence, which it keeps over all attempts. One that the log has is a duplicate, one whose
///   predecessor is missing is refused. While the oldest is in doubt those behind it wait, so order is kept whatever
///   is lost.
///
/// Messages are numbered; for exactly once the number is the sequence, and goes on over restarts of the producer: a source
/// that can be read again from any place needs nothing else to be sent once.
pub struct Producer<L> {
    pub(super) line: Line<L>,
    delivery: Delivery,
    pub(super) partition: Arc<str>,
    in_flight: InFlight,
    window: usize,
    acknowledge: Acknowledge,
    /// The producer's id and epoch, for exactly once.
    pub(super) registered: Option<(ProducerId, u32)>,
    /// The number that its next transaction may have.
    pub(super) next_transaction: u64,
    /// The transaction that it appends in.
    pub(super) transaction: Option<u64>,
    /// A message's number plus this is its request's.
    requests_ahead: u64,
    acknowledged: u64,
    failed: Option<DeliveryError>,
}

impl<L: Link> Producer<L> {
    /// A producer at the end of this link. For exactly once, the broker registers the name, which fences every elder
    /// producer that has it; the other deliveries have no use for it.
    ///
    /// # Errors
    /// [`DeliveryError::Option`] for options that are impossible, and others if the broker does not register the name.
    pub fn open(
        link: L,
        partition: &str,
        name: &str,
        delivery: Delivery,
        options: &ProducerOptions,
    ) -> Result<Self, DeliveryError> {
        options.check()?;
        let mut line = Line::new(link, options.patience);
        let partition: Arc<str> = partition.into();
        let mut acknowledge = options.acknowledge;
        let (mut registered, mut next, mut next_transaction) = (None, 0, 1);
        match delivery {
            Delivery::AtMostOnce => acknowledge = Acknowledge::Nothing,
            Delivery::AtLeastOnce | Delivery::ExactlyOnce if acknowledge == Acknowledge::Nothing => {
                let allowed = "Visible or Durable, unless delivery is at most once";
                return Err(DeliveryError::option("acknowledge", "Nothing", allowed));
            }
            Delivery::AtLeastOnce => {}
            Delivery::ExactlyOnce => {
                let call = Call::Register { producer: name.into(), partition: Arc::clone(&partition) };
                (registered, next, next_transaction) = line.ask(&call, |outcome| match outcome {
                    Outcome::Registered { producer, epoch, next_sequence, next_transaction } => {
                        Ok((Some((producer, epoch)), next_sequence, next_transaction))
                    }
                    other => Err(other),
                })?;
            }
        }
        Ok(Self {
            requests_ahead: line.next_number().wrapping_sub(next),
            line,
            delivery,
            partition,
            in_flight: InFlight::starting(next),
            window: options.in_flight,
            acknowledge,
            registered,
            next_transaction,
            transaction: None,
            acknowledged: 0,
            failed: None,
        })
    }

    /// Sends a message and returns its number. Waits while as many are in flight as may be.
    ///
    /// # Errors
    /// Once there was an error, the same again: which messages are not known to be stored, [`Producer::first_in_doubt`]
    /// tells.
    #[inline]
    pub fn send(&mut self, payload: &[u8]) -> Result<u64, DeliveryError> {
        self.check()?;
        let message = self.in_flight.next();
        if self.delivery == Delivery::AtMostOnce {
            let call = self.append(message, payload.into());
            let number = self.line.take_number();
            let sent = self.line.send(number, 0, call);
            self.kept(sent)?;
            self.in_flight.pass();
            return Ok(message);
        }
        while self.in_flight.len() >= self.window {
            self.step()?;
        }
        if self.in_flight.len() == 0 {
            // Others may have asked over this line since the last message.
            self.requests_ahead = self.line.next_number().wrapping_sub(message);
        }
        self.line.take_number();
        let is_in_doubt = self.in_flight.is_in_doubt();
        self.in_flight.push(Entry::new(payload.into(), self.line.now()));
        // Behind one that is in doubt it would only be refused.
        if self.delivery == Delivery::AtLeastOnce || !is_in_doubt {
            self.send_now(message)?;
        }
        Ok(message)
    }

    /// Returns once every message is acknowledged. At most once awaits nothing.
    ///
    /// # Errors
    /// As for [`Producer::send`].
    pub fn flush(&mut self) -> Result<(), DeliveryError> {
        self.check()?;
        while self.in_flight.len() > 0 {
            self.step()?;
        }
        Ok(())
    }

    /// Heeds the replies that are there, and sends again what is overdue, without waiting: for a program that has nothing
    /// to send for a while.
    ///
    /// # Errors
    /// As for [`Producer::send`].
    pub fn poll(&mut self) -> Result<(), DeliveryError> {
        self.check()?;
        while self.in_flight.len() > 0 {
            let now = self.line.now();
            let received = self.line.receive(now);
            match self.kept(received)? {
                Some(reply) => self.heed(reply)?,
                None => return self.send_overdue(),
            }
        }
        Ok(())
    }

    /// Number of the oldest message that is not known to be stored: where to begin again after an error.
    #[must_use]
    pub const fn first_in_doubt(&self) -> u64 {
        self.in_flight.first()
    }

    /// Number that the next message gets.
    #[must_use]
    pub fn next_message(&self) -> u64 {
        self.in_flight.next()
    }

    /// Messages that were acknowledged.
    #[must_use]
    pub const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Requests that were sent again.
    #[must_use]
    pub const fn sent_again(&self) -> u64 {
        self.line.sent_again
    }

    /// Replies that were ignored.
    #[must_use]
    pub const fn strays(&self) -> Strays {
        self.line.strays
    }

    /// The link, for whoever comes next.
    pub fn into_link(self) -> L {
        self.line.into_link()
    }

    /// Forgets what was not committed: the messages from this one on come again.
    pub(super) fn begin_again(&mut self, message: u64) {
        self.in_flight = InFlight::starting(message);
        self.failed = None;
    }

    fn check(&self) -> Result<(), DeliveryError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Keeps the first error.
    fn kept<T>(&mut self, result: Result<T, DeliveryError>) -> Result<T, DeliveryError> {
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    fn append(&self, message: u64, payload: Arc<[u8]>) -> Call {
        let stamp = self.registered.map(|(producer, epoch)| Stamp { producer, epoch, sequence: message });
        Call::Append {
            partition: Arc::clone(&self.partition),
            stamp,
            transaction: self.transaction,
            acknowledge: self.acknowledge,
            payload,
        }
    }

    /// Waits for one thing to happen: a reply, or a deadline.
    fn step(&mut self) -> Result<(), DeliveryError> {
        let Some(deadline) = self.in_flight.deadline() else { return Ok(()) };
        let received = self.line.receive(deadline);
        match self.kept(received)? {
            Some(reply) => self.heed(reply),
            None => self.send_overdue(),
        }
    }

    /// Takes in one reply. Only an answer that says so acknowledges, and only the message of its own request.
    fn heed(&mut self, reply: Reply) -> Result<(), DeliveryError> {
        let message = reply.number.wrapping_sub(self.requests_ahead);
        let Some(entry) = self.in_flight.get(message) else {
            self.line.strays.repeated += 1;
            return Ok(());
        };
        if entry.state == State::Acknowledged {
            self.line.strays.repeated += 1;
            return Ok(());
        }
        let is_last_attempt = reply.attempt == entry.attempt;
        let single = |answer: Answer| answer.offsets().is_none_or(|offsets| offsets.first == offsets.last);
        let heeded = match (reply.outcome, self.delivery) {
            (Outcome::Answered(answer), _) if !single(answer) || reply.attempt > entry.attempt => {
                self.line.strays.garbage += 1;
                Ok(())
            }
            (Outcome::Answered(Answer::Appended { .. }), _) => self.acknowledge(message),
            (Outcome::Answered(answer), Delivery::ExactlyOnce) if answer.is_stored() => self.acknowledge(message),
            (Outcome::Answered(Answer::Fenced { epoch }), Delivery::ExactlyOnce) => {
                Err(DeliveryError::Fenced { epoch })
            }
            (Outcome::Answered(Answer::OutOfOrder { expected }), Delivery::ExactlyOnce) => {
                if is_last_attempt {
                    self.refused(message, expected)
                } else {
                    // It says what was so when an earlier attempt arrived.
                    self.line.strays.repeated += 1;
                    Ok(())
                }
            }
            (Outcome::Answered(Answer::InvalidTransaction { .. }), _) if self.transaction.is_some() => {
                Err(DeliveryError::Aborted { transaction: self.transaction.unwrap_or_default() })
            }
            (Outcome::Answered(answer), Delivery::ExactlyOnce) => {
                Err(DeliveryError::Unexpected { sequence: message, answer })
            }
            (Outcome::Refused { retriable: false, reason }, _) if is_last_attempt => {
                Err(DeliveryError::Refused { reason })
            }
            // Sent again at its deadline, and not sooner: it would be refused again.
            (Outcome::Refused { .. }, _) => Ok(()),
            _ => {
                self.line.strays.garbage += 1;
                Ok(())
            }
        };
        self.kept(heeded)
    }

    fn acknowledge(&mut self, message: u64) -> Result<(), DeliveryError> {
        let first = self.in_flight.first();
        if self.in_flight.acknowledge(message) {
            self.acknowledged += 1;
        }
        if self.in_flight.first() == first {
            return Ok(());
        }
        // The oldest is stored: those that have waited for it may follow, in their order.
        let mut from = self.in_flight.first();
        while let Some(message) = self.in_flight.waiting(from) {
            from = message + 1;
            self.send_now(message)?;
        }
        Ok(())
    }

    /// The broker has not got what comes before this message.
    fn refused(&mut self, message: u64, expected: u64) -> Result<(), DeliveryError> {
        let first = self.in_flight.first();
        let Some(entry) = self.in_flight.get_mut(message) else { return Ok(()) };
        // What was acknowledged before this attempt was sent, the broker had when it refused.
        if expected < entry.behind {
            return Err(DeliveryError::Forgotten { expected, acknowledged: entry.behind });
        }
        entry.attempt += 1;
        entry.state = State::Waiting;
        // Its predecessors have been acknowledged since; else it follows them.
        if message == first { self.send_now(message) } else { Ok(()) }
    }

    fn send_overdue(&mut self) -> Result<(), DeliveryError> {
        let (now, patience) = (self.line.now(), self.line.patience);
        let mut from = self.in_flight.first();
        while let Some(message) = self.in_flight.overdue(from, now) {
            from = message + 1;
            let is_oldest = message == self.in_flight.first();
            let Some(entry) = self.in_flight.get_mut(message) else { break };
            entry.attempt += 1;
            entry.timeouts += 1;
            let after = now.saturating_sub(entry.accepted);
            if after >= patience.give_up_after {
                let attempts = entry.attempt;
                return self.kept(Err(DeliveryError::GaveUp { attempts, after }));
            }
            // While the oldest is in doubt, those behind it could only be refused.
            if self.delivery == Delivery::ExactlyOnce && !is_oldest {
                entry.state = State::Waiting;
            } else {
                self.send_now(message)?;
            }
        }
        Ok(())
    }

    /// Sends the present attempt of a message.
    #[inline]
    fn send_now(&mut self, message: u64) -> Result<(), DeliveryError> {
        let (now, behind, patience) = (self.line.now(), self.in_flight.first(), self.line.patience);
        let Some(entry) = self.in_flight.get_mut(message) else { return Ok(()) };
        entry.behind = behind;
        entry.state = State::Sent { deadline: now + patience.of_attempt(entry.timeouts) };
        let (attempt, payload) = (entry.attempt, Arc::clone(&entry.payload));
        let call = self.append(message, payload);
        let sent = self.line.send(message.wrapping_add(self.requests_ahead), attempt, call);
        self.kept(sent)
    }
}
