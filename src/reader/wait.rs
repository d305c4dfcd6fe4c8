//! Waiting for records that are not there yet.

use super::Reader;
use crate::{
    error::FetchError,
    format::frame::Kind,
    isolation::Isolation,
    segment::scan::{Found, find},
    wake::Awaited,
};
use std::{
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

impl Reader {
    /// What has to come before `next` has something new.
    fn awaited(&self) -> Awaited {
        // Whatever is published here may be held back by a transaction, or hold no record.
        if self.isolation == Isolation::ReadCommitted {
            let (cuts, partition) = (self.partition.chain.cuts(), Arc::clone(&self.partition));
            return Awaited::Stable { partition, offset: self.next_offset, cuts };
        }
        match &self.place {
            Some(place) if place.unit < place.segment.limit() => {
                Awaited::Frame { segment: Arc::clone(&place.segment), unit: place.unit }
            }
            Some(place) => Awaited::Segment { partition: Arc::clone(&self.partition), behind: place.shape.number },
            None => Awaited::Segment { partition: Arc::clone(&self.partition), behind: 0 },
        }
    }

    /// Whether `next` has a record, or something to report, now. Passes over what holds no record.
    fn is_ready(&mut self) -> bool {
        loop {
            match self.is_within_limit() {
                Ok(true) => {}
                Ok(false) => return false,
                Err(_) => return true,
            }
            if self.place.as_ref().is_some_and(|place| place.segment.is_superseded()) && self.pass_over().is_err() {
                return true;
            }
            if let Some(batch) = self.batch.filter(|batch| batch.index < batch.frame.stored.records()) {
                match self.is_hidden(&batch.frame) {
                    Ok(true) => {}
                    // A record, or something to report.
                    Ok(false) | Err(_) => return true,
                }
                self.next_offset = self.offset_of(&batch.frame) + u64::from(batch.frame.stored.records());
                self.batch = None;
                continue;
            }
            let Some(place) = &mut self.place else {
                match self.next_segment() {
                    Ok(true) => continue,
                    Ok(false) => return false,
                    Err(_) => return true,
                }
            };
            let (found, limit) = (find(&place.window, &place.shape, place.unit), place.segment.limit());
            if let Found::Frame(frame) = found
                && frame.unit < limit
                && matches!(frame.stored.kind(), Kind::Record | Kind::Batch)
                && self.is_hidden(&frame).unwrap_or(false)
            {
                self.pass_over_hidden(&frame);
                continue;
            }
            let Some(place) = &mut self.place else { return false };
            match found {
                Found::Frame(frame) if frame.unit < place.segment.limit() => match frame.stored.kind() {
                    Kind::Record | Kind::Batch => return true,
                    _ => {
                        place.unit += frame.units;
                        self.next_offset = place.base_offset
                            + u64::from(frame.stored.offset_delta())
                            + u64::from(frame.stored.records());
                    }
                },
                Found::Padding { units } => place.unit += units,
                Found::Invalid if place.unit < place.segment.limit() => return true,
                Found::Frame(_) | Found::Nothing | Found::Invalid => {
                    if place.unit < place.segment.limit() {
                        return place.lacks_a_frame();
                    }
                    match self.next_segment() {
                        Ok(true) => {}
                        Ok(false) => return false,
                        Err(_) => return true,
                    }
                }
            }
        }
    }

    /// Waits until `next` has a record, or something to report; whether it has. Returns at once if it has already, and
    /// when the log is closed.
    ///
    /// Appenders wake nobody: a thread of the log looks, every 50 us at first, then every eighth of the time waited, and at
    /// least about every millisecond.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append(b"order 41")?;
    /// let mut reader = orders.read_from(0)?;
    /// while reader.wait(std::time::Duration::from_millis(1))? {
    ///     while let Some(record) = reader.next()? {
    ///         assert_eq!(record.payload(), b"order 41");
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// None now; what `next` would report, it reports.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, FetchError> {
        let until = Instant::now().checked_add(timeout);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(ready) = self.poll_ready(&mut context) {
                return match ready {
                    Ok(()) => Ok(true),
                    Err(FetchError::Closed) => Ok(false),
                    Err(error) => Err(error),
                };
            }
            let left = until.map_or(Duration::from_secs(3600), |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                self.stop_waiting();
                return Ok(self.is_ready());
            }
            thread::park_timeout(left);
        }
    }

    /// Whether `next` has a record, or something to report; if not, the context's waker is woken when it has. For
    /// asynchronous callers, in any runtime.
    ///
    /// # Errors
    /// [`FetchError::Closed`] when the log is closed and everything was read: nothing will come any more.
    pub fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), FetchError>> {
        self.stop_waiting();
        if self.is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.waiting = Some(self.waiters.add(self.awaited(), context.waker().clone()));
        // Looked at again behind the entry: whoever closes the log sets this before it wakes all entries.
        if self.waiters.are_closed() {
            self.stop_waiting();
            return Poll::Ready(if self.is_ready() { Ok(()) } else { Err(FetchError::Closed) });
        }
        Poll::Pending
    }

    pub(super) fn stop_waiting(&mut self) {
        if let Some(number) = self.waiting.take() {
            self.waiters.remove(number);
        }
    }
}

/// Wakes a thread that waits for records.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
