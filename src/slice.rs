//! Bytes of a record that outlive the reader they came from.

use crate::segment::file::Segment;
use std::{fmt, ops::Deref, sync::Arc};

/// A record's bytes where they were appended, kept there: the slice holds its segment's mapping, also when retention has
/// dropped the segment and when the log is closed. Clones are cheap and share it.
#[derive(Clone)]
pub struct Slice {
    segment: Arc<Segment>,
    at: usize,
    bytes: usize,
}

impl Slice {
    /// `payload` lies in a published frame of `segment`.
    pub(crate) fn new(segment: Arc<Segment>, payload: &[u8]) -> Self {
        let at = segment.position_in_file(payload);
        Self { segment, at, bytes: payload.len() }
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.segment.published(self.at, self.bytes)
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, formatter)
    }
}
