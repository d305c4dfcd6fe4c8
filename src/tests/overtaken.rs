//! A commit that finds its transaction gone after it has waited for others' frames.

use crate::{error::TransactionError, ids::Mode, ledger::By, log::Log, options::Options};

/// A commit was told that its transaction was not open, as if it had asked for a strange one: while it waited, its producer was
/// registered again, and that one had begun its next transaction.
#[expect(unsafe_code, reason = "opening a log is")]
#[test]
fn a_commit_is_told_that_it_was_fenced_though_the_next_transaction_has_begun() {
    let directory = tempfile::tempdir().expect("a directory");
    // SAFETY: nobody else knows of the directory.
    let log = unsafe { Log::open(directory.path(), &Options::new()) }.expect("opened");
    let mut elder = log.session("p").expect("a session");
    let by = By { id: elder.id(), epoch: elder.epoch(), mode: Mode::Session };
    let number = elder.begin().expect("begun").number();
    let mut younger = log.session("p").expect("the name again");
    let of_younger = By { epoch: younger.epoch(), ..by };
    let next = younger.begin().expect("begun");
    assert!(next.number() > number);
    let core = &log.handle.core;
    match core.commit_open(core.ledger(), by, number) {
        Err(TransactionError::Fenced { epoch }) => assert_eq!(epoch, of_younger.epoch),
        other => panic!("{other:?}"),
    }
    // Of its own producer's next one, a commit is told that.
    match core.commit_open(core.ledger(), of_younger, number) {
        Err(TransactionError::NotOpen { transaction, last }) => {
            assert_eq!((transaction, last), (number, next.number()));
        }
        other => panic!("{other:?}"),
    }
}
