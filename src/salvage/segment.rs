//! One new segment file: kept frames at their places, void frames in the gaps, a seal.

use crate::{
    error::{OpenError, io_at},
    format::{
        FRAME_ALIGN, RECORD_LENGTH_BYTES,
        control::{CONTROL_BYTES, Start},
        frame::{Form, Header, Kind, Part, PartWords, Producer, Publication, checksum, units_of},
        segment_header::{Seal, SegmentHeader},
    },
    ids::ProducerId,
    segment::{
        Shape,
        file::{USED, file_name},
        tail::{FIRST_UNIT, START_UNITS},
    },
};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes that are gathered before they are written.
const CHUNK: usize = 1 << 20;
/// Most units of one void frame.
const VOID_UNITS_MAX: usize = 1 << 20;
/// Most offsets that one frame takes.
const RECORDS_MAX: u64 = (1 << 24) - 1;
const PLAIN_UNITS: usize = units_of(0, Form::Plain);
const PRODUCER_UNITS: usize = units_of(0, Form::Near);

/// See the head of this file.
pub(super) struct NewSegment {
    file: File,
    path: PathBuf,
    pub(super) header: SegmentHeader,
    pub(super) shape: Shape,
    /// Bytes that wait to be written at `from`.
    waiting: Vec<u8>,
    from: u64,
}

impl NewSegment {
    pub(super) fn create(directory: &Path, header: SegmentHeader) -> Result<Self, OpenError> {
        let path = directory.join(file_name(header.number, USED));
        let create = || {
            let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            file.set_len(header.bytes)?;
            file.write_all_at(&header.encode(), 0)?;
            Ok(file)
        };
        let file = create().map_err(io_at("write", &path))?;
        Ok(Self { file, path, header, shape: Shape::of(&header), waiting: Vec::new(), from: 0 })
    }

    /// Puts bytes at a unit.
    pub(super) fn put(&mut self, unit: usize, bytes: &[u8]) -> Result<(), OpenError> {
        let at = unit as u64 * 8;
        if self.from + self.waiting.len() as u64 != at || self.waiting.len() > CHUNK {
            self.write()?;
            self.from = at;
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    fn write(&mut self) -> Result<(), OpenError> {
        self.file.write_all_at(&self.waiting, self.from).map_err(io_at("write", &self.path))?;
        self.waiting.clear();
        Ok(())
    }

    /// Puts a frame without a body but what `body` has of it.
    fn put_frame(&mut self, unit: usize, header: &Header, body: &[u8], hash: u64) -> Result<(), OpenError> {
        let units = units_of(header.body_bytes as usize, header.part.form());
        let position = self.shape.position(unit);
        let part = header.part.words(position);
        let [first, second] = header.words();
        let checksum = checksum([first, second], &part, hash, position, self.shape.salt);
        let words = [Publication::frame(self.shape.tag, units), checksum, first, second];
        let mut bytes = words.map(u64::to_le_bytes).as_flattened().to_vec();
        bytes.extend_from_slice(&part_bytes(&part));
        bytes.extend_from_slice(body);
        self.put(unit, &bytes)
    }

    /// Puts the START frame.
    pub(super) fn start(&mut self, start: Start) -> Result<(), OpenError> {
        let body = start.words().map(u64::to_le_bytes);
        let body = body.as_flattened();
        let header = Header {
            body_bytes: CONTROL_BYTES as u32,
            kind: Kind::Start,
            records: 0,
            offset_delta: 0,
            time_delta: 0,
            part: Part::None,
        };
        self.put_frame(FIRST_UNIT, &header, body, xxh3_64(body))
    }

    /// Whether so many records may have stood in so many units: each takes its length at least, and a frame its header.
    pub(super) fn has_room(units: usize, records: u64) -> bool {
        records == 0
            || units >= PLAIN_UNITS && records <= (units.saturating_mul(FRAME_ALIGN) / RECORD_LENGTH_BYTES) as u64
    }

    /// Fills `[from, to)` with void frames that take `lost` offsets from the segment's record `records` on.
    pub(super) fn void(&mut self, from: usize, to: usize, mut records: u64, mut lost: u64) -> Result<(), OpenError> {
        let mut unit = from;
        while to - unit >= PLAIN_UNITS {
            let left = to - unit;
            // Where so many are lost, frames are short enough that there is one for each share of them.
            let shares = lost.div_ceil(RECORDS_MAX).max(1) as usize;
            let most = VOID_UNITS_MAX.min((left / shares).max(PRODUCER_UNITS));
            // What is left over is a frame's header, or nothing.
            let units = if left <= most { left } else { most.min(left - PRODUCER_UNITS) };
            let with_producer = units >= PRODUCER_UNITS;
            let nobody = Producer {
                id: ProducerId::from_u64(u64::MAX),
                first_sequence: 0,
                epoch: 0,
                previous_position: 0,
                transaction: 0,
            };
            let part = if with_producer { Part::Near(nobody) } else { Part::None };
            let takes = lost.min(RECORDS_MAX);
            let header_units = if with_producer { PRODUCER_UNITS } else { PLAIN_UNITS };
            let header = Header {
                body_bytes: ((units - header_units) * 8) as u32,
                kind: Kind::Void,
                records: takes as u32,
                offset_delta: records as u32,
                time_delta: 0,
                part,
            };
            self.put_frame(unit, &header, &[], 0)?;
            records += takes;
            lost -= takes;
            unit += units;
        }
        self.padding(unit, to)
    }

    pub(super) fn padding(&mut self, from: usize, to: usize) -> Result<(), OpenError> {
        if from < to {
            self.put(from, &Publication::of_padding(self.shape.tag, to - from).to_le_bytes())?;
        }
        Ok(())
    }

    /// Ends the segment, for good.
    pub(super) fn seal(mut self, seal: &Seal) -> Result<(), OpenError> {
        self.write()?;
        let end = || {
            self.file.write_all_at(&seal.encode(self.shape.salt), seal.slot() as u64)?;
            self.file.sync_all()
        };
        end().map_err(io_at("write", &self.path))
    }

    /// The first unit behind the START frame.
    pub(super) const fn first_unit() -> usize {
        FIRST_UNIT + START_UNITS
    }
}

/// The producer's part as it is stored.
pub(super) fn part_bytes(part: &PartWords) -> Vec<u8> {
    let words: &[u64] = match part {
        PartWords::None => &[],
        PartWords::Near(words) => words,
        PartWords::Far(words) => words,
    };
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
