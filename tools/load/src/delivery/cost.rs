//! What each delivery costs, in process: a producer, a link without a wire, a broker, one log each, by turns.
//!
//! A link that loses acknowledgements loses the same ones of each delivery. Its clock jumps to the end of a timeout, so what
//! is compared is the work of sending again, and not how long somebody chose to wait.

use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use oncelog::delivery::{Broker, Delivery, Link, LinkError, LocalLink, Producer, ProducerOptions, Reply, Request};
use oncelog::{Log, Partition};

use super::fault::{Fault, Injector, Target};
use super::source::{Messages, PARTITION};
use super::world::{MESSAGE_BYTES, message_of};
use super::{Column, Counts};
use crate::closed::{Repeats, Site};
use crate::error::LoadError;
use crate::recorder::{add, histogram, percentiles};
use crate::result::{Figure, Kind};
use crate::run::SEGMENT_BYTES;
use crate::spread::Spread;
use crate::stage::options;
use crate::verify::VerifyError;
use crate::workload::{Acknowledge, Window, Workload};

/// Turns that the deliveries take in one repeat: short ones, so that what the machine does meanwhile meets all of them.
const TURNS: u64 = 20;
/// Messages of one turn, sent as fast as the window allows.
const MESSAGES_OF_TURN: u64 = if cfg!(debug_assertions) { 100 } else { 5_000 };
/// Messages of one turn each of which is waited for before the next.
const WAITED_FOR_OF_TURN: u64 = if cfg!(debug_assertions) { 50 } else { 1_000 };
/// Messages of a repeat.
const MESSAGES: u64 = TURNS * (MESSAGES_OF_TURN + WAITED_FOR_OF_TURN);

/// What is compared, in the order of the turns.
const DELIVERIES: [(Delivery, Column); 3] = [
    (Delivery::AtMostOnce, Column::AtMostOnce),
    (Delivery::AtLeastOnce, Column::AtLeastOnce),
    (Delivery::ExactlyOnce, Column::ExactlyOnce),
];
/// The one that the others are compared with.
const AGAINST: usize = 1;

/// Bytes of the files of one measurement.
pub(crate) fn bytes(workload: &Workload) -> u64 {
    let frame = workload.payloads.longest() as u64 + MESSAGE_BYTES as u64 + 128;
    3 * (frame * MESSAGES + 4 * SEGMENT_BYTES)
}

/// A figure for each delivery. `lost` is the share of acknowledgements that the link loses.
pub(crate) fn measure(
    workload: &Workload,
    lost: f64,
    repeats: Repeats,
    site: Site<'_>,
) -> Result<Vec<Figure>, LoadError> {
    let mut seconds: [Vec<f64>; 3] = Default::default();
    let mut p99: [Vec<f64>; 3] = Default::default();
    let mut latency = [histogram(), histogram(), histogram()];
    let mut messages = Messages::new(&workload.payloads, MESSAGES);
    let fault = if lost > 0.0 { Fault::AckLost } else { Fault::None };
    // The three of them share the time of a figure each.
    let repeats = Repeats { seconds: repeats.seconds * 3.0, most: repeats.most * 3, ..repeats };
    let start = Instant::now();
    let mut done = 0;
    let mut last = false;
    while !last {
        last = repeats.is_last(done, start.elapsed().as_secs_f64());
        let scratch = tempfile::tempdir_in(site.scratch).map_err(LoadError::io("a scratch directory"))?;
        let injector = Injector::new(fault, lost, site.seed.wrapping_add(done as u64));
        let open = |which: usize| {
            Lane::open(&scratch.path().join(which.to_string()), DELIVERIES[which].0, injector, &mut messages)
        };
        let mut lanes = open_all(open)?;
        for turn in 0..TURNS {
            // To and fro, so that what drifts within a turn favours none of them.
            let order = if turn % 2 == 0 { [0, 1, 2] } else { [2, 1, 0] };
            for which in order {
                seconds[which].push(lanes[which].send(&mut messages)?);
            }
        }
        for (which, lane) in lanes.iter().enumerate() {
            p99[which].push(lane.latency.value_at_quantile(0.99) as f64);
            add(&mut latency[which], &lane.latency);
            lane.verify()?;
        }
        done += 1;
    }
    let figures = DELIVERIES.into_iter().enumerate().map(|(which, (delivery, column))| {
        let mut figure = Figure::empty(Kind::Delivery);
        let of = |factor: f64| Spread::of(seconds[which].iter().map(|seconds| seconds * factor));
        let rate = |factor: f64| Spread::of(seconds[which].iter().map(|seconds| factor / seconds));
        figure.delivery = Some(column);
        figure.fault = Some(fault);
        figure.rate = Some(lost);
        figure.payload_bytes = Some(workload.payloads.mean_bytes() + MESSAGE_BYTES);
        figure.payload_file = workload.payloads.file_name().map(str::to_owned);
        figure.acknowledge = (delivery != Delivery::AtMostOnce).then_some(Acknowledge::Visible);
        figure.window = Some(Window::Mapped);
        figure.repeats = Some(done);
        figure.ns_per_message = of(1e9 / MESSAGES_OF_TURN as f64);
        figure.messages_per_second = rate(MESSAGES_OF_TURN as f64);
        if which != AGAINST {
            figure.ratio_to_at_least_once = Spread::of_ratios(&seconds[AGAINST], &seconds[which]);
        }
        if delivery != Delivery::AtMostOnce {
            figure.latency_ns = Some(percentiles(&latency[which]));
            if which != AGAINST {
                figure.p99_ratio_to_at_least_once = Spread::of_ratios(&p99[which], &p99[AGAINST]);
            }
        }
        figure.verified = true;
        figure
    });
    Ok(figures.collect())
}

fn open_all(mut open: impl FnMut(usize) -> Result<Lane, LoadError>) -> Result<[Lane; 3], LoadError> {
    Ok([open(0)?, open(1)?, open(2)?])
}

/// One delivery on a log of its own.
struct Lane {
    delivery: Delivery,
    producer: Producer<Lossy>,
    partition: Partition,
    next: u64,
    latency: Histogram<u64>,
}

impl Lane {
    fn open(dir: &Path, delivery: Delivery, injector: Injector, messages: &mut Messages) -> Result<Self, LoadError> {
        let options = options(SEGMENT_BYTES, 1, Window::Mapped, Acknowledge::Visible);
        // SAFETY: the directory is this repeat's own, and was made for it.
        let log = unsafe { Log::open(dir, &options) }?;
        let partition = log.partition(PARTITION)?;
        let bytes = (messages.payload(0).len() as u64 + 128) * messages.count;
        partition.prepare((bytes / SEGMENT_BYTES + 1) as u32)?;
        let link = Lossy { link: LocalLink::new(Broker::new(&log)), injector };
        let producer = Producer::open(link, PARTITION, "checkout", delivery, &ProducerOptions::default())?;
        Ok(Self { delivery, producer, partition, next: 0, latency: histogram() })
    }

    /// One turn: messages at full speed, whose time is returned; then some one by one.
    fn send(&mut self, messages: &mut Messages) -> Result<f64, LoadError> {
        let waited_for = self.next + MESSAGES_OF_TURN;
        let began = Instant::now();
        for message in self.next..waited_for {
            self.producer.send(messages.payload(message))?;
        }
        self.producer.flush()?;
        let seconds = began.elapsed().as_secs_f64();
        self.next = waited_for + WAITED_FOR_OF_TURN;
        for message in waited_for..self.next {
            let payload = messages.payload(message);
            let sent = Instant::now();
            self.producer.send(payload)?;
            self.producer.flush()?;
            self.latency.saturating_record(sent.elapsed().as_nanos() as u64);
        }
        Ok(seconds)
    }

    /// In process nothing is reordered or lost but acknowledgements: every message is there, and second copies are those
    /// that were sent again under no sequence.
    fn verify(&self) -> Result<(), LoadError> {
        let mut reader = self.partition.read_from(self.partition.start_offset())?;
        let mut stored = Vec::new();
        while let Some(record) = reader.next()? {
            stored.extend(message_of(record.payload()));
        }
        let duplicated = if self.delivery == Delivery::ExactlyOnce { 0 } else { self.producer.sent_again() };
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
