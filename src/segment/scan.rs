//! Published frames of one segment, in order. There is one definition of "published" for readers, waiters, fences,
//! sealing and recovery: a publication word with the tag of the segment's present use.

use super::{
    Shape,
    tail::{FIRST_UNIT, Place},
};
use crate::{
    format::{
        FRAME_HEADER_BYTES,
        frame::{CHECKSUM_AT, HEADER_WORDS, Header, Producer, Publication},
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

/// A published frame: its place and its header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) unit: usize,
    pub(crate) units: usize,
    pub(crate) checksum: u64,
    pub(crate) header: Header,
}

impl Frame {
    /// Where the body lies in the file.
    #[inline]
    pub(crate) const fn body_at(&self) -> usize {
        self.unit * 8 + self.header.bytes()
    }

    /// The frame's position in the partition.
    #[inline]
    pub(crate) const fn position(&self, shape: &Shape) -> u64 {
        shape.position(self.unit)
    }
}

/// Looks at `unit`, which is the end of a frame, or where the first frame begins.
#[inline]
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
            let producer = if Header::has_producer(first) {
                if units < (FRAME_HEADER_BYTES + crate::format::PRODUCER_BYTES) / 8 {
                    return Found::Invalid;
                }
                // SAFETY: as above; the frame is long enough by the check.
                Some(Producer::from_words(unsafe { window.read_words(unit * 8 + FRAME_HEADER_BYTES) }))
            } else {
                None
            };
            match Header::from_words([first, second], producer) {
                Some(header) if header.fits(units) => Found::Frame(Frame { unit, units, checksum, header }),
                _ => Found::Invalid,
            }
        }
    }
}

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
        // Acquire: pairs with the Release in `walk`, so that what the mark covers may be read.
        Place::unpack(self.word.load(Ordering::Acquire))
    }

    /// Walks on from the last known mark, moves it, and returns it.
    pub(crate) fn walk(&self, window: &Window, shape: &Shape) -> Place {
        let from = self.known();
        let mut place = from;
        loop {
            match find(window, shape, place.units) {
                Found::Frame(frame) => {
                    place.units += frame.units;
                    place.records += u64::from(frame.header.records);
                }
                Found::Padding { units } => place.units += units,
                Found::Nothing | Found::Invalid => break,
            }
        }
        if place != from {
            // Release: carries on what this walk has acquired; pairs with the Acquire in `known`.
            self.word.fetch_max(place.pack(), Ordering::AcqRel);
        }
        place
    }
}
