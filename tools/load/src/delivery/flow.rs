//! The pipelines of a cell: they consume what a source has stored, and produce from it, one transaction a batch.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use oncelog::Isolation;
use oncelog::delivery::{DeliveryError, Message, Pipeline, PipelineOptions};

use super::sink::{GROUP, RECORDS};
use super::source::{Messages, PARTITION};
use super::world::{FaultyLink, MESSAGE_BYTES, PATIENCE, World, message_of};
use crate::error::LoadError;

/// The partition that pipelines produce to.
pub(super) const OUTPUT: &str = "invoices";
/// The name of every pipeline.
const NAME: &str = "invoicing";
/// Longer than any cell takes: what ends transactions here are faults.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Pipelines that may be killed before they commit anything, besides one a message.
const LIVES_BESIDES: u64 = 100;

/// What the pipelines of a cell have gone through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flowed {
    /// Requests that were sent again.
    pub(super) sent_again: u64,
    /// Messages whose commit was acknowledged.
    pub(super) acknowledged: u64,
}

/// What a pipeline makes of a message: its number, and the rest the other way round.
fn transformed(payload: &[u8]) -> Vec<u8> {
    let (head, body) = payload.split_at(MESSAGE_BYTES.min(payload.len()));
    head.iter().chain(body.iter().rev()).copied().collect()
}

/// Stores all messages, while nothing fails.
pub(super) fn fill(world: &Rc<RefCell<World>>, messages: &mut Messages) -> Result<(), LoadError> {
    let mut world = world.borrow_mut();
    let mut appender = world.host.log()?.partition(PARTITION)?.appender()?;
    for message in 0..messages.count {
        appender.append(messages.payload(message))?;
    }
    Ok(())
}

/// Sends all messages through, by as many pipelines as it takes.
pub(super) fn flow(world: &Rc<RefCell<World>>, count: u64) -> Result<Flowed, LoadError> {
    let mut flowed = Flowed::default();
    let mut held_up = None;
    for life in 0.. {
        // One that commits anything gets further: more lives than messages go round in a circle.
        if life > count + LIVES_BESIDES {
            return Err(LoadError::Experiment(format!(
                "{life} pipelines, one after the other, have not come to the end"
            )));
        }
        let link = FaultyLink::new(world);
        let client = link.client;
        match one_life(world, link, count, &mut held_up, &mut flowed) {
            Ok(()) => break,
            Err(DeliveryError::Link(_)) if world.borrow().is_dead(client) => {
                held_up = world.borrow().is_held(client).then_some(client);
            }
            Err(error) => {
                world.borrow_mut().check()?;
                return Err(error.into());
            }
        }
    }
    if let Some(client) = held_up.take() {
        world.borrow_mut().release(client);
    }
    world.borrow_mut().settle()?;
    Ok(flowed)
}

/// One pipeline, until everything is through or it stops.
fn one_life(
    world: &Rc<RefCell<World>>,
    link: FaultyLink,
    count: u64,
    held_up: &mut Option<usize>,
    flowed: &mut Flowed,
) -> Result<(), DeliveryError> {
    let options = PipelineOptions::new().patience(PATIENCE).records(RECORDS).timeout(TIMEOUT);
    let mut pipeline = Pipeline::open(link, NAME, GROUP, PARTITION, OUTPUT, &options)?;
    let mut sent_again = 0;
    while pipeline.committed() < count {
        let polled = world.borrow().now();
        let messages = pipeline.poll()?;
        let outputs: Vec<Vec<u8>> = messages.iter().map(|Message { payload, .. }| transformed(payload)).collect();
        let committed = pipeline.commit(&outputs);
        flowed.sent_again += pipeline.sent_again() - sent_again;
        sent_again = pipeline.sent_again();
        committed?;
        flowed.acknowledged += messages.len() as u64;
        world.borrow_mut().took(polled, messages.len() as u64);
        // The one that this one has replaced wakes up, with its commit.
        if let Some(client) = held_up.take() {
            world.borrow_mut().release(client);
        }
    }
    Ok(())
}

/// What a reader of committed transactions sees of the outputs, and how many records there are in all.
pub(super) fn outputs(world: &Rc<RefCell<World>>, messages: &mut Messages) -> Result<(Vec<u64>, u64), LoadError> {
    let mut world = world.borrow_mut();
    let partition = world.host.log()?.partition(OUTPUT)?;
    let mut reader = partition.read_from(partition.start_offset())?;
    reader.set_isolation(Isolation::ReadCommitted);
    let mut seen = Vec::new();
    while let Some(record) = reader.next()? {
        let message = message_of(record.payload())
            .filter(|message| *message < messages.count && transformed(messages.payload(*message)) == record.payload());
        let wrong = || LoadError::Experiment(format!("an output at offset {} that nobody made", record.offset()));
        seen.push(message.ok_or_else(wrong)?);
    }
    Ok((seen, partition.end_offset()))
}
