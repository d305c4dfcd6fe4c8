//! `oncelog bench`: every axis of a workload is a flag, and a list of values measures each of them.

mod filled;
mod rows;
mod size;

use std::env;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use clap::Args;
use oncelog_load::{Acknowledge, Idempotence, Outcome, Progress, Repeats, Settings, Window, canonical, files, table};

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  oncelog bench
        the canonical workload: about 40 figures in two and a half minutes
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

    /// Write run.json, and for open loops .hlog and .hgrm, into this directory.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

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
    // Before minutes of measuring, not after them.
    if let Some(path) = &arguments.json {
        let open = OpenOptions::new().append(true).create(true).open(path);
        open.map_err(Failure::failed(format!("writing {}", path.display())))?;
    }
    if let Some(dir) = &arguments.out {
        std::fs::create_dir_all(dir).map_err(Failure::failed(format!("creating {}", dir.display())))?;
    }
    let outcome = oncelog_load::run(&rows, &settings, &mut Progress::shown())?;
    write(arguments, &outcome)?;
    print(&outcome, arguments.dir.as_deref());
    Ok(())
}

fn write(arguments: &Arguments, outcome: &Outcome) -> Result<(), Failure> {
    if let Some(path) = &arguments.json {
        files::write_json(path, &outcome.result).map_err(Failure::failed(format!("writing {}", path.display())))?;
    }
    if let Some(dir) = &arguments.out {
        files::write_all(dir, outcome).map_err(Failure::failed(format!("writing to {}", dir.display())))?;
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the table is what was asked for")]
fn print(outcome: &Outcome, dir: Option<&Path>) {
    print!("{}", table::render(&outcome.result));
    if let Some(dir) = dir {
        println!("the last repeats are a log in {}", dir.display());
    }
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
        command: env::args().collect::<Vec<_>>().join(" "),
    })
}
