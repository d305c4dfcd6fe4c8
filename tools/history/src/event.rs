//! What is written down of a history.

use oncelog::{ProducerId, TransactionId};
use serde::{Deserialize, Serialize};

/// One thing that happened, and when: tickets are given out one by one, so that what was answered before something else
/// was called has the lower one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its ticket.
    pub at: u64,
    /// What it was.
    pub what: What,
}

/// A record as somebody read it: `offset, attempt, record, producer, sequence`; the producer is 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found(pub u64, pub u64, pub u32, pub u64, pub u64);

/// What can happen. An attempt is one try of a transaction, or one append outside of transactions; its number is its own
/// over all lives of a log. Groups are by number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// An append outside of transactions is called, with that many records.
    Plain {
        /// The attempt.
        attempt: u64,
        /// Where to.
        partition: u32,
        /// How many.
        records: u32,
    },
    /// A transaction was begun. By id, `id` is how a later life asks for its end.
    Begun {
        /// The attempt.
        attempt: u64,
        /// Producer, epoch and number.
        id: Option<(u64, u32, u64)>,
    },
    /// An append is called in a transaction.
    Append {
        /// The attempt.
        attempt: u64,
        /// Where to.
        partition: u32,
        /// The first record.
        record: u32,
        /// How many.
        records: u32,
    },
    /// The append that was called last in this attempt was answered with these offsets.
    Appended {
        /// The attempt.
        attempt: u64,
        /// Where to.
        partition: u32,
        /// The first record.
        record: u32,
        /// How many.
        records: u32,
        /// Offset of the first one.
        offset: u64,
    },
    /// The append that was called last was refused: the transaction has ended, or its producer was fenced.
    Refused {
        /// The attempt.
        attempt: u64,
    },
    /// A group's offset became part of a transaction: it has read from `from` up to `to`.
    Offset {
        /// The attempt.
        attempt: u64,
        /// The group.
        group: u32,
        /// What it had committed before.
        from: u64,
        /// What it commits.
        to: u64,
    },
    /// A commit is called.
    Commit {
        /// The attempt.
        attempt: u64,
    },
    /// A commit was answered; a plain append is visible.
    Committed {
        /// The attempt.
        attempt: u64,
    },
    /// It was told that it is durable.
    Durable {
        /// The attempt.
        attempt: u64,
    },
    /// An abort is called.
    Abort {
        /// The attempt.
        attempt: u64,
    },
    /// It will never be seen: an abort or a commit was answered so. Why is a word for who counts them.
    Aborted {
        /// The attempt.
        attempt: u64,
        /// Why.
        why: String,
    },
    /// A reader has moved.
    Read {
        /// The reader.
        reader: u64,
        /// What it reads.
        partition: u32,
        /// Whether it reads what is committed, and only that.
        committed: bool,
        /// Where it was.
        from: u64,
        /// Where it is.
        to: u64,
        /// What it got.
        records: Vec<Found>,
    },
    /// The last stable offset was asked for, from ticket `since` on.
    Stable {
        /// The ticket.
        since: u64,
        /// Where.
        partition: u32,
        /// The answer.
        offset: u64,
    },
    /// A group's committed offset was asked for, from ticket `since` on.
    GroupAt {
        /// The ticket.
        since: u64,
        /// The group.
        group: u32,
        /// The answer.
        offset: u64,
    },
    /// An answer that must not be: what was done, and how it was answered.
    Strange {
        /// In words.
        what: String,
    },
    /// Something that is only counted.
    Count {
        /// In words.
        what: String,
    },
}

/// A transaction's id as an event holds it.
pub(crate) const fn id_of(id: TransactionId) -> (u64, u32, u64) {
    (id.producer.get(), id.epoch, id.number)
}

/// The id that [`id_of`] has put down.
pub(crate) const fn transaction_of((producer, epoch, number): (u64, u32, u64)) -> TransactionId {
    TransactionId { producer: ProducerId::from_u64(producer), epoch, number }
}
