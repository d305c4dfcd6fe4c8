//! When each append of an open loop is due, and how much a repeat appends.

use crate::stage::{Extent, frame_bytes};
use crate::tail::SentAt;
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
        Self::of_rate(rate_per_second, seconds, workload.threads)
    }

    pub(super) fn of_rate(rate_per_second: f64, seconds: f64, threads: usize) -> Self {
        let warm_up_seconds = WARM_UP_SECONDS.min(seconds / 5.0);
        Self { rate_per_second, warm_up_seconds, recorded_seconds: seconds, threads }
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

    /// When each slot of a thread that is recorded is due, for whoever reads what was appended in it.
    pub(super) fn when_due(self, thread: usize) -> SentAt {
        let warm_up = self.slots(self.warm_up_seconds);
        Box::new(move |slot| (slot >= warm_up).then(|| self.due(thread, slot)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_spread_evenly_over_time_and_threads() {
        let plan = Plan::of_rate(1_000.0, 1.0, 2);
        assert_eq!(
            [plan.due(0, 0), plan.due(1, 0), plan.due(0, 1), plan.due(1, 1)],
            [0, 1_000_000, 2_000_000, 3_000_000]
        );
        assert_eq!(plan.slots(1.0), 500);
        // No rounding adds up: after an hour the schedule is still where it should be.
        assert_eq!(Plan::of_rate(3.0, 1.0, 1).due(0, 3 * 3600), 3_600_000_000_000);
    }
}
