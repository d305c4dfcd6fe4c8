//! `oncelog-fuzz`: inputs without end for whatever reads files, answers appends, or comes back from a crash.
//!
//! | file | what it holds |
//! |---|---|
//! | `main.rs` | what to run, and for how long |
//! | `inputs.rs` | inputs: seeds, and what chance makes of them |
//! | `coverage.rs` | which code an input has reached, where the build counts it |
//! | `guard.rs` | no panic in any thread, no memory without bound, no end that never comes |
//! | `layout.rs`, `files.rs`, `edits.rs` | a log's files, edited so that checksums stay true |
//! | `damaged.rs` | such files, looked at and opened |
//! | `operations.rs` | operations on a log and on its oracle |
//! | `crashes.rs` | crashes that keep some sectors and lose others, and reopenings |

mod coverage;
mod crashes;
mod damaged;
mod edits;
mod entries;
mod files;
mod guard;
mod inputs;
mod layout;
mod operations;
mod transactions;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use arbitrary::Unstructured;
use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use self::coverage::Coverage;
use self::edits::{Edited, Scope};
use self::files::Files;
use self::guard::Guard;
use self::inputs::Inputs;
use self::operations::logs::directory_in_memory;

const EXAMPLES: &str = "\
Examples:
  cargo run --profile fuzz -p oncelog-fuzz -- --seconds 60                     each target for 9 s
  cargo run --profile fuzz -p oncelog-fuzz -- --target segment --seconds 3600 --seed 7
  cargo run --profile fuzz -p oncelog-fuzz -- --seconds 0                      the seeds alone
  cargo run --profile fuzz -p oncelog-fuzz -- --target crashes --input FILE    one input again

An input that fails is written to the directory of --faults, and its file named. Exit status: 0 nothing was
found, 1 something was, 2 asked for something impossible.";

/// What inputs are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Segments with any bytes.
    Segment,
    /// Snapshots with any bytes.
    Snapshot,
    /// A log's directory with any files.
    Directory,
    /// Records of the ledger: commits, offsets, generations.
    Record,
    /// Operations on a log and on an oracle.
    Operations,
    /// Crashes and reopenings in any order.
    Crashes,
    /// Transactions, their ends, crashes and reopenings in any order.
    Transactions,
}

/// Fuzz the log: damaged files, random operations, random crashes.
#[derive(Parser)]
#[command(name = "oncelog-fuzz", version, after_help = EXAMPLES)]
struct Arguments {
    /// What to fuzz; all targets unless given.
    #[arg(long, value_enum)]
    target: Vec<Target>,

    /// For how long, shared by the targets; the seeds are run in any case.
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    seconds: f64,

    /// Where chance begins.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Run this input alone.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// Write the damaged log that the input stands for to this directory, and run nothing.
    #[arg(long, value_name = "DIR", requires = "input")]
    write: Option<PathBuf>,

    /// Directory for inputs that fail.
    #[arg(long, value_name = "DIR", default_value = "target/fuzz")]
    faults: PathBuf,

    /// Keep inputs that reach new code in this directory too, where the build counts.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,

    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What became of a target.
#[derive(Serialize)]
struct Outcome {
    target: String,
    seeds: usize,
    runs: u64,
    seconds: f64,
    /// Places in the code that were reached; none where the build does not count.
    reached: Option<usize>,
    fault: Option<String>,
    input: Option<PathBuf>,
}

fn name(target: Target) -> String {
    target.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// The damaged log that an input stands for; none for the other targets, or where the input ends early.
fn damaged(target: Target, bases: &[Files], input: &mut Unstructured<'_>) -> Option<Edited> {
    let scope = match target {
        Target::Segment => Scope::Segments,
        Target::Snapshot => Scope::Snapshots,
        Target::Record => Scope::Records,
        Target::Directory => Scope::All,
        Target::Operations | Target::Crashes | Target::Transactions => return None,
    };
    // Only the last one has a ledger.
    let bases = if scope == Scope::Records { bases.last().map_or(&[][..], std::slice::from_ref) } else { bases };
    edits::edited(bases, scope, input).ok()
}

/// Runs one input.
fn run(target: Target, bases: &[Files], input: &[u8]) -> Result<(), String> {
    let mut input = Unstructured::new(input);
    match target {
        Target::Operations => return operations::run(&mut input).or(Ok(())),
        Target::Crashes => return crashes::run(&mut input).unwrap_or(Ok(())),
        Target::Transactions => return transactions::run(&mut input).unwrap_or(Ok(())),
        _ => {}
    }
    let Some(Edited { files, is_forged }) = damaged(target, bases, &mut input) else { return Ok(()) };
    let (directory, salvaged) = (directory_in_memory(), directory_in_memory());
    // Names that no file can have are no log's.
    if files::write(&files, directory.path()).is_err() {
        return Ok(());
    }
    damaged::look(directory.path(), salvaged.path(), is_forged)
}

fn fuzz(target: Target, arguments: &Arguments, seconds: f64, bases: &[Files]) -> Result<Outcome, String> {
    let io = |doing: &'static str| move |error: std::io::Error| format!("{doing}: {error}");
    fs::create_dir_all(&arguments.faults).map_err(io("making the directory for faults"))?;
    let name = name(target);
    let current = arguments.faults.join(format!("{name}-running"));
    let guard = Guard::new(&current);
    let mut coverage = Coverage::new();
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(&name);
    let mut inputs = Inputs::new(&seeds, arguments.seed).map_err(io("reading the seeds"))?;
    let mut outcome =
        Outcome { target: name, seeds: inputs.seeds(), runs: 0, seconds: 0.0, reached: None, fault: None, input: None };
    let bar = ProgressBar::new(seconds.ceil() as u64);
    if let Ok(style) = ProgressStyle::with_template("{prefix} [{wide_bar}] {pos}/{len} s {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(outcome.target.clone());
    let began = Instant::now();
    let limit = Duration::from_secs_f64(seconds);
    loop {
        let one = match &arguments.input {
            Some(path) => fs::read(path).map_err(io("reading the input"))?,
            None if outcome.runs < outcome.seeds as u64 => inputs.seed(outcome.runs as usize).to_vec(),
            None if began.elapsed() >= limit => break,
            None => inputs.next(),
        };
        if let Some(to) = &arguments.write {
            let files = damaged(target, bases, &mut Unstructured::new(&one));
            let Edited { files, .. } = files.ok_or("the input is none of a damaged log")?;
            files::write(&files, to).map_err(io("writing the log"))?;
            break;
        }
        let fault = guard.run(&one, |input| run(target, bases, input));
        outcome.runs += 1;
        if let Some(fault) = fault {
            let path = arguments.faults.join(format!("{}-{}-{}", outcome.target, arguments.seed, outcome.runs));
            fs::rename(&current, &path).map_err(io("keeping the input"))?;
            (outcome.fault, outcome.input) = (Some(fault), Some(path));
            break;
        }
        if coverage.is_news() {
            if let Some(keep) = arguments.keep.as_ref().filter(|_| outcome.runs > outcome.seeds as u64) {
                let directory = keep.join(&outcome.target);
                fs::create_dir_all(&directory).map_err(io("making the directory for inputs"))?;
                let path = directory.join(format!("{}-{}", arguments.seed, outcome.runs));
                fs::write(path, &one).map_err(io("keeping an input"))?;
            }
            inputs.add(one);
        }
        if arguments.input.is_some() {
            break;
        }
        bar.set_position(began.elapsed().as_secs());
        bar.set_message(format!("{} runs", outcome.runs));
    }
    bar.finish_and_clear();
    let _ = fs::remove_file(&current);
    outcome.seconds = began.elapsed().as_secs_f64();
    outcome.reached = coverage.counts().then(|| coverage.reached());
    Ok(outcome)
}

#[allow(clippy::print_stdout, reason = "what was found is what was asked for")]
fn tell(outcomes: &[Outcome], json: bool) -> Result<(), String> {
    if json {
        println!("{}", serde_json::to_string_pretty(outcomes).map_err(|error| error.to_string())?);
        return Ok(());
    }
    println!(
        "{:<11} {:>6} {:>9} {:>8} {:>7} {:>13}  fault",
        "target", "seeds", "runs", "seconds", "runs/s", "code reached"
    );
    for outcome in outcomes {
        println!(
            "{:<11} {:>6} {:>9} {:>8.1} {:>7.0} {:>13}  {}",
            outcome.target,
            outcome.seeds,
            outcome.runs,
            outcome.seconds,
            outcome.runs as f64 / outcome.seconds.max(1e-3),
            outcome.reached.map_or_else(|| "not counted".to_owned(), |reached| format!("{reached} places")),
            if outcome.fault.is_some() { "FOUND" } else { "none" }
        );
    }
    for (outcome, fault) in outcomes.iter().filter_map(|outcome| Some((outcome, outcome.fault.as_ref()?))) {
        let input = outcome.input.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        println!("\n{}: {fault}\nagain by: oncelog-fuzz --target {} --input {input}", outcome.target, outcome.target);
    }
    Ok(())
}

#[allow(clippy::print_stderr, reason = "the one place that reports failures")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let targets = match (arguments.target.as_slice(), &arguments.input) {
        ([], Some(_)) => {
            eprintln!("oncelog-fuzz: --input needs the --target that it is for");
            return ExitCode::from(2);
        }
        ([], None) => Target::value_variants().to_vec(),
        (given, _) => given.to_vec(),
    };
    if !arguments.seconds.is_finite() || !(0.0..=1e7).contains(&arguments.seconds) {
        eprintln!("oncelog-fuzz: --seconds {} is not between 0 and 10000000", arguments.seconds);
        return ExitCode::from(2);
    }
    let share = arguments.seconds / targets.len() as f64;
    let done = files::golden().map_err(|error| format!("the golden logs: {error}")).and_then(|bases| {
        let outcomes = targets.iter().map(|target| fuzz(*target, &arguments, share, &bases));
        let outcomes = outcomes.collect::<Result<Vec<_>, _>>()?;
        tell(&outcomes, arguments.json)?;
        Ok(outcomes.iter().all(|outcome| outcome.fault.is_none()))
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("oncelog-fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}
