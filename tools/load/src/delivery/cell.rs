//! One delivery under one fault: run, counted, and compared with what was predicted.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use oncelog::delivery::Delivery;
use serde::Serialize;

use super::fault::{Fault, Injector};
use super::flow::{Flowed, fill, flow, outputs};
use super::host::{Host, Place};
use super::sink::Sink;
use super::source::{Messages, PARTITION, Produced, Source};
use super::world::World;
use super::{Column, Counts};
use crate::error::LoadError;
use crate::payload::Payloads;
use crate::recorder::percentiles;
use crate::result::Percentiles;
use crate::workload::WorkloadError;

/// Most messages of a cell: all that is known of each is kept in memory.
pub const MESSAGES_MAX: u64 = 10_000_000;
/// Most of all requests that a fault may strike: clients give up where next to nothing arrives.
pub const RATE_MAX: f64 = 0.5;

/// What all cells of a matrix have in common.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Messages that each source has.
    pub messages: u64,
    /// The share of requests that a fault strikes; of messages, where it strikes those who process or have them.
    pub rate: f64,
    /// Decides which.
    pub seed: u64,
    /// What messages hold, beside their number.
    pub payloads: Arc<Payloads>,
    /// Where logs are made that do not stay.
    pub scratch: PathBuf,
    /// The `oncelog` program, where brokers may be processes: exactly once, killed after storing, has one then.
    pub program: Option<PathBuf>,
}

/// What came of one delivery under one fault.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// What was delivered how.
    pub delivery: Column,
    /// What went wrong.
    pub fault: Fault,
    /// How often, as a share of requests.
    pub rate: f64,
    /// The seed that repeats it.
    pub seed: u64,
    /// Where the broker has run.
    pub broker: Place,
    /// How often the fault has struck.
    pub injected: u64,
    /// Messages of the source.
    pub sent: u64,
    /// Messages whose producer has heard that they are stored.
    pub acknowledged: u64,
    /// Records in the partition that the consumer reads, those of aborted transactions among them.
    pub stored: u64,
    /// Messages that were processed, each as often as it was.
    pub consumed: u64,
    /// Requests of producers that were sent again.
    pub sent_again: u64,
    /// Producers and commits that were refused because another one has taken their name.
    pub fenced: u64,
    /// What was measured.
    #[serde(flatten)]
    pub measured: Counts,
    /// What the injector's own log foretells.
    pub predicted: Counts,
    /// What the deliveries would have come to, had each of them been stored.
    pub without_sequences: Counts,
    /// Messages processed in a second of the link's clock, from the first that was sent to the last that was processed.
    pub messages_per_second: f64,
    /// From a message's being handed to its producer to the producer's hearing of it, by the link's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ns: Option<Percentiles>,
    /// What it took of this machine's time.
    pub seconds: f64,
}

impl Experiment {
    fn check(&self) -> Result<(), LoadError> {
        let (value, limit) = (self.messages, MESSAGES_MAX);
        if !(1..=limit).contains(&value) {
            return Err(WorkloadError::Messages { value, limit }.into());
        }
        let (value, limit) = (self.rate, RATE_MAX);
        if !(value > 0.0 && value <= limit) {
            return Err(WorkloadError::FaultRate { value, limit }.into());
        }
        Ok(())
    }

    /// Runs one cell.
    ///
    /// # Errors
    /// What the log or a client could not do; not what the cell has counted, which [`Cell::check`] judges.
    pub fn cell(&self, column: Column, fault: Fault) -> Result<Cell, LoadError> {
        self.check()?;
        let began = Instant::now();
        let directory = tempfile::tempdir_in(&self.scratch).map_err(LoadError::io("a scratch directory"))?;
        let rate = if fault == Fault::None { 0.0 } else { self.rate };
        let injector = Injector::new(fault, rate, self.seed);
        // One cell with real processes: each kill takes as long as a process does.
        let kills_processes = (column, fault) == (Column::ExactlyOnce, Fault::BrokerKilledAfterStore);
        let program = self.program.as_deref().filter(|_| kills_processes);
        let host = Host::start(&directory.path().join("log"), program)?;
        let world = Rc::new(RefCell::new(World::new(host, injector, self.messages)));
        let mut messages = Messages::new(&self.payloads, self.messages);
        let run = Run { world: &world, injector, messages: &mut messages };
        let Ran { sent_again, acknowledged, fenced, stored, processed } = match column {
            Column::AtMostOnce => run.delivered(Delivery::AtMostOnce)?,
            Column::AtLeastOnce => run.delivered(Delivery::AtLeastOnce)?,
            Column::ExactlyOnce => run.delivered(Delivery::ExactlyOnce)?,
            Column::Transactional => run.piped()?,
        };
        let world = world.borrow();
        let elapsed = world.now().as_secs_f64();
        Ok(Cell {
            delivery: column,
            fault,
            rate,
            seed: self.seed,
            broker: if program.is_some() { Place::Process } else { Place::Here },
            injected: world.journal.injected,
            sent: self.messages,
            acknowledged,
            stored,
            consumed: processed.len() as u64,
            sent_again,
            fenced,
            measured: Counts::of(self.messages, &processed),
            predicted: world.journal.predict(column, self.messages),
            without_sequences: world.journal.without_sequences(self.messages),
            messages_per_second: if elapsed > 0.0 { processed.len() as f64 / elapsed } else { 0.0 },
            latency_ns: (!world.latency().is_empty()).then(|| percentiles(world.latency())),
            seconds: began.elapsed().as_secs_f64(),
        })
    }
}

struct Run<'w> {
    world: &'w Rc<RefCell<World>>,
    injector: Injector,
    messages: &'w mut Messages,
}

struct Ran {
    sent_again: u64,
    acknowledged: u64,
    fenced: u64,
    stored: u64,
    processed: Vec<u64>,
}

impl Run<'_> {
    /// A source, a partition, a consumer.
    fn delivered(self, delivery: Delivery) -> Result<Ran, LoadError> {
        let Self { world, injector, messages } = self;
        let Produced { sent_again, fenced } = Source { world, delivery, injector }.send(messages)?;
        let stored = world.borrow_mut().end_of(PARTITION)?;
        let sink = Sink { world, partition: PARTITION, delivery, injector, end: stored };
        let processed = sink.process(messages, |messages, message, payload| {
            message < messages.count && messages.payload(message) == payload
        })?;
        let acknowledged = world.borrow().acknowledged();
        Ok(Ran { sent_again, acknowledged, fenced, stored, processed })
    }

    /// A partition, pipelines, a partition.
    fn piped(self) -> Result<Ran, LoadError> {
        let Self { world, messages, .. } = self;
        fill(world, messages)?;
        let Flowed { sent_again, acknowledged } = flow(world, messages.count)?;
        let (processed, stored) = outputs(world, messages)?;
        let fenced = world.borrow().fenced();
        Ok(Ran { sent_again, acknowledged, fenced, stored, processed })
    }
}

impl Cell {
    /// Whether the cell has shown what it is there to show: counts as predicted, and something that went wrong where the
    /// fault calls for it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let what = format!("{} under {}, seed {}", self.delivery.word(), self.fault.word(), self.seed);
        if self.measured != self.predicted {
            return Err(format!("{what}: measured {}, and predicted {}", told(self.measured), told(self.predicted)));
        }
        // A pipeline that is killed may have committed what nobody told it of.
        let hears = !matches!(
            (self.delivery, self.fault),
            (Column::AtMostOnce, _) | (Column::Transactional, Fault::ConsumerKilled)
        );
        if hears && self.acknowledged != self.sent {
            return Err(format!("{what}: {} of {} messages were acknowledged", self.acknowledged, self.sent));
        }
        if self.fault == Fault::None {
            return Ok(());
        }
        // Who awaits no reply is not struck by what happens to it.
        let is_deaf = self.delivery == Column::AtMostOnce && matches!(self.fault, Fault::AckLost | Fault::AckLate);
        if self.injected == 0 && !is_deaf {
            return Err(format!("{what}: the fault has not struck once; more messages or a higher rate are needed"));
        }
        match self.missing() {
            Some(missing) => Err(format!(
                "{what}: the fault has struck {} times, and there is no {missing}: a broken experiment",
                self.injected
            )),
            None => Ok(()),
        }
    }

    /// What the fault calls for and did not come.
    fn missing(&self) -> Option<&'static str> {
        use Column::{AtLeastOnce, AtMostOnce, ExactlyOnce, Transactional};
        let Counts { lost, duplicated, reordered } = self.measured;
        let naive = self.without_sequences;
        let (count, name) = match (self.delivery, self.fault) {
            (AtMostOnce, Fault::RequestLost | Fault::ConsumerKilled) => (lost, "message lost"),
            (AtMostOnce, Fault::BrokerKilledAfterStore | Fault::BrokerKilledBeforeStore) => (lost, "message lost"),
            (AtMostOnce, Fault::RequestDoubled | Fault::ZombieProducer) => (duplicated, "message doubled"),
            (AtLeastOnce, Fault::RequestLost) => (reordered, "message late"),
            (AtLeastOnce, Fault::BrokerKilledBeforeStore) => (self.sent_again, "message sent again"),
            (AtMostOnce | AtLeastOnce, Fault::Reordered) => (reordered, "message late"),
            (AtLeastOnce, _) => (duplicated, "message doubled"),
            // The log takes no second copy and nothing late: what shows that it was offered one is what was delivered.
            (ExactlyOnce, Fault::AckLost | Fault::AckLate | Fault::RequestDoubled | Fault::BrokerKilledAfterStore) => {
                (naive.duplicated, "message delivered twice")
            }
            (ExactlyOnce, Fault::Reordered) => (naive.reordered, "message delivered late"),
            (ExactlyOnce, Fault::RequestLost | Fault::BrokerKilledBeforeStore) => {
                (self.sent_again, "message sent again")
            }
            (ExactlyOnce | Transactional, Fault::ZombieProducer) => (self.fenced, "producer fenced"),
            (Transactional, Fault::ConsumerKilled) => (self.stored - self.consumed, "output of an aborted transaction"),
            (Transactional, Fault::RequestDoubled) => (naive.duplicated, "message delivered twice"),
            (Transactional, Fault::Reordered) => (naive.reordered, "message delivered late"),
            (Transactional, _) => (self.sent_again, "request sent again"),
            _ => return None,
        };
        (count == 0).then_some(name)
    }
}

fn told(counts: Counts) -> String {
    let Counts { lost, duplicated, reordered } = counts;
    format!("{lost} lost, {duplicated} doubled, {reordered} late")
}
