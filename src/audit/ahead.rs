//! Segments read and checked ahead of the pass, by as many threads as the machine has: what a pass takes of a segment is
//! then only what its frames say of producers, in order.
//!
//! Of a producer's batches that follow each other without a gap it is the first and the last one: between them nothing is
//! left to compare.
//!
//! The threads take the segments one by one, a few ahead of the pass at most. Who has come to the end of what is ready,
//! the pass itself among them, takes the next one.

use super::frame::fault_of;
use crate::{
    format::{
        control::Start,
        frame::{Kind, Producer},
    },
    ids::ProducerId,
    names::Content,
    options::PRODUCERS_MAX,
    partition::{pages::Pages, replay::Taken},
    segment::tail::{FIRST_UNIT, Place},
    stored::{
        files::StoredSegment,
        frames::{Frames, Scan, StoredFrame},
    },
};
use std::{
    io,
    ops::Range,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// Most threads beside the pass: more wait for memory.
const THREADS_MAX: usize = 7;
/// Segments that are ready ahead of the pass, for each thread.
const AHEAD: usize = 2;

/// A frame that says something to a replay, without its records.
struct Brief {
    /// It follows its producer's batch before without a gap, or one that does.
    follows: bool,
    unit: u32,
    units: u32,
    offset_delta: u32,
    time_delta: u32,
    records: u32,
    kind: Kind,
    producer: Option<Producer>,
    /// Where in `bodies` its body is, if a replay reads it.
    body: Range<usize>,
}

/// What was found in a segment, from its first frame up to where they stop following each other.
pub(super) struct Checked {
    /// To look at what comes behind.
    pub(super) frames: Frames,
    pub(super) start: Option<Start>,
    pub(super) scan: Scan,
    /// Whole frames, and records in them.
    pub(super) count: u64,
    pub(super) records: u64,
    /// What is wrong with a frame by itself: its unit, its first offset behind the segment's.
    pub(super) faults: Vec<(usize, u32, String)>,
    /// MARK frames: unit, and position that was durable.
    pub(super) marks: Vec<(usize, u64)>,
    told: Vec<Brief>,
    bodies: Vec<u8>,
}

impl Checked {
    /// Reads a segment: none if it is no longer what it was.
    fn of(segment: &StoredSegment, content: Content, faults_max: usize) -> io::Result<Option<Self>> {
        let Some(mut frames) = Frames::open(segment)? else { return Ok(None) };
        let start = frames.start();
        let (mut count, mut records) = (0, 0);
        let (mut faults, mut marks) = (Vec::new(), Vec::new());
        let (mut told, mut bodies, mut runs) = (Vec::new(), Vec::new(), Runs::new());
        let from = Place { records: 0, units: FIRST_UNIT };
        let scan = frames.scan(from, segment.limit(), segment.seal.is_none(), |frame, shape| {
            count += 1;
            let kind = frame.stored.kind();
            if matches!(kind, Kind::Record | Kind::Batch) {
                records += u64::from(frame.stored.records());
            }
            if let Some(fault) = fault_of(frame).filter(|_| faults.len() < faults_max) {
                faults.push((frame.unit, frame.stored.offset_delta(), fault));
            }
            if let Some(durable) = frame.mark() {
                marks.push((frame.unit, durable));
            }
            // Of the log's own partitions every record says something. Where the log starts is no producer's, and as seldom.
            let reads_body = matches!(kind, Kind::Fence | Kind::Purge) || content != Content::Records;
            let producer = frame.producer.filter(|_| matches!(kind, Kind::Record | Kind::Batch) && !reads_body);
            match producer.filter(|producer| producer.transaction == 0 && producer.id.slot() < PRODUCERS_MAX) {
                Some(producer) => runs.take(producer, shape.position(frame.unit), frame, &mut told),
                None if frame.producer.is_some() || reads_body => {
                    // Whose it is, or whose numbering it changes, matters too seldom to be asked.
                    runs.end();
                    told.push(Brief::of(frame, reads_body, &mut bodies));
                }
                None => {}
            }
        });
        Ok(Some(Self { frames, start, scan, count, records, faults, marks, told, bodies }))
    }

    /// What a replay takes, in order, with the unit of each, and whether it follows its producer's batch before.
    pub(super) fn told(&self, base_offset: u64) -> impl Iterator<Item = (usize, bool, Taken<'_>)> {
        let shape = *self.frames.shape();
        self.told.iter().map(move |brief| {
            let unit = brief.unit as usize;
            let taken = Taken {
                position: shape.position(unit),
                end_position: shape.position(unit + brief.units as usize),
                offset: base_offset + u64::from(brief.offset_delta),
                at_ms: shape.prepared_ms + u64::from(brief.time_delta),
                kind: brief.kind,
                records: brief.records,
                producer: brief.producer,
                body: self.bodies.get(brief.body.clone()).unwrap_or(&[]),
            };
            (unit, brief.follows, taken)
        })
    }
}

impl Brief {
    fn of(frame: &StoredFrame<'_>, reads_body: bool, bodies: &mut Vec<u8>) -> Self {
        let begin = bodies.len();
        if reads_body {
            bodies.extend_from_slice(frame.body);
        }
        Self {
            follows: false,
            unit: frame.unit as u32,
            units: frame.units as u32,
            offset_delta: frame.stored.offset_delta(),
            time_delta: frame.stored.time_delta(),
            records: frame.stored.records(),
            kind: frame.stored.kind(),
            producer: frame.producer,
            body: begin..bodies.len(),
        }
    }
}

/// Where a producer's batches stand that follow each other.
#[derive(Clone, Copy)]
struct Run {
    id: ProducerId,
    epoch: u32,
    /// The sequence that comes next, and the position of the last batch.
    expected: u64,
    position: u64,
    /// Where its last batch is told of; none while that is the first one.
    last: Option<usize>,
}

/// By slot; none are older than the last control frame.
struct Runs {
    open: Pages<Run>,
    any: bool,
}

impl Runs {
    const fn new() -> Self {
        Self { open: Pages::new(), any: false }
    }

    fn end(&mut self) {
        if self.any {
            *self = Self::new();
        }
    }

    /// Tells of a batch, in the place of the one before if it follows that one.
    #[inline]
    fn take(&mut self, producer: Producer, position: u64, frame: &StoredFrame<'_>, told: &mut Vec<Brief>) {
        let Producer { id, epoch, first_sequence, previous_position, .. } = producer;
        self.any = true;
        let place = self.open.place(id.slot());
        let follows = |run: &&mut Run| {
            (run.id, run.epoch, run.expected, run.position) == (id, epoch, first_sequence, previous_position)
        };
        let brief = Brief::of(frame, false, &mut Vec::new());
        let expected = first_sequence.saturating_add(u64::from(frame.stored.records()));
        match place.as_mut().filter(follows) {
            Some(run) => {
                (run.expected, run.position) = (expected, position);
                let brief = Brief { follows: true, ..brief };
                match run.last.and_then(|last| told.get_mut(last)) {
                    Some(last) => *last = brief,
                    None => {
                        run.last = Some(told.len());
                        told.push(brief);
                    }
                }
            }
            None => {
                *place = Some(Run { id, epoch, expected, position, last: None });
                told.push(brief);
            }
        }
    }
}

/// A segment's turn.
enum Slot {
    Free,
    Taken,
    Ready(Box<io::Result<Option<Checked>>>),
    Gone,
}

struct State {
    slots: Vec<Slot>,
    /// Segments that the pass has taken.
    passed: usize,
    is_over: bool,
}

/// Segments that are checked ahead of who takes them.
pub(super) struct Ahead<'a> {
    segments: &'a [StoredSegment],
    content: Content,
    faults_max: usize,
    threads: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl<'a> Ahead<'a> {
    /// Lets `pass` take what it asks for, with threads that work ahead of it.
    pub(super) fn over<R>(
        segments: &'a [StoredSegment],
        content: Content,
        faults_max: usize,
        pass: impl FnOnce(&Self) -> R,
    ) -> R {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = (cores - 1).min(THREADS_MAX).min(segments.len().saturating_sub(1));
        let slots = segments.iter().map(|_| Slot::Free).collect();
        let ahead = Self {
            segments,
            content,
            faults_max,
            threads,
            state: Mutex::new(State { slots, passed: 0, is_over: false }),
            changed: Condvar::new(),
        };
        thread::scope(|scope| {
            // Whatever happens to the pass, the threads end.
            let _over = Over(&ahead);
            for _ in 0..threads {
                // Without a thread to be had, the pass does it all.
                let _spawned = thread::Builder::new().spawn_scoped(scope, || ahead.work());
            }
            pass(&ahead)
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next segment that nobody has taken, if it is not too far ahead.
    fn next(&self, state: &mut State) -> Option<usize> {
        let end = (state.passed + AHEAD * (self.threads + 1)).min(state.slots.len());
        let free = (state.passed..end).find(|index| matches!(state.slots.get(*index), Some(Slot::Free)))?;
        if let Some(slot) = state.slots.get_mut(free) {
            *slot = Slot::Taken;
        }
        Some(free)
    }

    /// Checks a segment that was taken.
    fn check(&self, index: usize) {
        let checked = match self.segments.get(index) {
            Some(segment) => Checked::of(segment, self.content, self.faults_max),
            None => Ok(None),
        };
        if let Some(slot) = self.lock().slots.get_mut(index) {
            *slot = Slot::Ready(Box::new(checked));
        }
        self.changed.notify_all();
    }

    fn work(&self) {
        let mut state = self.lock();
        while !state.is_over {
            match self.next(&mut state) {
                Some(index) => {
                    drop(state);
                    self.check(index);
                    state = self.lock();
                }
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// What was found in the segment of that index, which is taken once, and in order.
    pub(super) fn take(&self, index: usize) -> io::Result<Option<Checked>> {
        let mut state = self.lock();
        loop {
            match state.slots.get_mut(index) {
                Some(slot @ Slot::Ready(_)) => {
                    let Slot::Ready(checked) = std::mem::replace(slot, Slot::Gone) else { return Ok(None) };
                    state.passed = index + 1;
                    drop(state);
                    self.changed.notify_all();
                    return *checked;
                }
                None | Some(Slot::Gone) => return Ok(None),
                Some(Slot::Free | Slot::Taken) => {}
            }
            state = match self.next(&mut state) {
                Some(index) => {
                    drop(state);
                    self.check(index);
                    self.lock()
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Ends the threads.
struct Over<'a, 'b>(&'a Ahead<'b>);

impl Drop for Over<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
}
