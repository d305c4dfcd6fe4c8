//! What an append that carries a sequence is answered with, through a session and by id. The numbers in brackets are
//! those of the scenarios in `README.md`.

mod logs;

use logs::{all, fresh, payloads, reopened, small};
use oncelog::{
    Answer, AppendError, Appender, Log, Mode, Numbering, Partition, ProducerId, Registration, Session, Stamp,
};
use std::{sync::Barrier, thread};

/// The two ways to append with a sequence. What is promised of both is tested on both.
enum Producer {
    Session(Session, Partition),
    ById(Registration, Appender),
}

impl Producer {
    fn append(&mut self, sequence: u64, records: &[&[u8]]) -> Answer {
        let answer = match self {
            Self::Session(session, partition) => match records {
                [record] => session.append(partition, sequence, record),
                _ => session.append_batch(partition, sequence, records),
            },
            Self::ById(registration, appender) => {
                let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence };
                match records {
                    [record] => appender.append_by_id(stamp, record),
                    _ => appender.append_batch_by_id(stamp, records),
                }
            }
        };
        answer.expect("an answer")
    }
}

fn session(log: &Log, name: &str, partition: &Partition) -> Producer {
    Producer::Session(log.session(name).expect("a session"), partition.clone())
}

fn by_id(log: &Log, name: &str, partition: &Partition) -> Producer {
    Producer::ById(log.register(name).expect("registered"), partition.appender().expect("an appender"))
}

/// Runs a test in both modes, each on a log of its own.
fn in_both_modes(test: impl Fn(Producer, &Partition)) {
    for open in [session, by_id] {
        let (_directory, log, partition) = fresh();
        test(open(&log, "writer", &partition), &partition);
    }
}

fn appended(offset: u64) -> Answer {
    Answer::Appended { first: offset, last: offset }
}

fn duplicate(offset: u64) -> Answer {
    Answer::Duplicate { first: offset, last: offset }
}

/// Scenario 1.
#[test]
fn a_retry_is_answered_with_the_first_offset() {
    in_both_modes(|mut producer, partition| {
        assert_eq!(producer.append(0, &[b"a"]), appended(0));
        assert_eq!(producer.append(1, &[b"b"]), appended(1));
        assert_eq!(producer.append(1, &[b"b"]), duplicate(1));
        assert_eq!(producer.append(0, &[b"a"]), duplicate(0));
        assert_eq!(partition.end_offset(), 2);
        assert_eq!(producer.append(2, &[b"c"]), appended(2), "a duplicate leaves the numbering as it was");
        assert_eq!(payloads(partition), [b"a", b"b", b"c"]);
    });
}

/// Scenarios 2 and 3: six single records, then a batch of three.
#[test]
fn a_batch_is_recognised_whole_and_an_overlap_is_never_written() {
    in_both_modes(|mut producer, partition| {
        for sequence in 0..6 {
            assert_eq!(producer.append(sequence, &[b"single"]), appended(sequence));
        }
        assert_eq!(producer.append(6, &[b"x", b"y", b"z"]), Answer::Appended { first: 6, last: 8 });
        assert_eq!(producer.append(6, &[b"x", b"y", b"z"]), Answer::Duplicate { first: 6, last: 8 });
        assert_eq!(producer.append(7, &[b"y", b"z", b"new"]), Answer::Overlap { expected: 9 });
        assert_eq!(producer.append(8, &[b"z", b"new", b"newer"]), Answer::Overlap { expected: 9 });
        assert_eq!(producer.append(0, &[b"single".as_slice(); 10]), Answer::Overlap { expected: 9 });
        assert_eq!(partition.end_offset(), 9, "an overlap writes nothing");
        assert_eq!(producer.append(9, &[b"new"]), appended(9), "and uses no sequence");
    });
}

/// Retries are recognised by their sequences, however they are cut.
#[test]
fn a_retry_with_other_batch_boundaries_gets_the_offsets_of_its_first_and_last_sequence() {
    in_both_modes(|mut producer, partition| {
        assert_eq!(producer.append(0, &[b"r0", b"r1", b"r2"]), Answer::Appended { first: 0, last: 2 });
        partition.appender().expect("an appender").append(b"of somebody else").expect("appended");
        assert_eq!(producer.append(3, &[b"r3"]), appended(4));
        assert_eq!(producer.append(4, &[b"r4", b"r5"]), Answer::Appended { first: 5, last: 6 });
        let sent: [&[u8]; 6] = [b"r0", b"r1", b"r2", b"r3", b"r4", b"r5"];
        let offsets = [0, 1, 2, 4, 5, 6];
        for first in 0..6 {
            for last in first..6 {
                let answer = producer.append(first as u64, &sent[first..=last]);
                assert_eq!(
                    answer,
                    Answer::Duplicate { first: offsets[first], last: offsets[last] },
                    "{first} to {last}"
                );
                let mut other = sent;
                other[last] = b"rx";
                let answer = producer.append(first as u64, &other[first..=last]);
                assert_eq!(answer, Answer::SequenceReused { expected: 6 }, "{first} to {last}, other bytes");
            }
        }
        assert_eq!(partition.end_offset(), 7);
    });
}

/// Scenarios 5 and 6.
#[test]
fn a_gap_is_refused_until_it_is_filled() {
    in_both_modes(|mut producer, partition| {
        let early: [&[u8]; 17] = [b"a"; 17];
        let late: [&[u8]; 5] = [b"b"; 5];
        assert_eq!(
            producer.append(17, &late),
            Answer::OutOfOrder { expected: 0 },
            "also the first append there ever was"
        );
        assert_eq!(partition.end_offset(), 0);
        assert_eq!(producer.append(0, &early), Answer::Appended { first: 0, last: 16 });
        assert_eq!(producer.append(18, &late), Answer::OutOfOrder { expected: 17 });
        assert_eq!(producer.append(17, &late), Answer::Appended { first: 17, last: 21 });
        assert_eq!(producer.append(u64::MAX - 9, &late), Answer::OutOfOrder { expected: 22 });
        assert_eq!(partition.end_offset(), 22);
    });
}

/// Scenario 12: what goes wrong in one partition is of no consequence in another.
#[test]
fn partitions_number_apart() {
    for open in [session, by_id] {
        let (_directory, log, fifth) = fresh();
        let twelfth = log.partition("twelfth").expect("a partition");
        let mut producer = open(&log, "writer", &fifth);
        let elsewhere = |producer: &mut Producer, sequence, record: &[u8]| match producer {
            Producer::Session(session, _) => session.append(&twelfth, sequence, record).expect("an answer"),
            Producer::ById(registration, _) => {
                let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence };
                twelfth.appender().expect("an appender").append_by_id(stamp, record).expect("an answer")
            }
        };
        assert_eq!(elsewhere(&mut producer, 0, b"t"), appended(0));
        assert_eq!(producer.append(7, &[b"f"]), Answer::OutOfOrder { expected: 0 });
        assert_eq!(elsewhere(&mut producer, 0, b"t"), duplicate(0));
        assert_eq!(elsewhere(&mut producer, 1, b"u"), appended(1));
        assert_eq!(producer.append(0, &[b"f"]), appended(0));
        assert_eq!((fifth.end_offset(), twelfth.end_offset()), (1, 2));
    }
}

/// Scenario 53: the same number with another payload.
#[test]
fn a_number_used_for_other_bytes_is_told_and_the_stored_bytes_stay() {
    in_both_modes(|mut producer, partition| {
        assert_eq!(producer.append(0, &[b"stored"]), appended(0));
        assert_eq!(producer.append(1, &[b"one", b"two"]), Answer::Appended { first: 1, last: 2 });
        let reused = Answer::SequenceReused { expected: 3 };
        assert_eq!(producer.append(0, &[b"stOred"]), reused, "as long");
        assert_eq!(producer.append(0, &[b"stored more"]), reused, "longer");
        assert_eq!(producer.append(0, &[b""]), reused, "nothing");
        assert_eq!(producer.append(1, &[b"one", b"tw0"]), reused, "the last of a batch");
        assert_eq!(producer.append(1, &[b"onet", b"wo"]), reused, "the same bytes in a row, cut elsewhere");
        assert_eq!(producer.append(2, &[b"one"]), reused, "the record beside it");
        assert_eq!(payloads(partition), [b"stored".as_slice(), b"one", b"two"]);
        assert_eq!(producer.append(0, &[b"stored"]), duplicate(0), "and the true retry is still one");
    });
}

/// Scenario 9: the epoch is looked at before the number.
#[test]
fn a_fenced_epoch_is_told_so_also_about_what_would_pass_for_a_duplicate() {
    for open in [session, by_id] {
        let (_directory, log, partition) = fresh();
        let mut zombie = open(&log, "writer", &partition);
        assert_eq!(zombie.append(0, &[b"a"]), appended(0));
        let mut successor = open(&log, "writer", &partition);
        assert_eq!(successor.append(1, &[b"b"]), appended(1));
        let fenced = Answer::Fenced { epoch: 2 };
        assert_eq!(zombie.append(0, &[b"a"]), fenced, "a duplicate of its own");
        assert_eq!(zombie.append(1, &[b"b"]), fenced, "a duplicate of its successor's");
        assert_eq!(zombie.append(2, &[b"c"]), fenced, "the number that comes next");
        assert_eq!(zombie.append(9, &[b"d"]), fenced, "a gap");
        assert_eq!(zombie.append(0, &[b"a", b"b", b"c"]), fenced, "an overlap");
        assert_eq!(payloads(&partition), [b"a", b"b"]);
        let Answer::Appended { .. } = successor.append(2, &[b"c"]) else { panic!("the successor goes on") };
    }
}

/// Scenario 9, in the partition that the zombie has not yet appended to: there is no slot to tell it.
#[test]
fn a_fenced_epoch_is_told_so_in_a_partition_that_is_new_to_it() {
    for open in [session, by_id] {
        let (_directory, log, partition) = fresh();
        let mut zombie = open(&log, "writer", &partition);
        let _successor = open(&log, "writer", &partition);
        assert_eq!(zombie.append(0, &[b"a"]), Answer::Fenced { epoch: 2 });
        assert_eq!(partition.end_offset(), 0);
    }
}

/// Scenarios 10 and 11: an answer was lost, the client came back under a new epoch and sends again.
#[test]
fn numbering_goes_on_across_epochs() {
    for open in [session, by_id] {
        let (_directory, log, partition) = fresh();
        assert_eq!(open(&log, "writer", &partition).append(0, &[b"a", b"b"]), Answer::Appended { first: 0, last: 1 });
        let mut again = open(&log, "writer", &partition);
        assert_eq!(again.append(0, &[b"a", b"b"]), Answer::Duplicate { first: 0, last: 1 });
        assert_eq!(again.append(0, &[b"new"]), Answer::SequenceReused { expected: 2 });
        assert_eq!(again.append(2, &[b"c"]), appended(2));
        assert_eq!(payloads(&partition), [b"a", b"b", b"c"]);
    }
}

/// Scenario 10, for a broker whose clients start again at 0 with each epoch.
#[test]
fn numbering_starts_again_where_that_is_asked_for() {
    let (directory, log, partition) = fresh();
    let mut before = by_id(&log, "writer", &partition);
    assert_eq!(before.append(0, &[b"a"]), appended(0));
    assert_eq!(before.append(1, &[b"b"]), appended(1));
    drop(before);
    let register = |log: &Log, partition: &Partition| {
        let registration = log.register_with("writer", Numbering::Restart).expect("registered");
        Producer::ById(registration, partition.appender().expect("an appender"))
    };
    let mut after = register(&log, &partition);
    assert_eq!(after.append(2, &[b"c"]), Answer::OutOfOrder { expected: 0 });
    assert_eq!(after.append(0, &[b"c"]), appended(2));
    assert_eq!(after.append(0, &[b"c"]), duplicate(2));
    drop((after, partition));
    let (log, partition) = reopened(directory.path(), log, &small());
    let mut after = by_id(&log, "writer", &partition);
    assert_eq!(after.append(0, &[b"c"]), duplicate(2), "a reopening knows of the restart");
    assert_eq!(after.append(1, &[b"d"]), appended(3));
    drop(after);
    // Closed between the restart and the first append under it.
    drop(register(&log, &partition));
    drop(partition);
    let (log, partition) = reopened(directory.path(), log, &small());
    let mut once_more = by_id(&log, "writer", &partition);
    assert_eq!(once_more.append(2, &[b"e"]), Answer::OutOfOrder { expected: 0 });
    assert_eq!(once_more.append(0, &[b"e"]), appended(4));
    assert_eq!(payloads(&partition), [b"a", b"b", b"c", b"d", b"e"]);
}

#[test]
fn an_epoch_that_was_never_given_is_refused() {
    let (_directory, log, partition) = fresh();
    let mut appender = partition.appender().expect("an appender");
    let Registration { id, epoch, .. } = log.register("writer").expect("registered");
    let stamp = |epoch, sequence| Stamp { producer: id, epoch, sequence };
    assert_eq!(
        appender.append_by_id(stamp(epoch + 1, 0), b"a").expect("answered"),
        Answer::EpochNotIssued { current: epoch }
    );
    assert_eq!(appender.append_by_id(stamp(epoch, 0), b"a").expect("answered"), appended(0));
    for early in [epoch + 1, epoch + 7, u32::MAX] {
        for sequence in [0, 1, 5] {
            let answer = appender.append_by_id(stamp(early, sequence), b"a").expect("answered");
            assert_eq!(answer, Answer::EpochNotIssued { current: epoch }, "epoch {early}, sequence {sequence}");
        }
    }
    assert_eq!(appender.append_by_id(stamp(0, 0), b"a").expect("answered"), Answer::Fenced { epoch });
    assert_eq!(partition.end_offset(), 1);
}

#[test]
fn an_id_that_was_never_given_is_unknown() {
    let (_directory, log, partition) = fresh();
    let mut appender = partition.appender().expect("an appender");
    let registered = log.register("writer").expect("registered").id.get();
    for id in [registered + 1, registered + (1 << 32), registered - (1 << 32), 1 << 31, u64::from(u32::MAX), u64::MAX] {
        let stamp = Stamp { producer: ProducerId::from_u64(id), epoch: 1, sequence: 0 };
        assert_eq!(appender.append_by_id(stamp, b"a").expect("answered"), Answer::UnknownProducer, "id {id:#x}");
    }
    assert_eq!(partition.end_offset(), 0);
}

/// A producer is in one mode at a time; registering again is what changes it, and fences the other.
#[test]
fn a_call_in_the_other_mode_is_refused() {
    let (_directory, log, partition) = fresh();
    let mut appender = partition.appender().expect("an appender");
    let mut held = log.session("writer").expect("a session");
    assert_eq!(held.append(&partition, 0, b"a").expect("answered"), appended(0));
    let stamp = Stamp { producer: held.id(), epoch: held.epoch(), sequence: 1 };
    let error = appender.append_by_id(stamp, b"b").expect_err("a session holds it");
    assert!(
        matches!(error, AppendError::WrongMode { producer, registered: Mode::Session } if producer == held.id()),
        "{error}"
    );

    let registration = log.register("writer").expect("registered");
    assert_eq!(registration.id, held.id(), "one name, one producer");
    assert_eq!(held.append(&partition, 1, b"b").expect("answered"), Answer::Fenced { epoch: 2 });
    let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence: 1 };
    assert!(matches!(appender.append_by_id(stamp, b"b").expect("answered"), Answer::Appended { .. }));
    assert_eq!(payloads(&partition), [b"a", b"b"]);
}

/// Scenario 14: each record is sent by two threads at once, over many rotations. The records are long, so that a retry
/// comes while its original is still being copied, and has to wait for it.
#[test]
fn two_threads_that_send_the_same_append_once_and_hear_the_same_offset() {
    const RECORDS: u64 = 1_500;
    let (_directory, log, partition) = fresh();
    let registration = log.register("writer").expect("registered");
    let together = Barrier::new(2);
    let send = || {
        let mut appender = partition.appender().expect("an appender");
        let mut offsets = Vec::new();
        for sequence in 0..RECORDS {
            let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence };
            let payload = vec![sequence as u8; 40 + sequence as usize * 97 % 14_000];
            if sequence.is_multiple_of(2) {
                together.wait();
            }
            let answer = loop {
                match appender.append_by_id(stamp, &payload).expect("answered") {
                    // The other thread is behind with the record before.
                    Answer::OutOfOrder { .. } => thread::yield_now(),
                    answer => break answer,
                }
            };
            offsets.push((answer.offsets().expect("stored"), matches!(answer, Answer::Appended { .. })));
        }
        offsets
    };
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(send);
        let other = scope.spawn(send);
        (one.join().expect("no panic"), other.join().expect("no panic"))
    });
    for (sequence, (one, other)) in one.iter().zip(&other).enumerate() {
        assert_eq!(one.0, other.0, "sequence {sequence}");
        assert!(one.1 != other.1, "sequence {sequence} was appended by exactly one");
    }
    let seen = all(&partition);
    assert_eq!(seen.len() as u64, RECORDS);
    assert!(seen.iter().enumerate().all(|(at, seen)| seen.producer.expect("a producer's").sequence == at as u64));
}
