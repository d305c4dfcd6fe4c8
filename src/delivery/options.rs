//! What can be chosen about a client: how patient it is, and how much it has under way.

use super::{Acknowledge, DeliveryError};
use std::time::Duration;

/// Most requests of a producer in flight.
const IN_FLIGHT_MAX: usize = 4096;
/// Most records of one fetch.
const RECORDS_MAX: u32 = 65_536;

/// How long a client waits for a reply, by its link's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The wait for the reply to a first attempt; each further one waits twice as long.
    pub timeout: Duration,
    /// The longest wait for the reply to one attempt.
    pub timeout_max: Duration,
    /// The time after which a request is given up.
    pub give_up_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(500),
            timeout_max: Duration::from_secs(10),
            give_up_after: Duration::from_secs(120),
        }
    }
}

impl Patience {
    /// The wait for the reply to an attempt: the back-off is in it, since nothing is sent again before it is over.
    pub(super) fn of_attempt(&self, attempt: u32) -> Duration {
        if attempt == 0 {
            // At most the longest one: see `check`.
            return self.timeout;
        }
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        self.timeout.saturating_mul(factor).min(self.timeout_max)
    }

    fn check(&self) -> Result<(), DeliveryError> {
        if self.timeout.is_zero() {
            return Err(DeliveryError::option("timeout", "0 ns", "at least 1 ns"));
        }
        if self.timeout_max < self.timeout {
            let allowed = format!("at least the timeout, {:?}", self.timeout);
            return Err(DeliveryError::option("timeout_max", format!("{:?}", self.timeout_max), allowed));
        }
        Ok(())
    }
}

/// How a producer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerOptions {
    /// How long it waits.
    pub patience: Patience,
    /// Most messages from the oldest that is not acknowledged to the newest: 1 to 4,096.
    pub in_flight: usize,
    /// What its acknowledgements mean. At most once awaits none, whatever stands here.
    pub acknowledge: Acknowledge,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self { patience: Patience::default(), in_flight: 5, acknowledge: Acknowledge::Visible }
    }
}

impl ProducerOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long it waits. More patience rides out longer failures of the broker; less hears of them sooner.
    #[must_use]
    pub const fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Most messages from the oldest that is not acknowledged to the newest: 1 to 4,096; 5 by default. More hide the time
    /// that a reply takes; all of them are sent again where the oldest is lost.
    #[must_use]
    pub const fn in_flight(mut self, messages: usize) -> Self {
        self.in_flight = messages;
        self
    }

    /// What an acknowledgement means: visible by default. Durable survives a power cut of the broker, and takes a flush.
    #[must_use]
    pub const fn acknowledge(mut self, level: Acknowledge) -> Self {
        self.acknowledge = level;
        self
    }

    pub(super) fn check(&self) -> Result<(), DeliveryError> {
        self.patience.check()?;
        if !(1..=IN_FLIGHT_MAX).contains(&self.in_flight) {
            return Err(DeliveryError::option("in_flight", self.in_flight, format!("from 1 to {IN_FLIGHT_MAX}")));
        }
        Ok(())
    }
}

/// How a consumer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerOptions {
    /// How long it waits.
    pub patience: Patience,
    /// Most messages that a poll returns, and that one commit is for: 1 to 65,536.
    pub records: u32,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self { patience: Patience::default(), records: 100 }
    }
}

impl ConsumerOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long it waits. More patience rides out longer failures of the broker; less hears of them sooner.
    #[must_use]
    pub const fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Most messages that a poll returns, and that one commit is for: 1 to 65,536; 100 by default. More share a commit; as
    /// many are processed again, or lost, where one fails.
    #[must_use]
    pub const fn records(mut self, most: u32) -> Self {
        self.records = most;
        self
    }

    pub(super) fn check(&self) -> Result<(), DeliveryError> {
        self.patience.check()?;
        if !(1..=RECORDS_MAX).contains(&self.records) {
            return Err(DeliveryError::option("records", self.records, format!("from 1 to {RECORDS_MAX}")));
        }
        Ok(())
    }
}

/// How a pipeline reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PipelineOptions {
    /// How long it waits for each reply; and how long it tries a transaction again that is aborted.
    pub patience: Patience,
    /// Most messages that a poll returns, and that one transaction is for: 1 to 65,536.
    pub records: u32,
    /// Most outputs in flight: 1 to 4,096.
    pub in_flight: usize,
    /// What a commit waits for.
    pub acknowledge: Acknowledge,
    /// How long a transaction may be open before the broker aborts it, by the broker's clock.
    pub timeout: Duration,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        let ProducerOptions { patience, in_flight, acknowledge } = ProducerOptions::default();
        let records = ConsumerOptions::default().records;
        Self { patience, records, in_flight, acknowledge, timeout: Duration::from_secs(60) }
    }
}

impl PipelineOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long it waits. More patience rides out longer failures of the broker; less hears of them sooner.
    #[must_use]
    pub const fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Most messages that a poll returns, and that one commit is for: 1 to 65,536; 100 by default. More share a commit; as
    /// many are processed again, or lost, where one fails.
    #[must_use]
    pub const fn records(mut self, most: u32) -> Self {
        self.records = most;
        self
    }

    /// Most messages from the oldest that is not acknowledged to the newest: 1 to 4,096; 5 by default. More hide the time
    /// that a reply takes; all of them are sent again where the oldest is lost.
    #[must_use]
    pub const fn in_flight(mut self, messages: usize) -> Self {
        self.in_flight = messages;
        self
    }

    /// What an acknowledgement means: visible by default. Durable survives a power cut of the broker, and takes a flush.
    #[must_use]
    pub const fn acknowledge(mut self, level: Acknowledge) -> Self {
        self.acknowledge = level;
        self
    }

    /// How long a transaction may be open before the broker aborts it; 60 s by default. A longer one lets slow processing
    /// finish; readers of committed records wait as long for a pipeline that has died.
    #[must_use]
    pub const fn timeout(mut self, time: Duration) -> Self {
        self.timeout = time;
        self
    }

    /// The options of its two sides. A transaction's records need not be durable before its commit is.
    pub(super) fn sides(&self) -> Result<(ConsumerOptions, ProducerOptions), DeliveryError> {
        if self.acknowledge == Acknowledge::Nothing {
            return Err(DeliveryError::option("acknowledge", "Nothing", "Visible or Durable"));
        }
        let consumer = ConsumerOptions { patience: self.patience, records: self.records };
        let acknowledge = Acknowledge::Visible;
        let producer = ProducerOptions { patience: self.patience, in_flight: self.in_flight, acknowledge };
        consumer.check()?;
        producer.check()?;
        Ok((consumer, producer))
    }
}
