//! The tail of a segment: claim space, publish a frame, step to the next segment.
//!
//! ```text
//!   published           claimed, being written      free
//! |--F0--|--F1--|-----------C2-----------|--F3--|............|
//!                                               ^ word: records (28) : units (36)
//! ```
//!
//! 1. One `fetch_add` gives a claim its place and its offsets. What lies inside of the segment is the claimer's alone
//!    until it publishes. Claims are disjoint because additions to one word are.
//! 2. A claim that does not fit is given up. Exactly one of those begins inside of the segment or at its end: that
//!    thread fills the rest with padding and stores where the frames ended (`closed`).
//! 3. From then on any thread completes the step: it takes the linked successor and gives it its base offset with one
//!    compare-and-swap. Who wins writes the START frame, which nobody else has to wait for to claim behind it.
//! 4. A tail lives on the heap, apart from its memory, and is never used twice. A thread that comes late, to a segment
//!    that is long gone, adds to the tail's word, does not fit, and follows the link: it never touches the memory.
//! 5. So a claim keeps its segment: while one is unpublished the segment is not visible to its end, and only segments
//!    that are (and are sealed) are ever unmapped, dropped or recycled.
//! 6. A segment that was prepared and not opened can be withdrawn, with the same compare-and-swap that would open it. Its
//!    tail stays in the chain and only leads on: whoever steps passes it over.
//!
//! The word's lower half overshoots by one frame for every appender that comes late; 36 bits hold the largest segment
//! and 32,000 appenders with the largest frame (`APPENDERS_MAX`). Its upper half may wrap in an overshoot, which harms
//! nothing: only counts of claims that fitted are used, and those are below 2^28 because each record takes 4 bytes.

use super::Shape;
use crate::{
    format::{
        FRAME_BYTES_MAX, FRAME_HEADER_BYTES, SEGMENT_BYTES_MAX, SEGMENT_HEADER_BYTES,
        control::{CONTROL_BYTES, Start},
        frame::{CHECKSUM_AT, Form, Header, Kind, Part, PartWords, Publication, checksum, units_of},
    },
    raw::{
        link::Link,
        window::{Claim, Window},
    },
    sync::{Arc, AtomicU64, Ordering},
};
use crossbeam_utils::CachePadded;
use xxhash_rust::xxh3::xxh3_64;

const UNITS_BITS: u32 = 36;
const UNITS_MASK: u64 = (1 << UNITS_BITS) - 1;

/// Most handles that may append to one partition at the same time.
pub(crate) const APPENDERS_MAX: u64 = 32_000;

const _: () = assert!(SEGMENT_BYTES_MAX / 8 + APPENDERS_MAX * (FRAME_BYTES_MAX as u64 / 8) < 1 << UNITS_BITS);

/// The first unit behind a segment's header. A model's segment has no header.
pub(crate) const FIRST_UNIT: usize = if cfg!(loom) { 0 } else { SEGMENT_HEADER_BYTES / 8 };

/// Units of the START frame.
pub(crate) const START_UNITS: usize = units_of(CONTROL_BYTES, Form::Plain);

/// A segment that has no base offset yet.
const NOT_OPENED: u64 = u64::MAX;
/// A segment that never gets one.
const WITHDRAWN: u64 = u64::MAX - 1;
/// A segment that still takes claims.
const NOT_CLOSED: u64 = u64::MAX;

/// A number of records and of units, in one word: a place in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Records before this place.
    pub(crate) records: u64,
    /// Units before this place, from the start of the file.
    pub(crate) units: usize,
}

impl Place {
    /// Behind the START frame.
    pub(crate) const FIRST: Self = Self { records: 0, units: FIRST_UNIT + START_UNITS };

    #[inline]
    pub(crate) const fn pack(self) -> u64 {
        self.records << UNITS_BITS | self.units as u64
    }

    #[inline]
    pub(crate) const fn unpack(word: u64) -> Self {
        Self { records: word >> UNITS_BITS, units: (word & UNITS_MASK) as usize }
    }
}

/// Where frames are claimed.
pub(crate) struct Tail {
    /// The next claim's place. Added to by every appender and by no one else; read by `claimed`. On its own cache line.
    word: CachePadded<AtomicU64>,
    shape: Shape,
    window: Window,
    /// Offset of the first record, `NOT_OPENED` or `WITHDRAWN`. Set once, by whoever completes the step to this segment or
    /// takes it back; read by that step, and afterwards by everyone.
    base_offset: AtomicU64,
    /// Where the frames ended, packed, or `NOT_CLOSED`. Written once by the thread whose claim crossed the end; read by
    /// whoever completes the step to the successor.
    closed: AtomicU64,
    /// The next segment's tail, linked by the preparer.
    next: Link<Self>,
}

/// What became of a try to open a segment.
enum Opening {
    /// This call opened it.
    First,
    /// It was open.
    Later,
    /// It was withdrawn before.
    Withdrawn,
}

/// Space claimed at a place.
pub(crate) struct Reservation {
    pub(crate) claim: Claim,
    pub(crate) place: Place,
}

impl Reservation {
    /// The same reservation, put together anew.
    ///
    /// What a cold function returns or takes lies in memory. If the hot path shared that place, it would store its words
    /// there one by one and load them again two at a time, which stalls until all stores before have reached the cache
    /// (seen as 10 ns an append).
    #[inline(always)]
    pub(crate) fn anew(self) -> Self {
        let Self { claim, place: Place { records, units } } = self;
        Self { claim: claim.anew(), place: Place { records, units } }
    }
}

impl Tail {
    /// The tail of a prepared segment, which takes no claims before it is opened by its predecessor.
    ///
    /// The window must stay valid while a claim made from it is unpublished, and be claimed from by this tail alone: see
    /// rule 5 above, which the owner of the memory keeps.
    pub(crate) fn prepared(shape: Shape, window: Window) -> Self {
        Self {
            word: CachePadded::new(AtomicU64::new(Place::FIRST.pack())),
            shape,
            window,
            base_offset: AtomicU64::new(NOT_OPENED),
            closed: AtomicU64::new(NOT_CLOSED),
            next: Link::new(),
        }
    }

    /// A tail that takes no claims and only leads to its successor: it stands for all that was appended before.
    pub(crate) fn ended(number: u64, base_position: u64, end_position: u64, end_offset: u64) -> Self {
        let shape = Shape { number, capacity: 0, base_position, tag: 0, salt: 0, prepared_ms: 0 };
        let units = ((end_position - base_position) / 8) as usize;
        Self {
            // Beyond the capacity of 0, so that no claim is the one that crosses the end.
            word: CachePadded::new(AtomicU64::new(1)),
            shape,
            window: Window::empty(),
            base_offset: AtomicU64::new(end_offset),
            closed: AtomicU64::new(Place { records: 0, units }.pack()),
            next: Link::new(),
        }
    }

    #[inline]
    pub(crate) const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Claims `records` offsets and `units` units; none if the segment has no room for them, now or ever again.
    #[inline]
    pub(crate) fn claim(&self, records: u32, units: usize) -> Option<Reservation> {
        let step = Place { records: u64::from(records), units }.pack();
        // AcqRel: additions to this word are how a fence is ordered with the appends of the producer it fences: whoever
        // claims behind a fence sees the epoch stored before the fence claimed (`partition/fence.rs`).
        let place = Place::unpack(self.word.fetch_add(step, Ordering::AcqRel));
        if place.units + units > self.shape.capacity {
            self.cross(place);
            return None;
        }
        // SAFETY: the addition made these units ours (rule 1), and the memory stays until we publish (rule 5).
        let claim = unsafe { self.window.claim(place.units * 8, units * 8) };
        Some(Reservation { claim, place })
    }

    /// A claim at `place` did not fit. If it was the first such one, ends the segment there.
    #[cold]
    fn cross(&self, place: Place) {
        let Some(rest) = self.shape.capacity.checked_sub(place.units) else { return };
        // A segment without memory is no one's to end: `ended` has said where it ended.
        if self.shape.capacity == 0 {
            return;
        }
        if rest > 0 {
            // SAFETY: claims that fitted lie below `place`, all others were given up (rule 2), so the rest is ours.
            let claim = unsafe { self.window.claim(place.units * 8, rest * 8) };
            claim.publish(Publication::of_padding(self.shape.tag, rest));
        }
        // Relaxed: the word says all there is to know. What was published before is seen through the publication words,
        // and whoever steps on has added to `word` itself, or has seen the addition that crossed the end.
        self.closed.store(place.pack(), Ordering::Relaxed);
    }

    /// The next segment, opened; none while it is not prepared, or while the thread that crossed the end of this one has
    /// not said where. The flag says that this call opened it.
    pub(crate) fn successor(&self) -> Option<(Arc<Self>, bool)> {
        // Relaxed: see `cross`.
        let closed = self.closed.load(Ordering::Relaxed);
        if closed == NOT_CLOSED {
            return None;
        }
        let end = Place::unpack(closed);
        let base_offset = self.base_offset() + end.records;
        let start = Start::following(base_offset, self.shape.position(end.units));
        let mut next = self.next.get()?;
        loop {
            match next.open(start) {
                Opening::First => return Some((next, true)),
                Opening::Later => return Some((next, false)),
                Opening::Withdrawn => next = next.next.get()?,
            }
        }
    }

    /// Takes a segment that stands ready back, for good. False if it was opened: then it is in use.
    pub(crate) fn withdraw(&self) -> bool {
        // AcqRel: of this and the exchange in `open` one wins, and the memory is given up only behind a win here.
        self.base_offset.compare_exchange(NOT_OPENED, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Gives this segment its base offset. Every thread that comes here brings the same one, unless a cut was made, which has
    /// opened it before any of them could; the first also writes the START frame.
    fn open(&self, start: Start) -> Opening {
        // AcqRel on success: the base offset is seen by whoever is led here (Acquire in `base_offset`).
        let before =
            self.base_offset.compare_exchange(NOT_OPENED, start.base_offset, Ordering::AcqRel, Ordering::Acquire);
        if before.is_ok() {
            self.write_start(start);
        }
        match before {
            Ok(_) => Opening::First,
            Err(WITHDRAWN) => Opening::Withdrawn,
            Err(_) => Opening::Later,
        }
    }

    /// Writes the START frame. Called by whoever opens the segment, once.
    fn write_start(&self, start: Start) {
        let header = Header {
            body_bytes: CONTROL_BYTES as u32,
            kind: Kind::Start,
            records: 0,
            offset_delta: 0,
            time_delta: 0,
            part: Part::None,
        };
        // SAFETY: claims begin behind the START frame; it is its opener's, who won the exchange, or holds the tail before.
        let claim = unsafe { self.window.claim(FIRST_UNIT * 8, START_UNITS * 8) };
        self.publish_control(claim, FIRST_UNIT, header, start.words());
    }

    /// Ends this segment without saying where, so that nobody steps on before that is dropped: none if it has
    /// ended, or is being ended, already. What was claimed in it may still be on its way.
    pub(crate) fn hold(tail: &Arc<Self>) -> Option<Held> {
        let capacity = tail.shape.capacity;
        let step = Place { records: 0, units: capacity + 1 }.pack();
        // AcqRel: as every claim's.
        let place = Place::unpack(tail.word.fetch_add(step, Ordering::AcqRel));
        let rest = capacity.checked_sub(place.units).filter(|_| capacity > 0)?;
        if rest > 0 {
            // SAFETY: as in `cross`: this is the first claim that does not fit.
            let claim = unsafe { tail.window.claim(place.units * 8, rest * 8) };
            claim.publish(Publication::of_padding(tail.shape.tag, rest));
        }
        Some(Held { tail: Arc::clone(tail), place })
    }

    /// Claims as `claim` does, if the record that is claimed next has that number in the segment.
    pub(crate) fn claim_record(&self, record: u64, records: u32, units: usize) -> Conditional {
        let step = Place { records: u64::from(records), units }.pack();
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let place = Place::unpack(word);
            if place.units > self.shape.capacity {
                return Conditional::Full;
            }
            if place.records != record {
                return Conditional::Other { record: place.records };
            }
            // AcqRel: as every claim's.
            match self.word.compare_exchange_weak(word, word.wrapping_add(step), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if place.units + units > self.shape.capacity => {
                    self.cross(place);
                    return Conditional::Full;
                }
                Ok(_) => {
                    // SAFETY: as in `claim`.
                    let claim = unsafe { self.window.claim(place.units * 8, units * 8) };
                    return Conditional::Claimed(Reservation { claim, place });
                }
                Err(now) => word = now,
            }
        }
    }

    /// Writes and publishes a control frame into a claim at `unit`.
    pub(crate) fn publish_control<const N: usize>(
        &self,
        mut claim: Claim,
        unit: usize,
        header: Header,
        body: [u64; N],
    ) {
        let hash = xxh3_64(body.map(u64::to_le_bytes).as_flattened());
        claim.write_words(FRAME_HEADER_BYTES, body);
        self.publish(claim, unit, &header, hash);
    }

    /// Writes the header into a claim at `unit` whose body is written, and publishes the frame.
    ///
    /// Inlined whatever the compiler thinks of it: passed through memory, the header's two halves of a word would be
    /// loaded as one behind two stores, which stalls until both have reached the cache (seen as 10 ns an append).
    #[inline(always)]
    pub(crate) fn publish(&self, mut claim: Claim, unit: usize, header: &Header, body_hash: u64) {
        let position = self.shape.position(unit);
        let part = header.part.words(position);
        let [first, second] = header.words();
        let checksum = checksum([first, second], &part, body_hash, position, self.shape.salt);
        claim.write_words(CHECKSUM_AT, [checksum, first, second]);
        match part {
            PartWords::None => {}
            PartWords::Near(words) => claim.write_words(FRAME_HEADER_BYTES, words),
            PartWords::Far(words) => claim.write_words(FRAME_HEADER_BYTES, words),
        }
        let units = units_of(header.body_bytes as usize, header.part.form());
        claim.publish(Publication::frame(self.shape.tag, units));
    }

    /// Publishes a claim as a void frame: its offsets are taken, and nothing is in it.
    #[inline(always)]
    pub(crate) fn publish_void(&self, reservation: Reservation, units: usize, records: u32, now_ms: u64) {
        self.void(reservation.anew(), units, records, now_ms);
    }

    #[cold]
    fn void(&self, reservation: Reservation, units: usize, records: u32, now_ms: u64) {
        let header = Header {
            body_bytes: (units * 8 - FRAME_HEADER_BYTES) as u32,
            kind: Kind::Void,
            records,
            offset_delta: reservation.place.records as u32,
            time_delta: self.time_delta(now_ms),
            part: Part::None,
        };
        self.publish(reservation.claim, reservation.place.units, &header, 0);
    }

    /// Milliseconds from the segment's preparation to `now_ms`.
    #[inline]
    pub(crate) fn time_delta(&self, now_ms: u64) -> u32 {
        u32::try_from(now_ms.saturating_sub(self.shape.prepared_ms)).unwrap_or(u32::MAX)
    }

    /// The first record's offset. Only called on a tail that was opened: whoever was led to it by its predecessor.
    #[inline]
    pub(crate) fn base_offset(&self) -> u64 {
        // Acquire: pairs with the exchange in `open`.
        self.base_offset.load(Ordering::Acquire)
    }

    /// The first record's offset, if frames may have been claimed here.
    pub(crate) fn opened(&self) -> Option<u64> {
        let base = self.base_offset();
        (base < WITHDRAWN).then_some(base)
    }

    /// How far claims have gone, at most the end of the segment.
    pub(crate) fn claimed(&self) -> usize {
        Place::unpack(self.word.load(Ordering::Acquire)).units.min(self.shape.capacity)
    }

    /// An offset that no later claim is before; none unless the segment takes claims.
    pub(crate) fn next_offset(&self) -> Option<u64> {
        let Place { records, units } = Place::unpack(self.word.load(Ordering::Acquire));
        // Only the records of claims that fitted count.
        let base_offset = self.opened().filter(|_| units <= self.shape.capacity)?;
        Some(base_offset + records)
    }

    /// Whether a claim has crossed the end, so that there will be a word of where. Whoever makes a new handle, or claims
    /// without one, looks here first: each handle overshoots a segment once, and handles come and go without end. A
    /// segment that is filled to its last unit has not been crossed yet: the next claim does that.
    pub(crate) fn is_full(&self) -> bool {
        Place::unpack(self.word.load(Ordering::Acquire)).units > self.shape.capacity
    }

    /// Closes the segment early, by a claim larger than what is left.
    pub(crate) fn close(&self) {
        if !self.is_full() {
            let _too_large = self.claim(0, self.shape.capacity);
        }
    }

    /// Whether the thread that crossed the end has said where that is.
    pub(crate) fn has_ended(&self) -> bool {
        self.closed.load(Ordering::Relaxed) != NOT_CLOSED
    }

    /// Where the frames ended, without the padding behind them, once the thread that crossed the end has said so.
    pub(crate) fn ended_at(&self) -> Option<Place> {
        let closed = self.closed.load(Ordering::Relaxed);
        (closed != NOT_CLOSED).then(|| Place::unpack(closed))
    }

    /// The next segment's tail that was not withdrawn, opened or not.
    pub(crate) fn next(&self) -> Option<Arc<Self>> {
        let mut next = self.next.get();
        while let Some(tail) = next.take_if(|tail| tail.base_offset() == WITHDRAWN) {
            next = tail.next.get();
        }
        next
    }

    /// Links the next segment. Called by the one preparer of the chain.
    pub(crate) fn link(&self, next: Arc<Self>) {
        self.next.set(next);
    }

    /// Whether a successor is linked that was not withdrawn.
    pub(crate) fn has_next(&self) -> bool {
        self.next().is_some()
    }
}

/// What a claim comes to that is to be the one of a certain record.
pub(crate) enum Conditional {
    Claimed(Reservation),
    /// The next record has another number.
    Other {
        record: u64,
    },
    /// The segment has no room, now or ever again.
    Full,
}

/// A segment that takes no more claims, and whose end nobody knows yet but who holds it: all that come to it wait. Dropped,
/// it leads on as if it had filled up.
pub(crate) struct Held {
    tail: Arc<Tail>,
    place: Place,
}

impl Held {
    /// The tail of the segment that follows, which nobody can open meanwhile.
    pub(crate) fn next(&self) -> Option<Arc<Tail>> {
        self.tail.next()
    }

    /// Position behind the segment.
    pub(crate) fn end_position(&self) -> u64 {
        self.tail.shape.end_position()
    }

    /// Writes the START frame of the segment that follows, which is not open for all that.
    pub(crate) fn write_start(&self, next: &Tail, start: Start) {
        next.write_start(start);
    }

    /// Opens the segment that follows. Its START frame is written.
    pub(crate) fn open(&self, next: &Tail, start: Start) {
        // Release: as the exchange in `Tail::open`; whoever is led there sees the base offset.
        next.base_offset.store(start.base_offset, Ordering::Release);
    }

    /// Never leads on: what stands in the next segment must not be opened as if nothing had been. Whoever waits must find
    /// out otherwise that it is in vain.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Relaxed: see `Tail::cross`.
        self.tail.closed.store(self.place.pack(), Ordering::Relaxed);
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // A handle that slept through many segments may hold the last reference to the first of a long chain. Dropped
        // one by one, so that the chain's length is not the depth of a recursion.
        let mut next = self.next.take();
        while let Some(tail) = next {
            next = match Arc::try_unwrap(tail) {
                Ok(mut tail) => tail.next.take(),
                Err(_) => None,
            };
        }
    }
}
