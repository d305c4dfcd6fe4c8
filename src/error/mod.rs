//! Errors, one type per verb. Each says what was asked, and the limit or the state that refused it.

mod append;
mod durable;
mod fetch;
mod transaction;
mod truncation;

pub use append::{AppendError, FillError};
pub use durable::DurableError;
pub use fetch::FetchError;
pub use transaction::TransactionError;
pub use truncation::TruncateError;

use crate::{
    ids::ProducerId,
    raw::limit::{self, LimitReached},
};
use std::{error::Error, fmt, io, path::PathBuf};

/// What is done where something becomes durable, in [`OpenError::Io`]: where it fails, so has a flush.
pub(crate) const SYNC: &str = "sync";
/// The same, of the end of a segment.
pub(crate) const SEAL: &str = "seal";

/// Why a log could not be opened. Nothing that was stored has been changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another handle in this one, has the log open for writing.
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// An option is outside of what is possible.
    Option {
        /// The option's name.
        option: &'static str,
        /// The value that was given.
        value: u64,
        /// What is possible.
        allowed: String,
    },
    /// A file is not what it should be: it belongs to something else.
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file was written by a version of the format that this build does not know.
    Version {
        /// The file.
        path: PathBuf,
        /// The version it says.
        found: u32,
        /// The version that this build knows.
        known: u32,
    },
    /// Stored bytes contradict each other where no crash can explain it.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Byte in the file.
        at: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The system refused an operation.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Why a partition could not be opened or created.
#[derive(Debug)]
#[non_exhaustive]
pub enum PartitionError {
    /// The name is empty, too long, reserved, or holds a character other than letters, digits, `.`, `_` and `-`.
    Name {
        /// The name.
        name: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The partition's files could not be created.
    Create(OpenError),
}

/// Why a producer was not registered or closed.
#[derive(Debug)]
#[non_exhaustive]
pub enum RegisterError {
    /// The name is empty, too long, or holds a control character or a separator.
    Name {
        /// The name.
        name: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The table is full. Producers that are no longer needed must be closed first; none is ever forgotten by itself.
    Full {
        /// Live producers, all that the table holds.
        limit: u32,
    },
    /// No live producer has this id.
    Unknown {
        /// The id.
        producer: ProducerId,
    },
    /// The slot's epochs are used up.
    EpochsUsedUp {
        /// The producer's name.
        name: String,
    },
    /// The registration, or the fence of an elder handle, could not be written.
    Append(AppendError),
    /// The registration could not be made durable.
    Sync {
        /// The segment file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Why a log was not closed.
#[derive(Debug)]
#[non_exhaustive]
pub enum CloseError {
    /// Other handles of the log are alive: clones, partitions, appenders or sessions. It is closed when the last of them
    /// is dropped.
    InUse {
        /// How many.
        handles: usize,
    },
    /// The log could not be sealed. Nothing is lost: reopening does it.
    Seal(OpenError),
}

/// The same error once more: errors of the system can be told again by their number.
pub(crate) fn copy(error: &io::Error) -> io::Error {
    if let Some(limit) = LimitReached::of(error) {
        return io::Error::new(error.kind(), limit);
    }
    error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

pub(crate) fn io_at(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.into();
    move |source| OpenError::Io { doing, path, source: limit::named(source) }
}

impl OpenError {
    /// Whether a flush has failed: tried again it would succeed, with the pages dropped.
    pub(crate) fn is_failed_flush(&self) -> bool {
        matches!(self, Self::Io { doing: SYNC | SEAL, source, .. } if LimitReached::of(source).is_none())
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { path } => {
                write!(formatter, "the log is open elsewhere: another handle holds the lock {}", path.display())
            }
            Self::Option { option, value, allowed } => {
                write!(formatter, "option {option} is {value}, and must be {allowed}")
            }
            Self::Foreign { path, reason } => write!(formatter, "{} is not of this log: {reason}", path.display()),
            Self::Version { path, found, known } => {
                write!(formatter, "{} has format version {found}, and this build knows version {known}", path.display())
            }
            Self::Corrupt { path, at, reason } => {
                write!(formatter, "{} is corrupt at byte {at}: {reason}", path.display())
            }
            Self::Io { doing, path, source } => write!(formatter, "cannot {doing} {}: {source}", path.display()),
        }
    }
}

impl fmt::Display for PartitionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, rule } => write!(formatter, "partition name {name:?}: {rule}"),
            Self::Create(error) => error.fmt(formatter),
        }
    }
}

impl fmt::Display for RegisterError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, rule } => write!(formatter, "producer name {name:?}: {rule}"),
            Self::Full { limit } => {
                write!(formatter, "the table of producers is full: {limit} are live; close those no longer needed")
            }
            Self::Unknown { producer } => write!(formatter, "no live producer has the id {producer}"),
            Self::EpochsUsedUp { name } => {
                write!(formatter, "producer {name:?} has used all epochs up to {}", u32::MAX)
            }
            Self::Append(error) => write!(formatter, "cannot write the registration: {error}"),
            Self::Sync { path, source } => {
                write!(formatter, "cannot make the registration durable in {}: {source}", path.display())
            }
        }
    }
}

impl fmt::Display for CloseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { handles } => {
                write!(formatter, "the log has {handles} other handles alive: it closes with the last")
            }
            Self::Seal(error) => write!(formatter, "the log was not sealed, reopening will: {error}"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl Error for PartitionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Create(error) => error.source(),
            Self::Name { .. } => None,
        }
    }
}

impl Error for RegisterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Sync { source, .. } => Some(source),
            Self::Append(error) => Some(error),
            _ => None,
        }
    }
}

impl Error for CloseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Seal(error) => Some(error),
            Self::InUse { .. } => None,
        }
    }
}

impl From<AppendError> for RegisterError {
    fn from(error: AppendError) -> Self {
        Self::Append(error)
    }
}

impl From<OpenError> for PartitionError {
    fn from(error: OpenError) -> Self {
        Self::Create(error)
    }
}
