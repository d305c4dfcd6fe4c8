//! `oncelog report`: runs as one page and as charts.

use std::path::{Path, PathBuf};

use clap::Args;
use oncelog_report::{Recorded, Report, runs_of};

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  oncelog report results/2026-11-23_xeon-2_b4cec1d
        report.html and charts/*.svg in that folder
  oncelog report before after --out comparison
        two runs side by side, and what became better or worse from the first to the second
  oncelog report results --out everything
        all runs in a folder, oldest first";

/// Arguments of `oncelog report`.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Folders of runs, or folders that hold them; the first run is what the others are compared with.
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,

    /// Where report.html and charts/ are written: the folder of the run, if there is only one, unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[allow(clippy::print_stdout, reason = "where the page is, is what was asked for")]
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut runs: Vec<Recorded> = Vec::new();
    for dir in &arguments.dirs {
        runs.extend(runs_of(dir)?);
    }
    let out = out(arguments, &runs)?;
    let path = Report::of(&runs)?.write(out)?;
    println!("{}", path.display());
    Ok(())
}

fn out<'a>(arguments: &'a Arguments, runs: &'a [Recorded]) -> Result<&'a Path, Failure> {
    match (&arguments.out, runs) {
        (Some(out), _) => Ok(out),
        (None, [one]) => Ok(&one.dir),
        (None, runs) => Err(Failure::Usage(format!(
            "a page of {} runs belongs to none of them: say where it goes with --out DIR",
            runs.len()
        ))),
    }
}
