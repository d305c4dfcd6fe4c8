//! `oncelog producers`: who has appended to a log, and closing those that will not come back.

mod close;
mod list;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use oncelog::{Log, Options};

use crate::failure::Failure;

/// Room for producers while a log is looked at: its memory is reserved, and only touched by those there are.
const PRODUCERS_MAX: u32 = 16 << 20;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List producers by last use, the longest idle first.
    List(list::Arguments),
    /// Close producers that will not append again, so that their place can be used by others.
    Close(close::Arguments),
}

pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List(arguments) => list::run(&arguments),
        Command::Close(arguments) => close::run(&arguments),
    }
}

/// Opens a log that is there already: asking about one must not make one.
fn open(dir: &Path) -> Result<Log, Failure> {
    let mut entries = fs::read_dir(dir).map_err(|error| Failure::Usage(format!("{}: {error}", dir.display())))?;
    if entries.next().is_none() {
        return Err(Failure::Usage(format!("{} is empty: there is no log in it", dir.display())));
    }
    // SAFETY: the lock file keeps our own writers apart, and whoever names the directory keeps other programs away.
    let log = unsafe { Options::new().producers_max(PRODUCERS_MAX).open(dir) };
    log.map_err(Failure::failed(dir.display()))
}

/// Where a log is.
#[derive(clap::Args)]
struct Place {
    /// The directory of the log. No other process may have it open.
    dir: PathBuf,
}
