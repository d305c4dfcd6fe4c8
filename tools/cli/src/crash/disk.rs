//! File systems of our own: loop devices and mounts, which are always taken away again. For power cuts, one in another:
//!
//! ```text
//! log | file system B | loop device | file F, written whole once | file system A | loop device | file
//!                                                                      ^ stops here: what was not flushed is gone
//! ```
//!
//! With one file system only, a write past the cache would survive without any flush, and the direct window would not be
//! put to the test.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

const OUTER_BYTES: u64 = 160 << 20;
const INNER_BYTES: u64 = 96 << 20;

/// `EXT4_IOC_SHUTDOWN`: the file system stops as if its device had gone.
const SHUTDOWN: libc::c_ulong = 0x8004_587d;

/// The journal is not written out first: what was not flushed is lost.
const WITHOUT_LOG_FLUSH: u32 = 2;

/// Runs a command, and returns what it says.
fn command(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// A file as a block device.
struct Loop(String);

impl Loop {
    fn attach(file: &Path) -> Result<Self, String> {
        command("losetup", &["--find", "--show", &file.display().to_string()]).map(Self)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // Nobody is left to tell if this fails.
        let _ = command("losetup", &["--detach", &self.0]);
    }
}

/// A mounted file system, with the loop device below it if it has one.
pub(super) struct Disk {
    at: PathBuf,
    /// Dropped after the mount is gone.
    _device: Option<Loop>,
}

impl Disk {
    /// Makes an ext4 file system in a file.
    pub(super) fn format(file: &Path) -> Result<(), String> {
        command("mkfs.ext4", &["-q", "-F", &file.display().to_string()]).map(|_| ())
    }

    /// Mounts the ext4 file system that is in a file.
    pub(super) fn mount(file: &Path, at: &Path) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let device = Loop::attach(file)?;
        command("mount", &["-t", "ext4", &device.0, &at.display().to_string()])?;
        Ok(Self { at: at.to_owned(), _device: Some(device) })
    }

    /// Mounts a file system of that many bytes in memory.
    pub(super) fn in_memory(bytes: u64, at: &Path) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let size = format!("size={bytes}");
        command("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &at.display().to_string()])?;
        Ok(Self { at: at.to_owned(), _device: None })
    }

    /// Cuts the power: nothing reaches the file below any more.
    fn cut_power(&self) -> io::Result<()> {
        let root = File::open(&self.at)?;
        let how = WITHOUT_LOG_FLUSH;
        // SAFETY: the request reads one u32 from the pointer, which points to one that lives on; the descriptor is open.
        let result = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &raw const how) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let at = self.at.display().to_string();
        // Lazily where it is still in use: a file system whose power was cut may not go at once.
        if command("umount", &[&at]).is_err() {
            let _ = command("umount", &["-l", &at]);
        }
    }
}

/// The two file systems while they are mounted.
pub(super) struct Nested {
    mounted: Option<Mounted>,
}

/// Dropped in this order.
struct Mounted {
    _inner: Disk,
    outer: Disk,
}

impl Nested {
    /// Cuts the power below the inner one's disk.
    pub(super) fn cut_power(&self) -> Result<(), String> {
        let Some(mounted) = &self.mounted else { return Err("cutting the power: it is not mounted".to_owned()) };
        mounted.outer.cut_power().map_err(|error| format!("cutting the power: {error}"))
    }

    /// Mounts them as the cut has left them.
    pub(super) fn mount_again(&mut self, images: &Images) -> Result<(), String> {
        self.mounted = None;
        *self = images.mount()?;
        Ok(())
    }
}

/// The files of the two, and where they are mounted.
pub(super) struct Images {
    outer_file: PathBuf,
    outer: PathBuf,
    inner_file: PathBuf,
    /// Where the inner file system is.
    pub(super) inner: PathBuf,
}

impl Images {
    pub(super) fn make(place: &Path) -> Result<Self, String> {
        let outer = place.join("outer");
        let images = Self {
            outer_file: place.join("outer.img"),
            inner_file: outer.join("inner.img"),
            inner: place.join("inner"),
            outer,
        };
        let file = File::create(&images.outer_file).and_then(|file| file.set_len(OUTER_BYTES));
        file.map_err(|error| error.to_string())?;
        Disk::format(&images.outer_file)?;
        let _outer = Disk::mount(&images.outer_file, &images.outer)?;
        let written = File::create(&images.inner_file).and_then(|mut file| {
            let block = vec![0; 1 << 20];
            for _ in 0..INNER_BYTES >> 20 {
                file.write_all(&block)?;
            }
            file.sync_all()
        });
        written.map_err(|error| format!("writing the inner image: {error}"))?;
        Disk::format(&images.inner_file)?;
        let synced = File::open(&images.inner_file).and_then(|file| file.sync_all());
        synced.map_err(|error| error.to_string())?;
        Ok(images)
    }

    pub(super) fn mount(&self) -> Result<Nested, String> {
        let outer = Disk::mount(&self.outer_file, &self.outer)?;
        let inner = Disk::mount(&self.inner_file, &self.inner)?;
        Ok(Nested { mounted: Some(Mounted { _inner: inner, outer }) })
    }
}
