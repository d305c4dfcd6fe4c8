//! Where things lie in a log's files, as far as an edit needs it to keep checksums true. Written from the drawings in
//! `src/format`, and not with its code.

use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a segment before its first frame.
pub(crate) const FRAMES_AT: usize = 4096;
const HEADER_SUM_AT: usize = 88;
const SEALS_AT: [usize; 2] = [512, 1024];
const SEAL_SUM: usize = 56;
const SALT_AT: usize = 72;
const TAG_AT: usize = 64;
const BASE_POSITION_AT: usize = 56;

/// What a file is, told by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Segment,
    Snapshot,
    Identity,
    Other,
}

pub(crate) fn kind_of(name: &str) -> Kind {
    match name.rsplit_once('.') {
        Some((_, "seg" | "ready")) => Kind::Segment,
        Some((_, "snapshot")) => Kind::Snapshot,
        _ if name == "log" || name.ends_with("/partition") => Kind::Identity,
        _ => Kind::Other,
    }
}

pub(crate) fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
}

pub(crate) fn put(bytes: &mut [u8], at: usize, with: &[u8]) {
    if let Some(place) = at.checked_add(with.len()).and_then(|end| bytes.get_mut(at..end)) {
        place.copy_from_slice(with);
    }
}

/// Position of a segment's first byte.
pub(crate) fn base_position(bytes: &[u8]) -> u64 {
    word(bytes, BASE_POSITION_AT)
}

fn put_word(bytes: &mut [u8], at: usize, value: u64) {
    put(bytes, at, &value.to_le_bytes());
}

/// Where frames begin, and how long each is by its publication word.
pub(crate) fn frames(bytes: &[u8]) -> Vec<(usize, usize)> {
    let tag = word(bytes, TAG_AT);
    let mut found = Vec::new();
    let mut at = FRAMES_AT;
    while at + 8 <= bytes.len() {
        let publication = word(bytes, at);
        let length = (publication & 0x3F_FFFF) as usize * 8;
        if publication >> 24 != tag || publication >> 22 & 3 != 1 || length < 32 || at + length > bytes.len() {
            break;
        }
        found.push((at, length));
        at += length;
    }
    found
}

/// Makes the checksum of the frame at `at` true, whatever its header says.
pub(crate) fn fix_frame(bytes: &mut [u8], at: usize) {
    let (first, second) = (word(bytes, at + 16), word(bytes, at + 24));
    let kind = (first >> 32) as u8;
    let part = match kind & 0xC0 {
        0 => 0,
        0x80 => 24,
        _ => 40,
    };
    let body_at = at + 32 + part;
    let end = body_at.saturating_add(first as u32 as usize).min(bytes.len());
    let body = bytes.get(body_at..end).unwrap_or(&[]);
    let hash = if kind & 0x3F == 3 { 0 } else { xxh3_64(body) };
    let position = word(bytes, BASE_POSITION_AT).wrapping_add(at as u64);
    let mut summed = [hash, first, second, position, word(bytes, SALT_AT)].map(u64::to_le_bytes).concat();
    summed.extend(bytes.get(at + 32..at + 32 + part).unwrap_or(&[]));
    put_word(bytes, at + 8, xxh3_64(&summed));
}

/// Writes a frame at `at`, if there is room: publication word, header, the producer's part and a body.
pub(crate) fn write_frame(bytes: &mut [u8], at: usize, header: [u64; 2], part: &[u64], body: &[u8]) {
    let length = (32 + part.len() * 8 + body.len()).next_multiple_of(8);
    if at + length > bytes.len() {
        return;
    }
    put_word(bytes, at, word(bytes, TAG_AT) << 24 | 1 << 22 | (length / 8) as u64);
    put_word(bytes, at + 16, header[0]);
    put_word(bytes, at + 24, header[1]);
    for (index, value) in part.iter().enumerate() {
        put_word(bytes, at + 32 + index * 8, *value);
    }
    put(bytes, at + 32 + part.len() * 8, body);
    fix_frame(bytes, at);
}

/// Makes the checksums of a file true: those of the header, the seals and the frames of a segment, or the one at its end.
pub(crate) fn fix(kind: Kind, bytes: &mut [u8]) {
    match kind {
        Kind::Segment if bytes.len() >= FRAMES_AT => {
            let sum = xxh3_64(&bytes[..HEADER_SUM_AT]);
            put_word(bytes, HEADER_SUM_AT, sum);
            for at in SEALS_AT {
                // One that was never written is none.
                if bytes[at..at + SEAL_SUM].iter().any(|byte| *byte != 0) {
                    let sum = xxh3_64(&bytes[at..at + SEAL_SUM]) ^ word(bytes, SALT_AT);
                    put_word(bytes, at + SEAL_SUM, sum);
                }
            }
            for (at, _) in frames(bytes) {
                fix_frame(bytes, at);
            }
        }
        Kind::Snapshot | Kind::Identity => {
            if let Some(body) = bytes.len().checked_sub(8) {
                let sum = xxh3_64(&bytes[..body]);
                put_word(bytes, body, sum);
            }
        }
        _ => {}
    }
}
