//! The floor of a durable append: a raw direct write of the same blocks and its flush, in a file that was written once.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Instant;

use hdrhistogram::Histogram;
use memmap2::{MmapMut, MmapOptions};

use crate::device::direct_file;
use crate::error::LoadError;
use crate::stage::frame_bytes;
use crate::sys;
use crate::workload::Workload;

const BLOCK: usize = 4096;
/// Bytes of the file that the writes go round.
const FILE_BYTES: usize = 8 << 20;
/// A round of the committer also appends a MARK frame: a header and three words.
const MARK_BYTES: usize = oncelog::format::FRAME_HEADER_BYTES + 24;

/// See the head of this file.
pub(crate) struct Floor {
    file: File,
    _path: tempfile::TempPath,
    memory: MmapMut,
    file_bytes: usize,
    at: usize,
    append_bytes: usize,
}

impl Floor {
    /// A file, and the bytes of one append of a workload.
    pub(crate) fn prepare(dir: &Path, workload: &Workload) -> io::Result<Self> {
        Self::of_bytes(dir, (frame_bytes(workload) as usize).next_multiple_of(8) + MARK_BYTES)
    }

    /// A file, and writes that go on by so many bytes.
    pub(crate) fn of_bytes(dir: &Path, append_bytes: usize) -> io::Result<Self> {
        let memory = MmapOptions::new().len(append_bytes.next_multiple_of(BLOCK) + BLOCK).map_anon()?;
        let file_bytes = FILE_BYTES.max(memory.len() * 4).next_multiple_of(1 << 20);
        let chunk = MmapOptions::new().len(1 << 20).map_anon()?;
        let (path, file) = direct_file(dir, file_bytes as u64, &chunk)?;
        Ok(Self { file, _path: path, memory, file_bytes, at: 0, append_bytes })
    }

    /// Where the next append's blocks begin and end. As in the log, it begins in the block in which the last one ended.
    fn next(&mut self) -> (usize, usize) {
        if self.at + self.memory.len() > self.file_bytes {
            self.at = 0;
        }
        let from = self.at / BLOCK * BLOCK;
        self.at += self.append_bytes;
        (from, self.at.next_multiple_of(BLOCK))
    }

    /// As many durable writes as there would be appends.
    pub(crate) fn write(&mut self, times: &mut Histogram<u64>, calls: u64) -> Result<(), LoadError> {
        for _ in 0..calls {
            let (from, to) = self.next();
            let begin = Instant::now();
            let written = sys::write_durably(&self.file, &self.memory[..to - from], from as u64);
            written.map_err(LoadError::io("a raw durable write"))?;
            times.saturating_record(begin.elapsed().as_nanos() as u64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::payload::Payloads;

    #[test]
    fn small_appends_take_one_block_and_now_and_then_two() {
        let dir = tempfile::tempdir().expect("a directory");
        let workload = Workload::new(Arc::new(Payloads::fixed(128)));
        let mut floor = Floor::prepare(dir.path(), &workload).expect("a file");
        let blocks: Vec<usize> = (0..100).map(|_| floor.next()).map(|(from, to)| (to - from) / BLOCK).collect();
        assert!(blocks.iter().all(|blocks| (1..=2).contains(blocks)));
        assert!(blocks.contains(&2) && blocks.iter().filter(|blocks| **blocks == 1).count() > 90);
    }

    #[test]
    fn writes_go_round_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let workload = Workload::new(Arc::new(Payloads::fixed(100_000)));
        let mut floor = Floor::prepare(dir.path(), &workload).expect("a file");
        let ends: Vec<usize> = (0..300).map(|_| floor.next().1).collect();
        assert!(ends.iter().all(|end| *end <= floor.file_bytes));
    }
}
