//! A committed transaction, or a group's committed offset, as its owner holds it: whether it is durable.

use crate::{core::Handle, error::DurableError, sync::Arc};
use std::{
    fmt,
    task::{Context, Poll},
    time::Duration,
};

/// What was committed is visible; this says when it is durable too.
///
/// It keeps its log open.
#[must_use = "a commit is visible, and this tells when it is durable"]
pub struct Commit {
    handle: Arc<Handle>,
    transaction: u64,
    /// Of the ledger's entry; none if there was nothing to write, or if it is known to be durable.
    offset: Option<u64>,
}

impl Commit {
    pub(crate) const fn new(handle: Arc<Handle>, transaction: u64, offset: Option<u64>) -> Self {
        Self { handle, transaction, offset }
    }

    /// The transaction's number; 0 for offsets that were committed outside of one.
    #[must_use]
    pub const fn transaction(&self) -> u64 {
        self.transaction
    }

    /// Whether it would survive a power cut, and with it every commit of the log before it.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.offset.is_none_or(|offset| self.handle.core.is_entry_durable(offset))
    }

    /// Waits until it is durable: its records in every partition, its offsets and the records before them, and every commit of
    /// the log before it. False
    /// if the time is over first. Threads that wait share their flushes.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut session = log.session("checkout")?;
    /// # let mut transaction = session.begin()?;
    /// let _answer = transaction.append_next(&orders, b"order 41")?;
    /// let commit = transaction.commit()?;
    /// assert!(commit.wait_durable(std::time::Duration::from_secs(60))?);
    /// assert!(commit.is_durable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DurableError::Poisoned`] if a write or a flush has failed: the next opening tells whether it was committed.
    pub fn wait_durable(&self, timeout: Duration) -> Result<bool, DurableError> {
        self.offset.map_or(Ok(true), |offset| self.handle.core.wait_entry_durable(offset, timeout))
    }

    /// Whether it is durable; if not, the context's waker is woken when more of it is.
    ///
    /// # Errors
    /// As for [`Commit::wait_durable`].
    pub fn poll_durable(&self, context: &mut Context<'_>) -> Poll<Result<(), DurableError>> {
        let Some(offset) = self.offset else { return Poll::Ready(Ok(())) };
        let core = &self.handle.core;
        for (partition, last) in core.needs_of_entry(offset) {
            let covered = || partition.durable.offset() > last;
            if covered() {
                continue;
            }
            core.committer.turns.add_waker(&partition, last, context.waker());
            // Looked at again behind the entry, which a mark that moved before it has not woken.
            match core.committer.look(covered) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Commit").field("transaction", &self.transaction).finish_non_exhaustive()
    }
}
