//! Claims, publications, and who sees them (I1, I3, I4, I9).

use super::chain::{Chain, Prepared, whole};
use crate::{format::frame::Kind, partition::body::Single, sync::Arc};

/// Units of a plain frame with a body of 8 bytes.
const FRAME: usize = 5;

#[test]
fn claims_are_disjoint() {
    loom::model(|| {
        let chain = Arc::new(Chain::new(1, 3 * FRAME));
        let threads: Vec<_> = (0..2_u64)
            .map(|thread| {
                let chain = Arc::clone(&chain);
                loom::thread::spawn(move || {
                    let mut cursor = chain.cursor();
                    let Ok(offsets) = cursor.append(&whole(&Single(&thread.to_le_bytes())), 0, &Prepared);
                    (offsets.first, thread)
                })
            })
            .collect();
        let mut own = chain.cursor();
        let Ok(offsets) = own.append(&whole(&Single(&7_u64.to_le_bytes())), 0, &Prepared);
        let mut expected = vec![(offsets.first, 7)];
        expected.extend(threads.into_iter().map(|thread| thread.join().expect("no panic")));
        expected.sort_unstable();
        let seen = chain.read();
        Chain::assert_dense(&seen);
        let stored: Vec<_> = seen
            .iter()
            .map(|frame| (frame.offset, u64::from_le_bytes(frame.body.as_slice().try_into().expect("8 bytes"))))
            .collect();
        assert_eq!(stored, expected, "each append is where it was told to be");
    });
}

#[test]
fn a_reader_sees_whole_frames() {
    loom::model(|| {
        let chain = Arc::new(Chain::new(1, 2 * FRAME));
        let writer = {
            let chain = Arc::clone(&chain);
            loom::thread::spawn(move || {
                let mut cursor = chain.cursor();
                for value in 0..2_u64 {
                    let Ok(_) = cursor.append(&whole(&Single(&value.to_le_bytes())), 0, &Prepared);
                }
            })
        };
        // `read` compares each checksum, and loom reports a read of bytes that are being written.
        let early = chain.read();
        let later = chain.read();
        assert!(later.len() >= early.len() && later[..early.len()] == early[..], "what was seen stays");
        writer.join().expect("no panic");
        assert_eq!(chain.read().len(), 2);
    });
}

#[test]
fn the_visible_prefix_stops_at_an_open_frame() {
    loom::model(|| {
        let chain = Arc::new(Chain::new(1, 2 * FRAME));
        let writer = {
            let chain = Arc::clone(&chain);
            loom::thread::spawn(move || {
                let mut cursor = chain.cursor();
                let Ok(_) = cursor.append(&whole(&Single(&1_u64.to_le_bytes())), 0, &Prepared);
            })
        };
        let mut cursor = chain.cursor();
        let Ok(_) = cursor.append(&whole(&Single(&2_u64.to_le_bytes())), 0, &Prepared);
        let first = chain.visible_end();
        // A reader goes from frame to frame and stops at the first that is open, so it bounds the mark from above.
        let seen = chain.read().len();
        let second = chain.visible_end();
        assert!(first <= chain.end_of_frames(seen * FRAME), "the mark does not pass an open frame");
        assert!(second >= first, "the mark never falls");
        writer.join().expect("no panic");
        assert_eq!(chain.visible_end(), chain.end_of_frames(2 * FRAME));
    });
}

#[test]
fn a_claim_given_up_becomes_void() {
    loom::model(|| {
        let chain = Arc::new(Chain::new(1, 2 * FRAME));
        let writer = {
            let chain = Arc::clone(&chain);
            loom::thread::spawn(move || {
                let mut cursor = chain.cursor();
                let Ok(filled) = cursor.append_with(8, None, 0, &Prepared, |_, bytes| {
                    bytes[0] = 1;
                    Err::<(), _>("given up")
                });
                assert!(filled.is_err());
            })
        };
        let mut cursor = chain.cursor();
        let Ok(_) = cursor.append(&whole(&Single(&2_u64.to_le_bytes())), 0, &Prepared);
        writer.join().expect("no panic");
        let seen = chain.read();
        Chain::assert_dense(&seen);
        let kinds: Vec<_> = seen.iter().map(|frame| frame.kind).collect();
        assert!(kinds == [Kind::Void, Kind::Record] || kinds == [Kind::Record, Kind::Void], "{kinds:?}");
    });
}
