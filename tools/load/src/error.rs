//! What can go wrong in a run: each one clear line.

use std::fmt;
use std::io;
use std::path::PathBuf;

use oncelog::delivery::DeliveryError;
use oncelog::{
    AppendError, CloseError, DurableError, FetchError, OpenError, PartitionError, RegisterError, TransactionError,
};

use crate::payload::PayloadError;
use crate::verify::VerifyError;
use crate::workload::WorkloadError;

/// A run that was given up.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The workload cannot be measured.
    Workload(WorkloadError),
    /// The payload file gives nothing.
    Payload(PayloadError),
    /// The system refused something.
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        source: io::Error,
    },
    /// The data directory holds something already.
    NotEmpty(PathBuf),
    /// The file system has less room than the run needs.
    Room {
        /// Where.
        dir: PathBuf,
        /// Bytes the run needs at one time.
        needed: u64,
        /// Bytes there are.
        available: u64,
    },
    /// A segment holds too few frames for rotations to be measured.
    Segment {
        /// Bytes of the largest frame.
        frame_bytes: u64,
        /// Bytes of a segment.
        segment_bytes: u64,
    },
    /// The log could not be opened.
    Open(OpenError),
    /// A partition could not be opened.
    Partition(PartitionError),
    /// A producer could not be registered.
    Register(RegisterError),
    /// An append failed.
    Append(AppendError),
    /// A record did not become durable.
    Durable(DurableError),
    /// An append was answered with something that the workload cannot have caused.
    Answer(String),
    /// Clients and broker did what none of a cell's faults can cause.
    Experiment(String),
    /// A read failed.
    Fetch(FetchError),
    /// A client of a broker has stopped.
    Delivery(DeliveryError),
    /// A transaction did not come to its end.
    Transaction(TransactionError),
    /// The log could not be closed.
    Close(CloseError),
    /// What was read is not what was appended.
    Verify(VerifyError),
    /// A thread of the run panicked.
    Panicked,
}

impl LoadError {
    /// A reader found other bytes than were appended, or bytes that the log itself takes for damaged.
    pub(crate) fn is_about_contents(&self) -> bool {
        matches!(self, Self::Verify(_) | Self::Fetch(_))
    }

    /// For `map_err`: says what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(error) => error.fmt(f),
            Self::Payload(error) => error.fmt(f),
            Self::Io { what, source } => write!(f, "{what}: {source}"),
            Self::NotEmpty(dir) => write!(f, "{} is not empty: a run needs a directory of its own", dir.display()),
            Self::Room { dir, needed, available } => write!(
                f,
                "{} has room for {} MiB: the run needs {} MiB at one time",
                dir.display(),
                available >> 20,
                needed.div_ceil(1 << 20)
            ),
            Self::Segment { frame_bytes, segment_bytes } => {
                write!(f, "a frame of {frame_bytes} bytes is more than a quarter of a segment of {segment_bytes} bytes")
            }
            Self::Open(error) => write!(f, "the log cannot be opened: {error}"),
            Self::Partition(error) => write!(f, "the partition cannot be opened: {error}"),
            Self::Register(error) => write!(f, "the producer cannot be registered: {error}"),
            Self::Append(error) => write!(f, "an append failed: {error}"),
            Self::Durable(error) => write!(f, "a record did not become durable: {error}"),
            Self::Answer(answer) => write!(f, "an append was answered with {answer}, which this workload cannot cause"),
            Self::Experiment(what) => write!(f, "no fault of this cell can cause it: {what}"),
            Self::Fetch(error) => write!(f, "a read failed: {error}"),
            Self::Delivery(error) => write!(f, "a client has stopped: {error}"),
            Self::Transaction(error) => write!(f, "a transaction failed: {error}"),
            Self::Close(error) => write!(f, "the log cannot be closed: {error}"),
            Self::Verify(error) => write!(f, "what was read is not what was appended: {error}"),
            Self::Panicked => f.write_str("a thread of the run panicked"),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Workload(error) => Some(error),
            Self::Payload(error) => Some(error),
            Self::Io { source, .. } => Some(source),
            Self::Open(error) => Some(error),
            Self::Partition(error) => Some(error),
            Self::Register(error) => Some(error),
            Self::Append(error) => Some(error),
            Self::Durable(error) => Some(error),
            Self::Fetch(error) => Some(error),
            Self::Delivery(error) => Some(error),
            Self::Transaction(error) => Some(error),
            Self::Close(error) => Some(error),
            Self::Verify(error) => Some(error),
            Self::NotEmpty(_)
            | Self::Room { .. }
            | Self::Segment { .. }
            | Self::Answer(_)
            | Self::Experiment(_)
            | Self::Panicked => None,
        }
    }
}

macro_rules! from {
    ($($error:ident => $variant:ident),+) => {
        $(impl From<$error> for LoadError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })+
    };
}

from! {
    WorkloadError => Workload, PayloadError => Payload, OpenError => Open, PartitionError => Partition,
    RegisterError => Register, AppendError => Append, DurableError => Durable, FetchError => Fetch, CloseError => Close,
    DeliveryError => Delivery, TransactionError => Transaction, VerifyError => Verify
}
