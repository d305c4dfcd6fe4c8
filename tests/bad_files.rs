//! Bad directories and files: opening is refused with an error that names the file and what is wrong with it, and every
//! file stays as it was.

mod logs;

use logs::{append_many, directory, file, files, flip, fresh, open, segment_file, small, try_open};
use oncelog::{OpenError, Window};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Set for the process that opens the log of another one.
const HELD: &str = "ONCELOG_TEST_HELD";

/// Not a test of its own: does nothing unless it was started by the one below.
#[test]
fn the_child_that_finds_the_log_held() {
    let Some(directory) = env::var_os(HELD) else { return };
    assert!(matches!(try_open(Path::new(&directory), &small()), Err(OpenError::Locked { .. })));
}

#[test]
fn a_directory_that_is_held() {
    let (directory, log, partition) = fresh();
    let lock = directory.path().join("LOCK");
    for options in [small(), small().window(Window::Direct)] {
        let error = try_open(directory.path(), &options).map(|_| ()).expect_err("held by this process");
        assert!(matches!(&error, OpenError::Locked { path } if *path == lock));
        assert_eq!(
            error.to_string(),
            format!("the log is open elsewhere: another handle holds the lock {}", lock.display())
        );
    }
    let mut child = Command::new(env::current_exe().expect("this test"));
    let child = child.args(["--exact", "the_child_that_finds_the_log_held"]).env(HELD, directory.path());
    assert!(child.output().expect("run").status.success(), "it is held for other processes too");
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..3);
    drop(partition);
    log.close().expect("closed");
    open(directory.path(), &small());
}

/// A log that was closed, with a partition of some records.
fn closed() -> tempfile::TempDir {
    let (directory, log, partition) = fresh();
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..1_800);
    drop(partition);
    log.close().expect("closed");
    directory
}

/// Fails unless opening is refused with an error that begins with the path of the file and ends like this, and leaves
/// every file as it was.
fn check_refused(directory: &Path, path: &Path, expected: &str) -> OpenError {
    let before = files(directory);
    let error = try_open(directory, &small()).map(|_| ()).expect_err(expected);
    assert_eq!(error.to_string(), format!("{} {expected}", path.display()));
    assert!(files(directory) == before, "{expected}: nothing is changed");
    error
}

#[test]
fn files_of_another_version_and_files_that_are_none_of_a_log() {
    let partition = |directory: &Path| file(directory, "partition");
    let log = |directory: &Path| directory.join("log");
    let segment = |directory: &Path| segment_file(directory, 1);
    type File = fn(&Path) -> PathBuf;
    let files: [(File, &str); 3] = [
        (log, "is not of this log: it begins with 0x31474f4c45434e"),
        (partition, "is not of this log: it begins with 0x54524150454"),
        (segment, "is not of this log: it begins with 0x4d4745534543"),
    ];
    for (path, told) in files {
        let directory = closed();
        let path = path(directory.path());
        // The version stands behind the magic, in all three.
        let mut bytes = fs::read(&path).expect("readable");
        bytes[8] = 2;
        fs::write(&path, &bytes).expect("written");
        let error = check_refused(directory.path(), &path, "has format version 2, and this build knows version 1");
        assert!(matches!(error, OpenError::Version { found: 2, known: 1, .. }));
        bytes[8] = 1;
        bytes[0] ^= 0x20;
        fs::write(&path, &bytes).expect("written");
        let error = try_open(directory.path(), &small()).map(|_| ()).expect_err("no magic");
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
        assert!(error.to_string().starts_with(&format!("{} {told}", path.display())), "{error}");
    }
}

#[test]
fn files_that_are_cut_or_damaged() {
    for name in ["log", "partitions/orders/partition", "partitions/__producers/partition"] {
        let directory = closed();
        let path = directory.path().join(name);
        flip(&path, 20);
        check_refused(directory.path(), &path, "is corrupt at byte 0: the checksum does not agree");
        fs::write(&path, b"").expect("written");
        check_refused(directory.path(), &path, "is not of this log: it has 0 bytes");
        fs::write(&path, [0; 49]).expect("written");
        check_refused(directory.path(), &path, "is not of this log: it has 49 bytes");
    }
    let directory = closed();
    let segment = segment_file(directory.path(), 2);
    let bytes = fs::read(&segment).expect("readable");
    let refused = |told: &str| check_refused(directory.path(), &segment, told);
    fs::write(&segment, &bytes[..60 << 10]).expect("written");
    refused("is corrupt at byte 0: the header says segment 2 of 65536 bytes, the file is segment 2 of 61440 bytes");
    fs::write(&segment, &bytes[..100]).expect("written");
    refused("is not of this log: it has 100 bytes, and a segment has at least 4096");
    fs::write(&segment, &bytes).expect("written");
    flip(&segment, 60);
    refused("is corrupt at byte 0: the header's checksum does not agree");
}

#[test]
fn files_in_the_wrong_place() {
    // A segment that is gone, and one that stands for another.
    let directory = closed();
    let [first, second, third] = [1, 2, 3].map(|number| segment_file(directory.path(), number));
    let away = directory.path().join("partitions").join("away");
    fs::rename(&second, &away).expect("moved");
    check_refused(directory.path(), &third, "is corrupt at byte 0: segment 1 is followed by segment 3");
    fs::copy(&first, &second).expect("copied");
    let told = "is corrupt at byte 0: the header says segment 1 of 65536 bytes, the file is segment 2 of 65536 bytes";
    check_refused(directory.path(), &second, told);
    // One of another log.
    let other = closed();
    fs::copy(segment_file(other.path(), 2), &second).expect("copied");
    check_refused(directory.path(), &second, "is not of this log: it is of another log or partition");
    fs::rename(&away, &second).expect("moved back");
    // The first ones, which no snapshot that is left stands for.
    let one_more = closed();
    for number in [1, 2] {
        fs::remove_file(segment_file(one_more.path(), number)).expect("removed");
    }
    fs::remove_file(file(one_more.path(), "0000000000000003.snapshot")).expect("removed");
    let third = segment_file(one_more.path(), 3);
    let told = "is corrupt at byte 0: segments before 3 are gone, and no valid snapshot stands for them";
    check_refused(one_more.path(), &third, told);
    // A partition of another log, and one that is gone.
    let partition = file(directory.path(), "partition");
    fs::copy(file(other.path(), "partition"), &partition).expect("copied");
    check_refused(directory.path(), &partition, "is not of this log: it is of another log");
    fs::copy(directory.path().join("log"), &partition).expect("copied");
    check_refused(directory.path(), &partition, "is not of this log: it is the file of a log, not of a partition");
    let log = other.path().join("log");
    fs::copy(file(other.path(), "partition"), &log).expect("copied");
    check_refused(other.path(), &log, "is not of this log: it is the file of partition 1, not of a log");
}

#[test]
fn a_directory_that_is_somebody_elses() {
    let directory = directory();
    let mine = directory.path().join("mine");
    fs::write(&mine, b"not a log").expect("written");
    let error =
        check_refused(directory.path(), &mine, "is not of this log: the directory is not empty, and is not a log");
    assert!(matches!(error, OpenError::Foreign { .. }));
    let error = try_open(&mine, &small()).map(|_| ()).expect_err("a file");
    assert!(matches!(&error, OpenError::Io { path, .. } if *path == mine), "{error}");
    assert!(error.to_string().starts_with(&format!("cannot create {}: ", mine.display())), "{error}");
}
