//! Faults: what may go wrong, and which requests it strikes.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::workload::{Quoted, axis};

axis! {
    /// What goes wrong in a cell.
    Fault, "fault":
    /// Nothing.
    None = "none",
    /// A request never arrives.
    RequestLost = "request-lost",
    /// A request is heeded, and its reply never arrives.
    AckLost = "ack-lost",
    /// A reply arrives after the client has given up waiting for it.
    AckLate = "ack-late",
    /// A request arrives twice.
    RequestDoubled = "request-doubled",
    /// A request is overtaken by those behind it.
    Reordered = "reordered",
    /// The broker stops when it has stored, and before it replies.
    BrokerKilledAfterStore = "broker-killed-after-store",
    /// The broker stops before it has stored.
    BrokerKilledBeforeStore = "broker-killed-before-store",
    /// The consumer stops before or after a commit.
    ConsumerKilled = "consumer-killed",
    /// A producer that was held up, and replaced, wakes up.
    ZombieProducer = "zombie-producer"
}

/// Decides whom a fault strikes: by a hash, so that the same seed strikes the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Injector {
    pub(super) fault: Fault,
    seed: u64,
    below: u64,
}

/// Something that a fault may strike, told from all else.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// An attempt of a client's request.
    Request { client: usize, number: u64, attempt: u32 },
    /// What a source is about to send.
    Message(u64),
    /// Results that are about to be stored.
    Results(u64),
}

impl Injector {
    pub(super) fn new(fault: Fault, rate: f64, seed: u64) -> Self {
        Self { fault, seed, below: (rate.clamp(0.0, 1.0) * u64::MAX as f64) as u64 }
    }

    fn hash(&self, target: Target, salt: u64) -> u64 {
        let [kind, first, second, third] = match target {
            Target::Request { client, number, attempt } => [0, client as u64, number, attempt.into()],
            Target::Message(message) => [1, message, 0, 0],
            Target::Results(number) => [2, number, 0, 0],
        };
        let mut bytes = [0; 48];
        let words = [self.seed, salt, kind, first, second, third];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        xxh3_64(&bytes)
    }

    /// Whether this cell's fault strikes the target.
    pub(super) fn strikes(&self, target: Target) -> bool {
        self.fault != Fault::None && self.hash(target, 0) < self.below
    }

    /// Whether it strikes one of so many messages that the target is for.
    pub(super) fn strikes_one_of(&self, messages: u32, target: Target) -> bool {
        self.fault != Fault::None && self.hash(target, 0) < self.below.saturating_mul(messages.into())
    }

    /// Whether a consumer that is killed at the target is killed before it commits, or after it.
    pub(super) fn is_before(&self, target: Target) -> bool {
        self.hash(target, 1).is_multiple_of(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_strikes_the_same_and_about_as_often_as_asked() {
        let struck = |seed| {
            let injector = Injector::new(Fault::AckLost, 0.01, seed);
            let strikes = |number| injector.strikes(Target::Request { client: 0, number, attempt: 0 });
            (0..100_000).filter(|number| strikes(*number)).collect::<Vec<u64>>()
        };
        assert_eq!(struck(7), struck(7));
        assert_ne!(struck(7), struck(8));
        assert!((800..1_200).contains(&struck(7).len()), "{}", struck(7).len());
    }
}
