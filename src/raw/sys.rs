//! The system calls that std does not offer. Each is one call with its errno turned into an `io::Error`.

use std::{fs::File, io, os::fd::AsRawFd};

fn check(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the pages of a mapping present and writable. The kernel answers with an error where a store would raise a signal.
pub(crate) fn populate_for_writing(start: *mut u8, bytes: usize) -> io::Result<()> {
    loop {
        // SAFETY: populating changes no byte of a mapping; a range that is not mapped is answered with an error.
        let answer = check(unsafe { libc::madvise(start.cast(), bytes, libc::MADV_POPULATE_WRITE) });
        match answer {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Kernels before 5.14 do not know the advice: pages are then made present by the first touch.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(()),
            // A page without room behind it, where a store would raise SIGBUS.
            Err(error) if error.raw_os_error() == Some(libc::EFAULT) => return Err(io::ErrorKind::StorageFull.into()),
            other => return other,
        }
    }
}

/// Whether every page of a mapping is in memory, so that a store to it reads nothing from the device.
pub(crate) fn is_resident(start: *mut u8, bytes: usize) -> io::Result<bool> {
    let mut pages = vec![0_u8; bytes.div_ceil(4096)];
    // SAFETY: the vector has a byte for each page; a range that is not mapped is answered with an error.
    check(unsafe { libc::mincore(start.cast(), bytes, pages.as_mut_ptr()) })?;
    Ok(pages.iter().all(|page| page & 1 != 0))
}

/// Asks for huge pages.
pub(crate) fn advise_huge(start: *mut u8, bytes: usize) -> io::Result<()> {
    // SAFETY: the advice changes no byte of a mapping; a range that is not mapped is answered with an error.
    check(unsafe { libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE) })
}

/// Gives a file all of its blocks and its length, or `StorageFull`.
pub(crate) fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let bytes = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    loop {
        // SAFETY: the descriptor is open for as long as `file` is borrowed.
        match check(unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, bytes) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Gives the blocks in `[from, to)` back to the file system; the file keeps its length and reads as zero there.
pub(crate) fn punch(file: &File, from: u64, to: u64) -> io::Result<()> {
    let start = libc::off_t::try_from(from).map_err(io::Error::other)?;
    let bytes = libc::off_t::try_from(to.saturating_sub(from)).map_err(io::Error::other)?;
    if bytes == 0 {
        return Ok(());
    }
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: the descriptor is open for as long as `file` is borrowed.
    check(unsafe { libc::fallocate(file.as_raw_fd(), mode, start, bytes) })
}

/// Takes the file's exclusive lock if no other open file has a lock on it. Held until the file is closed.
pub(crate) fn try_lock_exclusive(file: &File) -> io::Result<bool> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed.
    match check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Releases the lock that `try_lock_exclusive` took.
pub(crate) fn unlock(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed.
    check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_UN) })
}

/// Fresh random bits.
pub(crate) fn random_u64() -> io::Result<u64> {
    let mut bytes = [0_u8; 8];
    // SAFETY: the buffer is valid for 8 bytes; requests of up to 256 bytes are never cut short.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if got == 8 { Ok(u64::from_le_bytes(bytes)) } else { Err(io::Error::last_os_error()) }
}
