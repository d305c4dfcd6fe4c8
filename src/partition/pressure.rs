//! When the preparer waits instead of making one more segment.
//!
//! - Appenders outrun the device: what is not durable lies in memory, and would take more and more of it. They wait for a
//!   segment then, and go on as fast as the device does.
//! - Retention is about to give a segment back: waiting a moment for it is less work than a new one, all of whose blocks
//!   would have to be written once more.

use super::state::{PartitionState, locked};

/// Segments that may be undurable beyond those that stand ready: one is written while the next one is filled.
const SEGMENTS_UNDURABLE: u64 = 2;
/// Waits for a segment to be given back, of a millisecond each, before a new one is made all the same.
const SPARE_WAITS_MAX: u32 = 50;

impl PartitionState {
    /// Whether fewer segments stand ready than should.
    pub(crate) fn lacks_segments(&self) -> bool {
        let end = self.chain.end();
        end.ready < self.segments_wanted(&end) as usize
    }

    /// Whether so much is visible and not durable that no further segment is prepared until less is. Only in a log that
    /// flushes by itself; a frame that is not published holds nobody up, since nothing behind it can be flushed.
    pub(crate) fn outruns_the_device(&self) -> bool {
        let segments = u64::from(self.options.segments_ahead) + SEGMENTS_UNDURABLE;
        let most = (segments * self.options.segment_bytes).max(self.options.flush_bytes.unwrap_or(0));
        self.options.flushes_by_itself() && !self.is_internal() && self.dirty_bytes() >= most
    }

    /// Whether a used segment will be there in a moment. Says so for so long and not longer, and not again before one has
    /// come: a reader may hold them all.
    pub(crate) fn awaits_spare(&self) -> bool {
        let due = self.options.recycle
            && self.next_segment_bytes() == self.options.segment_bytes
            && !self.chain.has_spare()
            && self.drop_is_due_by_bytes();
        let mut preparation = locked(&self.preparation);
        if !due {
            preparation.waits_for_spare = 0;
            return false;
        }
        let waits = preparation.waits_for_spare < SPARE_WAITS_MAX;
        preparation.waits_for_spare += u32::from(waits);
        waits
    }
}
