//! The `oncelog` command: one subcommand a file.

mod bench;
mod crash;
mod failure;
mod producers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measure an oncelog log, and look after the producers of one.
#[derive(Parser)]
#[command(
    name = "oncelog",
    version,
    after_help = "Examples:\n  \
        oncelog bench --quick                    what idempotence costs, in half a minute\n  \
        oncelog bench --payload-file app.log     the same with your own records\n  \
        oncelog producers list DIR               who appended to a log, idle ones first\n\n\
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
    #[command(subcommand)]
    Crash(crash::Command),
    /// List the producers of a log, or close the ones that are gone.
    #[command(subcommand)]
    Producers(producers::Command),
}

#[allow(clippy::print_stderr, reason = "the one place that reports failures")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Crash(command) => crash::run(command),
        Command::Producers(command) => producers::run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("oncelog: {failure}");
            failure.status()
        }
    }
}
