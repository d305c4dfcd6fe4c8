//! The `oncelog` command: one subcommand a file.

mod bench;
mod crash;
mod delivery;
mod failure;
mod inspect;
mod moment;
mod producers;
mod report;
mod results;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measure an oncelog log, and look after the producers of one.
#[derive(Parser)]
#[command(
    name = "oncelog",
    version,
    after_help = "Examples:\n  \
        oncelog bench --quick                    what idempotence costs, in half a minute\n  \
        oncelog bench --bytes 20GiB              what the device takes, and what the log takes of it\n  \
        oncelog bench --payload-file app.log     the same with your own records\n  \
        oncelog crash all                        crash logs on purpose, for two minutes\n  \
        oncelog inspect DIR frames --offset 7    what a log has stored, piece by piece\n  \
        oncelog delivery                         what is lost and doubled when things fail\n  \
        oncelog producers list DIR               who appended to a log, idle ones first\n  \
        oncelog soak --minutes 30                logs that live long, compared all along\n  \
        oncelog report DIR                       charts of a run, as one page that a browser opens\n  \
        oncelog verify DIR                       replay a log and compare it with itself\n\n\
        Exit status: 0 done, 1 failed, 2 asked for something impossible."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure what an append costs, with and without idempotence.
    Bench(Box<bench::Arguments>),
    /// Crash logs on purpose, and compare what is left with what was acknowledged.
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            oncelog crash all --seconds 240            each harness in turn\n  \
            oncelog crash pipeline --count 2000        consume, transform, produce, killed at random\n  \
            oncelog crash trace --count 2000           needs no root\n  \
            oncelog crash power --window direct        needs root, says so elsewhere\n  \
            oncelog crash kill --seed 4711 --count 50  goes on, or repeats a fault, by its seed"
    )]
    Crash(crash::Command),
    /// Look at a log's partitions, segments, frames and producers, without changing it.
    Inspect(inspect::Arguments),
    /// Show what each delivery loses and doubles when things fail, against what must come of the faults.
    Delivery(delivery::Arguments),
    /// List the producers of a log, or close the ones that are gone.
    #[command(subcommand)]
    Producers(producers::Command),
    /// Let two logs live long: append, retry, fence, read, trim, close, kill, reopen; and compare all along.
    Soak(crash::soak::Arguments),
    /// Draw runs as one page without a server, and as SVG files.
    Report(report::Arguments),
    /// Write the README and the history of a folder of runs anew.
    Results(results::Arguments),
    /// Replay a log and compare it with its seals, snapshots and tables, without changing it.
    Verify(verify::Arguments),
}

#[allow(clippy::print_stderr, reason = "the one place that reports failures")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Bench(arguments) => bench::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Crash(command) => crash::run(command).map(|()| ExitCode::SUCCESS),
        Command::Inspect(arguments) => inspect::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Delivery(arguments) => delivery::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Producers(command) => producers::run(command).map(|()| ExitCode::SUCCESS),
        Command::Soak(arguments) => crash::soak::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Report(arguments) => report::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Results(arguments) => results::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Verify(arguments) => verify::run(&arguments),
    };
    match done {
        Ok(status) => status,
        Err(failure) => {
            eprintln!("oncelog: {failure}");
            failure.status()
        }
    }
}
