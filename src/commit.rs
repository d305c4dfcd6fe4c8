//! The committer's role, as a log's threads take it: one that waits for its own record, or the log's own thread for tasks
//! that wait and for what nobody waits for.

use crate::{
    committer::{FlushKind, Turn},
    core::Core,
    error::DurableError,
    names::Content,
    options::Window,
    partition::PartitionState,
};
use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Pause of a committer that finds nothing to write while somebody waits: a frame before the one waited for is open.
const OPEN_FRAME_PAUSE: Duration = Duration::from_micros(50);
/// Pause of the log's own committer when it was roused and found nothing to write.
const NOTHING_TO_FLUSH_PAUSE: Duration = Duration::from_millis(1);

impl Core {
    /// Waits until `offset` is durable; false if the time is over first.
    pub(crate) fn wait_durable(
        &self,
        partition: &Arc<PartitionState>,
        offset: u64,
        timeout: Duration,
    ) -> Result<bool, DurableError> {
        let until = Instant::now().checked_add(timeout);
        let cuts = partition.durable.cuts();
        let covered = || partition.durable.offset() > offset;
        let committer = &self.committer;
        let mut seat = None;
        loop {
            if let Some(end) = partition.durable.cut_since(cuts).filter(|end| offset >= *end) {
                committer.leave(seat);
                return Err(DurableError::Truncated { offset, end });
            }
            if covered() {
                committer.leave(seat);
                return Ok(true);
            }
            if let Some(error) = committer.poison() {
                committer.leave(seat);
                return Err(error);
            }
            let left = until.map_or(Duration::from_secs(3600), |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                committer.leave(seat);
                return Ok(covered());
            }
            if let Turn::Wait { round, value, pause } = committer.enter(partition, offset, &mut seat) {
                // A mark that moved before the entry was made has not woken this thread.
                if !covered() {
                    committer.sleep(round, value, pause.map_or(left, |pause| pause.min(left)));
                }
                continue;
            }
            let moved = self.round(Some(partition));
            committer.hand_over(true);
            self.try_settle();
            if !moved && !covered() && !committer.is_poisoned() {
                thread::sleep(OPEN_FRAME_PAUSE.min(left));
            }
        }
    }

    /// Makes a partition durable beyond a position, where something visible begins.
    pub(crate) fn flush_up_to(&self, partition: &Arc<PartitionState>, position: u64) -> Result<(), DurableError> {
        while partition.durable.position() <= position {
            if let Some(error) = self.committer.poison() {
                return Err(error);
            }
            let has_role = self.committer.take_role();
            let moved = has_role && self.round(Some(partition));
            if has_role {
                self.committer.hand_over(false);
            }
            if !moved {
                thread::sleep(OPEN_FRAME_PAUSE);
            }
        }
        Ok(())
    }

    /// One round of the committer's own thread, if nobody else is at it.
    pub(crate) fn commit_in_background(&self) {
        if self.committer.take_role() {
            let moved = self.round(None);
            self.committer.hand_over(false);
            self.try_settle();
            if !moved {
                // What a task waits for may not have been appended yet.
                thread::sleep(NOTHING_TO_FLUSH_PAUSE);
            }
        }
    }

    /// One round: whether any mark moved. Only called by whoever has the role.
    fn round(&self, asked_by: Option<&Arc<PartitionState>>) -> bool {
        let committer = &self.committer;
        if committer.is_poisoned() {
            return false;
        }
        let begun = Instant::now();
        let partitions = self.partitions_of_round(asked_by);
        let done = committer.flush(&partitions, self.clock.now_ms());
        committer.role().last_round = begun.elapsed();
        match done {
            Ok(moved) => moved,
            Err((doing, error)) => {
                self.poison(doing, error);
                false
            }
        }
    }

    /// Ends acknowledgement and appending: a write or a flush has failed.
    pub(crate) fn poison(&self, doing: &'static str, error: io::Error) {
        self.committer.poison_with(doing, error);
        for partition in self.all_partitions() {
            partition.chain.close_for_good();
        }
    }

    /// In the direct window a round serves every partition, since one flush does. In the mapped one it serves those that
    /// are waited for, unless the log flushes by itself: a flush there stalls whoever appends.
    fn partitions_of_round(&self, asked_by: Option<&Arc<PartitionState>>) -> Vec<Arc<PartitionState>> {
        let everyone = self.options.flushes_by_itself();
        if everyone {
            return self
                .all_partitions()
                .into_iter()
                .filter(|partition| partition.content() != Content::Registrations)
                .collect();
        }
        let mut partitions: Vec<Arc<PartitionState>> = asked_by.into_iter().cloned().collect();
        for waited in self.committer.role().partitions() {
            if !partitions.iter().any(|partition| Arc::ptr_eq(partition, waited)) {
                partitions.push(Arc::clone(waited));
            }
        }
        partitions
    }

    /// How rounds make what they write durable.
    pub(crate) fn flush_kind(&self) -> FlushKind {
        match (self.options.window, self.committer.one_flush_serves_all) {
            (Window::Mapped, _) => FlushKind::RangeOfEachFile,
            (Window::Direct, true) => FlushKind::OneForAll,
            (Window::Direct, false) => FlushKind::EachFile,
        }
    }
}
