//! Several writes at once, through io_uring. A ring is used by one thread at a time.

use super::mapping::Mapping;
use io_uring::{IoUring, opcode, types};
use std::{fs::File, io, os::fd::AsRawFd};

/// Writes in flight at once.
const DEPTH: u32 = 64;

/// A write of the bytes in `[from, to)` of some memory to the same place of a file.
pub(crate) struct Write<'a> {
    pub(crate) file: &'a File,
    pub(crate) memory: &'a Mapping,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// See the head of this file.
pub(crate) struct Ring {
    ring: IoUring,
}

impl Ring {
    /// A ring; an error where the kernel, or whoever confines this process, does not allow it.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { ring: IoUring::new(DEPTH)? })
    }

    /// Submits all writes and waits until each has completed, also when some fail. Says how many bytes each has written.
    pub(crate) fn write_all(&mut self, writes: &[Write<'_>]) -> io::Result<Vec<io::Result<u32>>> {
        let mut results: Vec<io::Result<u32>> = Vec::with_capacity(writes.len());
        for batch in writes.chunks(DEPTH as usize) {
            let first = results.len();
            results.extend(batch.iter().map(|_| Err(io::ErrorKind::WriteZero.into())));
            for (index, write) in batch.iter().enumerate() {
                let (start, bytes) = write.memory.range(write.from, write.to);
                let entry = opcode::Write::new(types::Fd(write.file.as_raw_fd()), start, bytes)
                    .offset(write.from as u64)
                    .build()
                    .user_data(index as u64);
                // SAFETY: memory and descriptor are borrowed for this call, which returns when the write has completed; or
                // when the ring itself fails, where the log is poisoned and its segments stay mapped and open.
                let pushed = unsafe { self.ring.submission().push(&entry) };
                assert!(pushed.is_ok(), "a batch is no longer than the ring is deep");
            }
            let mut left = batch.len();
            while left > 0 {
                match self.ring.submit_and_wait(left) {
                    Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                    _ => {}
                }
                for completion in self.ring.completion() {
                    left -= 1;
                    let result = match u32::try_from(completion.result()) {
                        Ok(bytes) => Ok(bytes),
                        Err(_) => Err(io::Error::from_raw_os_error(-completion.result())),
                    };
                    if let Some(place) = results.get_mut(first + completion.user_data() as usize) {
                        *place = result;
                    }
                }
            }
        }
        Ok(results)
    }
}
