//! `oncelog inspect`: what a log has stored, piece by piece: partitions, segments, frames, producers.

mod filter;
mod frames;
mod log;
mod producers;
mod segments;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use oncelog::{OpenError, ReadOnlyLog, ReadOnlyPartition};

use self::filter::Filter;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  oncelog inspect DIR                              partitions: watermarks, and what opening would do
  oncelog inspect DIR segments --partition orders  its segments and snapshots
  oncelog inspect DIR producers                    epochs, last sequences and their offsets, last use
  oncelog inspect DIR producers --producer checkout-7 --json
  oncelog inspect DIR frames --partition orders --offset 100..200
  oncelog inspect DIR frames --position 8192.. --limit 20
  oncelog inspect DIR frames --producer checkout-7 --since 10min
  oncelog inspect DIR frames --json --limit 0 | jq 'select(.damage)'

Nothing in DIR is changed. Another process may have the log open meanwhile, and it may be damaged: what
is wrong is listed where it stands. Whether all of it agrees is what `oncelog verify` says.

Exit status: 0 done, 1 could not be read, 2 no log there.";

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum View {
    /// Partitions: watermarks, and what opening would make of them.
    Log,
    /// Segments and snapshots.
    Segments,
    /// Frames in their order, batches and control frames among them, and damage where it is.
    Frames,
    /// Producers: epoch, last sequence and its offsets, last use.
    Producers,
}

/// Arguments of `oncelog inspect`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The directory of the log.
    dir: PathBuf,

    /// What to look at.
    #[arg(value_enum, default_value_t = View::Log, value_name = "WHAT")]
    view: View,

    #[command(flatten)]
    filter: Filter,

    /// Print JSON; frames as one object a line.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let filter = &arguments.filter;
    if arguments.view != View::Frames
        && let Some(flag) = filter.frames_only()
    {
        return Err(Failure::Usage(format!("{flag} chooses frames: oncelog inspect DIR frames {flag} ..")));
    }
    let log = ReadOnlyLog::open_damaged(&arguments.dir).map_err(|error| match error {
        OpenError::Io { .. } => Failure::Failed(error.to_string()),
        other => Failure::Usage(other.to_string()),
    })?;
    let wanted =
        |partition: &&ReadOnlyPartition| filter.partition.as_deref().is_none_or(|name| name == partition.name());
    let partitions: Vec<&ReadOnlyPartition> = log.all_partitions().iter().filter(wanted).collect();
    if let Some(name) = filter.partition.as_ref().filter(|_| partitions.is_empty()) {
        return Err(Failure::Usage(format!("there is no partition {name:?} in {}", arguments.dir.display())));
    }
    match arguments.view {
        View::Log => log::tell(&log, &partitions, arguments.json),
        View::Segments => segments::tell(&log, &partitions, arguments.json),
        View::Frames => frames::tell(&log, &partitions, filter, arguments.json),
        View::Producers => producers::tell(&log, &partitions, filter, arguments.json),
    }
}

/// What the system refused while a partition was read.
fn unread<'a>(partition: &ReadOnlyPartition) -> impl FnOnce(std::io::Error) -> Failure + 'a {
    Failure::failed(format!("reading partition {:?}", partition.name()))
}

/// A number that may not be known.
fn known<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[allow(clippy::print_stdout, reason = "what was found is what was asked for")]
fn print(text: &str) {
    println!("{text}");
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    print(&serde_json::to_string_pretty(value).map_err(Failure::failed("writing JSON"))?);
    Ok(())
}
