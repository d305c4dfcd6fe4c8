//! Reopening a large log after its process was killed, cold: nothing of its files is in the system's cache.
//!
//! The log is filled by a process of its own, which is killed once all of it is durable; what was not written back is
//! synced, and the cache is dropped. That is what a power cut leaves of a log all of whose records were durable.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use oncelog::{Options, Verify};

use crate::closed::{Site, wait_until_durable};
use crate::error::LoadError;
use crate::result::{Figure, Kind};
use crate::spread::Spread;
use crate::stage::frame_bytes;
use crate::verify::VerifyError;
use crate::workload::{Idempotence, Window, Workload};

/// Bytes of a segment unless said otherwise, and of the log between two snapshots: as a log has them by default.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Read to learn how fast the device reads.
const READ_BYTES_MAX: u64 = 1 << 30;

/// How large a log is when its process is killed.
#[derive(Clone, Copy, Debug)]
pub struct Reopen {
    /// Frame bytes.
    pub bytes: u64,
    /// Starts a process that calls [`fill`], and kills it when that has returned.
    pub fill_and_kill: fn(&Path, &Workload, u64) -> io::Result<()>,
}

fn options(workload: &Workload) -> Options {
    let options = Options::new().segment_bytes(SEGMENT_BYTES).first_segment_bytes(SEGMENT_BYTES);
    match workload.window {
        Window::Mapped => options.flush_interval(Some(std::time::Duration::from_millis(100))),
        Window::Direct => options.window(oncelog::Window::Direct),
    }
}

/// Appends records of this size to a new log until it holds so many bytes, all of them durable, and never closes it.
///
/// # Errors
/// The log cannot be opened or written.
pub fn fill(dir: &Path, payload_bytes: usize, window: Window, bytes: u64) -> Result<(), LoadError> {
    let payloads = std::sync::Arc::new(crate::Payloads::fixed(payload_bytes));
    let workload = Workload { window, ..Workload::new(payloads) };
    let ring = workload.payloads.ring(1);
    // SAFETY: the directory is new and this process's to fill; nothing else writes to its files.
    let log = unsafe { options(&workload).open(dir) }?;
    let partition = log.partition("filled")?;
    let mut appender = partition.appender()?;
    let records = records(&workload, bytes);
    for record in 0..records {
        appender.append(ring[(record % ring.len() as u64) as usize])?;
    }
    wait_until_durable(&partition, records - 1)?;
    // Killed, not closed.
    std::mem::forget((log, partition, appender));
    Ok(())
}

fn records(workload: &Workload, bytes: u64) -> u64 {
    ((bytes as f64 / frame_bytes(workload)) as u64).max(1)
}

/// Fills a log, has its process killed, drops the cache, and opens it.
pub(crate) fn measure(workload: &Workload, reopen: Reopen, site: Site<'_>) -> Result<Figure, LoadError> {
    let scratch = tempfile::tempdir_in(site.scratch).map_err(LoadError::io("a scratch directory"))?;
    let dir = scratch.path().join("log");
    (reopen.fill_and_kill)(&dir, workload, reopen.bytes).map_err(LoadError::io("filling a log"))?;
    let files = files_of(&dir).map_err(LoadError::io("listing the log"))?;
    let how = drop_cache(&files).map_err(LoadError::io("dropping the cache"))?;
    let read_rate = read_rate(&files).map_err(LoadError::io("reading a segment"))?;

    let start = Instant::now();
    // SAFETY: the process that filled it is dead, and nothing else knows the directory.
    let log = unsafe { options(workload).open(&dir) }?;
    let partition = log.partition("filled")?;
    let seconds = start.elapsed().as_secs_f64();

    let expected = records(workload, reopen.bytes);
    let ring = workload.payloads.ring(1);
    let mut reader = partition.read_from(0)?;
    reader.set_verify(Verify::Always);
    let mut found = 0;
    while let Some(record) = reader.next()? {
        if record.offset() != found || record.payload() != ring[(found % ring.len() as u64) as usize] {
            return Err(VerifyError::Contents { offset: found }.into());
        }
        found += 1;
    }
    if found != expected {
        return Err(VerifyError::Count { partition: 0, expected, found }.into());
    }
    let segments = partition.stats().segments;
    let since_snapshot = segments.saturating_sub(newest_snapshot(&files)) * SEGMENT_BYTES;
    let mut figure = Figure::empty(Kind::Recover);
    figure.idempotence = Some(Idempotence::Off);
    figure.payload_bytes = Some(workload.payloads.mean_bytes());
    figure.batch = Some(1);
    figure.partitions = Some(1);
    figure.window = Some(workload.window);
    figure.repeats = Some(1);
    figure.segments = Some(segments);
    figure.segment_bytes = Some(SEGMENT_BYTES);
    figure.bytes = Some(since_snapshot);
    figure.log_bytes = Some((found as f64 * frame_bytes(workload)) as u64);
    figure.seconds = Some(seconds);
    figure.seconds_min = Some(seconds);
    figure.seconds_max = Some(seconds);
    figure.device_read_bytes_per_second = Spread::of([read_rate]);
    figure.notes.push(format!("cold: its process was killed, the rest synced, {how}"));
    figure.verified = true;
    Ok(figure)
}

fn files_of(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.append(&mut files_of(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// The number of the segment at whose end the newest snapshot stands; they begin at 1.
fn newest_snapshot(files: &[PathBuf]) -> u64 {
    // The log's own partitions hold a few frames: the one that was filled has the highest numbers.
    let snapshots = files.iter().filter(|path| path.extension().is_some_and(|suffix| suffix == "snapshot"));
    snapshots.filter_map(|path| path.file_stem()?.to_str()?.parse().ok()).max().unwrap_or(0)
}

/// Writes back what is dirty, and has the system forget the files. Says how.
fn drop_cache(files: &[PathBuf]) -> io::Result<&'static str> {
    for path in files {
        let file = File::open(path)?;
        file.sync_all()?;
        // SAFETY: the descriptor belongs to `file`; no memory is passed.
        match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
            0 => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
    Ok(match fs::write("/proc/sys/vm/drop_caches", "3") {
        Ok(()) => "all caches of the system dropped",
        Err(_) => "the files' own pages dropped (not root)",
    })
}

/// Bytes a second of large reads past the cache, over the log's own files.
fn read_rate(files: &[PathBuf]) -> io::Result<f64> {
    const CHUNK: usize = 1 << 20;
    let mut memory = memmap2::MmapOptions::new().len(CHUNK).map_anon()?;
    let mut read = 0;
    let start = Instant::now();
    for path in files {
        let bytes = fs::metadata(path)?.len();
        if bytes < SEGMENT_BYTES || read >= READ_BYTES_MAX {
            continue;
        }
        let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path)?;
        for at in (0..bytes).step_by(CHUNK) {
            file.read_exact_at(&mut memory, at)?;
        }
        read += bytes;
    }
    Ok(read as f64 / start.elapsed().as_secs_f64())
}
