//! Scenario 54, for a record of the ledger that is as it was written and that this build can't read: what it decides must not
//! be guessed.

use crate::{
    core::Source,
    error::OpenError,
    log::Log,
    names::TRANSACTIONS,
    options::Options,
    partition::{
        append::Cursor,
        body::{Single, fit},
    },
};

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
    match open() {
        Err(OpenError::Corrupt { path, at, reason }) => {
            assert!(path.to_string_lossy().contains(TRANSACTIONS), "{}", path.display());
            assert!(at > 4096 && reason.contains("ledger"), "{at}: {reason}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was opened"),
    }
}
