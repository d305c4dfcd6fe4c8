//! Workloads that cannot be measured: each names the value and the limit.

use std::fmt;

use super::{RATE_MAX, SKEW_MAX};

/// A workload that cannot be measured.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WorkloadError {
    /// An axis that must be at least one.
    Zero {
        /// Which axis.
        axis: &'static str,
    },
    /// An axis above its limit.
    AboveLimit {
        /// Which axis.
        axis: &'static str,
        /// What was asked for.
        value: usize,
        /// The most there can be.
        limit: usize,
    },
    /// A share outside of 0 to 1.
    Duplicates(f64),
    /// A rate that no schedule can have.
    Rate(f64),
    /// An exponent that makes no sense.
    Skew(f64),
    /// Readers of partitions whose offsets do not tell when a record was due.
    Readers {
        /// Threads asked for.
        threads: usize,
        /// Partitions asked for.
        partitions: usize,
    },
    /// Retries take no offset, so that those after them do not tell when a record was due.
    ReadersOfDuplicates(f64),
    /// Retries that nothing would recognise.
    DuplicatesWithoutIdempotence(f64),
    /// Each thread drives producers of its own.
    FewerProducersThanThreads {
        /// Producers asked for.
        producers: usize,
        /// Threads asked for.
        threads: usize,
    },
    /// A cell without messages, or with more than fit into memory.
    Messages {
        /// What was asked for.
        value: u64,
        /// The most there can be.
        limit: u64,
    },
    /// A share of requests that no fault can strike.
    FaultRate {
        /// What was asked for.
        value: f64,
        /// The most there can be.
        limit: f64,
    },
}

impl fmt::Display for WorkloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero { axis } => write!(f, "{axis} is 0: at least 1 is needed"),
            Self::AboveLimit { axis, value, limit } => write!(f, "{axis} is {value}: the limit is {limit}"),
            Self::Duplicates(share) => {
                write!(f, "the share of duplicates is {share}: it must be at least 0 and below 1")
            }
            Self::Rate(rate) => write!(f, "the rate is {rate} a second: it must be above 0 and at most {RATE_MAX:.0}"),
            Self::Skew(skew) => write!(f, "the skew is {skew}: it must be at least 0 and at most {SKEW_MAX}"),
            Self::Readers { threads, partitions } => write!(
                f,
                "readers beside {threads} threads and {partitions} partitions: each thread needs a partition of its own, and \
                 a schedule or appends back to back that wait for no device"
            ),
            Self::ReadersOfDuplicates(share) => write!(
                f,
                "readers beside a share of duplicates of {share}: retries take no offset, leave out one of the two"
            ),
            Self::DuplicatesWithoutIdempotence(share) => {
                write!(f, "a share of duplicates of {share} needs idempotence: off recognises no duplicate")
            }
            Self::Messages { value, limit } => write!(f, "messages is {value}: it must be from 1 to {limit}"),
            Self::FaultRate { value, limit } => {
                write!(f, "the rate of faults is {value}: it must be above 0 and at most {limit}")
            }
            Self::FewerProducersThanThreads { producers, threads } => {
                write!(
                    f,
                    "{producers} producers are fewer than {threads} threads: each thread drives producers of its own"
                )
            }
        }
    }
}

impl std::error::Error for WorkloadError {}
