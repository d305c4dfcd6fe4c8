//! After a run: a reader checks count, order, checksum, contents and sequences of everything appended.

use std::collections::HashMap;
use std::fmt;

use oncelog::{Partition, Reader, Verify};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::LoadError;
use crate::lane::Lane;
use crate::payload::Feed;
use crate::workload::{Idempotence, Workload};

/// Reads partitions on, block after block, and compares them with what the lanes appended.
pub(crate) struct Check<'p> {
    ring: &'p [&'p [u8]],
    batch: usize,
    stamped: bool,
    readers: Vec<PartitionCheck>,
    contents: Contents<'p>,
}

struct PartitionCheck {
    reader: Reader,
    partition: Partition,
    read: u64,
    /// The next sequence of each producer seen here.
    sequences: HashMap<u64, u64>,
}

/// What the records must hold.
enum Contents<'p> {
    /// One lane and one partition: the records in the order they were sent.
    Ordered(Feed<'p>),
    /// Lanes side by side: each record as often as it was sent. By hash; how often it was read so far.
    Counted(HashMap<u64, u64>),
}

impl<'p> Check<'p> {
    pub(crate) fn new(workload: &Workload, ring: &'p [&'p [u8]], partitions: &[Partition]) -> Result<Self, LoadError> {
        let readers = partitions.iter().map(|partition| {
            let mut reader = partition.read_from(0)?;
            reader.set_verify(Verify::Always);
            Ok(PartitionCheck { reader, partition: partition.clone(), read: 0, sequences: HashMap::new() })
        });
        let ordered = workload.threads == 1 && partitions.len() == 1;
        Ok(Self {
            ring,
            batch: workload.batch,
            stamped: matches!(workload.idempotence, Idempotence::Session | Idempotence::ById),
            readers: readers.collect::<Result<_, LoadError>>()?,
            contents: if ordered { Contents::Ordered(Feed::new(ring, 1)) } else { Contents::Counted(HashMap::new()) },
        })
    }

    /// Reads to the end of every partition.
    pub(crate) fn read(&mut self, lanes: &[Lane<'_>]) -> Result<(), LoadError> {
        let expected = self.records_expected(lanes);
        for (number, check) in self.readers.iter_mut().enumerate() {
            let found = check.read_all(self.stamped, &mut self.contents)?;
            if found != expected[number] {
                return Err(VerifyError::Count { partition: number, expected: expected[number], found }.into());
            }
            let end = check.partition.end_offset();
            if end != found {
                return Err(VerifyError::Count { partition: number, expected: found, found: end }.into());
            }
        }
        if let Contents::Counted(counts) = &self.contents {
            compare_counts(&self.counts_expected(lanes), counts)?;
        }
        Ok(())
    }

    /// Records per partition, from the calls of each lane.
    fn records_expected(&self, lanes: &[Lane<'_>]) -> Vec<u64> {
        let mut records = vec![0; self.readers.len()];
        for (thread, lane) in lanes.iter().enumerate() {
            match lane.turns() {
                None => records[thread % self.readers.len()] += lane.appended * self.batch as u64,
                Some(turns) => {
                    for (turn, calls) in turns.order().iter().zip(shares(lane.appended, turns.len())) {
                        records[turn.partition as usize] += calls * self.batch as u64;
                    }
                }
            }
        }
        records
    }

    /// How often each record was sent, by hash.
    fn counts_expected(&self, lanes: &[Lane<'_>]) -> HashMap<u64, u64> {
        let mut counts = HashMap::new();
        for lane in lanes {
            let batches = self.ring.chunks(self.batch);
            for (records, calls) in batches.zip(shares(lane.appended, self.ring.len() / self.batch)) {
                for record in records {
                    *counts.entry(xxh3_64(record)).or_default() += calls;
                }
            }
        }
        counts
    }
}

/// `calls` dealt out in turn to `places`.
fn shares(calls: u64, places: usize) -> impl Iterator<Item = u64> {
    let places = places as u64;
    (0..places).map(move |place| calls / places + u64::from(place < calls % places))
}

fn compare_counts(expected: &HashMap<u64, u64>, found: &HashMap<u64, u64>) -> Result<(), VerifyError> {
    let total = |counts: &HashMap<u64, u64>| counts.values().sum::<u64>();
    for (hash, expected) in expected {
        let found = found.get(hash).copied().unwrap_or(0);
        if found != *expected {
            return Err(VerifyError::Occurrences { expected: *expected, found });
        }
    }
    if total(expected) == total(found) { Ok(()) } else { Err(VerifyError::NeverSent) }
}

impl PartitionCheck {
    /// Reads to the end; how many records there are from the first one on.
    fn read_all(&mut self, stamped: bool, contents: &mut Contents<'_>) -> Result<u64, LoadError> {
        while let Some(record) = self.reader.next()? {
            if record.offset() != self.read {
                return Err(VerifyError::Order { expected: self.read, found: record.offset() }.into());
            }
            match record.producer() {
                Some(stamp) if stamped => {
                    let next = self.sequences.entry(stamp.producer.get()).or_insert(0);
                    if stamp.sequence != *next {
                        return Err(VerifyError::Sequence { expected: *next, found: stamp.sequence }.into());
                    }
                    *next += 1;
                }
                None if !stamped => {}
                _ => return Err(VerifyError::Stamp { offset: self.read }.into()),
            }
            match contents {
                Contents::Ordered(feed) => {
                    if record.payload() != feed.record(false) {
                        return Err(VerifyError::Contents { offset: self.read }.into());
                    }
                }
                Contents::Counted(counts) => *counts.entry(xxh3_64(record.payload())).or_default() += 1,
            }
            self.read += 1;
        }
        Ok(self.read)
    }
}

/// What was read is not what was appended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum VerifyError {
    /// Records are missing, or there are more than were appended.
    Count {
        /// Which partition.
        partition: usize,
        /// Records appended.
        expected: u64,
        /// Records read.
        found: u64,
    },
    /// An offset is not the one after the last.
    Order {
        /// The next offset.
        expected: u64,
        /// The record's.
        found: u64,
    },
    /// A sequence is not the producer's next one.
    Sequence {
        /// The producer's next sequence.
        expected: u64,
        /// The record's.
        found: u64,
    },
    /// A producer is named where there is none, or none where there is one.
    Stamp {
        /// The record's offset.
        offset: u64,
    },
    /// A record holds other bytes than the one sent.
    Contents {
        /// The record's offset.
        offset: u64,
    },
    /// A record is there more or less often than it was sent.
    Occurrences {
        /// How often it was sent.
        expected: u64,
        /// How often it was read.
        found: u64,
    },
    /// A record holds what nobody sent.
    NeverSent,
    /// What was waited for is not all durable.
    NotDurable {
        /// The first offset that is not durable.
        durable: u64,
        /// The end of what was acknowledged.
        end: u64,
    },
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { partition, expected, found } => {
                write!(f, "partition {partition} has {found} records where {expected} were appended")
            }
            Self::Order { expected, found } => write!(f, "offset {found} follows where {expected} should"),
            Self::Sequence { expected, found } => write!(f, "sequence {found} follows where {expected} should"),
            Self::Stamp { offset } => write!(f, "the record at offset {offset} names a producer wrongly or not at all"),
            Self::Contents { offset } => write!(f, "the record at offset {offset} holds other bytes than were sent"),
            Self::Occurrences { expected, found } => write!(f, "a record sent {expected} times is there {found} times"),
            Self::NeverSent => f.write_str("there is a record that was never sent"),
            Self::NotDurable { durable, end } => write!(f, "durable up to offset {durable} of {end}"),
        }
    }
}

impl std::error::Error for VerifyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_dealt_in_turn() {
        assert_eq!(shares(7, 3).collect::<Vec<_>>(), [3, 2, 2]);
        assert_eq!(shares(2, 3).collect::<Vec<_>>(), [1, 1, 0]);
    }

    #[test]
    fn a_record_read_twice_is_noticed() {
        let sent = HashMap::from([(1, 2), (2, 2)]);
        assert_eq!(compare_counts(&sent, &HashMap::from([(1, 2), (2, 2)])), Ok(()));
        let doubled = compare_counts(&sent, &HashMap::from([(1, 3), (2, 2)]));
        assert_eq!(doubled, Err(VerifyError::Occurrences { expected: 2, found: 3 }));
        let strange = compare_counts(&sent, &HashMap::from([(1, 2), (2, 2), (3, 1)]));
        assert_eq!(strange, Err(VerifyError::NeverSent));
    }
}
