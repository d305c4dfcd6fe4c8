//! The operations, and how random ones are made.

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
};

/// Which sequence a producer's append carries, from the one that comes next.
#[derive(Clone, Copy, Debug)]
pub enum From {
    Next,
    /// So many before it: a retry, or an overlap if there are more records.
    Before(u8),
    After(u8),
}

#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    Filled,
    Refused,
    Panicked,
}

/// An operation. Numbers are taken modulo what there is; a payload is told by one byte.
#[derive(Clone, Debug)]
pub enum Op {
    Append {
        partition: u8,
        payload: u8,
    },
    AppendBatch {
        partition: u8,
        payloads: Vec<u8>,
    },
    Fill {
        partition: u8,
        payload: u8,
        outcome: Outcome,
    },
    /// By a session that was opened before, fenced since or not. What is sent again is what was stored, unless `other`.
    Session {
        session: u8,
        partition: u8,
        from: From,
        payloads: Vec<u8>,
        other: bool,
    },
    SessionFill {
        session: u8,
        partition: u8,
        from: From,
        payload: u8,
        outcome: Outcome,
    },
    /// Under an id that was given before, live or closed; the epoch is the present one, and so much.
    ById {
        id: u8,
        epoch: i8,
        partition: u8,
        from: From,
        payloads: Vec<u8>,
        other: bool,
    },
    OpenSession {
        name: u8,
    },
    Register {
        name: u8,
        restart: bool,
    },
    Close {
        name: u8,
    },
    Read {
        partition: u8,
        from: u8,
    },
    Reopen,
    Kill,
}

pub fn ops() -> impl Strategy<Value = Vec<Op>> {
    let from = || prop_oneof![5 => Just(From::Next), 4 => (1..90_u8).prop_map(From::Before), 1 => (1..4_u8).prop_map(From::After)];
    let outcome = || prop_oneof![4 => Just(Outcome::Filled), 1 => Just(Outcome::Refused), 1 => Just(Outcome::Panicked)];
    let payloads = || prop_oneof![3 => vec(any::<u8>(), 1), 2 => vec(any::<u8>(), 1..12)];
    let other = || prop_oneof![5 => Just(false), 1 => Just(true)];
    let epoch = prop_oneof![8 => Just(0), 1 => -2..0_i8, 1 => 1..3_i8];
    let op = prop_oneof![
        4 => (any::<u8>(), any::<u8>()).prop_map(|(partition, payload)| Op::Append { partition, payload }),
        3 => (any::<u8>(), payloads()).prop_map(|(partition, payloads)| Op::AppendBatch { partition, payloads }),
        2 => (any::<u8>(), any::<u8>(), outcome())
            .prop_map(|(partition, payload, outcome)| Op::Fill { partition, payload, outcome }),
        16 => (any::<u8>(), any::<u8>(), from(), payloads(), other())
            .prop_map(|(session, partition, from, payloads, other)| Op::Session { session, partition, from, payloads, other }),
        4 => (any::<u8>(), any::<u8>(), from(), any::<u8>(), outcome()).prop_map(
            |(session, partition, from, payload, outcome)| Op::SessionFill { session, partition, from, payload, outcome }
        ),
        16 => (any::<u8>(), epoch, any::<u8>(), from(), payloads(), other())
            .prop_map(|(id, epoch, partition, from, payloads, other)| Op::ById { id, epoch, partition, from, payloads, other }),
        3 => any::<u8>().prop_map(|name| Op::OpenSession { name }),
        3 => (any::<u8>(), other()).prop_map(|(name, restart)| Op::Register { name, restart }),
        1 => any::<u8>().prop_map(|name| Op::Close { name }),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(partition, from)| Op::Read { partition, from }),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
    ];
    vec(op, 1..150)
}

/// The bytes that a payload's number stands for: some empty, some of a few kilobytes.
pub fn bytes_of(payload: u8) -> Vec<u8> {
    vec![payload; usize::from(payload) * usize::from(payload) / 20]
}
