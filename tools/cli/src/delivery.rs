//! `oncelog delivery`: what each delivery loses, doubles and reorders under each fault.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use oncelog::delivery::Broker;
use oncelog_load::delivery::{Cell, Column, Experiment, Fault, matrix, open_log, render, scratch, serve};
use oncelog_load::{LoadError, Payloads, Progress};
use serde::Serialize;

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  oncelog delivery
        every delivery under every fault, 10,000 messages a cell
  oncelog delivery --delivery at-least-once,exactly-once --fault ack-lost --rate 0.1
        two cells, and every tenth acknowledgement lost
  oncelog delivery --payload-file app.log --messages 100000
        the lines of a file as messages
  oncelog delivery --seed 7 --json cells.json
        another seed; the counts of a seed are the same each time, on every machine

What happens:
  A source sends numbered messages through a producer, over a link, to a broker that embeds a log; a
  consumer processes them. Faults strike requests by a hash of seed, request and attempt, and time is the
  link's own. From what the injector did, and from nothing else, it is foretold what must be lost, doubled
  and reordered. A cell fails if it counts anything else, or if nothing goes wrong where its fault calls
  for it.

Exit status: 0 every cell is as foretold, 1 one is not, 2 asked for something impossible.";

/// Arguments of `oncelog delivery`. Lists are separated by commas.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Deliveries, all unless given: at-most-once, at-least-once, exactly-once, transactional.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    delivery: Vec<Column>,

    /// Faults, all unless given: none, request-lost, ack-lost, ack-late, request-doubled, reordered,
    /// broker-killed-after-store, broker-killed-before-store, consumer-killed, zombie-producer.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    fault: Vec<Fault>,

    /// Messages of each cell.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    messages: u64,

    /// The share of requests that a fault strikes, above 0 and at most 0.5.
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    rate: f64,

    /// Decides which requests are struck.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Bytes of a message, beside its number.
    #[arg(long, value_name = "N", default_value_t = 100)]
    payload_bytes: usize,

    /// Send the lines of this file instead, again and again.
    #[arg(long, value_name = "FILE", conflicts_with = "payload_bytes")]
    payload_file: Option<PathBuf>,

    /// The process that is killed: a broker on the log in this directory.
    #[arg(long, hide = true, value_name = "DIR")]
    broker: Option<PathBuf>,

    /// Write the cells as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Matrix<'c> {
    cells: &'c [Cell],
}

/// The whole matrix as it is without arguments, but for the seed, written as JSON; what is wrong with which cells.
pub(crate) fn matrix_to(path: &Path, seed: u64, progress: &mut Progress) -> Result<Vec<String>, Failure> {
    const MESSAGES: u64 = 10_000;
    const RATE: f64 = 0.01;
    const PAYLOAD_BYTES: usize = 100;
    let experiment = experiment(MESSAGES, RATE, seed, Payloads::fixed(PAYLOAD_BYTES))?;
    let cells = matrix(&experiment, Column::ALL, Fault::ALL, progress)?;
    write(path, &Matrix { cells: &cells })?;
    Ok(wrong(&cells))
}

fn experiment(messages: u64, rate: f64, seed: u64, payloads: Payloads) -> Result<Experiment, Failure> {
    let program = env::current_exe().map_err(Failure::failed("finding this program"))?;
    let payloads = Arc::new(payloads);
    Ok(Experiment { messages, rate, seed, payloads, scratch: scratch(), program: Some(program) })
}

fn wrong(cells: &[Cell]) -> Vec<String> {
    cells.iter().filter_map(|cell| cell.check().err()).collect()
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(directory) = &arguments.broker {
        let log = open_log(directory)?;
        let served = serve(&mut Broker::new(&log), io::stdin().lock(), io::stdout().lock());
        return served.map_err(Failure::failed("serving"));
    }
    let payloads = match &arguments.payload_file {
        Some(path) => Payloads::lines_of(path).map_err(LoadError::Payload)?,
        None => Payloads::fixed(arguments.payload_bytes),
    };
    let experiment = experiment(arguments.messages, arguments.rate, arguments.seed, payloads)?;
    let columns = if arguments.delivery.is_empty() { Column::ALL } else { &arguments.delivery };
    let faults = if arguments.fault.is_empty() { Fault::ALL } else { &arguments.fault };
    let cells = matrix(&experiment, columns, faults, &mut Progress::shown())?;
    if let Some(path) = &arguments.json {
        write(path, &Matrix { cells: &cells })?;
    }
    tell(&experiment, &cells);
    let wrong = wrong(&cells);
    if wrong.is_empty() { Ok(()) } else { Err(Failure::Failed(wrong.join("\n"))) }
}

fn write(path: &Path, matrix: &Matrix<'_>) -> Result<(), Failure> {
    let what = || format!("writing {}", path.display());
    let text = serde_json::to_string_pretty(matrix).map_err(Failure::failed(what()))?;
    fs::write(path, text + "\n").map_err(Failure::failed(what()))
}

#[allow(clippy::print_stdout, reason = "the table is what was asked for")]
fn tell(experiment: &Experiment, cells: &[Cell]) {
    print!("{}", render(experiment, cells));
}
