//! What an appender knows to be visible without a look: what it has appended right behind what it has seen, and nothing else.

use crate::{Log, Options};
use std::{convert::Infallible, path::Path};

#[expect(unsafe_code, reason = "opening a log is")]
fn opened(directory: &Path) -> Log {
    // SAFETY: the directory is the test's own.
    unsafe { Log::open(directory, &Options::new().segment_bytes(64 << 10)) }.expect("opened")
}

#[test]
fn a_record_is_not_seen_behind_one_that_somebody_is_still_writing() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = opened(directory.path());
    let partition = log.partition("orders").expect("made");
    let mut other = partition.appender().expect("a handle");
    let mut own = partition.appender().expect("a handle");

    let first = own.append(b"looked for").expect("appended");
    assert!(own.sees(first));
    let second = own.append(b"right behind it").expect("appended");
    assert!(own.sees(second));
    let mut behind = 0;
    let filled = other.append_with(8, |_, _| {
        behind = own.append(b"behind one that is open").expect("appended");
        assert!(!own.sees(behind));
        let next = own.append(b"and another one").expect("appended");
        assert!(!own.sees(next) && own.sees(second));
        Ok::<(), Infallible>(())
    });
    assert_eq!(filled.expect("filled"), behind - 1);
    assert!(own.sees(behind + 1) && !own.sees(behind + 2));

    // Over several segments, alone and by turns.
    for number in 0..4_000 {
        let mine = own.append(&[7; 100]).expect("appended");
        assert!(own.sees(mine) && !own.sees(mine + 1), "record {number}");
        if number % 7 == 0 {
            let theirs = other.append(&[8; 50]).expect("appended");
            assert!(other.sees(theirs));
        }
    }
}

#[test]
fn what_was_cut_off_is_not_seen_any_more() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = opened(directory.path());
    let partition = log.partition("orders").expect("made");
    let mut own = partition.appender().expect("a handle");
    for offset in 0..10 {
        assert_eq!(own.append(b"order").expect("appended"), offset);
        assert!(own.sees(offset));
    }
    partition.truncate(5).expect("cut");
    assert!(!own.sees(5) && own.sees(4));
    let again = own.append(b"order again").expect("appended");
    assert!(again == 5 && own.sees(5) && !own.sees(6));
}
