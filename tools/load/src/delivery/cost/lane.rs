//! One delivery on a log of its own, and the link that it speaks over.

use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use oncelog::delivery::{
    Broker, Delivery, Link, LinkError, LocalLink, Message, Pipeline, PipelineOptions, Producer, ProducerOptions, Reply,
    Request,
};
use oncelog::{Isolation, Log, Partition};

use super::{MESSAGES_OF_TRANSACTION, MESSAGES_OF_TURN, WAITED_FOR_OF_TURN};
use crate::delivery::fault::{Injector, Target};
use crate::delivery::flow::OUTPUT;
use crate::delivery::sink::GROUP;
use crate::delivery::source::{Messages, PARTITION};
use crate::delivery::world::message_of;
use crate::delivery::{Column, Counts};
use crate::error::LoadError;
use crate::recorder::histogram;
use crate::run::SEGMENT_BYTES;
use crate::stage::options;
use crate::verify::VerifyError;
use crate::workload::{Acknowledge, Window};

/// One delivery on a log of its own.
pub(super) struct Lane {
    client: Client,
    /// Where its messages arrive.
    partition: Partition,
    next: u64,
    /// From a message's being sent to its acknowledgement; from a transaction's first poll to its commit.
    pub(super) latency: Histogram<u64>,
}

enum Client {
    Producer { producer: Box<Producer<Lossy>>, delivery: Delivery },
    Pipeline(Box<Pipeline<Lossy>>),
}

impl Lane {
    /// Opens the log and whoever sends; what a pipeline consumes is all there before.
    pub(super) fn open(
        dir: &Path,
        column: Column,
        injector: Injector,
        messages: &mut Messages,
    ) -> Result<Self, LoadError> {
        let options = options(SEGMENT_BYTES, 1, Window::Mapped, Acknowledge::Visible);
        // SAFETY: the directory is this repeat's own, and was made for it.
        let log = unsafe { Log::open(dir, &options) }?;
        let bytes = (messages.payload(0).len() as u64 + 128) * messages.count;
        let prepared = |name: &str| -> Result<Partition, LoadError> {
            let partition = log.partition(name)?;
            partition.prepare((bytes / SEGMENT_BYTES + 1) as u32)?;
            Ok(partition)
        };
        let link = || Lossy { link: LocalLink::new(Broker::new(&log)), injector };
        let producer = |delivery| -> Result<(Client, Partition), LoadError> {
            let partition = prepared(PARTITION)?;
            let producer = Producer::open(link(), PARTITION, "checkout", delivery, &ProducerOptions::default())?;
            Ok((Client::Producer { producer: Box::new(producer), delivery }, partition))
        };
        let (client, partition) = match column {
            Column::AtMostOnce => producer(Delivery::AtMostOnce)?,
            Column::AtLeastOnce => producer(Delivery::AtLeastOnce)?,
            Column::ExactlyOnce => producer(Delivery::ExactlyOnce)?,
            Column::Transactional => {
                let mut appender = prepared(PARTITION)?.appender()?;
                for message in 0..messages.count {
                    appender.append(messages.payload(message))?;
                }
                let partition = prepared(OUTPUT)?;
                let options = PipelineOptions::new().records(MESSAGES_OF_TRANSACTION);
                let pipeline = Pipeline::open(link(), "invoicing", GROUP, PARTITION, OUTPUT, &options)?;
                (Client::Pipeline(Box::new(pipeline)), partition)
            }
        };
        Ok(Self { client, partition, next: 0, latency: histogram() })
    }

    /// One turn: messages at full speed, whose time is returned; then some one by one.
    pub(super) fn turn(&mut self, messages: &mut Messages) -> Result<f64, LoadError> {
        let waited_for = self.next + MESSAGES_OF_TURN;
        let began = Instant::now();
        let (next, end) = (self.next, waited_for + WAITED_FOR_OF_TURN);
        self.next = end;
        match &mut self.client {
            Client::Producer { producer, .. } => {
                for message in next..waited_for {
                    producer.send(messages.payload(message))?;
                }
                producer.flush()?;
                let seconds = began.elapsed().as_secs_f64();
                for message in waited_for..end {
                    let payload = messages.payload(message);
                    let sent = Instant::now();
                    producer.send(payload)?;
                    producer.flush()?;
                    self.latency.saturating_record(sent.elapsed().as_nanos() as u64);
                }
                Ok(seconds)
            }
            Client::Pipeline(pipeline) => {
                let mut through = |until: u64| -> Result<(), LoadError> {
                    while pipeline.committed() < until {
                        let polled = Instant::now();
                        let messages = pipeline.poll()?;
                        let outputs: Vec<&[u8]> = messages.iter().map(|Message { payload, .. }| &payload[..]).collect();
                        pipeline.commit(&outputs)?;
                        self.latency.saturating_record(polled.elapsed().as_nanos() as u64);
                    }
                    Ok(())
                };
                through(waited_for)?;
                let seconds = began.elapsed().as_secs_f64();
                through(end)?;
                Ok(seconds)
            }
        }
    }

    /// In process nothing is reordered or lost but acknowledgements: every message is there, and second copies are those
    /// that were sent again under no sequence.
    pub(super) fn verify(&self, messages: &mut Messages) -> Result<(), LoadError> {
        let mut reader = self.partition.read_from(self.partition.start_offset())?;
        reader.set_isolation(Isolation::ReadCommitted);
        let mut stored = Vec::new();
        while let Some(record) = reader.next()? {
            let message = message_of(record.payload()).filter(|message| *message < self.next);
            match message.filter(|message| messages.payload(*message) == record.payload()) {
                Some(message) => stored.push(message),
                None => return Err(VerifyError::Contents { offset: record.offset() }.into()),
            }
        }
        let duplicated = match &self.client {
            Client::Producer { delivery: Delivery::ExactlyOnce, .. } | Client::Pipeline(_) => 0,
            Client::Producer { producer, .. } => producer.sent_again(),
        };
        if Counts::of(self.next, &stored) != (Counts { duplicated, ..Counts::default() }) {
            let (expected, found) = (self.next + duplicated, stored.len() as u64);
            return Err(VerifyError::Count { partition: 0, expected, found }.into());
        }
        Ok(())
    }
}

/// A link that loses some of the replies to first attempts.
struct Lossy {
    link: LocalLink,
    injector: Injector,
}

impl Link for Lossy {
    #[inline]
    fn send(&mut self, request: Request) -> Result<(), LinkError> {
        self.link.send(request)
    }

    #[inline]
    fn receive(&mut self, until: Duration) -> Result<Option<Reply>, LinkError> {
        loop {
            match self.link.receive(until)? {
                Some(Reply { number, attempt, .. })
                    if self.injector.strikes(Target::Request { client: 0, number, attempt }) => {}
                reply => return Ok(reply),
            }
        }
    }

    #[inline]
    fn now(&self) -> Duration {
        self.link.now()
    }
}
