//! The device under a directory: how long it takes to make a block durable, and how fast it takes a stream.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::host::Mount;
use crate::recorder::{floor_of, histogram};
use crate::result::{DeviceFacts, Flushes};

const BLOCK: usize = 4096;
/// Flushes measured, unless the device is so slow that time runs out first.
const FLUSHES: u64 = 1_000;
const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);
const STREAM_BYTES: u64 = 64 << 20;

/// What can be learnt of the device of `dir` by asking and by writing to it.
pub(crate) fn facts(dir: &Path) -> DeviceFacts {
    let mount = Mount::of(dir).unwrap_or_default();
    let write_cache = fs::read_to_string(format!("/sys/dev/block/{}/queue/write_cache", mount.device));
    let on_device = !mount.is_memory();
    DeviceFacts {
        name: mount.source.trim_start_matches("/dev/").to_owned(),
        write_cache: write_cache.ok().map(|text| text.trim().to_owned()),
        flush_ns: on_device.then(|| flushes(dir).ok()).flatten(),
        sequential_write_bytes_per_second: on_device.then(|| stream(dir).ok()).flatten(),
    }
}

/// What the device under a directory has written, as the system counts it: whoever asked for it.
pub(crate) struct Writes {
    counters: Option<PathBuf>,
}

impl Writes {
    /// Of the device of `dir`; of none where its files are memory.
    pub(crate) fn of(dir: &Path) -> Self {
        let mount = Mount::of(dir).filter(|mount| !mount.is_memory());
        Self { counters: mount.map(|mount| PathBuf::from(format!("/sys/dev/block/{}/stat", mount.device))) }
    }

    /// Bytes so far; 0 where the system does not count.
    pub(crate) fn written(&self) -> u64 {
        self.counters.as_ref().and_then(|path| bytes_written(&fs::read_to_string(path).ok()?)).unwrap_or(0)
    }

    /// Bytes since it was so many.
    pub(crate) fn since(&self, before: u64) -> u64 {
        self.written().saturating_sub(before)
    }

    /// The mean of some repeats, where the system has counted anything.
    pub(crate) fn told(&self, bytes: u64, repeats: usize) -> Option<u64> {
        (bytes > 0).then_some(bytes / repeats.max(1) as u64)
    }
}

/// The seventh number is sectors, of 512 bytes whatever the device's own are.
fn bytes_written(counters: &str) -> Option<u64> {
    counters.split_ascii_whitespace().nth(6)?.parse::<u64>().ok()?.checked_mul(512)
}

/// Memory that direct I/O takes.
#[repr(align(4096))]
struct Aligned([u8; 1 << 20]);

impl Aligned {
    fn new() -> Box<Self> {
        Box::new(Self([0x5a; 1 << 20]))
    }
}

/// A file written past the page cache where the file system allows it.
pub(crate) fn direct_file(dir: &Path, bytes: u64, chunk: &[u8]) -> io::Result<(tempfile::TempPath, File)> {
    let path = tempfile::NamedTempFile::new_in(dir)?.into_temp_path();
    let open = |flags| OpenOptions::new().write(true).custom_flags(flags).open(&path);
    let file = open(libc::O_DIRECT).or_else(|_| open(0))?;
    crate::sys::allocate(&file, bytes)?;
    for at in (0..bytes).step_by(chunk.len()) {
        file.write_all_at(chunk, at)?;
    }
    file.sync_all()?;
    Ok((path, file))
}

/// One block written over blocks that were written before, and made durable, again and again.
fn flushes(dir: &Path) -> io::Result<Flushes> {
    const FILE_BYTES: u64 = 1 << 20;
    let memory = Aligned::new();
    let (_path, file) = direct_file(dir, FILE_BYTES, &memory.0)?;
    let mut times = histogram();
    let start = Instant::now();
    while times.len() < FLUSHES && start.elapsed() < FLUSH_TIME_MAX {
        let at = times.len() * BLOCK as u64 % FILE_BYTES;
        let begin = Instant::now();
        file.write_all_at(&memory.0[..BLOCK], at)?;
        file.sync_data()?;
        times.saturating_record(begin.elapsed().as_nanos() as u64);
    }
    Ok(floor_of(&times))
}

fn stream(dir: &Path) -> io::Result<f64> {
    Stream::prepare(dir, STREAM_BYTES)?.write()
}

/// A file that large writes go over, again and again: what the device takes of a stream.
pub(crate) struct Stream {
    memory: Box<Aligned>,
    _path: tempfile::TempPath,
    file: File,
    bytes: u64,
}

impl Stream {
    /// The file, each of its blocks written once. A multiple of 1 MiB.
    pub(crate) fn prepare(dir: &Path, bytes: u64) -> io::Result<Self> {
        let memory = Aligned::new();
        let (path, file) = direct_file(dir, bytes, &memory.0)?;
        Ok(Self { memory, _path: path, file, bytes })
    }

    /// Bytes a second of large writes to blocks that were written before, the flush at the end included.
    pub(crate) fn write(&self) -> io::Result<f64> {
        let start = Instant::now();
        for at in (0..self.bytes).step_by(self.memory.0.len()) {
            self.file.write_all_at(&self.memory.0, at)?;
        }
        self.file.sync_data()?;
        Ok(self.bytes as f64 / start.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_written_are_the_seventh_number() {
        let counters = "   12345   8 99999   77   4242   11   2000   55   0   66   132   0   0   0   0\n";
        assert_eq!(bytes_written(counters), Some(2000 * 512));
        assert_eq!(bytes_written("1 2 3"), None);
        assert_eq!(bytes_written(""), None);
    }

    #[test]
    fn a_file_system_in_memory_has_no_device_that_writes() {
        let writes = Writes { counters: None };
        assert_eq!((writes.written(), writes.told(0, 3)), (0, None));
        assert_eq!(writes.told(9, 3), Some(3));
    }
}
