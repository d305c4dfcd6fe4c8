//! Transactions: atomic over partitions and groups' offsets, through a session and by id, across reopening. Numbers are of
//! the scenarios in `tests/README.md`.

use oncelog::{Answer, Isolation, Log, Options, Partition};
use std::time::Duration;

fn options() -> Options {
    Options::new().segment_bytes(64 << 10).first_segment_bytes(64 << 10)
}

fn open(directory: &std::path::Path, options: &Options) -> Log {
    // SAFETY: nothing else touches the directory.
    unsafe { options.open(directory) }.expect("opened")
}

/// Payloads from the start on, as a reader of that kind sees them, and where it then stands.
fn read(partition: &Partition, isolation: Isolation) -> (Vec<String>, u64) {
    let mut reader = partition.read_from(partition.start_offset()).expect("a reader");
    reader.set_isolation(isolation);
    let mut seen = Vec::new();
    while let Some(record) = reader.next().expect("read") {
        seen.push(String::from_utf8_lossy(record.payload()).into_owned());
    }
    (seen, reader.next_offset())
}

fn committed(partition: &Partition) -> Vec<String> {
    read(partition, Isolation::ReadCommitted).0
}

mod transaction {
    use super::*;

    #[test]
    fn smoke() {
        let directory = tempfile::tempdir().expect("a directory");
        for window in [oncelog::Window::Mapped, oncelog::Window::Direct] {
            let directory = directory.path().join(format!("{window:?}"));
            let options = options().window(window);
            {
                let log = open(&directory, &options);
                let (a, b) = (log.partition("a").expect("a"), log.partition("b").expect("b"));
                let group = log.group("g").expect("a group");
                let mut session = log.session("p").expect("a session");
                let _ = session.append_next(&a, b"plain").expect("appended");
                let mut transaction = session.begin().expect("begun");
                let _ = transaction.append_next(&a, b"1").expect("appended");
                let _ = transaction.append_next(&b, b"2").expect("appended");
                transaction.commit_offset(&group, &a, 1).expect("added");
                assert_eq!(committed(&a), ["plain"]);
                assert_eq!(committed(&b), [""; 0]);
                let commit = transaction.commit().expect("committed");
                assert_eq!((committed(&a).len(), committed(&b).len()), (2, 1));
                let mut transaction = session.begin().expect("begun");
                assert_eq!(transaction.append(&a, 2, b"3").expect("appended"), Answer::Appended { first: 2, last: 2 });
                transaction.abort().expect("aborted");
                assert_eq!((committed(&a).len(), read(&a, Isolation::ReadUncommitted).0.len()), (2, 3));
                assert!(commit.wait_durable(Duration::from_secs(5)).expect("durable"));
                assert_eq!(group.committed(&a), Some(1));
                assert_eq!(session.append(&a, 2, b"again").expect("appended"), Answer::Appended { first: 3, last: 3 });
                assert_eq!(committed(&a), ["plain", "1", "again"]);
                let mut transaction = session.begin().expect("begun");
                let _ = transaction.append_next(&a, b"left open").expect("appended");
                std::mem::forget(transaction);
                log.close().expect_err("in use");
            }
            let log = open(&directory, &options);
            let (a, b) = (log.partition("a").expect("a"), log.partition("b").expect("b"));
            assert_eq!(committed(&a), ["plain", "1", "again"]);
            assert_eq!(committed(&b), ["2"]);
            assert_eq!(log.group_at("g", 1).committed(&a), Some(1));
            let mut session = log.session("p").expect("a session");
            assert_eq!(session.last(&a).expect("last").map(|last| last.sequence), Some(2));
        }
    }
}
