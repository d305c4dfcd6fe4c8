//! Published frames of one segment, in order. There is one definition of "published" for readers, waiters, fences,
//! sealing and recovery: a publication word with the tag of the segment's present use.

use super::{
    Shape,
    tail::{FIRST_UNIT, Place},
};
use crate::{
    format::{
        FRAME_HEADER_BYTES,
        frame::{CHECKSUM_AT, Form, HEADER_WORDS, PartWords, Producer, Publication, Stored, checksum},
    },
    raw::window::Window,
    sync::{AtomicU64, Ordering},
};

/// What stands at a unit of a segment.
#[derive(Clone, Copy)]
pub(crate) enum Found {
    /// Nothing that is published.
    Nothing,
    /// Units to be skipped.
    Padding { units: usize },
    /// A frame.
    Frame(Frame),
    /// A published word, and behind it a header that no frame has.
    Invalid,
}

/// A published frame: its place, and its header as it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) unit: usize,
    pub(crate) units: usize,
    pub(crate) checksum: u64,
    pub(crate) stored: Stored,
}

impl Frame {
    /// Where the body lies in the file.
    #[inline(always)]
    pub(crate) const fn body_at(&self) -> usize {
        self.unit * 8 + self.stored.header_bytes()
    }

    /// The frame's position in the partition.
    #[inline(always)]
    pub(crate) const fn position(&self, shape: &Shape) -> u64 {
        shape.position(self.unit)
    }

    /// Asks for the frames to come, for whoever goes on to them.
    #[inline(always)]
    pub(crate) fn fetch_on(&self, window: &Window) {
        window.fetch_on(self.unit * 8, self.units * 8);
    }

    /// Asks for the headers to come, for whoever looks at nothing else.
    #[inline(always)]
    pub(crate) fn fetch_headers_on(&self, window: &Window) {
        window.fetch_headers_on(self.unit * 8, self.units * 8);
    }

    /// The producer's part, in the window that the frame was found in.
    #[inline(always)]
    pub(crate) fn producer(&self, window: &Window, shape: &Shape) -> Option<Producer> {
        match self.part_words(window) {
            PartWords::None => None,
            PartWords::Near(words) => Some(Producer::from_near(words, self.position(shape))),
            PartWords::Far(words) => Some(Producer::from_far(words)),
        }
    }

    #[inline(always)]
    fn part_words(&self, window: &Window) -> PartWords {
        let at = self.unit * 8 + FRAME_HEADER_BYTES;
        match self.stored.form() {
            Form::Plain => PartWords::None,
            // SAFETY: a `Frame` is only made by `find`, which loaded the word that publishes it, and saw that it is as long
            // as its header says: the producer's part lies inside.
            Form::Near => PartWords::Near(unsafe { window.read_words(at) }),
            // SAFETY: as above.
            Form::Far => PartWords::Far(unsafe { window.read_words(at) }),
        }
    }

    /// The checksum that this frame has if its body has that hash.
    #[inline(always)]
    pub(crate) fn checksum_of(&self, window: &Window, shape: &Shape, body_hash: u64) -> u64 {
        checksum(self.stored.words(), &self.part_words(window), body_hash, self.position(shape), shape.salt)
    }
}

/// Looks at `unit`, which is the end of a frame, or where the first frame begins.
#[inline(always)]
pub(crate) fn find(window: &Window, shape: &Shape, unit: usize) -> Found {
    if unit >= shape.capacity {
        return Found::Nothing;
    }
    match Publication::parse(window.load(unit * 8), shape.tag, unit, shape.capacity) {
        Publication::None => Found::Nothing,
        Publication::Padding { units } => Found::Padding { units },
        Publication::Frame { units } => {
            // SAFETY: the word loaded above publishes at least a header's bytes here.
            let [checksum, first, second]: [u64; HEADER_WORDS] = unsafe { window.read_words(unit * 8 + CHECKSUM_AT) };
            match Stored::new([first, second], units) {
                Some(stored) => Found::Frame(Frame { unit, units, checksum, stored }),
                None => Found::Invalid,
            }
        }
    }
}

/// A walk beyond this goes through memory rather than the cache.
const FAR_UNITS: usize = 1024;

/// How far a segment's frames are published without a gap.
pub(crate) struct Visible {
    /// A packed `Place`. Raised by whoever walks, with `fetch_max`; read by whoever asks. Records never fall while units
    /// rise, so the packed words are ordered as the places are.
    word: AtomicU64,
}

impl Visible {
    pub(crate) fn none() -> Self {
        Self::at(Place { records: 0, units: FIRST_UNIT })
    }

    pub(crate) fn at(place: Place) -> Self {
        Self { word: AtomicU64::new(place.pack()) }
    }

    /// The last known mark.
    pub(crate) fn known(&self) -> Place {
        // Acquire: pairs with the Release in `raise`, so that what the mark covers may be read.
        Place::unpack(self.word.load(Ordering::Acquire))
    }

    /// Moves the mark to a place up to which somebody has scanned.
    pub(crate) fn raise(&self, to: Place) {
        // Release: carries on what the scan has acquired; pairs with the Acquire in `known`.
        self.word.fetch_max(to.pack(), Ordering::AcqRel);
    }

    /// Walks on from the last known mark, moves it, and returns it.
    pub(crate) fn walk(&self, window: &Window, shape: &Shape) -> Place {
        let from = self.known();
        let mut place = from;
        loop {
            match find(window, shape, place.units) {
                Found::Frame(frame) => {
                    // Whoever walks a little at a time comes right behind the appenders, whose lines are not to be taken
                    // from them.
                    if place.units - from.units >= FAR_UNITS {
                        frame.fetch_headers_on(window);
                    }
                    place.units += frame.units;
                    place.records += u64::from(frame.stored.records());
                }
                Found::Padding { units } => place.units += units,
                Found::Nothing | Found::Invalid => break,
            }
        }
        if place != from {
            self.raise(place);
        }
        place
    }
}
