//! `oncelog results`: the README and the history of a folder of runs, written anew.

use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;

/// Arguments of `oncelog results`.
#[derive(Args)]
#[command(
    after_help = "Example:\n  oncelog results          README.md, history.ndjson and history.svg of ./results\n\n\
    Nothing in them is written by hand: tables come from the runs, the prose from tools/report/src/readme.md."
)]
pub(crate) struct Arguments {
    /// The folder that runs are recorded in.
    #[arg(value_name = "DIR", default_value = "results")]
    dir: PathBuf,
}

#[allow(clippy::print_stdout, reason = "which files were written is what was asked for")]
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if !arguments.dir.is_dir() {
        return Err(Failure::Usage(format!(
            "{} is no folder: name the one that runs are recorded in",
            arguments.dir.display()
        )));
    }
    for path in oncelog_report::renew(&arguments.dir)? {
        println!("{}", path.display());
    }
    Ok(())
}
