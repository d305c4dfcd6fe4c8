//! Segments made ready ahead of the appenders, by one thread.

use super::state::{PartitionState, locked};
use crate::{
    format::{frame::TAG_BITS, segment_header::SegmentHeader},
    raw::{limit::LimitReached, sys},
    segment::file::Segment,
};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

impl PartitionState {
    /// Bytes of the segment that is prepared next: twice the last one's, up to what the options say.
    pub(crate) fn next_segment_bytes(&self) -> u64 {
        if self.is_rested.load(Ordering::Acquire) {
            return self.options.first_segment_bytes;
        }
        let doubled = self.chain.end().last_bytes.map_or(0, |bytes| bytes.saturating_mul(2));
        doubled.clamp(self.options.first_segment_bytes, self.options.segment_bytes)
    }

    /// Prepares one segment if fewer stand ready than should. Returns whether still more are wanted.
    pub(crate) fn prepare_one(&self, now_ms: u64) -> bool {
        let _turn = locked(&self.turn);
        let end = self.chain.end();
        let wanted = self.segments_wanted(&end) as usize;
        if end.ready >= wanted {
            // Under the lock, so that whoever is about to sleep is woken too.
            drop(locked(&self.preparation));
            self.prepared.notify_all();
            return false;
        }
        let failure = match self.prepare(&end, now_ms) {
            Ok(segment) => {
                self.chain.push(Arc::new(segment));
                self.is_rested.store(false, Ordering::Release);
                Self::count(&self.counters.prepared);
                None
            }
            Err(failure) => {
                event!(WARN, partition = %self.name, error = %failure, "no segment could be prepared");
                Some(failure)
            }
        };
        let more = failure.is_none() && end.ready + 1 < wanted;
        {
            let mut preparation = locked(&self.preparation);
            preparation.tries += 1;
            preparation.failure = failure;
        }
        self.prepared.notify_all();
        if more {
            self.wants_segment.store(true, Ordering::Release);
        }
        more
    }

    fn prepare(&self, end: &super::chain::ChainEnd, now_ms: u64) -> io::Result<Segment> {
        let bytes = self.next_segment_bytes();
        let header = SegmentHeader {
            log: self.identity.log,
            partition: self.number,
            number: end.next_number,
            bytes,
            base_position: end.next_position,
            // Never 0, which is what untouched memory holds.
            tag: (sys::random_u64()? >> (64 - TAG_BITS)).max(1),
            salt: sys::random_u64()?,
            prepared_ms: now_ms,
        };
        let spare = self.chain.take_spare(bytes);
        if spare.is_some() {
            Self::count(&self.counters.recycled);
        }
        match Segment::prepare(&self.directory, header, spare, &self.options) {
            // What is sealed and mapped is not to keep anybody from appending.
            Err(error) if LimitReached::of(&error).is_some_and(|reached| reached.is_of_mappings()) => {
                self.chain.give_up_mappings();
                Segment::prepare(&self.directory, header, None, &self.options)
            }
            prepared => prepared,
        }
    }
}
