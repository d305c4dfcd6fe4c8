//! Producers by id, from two threads at once (I2, I6).

use super::chain::Chain;
use crate::{
    ids::{Mode, ProducerId, Progress, Stamp},
    partition::{
        append::Missed,
        slot::{Slot, State},
    },
    sync::Arc,
};

/// Units of a producer's frame with a body of 8 bytes.
const FRAME: usize = 10;
const STATE: State = State::new(1, Mode::ById);

fn producer() -> ProducerId {
    ProducerId::new(0, 1)
}

fn slot() -> Arc<Slot> {
    let slot = Slot::new();
    slot.assign(producer(), STATE, Progress::default());
    Arc::new(slot)
}

/// Appends `sequence`; none if it is not the one that comes next.
fn append(chain: &Chain, slot: &Slot, sequence: u64) -> Option<u64> {
    let stamp = Stamp { producer: producer(), epoch: 1, sequence };
    let body = sequence.to_le_bytes();
    match chain.append_by_id(&body, slot, stamp, STATE) {
        Ok(first) => Some(first),
        Err(Missed::Sequence(progress)) => {
            assert_ne!(progress.expected, sequence);
            None
        }
        Err(_) => panic!("nobody fences, and there is room"),
    }
}

#[test]
fn a_retry_appends_nothing() {
    loom::model(|| {
        let chain = Arc::new(Chain::new(1, 2 * FRAME));
        let slot = slot();
        let retry = {
            let (chain, slot) = (Arc::clone(&chain), Arc::clone(&slot));
            loom::thread::spawn(move || append(&chain, &slot, 0))
        };
        let own = append(&chain, &slot, 0);
        let other = retry.join().expect("no panic");
        assert!(own.is_some() != other.is_some(), "one of the two appended");
        let seen = chain.read();
        assert_eq!(seen.len(), 1);
        assert_eq!(slot.progress().expected, 1);
        // What the slot says of the frame is true: the retry is led to it.
        assert_ne!(slot.progress().last_position, 0);
    });
}

#[test]
fn by_id_order_is_log_order() {
    loom::model(|| {
        // Room for one frame a segment, so that the second one steps over an end.
        let chain = Arc::new(Chain::new(2, FRAME));
        let slot = slot();
        let second = {
            let (chain, slot) = (Arc::clone(&chain), Arc::clone(&slot));
            loom::thread::spawn(move || append(&chain, &slot, 1))
        };
        assert_eq!(append(&chain, &slot, 0), Some(0));
        let second = second.join().expect("no panic");
        let seen = chain.read();
        Chain::assert_dense(&seen);
        let sequences: Vec<_> =
            seen.iter().filter_map(|frame| frame.producer).map(|(_, _, sequence)| sequence).collect();
        match second {
            Some(offset) => assert_eq!((offset, sequences), (1, vec![0, 1])),
            None => assert_eq!(sequences, [0], "the second came first, and was refused"),
        }
    });
}
