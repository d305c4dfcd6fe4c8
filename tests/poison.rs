//! After a write or a flush has failed nothing more is acknowledged. Alone in its file, since the limit that makes a write
//! fail is the whole process's.

use oncelog::{AppendError, DurableError, Log, Options, Window};
use std::{path::Path, time::Duration};

const LONG: Duration = Duration::from_secs(20);

fn open(directory: &Path) -> Log {
    let options = Options::new().window(Window::Direct).flush_interval(Some(Duration::from_secs(3600)));
    // SAFETY: the test has a directory of its own.
    unsafe { Log::open(directory, &options) }.expect("the log opens")
}

/// Lets no file of this process be written beyond so many bytes; a write that tries is answered with an error.
fn limit_files_to(bytes: u64) {
    // SAFETY: ignoring a signal touches no memory.
    let ignored = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    assert_ne!(ignored, libc::SIG_ERR);
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is as the call expects.
    let read = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) };
    assert_eq!(read, 0);
    limit.rlim_cur = bytes.min(limit.rlim_max);
    // SAFETY: as above.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) };
    assert_eq!(set, 0);
}

#[test]
fn after_a_failed_write_nothing_more_is_acknowledged() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    let events = log.partition("events").expect("created");
    let other = log.partition("other").expect("created");
    let mut appender = events.appender().expect("a handle");
    let mut other_appender = other.appender().expect("a handle");
    other_appender.append(b"another partition").expect("appended");
    let durable = appender.append(b"durable").expect("appended");
    assert!(events.wait_durable(durable, LONG).expect("flushed"));

    limit_files_to(4096);
    let lost = appender.append(b"lost").expect("a place in memory is there");
    let DurableError::Poisoned { source, .. } = events.wait_durable(lost, LONG).expect_err("the write fails") else {
        panic!("another error");
    };
    assert_eq!(source.raw_os_error(), Some(libc::EFBIG), "the system's own answer");

    // The cause is gone, and still nothing is acknowledged: nobody knows what the device has.
    limit_files_to(u64::MAX);
    assert!(matches!(events.wait_durable(lost, LONG), Err(DurableError::Poisoned { .. })));
    assert!(log.stats().flush.poisoned);
    assert!(matches!(appender.append(b"refused"), Err(AppendError::Poisoned { .. })));
    assert!(matches!(other_appender.append(b"refused"), Err(AppendError::Poisoned { .. })), "nor in another partition");
    assert!(matches!(events.prepare(1), Err(AppendError::Poisoned { .. })));
    assert_eq!(events.durable_offset(), durable + 1);
    let mut reader = events.read_from(0).expect("a reader");
    assert_eq!(reader.next().expect("whole").map(|record| record.payload().to_vec()), Some(b"durable".to_vec()));

    drop((reader, appender, other_appender, events, other, log));
    let log = open(dir.path());
    let events = log.partition("events").expect("there");
    assert_eq!(events.end_offset(), durable + 1, "what was not durable was never promised");
    let next = events.appender().expect("a handle").append(b"goes on").expect("appended");
    assert_eq!(next, durable + 1);
    assert!(events.wait_durable(next, LONG).expect("flushed"));
}
