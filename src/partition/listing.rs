//! What a partition's directory holds: its segments by number, those that were begun, and what stands ready.

use super::{
    replay::control_words,
    snapshots::{SNAPSHOT, UNFINISHED},
    unfinished::Starts,
};
use crate::{
    error::{OpenError, io_at},
    format::{
        FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, VERSION,
        control::Start,
        files::Identity,
        frame::{Form, Kind, PartWords, Publication, Stored, checksum},
        segment_header::{HEADER_BYTES, HeaderFault, Seal, SegmentHeader},
    },
    segment::{
        Shape,
        file::{READY, SPARE, Segment, USED},
        scan::{Found, find},
        tail::{FIRST_UNIT, START_UNITS},
    },
};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use xxhash_rust::xxh3::xxh3_64;

/// Files of a partition's directory, ascending by number.
pub(super) struct Listing {
    pub(super) segments: Vec<(u64, PathBuf)>,
    pub(super) ready: Vec<(u64, PathBuf)>,
    pub(super) snapshots: Vec<(u64, PathBuf)>,
}

pub(super) fn list(directory: &Path) -> Result<Listing, OpenError> {
    let mut listing = Listing { segments: Vec::new(), ready: Vec::new(), snapshots: Vec::new() };
    for entry in fs::read_dir(directory).map_err(io_at("list", directory))? {
        let path = entry.map_err(io_at("list", directory))?.path();
        let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or("");
        if [UNFINISHED, SPARE].contains(&suffix) {
            fs::remove_file(&path).map_err(io_at("remove", &path))?;
            continue;
        }
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        let Some(number) = number else { continue };
        match suffix {
            USED => listing.segments.push((number, path)),
            READY => listing.ready.push((number, path)),
            SNAPSHOT => listing.snapshots.push((number, path)),
            _ => {}
        }
    }
    listing.segments.sort();
    listing.ready.sort();
    listing.snapshots.sort();
    Ok(listing)
}

/// A segment's first block, and the length of its file.
pub(crate) struct FirstBlock {
    pub(crate) block: [u8; SEGMENT_HEADER_BYTES],
    /// What stands where a START frame does.
    start: [u8; START_UNITS * 8],
    pub(crate) length: u64,
}

impl FirstBlock {
    /// Reads it from the file at `path`, and hands out the file too.
    pub(crate) fn read(path: &Path) -> Result<(File, Self), OpenError> {
        let file = File::open(path).map_err(io_at("open", path))?;
        let length = file.metadata().map_err(io_at("examine", path))?.len();
        let mut block = [0; SEGMENT_HEADER_BYTES];
        if length < block.len() as u64 {
            return Err(OpenError::Foreign {
                path: path.to_owned(),
                reason: format!("it has {length} bytes, and a segment has at least {}", block.len()),
            });
        }
        file.read_exact_at(&mut block, 0).map_err(io_at("read", path))?;
        let mut start = [0; START_UNITS * 8];
        if file.read_exact_at(&mut start, SEGMENT_HEADER_BYTES as u64).is_err() {
            // A file that is cut short, or a sector that can't be read: whoever needs the frame finds out.
            start.fill(0);
        }
        Ok((file, Self { block, start, length }))
    }

    /// What the START frame says, if it is whole.
    pub(crate) fn start(&self, header: &SegmentHeader) -> Option<Start> {
        let shape = Shape::of(header);
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| self.start[at * 8 + index]));
        let units = match Publication::parse(word(0), shape.tag, FIRST_UNIT, shape.capacity) {
            Publication::Frame { units } if units == START_UNITS => units,
            _ => return None,
        };
        let stored = Stored::new([word(2), word(3)], units)?;
        let is_start = stored.kind() == Kind::Start && stored.form() == Form::Plain;
        let body = self.start.get(FRAME_HEADER_BYTES..).filter(|body| body.len() == stored.body_bytes() as usize)?;
        let position = shape.position(FIRST_UNIT);
        let agrees = checksum(stored.words(), &PartWords::None, xxh3_64(body), position, shape.salt) == word(1);
        (is_start && agrees).then(|| control_words(body).map(Start::from_words).filter(Start::is_possible))?
    }

    /// What the header says, whatever the file is called and however long it is.
    pub(crate) fn header(&self) -> Result<SegmentHeader, HeaderFault> {
        let (bytes, _) = self.block.split_first_chunk::<HEADER_BYTES>().unwrap_or((&[0; HEADER_BYTES], &[]));
        SegmentHeader::decode(bytes)
    }

    /// The header, if the file at `path` is that segment of that partition, whole.
    pub(crate) fn check(
        &self,
        number: u64,
        path: &Path,
        identity: &Identity,
        partition: u32,
    ) -> Result<SegmentHeader, OpenError> {
        let foreign = |reason: String| OpenError::Foreign { path: path.to_owned(), reason };
        let corrupt = |reason: String| OpenError::Corrupt { path: path.to_owned(), at: 0, reason };
        let header = self.header().map_err(|fault| match fault {
            HeaderFault::Magic(magic) => foreign(format!("it begins with {magic:#018x}, and not as a segment does")),
            HeaderFault::Version(found) => OpenError::Version { path: path.to_owned(), found, known: VERSION },
            HeaderFault::Checksum => corrupt("the header's checksum does not agree".to_owned()),
            HeaderFault::Value(name, value) => corrupt(format!("the header says {name} {value}")),
        })?;
        if (header.log, header.partition) != (identity.log, partition) {
            return Err(foreign("it is of another log or partition".to_owned()));
        }
        if (header.number, header.bytes) != (number, self.length) {
            return Err(corrupt(format!(
                "the header says segment {} of {} bytes, the file is segment {number} of {} bytes",
                header.number, header.bytes, self.length
            )));
        }
        Ok(header)
    }
}

/// Whether a file is what a name leaves that reached the device before its header: nothing, or the header of an earlier
/// use of the file.
pub(crate) fn is_headless(path: &Path, number: u64, identity: &Identity, partition: u32) -> bool {
    let mut bytes = [0; HEADER_BYTES];
    let Ok(file) = File::open(path) else { return false };
    // A name may also come before the length that the file was given.
    let is_empty = file.metadata().is_ok_and(|file| file.len() == 0);
    let read = is_empty || file.read_exact_at(&mut bytes, 0).is_ok();
    let earlier_use = SegmentHeader::decode(&bytes)
        .is_ok_and(|header| (header.log, header.partition) == (identity.log, partition) && header.number < number);
    read && (bytes == [0; HEADER_BYTES] || earlier_use)
}

fn open_segment(
    number: u64,
    path: &Path,
    identity: &Identity,
    partition: u32,
) -> Result<(Segment, Option<Start>), OpenError> {
    let (_, first) = FirstBlock::read(path)?;
    let header = first.check(number, path, identity, partition)?;
    let segment = match Seal::newest(&first.block, &header) {
        Some(seal) => Segment::sealed(path.to_owned(), header, seal),
        None => Segment::unsealed(path.to_owned(), header),
    };
    Ok((segment, first.start(&header)))
}

/// The START frame of an unsealed segment, if it was begun.
pub(super) fn start_of(segment: &Segment) -> Result<Option<Start>, OpenError> {
    let window = segment.window().map_err(io_at("map", segment.path()))?;
    let Found::Frame(frame) = find(&window, segment.shape(), FIRST_UNIT) else { return Ok(None) };
    if frame.stored.kind() != Kind::Start || !segment.verifies(&window, &frame) {
        return Ok(None);
    }
    Ok(control_words(segment.body(&window, &frame)).map(Start::from_words).filter(Start::is_possible))
}

/// What is found under a segment's name.
enum Opened {
    /// With its START frame, where that is whole.
    Segment(Box<Segment>, Option<Start>),
    /// With the error that it is if it is missed: a header that was never written, or that of an earlier use of the file: the name reached the device, and the header
    /// did not. Nothing in the segment was ever durable, since a first flush takes the header along.
    Headless(OpenError),
}

/// Opens what was given the name of a segment with frames.
fn open_named(number: u64, path: &Path, identity: &Identity, partition: u32) -> Result<Opened, OpenError> {
    let refused = match open_segment(number, path, identity, partition) {
        Ok((segment, start)) => return Ok(Opened::Segment(Box::new(segment), start)),
        Err(refused @ (OpenError::Foreign { .. } | OpenError::Corrupt { .. })) => refused,
        Err(other) => return Err(other),
    };
    if is_headless(path, number, identity, partition) { Ok(Opened::Headless(refused)) } else { Err(refused) }
}

/// The segments that were begun, in order, without those that stand ready, which are removed; and the first name behind
/// them that has no header, where the partition ends if it is torn there.
pub(super) fn begun_segments(
    listing: &Listing,
    identity: &Identity,
    partition: u32,
) -> Result<(Vec<Segment>, Starts, Headless), OpenError> {
    let mut segments = Vec::with_capacity(listing.segments.len() + listing.ready.len());
    let mut starts = Starts::new();
    let mut headless = Vec::new();
    for (number, path) in &listing.segments {
        match open_named(*number, path, identity, partition)? {
            Opened::Segment(segment, start) => {
                starts.extend(start.filter(|start| start.cut).map(|start| (*number, start)));
                segments.push(*segment);
            }
            Opened::Headless(refused) => headless.push((*number, path.clone(), refused)),
        }
    }
    let mut last_begun = segments.last().map_or(0, Segment::number);
    let mut ready = Vec::new();
    for (number, path) in &listing.ready {
        let taken = listing.segments.iter().any(|(used, _)| used == number);
        let opened = match open_named(*number, path, identity, partition) {
            // What cannot be read may hold anything.
            Err(other) if !matches!(other, OpenError::Foreign { .. } | OpenError::Corrupt { .. }) => return Err(other),
            opened => opened,
        };
        if let Ok(Opened::Segment(segment, start)) = &opened
            && !taken
            && start_of(segment)?.is_some()
        {
            starts.extend(start.filter(|start| start.cut).map(|start| (*number, start)));
            segment.rename_to_used().map_err(io_at("rename", path))?;
            last_begun = last_begun.max(*number);
        }
        ready.push((*number, path, taken, opened));
    }
    for (number, path, taken, opened) in ready {
        if taken || number > last_begun {
            // It holds nothing: a segment that was begun has a header, and a frame.
            fs::remove_file(path).map_err(io_at("remove", path))?;
            continue;
        }
        match opened? {
            // One without a START frame below one that was begun: the thread that was to write it was killed while others
            // went on behind it. It is an open frame like any other, and ends the partition where it stands.
            Opened::Segment(segment, _) => segments.push(*segment),
            // The same after a power cut that left later segments their headers.
            Opened::Headless(refused) => headless.push((number, path.clone(), refused)),
        }
    }
    headless.sort_by_key(|(number, ..)| *number);
    segments.sort_by_key(Segment::number);
    Ok((segments, starts, headless))
}

/// Refuses numbers with a gap that nothing explains.
pub(super) fn refuse_gaps(segments: &[Segment], starts: &Starts, headless: &Headless) -> Result<(), OpenError> {
    for (before, after) in segments.iter().zip(segments.iter().skip(1)) {
        let torn_between = headless.iter().any(|(number, ..)| *number == before.number() + 1);
        let cut_between = starts.contains_key(&after.number());
        if before.number() + 1 != after.number() && !torn_between && !cut_between {
            return Err(OpenError::Corrupt {
                path: after.path(),
                at: 0,
                reason: format!("segment {} is followed by segment {}", before.number(), after.number()),
            });
        }
    }
    Ok(())
}

/// Names of segments without a header, ascending.
pub(super) type Headless = Vec<(u64, PathBuf, OpenError)>;
