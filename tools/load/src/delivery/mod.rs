//! What each delivery loses, doubles and reorders when things fail: measured, and compared with what the faults that
//! were injected must come to.
//!
//! | file | what it holds |
//! |---|---|
//! | `fault.rs` | faults, and whom they strike |
//! | `world.rs`, `world/` | a link on a clock of its own: what is under way, a client's end, when messages were sent |
//! | `host.rs`, `wire.rs` | the broker behind it, in this process or in one that is killed |
//! | `journal.rs`, `counts.rs` | what was injected, and what must come of it |
//! | `source.rs`, `sink.rs` | what is sent, and what is processed |
//! | `flow.rs` | pipelines, and what comes out of them |
//! | `cell.rs` | one delivery under one fault |
//! | `matrix.rs` | all of them, as a table |
//! | `cost.rs`, `cost/` | what each delivery costs, side by side |

mod cell;
pub(crate) mod cost;
mod counts;
mod fault;
mod flow;
mod host;
mod journal;
mod matrix;
mod sink;
mod source;
mod wire;
mod world;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

pub use self::cell::{Cell, Experiment, MESSAGES_MAX, RATE_MAX};
pub use self::counts::Counts;
pub use self::fault::Fault;
pub use self::host::{Place, open_log};
pub use self::matrix::{matrix, render, scratch};
pub use self::wire::serve;
use crate::workload::{Quoted, axis};

axis! {
    /// What is delivered how.
    Column, "delivery":
    /// Sent once; committed, then processed.
    AtMostOnce = "at-most-once",
    /// Sent until it is acknowledged; processed, then committed.
    AtLeastOnce = "at-least-once",
    /// Sent under sequences; the position is stored with the results.
    ExactlyOnce = "exactly-once",
    /// Consumed, transformed and produced: outputs and positions in one transaction.
    Transactional = "transactional"
}
