//! One row: everyone appends the same, by turns, and the times are compared within each turn.

use std::path::Path;

use oncelog_load::{Payloads, Spread};
use serde::Serialize;

use crate::case::{Case, Level};
use crate::contender::{Contender, Failure, Name};

/// A block takes about this long.
const BLOCK_SECONDS: f64 = 0.08;
/// And has no more payload than this: memory for all blocks of all logs must be there.
const BLOCK_BYTES_MAX: u64 = 48 << 20;
/// Appends of each thread in the block that warms up and says how fast a log is.
const WARM_UP: u64 = 400;
/// The same where each of them waits for the device.
const WARM_UP_DURABLE: u64 = 40;

/// What one log has shown in one row.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// Which log.
    pub name: &'static str,
    /// Wall time through records of all threads.
    pub ns_per_record: Spread,
    /// Records of all threads.
    pub records_per_second: Spread,
    /// Times as long as this log's plain appends, turn by turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times_oncelog: Option<Spread>,
    /// No other log was faster.
    pub wins: bool,
    /// Its own count of records was asked for and agreed; absent where it cannot say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted: Option<bool>,
}

/// See the head of this file.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was appended.
    #[serde(flatten)]
    pub case: Case,
    /// Turns.
    pub repeats: usize,
    /// In the order of [`Name::ALL`]; who has no such level is absent.
    pub logs: Vec<Shown>,
}

/// A log in its row.
struct Entered {
    name: Name,
    log: Box<dyn Contender>,
    calls: u64,
    records: u64,
    ns_per_record: Vec<f64>,
}

impl Entered {
    fn block(&mut self, case: Case, ring: &[&[u8]], calls: u64) -> Result<f64, Failure> {
        let failed = |error: Failure| format!("{}: {error}", self.name.word());
        self.log.prepare(calls).map_err(failed)?;
        let seconds = self.log.block(ring, calls).map_err(failed)?;
        let records = calls * (case.threads * case.batch) as u64;
        self.records += records;
        Ok(seconds * 1e9 / records as f64)
    }
}

/// Measures one row; the logs are made in `dir` and gone afterwards.
pub fn measure(case: Case, names: &[Name], repeats: usize, dir: &Path) -> Result<Row, Failure> {
    let payloads = Payloads::fixed(case.payload_bytes);
    let ring = payloads.ring(case.batch);
    let mut scratches = Vec::new();
    let mut entered = Vec::new();
    for name in names {
        let scratch = tempfile::Builder::new().prefix(name.word()).tempdir_in(dir)?;
        if let Some(log) = name.open(case, scratch.path()).map_err(|error| format!("{}: {error}", name.word()))? {
            entered.push(Entered { name: *name, log, calls: 0, records: 0, ns_per_record: Vec::new() });
        }
        scratches.push(scratch);
    }
    for entered in &mut entered {
        let warm_up = if case.level == Level::Durable { WARM_UP_DURABLE } else { WARM_UP };
        let ns_per_record = entered.block(case, &ring, warm_up)?;
        let ns_per_round = ns_per_record * (case.batch * case.threads) as f64;
        let fit = BLOCK_BYTES_MAX / (case.bytes() * case.threads) as u64;
        entered.calls = ((BLOCK_SECONDS * 1e9 / ns_per_round) as u64).clamp(10, fit.max(10));
    }
    for repeat in 0..repeats {
        // Forth and back, so that what slows down over a repeat does not always hit the same log.
        let mut order: Vec<&mut Entered> = entered.iter_mut().collect();
        if repeat % 2 == 1 {
            order.reverse();
        }
        for entered in order {
            let ns = entered.block(case, &ring, entered.calls)?;
            entered.ns_per_record.push(ns);
        }
    }
    let own = entered.iter().find(|entered| entered.name == Name::Oncelog).map(|entered| entered.ns_per_record.clone());
    let mut logs = Vec::new();
    for entered in &mut entered {
        let times = &entered.ns_per_record;
        let (Some(ns_per_record), Some(records_per_second)) =
            (Spread::of(times.iter().copied()), Spread::of(times.iter().map(|ns| 1e9 / ns)))
        else {
            continue;
        };
        let counted = entered.log.records().map(|records| records == entered.records);
        if counted == Some(false) {
            return Err(format!("{}: it has not the {} records sent", entered.name.word(), entered.records).into());
        }
        let times_oncelog = own.as_ref().and_then(|own| Spread::of_ratios(times, own));
        let name = entered.name.word();
        logs.push(Shown { name, ns_per_record, records_per_second, times_oncelog, wins: false, counted });
    }
    let fastest = logs.iter().map(|log| log.ns_per_record.median).fold(f64::INFINITY, f64::min);
    for log in &mut logs {
        log.wins = log.ns_per_record.median <= fastest;
    }
    Ok(Row { case, repeats, logs })
}
