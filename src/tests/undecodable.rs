//! What is as it was written and cannot be meant so. Of a record of the ledger (scenario 54) that this build can't read, what it
//! decides must not be guessed; a purge beyond the end is passed over.

use crate::{
    audit::{Audit, Verdict},
    core::Source,
    error::OpenError,
    format::{
        control::{Purge, Start},
        frame::Kind,
        ledger::{CommitPart, LedgerEntry},
    },
    log::Log,
    names::TRANSACTIONS,
    options::Options,
    partition::{
        append::Cursor,
        body::{Single, fit},
    },
    read_only::ReadOnlyLog,
};
use std::{fs, path::Path};

#[expect(unsafe_code, reason = "opening a log is")]
#[test]
fn a_record_of_the_ledger_that_is_no_entry_refuses_to_open_with_its_position() {
    let directory = tempfile::tempdir().expect("a directory");
    // SAFETY: nobody else knows of the directory.
    let open = || unsafe { Log::open(directory.path(), &Options::new()) };
    {
        let log = open().expect("opened");
        let group = log.group("readers").expect("an entry that is one");
        assert_eq!(group.generation(), 1);
        let core = &log.handle.core;
        let own = core.partition_named(TRANSACTIONS).expect("the ledger");
        let record = Single(b"of a later version");
        let fitting = fit(&record, 100).expect("it fits");
        let source = Source { core, partition: &own };
        let offsets = Cursor::new(own.chain.newest_tail()).append(&fitting, 0, &source).expect("appended");
        assert_eq!(offsets.first, 1);
    }
    // And so say those who only look.
    let seen = ReadOnlyLog::open(directory.path()).expect("a log");
    let refused = seen.all_partitions().iter().find_map(|partition| partition.recovery().refused);
    assert!(refused.is_some_and(|refused| refused.to_string().contains("ledger")), "it would open");
    assert_eq!(Audit::run(directory.path(), None, |_| {}).expect("a log").verdict, Verdict::Corrupt);
    match open() {
        Err(OpenError::Corrupt { path, at, reason }) => {
            assert!(path.to_string_lossy().contains(TRANSACTIONS), "{}", path.display());
            assert!(at > 4096 && reason.contains("ledger"), "{at}: {reason}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was opened"),
    }
}

/// Its name says that it was committed; what it was can't be known without the partition, and nothing is decided by guessing.
#[expect(unsafe_code, reason = "opening a log is")]
#[test]
fn a_commit_in_a_partition_that_is_gone_refuses_to_open_and_names_both() {
    let [directory, killed] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    // SAFETY: nobody else knows of the directories.
    let open = |directory: &Path| unsafe { Log::open(directory, &Options::new()) };
    let log = open(directory.path()).expect("opened");
    let session = log.session("p").expect("a session");
    let entry = LedgerEntry::Commit {
        producer: session.id(),
        epoch: session.epoch(),
        transaction: 5,
        parts: vec![CommitPart { partition: 77, position: 4096, checksum: 1 }],
        offsets: Vec::new(),
    };
    let core = &log.handle.core;
    let offset = core.write_entry(&mut core.ledger(), &entry).expect("written");
    assert_eq!(offset, 0);
    // As a kill would leave it: a log that is closed has settled what it has committed.
    copy(directory.path(), killed.path());
    // And so say those who only look.
    let seen = ReadOnlyLog::open(killed.path()).expect("a log");
    let refused =
        seen.all_partitions().iter().find_map(|partition| partition.recovery().refused).expect("it is refused");
    let told = refused.to_string();
    assert!([TRANSACTIONS, "transaction 5", "77"].iter().all(|word| told.contains(word)), "{told}");
    assert_eq!(Audit::run(killed.path(), None, |_| {}).expect("a log").verdict, Verdict::Corrupt);
    for _again in 0..2 {
        match open(killed.path()) {
            Err(OpenError::Corrupt { path, reason, .. }) => {
                assert!(path.to_string_lossy().contains(TRANSACTIONS), "{}", path.display());
                assert!(reason.contains("transaction 5") && reason.contains("77"), "{reason}");
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it was opened"),
        }
    }
}

/// A frame with a true checksum let the log start behind its own end, and no reader could begin anywhere.
#[expect(unsafe_code, reason = "opening a log is")]
#[test]
fn a_purge_beyond_what_it_could_know_is_passed_over_and_told_of() {
    let directory = tempfile::tempdir().expect("a directory");
    // SAFETY: nobody else knows of the directory.
    let open = || unsafe { Log::open(directory.path(), &Options::new()) }.expect("opened");
    {
        let log = open();
        let partition = log.partition("orders").expect("made");
        let mut appender = partition.appender().expect("an appender");
        for expected in 0..3 {
            assert_eq!(appender.append(b"an order").expect("appended"), expected);
        }
        let core = &log.handle.core;
        let source = Source { core, partition: &partition.state };
        let words = Purge { start: 4 }.words().map(u64::to_le_bytes);
        let mut cursor = Cursor::new(partition.state.chain.newest_tail());
        let position = cursor.note(Kind::Purge, words.as_flattened(), 0, &source).expect("written");
        assert!(position > 0);
        // Nor does a segment begin here.
        let start = Start { base_offset: 4, previous_end: 0, cut: false, origin: true };
        let words = start.words().map(u64::to_le_bytes);
        cursor.note(Kind::Start, words.as_flattened(), 0, &source).expect("written");
    }
    let audit = Audit::run(directory.path(), None, |_| {}).expect("a log");
    let told: Vec<_> = audit.findings.iter().map(|finding| (finding.offset, finding.what.as_str())).collect();
    assert!(matches!(told[..], [(Some(3), what)] if what.contains("offset 4")), "{told:?}");
    let seen = ReadOnlyLog::open(directory.path()).expect("a log");
    assert_eq!(seen.partition("orders").map(|orders| orders.start_offset()), Some(0));
    let log = open();
    let partition = log.partition("orders").expect("made");
    assert_eq!((partition.start_offset(), partition.end_offset()), (0, 3));
    let mut reader = partition.read_from(0).expect("a reader");
    assert_eq!(reader.next().expect("read").expect("the first").payload(), b"an order");
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("listed") {
        let path = entry.expect("listed").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            fs::create_dir(&to).expect("made");
            copy(&path, &to);
        } else {
            let _bytes = fs::copy(&path, &to).expect("copied");
        }
    }
}
