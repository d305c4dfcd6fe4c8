//! `oncelog verify`: a log replayed and compared with all that it has stored about itself; what is whole of it salvaged.

mod bar;
mod salvaged;
mod speed;
mod tell;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use oncelog::{Audit, OpenError, Salvage, Verdict};

use self::bar::Bar;
pub(crate) use self::tell::{shortened, wrapped};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  oncelog verify DIR                      all partitions
  oncelog verify DIR --partition orders   one of them
  oncelog verify DIR --json | jq .findings
  oncelog verify DIR --salvage OUT        and copy all that is whole to a new log

The last line also says how fast the same files can be read at all, and which part of that was reached: a
sixteenth of them is read before, without being looked at.

Nothing in DIR is changed, and another process may have the log open meanwhile, unless it is salvaged.
A salvaged log opens: its records keep their offsets, its producers their ids and sequences. What is
lost is listed; a retry of it is not stored again while a later batch or a snapshot tells of it.

Exit status: 0 clean, 1 could not be read, 2 no log there, 3 torn tail: opening drops what a crash
left behind the last whole frame, 4 corrupt.";

/// Status of a log whose end is torn off.
const TORN_TAIL: u8 = 3;
/// Status of a log that is damaged.
const CORRUPT: u8 = 4;

/// Arguments of `oncelog verify`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The directory of the log.
    dir: PathBuf,

    /// Only this partition.
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,

    /// Copy all that is whole to a new log in this directory, which must be empty or not there.
    #[arg(long, value_name = "OUT", conflicts_with = "partition")]
    salvage: Option<PathBuf>,

    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    // First, so that an OUT that can't be used is known at once.
    let salvage = match &arguments.salvage {
        Some(out) => {
            let bar = Bar::new("salvaging");
            let salvage = Salvage::run(&arguments.dir, out, |progress| bar.tell(progress));
            bar.finish();
            Some((out.as_path(), salvage.map_err(refused)?))
        }
        None => None,
    };
    let read_speed = speed::of_reading(&arguments.dir, arguments.partition.as_deref());
    let bar = Bar::new("verifying");
    let began = Instant::now();
    let audit = Audit::run(&arguments.dir, arguments.partition.as_deref(), |progress| bar.tell(progress));
    bar.finish();
    let took = began.elapsed();
    let audit = audit.map_err(refused)?;
    let salvage = salvage.as_ref().map(|(out, salvage)| (*out, salvage));
    tell::audit(&arguments.dir, &audit, salvage, tell::Time { took, read_speed }, arguments.json)?;
    Ok(status(audit.verdict))
}

fn status(verdict: Verdict) -> ExitCode {
    match verdict {
        Verdict::Clean => ExitCode::SUCCESS,
        Verdict::TornTail => ExitCode::from(TORN_TAIL),
        Verdict::Corrupt => ExitCode::from(CORRUPT),
    }
}

/// Whether there is no log there, or it could not be read.
fn refused(error: OpenError) -> Failure {
    match error {
        OpenError::Io { .. } => Failure::Failed(error.to_string()),
        other => Failure::Usage(other.to_string()),
    }
}
