//! One row of the table: what is appended, by how many, and what an append waits for.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// What an append has reached when the call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// It is where the log's own reader would find it; nobody has asked the device for anything.
    NotSynced,
    /// It is on the device.
    Durable,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotSynced => "not synced",
            Self::Durable => "durable",
        })
    }
}

/// See the head of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Case {
    /// What an append waits for.
    pub level: Level,
    /// Bytes of a record.
    pub payload_bytes: usize,
    /// Records of one append.
    pub batch: usize,
    /// Threads that append.
    pub threads: usize,
}

impl Case {
    /// Bytes of payload in one append.
    pub fn bytes(&self) -> usize {
        self.payload_bytes * self.batch
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.payload_bytes {
            bytes if bytes % 1024 == 0 => write!(f, "{} KiB", bytes / 1024)?,
            bytes => write!(f, "{bytes} B")?,
        }
        match self.batch {
            1 => write!(f, ", one each")?,
            batch => write!(f, " x {batch}")?,
        }
        write!(f, ", {} thr", self.threads)
    }
}
