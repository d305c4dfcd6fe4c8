//! The axes of a workload, and which combinations of them mean something.

mod error;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

pub use self::error::WorkloadError;
use crate::payload::Payloads;

/// A batch may take this many bytes: a block has to cross at least sixteen segments in reasonable memory.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// Records of one batch.
pub const BATCH_MAX: usize = 65_536;
/// Threads of one workload.
pub const THREADS_MAX: usize = 256;
/// Producers by id, and of the mutex.
pub const PRODUCERS_MAX: usize = 4 << 20;
/// Sessions are opened one by one, each with a flush of its own.
pub const SESSIONS_MAX: usize = 4_096;
/// Partitions of one workload.
pub const PARTITIONS_MAX: usize = 1_024;
/// The steepest skew: the second takes a sixteenth of the first's.
pub const SKEW_MAX: f64 = 4.0;
/// Producers in partitions that one thread goes round under a skew.
pub const SKEWED_MAX: usize = 65_536;
/// Appends a second of an open loop.
pub const RATE_MAX: f64 = 100e6;

macro_rules! axis {
    ($(#[$doc:meta])* $name:ident, $what:literal: $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word in results and on the command line.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    other => Err(format!(concat!("{} is no ", $what, ": one of {}"), Quoted(other), [$($word),+].join(", "))),
                }
            }
        }
    };
}

pub(crate) use axis;

axis! {
    /// How a retry is kept from appending twice.
    Idempotence, "idempotence":
    /// Not at all: a plain append.
    Off = "off",
    /// An exclusive handle of one producer, with the caller's sequence.
    Session = "session",
    /// A producer's id and sequence, from any thread.
    ById = "by-id",
    /// The naive way: one mutex around a map of sequences and a plain append.
    Mutex = "mutex"
}

axis! {
    /// What an append has reached when the call returns.
    Acknowledge, "acknowledgement level":
    /// Its own frame is published.
    Written = "written",
    /// Every frame before it is published too.
    Visible = "visible",
    /// A completed flush covers it.
    Durable = "durable"
}

axis! {
    /// The memory that producers write to.
    Window, "window":
    /// A shared mapping of the segment file.
    Mapped = "mapped",
    /// Anonymous memory, written to the file by a committer.
    Direct = "direct"
}

axis! {
    /// How a reader that has come to the end goes on.
    Reading, "reading":
    /// It looks again without pause.
    Polling = "polling",
    /// It sleeps until the log wakes it.
    Blocking = "blocking"
}

/// When the next append is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As soon as the one before has returned: cost and throughput.
    Closed,
    /// On a fixed schedule, whatever happened to the one before: latency.
    Open {
        /// Appends a second, of all threads together.
        rate_per_second: f64,
    },
}

impl Pace {
    /// The word in results.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
        }
    }
}

/// One workload of appends: a value on every axis.
#[derive(Clone, Debug)]
pub struct Workload {
    /// How a retry is kept from appending twice.
    pub idempotence: Idempotence,
    /// What is appended.
    pub payloads: Arc<Payloads>,
    /// Records of one append.
    pub batch: usize,
    /// Threads that append.
    pub threads: usize,
    /// Producers, dealt out to the threads; each thread takes its own in a shuffled order.
    pub producers: usize,
    /// Partitions, dealt out to the threads.
    pub partitions: usize,
    /// How much more often some producers and partitions of a thread are taken than others: the exponent of Zipf's law, 0
    /// for all alike.
    pub skew: f64,
    /// Readers that follow each partition.
    pub readers: usize,
    /// What they do at the end.
    pub reading: Reading,
    /// The share of appends that are a retry of the one before.
    pub duplicates: f64,
    /// What an append waits for.
    pub acknowledge: Acknowledge,
    /// The memory that producers write to.
    pub window: Window,
    /// When the next append is sent.
    pub pace: Pace,
}

impl Workload {
    /// Plain appends of `payloads`: one thread, one partition, one record a call, closed loop.
    #[must_use]
    pub fn new(payloads: Arc<Payloads>) -> Self {
        Self {
            idempotence: Idempotence::Off,
            payloads,
            batch: 1,
            threads: 1,
            producers: 1,
            partitions: 1,
            skew: 0.0,
            readers: 0,
            reading: Reading::Polling,
            duplicates: 0.0,
            acknowledge: Acknowledge::Written,
            window: Window::Mapped,
            pace: Pace::Closed,
        }
    }

    /// The same workload with idempotence off: what its cost is compared with.
    #[must_use]
    pub fn without_idempotence(&self) -> Self {
        Self { idempotence: Idempotence::Off, producers: self.threads, duplicates: 0.0, ..self.clone() }
    }

    /// Refuses what cannot be measured.
    ///
    /// # Errors
    /// The first axis that is out of its range, or two that exclude each other.
    pub fn check(&self) -> Result<(), WorkloadError> {
        let within = |axis, value: usize, max| match value {
            0 => Err(WorkloadError::Zero { axis }),
            value if value > max => Err(WorkloadError::AboveLimit { axis, value, limit: max }),
            _ => Ok(()),
        };
        within("batch", self.batch, BATCH_MAX)?;
        within("threads", self.threads, THREADS_MAX)?;
        within("producers", self.producers, PRODUCERS_MAX)?;
        within("partitions", self.partitions, PARTITIONS_MAX)?;
        within("bytes of a batch", self.batch_bytes_max(), BATCH_BYTES_MAX)?;
        if !(0.0..1.0).contains(&self.duplicates) {
            return Err(WorkloadError::Duplicates(self.duplicates));
        }
        if let Pace::Open { rate_per_second } = self.pace
            && !(rate_per_second > 0.0 && rate_per_second <= RATE_MAX)
        {
            return Err(WorkloadError::Rate(rate_per_second));
        }
        if !(0.0..=SKEW_MAX).contains(&self.skew) {
            return Err(WorkloadError::Skew(self.skew));
        }
        if self.skew > 0.0 {
            within("producers times partitions under a skew", self.producers * self.partitions, SKEWED_MAX)?;
        }
        if self.readers > 0 {
            within("readers of all partitions", self.readers.saturating_mul(self.partitions), THREADS_MAX)?;
        }
        if self.idempotence == Idempotence::Off {
            if self.duplicates > 0.0 {
                return Err(WorkloadError::DuplicatesWithoutIdempotence(self.duplicates));
            }
        } else if self.producers < self.threads {
            return Err(WorkloadError::FewerProducersThanThreads { producers: self.producers, threads: self.threads });
        }
        if self.idempotence == Idempotence::Session {
            within("producers of sessions", self.producers, SESSIONS_MAX)?;
        }
        Ok(())
    }

    /// Refuses what readers that follow appends cannot measure.
    pub(crate) fn check_readers(&self) -> Result<(), WorkloadError> {
        if self.readers == 0 {
            return Ok(());
        }
        let durable = self.pace == Pace::Closed && self.acknowledge == Acknowledge::Durable;
        if durable || self.partitions != self.threads {
            return Err(WorkloadError::Readers { threads: self.threads, partitions: self.partitions });
        }
        if self.duplicates > 0.0 {
            return Err(WorkloadError::ReadersOfDuplicates(self.duplicates));
        }
        Ok(())
    }

    /// Refuses readers beside what nobody follows.
    pub(crate) fn check_no_readers(&self) -> Result<(), WorkloadError> {
        match self.readers {
            0 => Ok(()),
            _ => Err(WorkloadError::Readers { threads: self.threads, partitions: self.partitions }),
        }
    }

    fn batch_bytes_max(&self) -> usize {
        self.payloads.longest().saturating_mul(self.batch).max(1)
    }

    /// A name for files and partitions: letters, digits and dashes.
    #[must_use]
    pub fn label(&self) -> String {
        let mut label =
            format!("{}-{}b-batch{}-threads{}", self.idempotence, self.payloads.mean_bytes(), self.batch, self.threads);
        if self.payloads.mix().is_some() {
            label += "-mix";
        }
        if self.idempotence != Idempotence::Off {
            label += &format!("-producers{}", self.producers);
        }
        if self.partitions > 1 {
            label += &format!("-partitions{}", self.partitions);
        }
        if self.skew > 0.0 {
            label += &format!("-skew{}", (self.skew * 100.0).round());
        }
        if self.readers > 0 {
            label += &format!("-readers{}", self.readers);
            if self.reading != Reading::Polling {
                label += &format!("-{}", self.reading);
            }
        }
        if self.duplicates > 0.0 {
            label += &format!("-duplicates{}", (self.duplicates * 1e6).round());
        }
        if self.acknowledge != Acknowledge::Written {
            label += &format!("-{}", self.acknowledge);
        }
        if self.window != Window::Mapped {
            label += &format!("-{}", self.window);
        }
        if let Pace::Open { rate_per_second } = self.pace {
            label += &format!("-rate{rate_per_second:.0}");
        }
        label
    }
}

/// A value from outside, quoted so that an empty one can be seen.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload() -> Workload {
        Workload::new(Arc::new(Payloads::fixed(100)))
    }

    #[test]
    fn words_parse_to_what_they_name() {
        for idempotence in Idempotence::ALL {
            assert_eq!(idempotence.word().parse(), Ok(*idempotence));
        }
        assert!("byid".parse::<Idempotence>().is_err_and(|text| text.contains("by-id")));
    }

    #[test]
    fn impossible_workloads_name_the_value_and_the_limit() {
        let check = |workload: Workload, expected: &str| {
            let error = workload.check().expect_err("an error").to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(Workload { batch: 0, ..workload() }, "batch is 0");
        check(Workload { batch: 100_000, ..workload() }, "limit is 65536");
        check(Workload { batch: 60_000, ..workload() }, "bytes of a batch is 6000000");
        check(Workload { duplicates: 1.0, idempotence: Idempotence::ById, ..workload() }, "below 1");
        check(Workload { duplicates: 0.5, ..workload() }, "off recognises no duplicate");
        check(Workload { pace: Pace::Open { rate_per_second: 0.0 }, ..workload() }, "rate is 0");
        check(Workload { pace: Pace::Open { rate_per_second: f64::NAN }, ..workload() }, "rate is NaN");
        check(Workload { idempotence: Idempotence::ById, threads: 2, ..workload() }, "fewer than 2 threads");
        check(Workload { idempotence: Idempotence::Session, producers: 5_000, ..workload() }, "limit is 4096");
        check(Workload { skew: 5.0, ..workload() }, "skew is 5");
        let readers = Workload { readers: 1, partitions: 2, ..workload() };
        assert!(readers.check_readers().is_err_and(|error| error.to_string().contains("1 threads and 2 partitions")));
        assert_eq!(workload().check(), Ok(()));
    }

    #[test]
    fn labels_tell_workloads_apart() {
        let by_id = Workload { idempotence: Idempotence::ById, producers: 1024, duplicates: 0.01, ..workload() };
        assert_eq!(workload().label(), "off-100b-batch1-threads1");
        assert_eq!(by_id.label(), "by-id-100b-batch1-threads1-producers1024-duplicates10000");
        let durable = Workload { acknowledge: Acknowledge::Durable, window: Window::Direct, ..workload() };
        assert_eq!(durable.label(), "off-100b-batch1-threads1-durable-direct");
    }
}
