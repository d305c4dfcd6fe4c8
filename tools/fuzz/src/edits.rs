//! Edits of a log's files, told by an input's bytes: bits flipped, words set, ranges copied, frames forged. Most of them
//! have the checksums made true behind them, so that what is behind a checksum is reached.

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::entries;
use crate::files::Files;
use crate::layout::{FRAMES_AT, Kind, fix, frames, kind_of, put, word, write_frame};

/// Most edits of one input.
const EDITS_MAX: usize = 12;

/// Longest file that an edit makes.
const FILE_BYTES_MAX: usize = 256 << 10;

/// Files that may be edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Segments,
    Snapshots,
    /// What the ledger says.
    Records,
    All,
}

/// Numbers at which lengths, offsets and epochs go wrong.
const EDGES: [u64; 20] = [
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    511,
    512,
    4095,
    4096,
    65_536,
    (1 << 22) - 1,
    (1 << 28) - 1,
    u32::MAX as u64 - 1,
    u32::MAX as u64,
    1 << 40,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

pub(crate) fn number(input: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match input.int_in_range(0..=3_u8)? {
        0 => *input.choose(&EDGES)?,
        1 => input.int_in_range(0..=300_u64)?,
        2 => u64::arbitrary(input)?,
        // Near the end of what a number may be.
        _ => u64::MAX.wrapping_sub(input.int_in_range(0..=70_000_u64)?),
    })
}

/// A place in a file: mostly where something is.
fn place(input: &mut Unstructured<'_>, bytes: &[u8]) -> Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    let at = match input.int_in_range(0..=3_u8)? {
        0 => input.int_in_range(0..=95_usize)?,
        1 => 512 + input.int_in_range(0..=1)? * 512 + input.int_in_range(0..=63_usize)?,
        2 => FRAMES_AT + input.int_in_range(0..=900_usize)?,
        _ => input.int_in_range(0..=bytes.len() - 1)?,
    };
    Ok(at.min(bytes.len() - 1))
}

/// A log's files as an input has edited them.
pub(crate) struct Edited {
    pub(crate) files: Files,
    /// Some checksum was made true: what is there is not what damage leaves.
    pub(crate) is_forged: bool,
}

/// One of the `bases` as the input edits it.
pub(crate) fn edited(bases: &[Files], scope: Scope, input: &mut Unstructured<'_>) -> Result<Edited> {
    let mut files = input.choose(bases)?.clone();
    let mut is_forged = false;
    // Damage alone in some.
    let may_forge = !input.ratio(1, 4)?;
    for _ in 0..input.int_in_range(1..=EDITS_MAX)? {
        let names: Vec<String> = files
            .keys()
            .filter(|name| match scope {
                Scope::Segments => kind_of(name) == Kind::Segment,
                Scope::Snapshots => kind_of(name) == Kind::Snapshot,
                Scope::Records => kind_of(name) == Kind::Segment,
                Scope::All => true,
            })
            .cloned()
            .collect();
        if names.is_empty() || input.is_empty() {
            break;
        }
        if scope == Scope::Records && !input.ratio(1, 6)? {
            entries::forge(&mut files, input)?;
            is_forged = true;
            continue;
        }
        let name = input.choose(&names)?.clone();
        is_forged |= edit(&mut files, &name, scope, may_forge, input)?;
    }
    Ok(Edited { files, is_forged })
}

/// Whether a checksum was made true.
fn edit(files: &mut Files, name: &str, scope: Scope, may_forge: bool, input: &mut Unstructured<'_>) -> Result<bool> {
    let kind = kind_of(name);
    let whole = files.clone();
    let Some(bytes) = files.get_mut(name) else { return Ok(false) };
    match input.int_in_range(0..=12_u8)? {
        0 => {
            let at = place(input, bytes)?;
            let bit = input.int_in_range(0..=7_u8)?;
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        1 | 2 => {
            let at = place(input, bytes)? / 8 * 8;
            put(bytes, at, &number(input)?.to_le_bytes());
        }
        3 => {
            let at = place(input, bytes)? / 4 * 4;
            put(bytes, at, &(number(input)? as u32).to_le_bytes());
        }
        4 => {
            let length = number(input)? as usize % FILE_BYTES_MAX;
            bytes.resize(if input.ratio(1, 2)? { length } else { bytes.len().saturating_sub(length % 600) }, 0);
        }
        5 => {
            let from = &whole[input.choose(&whole.keys().collect::<Vec<_>>())?.as_str()];
            let (start, to) = (place(input, from)?, place(input, bytes)?);
            let copied = input.int_in_range(0..=2_000_usize)?;
            let end = (start + copied).min(from.len());
            put(bytes, to, from.get(start..end).unwrap_or(&[]));
        }
        6 => {
            let at = place(input, bytes)?;
            let end = (at + input.int_in_range(0..=5_000_usize)?).min(bytes.len());
            bytes[at..end].fill(0);
        }
        7 => {
            let at = place(input, bytes)?;
            let length = input.int_in_range(0..=64_usize)?;
            let with = input.bytes(length.min(input.len()))?;
            put(bytes, at, with);
        }
        // A word of a frame's header or of its producer's part, and mostly a publication word that fits.
        8..=10 if kind == Kind::Segment => {
            let all = frames(bytes);
            if !all.is_empty() {
                let (at, length) = *input.choose(&all)?;
                let field = *input.choose(&[16_usize, 20, 21, 24, 28, 32, 40, 48, 52, 56, 64])?;
                let value = number(input)?.to_le_bytes();
                let width = match field {
                    20 => 1,
                    21 => 3,
                    16 | 24 | 28 | 48 | 52 => 4,
                    _ => 8,
                };
                if field + width <= length {
                    put(bytes, at + field, &value[..width]);
                }
            }
        }
        8..=10 if kind == Kind::Snapshot => {
            let words = bytes.len() / 8;
            let at = input.int_in_range(0..=words.max(1) - 1)? * 8;
            put(bytes, at, &number(input)?.to_le_bytes());
        }
        11 if kind == Kind::Segment && may_forge => forge(bytes, input)?,
        _ if scope == Scope::All || input.ratio(1, 4)? => {
            return rename(files, name, input);
        }
        _ => {}
    }
    let fixed = may_forge && !input.ratio(1, 6)?;
    if fixed && let Some(bytes) = files.get_mut(name) {
        fix(kind, bytes);
    }
    Ok(fixed || may_forge)
}

/// A frame behind the last one, or in the place of one, whose checksum agrees.
fn forge(bytes: &mut [u8], input: &mut Unstructured<'_>) -> Result<()> {
    let all = frames(bytes);
    let at = match (all.last(), input.ratio(1, 4)?) {
        (Some((at, length)), false) => at + length,
        (Some(_), true) => input.choose(&all)?.0,
        (None, _) => FRAMES_AT,
    };
    let records_before: u64 =
        all.iter().filter(|(frame, _)| *frame < at).map(|(frame, _)| word(bytes, frame + 16) >> 40).sum();
    let kind = *input.choose(&[1_u64, 2, 3, 16, 17, 18, 19, 20, 21, 1, 19, 20])?;
    let far = input.ratio(1, 3)?;
    let producer = input.ratio(1, 2)?;
    let flags = if producer { if far { 0xC0 } else { 0x80 } } else { 0 };
    let length = input.int_in_range(0..=80_usize)?;
    let body: Vec<u8> = if input.ratio(1, 2)? {
        (0..3).map(|_| number(input)).collect::<Result<Vec<_>>>()?.into_iter().flat_map(u64::to_le_bytes).collect()
    } else {
        input.bytes(length.min(input.len()))?.to_vec()
    };
    let records = if input.ratio(3, 4)? { u64::from(kind < 4) } else { number(input)? & 0xFF_FFFF };
    let offset = if input.ratio(5, 6)? { records_before } else { number(input)? };
    let header = [
        body.len() as u64 | (kind | flags) << 32 | records << 40,
        offset & 0xFFFF_FFFF | (number(input)? & 0xFFFF_FFFF) << 32,
    ];
    let mut part = Vec::new();
    if producer {
        for _ in 0..if far { 5 } else { 3 } {
            part.push(number(input)?);
        }
    }
    write_frame(bytes, at, header, &part, &body);
    Ok(())
}

/// A file that is gone, has another's name, or is there twice. Whether it is more than gone, which is all that damage does.
fn rename(files: &mut Files, name: &str, input: &mut Unstructured<'_>) -> Result<bool> {
    let (stem, suffix) = name.rsplit_once('.').unwrap_or((name, ""));
    let (directory, number) = stem.rsplit_once('/').unwrap_or(("", stem));
    let number: u64 = number.parse().unwrap_or(0);
    let other = match input.int_in_range(0..=4_u8)? {
        0 => None,
        1 => Some(format!("{directory}/{:016}.{suffix}", number.saturating_add(input.int_in_range(1..=3_u64)?))),
        2 => Some(format!("{directory}/{:016}.{suffix}", self::number(input)?)),
        3 => Some(format!("{stem}.{}", input.choose(&["seg", "ready", "snapshot", "tmp", "spare", "x"])?)),
        _ => Some(input.choose(&files.keys().cloned().collect::<Vec<_>>())?.clone()),
    };
    let keep = input.ratio(1, 3)?;
    let bytes = if keep { files.get(name).cloned() } else { files.remove(name) };
    let is_gone = other.is_none() && !keep;
    if let (Some(other), Some(bytes)) = (other, bytes) {
        files.insert(other.trim_start_matches('/').to_owned(), bytes);
    }
    Ok(!is_gone)
}
