//! A lane: what one thread appends through, and how it makes its next append.
//!
//! Each kind of idempotence is one type, so that the loops that are timed contain the append and no dispatch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use oncelog::{Answer, Appender, Partition, Session, Stamp};

use crate::error::LoadError;
use crate::payload::Feed;
use crate::turns::Turns;

/// What became of one append.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The offset of its last record.
    Appended { last: u64 },
    /// It was recognised as a retry.
    Duplicate,
}

/// Appends once: the next batch, or the last one `again`.
pub(crate) trait Append {
    fn append(&mut self, again: bool) -> Result<Outcome, LoadError>;

    /// The partition of the last append.
    fn partition(&self) -> &Partition;
}

/// Something to do with a lane, whatever its kind.
pub(crate) trait Work {
    type Output;

    fn on(self, lane: &mut impl Append) -> Result<Self::Output, LoadError>;
}

/// One thread's way to append.
pub(crate) struct Lane<'p> {
    pub(crate) kind: Kind,
    pub(crate) feed: Feed<'p>,
    pub(crate) batch: usize,
    /// Calls that appended, of all blocks so far.
    pub(crate) appended: u64,
}

pub(crate) enum Kind {
    /// Idempotence off, one partition.
    Plain(Place),
    /// Idempotence off, several partitions.
    PlainAmong { places: Vec<Place>, turns: Turns, at: usize },
    /// One producer's session in one partition: what most programs do.
    Session { session: Session, partition: Partition, sequence: u64 },
    /// Several sessions or partitions.
    Sessions { sessions: Vec<Session>, partitions: Vec<Partition>, turns: Turns, at: usize },
    /// Ids and sequences.
    ById { places: Vec<Place>, turns: Turns, epoch: u32, at: usize },
    /// A mutex around a map and a plain append.
    Mutex { places: Vec<(Place, Sequences)>, turns: Turns, at: usize },
}

/// An appender and the partition it appends to.
pub(crate) struct Place {
    pub(crate) appender: Appender,
    pub(crate) partition: Partition,
}

/// The naive way's table: the next sequence of each producer.
pub(crate) type Sequences = Arc<Mutex<HashMap<u64, u64>>>;

impl Lane<'_> {
    /// How many appends visit each of the lane's producers and partitions once.
    pub(crate) fn round(&self) -> usize {
        self.turns().map_or(1, Turns::len)
    }

    /// The order of turns; none where there is only one.
    pub(crate) fn turns(&self) -> Option<&Turns> {
        match &self.kind {
            Kind::Plain(_) | Kind::Session { .. } => None,
            Kind::PlainAmong { turns, .. }
            | Kind::Sessions { turns, .. }
            | Kind::ById { turns, .. }
            | Kind::Mutex { turns, .. } => Some(turns),
        }
    }

    /// Does some work with this lane's append: one record or many, chosen here, once.
    pub(crate) fn work<W: Work>(&mut self, work: W) -> Result<W::Output, LoadError> {
        if self.batch == 1 { self.work_with::<W, false>(work) } else { self.work_with::<W, true>(work) }
    }

    fn work_with<W: Work, const MANY: bool>(&mut self, work: W) -> Result<W::Output, LoadError> {
        let feed = &mut self.feed;
        let batch = self.batch as u64;
        match &mut self.kind {
            Kind::Plain(place) => work.on(&mut Plain::<MANY> { place, feed }),
            Kind::PlainAmong { places, turns, at } => work.on(&mut PlainAmong::<MANY> { places, turns, at, feed }),
            Kind::Session { session, partition, sequence } => {
                work.on(&mut BySession::<MANY> { session, partition, sequence, batch, feed })
            }
            Kind::Sessions { sessions, partitions, turns, at } => {
                work.on(&mut BySessions::<MANY> { sessions, partitions, turns, at, feed })
            }
            Kind::ById { places, turns, epoch, at } => {
                work.on(&mut ById::<MANY> { places, turns, epoch: *epoch, at, feed })
            }
            Kind::Mutex { places, turns, at } => work.on(&mut ByMutex::<MANY> { places, turns, at, batch, feed }),
        }
    }
}

#[inline]
fn plain<const MANY: bool>(place: &mut Place, feed: &mut Feed<'_>, again: bool) -> Result<u64, LoadError> {
    Ok(if MANY {
        place.appender.append_batch(feed.batch(again))?.last
    } else {
        place.appender.append(feed.record(again))?
    })
}

#[inline]
fn outcome(answer: Answer) -> Result<Outcome, LoadError> {
    match answer {
        Answer::Appended { last, .. } => Ok(Outcome::Appended { last }),
        Answer::Duplicate { .. } => Ok(Outcome::Duplicate),
        other => Err(unexpected(other)),
    }
}

#[cold]
fn unexpected(answer: Answer) -> LoadError {
    LoadError::Answer(format!("{answer:?}"))
}

struct Plain<'l, 'p, const MANY: bool> {
    place: &'l mut Place,
    feed: &'l mut Feed<'p>,
}

impl<const MANY: bool> Append for Plain<'_, '_, MANY> {
    #[inline]
    fn append(&mut self, again: bool) -> Result<Outcome, LoadError> {
        Ok(Outcome::Appended { last: plain::<MANY>(self.place, self.feed, again)? })
    }

    fn partition(&self) -> &Partition {
        &self.place.partition
    }
}

struct PlainAmong<'l, 'p, const MANY: bool> {
    places: &'l mut [Place],
    turns: &'l mut Turns,
    at: &'l mut usize,
    feed: &'l mut Feed<'p>,
}

impl<const MANY: bool> Append for PlainAmong<'_, '_, MANY> {
    #[inline]
    fn append(&mut self, again: bool) -> Result<Outcome, LoadError> {
        *self.at = self.turns.next(again).0.partition as usize;
        Ok(Outcome::Appended { last: plain::<MANY>(&mut self.places[*self.at], self.feed, again)? })
    }

    fn partition(&self) -> &Partition {
        &self.places[*self.at].partition
    }
}

struct BySession<'l, 'p, const MANY: bool> {
    session: &'l mut Session,
    partition: &'l Partition,
    sequence: &'l mut u64,
    batch: u64,
    feed: &'l mut Feed<'p>,
}

impl<const MANY: bool> Append for BySession<'_, '_, MANY> {
    #[inline]
    fn append(&mut self, again: bool) -> Result<Outcome, LoadError> {
        if !again {
            *self.sequence = self.sequence.wrapping_add(self.batch);
        }
        outcome(if MANY {
            self.session.append_batch(self.partition, *self.sequence, self.feed.batch(again))?
        } else {
            self.session.append(self.partition, *self.sequence, self.feed.record(again))?
        })
    }

    fn partition(&self) -> &Partition {
        self.partition
    }
}

struct BySessions<'l, 'p, const MANY: bool> {
    sessions: &'l mut [Session],
    partitions: &'l [Partition],
    turns: &'l mut Turns,
    at: &'l mut usize,
    feed: &'l mut Feed<'p>,
}

impl<const MANY: bool> Append for BySessions<'_, '_, MANY> {
    #[inline]
    fn append(&mut self, again: bool) -> Result<Outcome, LoadError> {
        let (turn, sequence) = self.turns.next(again);
        *self.at = turn.partition as usize;
        let session = &mut self.sessions[turn.producer as usize];
        let partition = &self.partitions[*self.at];
        outcome(if MANY {
            session.append_batch(partition, sequence, self.feed.batch(again))?
        } else {
            session.append(partition, sequence, self.feed.record(again))?
        })
    }

    fn partition(&self) -> &Partition {
        &self.partitions[*self.at]
    }
}

struct ById<'l, 'p, const MANY: bool> {
    places: &'l mut [Place],
    turns: &'l mut Turns,
    epoch: u32,
    at: &'l mut usize,
    feed: &'l mut Feed<'p>,
}

impl<const MANY: bool> Append for ById<'_, '_, MANY> {
    #[inline]
    fn append(&mut self, again: bool) -> Result<Outcome, LoadError> {
        let (turn, sequence) = self.turns.next(again);
        *self.at = turn.partition as usize;
        let stamp = Stamp { producer: turn.id, epoch: self.epoch, sequence };
        let appender = &mut self.places[*self.at].appender;
        outcome(if MANY {
            appender.append_batch_by_id(stamp, self.feed.batch(again))?
        } else {
            appender.append_by_id(stamp, self.feed.record(again))?
        })
    }

    fn partition(&self) -> &Partition {
        &self.places[*self.at].partition
    }
}

struct ByMutex<'l, 'p, const MANY: bool> {
    places: &'l mut [(Place, Sequences)],
    turns: &'l mut Turns,
    at: &'l mut usize,
    batch: u64,
    feed: &'l mut Feed<'p>,
}

impl<const MANY: bool> Append for ByMutex<'_, '_, MANY> {
    #[inline]
    fn append(&mut self, again: bool) -> Result<Outcome, LoadError> {
        let (turn, sequence) = self.turns.next(again);
        *self.at = turn.partition as usize;
        let (place, sequences) = &mut self.places[*self.at];
        let mut sequences = sequences.lock().unwrap_or_else(PoisonError::into_inner);
        let next = sequences.entry(turn.id.get()).or_insert(0);
        if sequence < *next {
            return Ok(Outcome::Duplicate);
        }
        let last = plain::<MANY>(place, self.feed, again)?;
        *next = sequence + self.batch;
        Ok(Outcome::Appended { last })
    }

    fn partition(&self) -> &Partition {
        &self.places[*self.at].0.partition
    }
}
