//! The frames of one segment file, read into memory of their own.

use super::files::StoredSegment;
use crate::{
    format::{
        FRAME_HEADER_BYTES,
        control::{Mark, Start},
        frame::{CHECKSUM_AT, Form, Kind, PartWords, Producer, Publication, Stored, checksum},
    },
    partition::{
        listing::FirstBlock,
        replay::{Taken, control_words},
    },
    raw::sys,
    segment::{
        Shape,
        file::USED,
        tail::{FIRST_UNIT, Place},
    },
};
use std::{fs::File, io, os::unix::fs::FileExt, thread, time::Duration};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes that are read at once: they stay in the processor's cache until they are looked at.
const CHUNK: usize = 512 << 10;
/// What a failed read is repeated in, so that no more is given up than what can't be read.
const SECTOR: usize = 4096;
/// How often a frame of an open segment that does not hold is read again, and how long after: it may be on its way.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_micros(200);

/// What stands at a unit.
pub(crate) enum Item<'a> {
    /// Nothing that is published.
    Nothing,
    /// Units to be skipped.
    Padding(usize),
    /// A frame whose checksum agrees.
    Frame(StoredFrame<'a>),
    /// What was published as a frame and is none, and why.
    Broken(&'static str),
}

/// A frame, with its bytes.
#[derive(Clone, Copy)]
pub(crate) struct StoredFrame<'a> {
    pub(crate) unit: usize,
    pub(crate) units: usize,
    pub(crate) stored: Stored,
    pub(crate) producer: Option<Producer>,
    pub(crate) body: &'a [u8],
}

impl<'a> StoredFrame<'a> {
    /// What a replay takes of it.
    #[inline]
    pub(crate) fn taken(&self, shape: &Shape, base_offset: u64) -> Taken<'a> {
        Taken {
            position: shape.position(self.unit),
            end_position: shape.position(self.unit + self.units),
            offset: base_offset + u64::from(self.stored.offset_delta()),
            at_ms: shape.prepared_ms + u64::from(self.stored.time_delta()),
            kind: self.stored.kind(),
            records: self.stored.records(),
            producer: self.producer,
            body: self.body,
        }
    }

    /// The position that a MARK frame says was durable.
    pub(crate) fn mark(&self) -> Option<u64> {
        let is_mark = self.stored.kind() == Kind::Mark;
        is_mark.then(|| control_words(self.body).map(|words| Mark::from_words(words).durable)).flatten()
    }

    /// What a START frame says.
    pub(crate) fn start(&self) -> Option<Start> {
        let is_start = self.stored.kind() == Kind::Start;
        is_start.then(|| control_words(self.body).map(Start::from_words).filter(Start::is_possible)).flatten()
    }
}

/// See the head of this file.
pub(crate) struct Frames {
    file: File,
    shape: Shape,
    /// Bytes of the file.
    length: usize,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    from: usize,
    /// Places that could not be read, and stand as zeros.
    unreadable: Vec<(usize, io::Error)>,
    /// Bytes read.
    pub(crate) read: u64,
}

/// Where a scan of a segment ended.
pub(crate) struct Scan {
    /// Behind the last whole frame, or the padding behind it.
    pub(crate) end: Place,
    /// Behind the last whole frame.
    pub(crate) frames_end: usize,
    /// Time of the latest frame, and of the latest with a record.
    pub(crate) latest_ms: u64,
    pub(crate) latest_record_ms: u64,
    /// Position up to which a frame says that all was durable.
    pub(crate) durable: u64,
    /// Why it ended before its limit.
    pub(crate) stop: Option<Stop>,
}

/// Why a scan ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nothing is published there.
    Nothing,
    /// A frame that is none.
    Broken(&'static str),
    /// A frame whose offset is not the one that comes next.
    Offset { found: u64 },
}

impl Frames {
    /// Waits until all that was written to the file is on the device.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Opens the file of a segment, if it is still what it was: none if it was removed, or is used again.
    pub(crate) fn open(segment: &StoredSegment) -> io::Result<Option<Self>> {
        // One that stood ready when it was listed may have been begun, and renamed, since.
        let renamed = segment.path.with_extension(USED);
        let found = [&segment.path, &renamed]
            .into_iter()
            .map(|path| (path, File::open(path)))
            .find(|(_, opened)| opened.as_ref().err().is_none_or(|error| error.kind() != io::ErrorKind::NotFound));
        let Some((path, file)) = found else { return Ok(None) };
        let file = file?;
        // A hint to the writer, which then does not use the file again. What is read proves itself without it.
        let _ = sys::try_lock_shared(&file);
        let same =
            FirstBlock::read(path).is_ok_and(|(_, first)| first.header().is_ok_and(|header| header == segment.header));
        if !same && !segment.header_is_damaged {
            return Ok(None);
        }
        Ok(Some(Self {
            file,
            shape: segment.shape,
            length: usize::try_from(segment.length.min(segment.header.bytes)).unwrap_or(0) / 8 * 8,
            buffer: Vec::new(),
            from: 0,
            unreadable: Vec::new(),
            read: 0,
        }))
    }

    pub(crate) const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Where something could not be read, in `[from, to)`.
    pub(crate) fn unreadable(&self, from: usize, to: usize) -> Option<&(usize, io::Error)> {
        self.unreadable.iter().find(|(at, _)| (from / SECTOR * SECTOR..to).contains(at))
    }

    /// Forgets what was read, so that it is read again.
    pub(crate) fn forget(&mut self) {
        self.buffer.clear();
    }

    /// The bytes in `[at, at + bytes)`; fewer where the file ends.
    #[inline]
    fn bytes(&mut self, at: usize, bytes: usize) -> &[u8] {
        if at < self.from || at + bytes > self.from + self.buffer.len() {
            self.fill(at, bytes);
        }
        let start = (at - self.from).min(self.buffer.len());
        let end = (start + bytes).min(self.buffer.len());
        &self.buffer[start..end]
    }

    #[cold]
    fn fill(&mut self, at: usize, bytes: usize) {
        let wanted = bytes.max(CHUNK).min(self.length.saturating_sub(at));
        self.from = at;
        self.buffer.resize(wanted, 0);
        let mut done = 0;
        while done < wanted {
            match self.file.read_at(&mut self.buffer[done..], (at + done) as u64) {
                // Cut since it was opened.
                Ok(0) => break,
                Ok(got) => done += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => done = self.fill_by_sectors(done),
            }
        }
        self.read += done as u64;
        self.buffer.truncate(done);
    }

    /// Reads on piece by piece, with zeros for what can't be read.
    fn fill_by_sectors(&mut self, mut done: usize) -> usize {
        while done < self.buffer.len() {
            let at = self.from + done;
            let bytes = (SECTOR - at % SECTOR).min(self.buffer.len() - done);
            if let Err(error) = self.file.read_exact_at(&mut self.buffer[done..done + bytes], at as u64) {
                self.buffer[done..done + bytes].fill(0);
                if self.unreadable(at, at + bytes).is_none() {
                    self.unreadable.push((at, error));
                }
            }
            done += bytes;
        }
        done
    }

    /// Looks at `unit`, which is the end of a frame, or any place where one may begin.
    ///
    /// Inlined whatever the compiler thinks of it, and so is `frame`: a frame that is handed back through memory is loaded
    /// in other pieces than it was stored in, which stalls (seen as a fifth of the time that it takes to verify a log).
    #[inline(always)]
    pub(crate) fn at(&mut self, unit: usize) -> Item<'_> {
        let capacity = self.shape.capacity;
        let Some(word) = self.bytes(unit * 8, 8).first_chunk::<8>().map(|word| u64::from_le_bytes(*word)) else {
            return Item::Nothing;
        };
        match Publication::parse(word, self.shape.tag, unit, capacity) {
            Publication::None => Item::Nothing,
            Publication::Padding { units } => Item::Padding(units),
            Publication::Frame { units } => self.frame(unit, units),
        }
    }

    #[inline(always)]
    fn frame(&mut self, unit: usize, units: usize) -> Item<'_> {
        let (position, salt) = (self.shape.position(unit), self.shape.salt);
        let bytes = self.bytes(unit * 8, units * 8);
        if bytes.len() < units * 8 {
            return Item::Broken("the file ends inside of this frame");
        }
        // One load and one check a word: byte by byte this was a third of the time that it takes to verify a log. What a
        // frame's length has no room for is 0, and then no checksum agrees.
        let word = |at: usize| {
            let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
            word.map_or(0, |word| u64::from_le_bytes(*word))
        };
        let Some(stored) = Stored::new([word(CHECKSUM_AT + 8), word(CHECKSUM_AT + 16)], units) else {
            return Item::Broken("the publication word is followed by no frame's header");
        };
        // As long as its header says: the part lies inside.
        let part_word = |index: usize| word(FRAME_HEADER_BYTES + index * 8);
        let part = match stored.form() {
            Form::Plain => PartWords::None,
            Form::Near => PartWords::Near(std::array::from_fn(part_word)),
            Form::Far => PartWords::Far(std::array::from_fn(part_word)),
        };
        let body = stored.header_bytes();
        let Some(body) = bytes.get(body..body + stored.body_bytes() as usize) else {
            return Item::Broken("the body reaches beyond its frame");
        };
        let hash = if stored.kind() == Kind::Void { 0 } else { xxh3_64(body) };
        if checksum(stored.words(), &part, hash, position, salt) != word(CHECKSUM_AT) {
            return Item::Broken("the checksum does not agree");
        }
        let producer = match part {
            PartWords::None => None,
            PartWords::Near(words) => Some(Producer::from_near(words, position)),
            PartWords::Far(words) => Some(Producer::from_far(words)),
        };
        Item::Frame(StoredFrame { unit, units, stored, producer, body })
    }

    /// The body of a frame that was found here.
    pub(crate) fn body(&mut self, unit: usize, stored: &Stored) -> &[u8] {
        self.bytes(unit * 8 + stored.header_bytes(), stored.body_bytes() as usize)
    }

    /// The bytes of a frame that was found here.
    pub(crate) fn raw(&mut self, unit: usize, units: usize) -> &[u8] {
        self.bytes(unit * 8, units * 8)
    }

    /// The first unit in `[from, to)` at which a whole frame begins that takes `records` or later ones. Where frames begin is
    /// not known behind a broken one, so each place is looked at; the tag, the position and the salt in the checksum tell.
    pub(crate) fn next_frame(&mut self, from: usize, to: usize, records: u64) -> Option<usize> {
        (from..to.min(self.length / 8)).find(|unit| match self.at(*unit) {
            Item::Frame(frame) => u64::from(frame.stored.offset_delta()) >= records,
            _ => false,
        })
    }

    /// The furthest durable position that a whole MARK frame from `unit` on speaks of.
    pub(crate) fn durable_behind(&mut self, unit: usize) -> u64 {
        let mut durable = 0;
        for unit in unit..self.length / 8 {
            if let Item::Frame(frame) = self.at(unit) {
                durable = durable.max(frame.mark().unwrap_or(0));
            }
        }
        durable
    }

    /// The START frame, if there is one.
    pub(crate) fn start(&mut self) -> Option<Start> {
        match self.at(FIRST_UNIT) {
            Item::Frame(frame) => frame.start(),
            _ => None,
        }
    }

    /// Shows `visit` the whole frames from `from` on in their order, up to `limit` or to what is none. `is_open` says that a
    /// writer may be at work here.
    pub(crate) fn scan(
        &mut self,
        from: Place,
        limit: usize,
        is_open: bool,
        mut visit: impl FnMut(&StoredFrame<'_>, &Shape),
    ) -> Scan {
        let shape = self.shape;
        let mut scan = Scan {
            end: from,
            frames_end: from.units,
            latest_ms: shape.prepared_ms,
            latest_record_ms: shape.prepared_ms,
            durable: 0,
            stop: None,
        };
        let mut looks = if is_open { LOOKS } else { 0 };
        while scan.end.units < limit {
            let stop = match self.at(scan.end.units) {
                Item::Frame(frame) if u64::from(frame.stored.offset_delta()) == scan.end.records => {
                    visit(&frame, &shape);
                    let at_ms = shape.prepared_ms + u64::from(frame.stored.time_delta());
                    scan.latest_ms = scan.latest_ms.max(at_ms);
                    if frame.stored.records() > 0 {
                        scan.latest_record_ms = scan.latest_record_ms.max(at_ms);
                    }
                    scan.durable = scan.durable.max(frame.mark().unwrap_or(0));
                    scan.end.units += frame.units;
                    scan.end.records += u64::from(frame.stored.records());
                    scan.frames_end = scan.end.units;
                    continue;
                }
                Item::Padding(units) => {
                    scan.end.units += units;
                    continue;
                }
                Item::Frame(frame) => Stop::Offset { found: u64::from(frame.stored.offset_delta()) },
                Item::Nothing => Stop::Nothing,
                Item::Broken(what) => Stop::Broken(what),
            };
            if looks == 0 {
                scan.stop = Some(stop);
                break;
            }
            // What was read ahead may have been published since, and what is broken may be on its way.
            looks -= 1;
            self.forget();
            if stop != Stop::Nothing {
                thread::sleep(BETWEEN_LOOKS);
            } else {
                looks = looks.min(1);
            }
        }
        scan
    }
}
