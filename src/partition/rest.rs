//! What a partition gives back when nobody appends to it any more.
//!
//! ```text
//! idle      nothing was appended for as long as the options say: what stands ready is given back, and what waits to be used
//!           again; the segment in use stays. The first append after that asks for more again, through upkeep
//! at rest   beyond as many idle partitions as the options allow, the ones that were idle for longest: the segment in use is
//!           ended too, cut to the blocks that hold frames, and unmapped. Nothing is left in memory but what it is, and no
//!           file is open. The next append waits for a new segment, as small as a new partition's
//! ```

use super::state::{PartitionState, locked};
use crate::{
    error::{OpenError, SEAL, io_at},
    format::segment_header::SealReason,
    segment::{backing::Spare, file::Segment},
};
use std::{
    fs,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// How often what stands ready is given back behind the same segment in use. Each time leaves a tail in the chain until that
/// segment is full, and a file is made for nothing.
const GIVEN_BACK_MAX: u32 = 8;

/// What upkeep has seen of a partition's appends.
#[derive(Default)]
pub(crate) struct Activity {
    /// Position up to which space was claimed.
    claimed: u64,
    /// When that was seen first.
    since_ms: u64,
    /// What stood ready was given back since.
    is_idle: bool,
    /// Number of the segment in use, and how often what stood ready behind it was given back.
    in_use: u64,
    given_back: u32,
}

impl PartitionState {
    /// Looks how long nobody has appended for, and gives up what an idle partition need not have. Says whether it is idle,
    /// and since when.
    pub(crate) fn look_for_idleness(&self, now_ms: u64) -> Option<u64> {
        let after = self.options.idle_after?;
        // Not while a cut counts on what stands ready.
        let _tending = locked(&self.tending);
        let claimed = self.chain.claimed_position();
        let mut activity = locked(&self.activity);
        if activity.since_ms == 0 || activity.claimed != claimed {
            let was_idle = std::mem::take(&mut activity.is_idle);
            (activity.claimed, activity.since_ms) = (claimed, now_ms.max(1));
            if was_idle {
                self.wants_segment.store(true, Ordering::Release);
            }
            return None;
        }
        if Duration::from_millis(now_ms.saturating_sub(activity.since_ms)) < after {
            return None;
        }
        let in_use = self.chain.newest_tail().shape().number;
        if activity.in_use != in_use {
            (activity.in_use, activity.given_back) = (in_use, 0);
        }
        if !activity.is_idle && activity.given_back < GIVEN_BACK_MAX && self.give_back_what_is_ready().is_ok() {
            activity.is_idle = true;
            activity.given_back += 1;
        }
        Some(activity.since_ms)
    }

    /// Whether somebody appends again to a partition that was idle, and segments are to be prepared.
    pub(crate) fn asks_for_segments(&self) -> bool {
        self.wants_segment.load(Ordering::Relaxed)
    }

    /// Removes the segments that stand ready, and those that wait to be used again.
    fn give_back_what_is_ready(&self) -> Result<(), OpenError> {
        // Before the names are free again: the preparer would make new files under them.
        let _turn = locked(&self.turn);
        let mut result = Ok(());
        for ready in self.chain.withdraw_ready() {
            let path = ready.path();
            result = result.and(fs::remove_file(&path).map_err(io_at("remove", path)));
        }
        for Spare { path, .. } in self.chain.take_spares() {
            result = result.and(fs::remove_file(&path).map_err(io_at("remove", path)));
        }
        result
    }

    /// Ends the segment in use of an idle partition. Whether nothing of it is appended to any more: a frame that is not
    /// published, or not durable yet in the direct window, is waited for until the next time.
    pub(crate) fn go_to_rest(&self) -> Result<bool, OpenError> {
        let _tending = locked(&self.tending);
        // Nobody moves the mark of one that is at rest.
        if self.options.interval().is_some() && self.dirty_bytes() > 0 {
            return Ok(false);
        }
        self.give_back_what_is_ready()?;
        for segment in self.chain.unsealed() {
            if !self.end_early(&segment)? {
                return Ok(false);
            }
        }
        self.is_rested.store(true, Ordering::Release);
        Ok(self.chain.is_at_rest())
    }

    /// Seals a segment behind its last frame.
    fn end_early(&self, segment: &Arc<Segment>) -> Result<bool, OpenError> {
        let (Some(tail), Some(base_offset)) = (segment.tail(), segment.base_offset()) else { return Ok(true) };
        segment.rename_to_used().map_err(io_at("rename", segment.path()))?;
        tail.close();
        let Some(end) = tail.ended_at() else { return Ok(false) };
        if !segment.is_full_and_indexed().map_err(io_at("map", segment.path()))? {
            return Ok(false);
        }
        let position = segment.shape().position(end.units);
        if segment.is_direct() && self.durable.position() < position {
            return Ok(false);
        }
        let durable = self.durable.position().min(position);
        let latest_ms = segment.latest_ms().map_err(io_at("map", segment.path()))?;
        let sealed = segment.write_seal(end, base_offset, latest_ms, durable, SealReason::Closed);
        sealed.map_err(io_at(SEAL, segment.path()))?;
        if segment.is_direct() {
            self.follow(segment);
        }
        self.hand_over_to_file(segment);
        Ok(true)
    }
}
