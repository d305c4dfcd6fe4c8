//! What harnesses are asked for: windows, who appends, what else is done to the log.

use std::path::Path;

use clap::{Args, ValueEnum};

use super::course::Bounds;
use super::plan::{Idempotence, Plan, Side};

/// Arguments of the harnesses that kill who appends, and fill up his disk.
#[derive(Args, Clone, Debug)]
pub(crate) struct Appending {
    #[command(flatten)]
    pub(super) bounds: Bounds,

    #[command(flatten)]
    pub(super) load: Load,
}

/// Arguments of the harnesses that cut the power.
#[derive(Args, Clone, Debug)]
pub(crate) struct Cutting {
    #[command(flatten)]
    pub(super) bounds: Bounds,

    #[command(flatten)]
    pub(super) load: Load,

    /// Flush nothing: shows that the harness finds it.
    #[arg(long, hide = true)]
    pub(super) without_flush: bool,
}

/// Arguments of the harnesses of transactions.
#[derive(Args, Clone, Debug)]
pub(crate) struct Transacting {
    #[command(flatten)]
    pub(super) bounds: Bounds,

    /// The memory that is written to.
    #[arg(long, value_enum, default_value_t = Windows::Both)]
    pub(super) window: Windows,
}

/// What is done while it crashes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Load {
    /// The memory that is written to.
    #[arg(long, value_enum, default_value_t = Windows::Both)]
    pub(super) window: Windows,

    /// How retries are recognised; mixed has writers of each kind.
    #[arg(long, value_enum, default_value_t = Idempotence::Mixed)]
    idempotence: Idempotence,

    /// Threads that append, each with records of its own.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,

    /// Whether the partition is truncated, purged and reset, and its metadata set, while they append.
    #[arg(long, value_enum, default_value_t = Truncation::Mixed)]
    truncation: Truncation,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Windows {
    Mapped,
    Direct,
    Both,
}

impl Windows {
    /// The one of a log; of both, they take turns.
    pub(super) const fn side(self, seed: u64) -> Side {
        match self {
            Self::Mapped => Side::Mapped,
            Self::Direct => Side::Direct,
            Self::Both if seed.is_multiple_of(2) => Side::Mapped,
            Self::Both => Side::Direct,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Truncation {
    /// No log.
    Off,
    /// Every log.
    On,
    /// Half of the logs, eight by eight.
    Mixed,
}

impl Load {
    /// The plan of one log. Acknowledged is what survives a kill, unless `durable` asks for what survives a power cut.
    pub(super) fn plan(&self, dir: &Path, seed: u64, durable: bool) -> Plan {
        let window = self.window.side(seed);
        Plan {
            dir: dir.to_owned(),
            window,
            idempotence: self.idempotence,
            threads: self.threads,
            transactors: 0,
            seed,
            retention: (seed / 2).is_multiple_of(2),
            truncates: match self.truncation {
                Truncation::Off => false,
                Truncation::On => true,
                Truncation::Mixed => !(seed / 8).is_multiple_of(2),
            },
            durable: durable || window == Side::Direct,
            // Few flushes leave much to lose, over several segments; many leave many marks.
            waits_every: if (seed / 4).is_multiple_of(2) { 8 } else { 200 },
            next: Vec::new(),
            observed: None,
        }
    }
}
