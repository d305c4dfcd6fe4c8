//! The step to the next segment (I5, I8).

use super::chain::{Chain, Prepared, whole};
use crate::{
    partition::{
        append::{Cursor, Supply},
        body::Single,
    },
    raw::window::Window,
    segment::{
        Shape,
        tail::{START_UNITS, Tail},
    },
    sync::Arc,
};

use std::convert::Infallible;

/// The preparer is under way: an appender waits for it.
struct Waiting;

impl Supply for Waiting {
    type Error = Infallible;

    fn wait_for_successor(&self, _of: &Tail) -> Result<(), Infallible> {
        loom::thread::yield_now();
        Ok(())
    }

    fn opened(&self) {}
}

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
                let Ok(offsets) = cursor.append(&whole(&Single(&1_u64.to_le_bytes())), 0, &Prepared);
                offsets.first
            })
        };
        let mut cursor = chain.cursor();
        let mut given = Vec::new();
        for value in 2..4_u64 {
            let Ok(offsets) = cursor.append(&whole(&Single(&value.to_le_bytes())), 0, &Prepared);
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
fn a_segment_prepared_late_is_whole_when_it_is_found() {
    loom::model(|| {
        let shape = |number: u64| Shape {
            number,
            capacity: START_UNITS + FRAME,
            base_position: number * 4096,
            tag: 100 + number,
            salt: number,
            prepared_ms: 0,
        };
        let prepare = move |number| {
            let window = Window::on_heap(shape(number).capacity * 8);
            Arc::new(Tail::prepared(shape(number), window))
        };
        let root = Arc::new(Tail::ended(0, 0, 0, 0));
        let first = prepare(1);
        root.link(Arc::clone(&first));
        let preparer = {
            let first = Arc::clone(&first);
            loom::thread::spawn(move || first.link(prepare(2)))
        };
        let mut cursor = Cursor::new(Arc::clone(&root));
        for value in 0..2_u64 {
            let Ok(offsets) = cursor.append(&whole(&Single(&value.to_le_bytes())), 0, &Waiting);
            assert_eq!(offsets.first, value);
        }
        preparer.join().expect("no panic");
    });
}

#[test]
fn a_late_appender_leaves_a_full_segment_alone() {
    loom::model(|| {
        let chain = Arc::new(Chain::new(3, FRAME));
        // A handle that was made before the first segment was full, and comes to append after.
        let mut late = chain.cursor();
        let mut early = chain.cursor();
        let Ok(_) = early.append(&whole(&Single(&1_u64.to_le_bytes())), 0, &Prepared);
        let first = chain.read();
        let writer = {
            let chain = Arc::clone(&chain);
            loom::thread::spawn(move || {
                let Ok(_) = late.append(&whole(&Single(&2_u64.to_le_bytes())), 0, &Prepared);
                drop(chain);
            })
        };
        let Ok(_) = early.append(&whole(&Single(&3_u64.to_le_bytes())), 0, &Prepared);
        // The first segment is visible to its end: it might be dropped here, and loom would report a write to it.
        assert_eq!(chain.read()[..1], first[..]);
        writer.join().expect("no panic");
        let seen = chain.read();
        Chain::assert_dense(&seen);
        assert_eq!(seen.len(), 3);
        assert_eq!(seen[..1], first[..]);
    });
}
