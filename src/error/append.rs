//! What can go wrong when something is appended.

use super::FetchError;
use crate::ids::{Mode, ProducerId};
use std::{error::Error, fmt, io, path::PathBuf};

/// Why a record or batch was not appended. Nothing was written, and no sequence is used.
#[derive(Debug)]
#[non_exhaustive]
pub enum AppendError {
    /// The record or batch is larger than a frame of this partition can hold.
    TooLarge {
        /// Bytes as they would be stored, each record of a batch with the 4 bytes of its length.
        bytes: usize,
        /// Most bytes that fit.
        limit: usize,
    },
    /// The batch has no records.
    EmptyBatch,
    /// The sequences of the batch would pass the largest there is.
    SequenceOverflow {
        /// The first sequence.
        sequence: u64,
        /// Records in the batch.
        records: usize,
    },
    /// There is no room for another segment. Appending goes on when room is made.
    NoSpace {
        /// The partition's directory.
        path: PathBuf,
        /// Bytes of the segment that was to be prepared.
        bytes: u64,
        /// The system's answer.
        source: io::Error,
    },
    /// The next segment could not be prepared, for another reason than room.
    Prepare {
        /// The partition's directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A write or a flush has failed since the log was opened. Appending is over until it is opened again.
    Poisoned {
        /// What failed.
        doing: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The producer appends through a session now, or by id now, and this call is of the other kind.
    WrongMode {
        /// The producer.
        producer: ProducerId,
        /// How it was registered last.
        registered: Mode,
    },
    /// The partition and the session belong to different logs.
    OtherLog {
        /// The partition's name.
        partition: String,
    },
    /// Too many handles append to this partition.
    TooManyAppenders {
        /// Most handles.
        limit: u64,
    },
    /// A retry's original was found, and could not be read.
    Original(FetchError),
}

/// Why a record was not filled in place.
#[derive(Debug)]
#[non_exhaustive]
pub enum FillError<E> {
    /// The record could not be appended; the closure did not run.
    Append(AppendError),
    /// The closure gave up. Its offset is taken and stays empty; no sequence is used.
    Fill(E),
}

impl fmt::Display for AppendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes, limit } => {
                write!(formatter, "{bytes} bytes are too many for one frame: at most {limit}")
            }
            Self::EmptyBatch => formatter.write_str("the batch has no records: at least 1"),
            Self::SequenceOverflow { sequence, records } => {
                write!(
                    formatter,
                    "{records} records from sequence {sequence} on would pass the largest sequence {}",
                    u64::MAX
                )
            }
            Self::NoSpace { path, bytes, source } => {
                write!(formatter, "no room for a segment of {bytes} bytes in {}: {source}", path.display())
            }
            Self::Prepare { path, source } => {
                write!(formatter, "cannot prepare a segment in {}: {source}", path.display())
            }
            Self::Poisoned { doing, source } => {
                write!(formatter, "the log failed to {doing} and takes no more records until it is reopened: {source}")
            }
            Self::WrongMode { producer, registered } => {
                write!(
                    formatter,
                    "producer {producer} is registered as {registered:?}, and this call is of the other mode"
                )
            }
            Self::OtherLog { partition } => {
                write!(formatter, "partition {partition:?} belongs to another log than the session")
            }
            Self::TooManyAppenders { limit } => {
                write!(formatter, "too many handles append to this partition: at most {limit}")
            }
            Self::Original(error) => write!(formatter, "cannot read a retry's original: {error}"),
        }
    }
}

impl<E: fmt::Display> fmt::Display for FillError<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append(error) => error.fmt(formatter),
            Self::Fill(error) => write!(formatter, "the record was given up while it was filled: {error}"),
        }
    }
}

impl Error for AppendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoSpace { source, .. } | Self::Prepare { source, .. } | Self::Poisoned { source, .. } => Some(source),
            Self::Original(error) => Some(error),
            _ => None,
        }
    }
}

impl<E: Error + 'static> Error for FillError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Append(error) => error.source(),
            Self::Fill(error) => Some(error),
        }
    }
}

impl<E> From<AppendError> for FillError<E> {
    fn from(error: AppendError) -> Self {
        Self::Append(error)
    }
}
