//! How fast the files that are verified can be read at all: pieces of them, read and not looked at, just before.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Bytes of one piece, and of one call.
const PIECE: u64 = 4 << 20;
const CALL: usize = 512 << 10;

/// One byte in so many is read, so that most of a log that is not in memory is still not when it is verified.
const SHARE: u64 = 16;
/// But not less, nor more.
const BYTES_MIN: u64 = 16 << 20;
const BYTES_MAX: u64 = 256 << 20;

/// Bytes a second of the device, or of memory where the files are in it; none for a log too small to tell.
pub(super) fn of_reading(log: &Path, partition: Option<&str>) -> Option<f64> {
    let files = segments(log, partition);
    let total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    if total < BYTES_MIN {
        return None;
    }
    let wanted = (total / SHARE).clamp(BYTES_MIN, BYTES_MAX);
    // Spread over all of it.
    let step = (PIECE as f64 * total as f64 / wanted as f64).max(PIECE as f64) as u64;
    let mut buffer = vec![1; CALL];
    let (mut read, mut seconds) = (0, 0.0);
    let mut skip = 0;
    for (path, bytes) in files {
        let Ok(file) = File::open(path) else { continue };
        let mut at = skip;
        while at < bytes {
            let began = Instant::now();
            read += piece(&file, at, PIECE.min(bytes - at), &mut buffer);
            seconds += began.elapsed().as_secs_f64();
            at += step;
        }
        skip = at - bytes;
    }
    (read > 0).then(|| read as f64 / seconds.max(1e-9))
}

fn piece(file: &File, at: u64, bytes: u64, buffer: &mut [u8]) -> u64 {
    let mut done = 0;
    while done < bytes {
        let wanted = buffer.len().min((bytes - done) as usize);
        match file.read_at(&mut buffer[..wanted], at + done) {
            Ok(0) | Err(_) => break,
            Ok(got) => done += got as u64,
        }
    }
    done
}

/// The segments, with their lengths.
fn segments(log: &Path, partition: Option<&str>) -> Vec<(PathBuf, u64)> {
    let entries = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_wanted = |path: &Path| partition.is_none_or(|wanted| path.file_name().is_some_and(|name| name == wanted));
    let mut files: Vec<(PathBuf, u64)> = entries(&log.join("partitions"))
        .filter(|path| is_wanted(path))
        .flat_map(|path| entries(&path).collect::<Vec<_>>())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "seg"))
        .filter_map(|path| Some((path.clone(), fs::metadata(&path).ok()?.len())))
        .collect();
    files.sort();
    files
}
