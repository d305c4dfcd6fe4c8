//! The canonical workload: what an append costs, what idempotence adds, and how long it takes on a schedule.
//!
//! ```text
//! cargo bench --bench canonical                      about 50 figures in three minutes
//! cargo bench --bench canonical -- --quick           nine figures in half a minute
//! cargo bench --bench canonical -- --seconds 10      longer, for a closer look
//! cargo bench --bench canonical -- by-id             only the rows whose name holds this
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its results")]

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use oncelog_load::{Progress, Repeats, Settings, canonical, files, table};

struct Arguments {
    quick: bool,
    seconds: Option<f64>,
    filter: Option<String>,
    /// Run by `cargo test`: show that it works, measure nothing.
    as_test: bool,
}

/// Reads the command line, which cargo adds `--bench` to; it gives a harness's other options to every benchmark alike.
fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { quick: false, seconds: None, filter: None, as_test: false };
    let mut arguments = env::args().skip(1);
    let mut benched = false;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => benched = true,
            "--quick" => parsed.quick = true,
            "--seconds" => {
                let value = arguments.next().unwrap_or_default();
                let seconds = value.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 3600.0);
                parsed.seconds = Some(
                    seconds.ok_or_else(|| format!("--seconds {value}: a number above 0, at most 3600, is needed"))?,
                );
            }
            "--test" => parsed.as_test = true,
            option if option.starts_with('-') => return Err(format!("{option} is not known: --quick, --seconds S")),
            filter => parsed.filter = Some(filter.to_owned()),
        }
    }
    // `cargo test --benches` runs this without `--bench`; whoever runs the binary by hand does not set this variable.
    parsed.as_test |= !benched && env::var_os("CARGO").is_some();
    Ok(parsed)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let quick = arguments.quick || arguments.as_test;
    let mut rows = if quick { canonical::quick_rows() } else { canonical::rows() };
    if let Some(filter) = &arguments.filter {
        rows.retain(|row| row.label().contains(filter.as_str()));
    }
    if rows.is_empty() {
        println!("no row is called like that");
        return Ok(());
    }
    let usual = if quick { canonical::REPEATS_QUICK } else { canonical::REPEATS };
    let repeats = match arguments.seconds {
        _ if arguments.as_test => Repeats { least: 1, seconds: 0.05, most: 1 },
        Some(seconds) => Repeats { seconds, most: 1_000, ..usual },
        None => usual,
    };
    // Cargo says where its target directory is only by the place of what it runs there.
    let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&scratch)?;
    let settings = Settings {
        repeats,
        segment_bytes: None,
        dir: None,
        scratch: scratch.clone(),
        seed: 1,
        command: oncelog_load::command_line(),
    };
    let outcome = oncelog_load::run(&rows, &settings, &mut Progress::shown())?;
    let target = scratch.parent().unwrap_or(&scratch);
    let dir = target.join("oncelog").join(&outcome.result.run.id);
    files::write_all(&dir, &outcome)?;
    print!("{}", table::render(&outcome.result));
    println!("run.json, .hlog and .hgrm in {}", dir.display());
    Ok(())
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("canonical: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("canonical: {error}");
            ExitCode::FAILURE
        }
    }
}
