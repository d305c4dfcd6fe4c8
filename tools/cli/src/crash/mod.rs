//! `oncelog crash`: logs that are crashed on purpose, and compared with what was acknowledged.

mod calls;
mod check;
mod child;
mod course;
mod damaged;
mod disk;
mod flip;
mod full;
mod kill;
mod known;
mod load;
mod logs;
mod pairs;
mod pipeline;
mod plan;
mod power;
mod reports;
pub(crate) mod soak;
mod trace;
mod transactions;
mod truncator;
mod writers;

use clap::{Args, Subcommand};

use self::course::{Bounds, Course, Outcome, tell};
use self::load::{Appending, Cutting, Load, Transacting};
use crate::failure::Failure;

/// Crashes of each harness that is given neither a count nor seconds; flipping goes over all there is.
const KILLS: u64 = 100;
const CUTS: u64 = 20;
const TRACES: u64 = 200;
const HISTORIES: u64 = 50;

/// Seconds of all harnesses together, unless given.
const ALL_SECONDS: f64 = 120.0;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Kill a process that appends and truncates, with SIGKILL, and reopen its log.
    Kill(Appending),
    /// Flip each byte of a small log and cut it at each length, and open what is left.
    Flip(flip::Arguments),
    /// Fill up a small file system while a process appends, and make room. Needs root.
    Full(Appending),
    /// Cut the power below a log's disk. Needs root and loop devices.
    Power(Cutting),
    /// Observe what a process writes and flushes, and lose what was not flushed. Needs no root.
    Trace(Cutting),
    /// Kill a process in the midst of consuming, transforming and producing: each input is in the output once.
    Pipeline(pipeline::Arguments),
    /// Kill a process with many concurrent transactions, and explain all that it and its readers were told.
    Transactions(Transacting),
    /// Each of them, with a share of the seconds.
    All(All),
    /// The process that is killed.
    #[command(hide = true)]
    Child(plan::Plan),
    /// The process that consumes and produces.
    #[command(hide = true)]
    Consume(pipeline::Scene),
    /// The process with many transactions.
    #[command(hide = true)]
    Transact(transactions::Scene),
    /// The process that opens damaged logs.
    #[command(hide = true)]
    Slice(damaged::Slice),
}

/// Arguments of `oncelog crash all`.
#[derive(Args)]
pub(crate) struct All {
    #[command(flatten)]
    bounds: Bounds,

    #[command(flatten)]
    load: Load,
}

pub(crate) fn run(command: Command) -> Result<(), Failure> {
    let (outcomes, json) = match command {
        Command::Child(plan) => return writers::run(&plan),
        Command::Consume(scene) => return pipeline::consume(&scene),
        Command::Transact(scene) => return transactions::transact(&scene),
        Command::Slice(slice) => return damaged::run(&slice),
        Command::Kill(arguments) => (vec![kill(&arguments)], arguments.bounds.json),
        Command::Flip(arguments) => (vec![flip(&arguments)], arguments.bounds.json),
        Command::Full(arguments) => (vec![full(&arguments)], arguments.bounds.json),
        Command::Power(arguments) => (vec![power(&arguments)], arguments.bounds.json),
        Command::Pipeline(arguments) => (vec![pipeline(&arguments)], arguments.of.bounds.json),
        Command::Transactions(arguments) => (vec![transactions(&arguments)], arguments.bounds.json),
        Command::Trace(arguments) => (vec![trace(&arguments)], arguments.bounds.json),
        Command::All(all) => {
            let seconds = Some(all.bounds.seconds.unwrap_or(ALL_SECONDS) / 7.0);
            let bounds = Bounds { seconds, json: None, ..all.bounds.clone() };
            let appending = Appending { bounds: bounds.clone(), load: all.load.clone() };
            let cutting = Cutting { bounds: bounds.clone(), load: all.load.clone(), without_flush: false };
            let transacting = Transacting { bounds: bounds.clone(), window: all.load.window };
            let of = transacting.clone();
            let outcomes = vec![
                kill(&appending),
                pipeline(&pipeline::Arguments { of, power: false, offsets_apart: false }),
                transactions(&transacting),
                trace(&cutting),
                flip(&flip::Arguments { bounds }),
                full(&appending),
                power(&cutting),
            ];
            (outcomes, all.bounds.json)
        }
    };
    tell(&outcomes, json.as_ref())
}

/// Runs a harness; `usual` bounds a run whose caller gives no bound.
fn harness(
    name: &'static str,
    bounds: &Bounds,
    usual: Option<u64>,
    run: impl FnOnce(&mut Course) -> Result<(), String>,
) -> Outcome {
    let mut course = Course::new(name, bounds, usual);
    let result = run(&mut course);
    course.end(result)
}

fn kill(arguments: &Appending) -> Outcome {
    harness("kill", &arguments.bounds, Some(KILLS), |course| kill::run(arguments, course))
}

fn flip(arguments: &flip::Arguments) -> Outcome {
    harness("flip", &arguments.bounds, None, |course| flip::run(arguments, course))
}

fn full(arguments: &Appending) -> Outcome {
    harness("full", &arguments.bounds, Some(CUTS), |course| full::run(arguments, course))
}

fn power(arguments: &Cutting) -> Outcome {
    harness("power", &arguments.bounds, Some(CUTS), |course| power::run(arguments, course))
}

fn trace(arguments: &Cutting) -> Outcome {
    harness("trace", &arguments.bounds, Some(TRACES), |course| trace::run(arguments, course))
}

fn pipeline(arguments: &pipeline::Arguments) -> Outcome {
    let usual = if arguments.power { CUTS } else { KILLS };
    harness("pipeline", &arguments.of.bounds, Some(usual), |course| pipeline::run(arguments, course))
}

fn transactions(arguments: &Transacting) -> Outcome {
    harness("transactions", &arguments.bounds, Some(HISTORIES), |course| transactions::run(arguments, course))
}
