//! Where events go: into memory, or as lines into the pipe of a process that will be killed.

use std::{
    io::Write,
    mem,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::event::{Event, What};

enum Place {
    Memory(Vec<Event>),
    Lines(Box<dyn Write + Send>),
}

/// Writes events down and gives out their tickets.
pub struct Recorder {
    next: AtomicU64,
    place: Mutex<Place>,
}

impl Recorder {
    /// Keeps events in memory.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { next: AtomicU64::new(1), place: Mutex::new(Place::Memory(Vec::new())) }
    }

    /// Writes events as lines, each in one call.
    pub fn lines(out: impl Write + Send + 'static) -> Self {
        Self { next: AtomicU64::new(1), place: Mutex::new(Place::Lines(Box::new(out))) }
    }

    /// A ticket that is below those of all that is recorded from now on.
    pub(crate) fn now(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn record(&self, what: What) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let at = self.next.fetch_add(1, Ordering::SeqCst);
        let event = Event { at, what };
        match &mut *place {
            Place::Memory(events) => events.push(event),
            Place::Lines(out) => {
                let mut line = serde_json::to_vec(&event).unwrap_or_default();
                line.push(b'\n');
                // Nobody listens to a process that is about to be killed: it goes on until it is.
                let _ = out.write_all(&line).and_then(|()| out.flush());
            }
        }
    }

    /// All that was kept in memory since this was last called.
    pub fn take(&self) -> Vec<Event> {
        match &mut *self.place.lock().unwrap_or_else(PoisonError::into_inner) {
            Place::Memory(events) => mem::take(events),
            Place::Lines(_) => Vec::new(),
        }
    }
}

/// The event of one line; none for one that a kill has cut.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Event> {
    serde_json::from_slice(line).ok()
}
