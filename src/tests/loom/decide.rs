//! Transactions and those who read beside them (I12): nothing of an undecided one is seen, nothing of an aborted one is
//! taken for a committed one's, and what a reader may see never shrinks.

use super::chain::{Chain, Prepared, whole};
use crate::{
    format::snapshot::{Aborted, Extent},
    ids::ProducerId,
    partition::{
        body::Single,
        stability::{Open, Stability},
    },
    sync::{Arc, AtomicU64, Ordering},
};

/// Units of a plain frame with a body of 8 bytes.
const FRAME: usize = 5;

struct Partition {
    chain: Chain,
    stability: Stability,
}

impl Partition {
    fn new(frames: usize) -> Arc<Self> {
        Arc::new(Self { chain: Chain::new(1, frames * FRAME), stability: Stability::new(&[]) })
    }

    fn producer() -> ProducerId {
        ProducerId::new(3, 1)
    }

    fn visible(&self) -> u64 {
        self.chain.read().len() as u64
    }

    fn limit(&self) -> u64 {
        let Ok(limit) = self.stability.limit(|| Ok::<_, std::convert::Infallible>(self.visible()));
        limit
    }

    fn next_offset(&self) -> u64 {
        let cursor = self.chain.cursor();
        cursor.tail().next_offset().unwrap_or_else(|| self.visible())
    }

    fn enter(&self, transaction: u64) {
        let first_offset = self.next_offset();
        self.stability.enter(Open { producer: Self::producer(), transaction, first_offset });
    }

    fn append(&self) {
        let Ok(_) = self.chain.cursor().append(&whole(&Single(&1_u64.to_le_bytes())), 0, &Prepared);
    }

    fn commit(&self, transaction: u64) {
        self.stability.decide(Self::producer(), transaction, None);
    }

    fn abort(&self, transaction: u64) {
        let producer = Self::producer();
        self.stability.decide(
            producer,
            transaction,
            Some(Aborted { producer, transaction, marker: 0, end: Extent::default() }),
        );
    }
}

// The reader is the thread that is spawned: the other way round loom tries fewer orders.

#[test]
fn a_reader_sees_a_transaction_once_it_is_committed() {
    loom::model(|| {
        let partitions = [Partition::new(1), Partition::new(1)];
        let committed = Arc::new(AtomicU64::new(0));
        let reader = {
            let (partitions, committed) = (partitions.clone(), Arc::clone(&committed));
            loom::thread::spawn(move || {
                for partition in &partitions {
                    if partition.limit() > 0 {
                        assert_eq!(committed.load(Ordering::Relaxed), 1, "seen before it was committed");
                    }
                }
            })
        };
        for partition in &partitions {
            partition.enter(1);
            partition.append();
        }
        // Where the ledger's entry is published.
        committed.store(1, Ordering::Relaxed);
        for partition in &partitions {
            partition.commit(1);
        }
        reader.join().expect("no panic");
        assert!(partitions.iter().all(|partition| partition.limit() == 1));
    });
}

#[test]
fn a_reader_passes_over_an_aborted_transaction() {
    loom::model(|| {
        let partition = Partition::new(1);
        let reader = {
            let partition = Arc::clone(&partition);
            loom::thread::spawn(move || {
                if partition.limit() > 0 {
                    assert!(
                        partition.stability.hidden(Partition::producer(), 1).is_some(),
                        "taken for a committed one's"
                    );
                }
            })
        };
        partition.enter(1);
        partition.append();
        partition.abort(1);
        reader.join().expect("no panic");
        assert!(partition.limit() == 1 && partition.stability.hidden(Partition::producer(), 1).is_some());
    });
}

#[test]
fn what_a_reader_may_see_never_shrinks() {
    loom::model(|| {
        let partition = Partition::new(2);
        let reader = {
            let partition = Arc::clone(&partition);
            loom::thread::spawn(move || {
                let first = partition.limit();
                let second = partition.limit();
                assert!(second >= first, "{first}, and then {second}");
                second
            })
        };
        // Looked at, and stored once another record is visible.
        let first_offset = partition.next_offset();
        partition.append();
        partition.stability.enter(Open { producer: Partition::producer(), transaction: 1, first_offset });
        let seen = reader.join().expect("no panic");
        assert!(partition.limit() >= seen);
    });
}
