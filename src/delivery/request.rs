//! Requests and replies: plain data, for whatever wire an embedder puts them on.

use crate::{
    answer::Answer,
    delivery::consumer::Message,
    ids::{ProducerId, Stamp, TransactionId},
};
use std::{sync::Arc, time::Duration};

/// What a client asks. It stays the same over all attempts, but for their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// A number that the client has chosen for itself at random: another client's replies are not taken for its own.
    pub client: u64,
    /// Number of the request among the client's.
    pub number: u64,
    /// How often it was sent before.
    pub attempt: u32,
    /// What is asked.
    pub call: Call,
}

/// The kinds of requests. Each can be sent again after a lost reply, and all but a plain append have then no second effect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// Register a producer, and say which sequence comes next in the partition.
    Register {
        /// The producer's name.
        producer: Arc<str>,
        /// Where it will append.
        partition: Arc<str>,
    },
    /// Append a record.
    Append {
        /// Where.
        partition: Arc<str>,
        /// Who appends, and with which sequence; none for a plain append, which nobody recognises.
        stamp: Option<Stamp>,
        /// The producer's open transaction, if it appends in one.
        transaction: Option<u64>,
        /// What the reply waits for.
        acknowledge: Acknowledge,
        /// The record.
        payload: Arc<[u8]>,
    },
    /// Read records, those of committed transactions among them, and of no others.
    Fetch {
        /// Where.
        partition: Arc<str>,
        /// The first one.
        offset: u64,
        /// How many at most.
        records: u32,
    },
    /// Join a group as its one consumer: the one before commits no more.
    Join {
        /// The group's name.
        group: Arc<str>,
        /// The partition that it reads.
        partition: Arc<str>,
    },
    /// Commit a position: what comes before it is done.
    CommitOffset {
        /// The group's name.
        group: Arc<str>,
        /// The generation that joining gave.
        generation: u64,
        /// The partition.
        partition: Arc<str>,
        /// Offset of the first message that is not done.
        offset: u64,
    },
    /// Begin a transaction.
    Begin {
        /// Which.
        transaction: TransactionId,
        /// How long it may be open.
        timeout: Duration,
    },
    /// Make a position part of an open transaction.
    AddOffset {
        /// Which.
        transaction: TransactionId,
        /// The group's name.
        group: Arc<str>,
        /// The generation that joining gave.
        generation: u64,
        /// The partition.
        partition: Arc<str>,
        /// Offset of the first message that is not done.
        offset: u64,
    },
    /// Commit a transaction: its records and positions, or none of them.
    CommitTransaction {
        /// Which.
        transaction: TransactionId,
        /// What the reply waits for.
        acknowledge: Acknowledge,
    },
    /// Abort a transaction.
    AbortTransaction {
        /// Which.
        transaction: TransactionId,
    },
}

/// What the reply to an append waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acknowledge {
    /// There is no reply.
    Nothing,
    /// The record is visible: it survives the broker's being killed, if the log has the mapped window.
    Visible,
    /// The record is durable: it survives a power cut.
    Durable,
}

/// What a broker answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The client that asked.
    pub client: u64,
    /// Number of the request.
    pub number: u64,
    /// The attempt that this answers.
    pub attempt: u32,
    /// The answer.
    pub outcome: Outcome,
}

/// The kinds of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// A producer is registered.
    Registered {
        /// Its id.
        producer: ProducerId,
        /// The epoch that appends from now on.
        epoch: u32,
        /// The sequence that comes next in the partition it named.
        next_sequence: u64,
        /// The number that its next transaction may have.
        next_transaction: u64,
    },
    /// What an append has come to.
    Answered(Answer),
    /// Records, perhaps none.
    Fetched {
        /// In the order of their offsets.
        messages: Vec<Message>,
        /// Where to read on.
        next: u64,
    },
    /// Retention has dropped what was asked for.
    Trimmed {
        /// The first offset that is kept.
        start: u64,
    },
    /// The client is its group's consumer now.
    Joined {
        /// Its generation, which commits name.
        generation: u64,
        /// The position that was committed last, if one was.
        committed: Option<u64>,
    },
    /// It is so now, or was already: the position is committed, the transaction begun, added to, committed or aborted.
    Done,
    /// The transaction is not open any more, and will not be committed.
    Aborted,
    /// A younger producer of the name has taken over.
    Fenced {
        /// Its epoch.
        epoch: u32,
    },
    /// The group has another consumer now: nothing was committed.
    Replaced {
        /// The generation of that one.
        generation: u64,
    },
    /// It could not be done.
    Refused {
        /// Whether the same request may succeed later.
        retriable: bool,
        /// Why not.
        reason: String,
    },
}
