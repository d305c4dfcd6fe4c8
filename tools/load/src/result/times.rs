//! Times in a result: percentiles, and what each second holds.

use serde::Serialize;

/// How long the device takes to make one written block durable.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Flushes {
    /// Half of the flushes took at most this.
    pub p50: u64,
    /// All but one in a hundred.
    pub p99: u64,
    /// How many were measured.
    pub samples: u64,
}

/// Percentiles of a histogram, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p9999: Option<u64>,
    pub max: u64,
}

/// One second of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Second {
    /// Of an open loop.
    Latency(PerSecond),
    /// Of a sustained run.
    Sustained(SustainedSecond),
}

/// One second of a sustained run, and the system's memory at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct SustainedSecond {
    pub second: f64,
    /// Payload bytes appended.
    pub bytes: u64,
    /// Payload bytes that became durable.
    pub durable_bytes: u64,
    pub resident_bytes: u64,
    pub dirty_bytes: u64,
    pub writeback_bytes: u64,
}

/// One second of an open loop; latencies in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PerSecond {
    pub repeat: usize,
    pub second: f64,
    pub appends: u64,
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}
