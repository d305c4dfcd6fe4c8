//! Readers: a place in one partition, moved over published frames.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | the reader, and the step from one record to the next |
//! | `seek.rs` | where to begin: an offset, a time, the end |
//! | `wait.rs` | waiting for what is not there yet, blocking or with a waker |
//! | `fetch.rs` | records up to a number of bytes |
//! | `isolation.rs` | what is seen of transactions |
//! | `record.rs` | what a reader hands out |

mod fetch;
mod isolation;
mod record;
mod seek;
mod wait;

pub use fetch::Fetch;
pub use record::Record;

use isolation::Seen;

use crate::{
    error::FetchError,
    format::{RECORD_LENGTH_BYTES, frame::Kind},
    isolation::Isolation,
    partition::PartitionState,
    raw::window::Window,
    segment::{
        Shape,
        file::Segment,
        scan::{Found, Frame, find},
        tail::FIRST_UNIT,
    },
    wake::Waiters,
};
use std::{io, sync::Arc};

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
    isolation: Isolation,
    seen: Seen,
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

impl Place {
    /// Whether there is nothing where the segment's seal says that there is a frame. The word is looked at again behind
    /// the seal: it may have been published, and the segment sealed, since the first look.
    #[cold]
    fn lacks_a_frame(&self) -> bool {
        self.segment.seal().is_some() && matches!(find(&self.window, &self.shape, self.unit), Found::Nothing)
    }
}

/// What is wrong with a frame whose offset is not the one that comes next.
const MISSING: &str = "records are missing before this frame";

/// A batch that is being read.
#[derive(Clone, Copy)]
struct Batch {
    frame: Frame,
    /// Bytes of the body that are read.
    at: usize,
    /// Records that are read.
    index: u32,
}

impl Reader {
    /// Which frames are compared with their checksums from now on.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append(b"order 41")?;
    /// # use oncelog::Verify;
    /// let mut reader = orders.read_from(0)?;
    /// reader.set_verify(Verify::OncePerSegment);
    /// assert!(reader.next()?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_verify(&mut self, verify: Verify) {
        self.verify = verify;
    }

    /// Offset that the next record has, or is behind.
    #[must_use]
    pub const fn next_offset(&self) -> u64 {
        self.next_offset
    }

    fn io(&self, source: io::Error) -> FetchError {
        FetchError::Io { path: self.partition.directory.clone(), source }
    }

    /// Goes on where a segment cannot be mapped because it, and its file, were taken off since it was found.
    #[cold]
    fn go_on_without(&mut self, segment: &Segment, source: io::Error) -> Result<(), FetchError> {
        if self.partition.chain.has_lost(segment, &source) {
            return self.go_behind_a_cut(segment.number(), segment.shape().base_position);
        }
        Err(FetchError::Io { path: segment.path(), source })
    }

    /// Begins a segment. Where retention has taken it off meanwhile that is told, and where a cut has, this reader stands at
    /// the same offset of what follows.
    pub(crate) fn enter(&mut self, segment: Arc<Segment>) -> Result<(), FetchError> {
        match segment.window() {
            Ok(window) => self.stand_in(segment, window, FIRST_UNIT),
            Err(source) => return self.go_on_without(&segment, source),
        }
        Ok(())
    }

    fn stand_in(&mut self, segment: Arc<Segment>, window: Window, unit: usize) {
        let shape = *segment.shape();
        let base_offset = segment.base_offset().unwrap_or(self.next_offset);
        self.batch = None;
        self.place = Some(Place { segment, window, shape, base_offset, unit });
    }

    /// The next record, or none if the next one is not visible yet.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append(b"order 41")?;
    /// let mut reader = orders.read_from(0)?;
    /// let record = reader.next()?.expect("a record");
    /// assert_eq!((record.offset(), record.payload()), (0, b"order 41".as_slice()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`FetchError::Trimmed`] if retention overtook this reader, [`FetchError::Corrupt`] for a frame that is not what it
    /// was: the reader stays before it, and can seek beyond.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "a record borrows from its reader, which no iterator's item can")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, FetchError> {
        if !self.is_within_limit()? {
            return Ok(None);
        }
        // One record a frame, in the segment at hand: a straight line that copies nothing but words.
        while let Some(frame) = self.record_at_hand() {
            if !self.passes(&frame) {
                return Err(self.corrupt(&frame, "the checksum does not agree"));
            }
            let offset = self.offset_of(&frame);
            if offset != self.next_offset {
                return Err(self.corrupt(&frame, MISSING));
            }
            if self.is_hidden(&frame)? {
                self.pass_over_hidden(&frame);
                // The limit is as it was when this read began.
                if self.next_offset >= self.seen.limit {
                    return Ok(None);
                }
                continue;
            }
            let Some(place) = &mut self.place else { return Ok(None) };
            frame.fetch_on(&place.window);
            place.unit += frame.units;
            self.next_offset = offset + 1;
            let payload = place.segment.body(&place.window, &frame);
            return Ok(Some(Record { place, payload, offset, frame, index: 0 }));
        }
        let Some(Stepped { frame, at, bytes, index, offset }) = self.step()? else { return Ok(None) };
        let Some(place) = &self.place else { return Ok(None) };
        match place.segment.body(&place.window, &frame).get(at..at + bytes) {
            Some(payload) => Ok(Some(Record { place, payload, offset, frame, index })),
            None => Err(self.corrupt(&frame, "a record reaches beyond its frame")),
        }
    }

    /// The frame that this reader stands at, if it is that of one record and the segment at hand is still the one to read.
    #[inline(always)]
    fn record_at_hand(&self) -> Option<Frame> {
        let place = self.place.as_ref().filter(|place| self.batch.is_none() && !place.segment.is_superseded())?;
        match find(&place.window, &place.shape, place.unit) {
            Found::Frame(frame) if frame.stored.kind() == Kind::Record && frame.unit < place.segment.limit() => {
                Some(frame)
            }
            _ => None,
        }
    }

    /// Offset of the first record of a frame in the segment at hand.
    #[inline(always)]
    fn offset_of(&self, frame: &Frame) -> u64 {
        self.place.as_ref().map_or(0, |place| place.base_offset) + u64::from(frame.stored.offset_delta())
    }

    /// Whether a frame of the segment at hand is as this reader wants it verified.
    #[inline(always)]
    fn passes(&self, frame: &Frame) -> bool {
        let Some(place) = &self.place else { return false };
        self.verify == Verify::Never || verified(&place.segment, &place.window, frame, self.verify)
    }

    /// Moves over one record and says where it is.
    fn step(&mut self) -> Result<Option<Stepped>, FetchError> {
        loop {
            if self.place.as_ref().is_some_and(|place| place.segment.is_superseded()) {
                self.pass_over()?;
                continue;
            }
            // One that a seek went into before it was decided.
            if let Some(Batch { frame, .. }) = self.batch
                && self.is_hidden(&frame)?
            {
                self.next_offset = self.offset_of(&frame) + u64::from(frame.stored.records());
                self.batch = None;
            }
            if let Some(batch) = &mut self.batch
                && let Some(place) = &self.place
            {
                if batch.index < batch.frame.stored.records() {
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
                        offset: place.base_offset
                            + u64::from(batch.frame.stored.offset_delta())
                            + u64::from(batch.index),
                    };
                    batch.at = at + bytes;
                    batch.index += 1;
                    self.next_offset = stepped.offset + 1;
                    return Ok(Some(stepped));
                }
                self.batch = None;
            }
            // Behind what was passed over. The limit is as it was when this read began.
            if self.next_offset >= self.seen.limit {
                return Ok(None);
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
                    let offset = place.base_offset + u64::from(frame.stored.offset_delta());
                    // Offsets leave no gap: void frames and seeks keep count of theirs.
                    if frame.stored.records() > 0 && offset != self.next_offset {
                        return Err(self.corrupt(&frame, MISSING));
                    }
                    if matches!(frame.stored.kind(), Kind::Record | Kind::Batch) && self.is_hidden(&frame)? {
                        self.pass_over_hidden(&frame);
                        continue;
                    }
                    let Some(place) = &mut self.place else { return Ok(None) };
                    frame.fetch_on(&place.window);
                    place.unit += frame.units;
                    match frame.stored.kind() {
                        Kind::Record => {
                            self.next_offset = offset + 1;
                            let bytes = frame.stored.body_bytes() as usize;
                            return Ok(Some(Stepped { frame, at: 0, bytes, index: 0, offset }));
                        }
                        Kind::Batch => self.batch = Some(Batch { frame, at: 0, index: 0 }),
                        Kind::Void => self.next_offset = offset + u64::from(frame.stored.records()),
                        Kind::Start
                        | Kind::Fence
                        | Kind::Mark
                        | Kind::Commit
                        | Kind::Abort
                        | Kind::Metadata
                        | Kind::Purge => {}
                    }
                }
                Found::Padding { units } => place.unit += units,
                Found::Invalid if place.unit < place.segment.limit() => {
                    let (path, at) = (place.segment.path(), place.unit as u64 * 8);
                    let reason = "the publication word is followed by no frame's header";
                    return Err(FetchError::Corrupt { path, at, offset: self.next_offset, reason });
                }
                Found::Frame(_) | Found::Nothing | Found::Invalid => {
                    if place.unit >= place.segment.limit() {
                        if !self.next_segment()? {
                            return Ok(None);
                        }
                    } else if place.lacks_a_frame() {
                        let (path, at) = (place.segment.path(), place.unit as u64 * 8);
                        let reason = "a published frame was expected here";
                        return Err(FetchError::Corrupt { path, at, offset: self.next_offset, reason });
                    } else {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Goes on where the segment at hand is given up: in the file's pages, where it is the memory that a sealed segment was
    /// appended in; behind it, where it was cut off and this reader stood at its end.
    #[cold]
    fn pass_over(&mut self) -> Result<(), FetchError> {
        let Some(place) = &mut self.place else { return Ok(()) };
        let number = place.shape.number;
        // Of a batch that is being read, the unit is the one behind it.
        let unit = self.batch.map_or(place.unit, |batch| batch.frame.unit);
        let next = self.partition.chain.segment(number).filter(|next| !next.is_superseded());
        let end = unit + self.batch.map_or(0, |batch| batch.frame.units);
        if let Some(segment) = next.filter(|next| end <= next.limit()) {
            match segment.window() {
                Ok(window) => (place.window, place.segment) = (window, segment),
                Err(source) => return self.go_on_without(&segment, source),
            }
            return Ok(());
        }
        let position = place.shape.position(unit);
        self.go_behind_a_cut(number, position)
    }

    /// The segment that this reader stood in, at that position, is no longer part of the log, or that position is not.
    #[cold]
    fn go_behind_a_cut(&mut self, number: u64, position: u64) -> Result<(), FetchError> {
        let chain = &self.partition.chain;
        let offset = self.next_offset;
        match chain.cut_under(number, position) {
            Some(end) if offset > end => return Err(FetchError::Truncated { offset, end }),
            Some(_) => {}
            // Dropped since.
            None => return Err(FetchError::Trimmed { offset, start: chain.start_offset() }),
        }
        match self.seek(offset) {
            Err(FetchError::OutOfRange { start, .. }) if offset < start => Err(FetchError::Trimmed { offset, start }),
            Err(FetchError::OutOfRange { end, .. }) => Err(FetchError::Truncated { offset, end }),
            moved => moved,
        }
    }

    /// Steps to the segment behind the one that is read to its end. Whether there is one with frames.
    #[cold]
    fn next_segment(&mut self) -> Result<bool, FetchError> {
        let chain = &self.partition.chain;
        // Segments without a record may have been dropped behind this reader: the first that is kept is then next.
        let Some(segment) = chain.behind(self.place.as_ref().map_or(0, |place| place.shape.number)) else {
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
        if base_offset < self.next_offset {
            // A cut was made between the last look and this one, or there was no segment before it.
            let (number, position) = self
                .place
                .as_ref()
                .map_or((0, u64::MAX), |place| (place.shape.number, place.shape.position(place.unit)));
            self.go_behind_a_cut(number, position)?;
            return Ok(true);
        }
        self.take_limit_back()?;
        self.enter(segment)?;
        Ok(true)
    }

    #[cold]
    fn corrupt(&self, frame: &Frame, reason: &'static str) -> FetchError {
        let path = self.place.as_ref().map_or_else(|| self.partition.directory.clone(), |place| place.segment.path());
        FetchError::Corrupt { path, at: frame.unit as u64 * 8, offset: self.next_offset, reason }
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

#[inline(always)]
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
