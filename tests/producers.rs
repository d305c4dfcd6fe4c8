//! Producers: registered, listed, fenced, closed; the table that holds them, and what becomes of a place in it. The
//! numbers are those of the scenarios in `README.md`.

mod logs;

use logs::{all, append_many, fresh, fresh_with, killed, let_time_pass, open, payloads, reopened, small};
use oncelog::{Answer, Mode, Partition, RegisterError, Registration, Session, Stamp};
use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

fn append(
    partition: &Partition,
    Registration { id, epoch, .. }: Registration,
    sequence: u64,
    payload: &[u8],
) -> Answer {
    append_as(partition, Stamp { producer: id, epoch, sequence }, payload)
}

fn append_as(partition: &Partition, stamp: Stamp, payload: &[u8]) -> Answer {
    partition.appender().expect("an appender").append_by_id(stamp, payload).expect("answered")
}

/// Scenario 50.
#[test]
fn a_full_table_refuses_the_new_and_leaves_the_old_alone() {
    let options = small().producers_max(3);
    let (directory, log, partition) = fresh_with(&options);
    let registered = log.register_all(&["a", "b", "c"]).expect("three fit");
    for registration in &registered {
        assert!(append(&partition, *registration, 0, b"x").is_stored());
    }
    for _ in 0..2 {
        assert!(matches!(log.register("d"), Err(RegisterError::Full { limit: 3 })));
        assert!(matches!(log.session("d"), Err(RegisterError::Full { limit: 3 })));
    }
    let error = log.register_all(&["a", "d"]).expect_err("one of them does not fit");
    assert_eq!(error.to_string(), "the table of producers is full: 3 are live; close those no longer needed");
    for registration in &registered {
        assert!(matches!(append(&partition, *registration, 1, b"y"), Answer::Appended { .. }), "none was fenced");
    }
    assert_eq!(log.register("a").expect("it is there already").id, registered[0].id);

    log.close_producer(registered[1].id).expect("closed");
    let d = log.register("d").expect("there is a place now");
    assert!(matches!(append(&partition, d, 0, b"d"), Answer::Appended { .. }));
    drop(partition);
    let (log, partition) = reopened(directory.path(), log, &options);
    assert!(matches!(log.register("e"), Err(RegisterError::Full { limit: 3 })), "full after a reopening too");
    assert!(matches!(append(&partition, d, 1, b"e"), Answer::Appended { .. }));
}

/// A smaller table has fewer places, also of those that are free.
#[test]
fn a_place_that_the_table_no_longer_has_is_not_given_out() {
    let (directory, log, partition) = fresh_with(&small().producers_max(6));
    let registered = log.register_all(&["a", "b", "c", "d", "e", "f"]).expect("registered");
    for registration in &registered[2..] {
        log.close_producer(registration.id).expect("closed");
    }
    drop(partition);
    let (log, partition) = reopened(directory.path(), log, &small().producers_max(3));
    let third = log.register("third").expect("there is one place");
    assert!(matches!(append(&partition, third, 0, b"x"), Answer::Appended { .. }));
    assert!(matches!(log.register("fourth"), Err(RegisterError::Full { limit: 3 })));
}

/// Scenario 51, as far as a test without a clock can show it: were the time anything but linear, this would not end.
#[test]
fn very_many_producers_are_registered_and_closed() {
    const PRODUCERS: usize = 100_000;
    let (directory, log, partition) = fresh_with(&small().producers_max(PRODUCERS as u32));
    let names: Vec<_> = (0..PRODUCERS).map(|number| format!("producer {number}")).collect();
    let registered = log.register_all(&names).expect("registered");
    assert_eq!(registered.iter().map(|registration| registration.id).collect::<HashSet<_>>().len(), PRODUCERS);
    assert!(append(&partition, registered[PRODUCERS - 1], 0, b"x").is_stored());
    assert_eq!(log.producers().len(), PRODUCERS);
    assert_eq!(log.close_producers_idle_for(Duration::from_secs(3_600)).expect("closed"), []);
    let mut closed = 0;
    logs::eventually("all are idle for five milliseconds", || {
        closed += log.close_producers_idle_for(Duration::from_millis(5)).expect("closed").len();
        closed == PRODUCERS
    });
    assert_eq!(append(&partition, registered[PRODUCERS - 1], 1, b"y"), Answer::UnknownProducer);
    drop(partition);
    let (log, _partition) = reopened(directory.path(), log, &small().producers_max(PRODUCERS as u32));
    assert!(log.producers().is_empty());
}

/// Scenario 52: what is under way when its producer is closed is finished first.
#[test]
fn closing_a_producer_waits_for_its_append() {
    let (_directory, log, partition) = fresh();
    let mut session = log.session("writer").expect("a session");
    let id = session.id();
    append_many(&mut session, &partition, 0..1);
    let (closing, published) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let answer = session.append_with(&partition, 1, 4, |_, bytes| -> Result<(), ()> {
            scope.spawn(|| {
                closing.store(true, Ordering::SeqCst);
                log.close_producer(id).expect("closed");
                assert!(published.load(Ordering::SeqCst), "closed while its append was under way");
            });
            while !closing.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(20));
            bytes.copy_from_slice(b"done");
            published.store(true, Ordering::SeqCst);
            Ok(())
        });
        assert_eq!(answer.expect("filled"), Answer::Appended { first: 1, last: 1 });
    });
    assert_eq!(session.append(&partition, 2, b"more").expect("answered"), Answer::UnknownProducer);
    assert_eq!(payloads(&partition)[1], b"done");
}

/// Closing frees name and slot. The slot's next owner has another id and begins at 0; nothing of the earlier one, a
/// session or an id, appends in its place, whatever it sends.
#[test]
fn a_zombie_of_a_slots_earlier_owner_stays_out() {
    let (directory, log, partition) = fresh_with(&small().producers_max(1));
    let mut earlier = log.session("earlier").expect("a session");
    append_many(&mut earlier, &partition, 0..3);
    log.close_producer(earlier.id()).expect("closed");
    let error = log.close_producer(earlier.id()).expect_err("it is closed");
    assert!(matches!(error, RegisterError::Unknown { producer } if producer == earlier.id()));
    assert_eq!(error.to_string(), format!("no live producer has the id {}", earlier.id()));

    let owner = log.register("owner").expect("the slot is free");
    assert_ne!(owner.id, earlier.id());
    assert!(owner.epoch > earlier.epoch(), "epochs go on from one owner to the next");
    let earlier_id = earlier.id();
    let check = |partition: &Partition| {
        for epoch in 0..owner.epoch + 3 {
            for sequence in 0..5 {
                let stamp = Stamp { producer: earlier_id, epoch, sequence };
                assert_eq!(append_as(partition, stamp, b"record 0"), Answer::UnknownProducer);
            }
        }
    };
    check(&partition);
    assert!(matches!(append(&partition, owner, 0, b"of the owner"), Answer::Appended { .. }));
    check(&partition);
    for sequence in 0..5 {
        assert_eq!(earlier.append(&partition, sequence, b"record 0").expect("answered"), Answer::UnknownProducer);
    }
    assert_eq!(all(&partition).len(), 4);
    drop(earlier);

    let copy = killed(directory.path());
    let after = open(copy.path(), &small().producers_max(1));
    let orders = after.partition("orders").expect("the partition");
    assert!(matches!(append(&orders, owner, 0, b"of the owner"), Answer::Duplicate { .. }));
    assert!(matches!(append(&orders, owner, 1, b"more"), Answer::Appended { .. }));
    // The name is free: whoever takes it up again is somebody else.
    after.close_producer(owner.id).expect("closed");
    let again = after.register("earlier").expect("registered");
    assert!(again.epoch > owner.epoch);
    assert_eq!(append(&orders, again, 3, b"record 3"), Answer::OutOfOrder { expected: 0 });
    assert!(matches!(append(&orders, again, 0, b"anew"), Answer::Appended { .. }));
}

/// A closed producer of the same name, in a higher slot, was once taken for the live one.
#[test]
fn a_live_name_outlives_a_closed_one_in_another_slot() {
    let (directory, log, partition) = fresh();
    let registered = log.register_all(&["a", "b"]).expect("registered");
    log.close_producer(registered[1].id).expect("closed");
    log.close_producer(registered[0].id).expect("closed");
    let live = log.register("b").expect("registered");
    assert_eq!(live.id.get() as u32, registered[0].id.get() as u32, "b has the slot that a had");
    assert!(append(&partition, live, 0, b"x").is_stored());
    drop(partition);
    let (log, partition) = reopened(directory.path(), log, &small());
    assert_eq!(log.stats().producers, 1);
    let again = log.register("b").expect("registered");
    assert_eq!((again.id, again.epoch), (live.id, live.epoch + 1));
    assert!(matches!(append(&partition, again, 0, b"x"), Answer::Duplicate { .. }));
}

#[test]
fn a_registration_is_there_after_a_kill() {
    let (directory, log, partition) = fresh();
    let session = log.session("held").expect("a session");
    let registered = log.register_all(&["one", "two", "one"]).expect("registered");
    assert_eq!(registered[0].id, registered[2].id, "one name, one producer");
    assert_eq!((registered[0].epoch, registered[2].epoch), (1, 2));
    assert_eq!(append(&partition, registered[0], 0, b"x"), Answer::Fenced { epoch: 2 });
    let closed = log.register("closed").expect("registered");
    log.close_producer(closed.id).expect("closed");

    let copy = killed(directory.path());
    let log = open(copy.path(), &small());
    let partition = log.partition("orders").expect("the partition");
    assert!(
        matches!(append(&partition, registered[2], 0, b"x"), Answer::Appended { .. }),
        "an id is good without a retry"
    );
    assert_eq!(append(&partition, closed, 0, b"x"), Answer::UnknownProducer);
    let again = log.session("held").expect("a session");
    assert_eq!((again.id(), again.epoch()), (session.id(), session.epoch() + 1));
    assert_eq!(log.stats().producers, 3);
}

#[test]
fn producers_are_listed_by_last_use_and_with_how_far_they_have_come() {
    let (directory, log, partition) = fresh();
    let other = log.partition("other").expect("a partition");
    let never = log.register("never").expect("registered");
    let_time_pass(&log);
    let [late, early] = log.register_all(&["late", "early"]).expect("registered")[..] else {
        panic!("two were asked for")
    };
    let check = |log: &oncelog::Log| {
        let infos = log.producers();
        let listed: Vec<_> = infos.iter().map(|info| (info.name.as_str(), info.id, info.epoch, info.mode)).collect();
        let expected = [("never", never), ("early", early), ("late", late)];
        assert_eq!(listed, expected.map(|(name, entry)| (name, entry.id, entry.epoch, Mode::ById)));
        let partitions: Vec<_> = infos.iter().map(|info| info.partitions.clone()).collect();
        let orders = |last| ("orders".to_owned(), last);
        assert_eq!(partitions, [vec![], vec![orders(2)], vec![orders(0), ("other".to_owned(), 1)]]);
        assert!(infos[0].last_used_ms < infos[1].last_used_ms && infos[1].last_used_ms < infos[2].last_used_ms);
    };
    for sequence in 0..3 {
        assert!(append(&partition, early, sequence, b"x").is_stored());
    }
    let_time_pass(&log);
    assert!(append(&partition, late, 0, b"x").is_stored());
    for sequence in 0..2 {
        assert!(append(&other, late, sequence, b"x").is_stored());
    }
    check(&log);
    drop((partition, other));
    let (log, _partition) = reopened(directory.path(), log, &small());
    check(&log);
    assert_eq!(log.close_producers_idle_for(Duration::from_secs(3_600)).expect("closed"), []);
    logs::eventually("the last of them is idle for ten milliseconds", || {
        log.close_producers_idle_for(Duration::from_millis(10)).expect("closed").contains(&late.id)
    });
    assert!(log.producers().is_empty());
}

/// Appending counts as use, however long ago the producer was registered.
#[test]
fn a_producer_that_appends_is_not_idle() {
    let (_directory, log, partition) = fresh();
    let idle = Duration::from_millis(400);
    for _ in 0..20 {
        let [busy, quiet] = log.register_all(&["busy", "quiet"]).expect("registered")[..] else { panic!("two") };
        thread::sleep(idle + Duration::from_millis(50));
        let since = Instant::now();
        let infos = log.producers();
        let last = infos.iter().find(|info| info.id == busy.id).and_then(|info| info.partitions.first());
        let sequence = last.map_or(0, |(_, last)| last + 1);
        assert!(append(&partition, busy, sequence, b"x").is_stored());
        let closed = log.close_producers_idle_for(idle).expect("closed");
        assert!(closed.contains(&quiet.id));
        if since.elapsed() < idle / 2 {
            assert_eq!(closed, [quiet.id]);
            return;
        }
        // This thread was held up for so long that it may have been idle: once more.
    }
}

/// Sessions of one name, opened one after the other while the one before is appending as fast as it can: each goes on
/// where its predecessor was stopped, and no sequence is stored twice or left out. The records are long, so that sessions
/// are fenced while they wait for the next segment, between the look at their epoch and their claim, were it so.
#[test]
fn a_session_that_is_taken_over_while_it_appends_leaves_each_sequence_once() {
    const TAKEOVERS: u64 = 150;
    let (_directory, log, partition) = fresh_with(&small().segments_ahead(1));
    let payload = |sequence: u64| vec![sequence as u8; 1 + sequence as usize * 4_999 % 15_000];
    let append = &|mut session: Session, mut next: u64| {
        for _ in 0..2_000 {
            match session.append(&partition, next, &payload(next)).expect("answered") {
                Answer::Appended { .. } => next += 1,
                Answer::Fenced { epoch } if epoch > session.epoch() => return,
                other => panic!("sequence {next} of epoch {}: {other:?}", session.epoch()),
            }
        }
    };
    // By epoch, from 1 on: where the partition ended once all elder ones were fenced.
    let mut ends = vec![0];
    thread::scope(|scope| {
        for takeover in 0..TAKEOVERS {
            let mut session = log.session("writer").expect("a session");
            ends.push(partition.end_offset());
            assert_eq!(ends.len(), session.epoch() as usize + 1);
            let next = session.last(&partition).expect("read").map_or(0, |last| last.sequence + 1);
            scope.spawn(move || append(session, next));
            // At another moment each time.
            thread::sleep(Duration::from_micros(takeover * 137 % 1_000));
        }
    });
    let seen = all(&partition);
    for (expected, seen) in (0..).zip(&seen) {
        let Stamp { epoch, sequence, .. } = seen.producer.expect("a session's");
        assert_eq!((sequence, &seen.payload), (expected, &payload(expected)));
        assert!(
            ends.get(epoch as usize + 1).is_none_or(|end| seen.offset < *end),
            "epoch {epoch} appended when fenced"
        );
    }
    assert!(seen.len() as u64 > TAKEOVERS);
}

/// A broker tells a producer that has lost its memory where to go on.
#[test]
fn where_a_producer_by_id_stands_is_known_in_each_partition_and_behind_a_reopening() {
    let (directory, log, partition) = fresh_with(&small());
    let other = log.partition("other").expect("a partition");
    let producer = log.register("till").expect("registered");
    assert_eq!(partition.next_sequence(producer.id), 0, "one that has appended nothing");
    assert_eq!(partition.next_sequence(oncelog::ProducerId::from_u64(99)), 0, "one that was never there");
    for sequence in 0..3 {
        assert!(append(&partition, producer, sequence, b"x").is_stored());
        assert!(append(&partition, producer, sequence, b"x").is_stored(), "a retry counts once");
    }
    assert!(append(&other, producer, 0, b"x").is_stored());
    assert_eq!((partition.next_sequence(producer.id), other.next_sequence(producer.id)), (3, 1));
    drop((partition, other));
    let (log, partition) = reopened(directory.path(), log, &small());
    assert_eq!(partition.next_sequence(producer.id), 3);
    log.close_producer(producer.id).expect("closed");
    assert_eq!(partition.next_sequence(producer.id), 0, "a closed producer's slot is nobody's");
}
