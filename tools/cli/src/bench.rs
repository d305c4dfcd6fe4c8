//! `oncelog bench`: every axis of a workload is a flag, and a list of values measures each of them.

mod filled;
mod size;

use std::env;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use oncelog_load::{
    Acknowledge, Idempotence, LoadError, Outcome, Pace, Payloads, Progress, Reopen, Repeats, Row, Settings, Sustained,
    Window, Workload, canonical, files, table,
};

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  oncelog bench
        the canonical workload: about 30 figures in two minutes
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
    let rows = rows(arguments)?;
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

/// The rows of the flags: the canonical ones without any, else every combination.
fn rows(arguments: &Arguments) -> Result<Vec<Row>, Failure> {
    let axes = !(arguments.idempotence.is_empty()
        && arguments.payload_bytes.is_empty()
        && arguments.payload_file.is_none()
        && arguments.batch.is_empty()
        && arguments.threads.is_empty()
        && arguments.producers.is_empty()
        && arguments.partitions.is_empty()
        && arguments.duplicates.is_empty()
        && arguments.acknowledge.is_empty()
        && arguments.window.is_empty()
        && arguments.rate.is_empty()
        && arguments.pace.is_none()
        && !arguments.pipelined);
    if let Some(bytes) = arguments.bytes {
        return sustained(arguments, bytes);
    }
    if let Some(bytes) = arguments.reopen_bytes {
        return reopened(arguments, bytes);
    }
    match (axes, arguments.quick) {
        (false, false) => Ok(canonical::rows()),
        (false, true) => Ok(canonical::quick_rows()),
        (true, _) => combinations(arguments),
    }
}

/// Refuses flags that a row of its own kind has no use for.
fn without(arguments: &Arguments, flag: &str) -> Result<(), Failure> {
    let given = [
        ("--idempotence", arguments.idempotence.iter().any(|idempotence| *idempotence != Idempotence::Off)),
        ("--payload-file", arguments.payload_file.is_some()),
        ("--batch", !arguments.batch.is_empty()),
        ("--threads", !arguments.threads.is_empty()),
        ("--producers", !arguments.producers.is_empty()),
        ("--partitions", !arguments.partitions.is_empty()),
        ("--duplicates", !arguments.duplicates.is_empty()),
        ("--acknowledge", !arguments.acknowledge.is_empty()),
        ("--rate", !arguments.rate.is_empty()),
        ("--loop", arguments.pace.is_some()),
        ("--pipelined", arguments.pipelined),
        ("--quick", arguments.quick),
        ("--dir", arguments.dir.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((other, _)) => Err(Failure::Usage(format!("{flag} is a run of its own: leave out {other}"))),
        None => Ok(()),
    }
}

/// Workloads of one thread without idempotence, by payload and window.
fn plain(arguments: &Arguments, windows: &[Window]) -> Result<Vec<Workload>, Failure> {
    let sizes = or(&arguments.payload_bytes, &[1024]);
    let payloads = sizes.iter().map(|bytes| fixed(*bytes)).collect::<Result<Vec<_>, _>>()?;
    let workloads: Vec<Workload> = payloads.into_iter().map(|payloads| Workload::new(Arc::new(payloads))).collect();
    Ok(each(&workloads, &or(&arguments.window, windows), |workload, window| workload.window = window))
}

fn sustained(arguments: &Arguments, bytes: u64) -> Result<Vec<Row>, Failure> {
    without(arguments, "--bytes")?;
    let least = arguments.segment_bytes.unwrap_or(64 << 20) * 2;
    if arguments.retention_bytes < least {
        return Err(Failure::Usage(format!(
            "retention bytes is {}: at least two segments, which are {least}",
            arguments.retention_bytes
        )));
    }
    let sustained = Sustained { bytes, retention_bytes: arguments.retention_bytes, recycle: !arguments.no_recycle };
    let row = |workload| Row::Sustained(workload, sustained);
    Ok(plain(arguments, &[Window::Direct, Window::Mapped])?.into_iter().map(row).collect())
}

fn reopened(arguments: &Arguments, bytes: u64) -> Result<Vec<Row>, Failure> {
    without(arguments, "--reopen-bytes")?;
    let reopen = Reopen { bytes, fill_and_kill: filled::fill_and_kill };
    Ok(plain(arguments, &[Window::Direct])?.into_iter().map(|workload| Row::Reopen(workload, reopen)).collect())
}

fn combinations(arguments: &Arguments) -> Result<Vec<Row>, Failure> {
    let durable = arguments.acknowledge.contains(&Acknowledge::Durable) || arguments.pipelined;
    let threads: &[usize] = if durable && arguments.quick { &[1, 16] } else { &[1] };
    let window = if durable { Window::Direct } else { Window::Mapped };
    let level = if arguments.pipelined { Acknowledge::Durable } else { Acknowledge::Written };
    let idempotences = or(&arguments.idempotence, &[Idempotence::Off, Idempotence::Session, Idempotence::ById]);
    let mut workloads: Vec<Workload> =
        payloads(arguments)?.into_iter().map(|payloads| Workload::new(Arc::new(payloads))).collect();
    workloads = each(&workloads, &or(&arguments.batch, &[1]), |workload, batch| workload.batch = batch);
    workloads = each(&workloads, &or(&arguments.threads, threads), |workload, threads| workload.threads = threads);
    workloads =
        each(&workloads, &or(&arguments.partitions, &[1]), |workload, partitions| workload.partitions = partitions);
    workloads = each(&workloads, &or(&arguments.acknowledge, &[level]), |workload, level| {
        workload.acknowledge = level;
    });
    workloads = each(&workloads, &or(&arguments.window, &[window]), |workload, window| workload.window = window);
    workloads = each(&workloads, &paces(arguments)?, |workload, pace| workload.pace = pace);
    workloads = each(&workloads, &idempotences, |workload, idempotence| workload.idempotence = idempotence);
    let producers: Vec<Option<usize>> = or(&arguments.producers.iter().copied().map(Some).collect::<Vec<_>>(), &[None]);
    workloads =
        each(&workloads, &producers, |workload, producers| workload.producers = producers.unwrap_or(workload.threads));
    workloads = each(&workloads, &or(&arguments.duplicates, &[0.0]), |workload, share| workload.duplicates = share);
    // Off has no producers and recognises no retry; beside the others it is measured once, as what they are compared with.
    if idempotences.len() > 1 {
        for workload in &mut workloads {
            if workload.idempotence == Idempotence::Off {
                *workload = workload.without_idempotence();
            }
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    for workload in workloads {
        workload.check().map_err(LoadError::from)?;
        if arguments.pipelined && workload.acknowledge != Acknowledge::Durable {
            return Err(Failure::Usage(format!("a pipeline ends when it is durable, not {}", workload.acknowledge)));
        }
        let row = if arguments.pipelined { Row::Pipelined(workload) } else { Row::Append(workload) };
        if rows.iter().all(|other| other.label() != row.label()) {
            rows.push(row);
        }
    }
    Ok(rows)
}

fn payloads(arguments: &Arguments) -> Result<Vec<Payloads>, Failure> {
    if let Some(path) = &arguments.payload_file {
        return Ok(vec![Payloads::lines_of(path).map_err(LoadError::from)?]);
    }
    let usual: &[usize] = if arguments.quick { &[100, 1024] } else { &[100] };
    let sizes = or(&arguments.payload_bytes, usual);
    sizes.into_iter().map(fixed).collect()
}

fn fixed(bytes: usize) -> Result<Payloads, Failure> {
    let limit = oncelog::format::FRAME_BYTES_MAX;
    if bytes > limit {
        return Err(Failure::Usage(format!("payload bytes is {bytes}: the limit is {limit}")));
    }
    Ok(Payloads::fixed(bytes))
}

fn paces(arguments: &Arguments) -> Result<Vec<Pace>, Failure> {
    match (arguments.pace.as_deref(), arguments.rate.as_slice()) {
        (Some("closed"), [rate, ..]) => Err(Failure::Usage(format!(
            "a rate of {rate} a second is a schedule: a closed loop has none, leave out one of the two"
        ))),
        (Some("open"), []) => Ok(vec![Pace::Open { rate_per_second: canonical::RATE_PER_SECOND }]),
        (_, []) => Ok(vec![Pace::Closed]),
        (_, rates) => Ok(rates.iter().map(|rate| Pace::Open { rate_per_second: *rate }).collect()),
    }
}

fn or<T: Clone>(given: &[T], usual: &[T]) -> Vec<T> {
    if given.is_empty() { usual.to_vec() } else { given.to_vec() }
}

/// Every workload with every value of one more axis.
fn each<T: Copy>(workloads: &[Workload], values: &[T], set: impl Fn(&mut Workload, T)) -> Vec<Workload> {
    let with = |workload: &Workload, value: &T| {
        let mut workload = workload.clone();
        set(&mut workload, *value);
        workload
    };
    workloads.iter().flat_map(|workload| values.iter().map(move |value| with(workload, value))).collect()
}
