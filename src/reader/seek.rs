//! Where a reader begins.

use super::{Reader, Seen, Verify};
use crate::{
    error::FetchError,
    format::frame::Kind,
    isolation::Isolation,
    log::Partition,
    segment::{
        Shape,
        file::Segment,
        scan::{Found, Frame, find},
    },
};
use std::sync::Arc;

impl Partition {
    /// A reader whose first record is the one at `offset`, or the next behind it where offsets were given up.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append(b"order 41")?;
    /// let mut reader = orders.read_from(0)?;
    /// while let Some(record) = reader.next()? {
    ///     assert_eq!(record.payload(), b"order 41");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`FetchError::OutOfRange`] for an offset that is not kept any more, or that lies beyond the end.
    pub fn read_from(&self, offset: u64) -> Result<Reader, FetchError> {
        let mut reader = self.reader();
        reader.seek(offset)?;
        Ok(reader)
    }

    /// A reader whose first record is the first one with a timestamp of at least `unix_ms` milliseconds since the Unix
    /// epoch; at the end, if there is none.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append(b"order 41")?;
    /// let mut reader = orders.read_from_time(0)?;
    /// assert!(reader.next()?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`FetchError::Io`] if a segment cannot be mapped.
    pub fn read_from_time(&self, unix_ms: u64) -> Result<Reader, FetchError> {
        let mut reader = self.reader();
        if !reader.move_to_time(unix_ms, self.state.chain.begun())? {
            reader.seek(self.end_offset())?;
        }
        Ok(reader)
    }

    /// A reader at the end: its first record is the next one to become visible.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append(b"order 41")?;
    /// let mut reader = orders.read_from_end()?;
    /// assert!(reader.next()?.is_none());
    /// orders.appender()?.append(b"order 42")?;
    /// assert_eq!(reader.next()?.map(|record| record.offset()), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`FetchError::Io`] if a segment cannot be mapped.
    pub fn read_from_end(&self) -> Result<Reader, FetchError> {
        self.read_from(self.end_offset())
    }

    fn reader(&self) -> Reader {
        Reader {
            partition: Arc::clone(&self.state),
            waiters: Arc::clone(&self.handle.core.waiters),
            verify: Verify::default(),
            isolation: Isolation::default(),
            seen: Seen::of(Isolation::default()),
            place: None,
            next_offset: 0,
            batch: None,
            waiting: None,
        }
    }
}

impl Reader {
    /// Moves to `offset`. On an error the reader stays where it is.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append(b"order 41")?;
    /// let mut reader = orders.read_from_end()?;
    /// reader.seek(0)?;
    /// assert_eq!(reader.next()?.map(|record| record.offset()), Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Partition::read_from`].
    pub fn seek(&mut self, offset: u64) -> Result<(), FetchError> {
        let chain = &self.partition.chain;
        let start = chain.start_offset();
        let end = chain.visible_end().map_err(|source| self.io(source))?.offset;
        if offset < start || offset > end {
            return Err(FetchError::OutOfRange { offset, start, end });
        }
        let segment = chain.segment_with_offset(offset);
        let before = (self.place.take(), self.batch.take(), self.next_offset);
        // On the way nothing is passed over, and no outcome asked for: where it leads to may not be decided yet.
        let isolation = self.isolation;
        self.set_isolation(Isolation::ReadUncommitted);
        let moved = self.move_to(offset, segment);
        self.set_isolation(isolation);
        if moved.is_err() {
            (self.place, self.batch, self.next_offset) = before;
        }
        moved
    }

    /// Moves to `offset` in the segment that was found to hold it.
    pub(crate) fn move_to(&mut self, offset: u64, segment: Option<Arc<Segment>>) -> Result<(), FetchError> {
        self.next_offset = offset;
        let Some(segment) = segment else { return Ok(()) };
        let base_offset = segment.base_offset().unwrap_or(offset);
        let record = offset - base_offset;
        let found = segment.seek(|index| index.floor_record(record)).and_then(|floor| Ok((floor, segment.window()?)));
        let (floor, window) = match found {
            Ok(found) => found,
            Err(source) => return self.go_on_without(&segment, source),
        };
        self.stand_in(segment, window, floor.units);
        self.next_offset = base_offset + floor.records;
        // From the first record on nothing is passed over, so that what leads the segment is verified too. A void frame is
        // passed over whole, where the offset is one of those it took.
        if record > 0 {
            self.skip_while(|frame, _| {
                let first = u64::from(frame.stored.offset_delta());
                first + u64::from(frame.stored.records()) <= record
                    || first < record && frame.stored.kind() == Kind::Void
            })?;
        }
        // Inside of a batch, the records before the one asked for.
        while self.next_offset < offset {
            if self.step()?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Moves to the first record of that time or later in segments that were found, oldest first. Whether there is one.
    pub(crate) fn move_to_time(&mut self, unix_ms: u64, segments: Vec<Arc<Segment>>) -> Result<bool, FetchError> {
        for segment in segments {
            let latest = segment.latest_ms().map_err(|source| self.io(source))?;
            if latest < unix_ms {
                continue;
            }
            let delta = unix_ms.saturating_sub(segment.shape().prepared_ms);
            let delta = u32::try_from(delta).unwrap_or(u32::MAX);
            let found = segment.seek(|index| index.floor_time(delta)).and_then(|floor| Ok((floor, segment.window()?)));
            let (floor, window) = match found {
                // What is kept begins behind it.
                Err(error) if self.partition.chain.has_lost(&segment, &error) => continue,
                found => found.map_err(|source| self.io(source))?,
            };
            self.stand_in(segment, window, floor.units);
            self.next_offset = self.place.as_ref().map_or(0, |place| place.base_offset) + floor.records;
            if self.skip_while(|frame, shape| shape.prepared_ms + u64::from(frame.stored.time_delta()) < unix_ms)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Passes over frames of the segment at hand while they are to be skipped. Whether it came to one that is not.
    fn skip_while(&mut self, skipped: impl Fn(&Frame, &Shape) -> bool) -> Result<bool, FetchError> {
        let Some(place) = &mut self.place else { return Ok(false) };
        let limit = place.segment.limit();
        while place.unit < limit {
            match find(&place.window, &place.shape, place.unit) {
                Found::Padding { units } => place.unit += units,
                Found::Frame(frame) => {
                    if frame.stored.records() > 0 {
                        if !skipped(&frame, &place.shape) {
                            return Ok(true);
                        }
                        self.next_offset = place.base_offset
                            + u64::from(frame.stored.offset_delta())
                            + u64::from(frame.stored.records());
                    }
                    place.unit += frame.units;
                }
                Found::Nothing | Found::Invalid => break,
            }
        }
        Ok(false)
    }
}
