//! Limits that the system sets a process, told by name when one is reached.

use std::{
    error::Error,
    fmt,
    fs::{self, File},
    io::{self, Read},
};

/// The process holds as many of something as the system lets it. The source of the `io::Error` of whatever needed one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitReached {
    /// The limit's name: `RLIMIT_NOFILE`, `fs.file-max` or `vm.max_map_count`.
    pub limit: &'static str,
    /// Its value; 0 where the system does not tell.
    pub value: u64,
}

impl fmt::Display for LimitReached {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, value } = self;
        write!(formatter, "the process has reached the system's limit {limit}, which is {value}")
    }
}

impl Error for LimitReached {}

/// What bounds the mappings of a process.
const MAPPINGS: &str = "vm.max_map_count";

impl LimitReached {
    /// Whether there may be no more mappings.
    pub(crate) fn is_of_mappings(&self) -> bool {
        self.limit == MAPPINGS
    }

    /// The limit that an error tells of, if it does.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

/// A number in a file of the system's.
fn number_in(path: &str) -> u64 {
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Most files that the process may have open.
fn files_max() -> u64 {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the two words that it is given; where it fails, they stay 0.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) };
    limits.rlim_cur
}

/// Whether a mapping failed because there are as many as there may be, and not for want of memory.
pub(crate) fn is_of_mappings(error: &io::Error) -> bool {
    // The last few are refused to calls that would need more than one.
    const SLACK: usize = 8;
    let most = usize::try_from(number_in("/proc/sys/vm/max_map_count")).unwrap_or(usize::MAX);
    error.raw_os_error() == Some(libc::ENOMEM) && most > 0 && mappings() + SLACK >= most
}

/// Mappings of this process. Counted without memory for the list of them, which might need a mapping.
fn mappings() -> usize {
    let Ok(mut maps) = File::open("/proc/self/maps") else { return 0 };
    let mut part = [0; 4096];
    let mut count = 0;
    while let Ok(bytes @ 1..) = maps.read(&mut part) {
        count += part.iter().take(bytes).filter(|byte| **byte == b'\n').count();
    }
    count
}

/// The same error, by the name of the limit if it is one.
pub(crate) fn named(error: io::Error) -> io::Error {
    let reached = match error.raw_os_error() {
        Some(libc::EMFILE) => LimitReached { limit: "RLIMIT_NOFILE", value: files_max() },
        Some(libc::ENFILE) => LimitReached { limit: "fs.file-max", value: number_in("/proc/sys/fs/file-max") },
        Some(libc::ENOMEM) if is_of_mappings(&error) => {
            LimitReached { limit: MAPPINGS, value: number_in("/proc/sys/vm/max_map_count") }
        }
        _ => return error,
    };
    io::Error::new(error.kind(), reached)
}
