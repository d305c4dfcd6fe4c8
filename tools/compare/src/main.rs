//! `oncelog-compare`: the same appends to oncelog and to other logs, by turns.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command prints its results")]

mod case;
mod contender;
mod kafka_like;
mod mutex_writer;
mod oncelog_itself;
mod raft_store;
mod rivals;
mod row;
mod table;

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::case::{Case, Level};
use crate::contender::{Failure, Name};

const PAYLOAD_BYTES_MAX: usize = 64 << 10;
const BATCH_MAX: usize = 1_000;
const THREADS_MAX: usize = 256;

/// Compare oncelog with other logs: the same appends, by turns
#[derive(Parser)]
#[command(after_help = "Examples:
  oncelog-compare                                             all rows, about five minutes
  oncelog-compare --level durable --threads 16 --batch 1      16 blocking producers
  oncelog-compare --logs oncelog,commitl --repeats 15         two of them, more often
  oncelog-compare --logs oncelog,raft-s,raft-e,raft-l         the logs of Raft groups
  oncelog-compare --json compare.json                         for scripts")]
struct Arguments {
    /// What an append waits for
    #[arg(long, value_delimiter = ',', default_values = ["not-synced", "durable"])]
    level: Vec<Level>,

    /// Bytes of a record
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1024])]
    payload_bytes: Vec<usize>,

    /// Records of one append
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100])]
    batch: Vec<usize>,

    /// Threads that append
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    threads: Vec<usize>,

    /// Who takes part: oncelog, session, kafka, mutex, commitl, walrus, walr-m, okaywal, raft-s, raft-e, raft-l; all
    /// unless given
    #[arg(long, value_delimiter = ',', value_parser = name)]
    logs: Vec<Name>,

    /// Turns of each row, at least five
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(5..=1_000))]
    repeats: u64,

    /// Write the figures to this file too
    #[arg(long)]
    json: Option<PathBuf>,

    /// Where the logs are made, on the device to be measured; gone afterwards
    #[arg(long, default_value = "target")]
    dir: PathBuf,
}

fn name(word: &str) -> Result<Name, String> {
    let known = || Name::ALL.map(Name::word).join(", ");
    Name::ALL.into_iter().find(|name| name.word() == word).ok_or_else(|| format!("one of {} is needed", known()))
}

#[derive(Serialize)]
struct Results<'a> {
    schema_version: u32,
    settings: Vec<(&'static str, &'static str)>,
    rows: &'a [row::Row],
}

fn cases(arguments: &Arguments) -> Result<Vec<Case>, Failure> {
    let within = |axis: &str, values: &[usize], least: usize, most: usize| -> Result<(), Failure> {
        match values.iter().find(|value| !(least..=most).contains(value)) {
            Some(value) => Err(format!("{axis} {value}: {least} to {most} is possible").into()),
            None => Ok(()),
        }
    };
    // Eight bytes of a record are the index that raft-engine asks of it.
    within("--payload-bytes", &arguments.payload_bytes, 8, PAYLOAD_BYTES_MAX)?;
    within("--batch", &arguments.batch, 1, BATCH_MAX)?;
    within("--threads", &arguments.threads, 1, THREADS_MAX)?;
    let mut cases = Vec::new();
    for level in &arguments.level {
        for payload_bytes in &arguments.payload_bytes {
            for batch in &arguments.batch {
                for threads in &arguments.threads {
                    let [payload_bytes, batch, threads] = [*payload_bytes, *batch, *threads];
                    cases.push(Case { level: *level, payload_bytes, batch, threads });
                }
            }
        }
    }
    Ok(cases)
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let cases = cases(arguments)?;
    let names: Vec<Name> =
        Name::ALL.into_iter().filter(|name| arguments.logs.is_empty() || arguments.logs.contains(name)).collect();
    fs::create_dir_all(&arguments.dir)?;
    let scratch = tempfile::Builder::new().prefix(".oncelog-compare-").tempdir_in(&arguments.dir)?;
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("WALRUS_DATA_DIR", scratch.path()) };
    // SAFETY: as above.
    unsafe { std::env::set_var("WALRUS_QUIET", "1") };
    let bar = ProgressBar::new(cases.len() as u64);
    bar.set_style(ProgressStyle::with_template("{spinner} [{pos}/{len}] {elapsed} {wide_msg}")?);
    let mut rows = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let what = format!("{}, {case}", case.level);
        if bar.is_hidden() {
            eprintln!("[{}/{}] {what}", number + 1, cases.len());
        }
        bar.set_position(number as u64);
        bar.set_message(what);
        let dir = tempfile::tempdir_in(scratch.path())?;
        rows.push(row::measure(*case, &names, usize::try_from(arguments.repeats)?, dir.path())?);
    }
    bar.finish_and_clear();
    print!("{}", table::render(&rows, &names, io::stdout().is_terminal()));
    if let Some(path) = &arguments.json {
        let settings = names.iter().map(|name| (name.word(), name.settings())).collect();
        let mut file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::to_writer_pretty(&mut file, &Results { schema_version: 1, settings, rows: &rows })?;
        file.write_all(b"\n")?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oncelog-compare: {error}");
            ExitCode::FAILURE
        }
    }
}
