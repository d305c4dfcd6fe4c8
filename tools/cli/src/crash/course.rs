//! How long a harness goes on, how far it has come, and what it has counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

pub(super) use oncelog_history::Dice;

use crate::failure::Failure;

/// How often the progress is drawn again.
const REDRAWN_EVERY: Duration = Duration::from_millis(250);

/// Columns of the table.
const COLUMNS: usize = 100;

/// Bounds of a run. The first one reached ends it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Bounds {
    /// Crashes at most.
    #[arg(long, value_name = "N")]
    pub(super) count: Option<u64>,

    /// Seconds at most.
    #[arg(long, value_name = "S")]
    pub(super) seconds: Option<f64>,

    /// Where chance begins. A run that ended says with which seed it goes on.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,

    /// Write the result as JSON.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
}

/// What a harness did.
#[derive(Serialize)]
pub(super) struct Outcome {
    harness: &'static str,
    seed: u64,
    next_seed: u64,
    seconds: f64,
    skipped: Option<String>,
    failure: Option<String>,
    counts: BTreeMap<String, u64>,
    #[serde(skip)]
    repeat: u64,
}

pub(super) struct Course {
    harness: &'static str,
    bounds: Bounds,
    began: Instant,
    /// The seed of what is done now.
    pub(super) seed: u64,
    /// Crashes within which a fault comes again from its seed on.
    pub(super) repeat: u64,
    done: u64,
    skipped: Option<String>,
    counts: BTreeMap<String, u64>,
    bar: ProgressBar,
}

impl Course {
    /// `usual` bounds a run whose caller gives none.
    pub(super) fn new(harness: &'static str, bounds: &Bounds, usual: Option<u64>) -> Self {
        let mut bounds = bounds.clone();
        if bounds.seconds.is_none() {
            bounds.count = bounds.count.or(usual);
        }
        let (bar, template) = match bounds.count {
            Some(count) => (ProgressBar::new(count), "{spinner} {prefix} {pos} of {len} done, {elapsed} {wide_msg}"),
            None => (ProgressBar::no_length(), "{spinner} {prefix} {pos} done, {elapsed} {wide_msg}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(harness);
        if let Some(seconds) = bounds.seconds {
            bar.set_message(format!("of {seconds} s"));
        }
        // By itself, so that it also moves while one crash takes long.
        bar.enable_steady_tick(REDRAWN_EVERY);
        let began = Instant::now();
        let seed = bounds.seed;
        Self { harness, bounds, began, seed, repeat: 50, done: 0, skipped: None, counts: BTreeMap::new(), bar }
    }

    pub(super) fn goes_on(&self) -> bool {
        let seconds = self.bounds.seconds.unwrap_or(f64::INFINITY);
        self.bounds.count.is_none_or(|count| self.done < count) && self.began.elapsed().as_secs_f64() < seconds
    }

    /// One more crash was looked at.
    pub(super) fn step(&mut self) {
        self.done += 1;
        self.bar.set_position(self.done);
        self.bar.set_message(format!("seed {}", self.seed));
    }

    pub(super) fn count(&mut self, what: &str, more: u64) {
        *self.counts.entry(what.to_owned()).or_default() += more;
    }

    pub(super) fn skip(&mut self, why: impl Into<String>) {
        self.skipped = Some(why.into());
    }

    pub(super) fn end(self, result: Result<(), String>) -> Outcome {
        self.bar.finish_and_clear();
        Outcome {
            harness: self.harness,
            seed: self.bounds.seed,
            next_seed: self.seed,
            seconds: self.began.elapsed().as_secs_f64(),
            skipped: self.skipped,
            failure: result.err(),
            counts: self.counts,
            repeat: self.repeat,
        }
    }
}

/// Prints the outcomes as a table, writes them as JSON, and fails if one of them has.
#[allow(clippy::print_stdout, reason = "the table is what was asked for")]
pub(super) fn tell(outcomes: &[Outcome], json: Option<&PathBuf>) -> Result<(), Failure> {
    for outcome in outcomes {
        let Outcome { harness, seed, next_seed, seconds, .. } = outcome;
        println!("{harness:<8} seeds {seed} to {}, {seconds:.1} s", next_seed.saturating_sub(1).max(*seed));
        for (what, count) in &outcome.counts {
            println!("  {what:<70} {count:>12}");
        }
        if let Some(why) = &outcome.skipped {
            // One line that fits, of what a command may have said at length.
            let line = why.lines().next().unwrap_or_default();
            println!("  skipped: {}", line.chars().take(COLUMNS - 11).collect::<String>());
        } else if outcome.failure.is_none() {
            println!("  no fault; goes on with --seed {next_seed}");
        }
    }
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(outcomes).map_err(Failure::failed("writing JSON"))?;
        fs::write(path, text).map_err(Failure::failed(format!("writing {}", path.display())))?;
    }
    let failed = outcomes.iter().find_map(|outcome| Some((outcome, outcome.failure.as_ref()?)));
    failed.map_or(Ok(()), |(outcome, failure)| {
        let Outcome { harness, next_seed, repeat, .. } = outcome;
        Err(Failure::Failed(format!(
            "{failure}\n  to repeat it: oncelog crash {harness} --seed {next_seed} --count {repeat}"
        )))
    })
}
