//! What can go wrong when the bounds of a partition are moved.

use super::{AppendError, DurableError, FetchError, RegisterError};
use std::{error::Error, fmt, io, path::PathBuf};

/// Why a partition was not truncated, purged or reset. Nothing has changed, unless the variant says so.
#[derive(Debug)]
#[non_exhaustive]
pub enum TruncateError {
    /// The offset is below what is kept, or beyond what is visible.
    OutOfRange {
        /// The offset asked for.
        offset: u64,
        /// First offset that is kept.
        start: u64,
        /// Offset behind the last visible record.
        end: u64,
    },
    /// No partition gets as far.
    Offset {
        /// The offset asked for.
        offset: u64,
        /// The largest possible.
        limit: u64,
    },
    /// What has to be written again behind the cut does not fit one segment: what is kept of a batch, the ends of transactions,
    /// the producers whose numbering has started again since.
    TooMuch {
        /// Bytes of it.
        bytes: u64,
        /// Most that fit.
        limit: u64,
    },
    /// Those who wrote beyond the cut could not be fenced.
    Fence(RegisterError),
    /// There is no room for a segment, or nothing is appended any more.
    Append(AppendError),
    /// What is kept, or the cut, could not be made durable. The log is poisoned; the next opening tells what counts.
    Durable(DurableError),
    /// What is to be cut off could not be read.
    Fetch(FetchError),
    /// The system refused an operation.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is done, and durable, but what was cut off could not be removed. The next opening does that.
    Remains {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl fmt::Display for TruncateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { offset, start, end } => {
                write!(formatter, "offset {offset} is out of range: {start} is the first, {end} comes next")
            }
            Self::Offset { offset, limit } => {
                write!(formatter, "offset {offset} is beyond what a partition can reach, which is {limit}")
            }
            Self::TooMuch { bytes, limit } => write!(
                formatter,
                "{bytes} bytes would have to be written again behind the cut, and at most {limit} fit one segment"
            ),
            Self::Fence(error) => write!(formatter, "cannot fence who wrote beyond: {error}"),
            Self::Append(error) => error.fmt(formatter),
            Self::Durable(error) => error.fmt(formatter),
            Self::Fetch(error) => error.fmt(formatter),
            Self::Io { doing, path, source } => write!(formatter, "cannot {doing} {}: {source}", path.display()),
            Self::Remains { path, source } => {
                write!(formatter, "it is done, but {} remains until the next opening: {source}", path.display())
            }
        }
    }
}

impl Error for TruncateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::OutOfRange { .. } | Self::Offset { .. } | Self::TooMuch { .. } => None,
            Self::Fence(error) => Some(error),
            Self::Append(error) => Some(error),
            Self::Durable(error) => Some(error),
            Self::Fetch(error) => Some(error),
            Self::Io { source, .. } | Self::Remains { source, .. } => Some(source),
        }
    }
}

impl From<AppendError> for TruncateError {
    fn from(error: AppendError) -> Self {
        Self::Append(error)
    }
}

impl From<DurableError> for TruncateError {
    fn from(error: DurableError) -> Self {
        Self::Durable(error)
    }
}

impl From<FetchError> for TruncateError {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

impl From<RegisterError> for TruncateError {
    fn from(error: RegisterError) -> Self {
        Self::Fence(error)
    }
}
