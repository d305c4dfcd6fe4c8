//! `oncelog verify`: a log replayed and compared with all that it has stored about itself; what is whole of it salvaged.

mod bar;
mod tell;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use oncelog::{Audit, OpenError, Verdict};

use self::bar::Bar;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  oncelog verify DIR                      all partitions
  oncelog verify DIR --partition orders   one of them
  oncelog verify DIR --json | jq .findings

Nothing in DIR is changed, and another process may have the log open meanwhile.

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

    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let bar = Bar::new("verifying");
    let audit = Audit::run(&arguments.dir, arguments.partition.as_deref(), |progress| bar.tell(progress));
    bar.finish();
    let audit = audit.map_err(refused)?;
    tell::audit(&arguments.dir, &audit, began.elapsed(), arguments.json)?;
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
