//! A run as `run.json` holds it, as far as charts and comparisons need it. Fields that are not known are passed over,
//! and those that are missing are absent: a later run may hold more.

use serde::Deserialize;

/// The version of the fields that is read.
pub const SCHEMA_VERSION: u32 = 1;

/// What `run.json` holds.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub struct Run {
    pub run: RunFacts,
    pub host: HostFacts,
    #[serde(default)]
    pub device: DeviceFacts,
    #[serde(default)]
    pub generator: Option<Generator>,
    #[serde(default)]
    pub figures: Vec<Figure>,
    /// Faults that were put between producers, log and consumers; of a run that tried them.
    #[serde(default)]
    pub delivery: Vec<Cell>,
    #[serde(default)]
    pub interrupted: bool,
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What was run, when, from which source.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub struct RunFacts {
    pub id: String,
    pub started: String,
    #[serde(default)]
    pub ended: String,
    #[serde(default)]
    pub commit: Option<String>,
    #[serde(default)]
    pub dirty: Option<bool>,
    #[serde(default)]
    pub rustc: String,
    #[serde(default)]
    pub target_features: Vec<String>,
    #[serde(default)]
    pub profile: String,
    #[serde(default)]
    pub command: String,
}

/// The machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub struct HostFacts {
    pub cpu: String,
    pub cores: u64,
    pub memory_bytes: u64,
    pub kernel: String,
    pub hypervisor: Option<String>,
    pub clock_source: String,
    pub clock_ns: f64,
    pub memory_copy_bytes_per_second: f64,
    pub load_before: f64,
    pub file_system: String,
    pub mount_options: String,
}

/// The device.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub struct DeviceFacts {
    pub name: String,
    pub write_cache: Option<String>,
    pub flush_ns: Option<Flushes>,
    pub sequential_write_bytes_per_second: Option<f64>,
}

/// What the load generator itself costs.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub struct Generator {
    pub rate_per_second: f64,
    pub send_delay_ns: Percentiles,
    pub record_ns: f64,
}

/// A median with its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub struct Flushes {
    pub p50: f64,
    pub p99: f64,
}

/// Repeats.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    #[serde(default)]
    pub lower_quarter: Option<f64>,
    #[serde(default)]
    pub upper_quarter: Option<f64>,
}

impl Spread {
    /// Where the middle half of the repeats lies; all of them, where a file does not say.
    #[must_use]
    pub fn middle(&self) -> (f64, f64) {
        (self.lower_quarter.unwrap_or(self.min), self.upper_quarter.unwrap_or(self.max))
    }
}

/// Percentiles of a histogram, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    #[serde(default)]
    pub p9999: Option<f64>,
    pub max: f64,
}

/// One second, of an open loop or of a sustained run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub struct Second {
    pub second: f64,
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
    pub bytes: Option<f64>,
    pub durable_bytes: Option<f64>,
    pub dirty_bytes: Option<f64>,
}

/// One delivery under one fault: what was sent against what was there in the end.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub struct Cell {
    pub delivery: String,
    pub fault: String,
    pub rate: f64,
    pub sent: u64,
    pub stored: u64,
    pub lost: u64,
    #[serde(alias = "duplicated")]
    pub doubled: u64,
    pub reordered: u64,
}

/// One figure: its keys, then its values.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub struct Figure {
    pub workload: String,
    pub idempotence: Option<String>,
    pub payload_bytes: Option<f64>,
    pub payload_file: Option<String>,
    pub payload_mix: Option<String>,
    pub batch: Option<u64>,
    pub threads: Option<u64>,
    pub producers: Option<u64>,
    pub partitions: Option<u64>,
    pub readers: Option<u64>,
    pub reading: Option<String>,
    pub skew: Option<f64>,
    pub duplicates: Option<f64>,
    pub acknowledge: Option<String>,
    pub window: Option<String>,
    #[serde(rename = "loop")]
    pub pace: Option<String>,
    pub rate_per_second: Option<f64>,
    pub verify: Option<String>,
    pub isolation: Option<String>,
    pub records_per_transaction: Option<u64>,
    pub partitions_per_transaction: Option<u64>,
    pub delivery: Option<String>,
    pub fault: Option<String>,
    pub rate: Option<f64>,

    pub repeats: Option<u64>,
    pub ns_per_append: Option<Spread>,
    pub ns_per_record: Option<Spread>,
    pub ns_per_message: Option<Spread>,
    pub messages_per_second: Option<Spread>,
    pub ratio_to_at_least_once: Option<Spread>,
    pub p99_ratio_to_at_least_once: Option<Spread>,
    pub appends_per_second: Option<Spread>,
    pub bytes_per_second: Option<Spread>,
    pub limit_ns_per_append: Option<Spread>,
    pub ratio_to_limit: Option<Spread>,
    pub ratio_to_off: Option<Spread>,
    pub latency_ns: Option<Percentiles>,
    pub service_ns: Option<Percentiles>,
    pub send_delay_ns: Option<Percentiles>,
    pub end_to_end_ns: Option<Percentiles>,
    pub baseline_ns: Option<Percentiles>,
    pub baseline_io_ns: Option<Percentiles>,
    pub at_rest_ns: Option<Percentiles>,
    pub ratio_to_baseline: Option<Spread>,
    pub ratio_to_at_rest: Option<Spread>,
    pub floor_ns: Option<Flushes>,
    pub ratio_to_floor: Option<Spread>,
    pub ratio_to_one_thread: Option<Spread>,
    pub device_bytes_per_second: Option<Spread>,
    pub ratio_to_device: Option<Spread>,
    pub log_bytes: Option<f64>,
    pub seconds: Option<f64>,
    pub seconds_min: Option<f64>,
    pub seconds_max: Option<f64>,
    pub saturated: Option<bool>,
    pub knee: Option<bool>,
    pub per_second: Vec<Second>,
    /// The names of the histogram files begin with this.
    pub histograms: Option<String>,
    pub verified: bool,
    pub notes: Vec<String>,
}
