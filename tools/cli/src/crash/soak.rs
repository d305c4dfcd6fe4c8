//! `oncelog soak`: two logs, one of each window, that live long: appended to, retried, fenced, read, trimmed, closed, killed
//! and opened again, in an order that a seed gives; all of it compared along the way, memory and descriptors watched.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use oncelog::{Answer, FetchError, Log, Partition};
use serde::Serialize;

use super::check::check;
use super::child::Child;
use super::course::Dice;
use super::plan::{Idempotence, Plan, Side, Way, open, payload, written_by};
use super::writers::Hand;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  oncelog soak --minutes 30
  oncelog soak --minutes 0.5 --seed 7 --json | jq .turns
  oncelog soak --minutes 10 --dir /mnt/disk     logs there, kept if a fault is found

A turn is a stretch of appends, retries, fences and reads in this process, ended by a close, or one in a
process of its own, ended by SIGKILL; both logs are compared after each. Chance begins at the seed, and
threads add their own.

Exit status: 0 nothing was found, 1 something was, 2 asked for something impossible.";

/// Threads that append to each log: two of each way.
const WRITERS: u64 = 6;
/// Longest stretch in this process, and before a kill.
const STRETCH_MAX_MS: u64 = 1_500;
/// What memory may have grown by between the second quarter of a run and its last: the allocator's slack.
const GROWN_MAX_KIB: u64 = 24 << 10;
/// The same of descriptors.
const DESCRIPTORS_MAX: u64 = 4;
/// Turns without which a growth says nothing.
const TURNS_MIN: usize = 16;

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

/// What was done. Shared by all threads.
#[derive(Default)]
struct Counts {
    appended: AtomicU64,
    retried: AtomicU64,
    fenced: AtomicU64,
    given_up: AtomicU64,
    read: AtomicU64,
    overtaken: AtomicU64,
    flushed: AtomicU64,
}

impl Counts {
    fn one(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Serialize)]
struct Outcome {
    seed: u64,
    seconds: f64,
    turns: u64,
    kills: u64,
    closes: u64,
    records_appended: u64,
    retries: u64,
    fences: u64,
    frames_given_up: u64,
    records_read: u64,
    readers_overtaken: u64,
    flushes_waited_for: u64,
    memory_kib_second_quarter: Option<u64>,
    memory_kib_last_quarter: Option<u64>,
    descriptors_second_quarter: Option<u64>,
    descriptors_last_quarter: Option<u64>,
    fault: Option<String>,
}

/// Memory in KiB and open descriptors of this process.
fn held() -> Result<(u64, u64), String> {
    let status = fs::read_to_string("/proc/self/status").map_err(|error| format!("/proc/self/status: {error}"))?;
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let memory = anonymous.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    let descriptors = fs::read_dir("/proc/self/fd").map_err(|error| format!("/proc/self/fd: {error}"))?.count() as u64;
    Ok((memory.ok_or("/proc/self/status says nothing of memory")?, descriptors))
}

fn plan(dir: &Path, window: Side) -> Plan {
    Plan {
        dir: dir.join(window.label().split(' ').next().unwrap_or("log")),
        window,
        idempotence: Idempotence::Mixed,
        threads: WRITERS,
        seed: 0,
        retention: true,
        durable: window == Side::Direct,
        waits_every: 50,
        next: Vec::new(),
        observed: None,
    }
}

/// One writer's stretch: returns the number that comes next.
fn append(
    log: &Log,
    partition: &Partition,
    plan: &Plan,
    writer: u64,
    mut dice: Dice,
    stop: &AtomicBool,
    counts: &Counts,
) -> Result<u64, String> {
    let text = |error: oncelog::AppendError| error.to_string();
    let (mut hand, mut number) = Hand::new(log, partition, plan, writer)?;
    while !stop.load(Ordering::Relaxed) {
        let count = if dice.one_in(8) { 1 + dice.below(6) } else { 1 };
        let records: Vec<Vec<u8>> = (number..number + count).map(|number| payload(writer, number)).collect();
        let slices: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        if dice.one_in(60) {
            hand.give_up(partition, number).map_err(text)?;
            Counts::one(&counts.given_up);
        }
        let answer = hand.append(partition, number, &slices).map_err(text)?;
        let Answer::Appended { last, .. } = answer else {
            return Err(format!("number {number}, which comes next: {answer:?}"));
        };
        counts.appended.fetch_add(count, Ordering::Relaxed);
        number += count;
        if !hand.is_idempotent() {
            continue;
        }
        if dice.one_in(12) {
            let back = number.saturating_sub(1 + dice.below(400));
            let again = hand.append(partition, back, &[&payload(writer, back)]).map_err(text)?;
            if !matches!(again, Answer::Duplicate { .. } | Answer::DuplicateTrimmed) {
                return Err(format!("number {back} again, {number} comes next: {again:?}"));
            }
            Counts::one(&counts.retried);
        }
        if dice.one_in(3_000) {
            let (successor, next) = Hand::new(log, partition, plan, writer)?;
            if next != number {
                return Err(format!("its successor is told that {next} comes next, and {number} does"));
            }
            let late = hand.append(partition, number, &[&payload(writer, number)]).map_err(text)?;
            if !matches!(late, Answer::Fenced { .. }) {
                return Err(format!("number {number} behind a fence: {late:?}"));
            }
            hand = successor;
            Counts::one(&counts.fenced);
        }
        if dice.one_in(2_000) {
            let durable = partition.wait_durable(last, Duration::from_secs(60)).map_err(|error| error.to_string())?;
            if !durable {
                return Err(format!("offset {last} was not durable within a minute"));
            }
            Counts::one(&counts.flushed);
        }
    }
    Ok(number)
}

/// One reader's stretch: each record whole, and the next one of its writer.
fn read(partition: &Partition, stop: &AtomicBool, counts: &Counts) -> Result<(), String> {
    let mut reader = partition.read_from(partition.start_offset()).or_else(|_| partition.read_from_end());
    let mut next: [Option<u64>; WRITERS as usize] = [None; WRITERS as usize];
    let mut offset = 0;
    while !stop.load(Ordering::Relaxed) {
        let at = match &mut reader {
            Ok(at) => at,
            Err(error) => return Err(format!("no reader: {error}")),
        };
        match at.next() {
            Ok(Some(record)) => {
                let found = written_by(record.payload()).filter(|(writer, number)| {
                    *writer < WRITERS && record.payload() == payload(*writer, *number) && record.offset() >= offset
                });
                let Some((writer, number)) = found else {
                    return Err(format!("offset {}: not a record that was appended", record.offset()));
                };
                let expected = &mut next[writer as usize];
                if expected.is_some_and(|expected| expected != number) {
                    return Err(format!(
                        "offset {}: writer {writer} has number {number}, not {expected:?}",
                        record.offset()
                    ));
                }
                *expected = Some(number + 1);
                offset = record.offset() + 1;
                Counts::one(&counts.read);
            }
            Ok(None) => {
                at.wait(Duration::from_millis(5)).map_err(|error| error.to_string())?;
            }
            // Retention was faster.
            Err(FetchError::Trimmed { .. }) => {
                next = [None; WRITERS as usize];
                Counts::one(&counts.overtaken);
                reader = partition.read_from(partition.start_offset()).or_else(|_| partition.read_from_end());
            }
            Err(error) => return Err(format!("reading on from offset {offset}: {error}")),
        }
    }
    Ok(())
}

/// A stretch in this process, ended by a close, and what comes next by writer then.
fn live(plan: &Plan, dice: &mut Dice, counts: &Counts) -> Result<Vec<u64>, String> {
    let (log, partition) = open(&plan.dir, &plan.options())?;
    let stop = AtomicBool::new(false);
    let stretch = Duration::from_millis(50 + dice.below(STRETCH_MAX_MS));
    let next = thread::scope(|scope| {
        let (log, partition, stop) = (&log, &partition, &stop);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let dice = Dice::new(dice.roll());
                scope.spawn(move || {
                    let ended = append(log, partition, plan, writer, dice, stop, counts);
                    // One that has failed ends the stretch.
                    if ended.is_err() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    ended.map_err(|reason| format!("writer {writer}: {reason}"))
                })
            })
            .collect();
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(move || read(partition, stop, counts))).collect();
        let until = Instant::now() + stretch;
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
        let panicked = |_| "a thread panicked".to_owned();
        for reader in readers {
            reader.join().map_err(panicked)??;
        }
        writers.into_iter().map(|writer| writer.join().map_err(panicked)?).collect::<Result<Vec<u64>, String>>()
    })?;
    drop(partition);
    log.close().map_err(|error| format!("closing: {error}"))?;
    Ok(next)
}

/// A stretch in a process of its own, ended by a kill.
fn kill(plan: &Plan, dice: &mut Dice) -> Result<std::collections::BTreeMap<u64, u64>, String> {
    let plan = Plan { seed: dice.roll(), ..plan.clone() };
    let mut child = Child::start(&plan)?;
    child.wait("acknowledgement", |reports| !reports.acknowledged.is_empty())?;
    thread::sleep(Duration::from_millis(dice.below(STRETCH_MAX_MS)));
    child.still_runs()?;
    Ok(child.kill().acknowledged)
}

fn turn(plan: &mut Plan, dice: &mut Dice, counts: &Counts, outcome: &mut Outcome) -> Result<(), String> {
    let fault = |window: Side| move |reason: String| format!("{}: {reason}", window.label());
    let mut acknowledged = std::collections::BTreeMap::new();
    if dice.one_in(3) {
        acknowledged = kill(plan, dice).map_err(fault(plan.window))?;
        outcome.kills += 1;
    } else {
        let next = live(plan, dice, counts).map_err(fault(plan.window))?;
        // A close leaves nothing behind: as if all of it had been acknowledged.
        for (writer, next) in (0..).zip(next) {
            if plan.way(writer) != Way::Off && next > 0 {
                acknowledged.insert(writer, next - 1);
            }
        }
        outcome.closes += 1;
    }
    plan.next = check(&plan.dir, plan, &acknowledged, dice.one_in(2), dice).map_err(fault(plan.window))?;
    outcome.turns += 1;
    Ok(())
}

/// The middle one.
fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// Whether memory and descriptors are where they were.
fn judge(samples: &[(u64, u64)], outcome: &mut Outcome) {
    let quarter = samples.len() / 4;
    let of =
        |from: usize, to: usize, what: fn(&(u64, u64)) -> u64| median(samples[from..to].iter().map(what).collect());
    outcome.memory_kib_second_quarter = of(quarter, 2 * quarter, |sample| sample.0);
    outcome.memory_kib_last_quarter = of(3 * quarter, samples.len(), |sample| sample.0);
    outcome.descriptors_second_quarter = of(quarter, 2 * quarter, |sample| sample.1);
    outcome.descriptors_last_quarter = of(3 * quarter, samples.len(), |sample| sample.1);
    if samples.len() < TURNS_MIN || outcome.fault.is_some() {
        return;
    }
    let grown = |before: Option<u64>, after: Option<u64>| after.unwrap_or(0).saturating_sub(before.unwrap_or(0));
    let memory = grown(outcome.memory_kib_second_quarter, outcome.memory_kib_last_quarter);
    let descriptors = grown(outcome.descriptors_second_quarter, outcome.descriptors_last_quarter);
    if memory > GROWN_MAX_KIB {
        outcome.fault =
            Some(format!("memory has grown by {memory} KiB since the second quarter, {GROWN_MAX_KIB} allowed"));
    } else if descriptors > DESCRIPTORS_MAX {
        outcome.fault = Some(format!("{descriptors} descriptors more are open than in the second quarter"));
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if !(arguments.minutes > 0.0 && arguments.minutes <= 1e6) {
        return Err(Failure::Usage(format!("--minutes {} is not above 0 and at most 1000000", arguments.minutes)));
    }
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
    let mut plans = [Side::Mapped, Side::Direct].map(|window| plan(place.path(), window));
    let mut dice = Dice::new(arguments.seed);
    let counts = Counts::default();
    let mut outcome = Outcome {
        seed: arguments.seed,
        seconds: 0.0,
        turns: 0,
        kills: 0,
        closes: 0,
        records_appended: 0,
        retries: 0,
        fences: 0,
        frames_given_up: 0,
        records_read: 0,
        readers_overtaken: 0,
        flushes_waited_for: 0,
        memory_kib_second_quarter: None,
        memory_kib_last_quarter: None,
        descriptors_second_quarter: None,
        descriptors_last_quarter: None,
        fault: None,
    };
    let mut samples = Vec::new();
    let began = Instant::now();
    while began.elapsed() < limit && outcome.fault.is_none() {
        let which = dice.below(2) as usize;
        outcome.fault = turn(&mut plans[which], &mut dice, &counts, &mut outcome).err();
        samples.push(held().map_err(Failure::Failed)?);
        bar.set_position(began.elapsed().as_secs());
        bar.set_message(format!("{} turns", outcome.turns));
    }
    bar.finish_and_clear();
    outcome.seconds = began.elapsed().as_secs_f64();
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    outcome.records_appended = read(&counts.appended);
    outcome.retries = read(&counts.retried);
    outcome.fences = read(&counts.fenced);
    outcome.frames_given_up = read(&counts.given_up);
    outcome.records_read = read(&counts.read);
    outcome.readers_overtaken = read(&counts.overtaken);
    outcome.flushes_waited_for = read(&counts.flushed);
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

#[allow(clippy::print_stdout, reason = "what was done is what was asked for")]
fn tell(outcome: &Outcome, json: bool) -> Result<(), Failure> {
    if json {
        println!("{}", serde_json::to_string_pretty(outcome).map_err(Failure::failed("writing JSON"))?);
        return Ok(());
    }
    let known = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let rows = [
        ("turns", outcome.turns.to_string()),
        ("  ended by SIGKILL, and by a close", format!("{}, {}", outcome.kills, outcome.closes)),
        ("records appended in this process", outcome.records_appended.to_string()),
        ("retries recognised", outcome.retries.to_string()),
        ("fences", outcome.fences.to_string()),
        ("frames given up", outcome.frames_given_up.to_string()),
        ("records read, each compared", outcome.records_read.to_string()),
        ("readers that retention overtook", outcome.readers_overtaken.to_string()),
        ("flushes waited for", outcome.flushes_waited_for.to_string()),
        (
            "memory of its own, KiB, second and last quarter",
            format!("{}, {}", known(outcome.memory_kib_second_quarter), known(outcome.memory_kib_last_quarter)),
        ),
        (
            "open descriptors, second and last quarter",
            format!("{}, {}", known(outcome.descriptors_second_quarter), known(outcome.descriptors_last_quarter)),
        ),
    ];
    println!("soak, seed {}, {:.1} s", outcome.seed, outcome.seconds);
    for (what, value) in rows {
        println!("  {what:<52} {value:>24}");
    }
    if outcome.fault.is_none() {
        println!("  no fault");
    }
    Ok(())
}
