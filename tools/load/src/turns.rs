//! Whose turn it is: the producers and partitions of one thread, in a shuffled order gone through again and again.
//!
//! Going round a shuffled order visits each slot of the idempotence table as rarely as can be, and the sequence of
//! an append is how often the order was gone through: the generator keeps no table of its own that would compete
//! with the log's for the cache.

use std::collections::HashMap;

use oncelog::ProducerId;

use crate::payload::xorshift;

/// Turns of a round under a skew, for each producer in each partition in the mean; those that are due none get one all the
/// same.
pub(crate) const TURNS_EACH: usize = 16;

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
    /// Under a skew: which of its producer's turns of a round each turn is, and how many there are.
    shares: Option<Vec<(u32, u32)>>,
    batch: u64,
    at: usize,
    round: u64,
    sequence: u64,
}

impl Turns {
    /// Every producer in every partition, once, or under a skew at least once, shuffled.
    pub(crate) fn shuffled(ids: &[ProducerId], partitions: &[u32], skew: f64, batch: usize, seed: u64) -> Self {
        let mut order: Vec<Turn> = Vec::with_capacity(ids.len() * partitions.len());
        for (producer, id) in (0..).zip(ids) {
            order.extend(partitions.iter().map(|partition| Turn { id: *id, producer, partition: *partition }));
        }
        if skew > 0.0 {
            order = taken(&order, partitions, skew);
        }
        let mut state = seed | 1;
        for last in (1..order.len()).rev() {
            state = xorshift(state);
            order.swap(last, (state % (last as u64 + 1)) as usize);
        }
        let batch = batch as u64;
        let shares = (skew > 0.0).then(|| shares(&order));
        Self { at: order.len() - 1, order, shares, batch, round: u64::MAX, sequence: 0_u64.wrapping_sub(batch) }
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
                self.round = self.round.wrapping_add(1);
                self.sequence = self.sequence.wrapping_add(self.batch);
            }
            if let Some(shares) = &self.shares {
                let (turn, turns) = shares[self.at];
                self.sequence = (self.round * u64::from(turns) + u64::from(turn)) * self.batch;
            }
        }
        (&self.order[self.at], self.sequence)
    }
}

/// Each turn as often as Zipf's law says of its producer and its partition, and at least once.
fn taken(order: &[Turn], partitions: &[u32], skew: f64) -> Vec<Turn> {
    let weight = |rank: usize| (rank as f64 + 1.0).powf(-skew);
    let weights: Vec<f64> = order
        .iter()
        .map(|turn| {
            let partition = partitions.iter().position(|partition| *partition == turn.partition).unwrap_or(0);
            weight(turn.producer as usize) * weight(partition)
        })
        .collect();
    let whole: f64 = weights.iter().sum();
    let turns = (order.len() * TURNS_EACH) as f64;
    let often = weights.iter().map(|weight| (weight / whole * turns).round().max(1.0) as usize);
    order.iter().zip(often).flat_map(|(turn, often)| std::iter::repeat_n(*turn, often)).collect()
}

/// Which turn of its producer in its partition each one is, of how many.
fn shares(order: &[Turn]) -> Vec<(u32, u32)> {
    let mut counts: HashMap<(u32, u32), u32> = HashMap::new();
    let nth: Vec<u32> = order
        .iter()
        .map(|turn| {
            let count = counts.entry((turn.producer, turn.partition)).or_default();
            *count += 1;
            *count - 1
        })
        .collect();
    let of = |turn: &Turn| counts.get(&(turn.producer, turn.partition)).copied().unwrap_or(1);
    order.iter().zip(nth).map(|(turn, nth)| (nth, of(turn))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_round_visits_everyone_once_with_the_next_sequence() {
        let ids: Vec<ProducerId> = (0..100).map(ProducerId::from_u64).collect();
        let mut turns = Turns::shuffled(&ids, &[0, 1, 2], 0.0, 10, 7);
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
        let mut turns = Turns::shuffled(&ids, &[0], 0.0, 1, 1);
        let (first, sequence) = turns.next(false);
        let id = first.id;
        let (again, same) = turns.next(true);
        assert_eq!((again.id, same), (id, sequence));
        assert_ne!(turns.next(false).0.id, id);
    }

    #[test]
    fn under_a_skew_some_come_more_often_and_every_sequence_comes_once_in_order() {
        let ids: Vec<ProducerId> = (0..20).map(ProducerId::from_u64).collect();
        let mut turns = Turns::shuffled(&ids, &[4, 7], 1.0, 10, 3);
        let mut next: HashMap<(u32, u32), u64> = HashMap::new();
        for _ in 0..3 * turns.len() {
            let (turn, sequence) = turns.next(false);
            let expected = next.entry((turn.producer, turn.partition)).or_default();
            assert_eq!(sequence, *expected);
            *expected += 10;
            let (again, same) = turns.next(true);
            assert_eq!((again.partition, same), (turns.order()[turns.at].partition, sequence));
        }
        assert_eq!(next.len(), 40, "everyone comes");
        let of = |producer: u32, partition: u32| next[&(producer, partition)];
        // The first producer twice as often as the second, and each in its first partition twice as often.
        assert!(of(0, 4) > of(1, 4) * 9 / 5 && of(0, 4) > of(0, 7) * 9 / 5 && of(1, 7) > of(19, 7), "{next:?}");
    }
}
