//! The receiving side of a cell: consumers, what they process, and where results are kept.

use std::cell::RefCell;
use std::rc::Rc;

use oncelog::delivery::{Consumer, ConsumerOptions, Delivery, DeliveryError, Message};

use super::fault::{Fault, Injector, Target};
use super::source::Messages;
use super::world::{FaultyLink, PATIENCE, World, message_of};
use crate::error::LoadError;

/// The consumers' group.
pub(super) const GROUP: &str = "billing";
/// Messages of one commit.
pub(super) const RECORDS: u32 = 10;

/// What was processed, in its order, and from where to go on: kept together, as a database would in one transaction.
#[derive(Debug, Default)]
pub(super) struct Results {
    pub(super) processed: Vec<u64>,
    position: u64,
    stored: u64,
}

pub(super) struct Sink<'w> {
    pub(super) world: &'w Rc<RefCell<World>>,
    pub(super) partition: &'static str,
    pub(super) delivery: Delivery,
    pub(super) injector: Injector,
    /// Where reading ends.
    pub(super) end: u64,
}

impl Sink<'_> {
    /// Processes all messages, by as many consumers as it takes. `check` looks at each of them.
    pub(super) fn process(
        &self,
        messages: &mut Messages,
        check: impl Fn(&mut Messages, u64, &[u8]) -> bool,
    ) -> Result<Vec<u64>, LoadError> {
        let mut results = Results::default();
        loop {
            let link = FaultyLink::new(self.world);
            let client = link.client;
            match self.consume(link, &mut results, messages, &check) {
                Ok(true) => return Ok(results.processed),
                Ok(false) => {}
                Err(LoadError::Delivery(DeliveryError::Link(_))) if self.world.borrow().is_dead(client) => {}
                Err(error) => {
                    self.world.borrow_mut().check()?;
                    return Err(error);
                }
            }
        }
    }

    /// One consumer's life. True if it came to the end.
    fn consume(
        &self,
        link: FaultyLink,
        results: &mut Results,
        messages: &mut Messages,
        check: &impl Fn(&mut Messages, u64, &[u8]) -> bool,
    ) -> Result<bool, LoadError> {
        let options = ConsumerOptions::new().patience(PATIENCE).records(RECORDS);
        let mut consumer = Consumer::open(link, self.partition, GROUP, self.delivery, &options)?;
        if self.delivery == Delivery::ExactlyOnce {
            consumer.seek(results.position);
        }
        loop {
            let polled = consumer.poll()?;
            if polled.is_empty() && consumer.position() >= self.end {
                return Ok(true);
            }
            let mut processed = Vec::with_capacity(polled.len());
            for Message { offset, payload } in polled {
                let message = message_of(&payload).filter(|message| check(messages, *message, &payload));
                let wrong = || LoadError::Experiment(format!("bytes at offset {offset} that nobody sent"));
                processed.push(message.ok_or_else(wrong)?);
            }
            if self.delivery != Delivery::ExactlyOnce {
                results.processed.append(&mut processed);
            } else if !self.store(results, processed, consumer.position()) {
                return Ok(false);
            }
        }
    }

    /// Stores results and position in one step. False if the consumer is killed before or after it.
    fn store(&self, results: &mut Results, mut processed: Vec<u64>, position: u64) -> bool {
        let target = Target::Results(results.stored);
        results.stored += 1;
        let dies = self.injector.fault == Fault::ConsumerKilled && self.injector.strikes_one_of(RECORDS, target);
        self.world.borrow_mut().journal.injected += u64::from(dies);
        if !(dies && self.injector.is_before(target)) {
            results.processed.append(&mut processed);
            results.position = position;
        }
        !dies
    }
}
