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
        scan::{Found, find},
        tail::{FIRST_UNIT, START_UNITS, Tail},
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
fn a_segment_that_is_withdrawn_is_in_use_or_passed_over() {
    loom::model(|| {
        let shape = |number: u64, tag: u64| Shape {
            number,
            capacity: START_UNITS + FRAME,
            base_position: number * 4096,
            tag,
            salt: number,
            prepared_ms: 0,
        };
        let prepare = move |number, tag| {
            let window = Window::on_heap(shape(number, tag).capacity * 8);
            (window.clone(), Arc::new(Tail::prepared(shape(number, tag), window)))
        };
        let root = Arc::new(Tail::ended(0, 0, 0, 0));
        let (_, first) = prepare(1, 101);
        let (window, second) = prepare(2, 102);
        root.link(Arc::clone(&first));
        first.link(Arc::clone(&second));
        let upkeep = {
            let second = Arc::clone(&second);
            loom::thread::spawn(move || {
                let (is_withdrawn, number) = if second.withdraw() { (true, 2) } else { (false, 3) };
                second.link(prepare(number, 103).1);
                is_withdrawn
            })
        };
        let mut cursor = Cursor::new(Arc::clone(&root));
        for value in 0..2_u64 {
            let Ok(offsets) = cursor.append(&whole(&Single(&value.to_le_bytes())), 0, &Waiting);
            assert_eq!(offsets.first, value);
        }
        let is_withdrawn = upkeep.join().expect("no panic");
        assert_eq!(cursor.tail().shape().tag, if is_withdrawn { 103 } else { 102 });
        let published = !matches!(find(&window, second.shape(), FIRST_UNIT), Found::Nothing);
        assert_eq!(published, !is_withdrawn, "nothing touches a segment that was withdrawn");
        assert_eq!(second.opened().is_none(), is_withdrawn);
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
