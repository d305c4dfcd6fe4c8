//! What a reader hands out: a record, borrowed.

use super::Place;
use crate::{ids::Stamp, segment::scan::Frame, slice::Slice};
use std::sync::Arc;

/// A record, borrowed from the memory it was published in.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    pub(super) place: &'a Place,
    pub(super) payload: &'a [u8],
    pub(super) offset: u64,
    pub(super) frame: Frame,
    /// Number of the record in its batch.
    pub(super) index: u32,
}

impl<'a> Record<'a> {
    /// The record's number in its partition.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes that were appended, where they were appended: nothing is copied.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// When the record was appended, in milliseconds since the Unix epoch by the engine's clock. Records of one thread
    /// never go back in time; of several, by as much as a thread was held up while it appended.
    #[must_use]
    pub fn timestamp_ms(&self) -> u64 {
        self.place.shape.prepared_ms + u64::from(self.frame.stored.time_delta())
    }

    /// Who appended the record, and with which sequence; none for a plain append.
    #[must_use]
    pub fn producer(&self) -> Option<Stamp> {
        self.frame.producer(&self.place.window, self.place.segment.shape()).map(|producer| Stamp {
            producer: producer.id,
            epoch: producer.epoch,
            sequence: producer.first_sequence.wrapping_add(u64::from(self.index)),
        })
    }

    /// The number of the producer's transaction that the record was appended in; none if it was in none.
    #[must_use]
    pub fn transaction(&self) -> Option<u64> {
        let producer = self.frame.producer(&self.place.window, self.place.segment.shape());
        producer.map(|producer| producer.transaction).filter(|transaction| *transaction != 0)
    }

    /// The payload as a value of its own, which keeps its segment alive. Nothing is copied.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append(b"order 41")?;
    /// let mut reader = orders.read_from(0)?;
    /// let kept = reader.next()?.expect("a record").slice();
    /// drop(reader);
    /// assert_eq!(&kept[..], b"order 41");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn slice(&self) -> Slice {
        Slice::new(Arc::clone(&self.place.segment), self.payload)
    }
}
