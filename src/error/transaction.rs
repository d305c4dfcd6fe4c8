//! What can go wrong with a transaction, or with a group's offsets.

use super::{AppendError, FetchError};
use crate::ids::{Mode, ProducerId};
use std::{error::Error, fmt, time::Duration};

/// Why a transaction was not begun, added to, committed or aborted, or an offset not committed. Nothing has changed, unless
/// the variant says so.
#[derive(Debug)]
#[non_exhaustive]
pub enum TransactionError {
    /// No live producer has this id.
    UnknownProducer {
        /// The id.
        producer: ProducerId,
    },
    /// The producer was registered again: this epoch begins and commits nothing, and what it had open was aborted.
    Fenced {
        /// The epoch that counts now.
        epoch: u32,
    },
    /// The epoch is above all that registration has given.
    EpochNotIssued {
        /// The epoch that counts now.
        current: u32,
    },
    /// The producer appends through a session, or by id, and this call is of the other kind.
    WrongMode {
        /// The producer.
        producer: ProducerId,
        /// How it was registered last.
        registered: Mode,
    },
    /// Another transaction of the producer is open.
    AlreadyOpen {
        /// Its number.
        open: u64,
    },
    /// The number was used before: a transaction's number is above all earlier ones of its producer.
    NumberUsed {
        /// The number.
        transaction: u64,
        /// The latest that was used.
        last: u64,
    },
    /// There is nothing to end or add to: no transaction of this number was begun, or others have come since.
    NotOpen {
        /// The number.
        transaction: u64,
        /// The producer's latest; 0 if it has had none.
        last: u64,
    },
    /// The transaction was committed, and can't be aborted.
    Committed {
        /// Its number.
        transaction: u64,
    },
    /// The transaction was aborted, and can't be committed.
    Aborted {
        /// Its number.
        transaction: u64,
    },
    /// The transaction was open for longer than it may be: it was aborted, and its producer fenced.
    TimedOut {
        /// Its number.
        transaction: u64,
    },
    /// A time of zero, in which no transaction can be committed.
    Timeout {
        /// The time.
        timeout: Duration,
    },
    /// A newer generation of the group has taken over: this one commits no offsets. A transaction that holds some was
    /// aborted.
    StaleGeneration {
        /// The group's name.
        group: String,
        /// The generation that was to commit.
        generation: u64,
        /// The newest one.
        current: u64,
    },
    /// The offset is beyond the partition's end: nobody can have read up to there.
    BeyondEnd {
        /// The partition's name.
        partition: String,
        /// The offset.
        offset: u64,
        /// Offset behind the partition's last visible record.
        end: u64,
    },
    /// No group has this name's shape.
    GroupName {
        /// The name.
        name: String,
        /// What it breaks.
        rule: &'static str,
    },
    /// The partition, or the group, belongs to another log.
    OtherLog {
        /// Its name.
        name: String,
    },
    /// What had to be written was not. A transaction that was to be committed is still open; of one that was to be aborted
    /// the rest is done when there is room.
    Append(AppendError),
    /// What had to be made durable was not.
    Durable(super::DurableError),
    /// The transaction's own frames could not be read back.
    Read(FetchError),
}

impl fmt::Display for TransactionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownProducer { producer } => write!(formatter, "no live producer has the id {producer}"),
            Self::Fenced { epoch } => write!(formatter, "fenced: epoch {epoch} of the producer counts now"),
            Self::EpochNotIssued { current } => {
                write!(formatter, "the epoch was never given to the producer: its epoch is {current}")
            }
            Self::WrongMode { producer, registered } => {
                let how = match registered {
                    Mode::Session => "for a session",
                    Mode::ById => "by id",
                };
                write!(formatter, "producer {producer} is registered {how}, and this call is of the other kind")
            }
            Self::AlreadyOpen { open } => write!(formatter, "transaction {open} of the producer is open"),
            Self::NumberUsed { transaction, last } => {
                write!(formatter, "transaction number {transaction} is not above {last}, the producer's latest")
            }
            Self::NotOpen { transaction, last: 0 } => {
                write!(formatter, "transaction {transaction} is not open: the producer has begun none")
            }
            Self::NotOpen { transaction, last } => {
                write!(formatter, "transaction {transaction} is not open: the producer's latest is {last}")
            }
            Self::Committed { transaction } => write!(formatter, "transaction {transaction} was committed"),
            Self::Aborted { transaction } => write!(formatter, "transaction {transaction} was aborted"),
            Self::TimedOut { transaction } => {
                write!(
                    formatter,
                    "transaction {transaction} was open for too long: it was aborted, its producer fenced"
                )
            }
            Self::Timeout { timeout } => {
                write!(formatter, "a transaction's timeout is at least 1 ms, and {timeout:?} was given")
            }
            Self::StaleGeneration { group, generation, current } => write!(
                formatter,
                "generation {generation} of group {group:?} was replaced by {current}: it commits no offsets"
            ),
            Self::BeyondEnd { partition, offset, end } => {
                write!(formatter, "offset {offset} is beyond {end}, where partition {partition:?} ends")
            }
            Self::GroupName { name, rule } => write!(formatter, "no group can be called {name:?}: a name {rule}"),
            Self::OtherLog { name } => write!(formatter, "{name:?} belongs to another log"),
            Self::Append(error) => write!(formatter, "writing for a transaction: {error}"),
            Self::Durable(error) => error.fmt(formatter),
            Self::Read(error) => write!(formatter, "reading the end of a transaction: {error}"),
        }
    }
}

impl Error for TransactionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Append(error) => Some(error),
            Self::Durable(error) => Some(error),
            Self::Read(error) => Some(error),
            _ => None,
        }
    }
}

impl From<AppendError> for TransactionError {
    fn from(error: AppendError) -> Self {
        Self::Append(error)
    }
}

impl From<super::DurableError> for TransactionError {
    fn from(error: super::DurableError) -> Self {
        Self::Durable(error)
    }
}

impl From<FetchError> for TransactionError {
    fn from(error: FetchError) -> Self {
        Self::Read(error)
    }
}
