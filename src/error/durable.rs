//! Why something is not durable.

use super::AppendError;
use std::{error::Error, fmt, io};

/// Why a record is not durable and will not be.
#[derive(Debug)]
#[non_exhaustive]
pub enum DurableError {
    /// A write or a flush has failed since the log was opened: what was not durable then is not acknowledged any more.
    /// Open the log again to see what is there.
    Poisoned {
        /// What failed.
        doing: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The record was cut off the end of its partition, or what was to come at its offset was waited for, when the partition
    /// was truncated.
    Truncated {
        /// The offset that was waited for.
        offset: u64,
        /// Where the partition was cut.
        end: u64,
    },
}

impl fmt::Display for DurableError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poisoned { doing, source } => {
                write!(
                    formatter,
                    "the log failed to {doing}; nothing more becomes durable until it is reopened: {source}"
                )
            }
            Self::Truncated { offset, end } => {
                write!(formatter, "offset {offset} was cut off: the partition was truncated to end at {end}")
            }
        }
    }
}

impl Error for DurableError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Poisoned { source, .. } => Some(source),
            Self::Truncated { .. } => None,
        }
    }
}

impl From<DurableError> for AppendError {
    /// For those who wait for what no cut takes away.
    fn from(error: DurableError) -> Self {
        match error {
            DurableError::Poisoned { doing, source } => Self::Poisoned { doing, source },
            DurableError::Truncated { .. } => {
                let source = io::Error::other(error.to_string());
                Self::Poisoned { doing: "wait for a record", source }
            }
        }
    }
}
