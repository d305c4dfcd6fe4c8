//! Whose turn it is: the producers and partitions of one thread, in a shuffled order gone through again and again.
//!
//! Going round a shuffled order visits each slot of the idempotence table as rarely as can be, and the sequence of
//! an append is how often the order was gone through: the generator keeps no table of its own that would compete
//! with the log's for the cache.

use oncelog::ProducerId;

use crate::payload::xorshift;

/// One producer in one partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// The producer, for appends by id.
    pub(crate) id: ProducerId,
    /// Which of the thread's producers.
    pub(crate) producer: u32,
    /// Which of the partitions.
    pub(crate) partition: u32,
}

/// The order of turns and where in it a thread is.
#[derive(Debug)]
pub(crate) struct Turns {
    order: Vec<Turn>,
    batch: u64,
    at: usize,
    sequence: u64,
}

impl Turns {
    /// Every producer in every partition, shuffled.
    pub(crate) fn shuffled(ids: &[ProducerId], partitions: &[u32], batch: usize, seed: u64) -> Self {
        let mut order: Vec<Turn> = Vec::with_capacity(ids.len() * partitions.len());
        for (producer, id) in (0..).zip(ids) {
            order.extend(partitions.iter().map(|partition| Turn { id: *id, producer, partition: *partition }));
        }
        let mut state = seed | 1;
        for last in (1..order.len()).rev() {
            state = xorshift(state);
            order.swap(last, (state % (last as u64 + 1)) as usize);
        }
        let batch = batch as u64;
        Self { at: order.len() - 1, order, batch, sequence: 0_u64.wrapping_sub(batch) }
    }

    /// How many turns make one round.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn order(&self) -> &[Turn] {
        &self.order
    }

    /// The next turn and the first sequence of its batch, or the last ones `again`.
    #[inline]
    pub(crate) fn next(&mut self, again: bool) -> (&Turn, u64) {
        if !again {
            self.at += 1;
            if self.at == self.order.len() {
                self.at = 0;
                self.sequence = self.sequence.wrapping_add(self.batch);
            }
        }
        (&self.order[self.at], self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_round_visits_everyone_once_with_the_next_sequence() {
        let ids: Vec<ProducerId> = (0..100).map(ProducerId::from_u64).collect();
        let mut turns = Turns::shuffled(&ids, &[0, 1, 2], 10, 7);
        for round in 0..3 {
            let mut seen = HashSet::new();
            for _ in 0..turns.len() {
                let (turn, sequence) = turns.next(false);
                assert_eq!(sequence, round * 10);
                assert_eq!(turn.id, ids[turn.producer as usize]);
                seen.insert((turn.producer, turn.partition));
            }
            assert_eq!(seen.len(), 300);
        }
    }

    #[test]
    fn a_retry_has_the_same_turn_and_sequence() {
        let ids: Vec<ProducerId> = (0..3).map(ProducerId::from_u64).collect();
        let mut turns = Turns::shuffled(&ids, &[0], 1, 1);
        let (first, sequence) = turns.next(false);
        let id = first.id;
        let (again, same) = turns.next(true);
        assert_eq!((again.id, same), (id, sequence));
        assert_ne!(turns.next(false).0.id, id);
    }
}
