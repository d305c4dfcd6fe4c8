//! What can go wrong when something is read.

use std::{error::Error, fmt, io, path::PathBuf};

/// Why records could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum FetchError {
    /// The offset is below what is kept, or beyond what is visible.
    OutOfRange {
        /// The offset asked for.
        offset: u64,
        /// First offset that is kept.
        start: u64,
        /// Offset behind the last visible record.
        end: u64,
    },
    /// Retention has dropped what the reader was about to read. Seek to a later offset.
    Trimmed {
        /// The offset that came next.
        offset: u64,
        /// First offset that is kept.
        start: u64,
    },
    /// What the reader has read, or stands behind, was cut off the end of the partition since. Seek to an earlier offset.
    Truncated {
        /// The offset that came next.
        offset: u64,
        /// Where the partition was cut: the first offset that was given to other records, or will be.
        end: u64,
    },
    /// A frame's bytes do not agree with its checksum, or are not a frame.
    Corrupt {
        /// The segment file.
        path: PathBuf,
        /// Byte of the frame in the file.
        at: u64,
        /// Offset of the record that should be there.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The log is closed and everything in it was read: nothing will come any more.
    Closed,
    /// The system refused an operation.
    Io {
        /// The segment file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl fmt::Display for FetchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { offset, start, end } => {
                write!(formatter, "offset {offset} is out of range: {start} is the first, {end} comes next")
            }
            Self::Trimmed { offset, start } => {
                write!(formatter, "offset {offset} is no longer kept: {start} is the first")
            }
            Self::Corrupt { path, at, offset, reason } => {
                write!(formatter, "{} is corrupt at byte {at}, offset {offset}: {reason}", path.display())
            }
            Self::Truncated { offset, end } => {
                write!(formatter, "offset {offset} was cut off: the partition was truncated to end at {end}")
            }
            Self::Closed => formatter.write_str("the log is closed, and everything in it was read"),
            Self::Io { path, source } => write!(formatter, "cannot read {}: {source}", path.display()),
        }
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
