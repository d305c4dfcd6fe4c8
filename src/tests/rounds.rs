//! Who begins a round, and who is waited for: the committer's role step by step, without a thread.

use crate::{
    Log, Options,
    partition::PartitionState,
    turns::{Seat, Turn, Turns},
};
use std::sync::Arc;

#[expect(unsafe_code, reason = "opening a log is")]
/// Calls `check` after a round that `threads` have waited for, its committer among them.
fn after_a_round_of(threads: usize, check: impl FnOnce(&Turns<PartitionState>, &Arc<PartitionState>)) {
    let dir = tempfile::tempdir().expect("a directory");
    // SAFETY: the directory is this test's own.
    let log = unsafe { Log::open(dir.path(), &Options::new()) }.expect("the log opens");
    let partition = log.partition("p").expect("created");
    // Not the log's own committer, whose thread would take part.
    let committer = Turns::new();
    committer.role().last_round = std::time::Duration::from_secs(1);
    assert!(committer.take_role());
    for _ in 1..threads {
        assert!(matches!(committer.enter(&partition.state, 0, &mut None), Turn::Wait { .. }));
    }
    // One more round: those came while the first was under way.
    committer.hand_over(false);
    assert!(committer.take_role());
    committer.hand_over(true);
    check(&committer, &partition.state);
}

fn waits(turn: &Turn) -> (u64, u32, bool) {
    match turn {
        Turn::Wait { round, value, pause } => (*round, *value, pause.is_some()),
        Turn::Commit => panic!("it is not all who are back"),
    }
}

#[test]
fn the_last_to_come_back_begins_the_round_and_the_first_only_if_it_does_not_come() {
    after_a_round_of(3, |committer, partition| {
        let mut seats: [Option<Seat>; 3] = [None; 3];
        let [first, second, last] = &mut seats;
        assert!(waits(&committer.enter(partition, 0, first)).2, "the first sleeps for a time");
        assert!(!waits(&committer.enter(partition, 0, second)).2, "the others until they are woken");
        assert!(matches!(committer.enter(partition, 0, last), Turn::Commit));
        assert!(!waits(&committer.enter(partition, 0, first)).2, "a round is under way: the first goes on sleeping");
    });
}

#[test]
fn who_came_during_a_round_is_waited_for_like_those_of_the_round() {
    // It once was not: a group of sixteen of which one was late stayed fifteen and one, two flushes instead of one.
    after_a_round_of(2, |committer, partition| {
        assert!(committer.take_role());
        let mut late = None;
        assert!(!waits(&committer.enter(partition, 0, &mut late)).2);
        committer.hand_over(true);
        assert!(waits(&committer.enter(partition, 0, &mut late)).2, "for the one that has just committed");
        assert!(matches!(committer.enter(partition, 0, &mut None), Turn::Commit));
    });
}

#[test]
fn who_was_to_begin_the_round_and_gives_up_wakes_another() {
    after_a_round_of(3, |committer, partition| {
        let (mut first, mut second) = (None, None);
        assert!(waits(&committer.enter(partition, 0, &mut first)).2);
        let (round, value, _) = waits(&committer.enter(partition, 0, &mut second));
        committer.leave(first);
        let (same, changed, sleeps_for_a_time) = waits(&committer.enter(partition, 0, &mut second));
        assert_eq!(round, same);
        assert_ne!(value, changed, "it would have slept on");
        assert!(sleeps_for_a_time);
    });
}
