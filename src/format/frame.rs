//! Frames: how a record, a batch or a control entry is stored.
//!
//! ```text
//!        0               4               8              12              16
//!      0 | publication word              | checksum                      |
//!     16 | body bytes    |kind| records  | offset delta  | time delta    |
//!     32 | producer id                   | first sequence                |  a producer's frame only
//!     48 | epoch         | distance back |                                  its near form
//!     48 | epoch         | 0             | previous position             |  its far form
//!     64 | transaction number            |
//!        | body ...                                  zeros up to 8 bytes |
//!
//! publication word:  63            24 23 22 21             0
//!                   | tag of the use | state | units of 8 B |
//! ```
//!
//! - *publication word*: stored last. It counts only where its upper 40 bits are the tag of the segment's present use.
//!   State 1 is a frame, 2 is padding (to be skipped; it may be as short as this word).
//! - *checksum*: xxh3-64 over the body's own xxh3-64, the 16 bytes at 16, the frame's position, the segment's salt and
//!   the producer's part, in this order. So the body is hashed before its place is known, and a frame that was written to
//!   the wrong place, or is left from another use of the file, does not pass.
//! - *kind*: 6 bits; the 8th says that the producer's part is there, the 7th that it has the far form. *records*: 24
//!   bits, the offsets that the frame takes.
//! - *offset delta*: of its first record, from the segment's base offset. *time delta*: milliseconds from the time in the
//!   segment's header.
//! - *previous position*: of the frame that holds this producer's previous batch in this partition; 0 is none. An old
//!   retry is found by walking these. The near form has the *distance back* from the frame's own position instead, in
//!   units of 8 B, and 0 for none: 16 bytes fewer, which at 100 B is a tenth of what an append takes.
//! - *transaction number*: 0 is none. A marker, which ends a transaction here, has a producer's part in its far form: the
//!   sequence that comes next, and the position of the last batch that counts.
//!
//! A void frame with a producer's part whose id is all ones stands in the place of frames that a salvage has lost: it takes
//! their offsets, and says that producers' batches may be missing there.

pub(crate) use super::kind::Kind;
use super::{FRAME_ALIGN, FRAME_HEADER_BYTES, PRODUCER_BYTES, PRODUCER_FAR_BYTES};
use crate::ids::ProducerId;
use xxhash_rust::xxh3::xxh3_64;

/// Where the checksum lies in a frame.
pub(crate) const CHECKSUM_AT: usize = 8;

/// Words from the checksum to the end of the header.
pub(crate) const HEADER_WORDS: usize = (FRAME_HEADER_BYTES - CHECKSUM_AT) / 8;
const NEAR_WORDS: usize = PRODUCER_BYTES / 8;
const FAR_WORDS: usize = PRODUCER_FAR_BYTES / 8;

/// Bits of a publication word's tag.
pub(crate) const TAG_BITS: u32 = 40;
const TAG_SHIFT: u32 = 64 - TAG_BITS;
const STATE_SHIFT: u32 = 22;
const UNITS_MASK: u64 = (1 << STATE_SHIFT) - 1;
const STATE_FRAME: u64 = 1;
const STATE_PADDING: u64 = 2;

const PRODUCER_FLAG: u8 = 0x80;
const FAR_FLAG: u8 = 0x40;
const KIND_MASK: u8 = 0x3F;

/// Most bytes that the near form reaches back. Small in this crate's own tests, which go beyond it.
const NEAR_BYTES_MAX: u64 = if cfg!(test) { 1 << 17 } else { (u32::MAX as u64) * 8 };

const _: () = assert!(TAG_SHIFT == STATE_SHIFT + 2 && HEADER_WORDS == 3 && NEAR_WORDS == 3 && FAR_WORDS == 5);

/// What stands between a frame's header and its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Nothing.
    Plain,
    /// The producer's part, with the distance back.
    Near,
    /// The producer's part, with the previous position.
    Far,
}

impl Form {
    /// The form for a producer's frame that will be claimed below `end`, unless others claim far beyond it first: half of
    /// what the near form reaches is left for those, and [`Form::reaches`] is asked once the place is known.
    #[inline(always)]
    pub(crate) const fn ahead(previous_position: u64, end: u64) -> Self {
        if previous_position == 0 || end.saturating_sub(previous_position) <= NEAR_BYTES_MAX / 2 {
            Self::Near
        } else {
            Self::Far
        }
    }

    /// Whether a frame of this form at `position` can tell where the previous one is, also if a snapshot says: behind it.
    #[inline(always)]
    pub(crate) const fn reaches(self, position: u64, previous: u64) -> bool {
        !matches!(self, Self::Near) || previous == 0 || previous <= position && position - previous <= NEAR_BYTES_MAX
    }

    /// Bytes before the body.
    #[inline(always)]
    pub(crate) const fn header_bytes(self) -> usize {
        match self {
            Self::Plain => FRAME_HEADER_BYTES,
            Self::Near => FRAME_HEADER_BYTES + PRODUCER_BYTES,
            Self::Far => FRAME_HEADER_BYTES + PRODUCER_FAR_BYTES,
        }
    }

    #[inline(always)]
    const fn flags(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Near => PRODUCER_FLAG,
            Self::Far => PRODUCER_FLAG | FAR_FLAG,
        }
    }
}

/// The units of 8 bytes that a frame with a body of that many bytes takes.
#[inline(always)]
pub(crate) const fn units_of(body_bytes: usize, form: Form) -> usize {
    (form.header_bytes() + body_bytes).div_ceil(FRAME_ALIGN)
}

/// A publication word, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publication {
    /// Not published in this use of the segment.
    None,
    Frame {
        units: usize,
    },
    Padding {
        units: usize,
    },
}

impl Publication {
    #[inline]
    pub(crate) const fn frame(tag: u64, units: usize) -> u64 {
        tag << TAG_SHIFT | STATE_FRAME << STATE_SHIFT | units as u64
    }

    #[inline]
    pub(crate) const fn of_padding(tag: u64, units: usize) -> u64 {
        // Padding can be longer than 22 bits of units can say only in a segment beyond the largest frame's size; it is
        // then told by 0 units, which means: to the end of the segment.
        let units = if units as u64 > UNITS_MASK { 0 } else { units as u64 };
        tag << TAG_SHIFT | STATE_PADDING << STATE_SHIFT | units
    }

    /// Takes apart `word`, found at `unit` of a segment of `capacity` units. What would leave the segment counts as not
    /// published: no length is believed beyond the memory that is there.
    #[inline]
    pub(crate) const fn parse(word: u64, tag: u64, unit: usize, capacity: usize) -> Self {
        if word >> TAG_SHIFT != tag {
            return Self::None;
        }
        let units = (word & UNITS_MASK) as usize;
        let room = capacity - unit;
        match word >> STATE_SHIFT & 3 {
            STATE_FRAME if units >= FRAME_HEADER_BYTES / 8 && units <= room => Self::Frame { units },
            STATE_PADDING if units == 0 => Self::Padding { units: room },
            STATE_PADDING if units <= room => Self::Padding { units },
            _ => Self::None,
        }
    }
}

/// A frame's header without publication word and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) body_bytes: u32,
    pub(crate) kind: Kind,
    /// Offsets taken, at most 2^24 - 1.
    pub(crate) records: u32,
    pub(crate) offset_delta: u32,
    pub(crate) time_delta: u32,
    pub(crate) part: Part,
}

/// The producer's part of a frame, in one of its forms, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    None,
    Near(Producer),
    Far(Producer),
}

/// The same, as stored.
pub(crate) enum PartWords {
    None,
    Near([u64; NEAR_WORDS]),
    Far([u64; FAR_WORDS]),
}

impl Part {
    #[inline(always)]
    pub(crate) const fn of(producer: Producer, form: Form) -> Self {
        match form {
            Form::Plain => Self::None,
            Form::Near => Self::Near(producer),
            Form::Far => Self::Far(producer),
        }
    }

    #[inline(always)]
    pub(crate) const fn form(&self) -> Form {
        match self {
            Self::None => Form::Plain,
            Self::Near(_) => Form::Near,
            Self::Far(_) => Form::Far,
        }
    }

    /// The words of a frame at `position`.
    #[inline(always)]
    pub(crate) const fn words(&self, position: u64) -> PartWords {
        match self {
            Self::None => PartWords::None,
            Self::Near(producer) => PartWords::Near(producer.near_words(position)),
            Self::Far(producer) => PartWords::Far(producer.far_words()),
        }
    }
}

/// The producer's part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) id: ProducerId,
    pub(crate) first_sequence: u64,
    pub(crate) epoch: u32,
    pub(crate) previous_position: u64,
    pub(crate) transaction: u64,
}

impl Producer {
    /// For a frame at a position from which the near form reaches the previous one.
    #[inline(always)]
    const fn near_words(&self, position: u64) -> [u64; NEAR_WORDS] {
        let back = if self.previous_position == 0 { 0 } else { (position - self.previous_position) / 8 };
        [self.id.get(), self.first_sequence, self.epoch as u64 | back << 32]
    }

    #[inline(always)]
    const fn far_words(&self) -> [u64; FAR_WORDS] {
        [self.id.get(), self.first_sequence, self.epoch as u64, self.previous_position, self.transaction]
    }

    /// A distance that no frame at `position` has, as a damaged one may, is taken for none.
    #[inline(always)]
    pub(crate) const fn from_near([id, first_sequence, third]: [u64; NEAR_WORDS], position: u64) -> Self {
        let back = (third >> 32) * 8;
        let previous_position = if back == 0 { 0 } else { position.saturating_sub(back) };
        Self { id: ProducerId::from_u64(id), first_sequence, epoch: third as u32, previous_position, transaction: 0 }
    }

    #[inline(always)]
    pub(crate) const fn from_far(words: [u64; FAR_WORDS]) -> Self {
        let [id, first_sequence, epoch, previous_position, transaction] = words;
        Self { id: ProducerId::from_u64(id), first_sequence, epoch: epoch as u32, previous_position, transaction }
    }
}

impl Header {
    /// The two words at 16.
    #[inline(always)]
    pub(crate) const fn words(&self) -> [u64; 2] {
        let kind = self.kind as u8 | self.part.form().flags();
        [
            self.body_bytes as u64 | (kind as u64) << 32 | (self.records as u64) << 40,
            self.offset_delta as u64 | (self.time_delta as u64) << 32,
        ]
    }

    /// Bytes before the body.
    #[inline]
    pub(crate) const fn bytes(&self) -> usize {
        self.part.form().header_bytes()
    }
}

/// See the head of this file.
#[inline(always)]
pub(crate) fn checksum([first, second]: [u64; 2], part: &PartWords, body_hash: u64, position: u64, salt: u64) -> u64 {
    let words = [body_hash, first, second, position, salt];
    match part {
        PartWords::None => xxh3_64(words.map(u64::to_le_bytes).as_flattened()),
        PartWords::Near(part) => {
            let mut all = [0; 5 + NEAR_WORDS];
            all[..5].copy_from_slice(&words);
            all[5..].copy_from_slice(part);
            xxh3_64(all.map(u64::to_le_bytes).as_flattened())
        }
        PartWords::Far(part) => {
            let mut all = [0; 5 + FAR_WORDS];
            all[..5].copy_from_slice(&words);
            all[5..].copy_from_slice(part);
            xxh3_64(all.map(u64::to_le_bytes).as_flattened())
        }
    }
}

/// The two words at 16 of a stored frame, taken apart on demand: cheap to pass on, since whoever walks over frames asks
/// for little of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    first: u64,
    second: u64,
}

impl Stored {
    /// The header of a frame of `units`; none if no such frame is ever stored.
    #[inline(always)]
    pub(crate) const fn new([first, second]: [u64; 2], units: usize) -> Option<Self> {
        let stored = Self { first, second };
        let known = Kind::from_bits(stored.kind_bits()).is_some() && stored.flags() != FAR_FLAG;
        if known && units_of(stored.body_bytes() as usize, stored.form()) == units { Some(stored) } else { None }
    }

    #[inline(always)]
    pub(crate) const fn words(&self) -> [u64; 2] {
        [self.first, self.second]
    }

    #[inline(always)]
    const fn kind_bits(&self) -> u8 {
        (self.first >> 32) as u8 & KIND_MASK
    }

    #[inline(always)]
    const fn flags(&self) -> u8 {
        (self.first >> 32) as u8 & !KIND_MASK
    }

    #[inline(always)]
    pub(crate) const fn kind(&self) -> Kind {
        match Kind::from_bits(self.kind_bits()) {
            Some(kind) => kind,
            None => unreachable!(),
        }
    }

    #[inline(always)]
    pub(crate) const fn body_bytes(&self) -> u32 {
        self.first as u32
    }

    /// Offsets taken.
    #[inline(always)]
    pub(crate) const fn records(&self) -> u32 {
        (self.first >> 40) as u32
    }

    #[inline(always)]
    pub(crate) const fn offset_delta(&self) -> u32 {
        self.second as u32
    }

    #[inline(always)]
    pub(crate) const fn time_delta(&self) -> u32 {
        (self.second >> 32) as u32
    }

    #[inline(always)]
    pub(crate) const fn form(&self) -> Form {
        match self.flags() {
            0 => Form::Plain,
            PRODUCER_FLAG => Form::Near,
            _ => Form::Far,
        }
    }

    /// Bytes before the body.
    #[inline(always)]
    pub(crate) const fn header_bytes(&self) -> usize {
        self.form().header_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_word_never_reaches_beyond_its_segment() {
        let tag = 0xAB_CDEF_0123;
        assert_eq!(Publication::parse(Publication::frame(tag, 4), tag, 10, 14), Publication::Frame { units: 4 });
        assert_eq!(Publication::parse(Publication::frame(tag, 5), tag, 10, 14), Publication::None);
        assert_eq!(
            Publication::parse(Publication::frame(tag, 3), tag, 10, 14),
            Publication::None,
            "shorter than a header"
        );
        assert_eq!(Publication::parse(Publication::frame(tag ^ 1, 4), tag, 10, 14), Publication::None);
        assert_eq!(Publication::parse(Publication::of_padding(tag, 1), tag, 13, 14), Publication::Padding { units: 1 });
        let far = 1 << 23;
        assert_eq!(
            Publication::parse(Publication::of_padding(tag, far), tag, 0, far),
            Publication::Padding { units: far }
        );
        assert_eq!(Publication::parse(0, tag, 0, 14), Publication::None);
    }

    #[test]
    fn a_header_survives_its_words() {
        let producer = Producer {
            id: ProducerId::new(7, 3),
            first_sequence: 9,
            epoch: 4,
            previous_position: 4096,
            transaction: 0,
        };
        for part in [Part::None, Part::Near(producer), Part::Far(producer)] {
            let header =
                Header { body_bytes: 5, kind: Kind::Batch, records: 0xFF_FFFF, offset_delta: 1, time_delta: 2, part };
            let stored = Stored::new(header.words(), units_of(5, part.form())).expect("a header that is stored");
            let seen =
                (stored.body_bytes(), stored.kind(), stored.records(), stored.offset_delta(), stored.time_delta());
            assert_eq!(seen, (5, Kind::Batch, 0xFF_FFFF, 1, 2));
            assert_eq!((stored.form(), stored.header_bytes()), (part.form(), header.bytes()));
            match part.words(8192) {
                PartWords::None => assert_eq!(part, Part::None),
                PartWords::Near(words) => assert_eq!(Producer::from_near(words, 8192), producer),
                PartWords::Far(words) => assert_eq!(Producer::from_far(words), producer),
            }
            assert_eq!(Stored::new(header.words(), units_of(5, part.form()) + 1), None, "of another length");
        }
    }

    #[test]
    fn the_near_form_is_taken_as_far_as_it_reaches() {
        let half = NEAR_BYTES_MAX / 2;
        assert_eq!(Form::ahead(0, u64::MAX), Form::Near, "there is nothing to point to");
        assert_eq!((Form::ahead(4096, 4096 + half), Form::ahead(4096, 4097 + half)), (Form::Near, Form::Far));
        assert!(Form::Near.reaches(4096 + NEAR_BYTES_MAX, 4096) && !Form::Near.reaches(4104 + NEAR_BYTES_MAX, 4096));
        assert!(Form::Near.reaches(u64::MAX, 0) && Form::Far.reaches(u64::MAX, 4096) && !Form::Near.reaches(9, 10));
        let producer = Producer {
            id: ProducerId::new(1, 1),
            first_sequence: 0,
            epoch: 1,
            previous_position: 4096,
            transaction: 0,
        };
        let furthest = 4096 + NEAR_BYTES_MAX / 8 * 8;
        let PartWords::Near(words) = Part::Near(producer).words(furthest) else { panic!("near") };
        assert_eq!(Producer::from_near(words, furthest), producer);
        assert_eq!(Producer::from_near(words, 8).previous_position, 0, "a distance beyond the first position");
    }

    #[test]
    fn an_unknown_kind_is_no_header() {
        let header =
            Header { body_bytes: 0, kind: Kind::Record, records: 1, offset_delta: 0, time_delta: 0, part: Part::None };
        let [first, second] = header.words();
        assert!(Stored::new([first, second], 4).is_some());
        assert_eq!(Stored::new([first | 0x30 << 32, second], 4), None);
        for units in 4..10 {
            assert_eq!(Stored::new([first | u64::from(FAR_FLAG) << 32, second], units), None, "far, of no producer");
        }
    }
}
