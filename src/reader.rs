//! Readers: a place in one partition, moved over published frames.

use crate::{
    error::FetchError,
    format::{
        RECORD_LENGTH_BYTES,
        frame::{Kind, Producer},
    },
    ids::Stamp,
    log::Partition,
    partition::PartitionState,
    raw::window::Window,
    segment::{
        Shape,
        file::Segment,
        scan::{Found, Frame, find},
        tail::FIRST_UNIT,
    },
    slice::Slice,
    wake::{Awaited, Waiters},
};
use std::{
    io,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// Which frames a reader compares with their checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Every frame it reads, every time.
    #[default]
    Always,
    /// Every frame that no reader with this setting has compared since the log was opened. Notices what went wrong on
    /// the way to the disk and back, and not what goes wrong in memory later.
    OncePerSegment,
    /// None: for records that this process has just appended.
    Never,
}

/// Reads the records of one partition in order. A reader shares nothing with appenders but the bytes they have published,
/// keeps the segment it stands in alive, and outlives its log.
pub struct Reader {
    partition: Arc<PartitionState>,
    waiters: Arc<Waiters>,
    verify: Verify,
    /// None while the partition has no segment.
    place: Option<Place>,
    next_offset: u64,
    /// What is left of the batch at hand.
    batch: Option<Batch>,
    /// This reader's entry among those that wait.
    waiting: Option<u64>,
}

/// Where a reader stands.
struct Place {
    segment: Arc<Segment>,
    window: Window,
    shape: Shape,
    base_offset: u64,
    unit: usize,
}

/// A batch that is being read.
#[derive(Clone, Copy)]
struct Batch {
    frame: Frame,
    /// Bytes of the body that are read.
    at: usize,
    /// Records that are read.
    index: u32,
}

/// A record, borrowed from the memory it was published in.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    segment: &'a Arc<Segment>,
    payload: &'a [u8],
    offset: u64,
    timestamp_ms: u64,
    producer: Option<Producer>,
    /// Number of the record in its batch.
    index: u32,
}

impl Partition {
    /// A reader whose first record is the one at `offset`, or the next behind it where offsets were given up.
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
    /// # Errors
    /// [`FetchError::Io`] if a segment cannot be mapped.
    pub fn read_from_time(&self, unix_ms: u64) -> Result<Reader, FetchError> {
        let mut reader = self.reader();
        for segment in self.state.chain.begun() {
            let latest = segment.latest_ms().map_err(|error| self.fetch_error(error))?;
            if latest < unix_ms {
                continue;
            }
            let delta = unix_ms.saturating_sub(segment.shape().prepared_ms);
            let delta = u32::try_from(delta).unwrap_or(u32::MAX);
            let floor = segment.seek(|index| index.floor_time(delta)).map_err(|error| self.fetch_error(error))?;
            reader.enter(segment, floor.units)?;
            reader.next_offset = reader.place.as_ref().map_or(0, |place| place.base_offset) + floor.records;
            if reader.skip_while(|frame, shape| shape.prepared_ms + u64::from(frame.header.time_delta) < unix_ms)? {
                return Ok(reader);
            }
        }
        reader.seek(self.end_offset())?;
        Ok(reader)
    }

    /// A reader at the end: its first record is the next one to become visible.
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
            place: None,
            next_offset: 0,
            batch: None,
            waiting: None,
        }
    }
}

impl Reader {
    /// Which frames are compared with their checksums from now on.
    pub fn set_verify(&mut self, verify: Verify) {
        self.verify = verify;
    }

    /// Offset that the next record has, or is behind.
    #[must_use]
    pub const fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Moves to `offset`. On an error the reader stays where it is.
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
        let Some(segment) = chain.segment_with_offset(offset) else {
            self.place = None;
            self.batch = None;
            self.next_offset = offset;
            return Ok(());
        };
        let base_offset = segment.base_offset().unwrap_or(start);
        let record = offset - base_offset;
        let floor = segment.seek(|index| index.floor_record(record)).map_err(|source| self.io(source))?;
        self.enter(segment, floor.units)?;
        self.next_offset = base_offset + floor.records;
        self.skip_while(|frame, _| u64::from(frame.header.offset_delta) + u64::from(frame.header.records) <= record)?;
        // Inside of a batch, the records before the one asked for are passed over; a gap is entered at its end.
        while self.next_offset < offset {
            if self.step()?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn io(&self, source: io::Error) -> FetchError {
        FetchError::Io { path: self.partition.directory.clone(), source }
    }

    fn enter(&mut self, segment: Arc<Segment>, unit: usize) -> Result<(), FetchError> {
        let window = segment.window().map_err(|source| FetchError::Io { path: segment.path(), source })?;
        let shape = *segment.shape();
        let base_offset = segment.base_offset().unwrap_or(self.next_offset);
        self.batch = None;
        self.place = Some(Place { segment, window, shape, base_offset, unit });
        Ok(())
    }

    /// Passes over frames of the segment at hand while they are to be skipped. Whether it came to one that is not.
    fn skip_while(&mut self, skipped: impl Fn(&Frame, &Shape) -> bool) -> Result<bool, FetchError> {
        let Some(place) = &mut self.place else { return Ok(false) };
        let limit = place.segment.limit();
        while place.unit < limit {
            match find(&place.window, &place.shape, place.unit) {
                Found::Padding { units } => place.unit += units,
                Found::Frame(frame) => {
                    if frame.header.records > 0 {
                        if !skipped(&frame, &place.shape) {
                            return Ok(true);
                        }
                        self.next_offset =
                            place.base_offset + u64::from(frame.header.offset_delta) + u64::from(frame.header.records);
                    }
                    place.unit += frame.units;
                }
                Found::Nothing | Found::Invalid => break,
            }
        }
        Ok(false)
    }

    /// The next record, or none if the next one is not visible yet.
    ///
    /// # Errors
    /// [`FetchError::Trimmed`] if retention overtook this reader, [`FetchError::Corrupt`] for a frame that is not what it
    /// was: the reader stays before it, and can seek beyond.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "a record borrows from its reader, which no iterator's item can")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, FetchError> {
        let Some(found) = self.step()? else { return Ok(None) };
        let Some(place) = &self.place else { return Ok(None) };
        let Stepped { frame, at, bytes, index, offset } = found;
        let body = place.segment.body(&place.window, &frame);
        let Some(payload) = body.get(at..at + bytes) else {
            return Err(self.corrupt(&frame, "a record reaches beyond its frame"));
        };
        Ok(Some(Record {
            segment: &place.segment,
            payload,
            offset,
            timestamp_ms: place.shape.prepared_ms + u64::from(frame.header.time_delta),
            producer: frame.header.producer,
            index,
        }))
    }

    /// Moves over one record and says where it is.
    #[inline]
    fn step(&mut self) -> Result<Option<Stepped>, FetchError> {
        loop {
            if let Some(batch) = &mut self.batch
                && let Some(place) = &self.place
            {
                if batch.index < batch.frame.header.records {
                    let body = place.segment.body(&place.window, &batch.frame);
                    let Some(length) = body.get(batch.at..).and_then(|rest| rest.first_chunk::<RECORD_LENGTH_BYTES>())
                    else {
                        let frame = batch.frame;
                        return Err(self.corrupt(&frame, "a batch holds fewer records than it says"));
                    };
                    let bytes = u32::from_le_bytes(*length) as usize;
                    let at = batch.at + RECORD_LENGTH_BYTES;
                    let stepped = Stepped {
                        frame: batch.frame,
                        at,
                        bytes,
                        index: batch.index,
                        offset: place.base_offset + u64::from(batch.frame.header.offset_delta) + u64::from(batch.index),
                    };
                    batch.at = at + bytes;
                    batch.index += 1;
                    self.next_offset = stepped.offset + 1;
                    return Ok(Some(stepped));
                }
                self.batch = None;
            }
            let Some(place) = &mut self.place else {
                if self.next_segment()? {
                    continue;
                }
                return Ok(None);
            };
            match find(&place.window, &place.shape, place.unit) {
                Found::Frame(frame) if frame.unit < place.segment.limit() => {
                    if self.verify != Verify::Never && !verified(&place.segment, &place.window, &frame, self.verify) {
                        return Err(self.corrupt(&frame, "the checksum does not agree"));
                    }
                    place.unit += frame.units;
                    let offset = place.base_offset + u64::from(frame.header.offset_delta);
                    match frame.header.kind {
                        Kind::Record => {
                            self.next_offset = offset + 1;
                            let bytes = frame.header.body_bytes as usize;
                            return Ok(Some(Stepped { frame, at: 0, bytes, index: 0, offset }));
                        }
                        Kind::Batch => self.batch = Some(Batch { frame, at: 0, index: 0 }),
                        Kind::Void => self.next_offset = offset + u64::from(frame.header.records),
                        Kind::Start | Kind::Fence => {}
                    }
                }
                Found::Padding { units } => place.unit += units,
                Found::Invalid => {
                    let (path, at) = (place.segment.path(), place.unit as u64 * 8);
                    let reason = "the publication word is followed by no frame's header";
                    return Err(FetchError::Corrupt { path, at, offset: self.next_offset, reason });
                }
                Found::Frame(_) | Found::Nothing => {
                    if place.unit < place.segment.limit() || !self.next_segment()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Steps to the segment behind the one that is read to its end. Whether there is one with frames.
    #[cold]
    fn next_segment(&mut self) -> Result<bool, FetchError> {
        let chain = &self.partition.chain;
        let next = match &self.place {
            None => chain.first(),
            Some(place) => chain.segment(place.shape.number + 1),
        };
        let Some(segment) = next.filter(|segment| segment.base_offset().is_some()) else {
            let start = chain.start_offset();
            if start > self.next_offset {
                return Err(FetchError::Trimmed { offset: self.next_offset, start });
            }
            return Ok(false);
        };
        let base_offset = segment.base_offset().unwrap_or(self.next_offset);
        if base_offset > self.next_offset {
            return Err(FetchError::Trimmed { offset: self.next_offset, start: base_offset });
        }
        self.enter(segment, FIRST_UNIT)?;
        Ok(true)
    }

    #[cold]
    fn corrupt(&self, frame: &Frame, reason: &'static str) -> FetchError {
        let path = self.place.as_ref().map_or_else(|| self.partition.directory.clone(), |place| place.segment.path());
        FetchError::Corrupt { path, at: frame.unit as u64 * 8, offset: self.next_offset, reason }
    }

    /// What has to come before `next` has something new.
    fn awaited(&self) -> Awaited {
        match &self.place {
            Some(place) if place.unit < place.segment.limit() => {
                Awaited::Frame { segment: Arc::clone(&place.segment), unit: place.unit }
            }
            Some(place) => Awaited::Segment { partition: Arc::clone(&self.partition), number: place.shape.number + 1 },
            None => Awaited::Segment { partition: Arc::clone(&self.partition), number: 0 },
        }
    }

    /// Whether `next` has a record, or something to report, now. Passes over what holds no record.
    fn is_ready(&mut self) -> bool {
        loop {
            if self.batch.is_some_and(|batch| batch.index < batch.frame.header.records) {
                return true;
            }
            let Some(place) = &mut self.place else {
                match self.next_segment() {
                    Ok(true) => continue,
                    Ok(false) => return false,
                    Err(_) => return true,
                }
            };
            match find(&place.window, &place.shape, place.unit) {
                Found::Frame(frame) if frame.unit < place.segment.limit() => match frame.header.kind {
                    Kind::Record | Kind::Batch => return true,
                    Kind::Void | Kind::Start | Kind::Fence => {
                        place.unit += frame.units;
                        self.next_offset =
                            place.base_offset + u64::from(frame.header.offset_delta) + u64::from(frame.header.records);
                    }
                },
                Found::Padding { units } => place.unit += units,
                Found::Invalid => return true,
                Found::Frame(_) | Found::Nothing => {
                    if place.unit < place.segment.limit() {
                        return false;
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
    /// Being woken takes at most an eighth of the time waited, and never more than 50 us or that, up to about 1 ms:
    /// appenders wake nobody, a thread of the log looks.
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

    fn stop_waiting(&mut self) {
        if let Some(number) = self.waiting.take() {
            self.waiters.remove(number);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}

/// Where a record lies in its frame.
struct Stepped {
    frame: Frame,
    at: usize,
    bytes: usize,
    index: u32,
    offset: u64,
}

#[inline]
fn verified(segment: &Segment, window: &Window, frame: &Frame, verify: Verify) -> bool {
    let once = verify == Verify::OncePerSegment;
    if once && segment.was_verified(frame) {
        return true;
    }
    let agrees = segment.verifies(window, frame);
    if agrees && once {
        segment.note_verified(frame);
    }
    agrees
}

/// Wakes a thread that waits for records.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl<'a> Record<'a> {
    /// The record's number in its partition.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes that were appended, where they were appended: nothing is copied.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// When the record was appended, in milliseconds since the Unix epoch by the engine's clock. Records of one thread
    /// never go back in time; of several, by as much as a thread was held up while it appended.
    #[must_use]
    pub const fn timestamp_ms(&self) -> u64 {
        self.timestamp_ms
    }

    /// Who appended the record, and with which sequence; none for a plain append.
    #[must_use]
    pub fn producer(&self) -> Option<Stamp> {
        self.producer.map(|producer| Stamp {
            producer: producer.id,
            epoch: producer.epoch,
            sequence: producer.first_sequence + u64::from(self.index),
        })
    }

    /// The payload as a value of its own, which keeps its segment alive. Nothing is copied.
    #[must_use]
    pub fn slice(&self) -> Slice {
        Slice::new(Arc::clone(self.segment), self.payload)
    }
}
