//! A chain of prepared segments, as small as the models need them, and what is published in it.

use crate::{
    format::frame::Kind,
    ids::{ProducerId, Stamp},
    partition::{
        append::{Cursor, Missed, Supply},
        body::{Body, Fitting, Single, fit},
        slot::{Slot, State},
    },
    raw::window::Window,
    segment::{
        Shape,
        scan::{Found, Visible, find},
        tail::{FIRST_UNIT, START_UNITS, Tail},
    },
    sync::Arc,
};
use std::convert::Infallible;

/// A frame that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) offset: u64,
    pub(super) kind: Kind,
    pub(super) records: u64,
    pub(super) producer: Option<(ProducerId, u32, u64)>,
    pub(super) body: Vec<u8>,
}

struct Link {
    tail: Arc<Tail>,
    window: Window,
    visible: Visible,
}

/// Segments of a partition, all prepared: what is modelled is the step between them, not who prepares them.
pub(super) struct Chain {
    links: Vec<Link>,
}

impl Chain {
    /// `segments` segments with room for `units` units behind each START frame.
    pub(super) fn new(segments: u64, units: usize) -> Self {
        let capacity = START_UNITS + units;
        let root = Arc::new(Tail::ended(0, 0, 0, 0));
        let mut links: Vec<Link> = Vec::new();
        for number in 1..=segments {
            let base_position = number * capacity as u64 * 8;
            let shape = Shape { number, capacity, base_position, tag: 100 + number, salt: number, prepared_ms: 0 };
            let window = Window::on_heap(capacity * 8);
            let tail = Arc::new(Tail::prepared(shape, window.clone()));
            links.last().map_or(&root, |link| &link.tail).link(Arc::clone(&tail));
            links.push(Link { tail, window, visible: Visible::none() });
        }
        // The first segment is begun; the models begin behind that.
        assert!(root.successor().is_some());
        Self { links }
    }

    /// Appends by id with a handle of its own, in the first segment that has room.
    pub(super) fn append_by_id(&self, body: &[u8], slot: &Slot, stamp: Stamp, state: State) -> Result<u64, Missed> {
        let mut cursor = self.cursor();
        loop {
            match cursor.append_by_id(&whole(&Single(body)), slot, stamp, 0, state, 0) {
                Err(Missed::Room) => {
                    let Ok(()) = cursor.step(&Prepared);
                }
                answer => return answer,
            }
        }
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor::new(Arc::clone(&self.links[0].tail))
    }

    /// Position up to which everything is published.
    pub(super) fn visible_end(&self) -> u64 {
        let mut end = 0;
        for link in &self.links {
            if link.tail.opened().is_none() {
                break;
            }
            let place = link.visible.walk(&link.window, link.tail.shape());
            end = link.tail.shape().position(place.units);
            if place.units < link.tail.shape().capacity {
                break;
            }
        }
        end
    }

    /// Position behind that many units of frames in the first segment.
    pub(super) fn end_of_frames(&self, units: usize) -> u64 {
        self.links[0].tail.shape().position(START_UNITS + units)
    }

    /// Waits, as a fence does, until every frame before `position` is published.
    pub(super) fn wait_visible(&self, position: u64) {
        while self.visible_end() < position {
            loom::thread::yield_now();
        }
    }

    /// All frames of the visible prefix but the START frames, with their checksums compared.
    pub(super) fn read(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        for link in &self.links {
            let Some(base) = link.tail.opened() else { break };
            let shape = link.tail.shape();
            let mut unit = FIRST_UNIT;
            while unit < shape.capacity {
                match find(&link.window, shape, unit) {
                    Found::Frame(frame) => {
                        let body = link.window.copy(frame.body_at(), frame.stored.body_bytes() as usize);
                        let hash = match frame.stored.kind() {
                            Kind::Void => 0,
                            _ => xxhash_rust::xxh3::xxh3_64(&body),
                        };
                        let checksum = frame.checksum_of(&link.window, shape, hash);
                        assert_eq!(checksum, frame.checksum, "a published frame is whole");
                        if frame.stored.kind() == Kind::Start {
                            assert_eq!(unit, FIRST_UNIT, "a segment is begun once");
                        } else {
                            seen.push(Seen {
                                offset: base + u64::from(frame.stored.offset_delta()),
                                kind: frame.stored.kind(),
                                records: u64::from(frame.stored.records()),
                                producer: frame
                                    .producer(&link.window, shape)
                                    .map(|producer| (producer.id, producer.epoch, producer.first_sequence)),
                                body,
                            });
                        }
                        unit += frame.units;
                    }
                    Found::Padding { units } => unit += units,
                    Found::Nothing => return seen,
                    Found::Invalid => panic!("a published frame has a header"),
                }
            }
        }
        seen
    }

    /// Asserts that the frames take offsets from 0 on without a gap.
    pub(super) fn assert_dense(seen: &[Seen]) {
        let mut next = 0;
        for frame in seen {
            assert_eq!(frame.offset, next, "offsets leave no gap: {seen:?}");
            next += frame.records;
        }
    }
}

/// A body of any length: the models' segments are as small as their frames.
pub(super) fn whole<B: Body>(body: &B) -> Fitting<'_, B> {
    fit(body, usize::MAX).expect("a body has records")
}

/// Every segment is prepared: an appender waits at most for the word of the one that crossed the end.
pub(super) struct Prepared;

impl Supply for Prepared {
    type Error = Infallible;

    fn wait_for_successor(&self, of: &Tail) -> Result<(), Infallible> {
        assert!(of.has_next(), "the model's chain is long enough");
        loom::thread::yield_now();
        Ok(())
    }

    fn opened(&self) {}
}
