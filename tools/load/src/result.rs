//! What a run holds: the object in `run.json`, its field names part of the interface.
//!
//! A field that does not apply is absent. One append is one call, however many records it carries.

mod figure;
mod times;

use serde::Serialize;

pub use self::figure::{Figure, Kind, SegmentsFrom};
pub use self::times::{Flushes, PerSecond, Percentiles, Second, SustainedSecond};

/// Counts up when a field changes its meaning or goes away; new fields may come without.
pub const SCHEMA_VERSION: u32 = 1;

/// A finished run.
#[derive(Clone, Debug, Serialize)]
pub struct RunResult {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The run itself.
    pub run: RunFacts,
    /// The machine.
    pub host: HostFacts,
    /// The device under the data directory.
    pub device: DeviceFacts,
    /// What the load generator itself costs there.
    pub generator: GeneratorFacts,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// It ended before all of its rows were measured.
    #[serde(skip_serializing_if = "is_false")]
    pub interrupted: bool,
    /// What is to be known of the whole run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What was run, when, and from which source.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names say it, and measuring lists them")]
pub struct RunFacts {
    pub id: String,
    pub started: String,
    pub ended: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dirty: Option<bool>,
    pub crate_version: String,
    pub rustc: String,
    pub target_features: Vec<String>,
    pub profile: String,
    pub command: String,
    pub seed: u64,
}

/// The machine that ran it.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names say it, and measuring lists them")]
pub struct HostFacts {
    pub cpu: String,
    pub cores: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads_per_core: Option<u64>,
    pub memory_bytes: u64,
    pub kernel: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<String>,
    pub clock_source: String,
    /// What one reading of the clock costs.
    pub clock_ns: f64,
    /// What memory takes that no cache holds, from one thread: the limit of every large append.
    pub memory_copy_bytes_per_second: f64,
    pub load_before: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub huge_pages: Option<String>,
    pub file_system: String,
    pub mount_options: String,
}

/// The load generator without a log: how late it sends, and what recording an event takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GeneratorFacts {
    /// Events a second of its empty schedule.
    pub rate_per_second: f64,
    /// Sending minus schedule.
    pub send_delay_ns: Percentiles,
    /// Nanoseconds that one event takes to record.
    pub record_ns: f64,
}

/// The device that the data directory lies on.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names say it, and measuring lists them")]
pub struct DeviceFacts {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_cache: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flush_ns: Option<Flushes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequential_write_bytes_per_second: Option<f64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}
