//! A fence against a session and against appends by id (I11, and I2 and I6 across epochs).

use super::chain::{Chain, Prepared, whole};
use crate::{
    format::{control::Fence, frame::Kind},
    ids::{Mode, ProducerId, Progress, Stamp},
    partition::{
        append::Admission,
        body::Single,
        slot::{Slot, State},
    },
    sync::Arc,
};

/// Units of a producer's frame with a body of 8 bytes, and of a fence frame.
const FRAME: usize = 10;
const FENCE: usize = 7;

fn producer() -> ProducerId {
    ProducerId::new(0, 1)
}

fn fresh(state: State) -> Arc<Slot> {
    let slot = Slot::new();
    slot.assign(producer(), state, Progress::default());
    Arc::new(slot)
}

/// Fences the producer and goes on as its next epoch does: with the sequence that the slot says comes next.
fn fence_and_append(chain: &Chain, slot: &Slot) -> u64 {
    let to = State::new(2, Mode::Session);
    let mut cursor = chain.cursor();
    let fence = Fence { producer: producer(), epoch: 2, restart: false };
    let Ok(mut progress) = cursor.fence(slot, to, fence, 0, &Prepared, |position| chain.wait_visible(position));
    let next = progress.expected;
    let body = Single(&[2; 8]);
    let Ok(admission) = cursor.append_session(&whole(&body), slot, producer(), to, &mut progress, 0, &Prepared);
    assert!(matches!(admission, Admission::Appended(_)));
    next
}

fn check(chain: &Chain, next: u64) {
    let seen = chain.read();
    Chain::assert_dense(&seen);
    let mut fenced = false;
    let mut expected = 0;
    for frame in &seen {
        match frame.kind {
            Kind::Fence => fenced = true,
            Kind::Void => {}
            _ => {
                let (_, epoch, sequence) = frame.producer.expect("all frames here are the producer's");
                assert_eq!(epoch, if fenced { 2 } else { 1 }, "behind a fence no older epoch appends: {seen:?}");
                assert_eq!(sequence, expected, "one frame a sequence, in order: {seen:?}");
                expected += 1;
            }
        }
    }
    assert!(fenced);
    assert_eq!(expected, next + 1, "the fence learns the producer's last word: {seen:?}");
}

/// A session that appends twice while it is fenced.
fn session_against_fence(segments: u64, units: usize) {
    let state = State::new(1, Mode::Session);
    let chain = Arc::new(Chain::new(segments, units));
    let slot = fresh(state);
    let session = {
        let (chain, slot) = (Arc::clone(&chain), Arc::clone(&slot));
        loom::thread::spawn(move || {
            let mut cursor = chain.cursor();
            let mut progress = Progress::default();
            let body = Single(&[1; 8]);
            for _ in 0..2 {
                let Ok(admission) =
                    cursor.append_session(&whole(&body), &slot, producer(), state, &mut progress, 0, &Prepared);
                match admission {
                    Admission::Appended(_) => {}
                    Admission::State => return,
                }
            }
        })
    };
    let next = fence_and_append(&chain, &slot);
    session.join().expect("no panic");
    check(&chain, next);
}

#[test]
fn behind_a_fence_no_older_epoch_appends() {
    loom::model(|| session_against_fence(1, 3 * FRAME + FENCE));
}

#[test]
fn a_fence_holds_across_the_end_of_a_segment() {
    loom::model(|| session_against_fence(4, FRAME));
}

#[test]
fn by_id_too() {
    loom::model(|| {
        let state = State::new(1, Mode::ById);
        let chain = Arc::new(Chain::new(1, 3 * FRAME + FENCE));
        let slot = fresh(state);
        let zombie = {
            let (chain, slot) = (Arc::clone(&chain), Arc::clone(&slot));
            loom::thread::spawn(move || {
                for sequence in 0..2 {
                    let stamp = Stamp { producer: producer(), epoch: 1, sequence };
                    let admission = chain.append_by_id(&[1; 8], &slot, stamp, state);
                    if admission.is_err() {
                        return;
                    }
                }
            })
        };
        let next = fence_and_append(&chain, &slot);
        zombie.join().expect("no panic");
        check(&chain, next);
    });
}
