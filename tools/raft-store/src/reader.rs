//! Reads a group's entries, beside the store that appends them.

use crate::{
    codec::{decode, failed},
    writer::Group,
};
use oncelog::{FetchError, Reader};
use openraft::{RaftLogReader, RaftTypeConfig, alias::VoteOf, entry::RaftEntry};
use std::{
    fmt::Debug,
    io,
    ops::{Bound, Range, RangeBounds},
    sync::Arc,
};

/// Most bytes of entries that openraft is given at once where it takes fewer than it has asked for; one entry at least.
const BYTES_MAX: usize = 1 << 20;
/// How often a read begins again, because the entries under it were purged or cut off meanwhile.
const ATTEMPTS_MAX: usize = 16;

/// Reads the entries of a Raft group. It keeps its place, so that what comes next is read without being looked for.
pub struct LogReader<C: RaftTypeConfig> {
    group: Arc<Group<C>>,
    reader: Option<Reader>,
}

impl<C: RaftTypeConfig> LogReader<C> {
    pub(crate) fn new(group: Arc<Group<C>>) -> Self {
        Self { group, reader: None }
    }

    /// The entries of a range that are there, up to so many bytes.
    pub(crate) fn read(&mut self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<C::Entry>> {
        for _ in 0..ATTEMPTS_MAX {
            let entries = &self.group.entries;
            let range = range.start.max(entries.start_offset())..range.end.min(entries.end_offset());
            if range.is_empty() {
                return Ok(Vec::new());
            }
            match self.try_read(range, bytes_max)? {
                Some(entries) => return Ok(entries),
                None => self.reader = None,
            }
        }
        Err(io::Error::other(format!(
            "entries {range:?} were purged or cut off {ATTEMPTS_MAX} times while they were read"
        )))
    }

    /// None if the entries were purged or cut off meanwhile.
    fn try_read(&mut self, range: Range<u64>, bytes_max: usize) -> io::Result<Option<Vec<C::Entry>>> {
        let gone = |error: FetchError| match error {
            FetchError::Trimmed { .. } | FetchError::Truncated { .. } | FetchError::OutOfRange { .. } => Ok(None),
            error => Err(failed(error)),
        };
        let reader = match self.reader.take().filter(|reader| reader.next_offset() == range.start) {
            Some(reader) => reader,
            None => match self.group.entries.read_from(range.start) {
                Ok(reader) => reader,
                Err(error) => return gone(error),
            },
        };
        let reader = self.reader.insert(reader);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while reader.next_offset() < range.end && (bytes < bytes_max || entries.is_empty()) {
            let record = match reader.next() {
                Ok(Some(record)) => record,
                // It ends before the range does: it was cut off.
                Ok(None) => return Ok(None),
                Err(error) => return gone(error),
            };
            let offset = record.offset();
            let entry: C::Entry = decode(record.payload(), &format!("entry {offset}"))?;
            if entry.log_id_parts().1 != offset {
                let reason = format!("the entry at offset {offset} has index {}", entry.log_id_parts().1);
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            bytes += record.payload().len();
            entries.push(entry);
        }
        Ok(Some(entries))
    }
}

/// The range as numbers: from the first, to the one behind the last.
fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl<C: RaftTypeConfig> RaftLogReader<C> for LogReader<C> {
    async fn try_get_log_entries<B>(&mut self, range: B) -> Result<Vec<C::Entry>, io::Error>
    where
        B: RangeBounds<u64> + Clone + Debug + openraft::OptionalSend,
    {
        self.read(bounds(&range), usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<C::Entry>, io::Error> {
        let entries = self.read(start..end, BYTES_MAX)?;
        if start < end && entries.first().is_none_or(|first| first.log_id_parts().1 != start) {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("entry {start} is not in the log")));
        }
        Ok(entries)
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<C>>, io::Error> {
        Ok(self.group.marks().vote())
    }
}
