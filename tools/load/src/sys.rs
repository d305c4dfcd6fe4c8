//! The few calls to the system that std does not have.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Allocates blocks for a file and sets its length.
pub(crate) fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let Ok(length) = libc::off_t::try_from(bytes) else {
        return Err(io::Error::other(format!("{bytes} bytes are more than a file can have")));
    };
    // SAFETY: the descriptor belongs to `file`, which outlives the call; no memory is passed.
    let code = unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Writes to a file, and returns when it is on the device.
pub(crate) fn write_durably(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let rest = &bytes[done..];
        let part = libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() };
        let at = libc::off_t::try_from(at + done as u64).map_err(io::Error::other)?;
        // SAFETY: the kernel reads the slice, which outlives the call; the descriptor belongs to `file`.
        match unsafe { libc::pwritev2(file.as_raw_fd(), &raw const part, 1, at, libc::RWF_DSYNC) } {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written if written > 0 => done += written as usize,
            _ => return Err(io::Error::last_os_error()),
        }
    }
    Ok(())
}

/// Bytes that an ordinary user may still write to the file system of a directory.
pub(crate) fn room(dir: &Path) -> io::Result<u64> {
    let path = CString::new(dir.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut stat = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends with a zero byte and `stat` is large enough; both outlive the call.
    let code = unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled the structure.
    let stat = unsafe { stat.assume_init() };
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// What a thread has caused.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Page faults that needed no I/O.
    pub(crate) minor_faults: u64,
    /// Whether it gave up the processor or was taken off it.
    pub(crate) context_switches: u64,
}

impl Usage {
    /// Of the calling thread, so far.
    pub(crate) fn of_thread() -> Self {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: `usage` is large enough and outlives the call.
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
        // SAFETY: all zeroes is a valid `rusage`, whether or not the call filled it.
        let usage = unsafe { usage.assume_init() };
        Self {
            minor_faults: usage.ru_minflt.unsigned_abs(),
            context_switches: (usage.ru_nvcsw + usage.ru_nivcsw).unsigned_abs(),
        }
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            minor_faults: self.minor_faults - before.minor_faults,
            context_switches: self.context_switches - before.context_switches,
        }
    }

    /// In a thousand appends: page faults, and context switches.
    pub(crate) fn per_thousand(self, appends: u64) -> (f64, f64) {
        let share = |count: u64| count as f64 * 1e3 / appends.max(1) as f64;
        (share(self.minor_faults), share(self.context_switches))
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.minor_faults += other.minor_faults;
        self.context_switches += other.context_switches;
    }
}

/// The most memory this process has held since it began, or since [`forget_peak_memory`].
pub(crate) fn peak_memory_bytes() -> Option<u64> {
    kilobytes("/proc/self/status", "VmHWM:")
}

/// Memory that this process holds now.
pub(crate) fn resident_bytes() -> Option<u64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// Bytes of all files that wait to be written back, and bytes that are being written back.
pub(crate) fn dirty_and_writeback_bytes() -> Option<(u64, u64)> {
    kilobytes("/proc/meminfo", "Dirty:").zip(kilobytes("/proc/meminfo", "Writeback:"))
}

/// A line of a file in which the kernel tells amounts of memory, in bytes.
fn kilobytes(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Begins to watch the peak anew. Where the kernel does not allow it, the peak is that of the whole run.
pub(crate) fn forget_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_answers() {
        assert!(room(Path::new("/")).is_ok());
        assert!(peak_memory_bytes().is_some_and(|bytes| bytes > 0));
        assert!(resident_bytes().is_some_and(|bytes| bytes > 0));
        assert!(dirty_and_writeback_bytes().is_some());
        std::thread::yield_now();
        let usage = Usage::of_thread();
        assert_eq!(usage.since(usage), Usage::default());
    }
}
