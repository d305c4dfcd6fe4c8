//! Records of the log's ledger, told by an input's bytes: commits, offsets, generations and undone stretches, some of them
//! true, some with a number that is not, some any bytes. Their frames' checksums agree.

use arbitrary::{Result, Unstructured};

use crate::edits::number;
use crate::files::Files;
use crate::layout::{FRAMES_AT, base_position, frames, word, write_frame};

const LEDGER: &str = "partitions/__transactions/";

/// Most parts, or offsets, of an entry that says how many truly.
const PARTS_MAX: usize = 4;

const COMMIT: u32 = 1;
const OFFSETS: u32 = 2;
const GROUP: u32 = 3;
const UNDO: u32 = 4;

/// Names of groups: those that the log has, and others.
const GROUPS: [&str; 4] = ["billing", "", "a", "another group, with a name that is longer than most"];

/// What the log's own frames say, for entries that are nearly true.
struct Known {
    /// Producer, epoch and transaction.
    transactions: Vec<[u64; 3]>,
    /// Position and checksum of each frame in the other partitions.
    ends: Vec<[u64; 2]>,
}

impl Known {
    fn of(files: &Files) -> Self {
        let mut known = Self { transactions: Vec::new(), ends: Vec::new() };
        for (_, bytes) in files.iter().filter(|(name, _)| name.ends_with(".seg") && !name.contains("/__")) {
            for (at, _) in frames(bytes) {
                known.ends.push([base_position(bytes) + at as u64, word(bytes, at + 8)]);
                // A producer's part of the long form: id, first sequence, epoch, position before, transaction.
                if word(bytes, at + 16) >> 32 & 0xC0 == 0xC0 {
                    let epoch = word(bytes, at + 48) & 0xFFFF_FFFF;
                    known.transactions.push([word(bytes, at + 32), epoch, word(bytes, at + 64)]);
                }
            }
        }
        known
    }
}

/// A true value, or one in some that is not.
fn mostly(input: &mut Unstructured<'_>, value: u64) -> Result<u64> {
    if input.ratio(1, 8)? { number(input) } else { Ok(value) }
}

fn offsets(input: &mut Unstructured<'_>, count: usize, into: &mut Vec<u8>) -> Result<()> {
    for _ in 0..count {
        let group = *input.choose(&GROUPS)?;
        let partition = input.int_in_range(0..=5_u64)?;
        into.extend((mostly(input, partition)? as u32).to_le_bytes());
        into.extend((mostly(input, group.len() as u64)? as u32).to_le_bytes());
        let (generation, offset) = (input.int_in_range(0..=4_u64)?, input.int_in_range(0..=9_u64)?);
        into.extend(mostly(input, generation)?.to_le_bytes());
        into.extend(mostly(input, offset)?.to_le_bytes());
        into.extend(group.as_bytes());
    }
    Ok(())
}

/// The bytes of one entry.
fn entry(known: &Known, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let kind = *input.choose(&[COMMIT, COMMIT, COMMIT, OFFSETS, GROUP, UNDO, 0])?;
    bytes.extend((mostly(input, kind.into())? as u32).to_le_bytes());
    let count = input.int_in_range(0..=PARTS_MAX)?;
    match kind {
        COMMIT => {
            let [producer, epoch, transaction] = match known.transactions.is_empty() {
                true => [0; 3],
                false => *input.choose(&known.transactions)?,
            };
            bytes.extend((mostly(input, epoch)? as u32).to_le_bytes());
            bytes.extend(mostly(input, producer)?.to_le_bytes());
            bytes.extend(mostly(input, transaction)?.to_le_bytes());
            let of_offsets = input.int_in_range(0..=2_usize)?;
            bytes.extend((mostly(input, count as u64)? as u32).to_le_bytes());
            bytes.extend((mostly(input, of_offsets as u64)? as u32).to_le_bytes());
            for _ in 0..count {
                let [position, checksum] = if known.ends.is_empty() { [0; 2] } else { *input.choose(&known.ends)? };
                let partition = input.int_in_range(0..=5_u64)?;
                bytes.extend(mostly(input, partition)?.to_le_bytes());
                bytes.extend(mostly(input, position)?.to_le_bytes());
                bytes.extend(mostly(input, checksum)?.to_le_bytes());
            }
            offsets(input, of_offsets, &mut bytes)?;
        }
        OFFSETS => {
            bytes.extend((mostly(input, count as u64)? as u32).to_le_bytes());
            offsets(input, count, &mut bytes)?;
        }
        GROUP => {
            let group = *input.choose(&GROUPS)?;
            let generation = input.int_in_range(0..=4_u64)?;
            bytes.extend((mostly(input, group.len() as u64)? as u32).to_le_bytes());
            bytes.extend(mostly(input, generation)?.to_le_bytes());
            bytes.extend(group.as_bytes());
        }
        UNDO => {
            let from = input.int_in_range(0..=9_u64)?;
            bytes.extend(0_u32.to_le_bytes());
            bytes.extend(mostly(input, from)?.to_le_bytes());
        }
        _ => {}
    }
    match input.int_in_range(0..=7_u8)? {
        0 => bytes.truncate(input.int_in_range(0..=bytes.len())?),
        1 => {
            let more = input.int_in_range(0..=40_usize)?;
            bytes.extend(input.bytes(more.min(input.len()))?);
        }
        _ => {}
    }
    Ok(bytes)
}

/// Writes an entry behind the ledger's last one, or in the place of one.
pub(crate) fn forge(files: &mut Files, input: &mut Unstructured<'_>) -> Result<()> {
    let body = entry(&Known::of(files), input)?;
    let last = files.iter_mut().rfind(|(name, _)| name.starts_with(LEDGER) && name.ends_with(".seg"));
    let Some((_, bytes)) = last else { return Ok(()) };
    let all = frames(bytes);
    let at = match all.last() {
        Some((at, length)) if !input.ratio(1, 4)? => at + length,
        Some(_) => input.choose(&all)?.0,
        None => FRAMES_AT,
    };
    let before: u64 = all.iter().filter(|(frame, _)| *frame < at).map(|(frame, _)| word(bytes, frame + 16) >> 40).sum();
    // A plain record: it takes one offset.
    let header = [body.len() as u64 | 1 << 32 | 1 << 40, before & 0xFFFF_FFFF];
    write_frame(bytes, at, header, &[], &body);
    Ok(())
}
