//! Sectors that never reached the device: the ends of a copied log's segments, from any frame on that was not durable.

use arbitrary::{Result, Unstructured};

use super::oracle::SIDES;
use crate::files::Files;
use crate::layout::{FRAMES_AT, frames, word};

const LEDGER: &str = "__transactions";
/// Bytes of a segment that hold its seals.
const SEALS: std::ops::Range<usize> = 512..1_088;

const COMMIT: u64 = 1;

/// Numbers of a partition's segments that are neither sealed nor stood for by a snapshot, with their names, in order.
fn open_segments(files: &Files, partition: &str) -> Vec<String> {
    let prefix = format!("partitions/{partition}/");
    let number = |name: &str| name.strip_prefix(&prefix)?.split('.').next()?.parse::<u64>().ok();
    let covered = files.keys().filter(|name| name.ends_with(".snapshot")).filter_map(|name| number(name)).max();
    let is_open = |bytes: &[u8]| bytes.get(SEALS).is_some_and(|seals| seals.iter().all(|byte| *byte == 0));
    let mut open: Vec<(u64, String)> = Vec::new();
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".seg") || name.ends_with(".ready")) {
        if let Some(number) = number(name).filter(|number| covered.is_none_or(|covered| *number > covered))
            && is_open(bytes)
        {
            open.push((number, name.clone()));
        }
    }
    open.sort();
    open.into_iter().map(|(_, name)| name).collect()
}

/// Offset of a frame that takes some; none of a control frame's.
fn offset_of(bytes: &[u8], at: usize) -> Option<u64> {
    let records = word(bytes, at + 16) >> 40;
    // The START frame says with which offset the segment begins.
    let base = word(bytes, FRAMES_AT + 32);
    (records > 0).then(|| base + (word(bytes, at + 24) & 0xFFFF_FFFF))
}

/// Takes all from one of these frames on, and from the segments behind.
fn cut(files: &mut Files, segments: &[String], places: &[(usize, usize)], input: &mut Unstructured<'_>) -> Result<()> {
    if places.is_empty() {
        return Ok(());
    }
    let (segment, at) = *input.choose(places)?;
    for (index, name) in segments.iter().enumerate().skip(segment) {
        let from = if index == segment { at } else { FRAMES_AT };
        if let Some(bytes) = files.get_mut(name) {
            bytes[from..].fill(0);
        }
    }
    Ok(())
}

/// Tears the ends of some partitions. By side up to where it was durable; of the ledger, what of it was.
pub(super) fn tear(
    files: &mut Files,
    durable: [u64; 2],
    is_durable: impl Fn(u64, u64) -> bool,
    input: &mut Unstructured<'_>,
) -> Result<()> {
    for (side, durable) in SIDES.into_iter().zip(durable) {
        if input.ratio(1, 2)? {
            continue;
        }
        let segments = open_segments(files, side);
        let mut places = Vec::new();
        for (index, name) in segments.iter().enumerate() {
            let bytes = &files[name];
            let not_durable = |(at, _): &(usize, usize)| offset_of(bytes, *at).is_some_and(|offset| offset >= durable);
            places.extend(frames(bytes).into_iter().filter(not_durable).map(|(at, _)| (index, at)));
        }
        cut(files, &segments, &places, input)?;
    }
    if input.ratio(1, 2)? {
        return Ok(());
    }
    let segments = open_segments(files, LEDGER);
    let mut places = Vec::new();
    for (index, name) in segments.iter().enumerate() {
        let bytes = &files[name];
        for (at, _) in frames(bytes).into_iter().filter(|(at, _)| offset_of(bytes, *at).is_some()) {
            let body = at + 32;
            let may_go =
                word(bytes, body) & 0xFFFF_FFFF == COMMIT && !is_durable(word(bytes, body + 8), word(bytes, body + 16));
            if may_go {
                places.push((index, at));
            } else {
                // What else is there was durable when it was answered, or is not known not to have been.
                places.clear();
            }
        }
    }
    cut(files, &segments, &places, input)
}
