//! What a subcommand ends with when it does not succeed: one line, and a status that scripts can tell apart.

use std::fmt;
use std::process::ExitCode;

use oncelog_load::LoadError;
use oncelog_report::ReportError;

/// Why a subcommand gave up.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for is impossible, whatever the state of the machine.
    Usage(String),
    /// What was asked for did not work out.
    Failed(String),
}

impl Failure {
    pub(crate) fn status(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Failed(_) => ExitCode::FAILURE,
        }
    }

    /// For `map_err`: says what was tried.
    pub(crate) fn failed<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> Self {
        move |error| Self::Failed(format!("{what}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(text) | Self::Failed(text)) = self;
        f.write_str(text)
    }
}

impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Self {
        let text = error.to_string();
        match error {
            ReportError::NoRun(_) | ReportError::Schema { .. } => Self::Usage(text),
            _ => Self::Failed(text),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        let text = error.to_string();
        match error {
            LoadError::Workload(_) | LoadError::Payload(_) | LoadError::NotEmpty(_) | LoadError::Segment { .. } => {
                Self::Usage(text)
            }
            _ => Self::Failed(text),
        }
    }
}
