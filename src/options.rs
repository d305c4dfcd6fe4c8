//! How a log is opened. Each option says what it costs.

use crate::{
    error::OpenError,
    format::{
        FRAME_BYTES_MAX, FRAME_HEADER_BYTES, PRODUCER_FAR_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
        SEGMENT_HEADER_BYTES,
    },
};
use std::time::Duration;

/// Most producers that a table may be reserved for.
pub(crate) const PRODUCERS_MAX: u32 = 1 << 28;
/// Most mappings that an option may ask for: half of what the system lets a process have by default.
const MAPPINGS_MAX: u32 = 32_768;
/// Below, a pause between two appends would be taken for the end of them.
const IDLE_AFTER_MIN: Duration = Duration::from_millis(10);
/// Most segments that may be prepared ahead.
const SEGMENTS_AHEAD_MAX: u32 = 1024;

/// How a segment's memory and its file belong together. Chosen per log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Window {
    /// The file's pages, mapped. What is visible survives the process being killed; what is durable survives a power cut
    /// too. A flush stalls those who append to the pages that it writes, so this suits logs whose appends are
    /// acknowledged as written or visible, and made durable now and then.
    #[default]
    Mapped,
    /// Memory of the log's own, which a committer writes to the file past the system's cache. A flush stalls nobody. What
    /// is durable survives the process being killed and a power cut, and only that: this is for logs whose appends are
    /// acknowledged when they are durable.
    Direct,
}

/// In the direct window, how long an appended record stays in memory alone when nobody waits for it.
const DIRECT_FLUSH_INTERVAL: Duration = Duration::from_millis(10);

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
    pub(crate) window: Window,
    pub(crate) flush_interval: Option<Duration>,
    pub(crate) flush_bytes: Option<u64>,
    pub(crate) io_uring: bool,
    pub(crate) mapped_segments_max: u32,
    pub(crate) awake_partitions_max: u32,
    pub(crate) idle_after: Option<Duration>,
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
            window: Window::Mapped,
            flush_interval: None,
            flush_bytes: None,
            io_uring: true,
            mapped_segments_max: 1024,
            awake_partitions_max: 256,
            idle_after: Some(Duration::from_secs(30)),
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
    /// on while the others hold at least this much. None by default. Producers' states outlive their records: segments
    /// are dropped up to a snapshot at a time, so up to [`snapshot_bytes`](Options::snapshot_bytes) more may be there, and
    /// only once two snapshots stand for them, so the newest full one may stay beside the one in use.
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

    /// How a segment's memory and its file belong together; [`Window::Mapped`] by default.
    #[must_use]
    pub fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// Longest time that a visible record stays undurable when nobody waits for it: at least 1 ms. None by default, which
    /// in the mapped window leaves it to the system, and in the direct window means 10 ms. A shorter one loses less in a
    /// power cut, and flushes more often.
    #[must_use]
    pub fn flush_interval(mut self, interval: Option<Duration>) -> Self {
        self.flush_interval = interval;
        self
    }

    /// Most bytes that a partition may have undurable when nobody waits for them: at least 64 KiB; none by default. Looked
    /// at every millisecond. In the mapped window this bounds the memory that waits to be written back.
    #[must_use]
    pub fn flush_bytes(mut self, bytes: Option<u64>) -> Self {
        self.flush_bytes = bytes;
        self
    }

    /// Whether the committer may use io_uring, where the system has it; on by default. It saves time where a round writes
    /// to several partitions.
    #[must_use]
    pub fn io_uring(mut self, yes: bool) -> Self {
        self.io_uring = yes;
        self
    }

    /// Most sealed segments, in all of the log's partitions, that stay mapped for readers and retries: 1 to 32,768; 1,024 by
    /// default. Beyond, the least recently used are unmapped, and mapped again when they are read, which takes 10 to 20 us
    /// and the faults of their pages. One that a reader stands in, or a slice is of, stays mapped all the same. More keep
    /// scattered reads of old records fast; each takes one of the mappings that the system lets a process have
    /// (`vm.max_map_count`, usually 65,530) and the page tables of what was read. A segment that was unmapped is not
    /// recycled in the mapped window, so this should not be below what retention keeps of a busy log.
    #[must_use]
    pub fn mapped_segments_max(mut self, count: u32) -> Self {
        self.mapped_segments_max = count;
        self
    }

    /// For how long nobody must have appended to a partition for it to be idle: at least 10 ms; 30 s by default; none for
    /// ever. An idle partition gives back the segments that stand ready and those that wait to be used again; when it is
    /// appended to again they are made anew, and who fills its segment before that waits for one.
    #[must_use]
    pub fn idle_after(mut self, time: Option<Duration>) -> Self {
        self.idle_after = time;
        self
    }

    /// Most partitions that stay awake though they are idle: 1 to 32,768; 256 by default. Beyond, those that have been idle
    /// for longest go to rest: their segment in use is ended, and they hold no memory, mapping or open file any more. The
    /// next append to one of them waits for a new segment, a millisecond or a few. More serve many partitions that are
    /// appended to once in a while; each takes a mapping and the bytes of its segment in use, as memory of its own and with
    /// an open file in the direct window.
    #[must_use]
    pub fn awake_partitions_max(mut self, count: u32) -> Self {
        self.awake_partitions_max = count;
        self
    }

    /// Longest time that a visible record stays undurable, if there is such a time.
    pub(crate) fn interval(&self) -> Option<Duration> {
        match self.window {
            Window::Mapped => self.flush_interval,
            Window::Direct => Some(self.flush_interval.unwrap_or(DIRECT_FLUSH_INTERVAL)),
        }
    }

    /// Whether the committer flushes without being asked.
    pub(crate) fn flushes_by_itself(&self) -> bool {
        self.interval().is_some() || self.flush_bytes.is_some()
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
            ("mapped_segments_max", self.mapped_segments_max, MAPPINGS_MAX),
            ("awake_partitions_max", self.awake_partitions_max, MAPPINGS_MAX),
        ];
        for (option, value, most) in counts {
            if !(1..=most).contains(&value) {
                return Err(OpenError::Option { option, value: value.into(), allowed: format!("from 1 to {most}") });
            }
        }
        if let Some(time) = self.idle_after.filter(|time| *time < IDLE_AFTER_MIN) {
            return Err(OpenError::Option {
                option: "idle_after",
                value: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
                allowed: "at least 10,000,000 ns".to_owned(),
            });
        }
        if let Some(interval) = self.flush_interval.filter(|interval| *interval < Duration::from_millis(1)) {
            return Err(OpenError::Option {
                option: "flush_interval",
                value: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
                allowed: "at least 1,000,000 ns".to_owned(),
            });
        }
        if let Some(value) = self.flush_bytes.filter(|bytes| *bytes < SEGMENT_BYTES_MIN) {
            return Err(OpenError::Option {
                option: "flush_bytes",
                value,
                allowed: format!("at least {SEGMENT_BYTES_MIN}"),
            });
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
        frame / 8 * 8 - FRAME_HEADER_BYTES - PRODUCER_FAR_BYTES
    }
}
