//! The limit: what no append can avoid, and nothing else. Hash the payload, reserve with one `fetch_add`, copy
//! header and payload into prepared segments, publish with one Release store.

use oncelog::format::FRAME_ALIGN;
use std::sync::atomic::Ordering::{Relaxed, Release};
use xxhash_rust::xxh3::xxh3_64;

use crate::{bare::Bare, payload::Feed};

/// One thread's share of a block: `calls` frames with a header of HEADER bytes.
pub(crate) fn write<const HEADER: usize>(mut segments: &[Bare], feed: &mut Feed<'_>, calls: u64) {
    for _ in 0..calls {
        let payload = feed.record(false);
        let hash = xxh3_64(payload);
        let (segment, at) = reserve(&mut segments, HEADER + payload.len());
        // SAFETY: `reserve` gave this thread alone HEADER + `payload.len()` bytes of the segment.
        unsafe { segment.copy(at + HEADER, payload) };
        publish::<HEADER>(segment, at, hash, payload.len());
    }
}

/// The same for batches: gather length words and records behind the header, then hash once in place.
pub(crate) fn write_batches<const HEADER: usize>(mut segments: &[Bare], feed: &mut Feed<'_>, calls: u64) {
    for _ in 0..calls {
        let records = feed.batch(false);
        let body = records.iter().map(|record| 4 + record.len()).sum::<usize>();
        let (segment, start) = reserve(&mut segments, HEADER + body);
        let mut at = start + HEADER;
        for record in records {
            // SAFETY: `reserve` gave this thread alone HEADER + `body` bytes, and these copies add up to `body`.
            unsafe { segment.copy(at, &(record.len() as u32).to_le_bytes()) };
            // SAFETY: as above.
            unsafe { segment.copy(at + 4, record) };
            at += 4 + record.len();
        }
        // SAFETY: this thread has just written these bytes, and nobody else does.
        let hash = xxh3_64(unsafe { segment.slice(start + HEADER, body) });
        publish::<HEADER>(segment, start, hash, body);
    }
}

fn reserve<'s>(segments: &mut &'s [Bare], bytes: usize) -> (&'s Bare, usize) {
    let frame = bytes.next_multiple_of(FRAME_ALIGN);
    loop {
        match segments[0].tail.0.fetch_add(frame, Relaxed) {
            at if at + frame <= segments[0].bytes => return (segments[0].fetch_ahead(at, frame), at),
            _ => *segments = &segments[1..],
        }
    }
}

fn publish<const HEADER: usize>(segment: &Bare, at: usize, hash: u64, body: usize) {
    // SAFETY: the header lies in front of the body, in the same reservation.
    unsafe { segment.copy(at + 8, &hash.to_le_bytes()) };
    // SAFETY: as above.
    unsafe { segment.copy(at + 16, &[0x5a; HEADER][16..]) };
    // SAFETY: as above, and frames begin at multiples of FRAME_ALIGN, which is 8.
    unsafe { segment.word(at) }.store(body as u64 + 1, Release);
}
