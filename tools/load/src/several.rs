//! The floor of a transaction: raw direct writes to several files, and one flush that serves them all.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use memmap2::{MmapMut, MmapOptions};

use crate::device::direct_file;
use crate::sys;

const BLOCK: usize = 4096;
/// Bytes of each file that the writes go round.
const FILE_BYTES: usize = 1 << 20;

/// Files that were written once.
pub struct SeveralFiles {
    files: Vec<(File, tempfile::TempPath)>,
    memory: MmapMut,
    at: usize,
}

impl SeveralFiles {
    /// So many files in a directory.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn prepare(dir: &Path, files: usize) -> io::Result<Self> {
        let chunk = MmapOptions::new().len(FILE_BYTES).map_anon()?;
        let made = (0..files).map(|_| direct_file(dir, FILE_BYTES as u64, &chunk).map(|(path, file)| (file, path)));
        Ok(Self { files: made.collect::<io::Result<_>>()?, memory: MmapOptions::new().len(BLOCK).map_anon()?, at: 0 })
    }

    /// How long it takes to write a block to each and to flush: one file with a write that is durable itself, several with
    /// one flush behind all of their writes, or each with a flush of its own.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn write(&mut self, one_flush: bool) -> io::Result<Duration> {
        self.at = (self.at + BLOCK) % FILE_BYTES;
        let begin = Instant::now();
        if let [(file, _)] = self.files.as_slice() {
            sys::write_durably(file, &self.memory, self.at as u64)?;
            return Ok(begin.elapsed());
        }
        for (file, _) in &self.files {
            std::os::unix::fs::FileExt::write_all_at(file, &self.memory, self.at as u64)?;
        }
        let flushed = if one_flush { 1 } else { self.files.len() };
        for (file, _) in self.files.iter().take(flushed) {
            file.sync_data()?;
        }
        Ok(begin.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_go_round_the_files() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut several = SeveralFiles::prepare(dir.path(), 3).expect("files");
        for _ in 0..FILE_BYTES / BLOCK + 2 {
            several.write(true).expect("written");
        }
    }
}
