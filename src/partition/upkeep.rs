//! What happens to segments behind the appenders, by one thread: renamed when begun, sealed when full, snapshots written,
//! dropped when they need not be kept.

use super::state::PartitionState;
use crate::{
    error::{OpenError, SEAL, SYNC, io_at},
    format::segment_header::SealReason,
    options::Window,
    segment::file::Segment,
};
use std::{fs, io, sync::Arc, time::Duration};

/// A segment is closed when it is this old, so that the milliseconds since its preparation fit a frame's 32 bits.
const AGE_MAX_MS: u64 = 1 << 31;

impl PartitionState {
    /// One round. What fails is tried again in the next; what an appender or a reader needs does not depend on it.
    ///
    /// # Errors
    /// A flush that has failed, which is not to be tried again.
    pub(crate) fn upkeep(&self, now_ms: u64) -> Result<(), OpenError> {
        let _tending = super::state::locked(&self.tending);
        // Nothing here may hold a segment by now: one that is dropped is used again only if nobody does. Before all else,
        // which takes its time: appenders may wait for what is given back.
        let dropped = self.drop_what_need_not_be_kept(now_ms);
        let named = self.sync_new_names();
        let sealed = self.seal_what_is_full(now_ms).and_then(|()| {
            self.snapshot_if_due()?;
            self.drop_what_need_not_be_kept(now_ms)
        });
        let mut failed = [dropped, named, sealed].into_iter().filter_map(Result::err);
        failed.find(OpenError::is_failed_flush).map_or(Ok(()), Err)
    }

    /// Where flushes are asked for, makes the names of new segments durable: here and not in their first flushes, which
    /// somebody waits for, and not by the preparer, which appenders wait for.
    fn sync_new_names(&self) -> Result<(), OpenError> {
        if self.options.flushes_by_itself() && !self.chain.without_durable_names().is_empty() {
            self.sync_names().map_err(io_at(SYNC, &self.directory))?;
        }
        Ok(())
    }

    fn seal_what_is_full(&self, now_ms: u64) -> Result<(), OpenError> {
        self.seal_what_is_full_before(u64::MAX, now_ms)
    }

    /// Seals what is full before the segment with that number, oldest first, as far as what was sealed before and what is
    /// durable let it.
    pub(crate) fn seal_what_is_full_before(&self, number: u64, now_ms: u64) -> Result<(), OpenError> {
        let mut sealed = Vec::new();
        let result = self.seal_each_that_is_full(number, now_ms, &mut sealed);
        // Only now that they are not held here any more, and one of them may be given up for the next.
        for segment in sealed.into_iter().filter_map(|number| self.chain.segment(number)) {
            segment.enter_residents();
        }
        result
    }

    /// Seals them, and tells the numbers of those that stay mapped.
    fn seal_each_that_is_full(&self, before: u64, now_ms: u64, sealed: &mut Vec<u64>) -> Result<(), OpenError> {
        for segment in self.chain.unsealed().iter().take_while(|segment| segment.number() < before) {
            segment.rename_to_used().map_err(io_at("rename", segment.path()))?;
            if now_ms.saturating_sub(segment.shape().prepared_ms) > AGE_MAX_MS
                && let Some(tail) = segment.tail()
            {
                tail.close();
            }
            // Memory of its own is kept until the file has all of it.
            let held_back = segment.is_direct() && self.durable.position() < segment.end_of_file();
            if held_back || !segment.is_full_and_indexed().map_err(io_at("map", segment.path()))? {
                break;
            }
            self.seal(segment, SealReason::Full)?;
            if segment.is_direct() {
                self.follow(segment);
                self.hand_over_to_file(segment);
            } else {
                sealed.push(segment.number());
            }
        }
        Ok(())
    }

    fn seal(&self, segment: &Segment, reason: SealReason) -> Result<(), OpenError> {
        let seal = || {
            let Some(base_offset) = segment.base_offset() else { return Ok(()) };
            segment.write_seal(segment.visible()?, base_offset, segment.latest_ms()?, self.durable.position(), reason)
        };
        seal().map_err(io_at(SEAL, segment.path()))?;
        event!(DEBUG, partition = %self.name, segment = segment.number(), "a segment was sealed");
        Ok(())
    }

    /// Puts the file's pages in the place of the memory that a sealed segment was appended in.
    pub(super) fn hand_over_to_file(&self, segment: &Segment) {
        if let Some(sealed) = segment.handed_over() {
            self.chain.replace(Arc::new(sealed));
        }
    }

    /// Writes a snapshot when more was appended since the last one than a replay should have to read, and than the
    /// snapshot itself is long.
    fn snapshot_if_due(&self) -> Result<(), OpenError> {
        let newest = super::state::locked(&self.snapshots).last().cloned();
        let (position, bytes) = match newest {
            Some(file) => (file.end_position, fs::metadata(&file.path).map_or(0, |file| file.len())),
            None => (0, 0),
        };
        let begun = self.chain.begun();
        // What the committer has not come to is its to write, and not of whoever makes a snapshot.
        let durable = if self.options.flushes_by_itself() { self.durable.position() } else { u64::MAX };
        let is_done = |one: &&Arc<Segment>| {
            one.seal().is_some_and(|seal| one.shape().position(seal.end_units as usize) <= durable)
        };
        let done: Vec<_> = begun.iter().take_while(is_done).collect();
        if let Some((last, others)) = done.split_last()
            && last.end_of_file().saturating_sub(position) >= self.options.snapshot_bytes.max(bytes)
        {
            // What is dropped goes by the older of two snapshots: where many segments were sealed at once, and nothing comes
            // behind them, one alone would hold it up.
            if let Some(before) = others.last() {
                self.write_snapshot_up_to(before.number())?;
            }
            self.write_snapshot_up_to(last.number())?;
        }
        Ok(())
    }

    /// Whether retention by bytes lets go of the first segments, were they sealed.
    pub(crate) fn drop_is_due_by_bytes(&self) -> bool {
        let begun = self.chain.begun();
        let is_due = |at: &usize| match begun.get(*at..) {
            Some([_, others @ ..]) => !others.is_empty() && self.is_enough_without_the_first(others),
            _ => false,
        };
        let Some(first) = begun.first().filter(|_| is_due(&0)) else { return false };
        let due = (0..begun.len()).take_while(is_due).count();
        let end = first.seal().map_or(u64::MAX, |seal| first.shape().position(seal.end_units as usize));
        self.kept_position() < end || self.group_up_to(&begun, due).is_some()
    }

    /// Whether the segments after the first hold as many bytes as are to be kept, besides the one in use.
    fn is_enough_without_the_first(&self, others: &[Arc<Segment>]) -> bool {
        let Some(limit) = self.options.retention_bytes else { return false };
        let in_use = others.last().map_or(0, |segment| segment.bytes());
        others.iter().map(|segment| segment.bytes()).sum::<u64>() - in_use >= limit
    }

    /// Drops segments up to a snapshot's end, and never to between two of them: what stands for all that was dropped is then
    /// there also if everything behind is cut off, and with it the snapshots that go further.
    pub(crate) fn drop_what_need_not_be_kept(&self, now_ms: u64) -> Result<(), OpenError> {
        loop {
            let begun = self.chain.begun();
            let Some(first) = begun.first() else { return Ok(()) };
            let due = self.count_due(&begun, now_ms);
            let Some(seal) = first.seal().filter(|_| due > 0) else { return Ok(()) };
            let mut group = self.group_up_to(&begun, due);
            if group.is_none() && self.kept_position() < first.shape().position(seal.end_units as usize) {
                self.write_the_older_snapshot(&begun, due)?;
                self.write_snapshot()?;
                group = self.group_up_to(&begun, due);
            }
            // If there is none, the next snapshot stands behind what is not due yet.
            let Some(last) = group else { return Ok(()) };
            let count = begun.iter().take_while(|segment| segment.number() <= last).count();
            drop(begun);
            for _ in 0..count {
                self.drop_first_segment()?;
            }
            self.stability.forget_before(self.chain.start_position());
            self.drop_snapshots();
        }
    }

    /// The last segment of those that can be dropped at once, of so many that are due: where a snapshot stands that is not the
    /// newest. Producers' states must outlive the frames they came from.
    fn group_up_to(&self, begun: &[Arc<Segment>], due: usize) -> Option<u64> {
        let (first, last) = (begun.first()?, begun.get(due.checked_sub(1)?)?);
        self.snapshot_up_to(last.number()).filter(|last| *last >= first.number())
    }

    /// How many of these segments, from the first on, need not be kept.
    fn count_due(&self, begun: &[Arc<Segment>], now_ms: u64) -> usize {
        let purged = self.chain.purged();
        let is_due = |at: &usize| self.is_due(begun.get(*at..).unwrap_or(&[]), purged.saturating_sub(*at), now_ms);
        (0..begun.len()).take_while(is_due).count()
    }

    /// Whether the first of these segments need not be kept, of which so many are purged. The one in use stays, and so does
    /// one that is not sealed.
    fn is_due(&self, begun: &[Arc<Segment>], purged: usize, now_ms: u64) -> bool {
        let [first, others @ ..] = begun else { return false };
        let Some(seal) = first.seal().filter(|_| !others.is_empty()) else { return false };
        let by_age = |age: Duration| u128::from(now_ms.saturating_sub(seal.latest_ms)) > age.as_millis();
        purged > 0 || self.is_enough_without_the_first(others) || self.options.retention_age.is_some_and(by_age)
    }

    /// Of two snapshots the older one says what may go: it stands for all that is due, but for the last segment that is
    /// sealed, which the newer one is for.
    fn write_the_older_snapshot(&self, begun: &[Arc<Segment>], due: usize) -> Result<(), OpenError> {
        let sealed = begun.iter().take_while(|segment| segment.seal().is_some()).count();
        let last = due.min(sealed.saturating_sub(1)).checked_sub(1).and_then(|last| begun.get(last));
        last.map_or(Ok(false), |last| self.write_snapshot_up_to(last.number())).map(|_| ())
    }

    /// Takes the first segment off the chain, for another use if nobody reads it.
    fn drop_first_segment(&self) -> Result<(), OpenError> {
        let Some(segment) = self.chain.drop_first() else { return Ok(()) };
        Self::count(&self.counters.dropped);
        event!(DEBUG, partition = %self.name, segment = segment.number(), "retention drops a segment");
        let path = segment.path();
        let direct = self.options.window == Window::Direct;
        let usable = self.options.recycle && segment.bytes() == self.options.segment_bytes;
        let spare =
            if usable { Arc::try_unwrap(segment).ok().and_then(|segment| segment.into_spare(direct)) } else { None };
        let unused = match spare {
            None => Some(path),
            Some(spare) => {
                // Before the file gets another header: a power cut must not leave that header under the old name.
                self.sync_names().map_err(io_at(SYNC, &self.directory))?;
                self.chain.put_spare(spare, self.options.segments_ahead as usize + 2).map(|spare| spare.path.clone())
            }
        };
        match unused {
            // Readers of this process keep the mapping, and with it the bytes, for as long as they need them.
            Some(path) => fs::remove_file(&path).map_err(io_at("remove", &path)),
            None => Ok(()),
        }
    }

    /// Seals everything, once nobody appends any more, so that reopening need not look at a frame.
    pub(crate) fn close(&self) -> Result<(), OpenError> {
        for ready in self.chain.take_ready() {
            let path = ready.path();
            fs::remove_file(&path).map_err(io_at("remove", &path))?;
        }
        for spare in self.chain.take_spares() {
            fs::remove_file(&spare.path).map_err(io_at("remove", &spare.path))?;
        }
        for segment in self.chain.begun().iter().filter(|segment| segment.seal().is_none()) {
            segment.rename_to_used().map_err(io_at("rename", segment.path()))?;
            let end = segment.visible().map_err(io_at("map", segment.path()))?;
            if segment.is_direct() && self.durable.position() < segment.shape().position(end.units) {
                // The last round could not come so far, and nobody was told that a flush has failed.
                let source = io::Error::other("some of what was appended is in memory alone");
                return Err(io_at("make durable", segment.path())(source));
            }
            let reason = if segment.is_full() { SealReason::Full } else { SealReason::Closed };
            self.seal(segment, reason)?;
        }
        self.write_snapshot()?;
        self.drop_snapshots();
        Ok(())
    }
}
