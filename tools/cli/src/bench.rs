//! `oncelog bench`: every axis of a workload is a flag, and a list of values measures each of them.

mod against;
mod filled;
mod mix;
mod record;
mod rows;
mod size;

use std::env;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use oncelog_load::{
    Acknowledge, Idempotence, Progress, Reading, Repeats, RunResult, Settings, Window, canonical, table,
};
use oncelog_report::Recorded;
use signal_hook::consts::{SIGINT, SIGTERM};

use self::record::Keeper;
use crate::delivery;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  oncelog bench
        the canonical workload: about 50 figures in three minutes
  oncelog bench --quick --json figures.json
        six closed loops and three open ones in half a minute
  oncelog bench --idempotence off,session,by-id --payload-bytes 64,256 --batch 1,10
        each combination of the lists
  oncelog bench --payload-file app.log --idempotence off,by-id --producers 1000
        the lines of a file as records
  oncelog bench --idempotence session --rate 100000 --seconds 10 --out histograms
        latency on a fixed schedule; percentile tables and an interval log in a directory
  oncelog bench --idempotence by-id --duplicates 0,0.01,0.5 --dir kept
        retries; the log of the last repeats stays in a directory
  oncelog bench --acknowledge durable --threads 1,16 --payload-bytes 128,4096
        each append waited for until it is on the device, beside a raw write of the same blocks
  oncelog bench --acknowledge durable --payload-bytes 1024 --pipelined
        bytes a second that become durable when only the last append is waited for
  oncelog bench --bytes 20GiB --window mapped,direct
        many more bytes than stay, second by second, beside the device's own stream
  oncelog bench --reopen-bytes 10GiB
        how long a large log takes to open after a kill, from a cold cache
  oncelog bench --sweep --idempotence off,by-id
        latency at rising rates, to the knee and to where the log no longer keeps up
  oncelog bench --readers 1 --rate 100000
        the time from the schedule until a reader that follows has the record
  oncelog bench --readers 1 --reading polling,blocking --loop closed
        the same back to back: what readers cost those who append, and how far they are behind
  oncelog bench --payload-mix 64:70,1024:29,16384:1 --idempotence by-id --producers 1024 --skew 1
        many small records and a few large ones, from producers some of which are busier than others
  oncelog bench --record
        the canonical workload, kept under results/ with the delivery matrix and a report
  oncelog bench --full --record
        every axis against every other, in twenty minutes
  oncelog bench --rows delivery,transaction
        some of the canonical workload's rows
  oncelog bench --against results/2026-11-23_intel-xeon-2_b4cec1d
        what became better or worse since then

What is measured:
  Closed loops give cost and throughput: whole blocks are timed, over at least 16 segments that stand
  ready, beside a bare loop (the limit) and the same append with idempotence off, by turns. Open loops
  (--rate) give latency against a schedule, beside the machine's own noise; in the direct window while
  another thread keeps the committer at work. Durable closed loops time each append until it is on the
  device. Each run is read back and compared with what was appended.";

/// Arguments of `oncelog bench`. Lists are separated by commas.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// How retries are recognised: off, session, by-id, mutex (a lock around a plain map, the naive way).
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    idempotence: Vec<Idempotence>,

    /// Bytes of a record.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    payload_bytes: Vec<usize>,

    /// Append the lines of this file instead, again and again.
    #[arg(long, value_name = "FILE", conflicts_with = "payload_bytes")]
    payload_file: Option<PathBuf>,

    /// Records of several sizes instead, each with its share: 64:70,1024:29,16384:1.
    #[arg(long, value_name = "SIZE:SHARE,..", conflicts_with_all = ["payload_bytes", "payload_file"], value_parser = mix::parse)]
    payload_mix: Option<mix::Mix>,

    /// Records of one append.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    batch: Vec<usize>,

    /// Threads that append; 1, and for a quick durable run 1 and 16, unless given.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    threads: Vec<usize>,

    /// Producers of all threads together, each thread going round its own in a shuffled order; one for each thread
    /// unless given.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    producers: Vec<usize>,

    /// Partitions, dealt out to the threads.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    partitions: Vec<usize>,

    /// How much more often some producers and partitions are taken than others: 0 for all alike, 1 for Zipf's law.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    skew: Vec<f64>,

    /// Readers that follow each partition while it is appended to: the time from the schedule to a reader's having it, or
    /// from sending with --loop closed. Each thread has a partition of its own.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    readers: Vec<usize>,

    /// What readers do at the end: polling, blocking (they sleep until the log wakes them).
    #[arg(long, value_delimiter = ',', value_name = "LIST", requires = "readers")]
    reading: Vec<Reading>,

    /// The share of appends that are a retry of the one before, from 0 to below 1.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    duplicates: Vec<f64>,

    /// What an append waits for: written, visible, durable.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    acknowledge: Vec<Acknowledge>,

    /// The memory that is written to: mapped, direct; mapped unless given, and direct where durable is acknowledged.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    window: Vec<Window>,

    /// Closed: each append as soon as the one before has returned. Open: on a schedule, 200000 a second unless
    /// --rate says otherwise.
    #[arg(long = "loop", value_name = "LOOP", value_parser = ["closed", "open"])]
    pace: Option<String>,

    /// Appends a second of an open loop, of all threads together.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    rate: Vec<f64>,

    /// An open loop faster and faster until the log no longer keeps up, from --rate on: where latency leaves the floor.
    #[arg(long)]
    sweep: bool,

    /// Of the canonical, quick or full workload only the rows with one of these in their names: append, durable, sweep,
    /// fetch, recover, transaction, delivery, by-id, 1024b, ...
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    rows: Vec<String>,

    /// Read what was appended instead, with each kind of check, from memory; --readers of them at once.
    #[arg(long, conflicts_with_all = ["rate", "pace", "sweep", "pipelined"])]
    scan: bool,

    /// Durable appends of which only the last is waited for: how many bytes a second become durable.
    #[arg(long, conflicts_with_all = ["rate", "pace"])]
    pipelined: bool,

    /// Append so many bytes, like 20GiB, to a log that keeps the newest of them: payloads of 1 KiB unless given.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    bytes: Option<u64>,

    /// What a log of --bytes keeps.
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "2GiB", requires = "bytes")]
    retention_bytes: u64,

    /// Remove the segments that retention drops, and make new ones, instead of using them again.
    #[arg(long, requires = "bytes")]
    no_recycle: bool,

    /// Fill a log of so many bytes, like 10GiB, kill its process, drop the caches, and open it.
    #[arg(long, value_name = "SIZE", value_parser = size::parse, conflicts_with = "bytes")]
    reopen_bytes: Option<u64>,

    /// The process that is killed.
    #[arg(long, hide = true, value_name = "DIR", requires = "reopen_bytes")]
    fill: Option<PathBuf>,

    /// Every axis against every other, instead of the canonical workload.
    #[arg(long, conflicts_with = "quick")]
    full: bool,

    /// Payloads of 100 B and 1 KiB with off, session and by-id, unless other flags say otherwise; fewer repeats.
    #[arg(long)]
    quick: bool,

    /// Time spent on each figure, once its least number of repeats is done.
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,

    /// Repeats of each figure, at least; each is a pair with the limit and with idempotence off.
    #[arg(long, value_name = "N")]
    repeats: Option<usize>,

    /// Bytes of a segment.
    #[arg(long, value_name = "BYTES")]
    segment_bytes: Option<u64>,

    /// Keep the last repeat of every figure as a partition of one log in this directory, which must be empty or absent.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Write the result as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write run.json, and the histograms as .hlog and .hgrm, into this directory, row by row.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Keep the run in a folder of its own among the results, with environment and report, and renew their README and
    /// history.
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = "results")]
    record: Option<PathBuf>,

    /// Say of each figure whether it is better or worse than in the run of this folder, or no difference was found.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,

    /// Decides the order of producers and which appends are retries.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some((dir, bytes)) = arguments.fill.as_ref().zip(arguments.reopen_bytes) {
        return filled::fill(dir, arguments, bytes);
    }
    let rows = rows::rows(arguments)?;
    let settings = settings(arguments)?;
    let before = arguments.against.as_deref().map(Recorded::read).transpose()?;
    let mut keeper = Keeper::new(arguments.out.as_deref(), arguments.json.as_deref(), arguments.record.as_deref())?;
    let stop = stopped_by_signals().map_err(Failure::failed("listening for signals"))?;
    let watch = &mut |outcome: &oncelog_load::Outcome| {
        keeper.keep(outcome)?;
        Ok(if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    let outcome = oncelog_load::run_watched(&rows, &settings, &mut Progress::shown(), watch)?;
    // What things cost stands beside what they are good for.
    let wrong = match keeper.recorded().filter(|_| rows::is_whole(arguments) && !outcome.result.interrupted) {
        Some(dir) => delivery::matrix_to(&dir.join("delivery.json"), arguments.seed, &mut Progress::shown())?,
        None => Vec::new(),
    };
    let recorded = keeper.finish()?;
    print(&outcome.result, arguments.dir.as_deref(), recorded.as_deref());
    if let Some(before) = &before {
        say(&against::told(before, &outcome.result)?);
    }
    if !wrong.is_empty() {
        return Err(Failure::Failed(wrong.join("\n")));
    }
    verdict(&outcome.result, rows.len())
}

/// The first signal ends the run behind its row, the second at once.
fn stopped_by_signals() -> std::io::Result<Arc<AtomicBool>> {
    const STATUS_OF_INTERRUPTED: i32 = 130;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the signal that sets the flag finds it unset.
        signal_hook::flag::register_conditional_shutdown(signal, STATUS_OF_INTERRUPTED, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// A run that is not whole, or not verified, is kept and printed, and is no success.
fn verdict(result: &RunResult, rows: usize) -> Result<(), Failure> {
    let unverified = result.figures.iter().filter(|figure| !figure.verified).count();
    if result.interrupted {
        return Err(Failure::Failed(format!("interrupted: not all of {rows} rows were measured")));
    }
    if unverified > 0 {
        return Err(Failure::Failed(format!("{unverified} figures are not verified: their notes say why")));
    }
    Ok(())
}

fn print(result: &RunResult, dir: Option<&Path>, recorded: Option<&Path>) {
    say(&table::render(result));
    if let Some(dir) = dir {
        say(&format!("the last repeats are a log in {}\n", dir.display()));
    }
    if let Some(dir) = recorded {
        say(&format!("recorded in {}\n", dir.display()));
    }
}

#[allow(clippy::print_stdout, reason = "the tables are what was asked for")]
fn say(text: &str) {
    print!("{text}");
}

fn settings(arguments: &Arguments) -> Result<Settings, Failure> {
    let usual = if arguments.quick { canonical::REPEATS_QUICK } else { canonical::REPEATS };
    let least = arguments.repeats.unwrap_or(usual.least);
    let seconds = arguments.seconds.unwrap_or(usual.seconds);
    if least == 0 {
        return Err(Failure::Usage("repeats is 0: at least 1 is needed".to_owned()));
    }
    if !(seconds > 0.0 && seconds <= 3600.0) {
        return Err(Failure::Usage(format!("seconds is {seconds}: it must be above 0 and at most 3600")));
    }
    let segment_bytes = arguments.segment_bytes;
    if let Some(bytes) = segment_bytes
        && !((64 << 10)..=(1 << 30)).contains(&bytes)
    {
        return Err(Failure::Usage(format!("segment bytes is {bytes}: it must be from 65536 to 1073741824")));
    }
    Ok(Settings {
        // More time than usual is used up by more repeats, not only by the usual most.
        repeats: Repeats { least, seconds, most: arguments.repeats.unwrap_or(1_000).max(usual.most) },
        segment_bytes,
        dir: arguments.dir.clone(),
        scratch: env::temp_dir(),
        seed: arguments.seed,
        command: oncelog_load::command_line(),
    })
}
