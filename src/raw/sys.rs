//! The system calls that std does not offer. Each is one call with its errno turned into an `io::Error`.

use std::{fs::File, io, os::fd::AsRawFd, sync::atomic::AtomicU32, time::Duration};

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

/// Takes a shared lock on the file if no other open file has it exclusively. Held until the file is closed.
pub(crate) fn try_lock_shared(file: &File) -> io::Result<bool> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed.
    match check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_SH | libc::LOCK_NB) }) {
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

/// Waits until all that was written to the file system is on the device.
pub(crate) fn sync_file_system(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed.
    check(unsafe { libc::syncfs(file.as_raw_fd()) })
}

/// Fresh random bits.
pub(crate) fn random_u64() -> io::Result<u64> {
    let mut bytes = [0_u8; 8];
    // SAFETY: the buffer is valid for 8 bytes; requests of up to 256 bytes are never cut short.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if got == 8 { Ok(u64::from_le_bytes(bytes)) } else { Err(io::Error::last_os_error()) }
}

/// Writes memory to a file at `offset`; with `durably`, what was written is on the device on return.
///
/// The memory is given by address: it may be written to meanwhile by threads of this process. What arrives of such bytes
/// in the file is not defined, which is of no matter where they are not published.
///
/// # Safety
/// `bytes` bytes at `start` stay mapped during the call.
pub(crate) unsafe fn write_memory(
    file: &File,
    start: *const u8,
    bytes: usize,
    offset: u64,
    durably: bool,
) -> io::Result<()> {
    let flags = if durably { libc::RWF_DSYNC } else { 0 };
    let mut done = 0;
    while done < bytes {
        let part = libc::iovec { iov_base: start.wrapping_add(done).cast_mut().cast(), iov_len: bytes - done };
        let at = libc::off_t::try_from(offset + done as u64).map_err(io::Error::other)?;
        // SAFETY: the kernel reads memory that the caller keeps mapped; the descriptor is open while `file` is borrowed.
        match unsafe { libc::pwritev2(file.as_raw_fd(), &raw const part, 1, at, flags) } {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written if written > 0 => done += written as usize,
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Sleeps until the word is woken, at once if it does not have this value any more, and not longer than `time`. May return
/// early.
pub(crate) fn sleep_on(word: &AtomicU32, value: u32, time: Duration) {
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the kernel reads the word, which is borrowed, and the time, which outlives the call. Whatever it answers, the
    // caller looks again.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, &raw const time) };
}

/// Wakes at most so many of those that sleep on the word.
pub(crate) fn wake(word: &AtomicU32, most: u32) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    // SAFETY: the kernel takes the word's address as a name, and reads and writes nothing.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, most) };
}

/// Has the system begin to write the bytes in `[from, to)` of a file that it has in its cache.
/// Nothing is durable by it. A hint: whatever becomes of it, the sync that follows waits for all, and says what failed.
pub(crate) fn start_writing_out(file: &File, from: u64, to: u64) {
    sync_range(file, from, to, libc::SYNC_FILE_RANGE_WRITE);
}

/// Waits until what the system has begun to write of the bytes in `[from, to)` has left its cache.
pub(crate) fn await_writing_out(file: &File, from: u64, to: u64) {
    sync_range(file, from, to, libc::SYNC_FILE_RANGE_WAIT_BEFORE);
}

fn sync_range(file: &File, from: u64, to: u64, how: libc::c_uint) {
    let [Ok(from), Ok(bytes)] = [from, to.saturating_sub(from)].map(libc::off64_t::try_from) else { return };
    // SAFETY: the descriptor is open for as long as `file` is borrowed. A failed write is told again by the sync of whoever
    // has the file open since before it: each open file sees each failure.
    unsafe { libc::sync_file_range(file.as_raw_fd(), from, bytes, how) };
}

/// Takes pages off a mapping; the next access brings them back from where they come from.
///
/// # Safety
/// The range is of a shared mapping of a file: of memory of its own, the bytes would be lost.
pub(crate) unsafe fn unmap_pages(start: *mut u8, bytes: usize) -> io::Result<()> {
    // SAFETY: the caller's mapping is a file's: its pages stay in the system's cache with all that was stored to them.
    check(unsafe { libc::madvise(start.cast(), bytes, libc::MADV_DONTNEED) })
}

/// Tells the system that a mapping is touched in no order, so that it keeps no pages together.
pub(crate) fn advise_random(start: *mut u8, bytes: usize) -> io::Result<()> {
    // SAFETY: the advice changes no byte of a mapping; a range that is not mapped is answered with an error.
    check(unsafe { libc::madvise(start.cast(), bytes, libc::MADV_RANDOM) })
}

/// Whether one flush of the device makes all completed direct overwrites on this file system durable: so on ext4 and XFS.
pub(crate) fn one_flush_serves_all(directory: &File) -> bool {
    const EXT4: libc::c_long = 0xEF53;
    const XFS: libc::c_long = 0x5846_5342;
    let mut answer = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open, and the buffer is as large as the call expects.
    let answered = check(unsafe { libc::fstatfs(directory.as_raw_fd(), answer.as_mut_ptr()) });
    if answered.is_err() {
        return false;
    }
    // SAFETY: the call has filled the buffer.
    let answer = unsafe { answer.assume_init() };
    [EXT4, XFS].contains(&(answer.f_type as libc::c_long))
}
