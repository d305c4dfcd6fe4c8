//! Errors, one type per verb. Each says what was asked, and the limit or the state that refused it.

mod durable;
mod transaction;
mod truncation;

pub use durable::DurableError;
pub use transaction::TransactionError;
pub use truncation::TruncateError;

use crate::{
    ids::{Mode, ProducerId},
    raw::limit::{self, LimitReached},
};
use std::{error::Error, fmt, io, path::PathBuf};

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

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
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

impl<E> From<AppendError> for FillError<E> {
    fn from(error: AppendError) -> Self {
        Self::Append(error)
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
