//! Operations told by an input's bytes, on a log and on the oracle of `tests/oracle` at once.

use arbitrary::{Arbitrary, Result, Unstructured};

#[path = "../../../tests/logs/mod.rs"]
#[allow(clippy::undocumented_unsafe_blocks, missing_docs)]
pub(crate) mod logs;
#[path = "../../../tests/oracle/model.rs"]
#[allow(missing_docs)]
mod model;
#[path = "../../../tests/oracle/ops.rs"]
#[allow(missing_docs)]
mod ops;
#[path = "../../../tests/oracle/pair.rs"]
#[allow(missing_docs)]
mod pair;

use ops::{From, Op, Outcome};
use pair::Pair;

/// Most operations of one input.
const OPERATIONS_MAX: usize = 200;

fn from(input: &mut Unstructured<'_>) -> Result<From> {
    Ok(match input.int_in_range(0..=9_u8)? {
        0..=4 => From::Next,
        5..=8 => From::Before(input.int_in_range(1..=90)?),
        _ => From::After(input.int_in_range(1..=3)?),
    })
}

fn outcome(input: &mut Unstructured<'_>) -> Result<Outcome> {
    Ok(match input.int_in_range(0..=5_u8)? {
        0..=3 => Outcome::Filled,
        4 => Outcome::Refused,
        _ => Outcome::Panicked,
    })
}

fn payloads(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let count = if input.ratio(3, 5)? { 1 } else { input.int_in_range(1..=11)? };
    (0..count).map(|_| u8::arbitrary(input)).collect()
}

fn operation(input: &mut Unstructured<'_>) -> Result<Op> {
    let partition = u8::arbitrary(input)?;
    Ok(match input.int_in_range(0..=56_u8)? {
        0..=3 => Op::Append { partition, payload: u8::arbitrary(input)? },
        4..=6 => Op::AppendBatch { partition, payloads: payloads(input)? },
        7..=8 => Op::Fill { partition, payload: u8::arbitrary(input)?, outcome: outcome(input)? },
        9..=24 => Op::Session {
            session: u8::arbitrary(input)?,
            partition,
            from: from(input)?,
            payloads: payloads(input)?,
            other: input.ratio(1, 6)?,
        },
        25..=28 => Op::SessionFill {
            session: u8::arbitrary(input)?,
            partition,
            from: from(input)?,
            payload: u8::arbitrary(input)?,
            outcome: outcome(input)?,
        },
        29..=44 => Op::ById {
            id: u8::arbitrary(input)?,
            epoch: if input.ratio(4, 5)? { 0 } else { input.int_in_range(-2..=2)? },
            partition,
            from: from(input)?,
            payloads: payloads(input)?,
            other: input.ratio(1, 6)?,
        },
        45..=47 => Op::OpenSession { name: u8::arbitrary(input)? },
        48..=50 => Op::Register { name: u8::arbitrary(input)?, restart: input.ratio(1, 6)? },
        51 => Op::Close { name: u8::arbitrary(input)? },
        52..=53 => Op::Read { partition, from: u8::arbitrary(input)? },
        54 => Op::Reopen,
        55 => Op::Kill,
        _ => Op::Truncate { partition, from: u8::arbitrary(input)? },
    })
}

/// Runs what the input says; the oracle panics where the log is not as it should be.
pub(crate) fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let mut pair = Pair::new();
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() {
            break;
        }
        pair.run(&operation(input)?);
    }
    pair.check();
    Ok(())
}
