//! A pipeline: it consumes, and what it produces from that is committed together with how far it has come.

use super::{
    Acknowledge, Call, Delivery, DeliveryError, Link, Message, Outcome, PipelineOptions, Producer, Strays,
    consumer::{fetch, join},
};
use crate::ids::TransactionId;
use std::{sync::Arc, time::Duration};

/// Reads one partition and writes to another, exactly once: outputs and position are one transaction. Whoever reads the
/// outputs sees each batch whole or not at all, and none twice, whatever is lost and whoever stops.
///
/// What a pipeline does besides, outside of the log, is not part of its transactions.
pub struct Pipeline<L> {
    producer: Producer<L>,
    input: Arc<str>,
    group: Arc<str>,
    generation: u64,
    records: u32,
    acknowledge: Acknowledge,
    timeout: Duration,
    position: u64,
    committed: u64,
    repeated: u64,
}

impl<L: Link> Pipeline<L> {
    /// A pipeline at the end of this link, where its group has committed last. What an elder pipeline of that name has open
    /// is aborted, and it commits no more.
    ///
    /// # Errors
    /// [`DeliveryError::Option`] for options that are impossible, and others if the broker does not let it.
    pub fn open(
        link: L,
        name: &str,
        group: &str,
        input: &str,
        output: &str,
        options: &PipelineOptions,
    ) -> Result<Self, DeliveryError> {
        let (consumer, sending) = options.sides()?;
        // First the name: behind it the elder can change nothing, so what the group has committed is final.
        let mut producer = Producer::open(link, output, name, Delivery::ExactlyOnce, &sending)?;
        let (input, group): (Arc<str>, Arc<str>) = (input.into(), group.into());
        let (generation, committed) = join(&mut producer.line, &group, &input)?;
        Ok(Self {
            producer,
            input,
            group,
            generation,
            records: consumer.records,
            acknowledge: options.acknowledge,
            timeout: options.timeout,
            position: committed,
            committed,
            repeated: 0,
        })
    }

    /// The messages behind those that are committed; none if there are none yet. Again, without a commit, the same ones.
    ///
    /// # Errors
    /// [`DeliveryError::Trimmed`] if retention has dropped the next message.
    pub fn poll(&mut self) -> Result<Vec<Message>, DeliveryError> {
        let (messages, next) = fetch(&mut self.producer.line, &self.input, self.committed, self.records)?;
        self.position = next;
        Ok(messages)
    }

    /// Commits what came of the messages that were polled last: these outputs, and the position behind those messages. If
    /// the transaction is aborted on the way, because the broker stops or is slow, it is tried again.
    ///
    /// # Errors
    /// [`DeliveryError::Fenced`] and [`DeliveryError::Replaced`] if a younger pipeline has taken over,
    /// [`DeliveryError::Refused`] for an output that cannot be stored: nothing is committed then.
    pub fn commit<O: AsRef<[u8]>>(&mut self, outputs: &[O]) -> Result<(), DeliveryError> {
        if outputs.is_empty() && self.position == self.committed {
            return Ok(());
        }
        let Some((producer, epoch)) = self.producer.registered else { return Ok(()) };
        let (first, began) = (self.producer.next_message(), self.producer.line.now());
        loop {
            let id = TransactionId { producer, epoch, number: self.producer.next_transaction };
            self.producer.next_transaction += 1;
            self.producer.transaction = Some(id.number);
            let tried = self.attempt(id, outputs);
            self.producer.transaction = None;
            let error = match tried {
                Ok(()) => {
                    self.committed = self.position;
                    return Ok(());
                }
                Err(error) => error,
            };
            // Sequences go on where they were before the transaction.
            match error {
                DeliveryError::Aborted { .. } => {
                    self.producer.begin_again(first);
                    self.repeated += 1;
                    if self.producer.line.now() - began >= self.producer.line.patience.give_up_after {
                        return Err(error);
                    }
                }
                DeliveryError::Refused { .. } => {
                    self.producer.begin_again(first);
                    // What is not aborted now, the next pipeline of the name aborts, or its timeout.
                    let _ = self.ask(&Call::AbortTransaction { transaction: id }, id.number);
                    return Err(error);
                }
                other => return Err(other),
            }
        }
    }

    /// Offset of the first message that is not committed.
    #[must_use]
    pub const fn committed(&self) -> u64 {
        self.committed
    }

    /// Offset of the first message that no poll has returned.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Transactions that were aborted, and tried again.
    #[must_use]
    pub const fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Requests that were sent again.
    #[must_use]
    pub const fn sent_again(&self) -> u64 {
        self.producer.sent_again()
    }

    /// Replies that were ignored.
    #[must_use]
    pub const fn strays(&self) -> Strays {
        self.producer.strays()
    }

    fn attempt<O: AsRef<[u8]>>(&mut self, transaction: TransactionId, outputs: &[O]) -> Result<(), DeliveryError> {
        self.ask(&Call::Begin { transaction, timeout: self.timeout }, transaction.number)?;
        for output in outputs {
            self.producer.send(output.as_ref())?;
        }
        self.producer.flush()?;
        let add = Call::AddOffset {
            transaction,
            group: Arc::clone(&self.group),
            generation: self.generation,
            partition: Arc::clone(&self.input),
            offset: self.position,
        };
        self.ask(&add, transaction.number)?;
        let acknowledge = self.acknowledge;
        self.ask(&Call::CommitTransaction { transaction, acknowledge }, transaction.number)
    }

    fn ask(&mut self, call: &Call, transaction: u64) -> Result<(), DeliveryError> {
        self.producer.line.ask(call, |outcome| match outcome {
            Outcome::Done => Ok(Ok(())),
            Outcome::Aborted => Ok(Err(DeliveryError::Aborted { transaction })),
            Outcome::Fenced { epoch } => Ok(Err(DeliveryError::Fenced { epoch })),
            Outcome::Replaced { generation } => Ok(Err(DeliveryError::Replaced { generation })),
            other => Err(other),
        })?
    }
}
