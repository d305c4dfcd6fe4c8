//! The sending side of a cell: a source of numbered messages, and the producers that send them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use oncelog::delivery::{Delivery, DeliveryError, Producer, ProducerOptions};

use super::fault::{Fault, Injector, Target};
use super::world::{FaultyLink, MESSAGE_BYTES, PATIENCE, World};
use crate::error::LoadError;
use crate::payload::Payloads;

/// The partition that producers send to.
pub(super) const PARTITION: &str = "orders";
/// The name of every producer of it.
const NAME: &str = "checkout";
/// Messages that a producer has under way when it is held up.
const HELD: u64 = 3;

/// Messages by their numbers: the number, and then a record of the ring.
pub(super) struct Messages {
    records: Vec<Vec<u8>>,
    pub(super) count: u64,
}

impl Messages {
    pub(super) fn new(payloads: &Arc<Payloads>, count: u64) -> Self {
        let head = [0; MESSAGE_BYTES];
        let records = payloads.ring(1).into_iter().map(|record| [&head, record].concat()).collect();
        Self { records, count }
    }

    /// A message as it is sent.
    pub(super) fn payload(&mut self, message: u64) -> &[u8] {
        let at = (message % self.records.len() as u64) as usize;
        let record = &mut self.records[at];
        record[..MESSAGE_BYTES].copy_from_slice(&message.to_le_bytes());
        record
    }
}

/// What the producers of a cell have gone through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Produced {
    /// Requests that were sent again.
    pub(super) sent_again: u64,
    /// Producers that were told of a younger one.
    pub(super) fenced: u64,
}

pub(super) struct Source<'w> {
    pub(super) world: &'w Rc<RefCell<World>>,
    pub(super) delivery: Delivery,
    pub(super) injector: Injector,
}

/// A producer that sends, and which of the source's messages its first one was.
struct Sender {
    client: usize,
    producer: Producer<FaultyLink>,
    first: u64,
}

impl Sender {
    /// The source's number of the first message that is not known to be stored.
    fn first_in_doubt(&self) -> u64 {
        self.first + self.producer.first_in_doubt()
    }
}

impl Source<'_> {
    /// Sends all messages, by as many producers as it takes, and lets everything arrive.
    pub(super) fn send(&self, messages: &mut Messages) -> Result<Produced, LoadError> {
        let mut produced = Produced::default();
        let mut sender = self.open(0)?;
        let mut next = 0;
        while next < messages.count {
            let zombie = self.injector.fault == Fault::ZombieProducer;
            if zombie && self.injector.strikes(Target::Message(next)) {
                self.world.borrow_mut().journal.injected += 1;
                (sender, next) = self.replace(sender, next, messages, &mut produced)?;
            }
            if next < messages.count {
                self.hand(&mut sender, messages, next)?;
                next += 1;
            }
        }
        sender.producer.flush()?;
        produced.sent_again += sender.producer.sent_again();
        self.world.borrow_mut().settle()?;
        Ok(produced)
    }

    /// A producer whose first message is this one; with sequences, it numbers as the source does.
    fn open(&self, message: u64) -> Result<Sender, LoadError> {
        let link = FaultyLink::new(self.world);
        let client = link.client;
        let options = ProducerOptions::new().patience(PATIENCE);
        let producer = Producer::open(link, PARTITION, NAME, self.delivery, &options)?;
        let first = if self.delivery == Delivery::ExactlyOnce { 0 } else { message };
        Ok(Sender { client, producer, first })
    }

    fn hand(&self, sender: &mut Sender, messages: &mut Messages, message: u64) -> Result<(), DeliveryError> {
        self.world.borrow_mut().handed(message);
        sender.producer.send(messages.payload(message)).map(drop)
    }

    /// The producer is held up with some messages under way, and taken for dead; another one takes its name and goes on.
    /// Then the elder wakes up, with what it had under way and one message more.
    fn replace(
        &self,
        mut elder: Sender,
        next: u64,
        messages: &mut Messages,
        produced: &mut Produced,
    ) -> Result<(Sender, u64), LoadError> {
        elder.producer.flush()?;
        self.world.borrow_mut().hold(elder.client);
        let held = (next + HELD).min(messages.count);
        for message in next..held {
            self.hand(&mut elder, messages, message)?;
        }
        let begins = match self.delivery {
            // Whoever notes what was sent before it is sent goes on behind it.
            Delivery::AtMostOnce => held,
            // Whoever notes what was acknowledged sends the rest again; of sequences the log knows, and says the same.
            Delivery::AtLeastOnce | Delivery::ExactlyOnce => elder.first_in_doubt(),
        };
        let mut younger = self.open(begins)?;
        if self.delivery == Delivery::ExactlyOnce && younger.producer.next_message() != begins {
            let told = younger.producer.next_message();
            return Err(LoadError::Experiment(format!("{told} as the next message, and {begins} is it")));
        }
        let ends = (held + 1).min(messages.count);
        for message in begins..ends {
            self.hand(&mut younger, messages, message)?;
        }
        self.world.borrow_mut().release(elder.client);
        let more = if held < messages.count { self.hand(&mut elder, messages, held) } else { Ok(()) };
        match more.and_then(|()| elder.producer.flush()) {
            Ok(()) if self.delivery != Delivery::ExactlyOnce => {}
            Err(DeliveryError::Fenced { .. }) if self.delivery == Delivery::ExactlyOnce => produced.fenced += 1,
            Ok(()) => {
                return Err(LoadError::Experiment("an acknowledgement to a producer that was replaced".to_owned()));
            }
            Err(error) => return Err(error.into()),
        }
        produced.sent_again += elder.producer.sent_again();
        Ok((younger, ends.max(begins)))
    }
}
