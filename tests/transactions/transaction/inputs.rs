//! A commit holds how far its input was read: what it was made of is durable before it, and outlives it nowhere.

use super::{committed, logs, recovery::find, two};
use logs::{directory, killed, open, small};
use oncelog::{Commit, Group, Isolation, Partition, ReadOnlyLog, Session};
use std::{path::Path, time::Duration};

const LONG: Duration = Duration::from_secs(60);

fn append(partition: &Partition, payloads: &[&[u8]]) {
    partition.appender().expect("an appender").append_batch(payloads).expect("appended");
}

/// Commits a record that was made of what its group has read up to an offset.
fn make_of(
    session: &mut Session,
    (group, input): (&Group, &Partition),
    output: &Partition,
    what: &[u8],
    up_to: u64,
) -> Commit {
    let mut transaction = session.begin().expect("begun");
    let _ = transaction.append_next(output, what).expect("appended");
    transaction.commit_offset(group, input, up_to).expect("added");
    transaction.commit().expect("committed")
}

/// The committed records of a partition, as a look at the files tells with nothing opened for writing.
fn looked_at(log: &Path, partition: &str) -> Vec<String> {
    let log = ReadOnlyLog::open(log).expect("opened");
    let mut reader = log.partition(partition).expect("the partition").read_from(0).expect("a reader");
    reader.set_isolation(Isolation::ReadCommitted);
    let mut seen = Vec::new();
    while let Some(record) = reader.next().expect("read") {
        seen.push(String::from_utf8_lossy(record.payload()).into_owned());
    }
    seen
}

/// What was made of records that a power cut takes away does not outlive them: else what comes in their places is made into
/// something too, and the output holds both.
#[test]
fn a_commit_whose_input_is_lost_is_undone() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [input, output] = two(&log);
    append(&input, &[b"kept", b"kept"]);
    let group = log.group("readers").expect("a group");
    let mut session = log.session("p").expect("a session");
    let mut make = |what: &[u8], up_to: u64| make_of(&mut session, (&group, &input), &output, what, up_to);
    let _ = make(b"of what is kept", 2);
    append(&input, &[b"lost, and read before"]);
    let _ = make(b"of what is lost", 3);
    let copy = killed(directory.path());
    let (path, at) = find(copy.path(), "left", b"lost, and read before");
    logs::flip(&path, at);
    assert_eq!(looked_at(copy.path(), "right"), ["of what is kept"], "the same without opening it for writing");
    for _ in 0..2 {
        let again = open(copy.path(), &small());
        let [input, output] = two(&again);
        assert_eq!(committed(&output), ["of what is kept"]);
        assert_eq!((input.end_offset(), again.group_at("readers", 1).committed(&input)), (2, Some(2)));
    }
    // A commit is durable when what it was made of is.
    append(&input, &[b"another"]);
    let commit = make(b"of another", 4);
    assert!(commit.wait_durable(LONG).expect("durable"));
    assert!(input.durable_offset() >= 4, "{}", input.durable_offset());
}

/// A commit that only holds how far its input was read names no records that could be marked. It was taken for settled when
/// its entry was durable, and then acknowledged whose input a power cut could still take.
#[test]
fn a_commit_of_offsets_alone_waits_for_its_input_too() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [input, other] = two(&log);
    append(&input, &[b"0", b"1", b"2"]);
    let group = log.group("readers").expect("a group");
    let mut session = log.session("p").expect("a session");
    let mut transaction = session.begin().expect("begun");
    transaction.commit_offset(&group, &input, 3).expect("added");
    let commit = transaction.commit().expect("committed");
    // Whoever waits in another partition settles what there is to settle on the way.
    append(&other, &[b"beside it"]);
    assert!(other.wait_durable(0, LONG).expect("durable"));
    assert!(commit.wait_durable(LONG).expect("durable"));
    assert!(input.durable_offset() >= 3, "{}", input.durable_offset());
}

/// The offset that a group has come to may be cut off behind it: the commit that holds it was durable before the cut, and
/// stays, and so do those behind it, in whatever way the log is looked at.
#[test]
fn a_commit_whose_input_was_truncated_stays() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [input, output] = two(&log);
    append(&input, &[b"0", b"1", b"2"]);
    let group = log.group("readers").expect("a group");
    let mut session = log.session("p").expect("a session");
    let mut make = |what: &[u8], up_to: u64| make_of(&mut session, (&group, &input), &output, what, up_to);
    let _ = make(b"of all three", 3);
    input.truncate(1).expect("truncated");
    // Nothing but the ledger says what became of this one.
    let _ = make(b"of the first", 1);
    let copy = killed(directory.path());
    assert_eq!(looked_at(copy.path(), "right"), ["of all three", "of the first"]);
    for _ in 0..2 {
        let again = open(copy.path(), &small());
        assert_eq!(committed(&two(&again)[1]), ["of all three", "of the first"]);
        assert_eq!(again.group_at("readers", 1).committed(&two(&again)[0]), Some(1));
    }
}

/// Of an input that was ever cut, any commit was taken for one made of what was cut off: also one made of records that came
/// behind the cut and that a power cut has taken.
#[test]
fn behind_a_cut_too_a_commit_whose_input_is_lost_is_undone() {
    let directory = directory();
    let log = open(directory.path(), &small());
    let [input, output] = two(&log);
    append(&input, &[b"0", b"1", b"2"]);
    let group = log.group("readers").expect("a group");
    let mut session = log.session("p").expect("a session");
    let mut make = |what: &[u8], up_to: u64| make_of(&mut session, (&group, &input), &output, what, up_to);
    let _ = make(b"of all three", 3);
    input.truncate(1).expect("truncated");
    append(&input, &[b"lost, and read before", b"behind it"]);
    let _ = make(b"of what is lost", 3);
    let copy = killed(directory.path());
    let (path, at) = find(copy.path(), "left", b"lost, and read before");
    logs::flip(&path, at);
    assert_eq!(looked_at(copy.path(), "right"), ["of all three"]);
    for _ in 0..2 {
        let again = open(copy.path(), &small());
        assert_eq!(committed(&two(&again)[1]), ["of all three"]);
        assert_eq!(again.group_at("readers", 1).committed(&two(&again)[0]), Some(1));
    }
}
