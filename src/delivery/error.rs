//! What can go wrong between a client and its broker.

use super::LinkError;
use crate::answer::Answer;
use std::{error::Error, fmt, time::Duration};

/// Why a client stops. After one of these a producer takes no more messages: another one, opened under the same name,
/// learns from the broker how far this one has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryError {
    /// The link carries nothing any more.
    Link(LinkError),
    /// A request was not answered in all the time it was given; what became of it is not known.
    GaveUp {
        /// How often it was sent.
        attempts: u32,
        /// For how long.
        after: Duration,
    },
    /// A younger producer of the same name has taken over.
    Fenced {
        /// Its epoch.
        epoch: u32,
    },
    /// Another consumer has joined the group since: this one commits no more.
    Replaced {
        /// The generation of that one.
        generation: u64,
    },
    /// A transaction was aborted again and again: by a broker that stops, or because it takes longer than it may.
    Aborted {
        /// The last one that was tried.
        transaction: u64,
    },
    /// An exactly-once consumer was asked to commit: its position is kept with its results, and not by itself.
    CommitsWithResults,
    /// The broker cannot do it, now or later. A message that was refused is not stored.
    Refused {
        /// In the broker's words.
        reason: String,
    },
    /// The broker gave an answer that this producer cannot have caused, so something else uses its name or its log.
    Unexpected {
        /// The sequence that was sent.
        sequence: u64,
        /// The answer.
        answer: Answer,
    },
    /// The broker expects a sequence that it has acknowledged before: what survives of its log is older than that.
    Forgotten {
        /// The sequence that it expects.
        expected: u64,
        /// The first one that it has not acknowledged.
        acknowledged: u64,
    },
    /// Retention has dropped messages that were not read.
    Trimmed {
        /// The first of them.
        offset: u64,
        /// The first one that is kept.
        start: u64,
    },
    /// An option is impossible.
    Option {
        /// Which.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: String,
    },
}

impl DeliveryError {
    pub(super) fn option(option: &'static str, value: impl ToString, allowed: impl Into<String>) -> Self {
        Self::Option { option, value: value.to_string(), allowed: allowed.into() }
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(error) => error.fmt(formatter),
            Self::GaveUp { attempts, after } => {
                write!(
                    formatter,
                    "no reply to {attempts} attempts in {after:?}: whether the last was heeded is not known"
                )
            }
            Self::Fenced { epoch } => {
                write!(formatter, "a younger producer of this name has taken over: epoch {epoch}")
            }
            Self::Replaced { generation } => {
                write!(formatter, "another consumer has joined this group since: generation {generation}")
            }
            Self::Aborted { transaction } => {
                write!(formatter, "transaction {transaction} was aborted, and so were those tried before it")
            }
            Self::CommitsWithResults => formatter
                .write_str("an exactly-once consumer's position is kept with its results: there is none to commit"),
            Self::Refused { reason } => write!(formatter, "the broker refuses: {reason}"),
            Self::Unexpected { sequence, answer } => write!(
                formatter,
                "sequence {sequence} was answered with {answer:?}, which this producer alone cannot have caused"
            ),
            Self::Forgotten { expected, acknowledged } => write!(
                formatter,
                "the broker expects sequence {expected}, and has acknowledged all before {acknowledged}: it has lost some"
            ),
            Self::Trimmed { offset, start } => {
                write!(formatter, "retention has dropped the messages from {offset} to before {start} unread")
            }
            Self::Option { option, value, allowed } => {
                write!(formatter, "{option} is {value}, and must be {allowed}")
            }
        }
    }
}

impl Error for DeliveryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Link(error) => Some(error),
            _ => None,
        }
    }
}

impl From<LinkError> for DeliveryError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}
