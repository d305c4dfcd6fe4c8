//! How a log is opened. Each option says what it costs.

use crate::{
    error::OpenError,
    format::{
        FRAME_BYTES_MAX, FRAME_HEADER_BYTES, PRODUCER_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_HEADER_BYTES,
    },
};
use std::time::Duration;

/// Most producers that a table may be reserved for.
pub(crate) const PRODUCERS_MAX: u32 = 1 << 28;
/// Most segments that may be prepared ahead.
const SEGMENTS_AHEAD_MAX: u32 = 1024;

/// How to open a log: `Options::new()` and what differs from it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    pub(crate) segment_bytes: u64,
    pub(crate) first_segment_bytes: u64,
    pub(crate) segments_ahead: u32,
    pub(crate) producers_max: u32,
    pub(crate) retention_bytes: Option<u64>,
    pub(crate) retention_age: Option<Duration>,
    pub(crate) recycle: bool,
    pub(crate) snapshot_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            first_segment_bytes: 1 << 20,
            segments_ahead: 2,
            producers_max: 65_536,
            retention_bytes: None,
            retention_age: None,
            recycle: true,
            snapshot_bytes: 256 << 20,
        }
    }
}

impl Options {
    /// The defaults, which suit a log with a handful of busy partitions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of a segment file once a partition has grown to it: a multiple of 4,096 from 64 KiB to 1 GiB; 64 MiB by
    /// default. A larger one rotates less often; retention drops whole segments, and reopening after a crash reads the
    /// open one whole. A quarter of it bounds the largest frame, and so does 16 MiB.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self.first_segment_bytes = self.first_segment_bytes.min(bytes);
        self
    }

    /// Bytes of a partition's first segment; each next one is twice as large, up to `segment_bytes`. 1 MiB by default,
    /// so that thousands of quiet partitions stay small.
    #[must_use]
    pub fn first_segment_bytes(mut self, bytes: u64) -> Self {
        self.first_segment_bytes = bytes;
        self
    }

    /// Segments that are allocated, mapped and touched ahead of the one in use, in each partition that is appended to: 1
    /// to 1,024; 2 by default. More take bursts that outrun the file system; each costs its bytes of disk and memory.
    #[must_use]
    pub fn segments_ahead(mut self, count: u32) -> Self {
        self.segments_ahead = count;
        self
    }

    /// Most live producers: 1 to 2^28; 65,536 by default. 64 bytes of address space are reserved for each in every
    /// partition; memory is only used where a producer has appended.
    #[must_use]
    pub fn producers_max(mut self, count: u32) -> Self {
        self.producers_max = count;
        self
    }

    /// Bytes of segment files that a partition keeps, besides the one in use: whole segments are dropped from the oldest
    /// on while the others hold at least this much. None by default. Producers' states outlive their records.
    #[must_use]
    pub fn retention_bytes(mut self, bytes: Option<u64>) -> Self {
        self.retention_bytes = bytes;
        self
    }

    /// Age from which on a record need not be kept: a segment is dropped when its latest record is older. None by default.
    #[must_use]
    pub fn retention_age(mut self, age: Option<Duration>) -> Self {
        self.retention_age = age;
        self
    }

    /// Whether segments that retention drops are used again, which saves allocating and touching new ones. On by default.
    #[must_use]
    pub fn recycle(mut self, yes: bool) -> Self {
        self.recycle = yes;
        self
    }

    /// Bytes appended to a partition after which its producers' state is written to a snapshot: at least 64 KiB; 256 MiB by
    /// default. Reopening after a crash reads what came since the newest one; retention keeps everything since.
    #[must_use]
    pub fn snapshot_bytes(mut self, bytes: u64) -> Self {
        self.snapshot_bytes = bytes;
        self
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let sizes = SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX;
        for (option, value) in
            [("segment_bytes", self.segment_bytes), ("first_segment_bytes", self.first_segment_bytes)]
        {
            if !sizes.contains(&value) || !value.is_multiple_of(4096) {
                return Err(OpenError::Option {
                    option,
                    value,
                    allowed: format!("a multiple of 4096 from {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}"),
                });
            }
        }
        if self.first_segment_bytes > self.segment_bytes {
            return Err(OpenError::Option {
                option: "first_segment_bytes",
                value: self.first_segment_bytes,
                allowed: format!("at most segment_bytes, which is {}", self.segment_bytes),
            });
        }
        let counts = [
            ("segments_ahead", self.segments_ahead, SEGMENTS_AHEAD_MAX),
            ("producers_max", self.producers_max, PRODUCERS_MAX),
        ];
        for (option, value, most) in counts {
            if !(1..=most).contains(&value) {
                return Err(OpenError::Option { option, value: value.into(), allowed: format!("from 1 to {most}") });
            }
        }
        if self.snapshot_bytes < SEGMENT_BYTES_MIN {
            return Err(OpenError::Option {
                option: "snapshot_bytes",
                value: self.snapshot_bytes,
                allowed: format!("at least {SEGMENT_BYTES_MIN}"),
            });
        }
        Ok(())
    }

    /// Most bytes of a frame's body: with and without a producer's part the same, so that a retry under a producer never
    /// meets a limit that the first try did not.
    pub(crate) fn body_bytes_max(&self) -> usize {
        let segment = usize::try_from(self.segment_bytes).unwrap_or(usize::MAX);
        let frame = ((segment - SEGMENT_HEADER_BYTES) / 4).min(FRAME_BYTES_MAX);
        frame / 8 * 8 - FRAME_HEADER_BYTES - PRODUCER_BYTES
    }
}
