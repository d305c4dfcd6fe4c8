//! Why a broker does not do what it is asked.

use crate::{
    delivery::Outcome,
    error::{AppendError, DurableError, RegisterError, TransactionError},
};
use std::fmt;

/// Why a request is not done.
pub(super) enum Refusal {
    /// In words.
    Told { retriable: bool, reason: String },
    /// A client has a case for it.
    Case(Outcome),
}

impl Refusal {
    /// The same request may succeed later: once there is room, or once the log is reopened.
    pub(super) fn for_now(reason: impl fmt::Display) -> Self {
        Self::Told { retriable: true, reason: reason.to_string() }
    }

    pub(super) fn for_good(reason: impl fmt::Display) -> Self {
        Self::Told { retriable: false, reason: reason.to_string() }
    }

    pub(super) fn into_outcome(self) -> Outcome {
        match self {
            Self::Told { retriable, reason } => Outcome::Refused { retriable, reason },
            Self::Case(outcome) => outcome,
        }
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::NoSpace { .. } | AppendError::Prepare { .. } | AppendError::Poisoned { .. } => {
                Self::for_now(error)
            }
            _ => Self::for_good(error),
        }
    }
}

impl From<RegisterError> for Refusal {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Append(error) => error.into(),
            RegisterError::Sync { .. } => Self::for_now(error),
            _ => Self::for_good(error),
        }
    }
}

impl From<DurableError> for Refusal {
    fn from(error: DurableError) -> Self {
        Self::for_now(error)
    }
}

impl From<TransactionError> for Refusal {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Fenced { epoch } => Self::Case(Outcome::Fenced { epoch }),
            TransactionError::StaleGeneration { current, .. } => Self::Case(Outcome::Replaced { generation: current }),
            TransactionError::NotOpen { .. } | TransactionError::Aborted { .. } | TransactionError::TimedOut { .. } => {
                Self::Case(Outcome::Aborted)
            }
            TransactionError::Append(error) => error.into(),
            TransactionError::Durable(error) => error.into(),
            _ => Self::for_good(error),
        }
    }
}
