//! Where a partition's log begins and ends by its embedder's will, and what he keeps beside the records.

use crate::{
    error::{AppendError, TruncateError},
    format::{METADATA_BYTES_MAX, frame::Kind},
    ids::ProducerId,
    log::Partition,
    partition::{append::Cursor, locked},
    truncation::{Made, Which},
};

/// What came of cutting a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Truncation {
    /// Records that are gone.
    pub records: u64,
    /// Producers that wrote beyond the cut, in order of their ids: their handles append no more before they are registered, or
    /// their sessions opened, again.
    pub fenced: Vec<ProducerId>,
}

impl From<Made> for Truncation {
    fn from(Made { records, fenced }: Made) -> Self {
        Self { records, fenced: fenced.into_iter().collect() }
    }
}

impl Partition {
    /// Cuts off the record at `from` and everything behind it: the next record that is appended gets that offset. On return it
    /// is durable, and so is everything before. Nothing of what is cut off comes back, whatever happens.
    ///
    /// Who wrote beyond is fenced, and only he: each of his handles, in all partitions, is answered with
    /// [`Answer::Fenced`](crate::Answer::Fenced), and his open transaction is aborted. What a new session, or a new
    /// registration, learns of him is as of the cut: his sequences have gone back, and what he sends again is appended in its
    /// new place. Others go on, also while this runs: they wait for its end. What appenders without a producer have under way
    /// is either cut off or appended behind the cut.
    ///
    /// Readers that stand beyond are told so, [`FetchError::Truncated`](crate::FetchError::Truncated), those that wait too;
    /// records and slices that were read stay as they are. Who waits for something beyond to be durable is told as well. Groups
    /// that have come beyond go back to the cut. The embedder's own [metadata](Partition::set_metadata) stays as it is.
    ///
    /// A transaction's outcome does not change. Of a committed one, what is before the cut stays committed, in every partition:
    /// it is the caller who takes a part of it away, and with it that all of it is there. Commits with records here are made
    /// durable first. One that is still open, and whose producer has written nothing beyond, stays open.
    ///
    /// It must not be called from a closure that fills a record in place.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append_batch(&[b"order 41", b"order 42", b"order 43"])?;
    /// let made = orders.truncate(1)?;
    /// assert_eq!((made.records, orders.end_offset()), (2, 1));
    /// assert_eq!(orders.appender()?.append(b"another")?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TruncateError::OutOfRange`] for an offset before the start or behind the end; at the end it does nothing.
    /// [`TruncateError::Remains`] if it is done and a file could not be removed; others where writing fails.
    pub fn truncate(&self, from: u64) -> Result<Truncation, TruncateError> {
        Ok(self.handle.core.cut(&self.state, Which::From(from))?.into())
    }

    /// Lets the log start at `to`: what is before is gone, to the record, durably on return. Beyond the end the log is empty
    /// then, and the next record gets that offset. Before the start it does nothing.
    ///
    /// Producers keep their sequences, as they do when retention drops their records. The space comes back a little later, by
    /// whole segments, when snapshots stand for what producers had in them: all but the last one before the segment in use, which
    /// goes with the next that is sealed. Readers that stand before `to` may read on in the
    /// segment that they are in.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append_batch(&[b"order 41", b"order 42", b"order 43"])?;
    /// orders.purge(2)?;
    /// assert_eq!((orders.start_offset(), orders.end_offset()), (2, 3));
    /// orders.purge(10)?;
    /// assert_eq!((orders.start_offset(), orders.end_offset()), (10, 10));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TruncateError::Offset`] for an offset that no partition reaches, and others where writing fails.
    pub fn purge(&self, to: u64) -> Result<(), TruncateError> {
        self.handle.core.purge(&self.state, to)
    }

    /// Cuts off everything, and lets the log go on at the offset `base`, which may be any: for a replica that is given
    /// another's state, and follows from there. All is as for [`Partition::truncate`] from the start on, and then for
    /// [`Partition::purge`] up to `base`, in one step.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append_batch(&[b"order 41", b"order 42", b"order 43"])?;
    /// orders.reset(1_000)?;
    /// assert_eq!(orders.appender()?.append(b"what follows")?, 1_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for both.
    pub fn reset(&self, base: u64) -> Result<Truncation, TruncateError> {
        Ok(self.handle.core.cut(&self.state, Which::All(base))?.into())
    }

    /// Keeps a few bytes beside the records, in one order with them: a vote, a commit index. The newest that was set counts,
    /// and stays through retention, purge, truncation and reset. What is appended behind it is durable only if it is too;
    /// [`Partition::flush`] waits until it is.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// orders.set_metadata(b"vote 7")?;
    /// orders.flush()?;
    /// assert_eq!(orders.metadata().as_deref(), Some(b"vote 7".as_slice()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AppendError::TooLarge`] for more than [`METADATA_BYTES_MAX`] bytes, and as for
    /// [`Appender::append`](crate::Appender::append).
    pub fn set_metadata(&self, bytes: &[u8]) -> Result<(), AppendError> {
        if bytes.len() > METADATA_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes: bytes.len(), limit: METADATA_BYTES_MAX });
        }
        // Under the lock, so that the newest in the log is the newest here.
        let mut kept = locked(&self.state.kept);
        let mut cursor = Cursor::new(self.state.chain.newest_tail());
        let now_ms = self.handle.core.clock.now_ms();
        kept.metadata_position = cursor.note(Kind::Metadata, bytes, now_ms, &self.source())?;
        kept.metadata = Some(bytes.into());
        Ok(())
    }

    /// The bytes that were set last with [`Partition::set_metadata`]; none if there never were any.
    #[must_use]
    pub fn metadata(&self) -> Option<Vec<u8>> {
        locked(&self.state.kept).metadata.as_deref().map(<[u8]>::to_vec)
    }
}
