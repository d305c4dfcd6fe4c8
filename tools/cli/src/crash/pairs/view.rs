//! Pairs as a reader finds them in one partition: of what is committed each number once, whole and in order; of
//! everything each try in order, as far as it came.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use oncelog::{FetchError, Isolation, Partition, Reader};

use super::TRANSACTORS;

/// What a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    transactor: u64,
    number: u64,
    attempt: u64,
    index: u64,
    count: u64,
}

impl Piece {
    fn of(payload: &[u8]) -> Option<Self> {
        let word = |index: usize| {
            let bytes = payload.get(index * 8..index * 8 + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let piece =
            Self { transactor: word(0)?, number: word(1)?, attempt: word(2)?, index: word(3)?, count: word(4)? };
        let filled = payload.get(40..)?.iter().all(|byte| *byte == piece.attempt as u8);
        (filled && piece.transactor < TRANSACTORS && piece.index < piece.count).then_some(piece)
    }

    const fn is_last(&self) -> bool {
        self.index + 1 == self.count
    }

    /// Whether it comes behind `before`, to a reader of that isolation.
    fn follows(&self, before: &Self, isolation: Isolation) -> bool {
        if self.attempt == before.attempt {
            return *self == Self { index: before.index + 1, ..*before };
        }
        let begins = self.index == 0;
        match isolation {
            Isolation::ReadCommitted => begins && before.is_last() && self.number == before.number + 1,
            // A commit that was not durable is undone by a crash, and its number is tried again.
            Isolation::ReadUncommitted => begins && self.number <= before.number + 1,
        }
    }
}

/// A reader of one partition, and what it has read last of each transactor.
pub(super) struct View {
    partition: Partition,
    isolation: Isolation,
    reader: Reader,
    /// From the first record that there is.
    is_whole: bool,
    last: [Option<Piece>; TRANSACTORS as usize],
}

impl View {
    pub(super) fn new(partition: &Partition, isolation: Isolation) -> Result<Self, String> {
        let start = partition.start_offset();
        // Retention may go on between the two.
        let reader = partition.read_from(start).or_else(|_| partition.read_from_end());
        let mut reader = reader.map_err(|error| format!("no reader: {error}"))?;
        reader.set_isolation(isolation);
        let is_whole = start == 0 && reader.next_offset() == 0;
        Ok(Self { partition: partition.clone(), isolation, reader, is_whole, last: [None; TRANSACTORS as usize] })
    }

    /// Reads a record, if there is one.
    fn next(&mut self) -> Result<bool, String> {
        let isolation = self.isolation;
        let at =
            |offset: u64, what: String| format!("{}, offset {offset}, {isolation:?}: {what}", self.partition.name());
        match self.reader.next() {
            Ok(None) => Ok(false),
            Ok(Some(record)) => {
                let offset = record.offset();
                let piece = Piece::of(record.payload())
                    .ok_or_else(|| at(offset, "not a record that was appended".to_owned()))?;
                let last = &mut self.last[piece.transactor as usize];
                let follows = match last {
                    Some(last) => piece.follows(last, isolation),
                    None => !self.is_whole || (piece.number == 0 && piece.index == 0),
                };
                if !follows {
                    return Err(at(offset, format!("{piece:?} comes behind {last:?}")));
                }
                *last = Some(piece);
                Ok(true)
            }
            // Retention was faster.
            Err(FetchError::Trimmed { .. }) => {
                *self = Self::new(&self.partition, self.isolation)?;
                Ok(true)
            }
            Err(error) => Err(at(self.reader.next_offset(), error.to_string())),
        }
    }

    /// Whether what was read last of each transactor is the number before the one that comes next, whole.
    pub(super) fn ends_with(&self, nexts: &[u64]) -> Result<(), String> {
        for (transactor, (last, next)) in self.last.iter().zip(nexts).enumerate() {
            let agrees = match last {
                Some(last) => last.is_last() && last.number + 1 == *next,
                None => !self.is_whole || *next == 0,
            };
            if !agrees {
                return Err(format!(
                    "{}: transactor {transactor} has {last:?} last, and {next} comes next by its group's offset",
                    self.partition.name()
                ));
            }
        }
        Ok(())
    }
}

/// Reads to the end.
pub(super) fn read_all(view: &mut View, count: &AtomicU64) -> Result<(), String> {
    while view.next()? {
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Reads both partitions until all who write have ended. Returns views to be compared with what they have written.
pub(in crate::crash) fn read(
    sides: &[Partition; 2],
    isolation: Isolation,
    ended: &AtomicBool,
    count: &AtomicU64,
) -> Result<Views, String> {
    let mut views = [View::new(&sides[0], isolation)?, View::new(&sides[1], isolation)?];
    loop {
        // Asked before the round: what there is then is read.
        let is_last = ended.load(Ordering::SeqCst);
        for view in &mut views {
            read_all(view, count)?;
        }
        if is_last {
            return Ok(Views(views));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// What was read last.
pub(in crate::crash) struct Views([View; 2]);

impl Views {
    /// Compares with the numbers that come next.
    pub(in crate::crash) fn compare(&self, nexts: &[u64]) -> Result<(), String> {
        self.0
            .iter()
            .filter(|view| view.isolation == Isolation::ReadCommitted)
            .try_for_each(|view| view.ends_with(nexts))
    }
}
