//! How much one block of a workload appends, and how many bytes that takes.

use oncelog::format::{FRAME_ALIGN, FRAME_HEADER_BYTES, PRODUCER_BYTES, SEGMENT_HEADER_BYTES};

use crate::lane::Lane;
use crate::turns::TURNS_EACH;
use crate::workload::{Idempotence, Workload};

/// A figure runs over more rotations than this.
pub(crate) const ROTATIONS_MIN: u64 = 16;
/// Prepared beyond what a block fills, so that the preparer has nothing to do while it is timed.
const SPARE_SEGMENTS: u64 = 3;
/// Retries that append nothing fill no segment; a block makes at most this many times its appends.
const CALLS_MAX: f64 = 20.0;
/// Each lane goes through this many appends before the clock starts, so that code and stack are in memory.
const WARM_UP: usize = 1_000;

/// How much one block appends, and into what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extent {
    /// Bytes of each segment.
    pub segment_bytes: u64,
    /// Segments that a block fills, of all partitions together.
    pub segments: u64,
    /// Bytes of one frame, in the mean.
    pub frame_bytes: f64,
    /// Calls of each thread in a block.
    pub calls: u64,
    /// Calls of all threads that warm up.
    pub warm_up: u64,
}

impl Extent {
    /// The block of a workload: enough to fill `segments` of these.
    #[must_use]
    pub fn of(workload: &Workload, segment_bytes: u64, segments: u64) -> Self {
        let frame_bytes = frame_bytes(workload);
        let per_segment = ((segment_bytes - SEGMENT_HEADER_BYTES as u64) as f64 / frame_bytes).floor().max(1.0);
        let appends = per_segment * segments as f64;
        let calls = appends / (1.0 - workload.duplicates).max(1.0 / CALLS_MAX);
        let often = if workload.skew > 0.0 { TURNS_EACH + 1 } else { 1 };
        let round = workload.producers.max(workload.threads) * workload.partitions * often;
        Self {
            segment_bytes,
            segments,
            frame_bytes,
            calls: (calls / workload.threads as f64).ceil() as u64,
            warm_up: round.max(WARM_UP * workload.threads) as u64,
        }
    }

    /// Calls of one lane that warm up: at least one for each of its producers in each of its partitions.
    pub(super) fn warm_up_of(lane: &Lane<'_>) -> u64 {
        lane.round().max(WARM_UP) as u64
    }

    /// Segments that stand ready in each partition before a block.
    pub(crate) fn prepared(&self, partitions: usize) -> u64 {
        self.segments.div_ceil(partitions as u64) + SPARE_SEGMENTS
    }

    /// Bytes that one stage holds at one time.
    #[must_use]
    pub fn bytes(&self, partitions: usize) -> u64 {
        let warm_up = self.warm_up as f64 * self.frame_bytes;
        (self.prepared(partitions) + 1) * partitions as u64 * self.segment_bytes + warm_up as u64
    }
}

/// Bytes of a frame of this workload, in the mean.
pub(crate) fn frame_bytes(workload: &Workload) -> f64 {
    let header = header_bytes(workload.idempotence);
    let ring = workload.payloads.ring(workload.batch);
    let frames = ring.chunks(workload.batch).map(|records| {
        let lengths = records.iter().map(|record| record.len());
        let body: usize = if records.len() == 1 { lengths.sum() } else { lengths.map(|length| 4 + length).sum() };
        (header + body).next_multiple_of(FRAME_ALIGN)
    });
    frames.sum::<usize>() as f64 / (ring.len() / workload.batch) as f64
}

/// Bytes of a frame before its body.
pub(crate) fn header_bytes(idempotence: Idempotence) -> usize {
    match idempotence {
        // The mutex keeps its sequences beside the log, not in it.
        Idempotence::Off | Idempotence::Mutex => FRAME_HEADER_BYTES,
        Idempotence::Session | Idempotence::ById => FRAME_HEADER_BYTES + PRODUCER_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::payload::Payloads;

    #[test]
    fn a_block_fills_its_segments_whatever_the_share_of_retries() {
        let plain = Workload::new(Arc::new(Payloads::fixed(100)));
        let extent = Extent::of(&plain, 8 << 20, 17);
        assert_eq!(extent.frame_bytes, 136.0);
        assert_eq!(extent.calls, (((8 << 20) - 4096) / 136) * 17);
        let half = Workload { idempotence: Idempotence::ById, duplicates: 0.5, ..plain };
        let halved = Extent::of(&half, 8 << 20, 17);
        assert_eq!(halved.frame_bytes, 160.0);
        assert_eq!(halved.calls, (((8 << 20) - 4096) / 160) * 34);
    }

    #[test]
    fn a_batch_carries_a_length_word_per_record() {
        let workload = Workload { batch: 100, ..Workload::new(Arc::new(Payloads::fixed(100))) };
        assert_eq!(frame_bytes(&workload), 32.0 + 10_400.0);
    }
}
