//! When each append of an open loop is due, and how much a repeat appends.

use crate::stage::{Extent, frame_bytes};
use crate::workload::Workload;

/// Of each repeat this much goes by before anything is recorded, but not more than a fifth of it.
const WARM_UP_SECONDS: f64 = 0.1;
/// Segments are prepared ahead up to this much; a longer repeat takes the rest as it comes.
pub(super) const PREPARED_BYTES_MAX: u64 = 1 << 30;

/// The schedule of one repeat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) rate_per_second: f64,
    pub(super) warm_up_seconds: f64,
    pub(super) recorded_seconds: f64,
    pub(super) threads: usize,
}

impl Plan {
    pub(super) fn new(workload: &Workload, rate_per_second: f64, seconds: f64) -> Self {
        let warm_up_seconds = WARM_UP_SECONDS.min(seconds / 5.0);
        Self { rate_per_second, warm_up_seconds, recorded_seconds: seconds, threads: workload.threads }
    }

    pub(super) fn slots(&self, seconds: f64) -> u64 {
        ((self.rate_per_second / self.threads as f64 * seconds) as u64).max(1)
    }

    /// Bytes that one repeat appends, if it keeps up.
    pub(super) fn bytes(&self, workload: &Workload) -> u64 {
        let slots = self.slots(self.warm_up_seconds + self.recorded_seconds) * self.threads as u64;
        (slots as f64 * (1.0 - workload.duplicates) * frame_bytes(workload)) as u64
    }

    pub(super) fn extent(&self, workload: &Workload, segment_bytes: u64) -> Extent {
        let segments = self.bytes(workload).min(PREPARED_BYTES_MAX).div_ceil(segment_bytes);
        Extent::of(workload, segment_bytes, segments.max(1))
    }

    /// When the slot of a thread is due, in nanoseconds since the start.
    #[inline]
    pub(super) fn due(&self, thread: usize, slot: u64) -> u64 {
        let turn = slot as f64 * self.threads as f64 + thread as f64;
        (turn * 1e9 / self.rate_per_second) as u64
    }
}
