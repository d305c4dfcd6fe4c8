//! Memory that has been used before: a virtual machine's host backs memory at its first touch, which takes ten
//! times as long as a page fault and would be charged to whatever comes first.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Writes a file of this size through the page cache and throws it away: its pages are the next to be used.
///
/// # Errors
/// The file cannot be written.
pub fn touch(dir: &Path, bytes: u64) -> io::Result<()> {
    let chunk = vec![0xa5_u8; 1 << 20];
    let mut file: File = tempfile::tempfile_in(dir)?;
    let mut left = bytes;
    while left > 0 {
        let now = left.min(chunk.len() as u64);
        file.write_all(&chunk[..now as usize])?;
        left -= now;
    }
    Ok(())
}
