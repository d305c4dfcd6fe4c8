//! After a flush of the mapped window has failed nothing more is acknowledged. The file system stops below the log, as if its
//! device had gone, which takes root; elsewhere the test says that it was skipped.

use oncelog::{AppendError, DurableError, Log, Options, Window};
use std::{fs::File, io, os::fd::AsRawFd, path::PathBuf, process::Command, time::Duration};

const LONG: Duration = Duration::from_secs(20);

/// An ext4 file system in a file, unmounted when dropped.
struct Disk {
    at: PathBuf,
    _directory: tempfile::TempDir,
}

impl Disk {
    fn mounted() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let (image, at) = (directory.path().join("image"), directory.path().join("at"));
        std::fs::create_dir(&at).expect("made");
        File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("written");
        let run = |program: &str, arguments: &[&str]| {
            Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
        };
        let made = run("mkfs.ext4", &["-q", "-F", image.to_str()?])
            && run("mount", &["-o", "loop", image.to_str()?, at.to_str()?]);
        made.then_some(Self { at, _directory: directory })
    }

    /// `EXT4_IOC_SHUTDOWN`, without writing its journal out.
    fn stop(&self) -> io::Result<()> {
        let root = File::open(&self.at)?;
        let how: u32 = 2;
        // SAFETY: the request reads one u32 from the pointer, which points to one that lives on; the descriptor is open.
        let answer = unsafe { libc::ioctl(root.as_raw_fd(), 0x8004_587d, &raw const how) };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, since a file system that was stopped may not go at once.
        let _ = Command::new("umount").arg("-l").arg(&self.at).output();
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "who reads the test's output should know")]
fn after_a_failed_flush_of_the_mapped_window_nothing_more_is_acknowledged() {
    let Some(disk) = Disk::mounted() else {
        eprintln!("skipped: it needs root, loop devices and ext4");
        return;
    };
    let options = Options::new().window(Window::Mapped).segment_bytes(64 << 10);
    // SAFETY: the test has a file system of its own.
    let log = unsafe { Log::open(disk.at.join("log"), &options) }.expect("the log opens");
    let events = log.partition("events").expect("created");
    let mut appender = events.appender().expect("a handle");
    let durable = appender.append(b"durable").expect("appended");
    assert!(events.wait_durable(durable, LONG).expect("flushed"));

    disk.stop().expect("stopped");
    let lost = appender.append(b"lost").expect("a place in memory is there");
    let DurableError::Poisoned { source, .. } = events.wait_durable(lost, LONG).expect_err("the flush fails") else {
        panic!("another error");
    };
    assert_eq!(source.raw_os_error(), Some(libc::EIO), "the system's own answer");
    assert!(log.stats().flush.poisoned);
    assert!(matches!(appender.append(b"refused"), Err(AppendError::Poisoned { .. })));
    assert!(matches!(events.wait_durable(lost, LONG), Err(DurableError::Poisoned { .. })), "also the second time");
    assert_eq!(events.durable_offset(), durable + 1);
    let mut reader = events.read_from(0).expect("a reader");
    assert_eq!(reader.next().expect("whole").map(|record| record.payload().to_vec()), Some(b"durable".to_vec()));
}

/// What upkeep syncs, it syncs once. It used to try again, and the system then says that all is well, with the pages dropped.
#[test]
#[allow(clippy::print_stderr, reason = "who reads the test's output should know")]
fn after_a_failed_flush_of_upkeeps_nothing_more_is_acknowledged() {
    let Some(disk) = Disk::mounted() else {
        eprintln!("skipped: it needs root, loop devices and ext4");
        return;
    };
    let options = Options::new().segment_bytes(64 << 10).segments_ahead(4);
    // SAFETY: the test has a file system of its own.
    let log = unsafe { Log::open(disk.at.join("log"), &options) }.expect("the log opens");
    let events = log.partition("events").expect("created");
    let mut appender = events.appender().expect("a handle");
    appender.append(b"lost").expect("appended");
    while !disk.at.join(format!("log/partitions/events/{:016}.seg", 1)).exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    disk.stop().expect("stopped");
    // One segment is full, and nobody waits for anything.
    while events.stats().rotations < 2 {
        appender.append(&[7; 1000]).expect("appended");
    }
    let until = std::time::Instant::now() + LONG;
    while !log.stats().flush.poisoned {
        assert!(std::time::Instant::now() < until, "it is tried again and again");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(matches!(events.wait_durable(0, LONG), Err(DurableError::Poisoned { .. })));
}

/// An end that could not be made durable was tried again until the system said that it was, with the pages dropped.
#[test]
#[allow(clippy::print_stderr, reason = "who reads the test's output should know")]
fn after_a_failed_flush_of_a_partition_that_goes_to_rest_nothing_more_is_acknowledged() {
    let Some(disk) = Disk::mounted() else {
        eprintln!("skipped: it needs root, loop devices and ext4");
        return;
    };
    let idle = Duration::from_millis(400);
    let options = Options::new().segment_bytes(64 << 10).awake_partitions_max(1).idle_after(Some(idle));
    // SAFETY: the test has a file system of its own.
    let log = unsafe { Log::open(disk.at.join("log"), &options) }.expect("the log opens");
    let partitions = ["a", "b", "c"].map(|name| log.partition(name).expect("created"));
    for partition in &partitions {
        partition.appender().expect("a handle").append(b"lost").expect("appended");
    }
    // Behind that nothing but the ends is missing.
    let is_named = |name: &str| disk.at.join(format!("log/partitions/{name}/{:016}.seg", 1)).exists();
    while !["a", "b", "c"].into_iter().all(is_named) {
        std::thread::sleep(Duration::from_millis(1));
    }
    disk.stop().expect("stopped");
    let until = std::time::Instant::now() + LONG;
    while !log.stats().flush.poisoned {
        assert!(std::time::Instant::now() < until, "the end of a partition is tried again and again");
        std::thread::sleep(Duration::from_millis(10));
    }
    let tried = partitions[0].wait_durable(0, LONG);
    assert!(matches!(tried, Err(DurableError::Poisoned { .. })), "{tried:?}");
}
