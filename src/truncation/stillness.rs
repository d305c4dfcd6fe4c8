//! What a cut waits for before it is made, so that nothing of it can fail for what others do: the segments before it are
//! sealed, commits with records here are settled, there is room in the ledger, and the tail is held with a segment behind it.

use super::{Place, TruncateError, Which, is_unsettled};
use crate::{
    core::{Core, Source},
    error::OpenError,
    ledger::{Decided, Ledger},
    partition::{PartitionState, append::Cursor},
    segment::tail::{Held, Tail},
    sync::Arc,
};
use std::{io, sync::atomic::Ordering, time::Duration};

impl Core {
    /// Seals all that is full before the segment that is cut: upkeep looks no further back than to what is sealed.
    pub(super) fn seal_before(&self, partition: &PartitionState, place: &Place) -> Result<(), TruncateError> {
        let sealed = partition.seal_what_is_full_before(place.kept.number(), self.clock.now_ms());
        sealed.map_err(|error| self.sealing_failed(partition, error))
    }

    /// Sees to it that something stands for what was dropped before the cut. It does, unless a crash has come between a
    /// snapshot and the last of the segments that were dropped for it: the others go first then.
    pub(super) fn refuse_to_forget(&self, partition: &PartitionState, position: u64) -> Result<(), TruncateError> {
        if !partition.outlives_a_cut(position) {
            let dropped = partition.drop_what_need_not_be_kept(self.clock.now_ms());
            dropped.map_err(|error| self.sealing_failed(partition, error))?;
        }
        if partition.outlives_a_cut(position.max(partition.chain.start_position())) {
            return Ok(());
        }
        let why = format!("no snapshot before position {position} stands for what was dropped before it");
        let path = partition.directory.clone();
        Err(TruncateError::Io { doing: "cut", path, source: io::Error::other(why) })
    }

    /// Holds the newest tail, and sees to it that a segment stands ready behind. By whoever has the committer's role: the
    /// preparer waits for the device where appenders outrun it, so what there is goes there first.
    pub(super) fn hold(&self, partition: &Arc<PartitionState>, cursor: &mut Cursor) -> Result<Held, TruncateError> {
        let source = Source { core: self, partition };
        // Others may fill segments faster than this comes to them.
        let held = loop {
            if cursor.is_full() {
                if !cursor.at().has_next() {
                    self.flush_behind_role(std::slice::from_ref(partition))?;
                }
                cursor.step(&source)?;
                continue;
            }
            match Tail::hold(cursor.at()) {
                Some(held) => break held,
                None => *cursor = Cursor::new(Arc::clone(cursor.at())),
            }
        };
        if held.next().is_none() {
            self.flush_behind_role(std::slice::from_ref(partition))?;
            source.prepare_until(|| held.next().is_some())?;
        }
        Ok(held)
    }

    /// Makes durable what is visible now, by whoever has the committer's role. What could not be begun has left all as it is.
    pub(super) fn flush_behind_role(&self, partitions: &[Arc<PartitionState>]) -> Result<(), TruncateError> {
        match self.committer.flush(partitions, self.clock.now_ms()) {
            Ok(_) => Ok(()),
            Err((doing, error)) => Err(self.refused_or_poisoned(&self.directory, doing, error)),
        }
    }

    /// Waits for a segment of the ledger, if groups are to be taken back: once the cut is made, that must not fail for want of
    /// room.
    pub(super) fn make_room_for_groups(
        &self,
        ledger: &Ledger,
        partition: &PartitionState,
        which: Which,
    ) -> Result<(), TruncateError> {
        let (Which::From(end) | Which::Beyond(end) | Which::All(end)) = which;
        let is_beyond = |offset: &u64| *offset > end;
        let beyond = ledger.groups.values().any(|group| group.offsets.get(&partition.number).is_some_and(is_beyond));
        if let Some((own, _)) = ledger.own.as_ref().filter(|_| beyond) {
            let tail = own.chain.newest_tail();
            own.wish(1);
            let prepared = Source { core: self, partition: own }.prepare_until(|| tail.has_next());
            own.unwish(1);
            prepared?;
        }
        Ok(())
    }

    /// Waits until every commit with records in a partition is durable, and marked there.
    pub(super) fn settle_all_of(&self, partition: &Arc<PartitionState>) -> Result<(), TruncateError> {
        let newest = {
            let ledger = self.ledger();
            ledger.decided.iter().rev().find(|decided| decided.is_unsettled_in(partition)).map(|decided| decided.offset)
        };
        if let Some(offset) = newest {
            self.wait_entry_durable(offset, Duration::MAX)?;
            self.settle(&mut self.ledger(), true);
        }
        self.flush_markers(|marked, position| self.flush_up_to(marked, position))?;
        Ok(())
    }

    /// Makes markers durable, with what does that up to a position: of a commit that was made of what is about to be cut off,
    /// they are what tells that it was there.
    fn flush_markers<E>(&self, flush: impl Fn(&Arc<PartitionState>, u64) -> Result<(), E>) -> Result<(), E> {
        for partition in self.all_partitions() {
            let marked = partition.marked.load(Ordering::Relaxed);
            // No marker is at 0: there is none.
            if marked > 0 && marked >= partition.durable.position() {
                flush(&partition, marked)?;
            }
        }
        Ok(())
    }

    /// The same for commits that were made since, by whoever has the committer's role: those that find no room for their mark
    /// are left.
    pub(super) fn settle_behind_role(
        &self,
        ledger: &mut Ledger,
        partition: &Arc<PartitionState>,
    ) -> Result<(), TruncateError> {
        if ledger.own.is_none() {
            return Ok(());
        }
        if is_unsettled(ledger, partition) {
            self.settle_now(ledger)?;
        }
        // Also of those that others have settled since markers were flushed.
        self.flush_markers(|marked, _| self.flush_behind_role(std::slice::from_ref(marked)))
    }

    fn settle_now(&self, ledger: &mut Ledger) -> Result<(), TruncateError> {
        let mut needed: Vec<_> = ledger.own.iter().map(|(own, _)| Arc::clone(own)).collect();
        for (partition, _) in ledger.decided.iter().flat_map(Decided::needs) {
            if !needed.iter().any(|one| Arc::ptr_eq(one, partition)) {
                needed.push(Arc::clone(partition));
            }
        }
        self.flush_behind_role(&needed)?;
        self.settle(ledger, false);
        Ok(())
    }

    /// As of upkeep's, a flush that has failed here is not tried again.
    fn sealing_failed(&self, partition: &PartitionState, error: OpenError) -> TruncateError {
        let is_failed_flush = error.is_failed_flush();
        match error {
            OpenError::Io { doing, source, .. } if is_failed_flush => self.poisoned_by(doing, source),
            OpenError::Io { doing, path, source } => TruncateError::Io { doing, path, source },
            other => {
                let (path, source) = (partition.directory.clone(), io::Error::other(other.to_string()));
                TruncateError::Io { doing: "seal a segment of", path, source }
            }
        }
    }
}
