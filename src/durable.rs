//! Durable records: asked for, waited for, awaited.

use crate::{error::DurableError, log::Partition, partition::locked};
use std::{
    task::{Context, Poll},
    time::Duration,
};

impl Partition {
    /// Offset behind the last durable record: everything before it survives the process being killed and a power cut.
    #[must_use]
    pub fn durable_offset(&self) -> u64 {
        self.state.durable.offset()
    }

    /// Waits until the record at `offset` is durable; false if the time is over first. An offset that was not appended
    /// yet is waited for too. While threads wait, one of them writes and flushes for all.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut appender = orders.appender()?;
    /// let offset = appender.append(b"order 41")?;
    /// assert!(orders.wait_durable(offset, std::time::Duration::from_secs(10))?);
    /// assert!(orders.durable_offset() > offset);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DurableError::Poisoned`] if a write or a flush has failed since the log was opened: nothing that was not durable
    /// then will ever be acknowledged. [`DurableError::Truncated`] if the partition was truncated below the offset meanwhile.
    pub fn wait_durable(&self, offset: u64, timeout: Duration) -> Result<bool, DurableError> {
        if self.durable_offset() > offset {
            return Ok(true);
        }
        self.handle.core.wait_durable(&self.state, offset, timeout)
    }

    /// Whether the record at `offset` is durable; if not, the context's waker is woken when it is, or when it is known that
    /// it will not be. For asynchronous callers, in any runtime.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut appender = orders.appender()?;
    /// let offset = appender.append(b"order 41")?;
    /// // In any runtime: std::future::poll_fn(|context| orders.poll_durable(offset, context)).await?
    /// let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// while orders.poll_durable(offset, &mut context)?.is_pending() {}
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Partition::wait_durable`].
    pub fn poll_durable(&self, offset: u64, context: &mut Context<'_>) -> Poll<Result<(), DurableError>> {
        let core = &self.handle.core;
        let look = || core.committer.look(|| self.durable_offset() > offset);
        if let ready @ Poll::Ready(_) = look() {
            return ready;
        }
        core.committer.turns.add_waker(&self.state, offset, context.waker());
        // Looked at again behind the entry, which a mark that moved before it has not woken.
        look()
    }

    /// Makes everything durable that is visible now, the partition's metadata too, and waits for it. Returns the offset behind
    /// the last record of it.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut appender = orders.appender()?;
    /// appender.append(b"order 41")?;
    /// orders.flush()?;
    /// assert_eq!(orders.durable_offset(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Partition::wait_durable`].
    pub fn flush(&self) -> Result<u64, DurableError> {
        let end = loop {
            let end = self.end_offset();
            match end.checked_sub(1).map_or(Ok(true), |last| self.wait_durable(last, Duration::MAX)) {
                Ok(_) => break end,
                // What was visible is no longer there.
                Err(DurableError::Truncated { .. }) => {}
                Err(error) => return Err(error),
            }
        };
        let metadata = locked(&self.state.kept).metadata_position;
        if metadata > 0 {
            self.handle.core.flush_up_to(&self.state, metadata)?;
        }
        Ok(end)
    }
}
