//! How random operations are made.

use super::ops::{From, Op, Outcome};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
};

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
        1 => (any::<u8>(), any::<u8>()).prop_map(|(partition, from)| Op::Truncate { partition, from }),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
    ];
    vec(op, 1..150)
}
