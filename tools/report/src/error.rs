//! Results that cannot be read, or not together: each one clear line.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why there is no report.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReportError {
    /// A file or a folder cannot be read or written.
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A folder without a run in it.
    NoRun(PathBuf),
    /// A file that is not what a run holds.
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where it stops making sense.
        source: serde_json::Error,
    },
    /// A run of another version of the fields.
    Schema {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The one that is understood.
        expected: u32,
    },
}

impl ReportError {
    /// For `map_err`: says what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, source } => write!(f, "{what}: {source}"),
            Self::NoRun(dir) => {
                write!(f, "{} holds no run: neither a run.json nor folders with one", dir.display())
            }
            Self::Malformed { path, source } => write!(f, "{} is no result of a run: {source}", path.display()),
            Self::Schema { path, found, expected } => write!(
                f,
                "{} has schema version {found} where {expected} is read: report runs of one version together, with the \
                 command of their commit",
                path.display()
            ),
        }
    }
}

impl std::error::Error for ReportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Malformed { source, .. } => Some(source),
            Self::NoRun(_) | Self::Schema { .. } => None,
        }
    }
}
