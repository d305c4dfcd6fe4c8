//! A sparse index of one segment: from an offset or a time to a unit at or before it.
//!
//! It is in memory alone, built by scanning what is visible when somebody seeks, and never evidence of anything: a seek
//! goes on from the entry with the same scan that a reader uses.

use super::{
    Shape,
    scan::{Found, find},
    tail::{FIRST_UNIT, Place},
};
use crate::raw::window::Window;

/// Units between two entries: a seek scans at most this much, and a frame.
const STRIDE_UNITS: usize = 64 << 10 >> 3;

#[derive(Clone, Copy)]
struct Entry {
    place: Place,
    /// Latest time delta of all frames before this place.
    latest_before: u32,
}

/// See the head of this file.
pub(crate) struct Index {
    entries: Vec<Entry>,
    /// How far the segment has been scanned.
    scanned: Place,
    latest: u32,
}

impl Index {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), scanned: Place { records: 0, units: FIRST_UNIT }, latest: 0 }
    }

    /// Scans on, up to `limit` units or to the first frame that is not published.
    pub(crate) fn extend(&mut self, window: &Window, shape: &Shape, limit: usize) {
        while self.scanned.units < limit {
            let last = self.entries.last().map_or(0, |entry| entry.place.units);
            if self.entries.is_empty() || self.scanned.units >= last + STRIDE_UNITS {
                self.entries.push(Entry { place: self.scanned, latest_before: self.latest });
            }
            match find(window, shape, self.scanned.units) {
                Found::Frame(frame) => {
                    frame.fetch_headers_on(window);
                    self.scanned.units += frame.units;
                    self.scanned.records += u64::from(frame.stored.records());
                    if frame.stored.records() > 0 {
                        self.latest = self.latest.max(frame.stored.time_delta());
                    }
                }
                Found::Padding { units } => self.scanned.units += units,
                Found::Nothing | Found::Invalid => return,
            }
        }
    }

    /// A place at or before the record of that number in the segment.
    pub(crate) fn floor_record(&self, record: u64) -> Place {
        let after = self.entries.partition_point(|entry| entry.place.records <= record);
        self.place_before(after)
    }

    /// A place at or before the first record whose time delta is at least `time_delta`.
    pub(crate) fn floor_time(&self, time_delta: u32) -> Place {
        let after = self.entries.partition_point(|entry| entry.latest_before < time_delta);
        self.place_before(after)
    }

    /// Latest time delta of all frames before the place that `floor_record` gives.
    pub(crate) fn latest_before(&self, record: u64) -> u32 {
        let after = self.entries.partition_point(|entry| entry.place.records <= record);
        after.checked_sub(1).and_then(|at| self.entries.get(at)).map_or(0, |entry| entry.latest_before)
    }

    fn place_before(&self, after: usize) -> Place {
        let floor = after.checked_sub(1).and_then(|at| self.entries.get(at));
        floor.map_or(Place { records: 0, units: FIRST_UNIT }, |entry| entry.place)
    }

    /// How far the segment has been scanned.
    pub(crate) const fn scanned(&self) -> Place {
        self.scanned
    }

    /// Latest time delta of what was scanned.
    pub(crate) const fn latest(&self) -> u32 {
        self.latest
    }
}
