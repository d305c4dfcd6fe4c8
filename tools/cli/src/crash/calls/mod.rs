//! System calls of a child process, as the harness sees and answers them: while it looks at one, the thread that made it
//! stands still.
//!
//! The child's filter (`filter.rs`) gives a descriptor; the harness takes a copy of it, hears of each call in turn, reads the
//! arguments from the child's memory, and makes the call in the child's place, or lets it pass.

pub(super) mod filter;

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// Most bytes that are read of one argument: a write of more is answered in parts, as the kernel does.
const BYTES_MAX: usize = 1 << 24;

/// What a thread wants to do.
#[derive(Debug)]
pub(super) enum Wish {
    Create {
        path: PathBuf,
        flags: i32,
        mode: u32,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
        directory: bool,
    },
    MakeDirectory {
        path: PathBuf,
    },
    /// At a place, or where the descriptor stands.
    Write {
        file: File,
        at: Option<u64>,
        bytes: Vec<u8>,
        durably: bool,
    },
    Allocate {
        file: File,
        mode: i32,
        at: u64,
        bytes: u64,
    },
    Truncate {
        file: File,
        bytes: u64,
    },
    Sync {
        file: File,
    },
    /// Of a mapped file: the file's number, and the bytes of it.
    SyncMapping {
        inode: u64,
        from: u64,
        bytes: u64,
    },
    /// What kind of file system this is, to be written to the address.
    AskKind {
        address: u64,
    },
    Other,
}

/// A call that waits for its answer.
pub(super) struct Call {
    id: u64,
    pub(super) wish: Wish,
}

/// The harness's end.
pub(super) struct Calls {
    listener: OwnedFd,
    process: OwnedFd,
    pid: u32,
}

fn answered(answer: libc::c_long) -> io::Result<libc::c_long> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// A copy of another process's descriptor.
fn taken_from(process: &OwnedFd, descriptor: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers and touches no memory.
    let taken = answered(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), descriptor, 0) })?;
    // SAFETY: the kernel has just made the descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(taken as i32) })
}

impl Calls {
    /// Hears of the calls of a child, by the descriptor that its filter gave it.
    pub(super) fn of(pid: u32, listener: i32) -> io::Result<Self> {
        // SAFETY: the call takes numbers and touches no memory.
        let process = answered(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
        // SAFETY: the kernel has just made the descriptor for us.
        let process = unsafe { OwnedFd::from_raw_fd(process as i32) };
        let listener = taken_from(&process, listener)?;
        Ok(Self { listener, process, pid })
    }

    /// The next call; none if there is none within the time, or the child is dead.
    pub(super) fn next(&self, within: Duration) -> io::Result<Option<Call>> {
        let mut poll = libc::pollfd { fd: self.listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let within = libc::c_int::try_from(within.as_millis()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the pointer is to one such struct, which lives on.
        let ready = unsafe { libc::poll(&raw mut poll, 1, within) };
        if ready <= 0 || poll.revents & libc::POLLIN == 0 {
            return Ok(None);
        }
        // SAFETY: the struct is of numbers alone, for which zero is a value; the kernel wants it zero.
        let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the request writes one such struct, which lives on.
        let got = unsafe { libc::ioctl(self.listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
        if got != 0 {
            let error = io::Error::last_os_error();
            // The thread was killed meanwhile.
            let gone = [libc::ENOENT, libc::EINTR].map(Some).contains(&error.raw_os_error());
            return if gone { Ok(None) } else { Err(error) };
        }
        match self.wish(&call.data) {
            Ok(wish) => Ok(Some(Call { id: call.id, wish })),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the process has not ended.
    pub(super) fn is_alive(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: the pointer is to one such struct, which lives on.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 0 }
    }

    fn wish(&self, data: &libc::seccomp_data) -> io::Result<Wish> {
        let [a, b, c, d, ..] = data.args;
        Ok(match libc::c_long::from(data.nr) {
            #[cfg(target_arch = "x86_64")]
            libc::SYS_rename => Wish::Rename { from: self.path(a)?, to: self.path(b)? },
            #[cfg(target_arch = "x86_64")]
            libc::SYS_unlink => Wish::Remove { path: self.path(a)?, directory: false },
            #[cfg(target_arch = "x86_64")]
            libc::SYS_mkdir => Wish::MakeDirectory { path: self.path(a)? },
            #[cfg(target_arch = "x86_64")]
            libc::SYS_rmdir => Wish::Remove { path: self.path(a)?, directory: true },
            libc::SYS_renameat | libc::SYS_renameat2 => Wish::Rename { from: self.path(b)?, to: self.path(d)? },
            libc::SYS_unlinkat => Wish::Remove { path: self.path(b)?, directory: c as i32 & libc::AT_REMOVEDIR != 0 },
            libc::SYS_mkdirat => Wish::MakeDirectory { path: self.path(b)? },
            libc::SYS_openat => Wish::Create { path: self.path(b)?, flags: c as i32, mode: d as u32 },
            libc::SYS_ftruncate => Wish::Truncate { file: self.file(a)?, bytes: b },
            libc::SYS_fallocate => Wish::Allocate { file: self.file(a)?, mode: b as i32, at: c, bytes: d },
            libc::SYS_write => Wish::Write { file: self.file(a)?, at: None, bytes: self.memory(b, c)?, durably: false },
            libc::SYS_pwrite64 => {
                Wish::Write { file: self.file(a)?, at: Some(d), bytes: self.memory(b, c)?, durably: false }
            }
            libc::SYS_pwritev2 => {
                let vector = self.memory(b, 16)?;
                let word = |at: usize| {
                    vector.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
                };
                let durably = data.args[5] as i32 & libc::RWF_DSYNC != 0;
                Wish::Write { file: self.file(a)?, at: Some(d), bytes: self.memory(word(0), word(8))?, durably }
            }
            libc::SYS_fsync | libc::SYS_fdatasync => Wish::Sync { file: self.file(a)? },
            libc::SYS_msync => self.mapped(a, b)?,
            libc::SYS_fstatfs => Wish::AskKind { address: b },
            _ => Wish::Other,
        })
    }

    fn file(&self, descriptor: u64) -> io::Result<File> {
        taken_from(&self.process, descriptor as i32).map(File::from)
    }

    /// Bytes of the child's memory.
    fn memory(&self, address: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let mut memory = vec![0; (bytes as usize).min(BYTES_MAX)];
        let to = libc::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: memory.len() };
        let from = libc::iovec { iov_base: std::ptr::without_provenance_mut(address as usize), iov_len: memory.len() };
        // SAFETY: what is written is the vector alone; the other address is of the child, and checked by the kernel.
        let read = unsafe { libc::process_vm_readv(self.pid as libc::pid_t, &raw const to, 1, &raw const from, 1, 0) };
        memory.truncate(answered(read as libc::c_long)? as usize);
        Ok(memory)
    }

    /// A path in the child's memory.
    fn path(&self, address: u64) -> io::Result<PathBuf> {
        let mut path = Vec::new();
        while path.len() < libc::PATH_MAX as usize {
            // Up to the end of the page: the next one may not be there.
            let at = address + path.len() as u64;
            let part = self.memory(at, 4096 - at % 4096)?;
            if let Some(end) = part.iter().position(|byte| *byte == 0) {
                path.extend(part.iter().take(end));
                return Ok(PathBuf::from(OsStr::from_bytes(&path)));
            }
            path.extend(part);
        }
        Err(io::Error::other("a path without an end"))
    }

    /// Which file's bytes a mapping of the child's is at an address.
    fn mapped(&self, address: u64, bytes: u64) -> io::Result<Wish> {
        for line in fs::read_to_string(format!("/proc/{}/maps", self.pid))?.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [range, _, offset, _, inode, ..] = fields.as_slice() else { continue };
            let hex = |text: &str| u64::from_str_radix(text, 16).unwrap_or(0);
            let Some((from, to)) = range.split_once('-').map(|(from, to)| (hex(from), hex(to))) else { continue };
            if (from..to).contains(&address) {
                let inode = inode.parse().unwrap_or(0);
                return Ok(Wish::SyncMapping { inode, from: hex(offset) + address - from, bytes });
            }
        }
        Ok(Wish::Other)
    }

    /// Ends a call with a result of the harness's making.
    pub(super) fn answer(&self, call: &Call, result: io::Result<u64>) -> io::Result<()> {
        let (val, error) = match result {
            Ok(value) => (value as i64, 0),
            Err(error) => (0, -error.raw_os_error().unwrap_or(libc::EIO)),
        };
        self.send(libc::seccomp_notif_resp { id: call.id, val, error, flags: 0 })
    }

    /// Lets the call happen.
    pub(super) fn pass(&self, call: &Call) -> io::Result<()> {
        let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        self.send(libc::seccomp_notif_resp { id: call.id, val: 0, error: 0, flags })
    }

    fn send(&self, response: libc::seccomp_notif_resp) -> io::Result<()> {
        // SAFETY: the request reads one such struct, which lives on.
        let sent =
            unsafe { libc::ioctl(self.listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const response) };
        self.unless_dead(sent)
    }

    /// Ends a call with a file that the harness has opened.
    pub(super) fn give(&self, call: &Call, file: &File) -> io::Result<()> {
        // Given first and answered then: a request to do both that is interrupted has answered and given nothing.
        let request = libc::seccomp_notif_addfd {
            id: call.id,
            flags: 0,
            srcfd: file.as_raw_fd() as u32,
            newfd: 0,
            newfd_flags: libc::O_CLOEXEC as u32,
        };
        // SAFETY: the request reads one such struct, which lives on.
        let given =
            unsafe { libc::ioctl(self.listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw const request) };
        self.unless_dead(given.min(0))?;
        self.answer(call, Ok(given as u64))
    }

    fn unless_dead(&self, answer: i32) -> io::Result<()> {
        let error = io::Error::last_os_error();
        if answer == 0 || error.raw_os_error() == Some(libc::ENOENT) { Ok(()) } else { Err(error) }
    }

    /// Writes to the child's memory.
    pub(super) fn tell(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        let from = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let to = libc::iovec { iov_base: std::ptr::without_provenance_mut(address as usize), iov_len: bytes.len() };
        // SAFETY: the bytes are only read; the other address is of the child, and checked by the kernel.
        let written =
            unsafe { libc::process_vm_writev(self.pid as libc::pid_t, &raw const from, 1, &raw const to, 1, 0) };
        answered(written as libc::c_long).map(|_| ())
    }
}

/// Opens as the child wanted to.
pub(super) fn open_as(path: &std::path::Path, flags: i32, mode: u32) -> io::Result<File> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a string that lives on.
    let opened = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, mode) };
    answered(opened.into())?;
    // SAFETY: the kernel has just made the descriptor for us.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(opened) }))
}

/// Bytes at an address that direct writes accept.
pub(super) struct Aligned {
    memory: Vec<u8>,
    at: usize,
}

impl Aligned {
    pub(super) fn of(bytes: &[u8]) -> Self {
        const BLOCK: usize = 4096;
        let mut memory = vec![0; bytes.len() + BLOCK];
        let at = memory.as_ptr().align_offset(BLOCK);
        if let Some(place) = memory.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        memory.truncate(at + bytes.len());
        Self { memory, at }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.memory.get(self.at..).unwrap_or(&[])
    }
}
