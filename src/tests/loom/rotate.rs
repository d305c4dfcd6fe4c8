//! The step to the next segment (I5, I8).

use super::chain::{Chain, Prepared};
use crate::{partition::body::Single, sync::Arc};

/// Units of a plain frame with a body of 8 bytes.
const FRAME: usize = 5;

#[test]
fn rotation_belongs_to_everyone() {
    loom::model(|| {
        // One frame a segment, and padding behind it: both threads cross an end, and either may complete the step.
        let chain = Arc::new(Chain::new(3, FRAME + 1));
        let writer = {
            let chain = Arc::clone(&chain);
            loom::thread::spawn(move || {
                let mut cursor = chain.cursor();
                let Ok(offsets) = cursor.append(&Single(&1_u64.to_le_bytes()), 0, &Prepared);
                offsets.first
            })
        };
        let mut cursor = chain.cursor();
        let mut given = Vec::new();
        for value in 2..4_u64 {
            let Ok(offsets) = cursor.append(&Single(&value.to_le_bytes()), 0, &Prepared);
            given.push((offsets.first, value));
        }
        given.push((writer.join().expect("no panic"), 1));
        given.sort_unstable();
        let seen = chain.read();
        Chain::assert_dense(&seen);
        let stored: Vec<_> = seen
            .iter()
            .map(|frame| (frame.offset, u64::from_le_bytes(frame.body.as_slice().try_into().expect("8 bytes"))))
            .collect();
        assert_eq!(stored, given);
    });
}

#[test]
fn a_late_appender_leaves_a_full_segment_alone() {
    loom::model(|| {
        let chain = Arc::new(Chain::new(3, FRAME));
        // A handle that was made before the first segment was full, and comes to append after.
        let mut late = chain.cursor();
        let mut early = chain.cursor();
        let Ok(_) = early.append(&Single(&1_u64.to_le_bytes()), 0, &Prepared);
        let first = chain.read();
        let writer = {
            let chain = Arc::clone(&chain);
            loom::thread::spawn(move || {
                let Ok(_) = late.append(&Single(&2_u64.to_le_bytes()), 0, &Prepared);
                drop(chain);
            })
        };
        let Ok(_) = early.append(&Single(&3_u64.to_le_bytes()), 0, &Prepared);
        // The first segment is visible to its end: it might be dropped here, and loom would report a write to it.
        assert_eq!(chain.read()[..1], first[..]);
        writer.join().expect("no panic");
        let seen = chain.read();
        Chain::assert_dense(&seen);
        assert_eq!(seen.len(), 3);
        assert_eq!(seen[..1], first[..]);
    });
}
