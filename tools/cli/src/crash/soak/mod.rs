//! `oncelog soak`: two logs, one of each window, that live long: appended to, retried, fenced, read, trimmed, closed, killed
//! and opened again, in an order that a seed gives, with transactions all along; all of it compared along the way, memory
//! and descriptors watched.

mod live;
mod outcome;

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use oncelog::{Audit, Verdict};

use self::live::live;
use self::outcome::{Counts, Outcome, held, judge, tell, with_one_heap};
use super::check::check;
use super::child::{Child, Reports};
use super::course::Dice;
use super::known;
use super::pairs::{self, Known, TRANSACTORS};
use super::plan::{Idempotence, Plan, Side, Way};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  oncelog soak --minutes 30
  oncelog soak --minutes 0.5 --seed 7 --json | jq .turns
  oncelog soak --minutes 10 --dir /mnt/disk     logs there, kept if a fault is found

A turn is a stretch of appends, retries, fences, transactions and reads in this process, ended by a
close, or one in a process of its own, ended by SIGKILL. After each the log is compared with what was
acknowledged, and now and then audited as `oncelog verify` does. Chance begins at the seed, and threads
add their own.

Exit status: 0 nothing was found, 1 something was, 2 asked for something impossible.";

/// Threads that append to each log: two of each way.
const WRITERS: u64 = 6;
/// Longest stretch in this process, and before a kill.
const STRETCH_MAX_MS: u64 = 1_500;

/// Arguments of `oncelog soak`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// For how long.
    #[arg(long, value_name = "N", default_value_t = 30.0)]
    minutes: f64,

    /// Where chance begins.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Directory for the logs: one that is there. A temporary one unless given.
    #[arg(long, value_name = "DIR")]
    dir: Option<std::path::PathBuf>,

    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

fn plan(dir: &Path, window: Side) -> Plan {
    Plan {
        dir: dir.join(window.label().split(' ').next().unwrap_or("log")),
        window,
        idempotence: Idempotence::Mixed,
        threads: WRITERS,
        transactors: TRANSACTORS,
        seed: 0,
        retention: true,
        truncates: false,
        durable: window == Side::Direct,
        waits_every: 50,
        next: Vec::new(),
        observed: None,
    }
}

/// A stretch in a process of its own, ended by a kill.
fn kill(plan: &Plan, dice: &mut Dice) -> Result<Reports, String> {
    let plan = Plan { seed: dice.roll(), ..plan.clone() };
    let mut child = Child::start(&plan, known::Known::default())?;
    child.wait("acknowledgement", |reports| !reports.acknowledged.is_empty())?;
    thread::sleep(Duration::from_millis(dice.below(STRETCH_MAX_MS)));
    child.still_runs()?;
    Ok(child.kill())
}

/// Audits a log that nobody has open. One that was killed may have a torn end.
fn audit(directory: &Path, worst: Verdict) -> Result<(), String> {
    let audit = Audit::run(directory, None, |_| {}).map_err(|error| format!("auditing: {error}"))?;
    if audit.verdict <= worst {
        return Ok(());
    }
    let findings = audit.findings.iter().filter(|finding| finding.verdict > worst);
    Err(format!("auditing: {}", findings.map(ToString::to_string).collect::<Vec<_>>().join("; ")))
}

/// What is carried from turn to turn of one log.
struct Soaked {
    plan: Plan,
    /// By transactor, the number that comes next.
    pairs: Vec<u64>,
}

fn turn(soaked: &mut Soaked, dice: &mut Dice, counts: &Counts, outcome: &mut Outcome) -> Result<(), String> {
    let Soaked { plan, pairs } = soaked;
    let (acknowledged, records, exactly) = if dice.one_in(3) {
        let reports = kill(plan, dice)?;
        outcome.kills += 1;
        (reports.acknowledged, reports.known, None)
    } else {
        let nexts = live(plan, dice, counts)?;
        // A close leaves nothing behind: as if all of it had been acknowledged.
        let idempotent = (0..).zip(nexts.writers).filter(|(writer, next)| plan.way(*writer) != Way::Off && *next > 0);
        let acknowledged: BTreeMap<u64, u64> = idempotent.map(|(writer, next)| (writer, next - 1)).collect();
        outcome.closes += 1;
        let records = known::Known::at_least(&acknowledged);
        (acknowledged, records, Some(nexts.pairs))
    };
    if dice.one_in(4) {
        audit(&plan.dir, if exactly.is_some() { Verdict::Clean } else { Verdict::TornTail })?;
        outcome.audits += 1;
    }
    // Which of the two opens first, and recovers, is chance.
    let pairs_first = dice.one_in(2);
    let known = exactly.as_deref().map_or(Known::AtLeast(&acknowledged, pairs), Known::Exactly);
    let before = if pairs_first { Some(pairs::check(&plan.dir, plan, &known)?) } else { None };
    plan.next = check(&plan.dir, plan, &records, dice.one_in(2), dice)?.next;
    *pairs = match before {
        Some(found) => found,
        None => pairs::check(&plan.dir, plan, &known)?,
    };
    if dice.one_in(4) {
        audit(&plan.dir, Verdict::Clean)?;
        outcome.audits += 1;
    }
    outcome.turns += 1;
    Ok(())
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if !(arguments.minutes > 0.0 && arguments.minutes <= 1e6) {
        return Err(Failure::Usage(format!("--minutes {} is not above 0 and at most 1000000", arguments.minutes)));
    }
    with_one_heap();
    let place = match &arguments.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let place = place.map_err(Failure::failed("a directory for the logs"))?;
    let limit = Duration::from_secs_f64(arguments.minutes * 60.0);
    let bar = ProgressBar::new(limit.as_secs());
    if let Ok(style) = ProgressStyle::with_template("soak [{wide_bar}] {pos}/{len} s {msg}") {
        bar.set_style(style);
    }
    let mut logs =
        [Side::Mapped, Side::Direct].map(|window| Soaked { plan: plan(place.path(), window), pairs: Vec::new() });
    let mut dice = Dice::new(arguments.seed);
    let counts = Counts::default();
    let mut outcome = Outcome { seed: arguments.seed, ..Outcome::default() };
    let mut samples = Vec::new();
    let began = Instant::now();
    while began.elapsed() < limit && outcome.fault.is_none() {
        let log = &mut logs[dice.below(2) as usize];
        let window = log.plan.window.label();
        let done = turn(log, &mut dice, &counts, &mut outcome);
        outcome.fault = done.err().map(|reason| format!("{window}: {reason}"));
        samples.push(held().map_err(Failure::Failed)?);
        bar.set_position(began.elapsed().as_secs());
        bar.set_message(format!("{} turns", outcome.turns));
    }
    bar.finish_and_clear();
    outcome.seconds = began.elapsed().as_secs_f64();
    outcome.take(&counts);
    judge(&samples, &mut outcome);
    tell(&outcome, arguments.json)?;
    match &outcome.fault {
        None => Ok(()),
        Some(fault) => {
            let kept = place.keep();
            Err(Failure::Failed(format!("{fault}; seed {}, the logs are in {}", arguments.seed, kept.display())))
        }
    }
}
