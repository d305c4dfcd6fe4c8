//! The committer's role, as a log's threads take it: one that waits for its own record, or the log's own thread for tasks
//! that wait and for what nobody waits for.

use crate::{
    committer::FlushKind,
    core::Core,
    error::DurableError,
    names::Content,
    options::Window,
    partition::PartitionState,
    raw::limit::LimitReached,
    turns::{OPEN_FRAME_PAUSE, Waited},
};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    thread,
    time::Duration,
};

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
        let cuts = partition.durable.cuts();
        let cut_at = || partition.durable.cut_since(cuts).filter(|end| offset >= *end);
        let round = || self.round(Some(partition));
        let waited =
            self.committer.turns.wait(partition, offset, timeout, round, || self.try_settle(), || cut_at().is_some());
        if let Some(end) = cut_at() {
            return Err(DurableError::Truncated { offset, end });
        }
        match waited {
            Waited::Durable => Ok(true),
            Waited::TimedOut => Ok(false),
            Waited::Failed => self.committer.poison().map_or(Ok(false), Err),
        }
    }

    /// Makes a partition durable beyond a position, where something visible begins.
    pub(crate) fn flush_up_to(&self, partition: &Arc<PartitionState>, position: u64) -> Result<(), DurableError> {
        let is_durable = || partition.durable.position() > position;
        loop {
            if let Poll::Ready(ended) = self.committer.look(is_durable) {
                return ended;
            }
            let has_role = self.committer.turns.take_role();
            let moved = has_role && self.round(Some(partition));
            if has_role {
                self.committer.turns.hand_over(false);
            }
            // What was padding when the position was looked up is cut off where the partition has gone to rest since.
            let end = partition.chain.visible_end().map_or(u64::MAX, |end| end.position);
            if end <= partition.durable.position() {
                return Ok(());
            }
            if !moved {
                thread::sleep(OPEN_FRAME_PAUSE);
            }
        }
    }

    /// One round of the committer's own thread, if nobody else is at it.
    pub(crate) fn commit_in_background(&self) {
        if self.committer.turns.take_role() {
            let moved = self.round(None);
            self.committer.turns.hand_over(false);
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
        let was_poisoned = committer.is_poisoned();
        let moved = committer.turns.round(|| {
            let partitions = self.partitions_of_round(asked_by);
            match committer.flush(&partitions, self.clock.now_ms()) {
                // A file could not be opened, and can be later. No flush has failed, and no mark has moved.
                Err((_, error)) if LimitReached::of(&error).is_some() => Ok(false),
                done => done,
            }
        });
        if committer.is_poisoned() && !was_poisoned {
            self.tell_of_failure();
        }
        if committer.is_poisoned() {
            self.end_appending();
        }
        moved
    }

    /// Ends acknowledgement and appending: a write or a flush has failed.
    pub(crate) fn poison(&self, doing: &'static str, error: io::Error) {
        self.committer.turns.fail((doing, error));
        self.tell_of_failure();
        self.end_appending();
    }

    #[cold]
    fn tell_of_failure(&self) {
        event!(ERROR, why = ?self.committer.poison(), "nothing more is appended or acknowledged until the log is opened again");
    }

    fn end_appending(&self) {
        for partition in self.all_partitions() {
            partition.chain.close_for_good();
        }
    }

    /// In the direct window a round serves every partition, since one flush does. In the mapped one it serves those that
    /// are waited for, unless the log flushes by itself: a flush there stalls whoever appends.
    fn partitions_of_round(&self, asked_by: Option<&Arc<PartitionState>>) -> Vec<Arc<PartitionState>> {
        let everyone = self.options.flushes_by_itself();
        let mut partitions = match everyone {
            true => self.awake_partitions(),
            false => Vec::new(),
        };
        partitions.retain(|partition| partition.content() != Content::Registrations);
        let is_among = |partition: &&Arc<PartitionState>| everyone && partition.is_awake.load(Ordering::Acquire);
        partitions.extend(asked_by.filter(|partition| !is_among(partition)).cloned());
        for waited in self.committer.turns.role().partitions().filter(|partition| !is_among(partition)) {
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
