//! The README of a folder of runs: its tables from the runs, its prose from `readme.md`; never written by hand.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::chart::history as history_chart;
use crate::error::ReportError;
use crate::history::{self, CANONICAL, Line};
use crate::read::{Recorded, runs_of};
use crate::report::PAGE;
use crate::result::{Figure, Spread};
use crate::units;

const PROSE: &str = include_str!("readme.md");
/// Where the tables stand in the prose.
const RUNS: &str = "{runs}";
/// The chart of the history.
const HISTORY_CHART: &str = "history.svg";

/// Writes `README.md`, the history and its chart anew from the runs of a folder; which files were written.
///
/// # Errors
/// A run cannot be read, or a file not be written.
pub fn renew(dir: &Path) -> Result<Vec<PathBuf>, ReportError> {
    let runs = match runs_of(dir) {
        Ok(runs) => runs,
        Err(ReportError::NoRun(_)) => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut written = Vec::new();
    let lines = if runs.is_empty() { history::read(dir)? } else { history::renew(dir, &runs)? };
    if !lines.is_empty() {
        written.push(dir.join(history::FILE));
    }
    let chart = history_chart::chart(&lines, "history");
    let mut write = |name: &str, text: String| {
        let path = dir.join(name);
        fs::write(&path, text).map_err(ReportError::io(format!("writing {}", path.display())))?;
        written.push(path);
        Ok(())
    };
    if let Some(chart) = &chart {
        write(HISTORY_CHART, chart.standalone())?;
    }
    write("README.md", readme(&runs, &lines, chart.is_some()))?;
    Ok(written)
}

/// The whole file.
fn readme(runs: &[Recorded], lines: &[Line], with_chart: bool) -> String {
    let mut tables = String::new();
    if runs.is_empty() {
        tables += "## Runs\nNone is recorded here yet.";
    } else {
        newest_first(&mut tables, runs);
        let complete = |recorded: &&Recorded| !recorded.run.interrupted;
        let by_time = |recorded: &&Recorded| recorded.run.run.started.clone();
        if let Some(newest) = runs.iter().filter(complete).max_by_key(by_time) {
            figures(&mut tables, newest);
        }
        if with_chart {
            let _ = write!(
                tables,
                "\n## History\n![{} runs: ratios to the limit and to the floor]({HISTORY_CHART})\n",
                lines.len()
            );
        }
    }
    PROSE.replace(RUNS, tables.trim_end())
}

fn newest_first(text: &mut String, runs: &[Recorded]) {
    let ratios: Vec<_> = CANONICAL.iter().filter(|figure| figure.is_ratio).collect();
    let _ = writeln!(
        text,
        "## Runs\nNewest first. Ratios are to the limit or, where it is durable, to the floor, of the same run.\n"
    );
    let names: Vec<&str> = ratios.iter().map(|figure| figure.words).collect();
    let _ = writeln!(text, "| run | machine | {} | state |", names.join(" | "));
    let _ = writeln!(text, "|---|---|{}---|", "---|".repeat(names.len()));
    let mut newest: Vec<&Recorded> = runs.iter().collect();
    newest.sort_by(|one, other| other.run.run.started.cmp(&one.run.run.started));
    for recorded in newest {
        let line = Line::of(recorded);
        let value = |name: &str| line.figures.get(name).map_or("-".to_owned(), |value| format!("{value:.2}"));
        let values: Vec<String> = ratios.iter().map(|figure| value(figure.name)).collect();
        let host = &recorded.run.host;
        let _ = writeln!(
            text,
            "| [{run}]({run}/run.json) ([report]({run}/{PAGE})) | {}, {} cores, {} | {} | {} |",
            cell(&host.cpu),
            host.cores,
            cell(&host.file_system),
            values.join(" | "),
            state(recorded),
            run = cell(&line.run)
        );
    }
}

fn state(recorded: &Recorded) -> String {
    let run = &recorded.run;
    let marked = |mark| run.figures.iter().filter(|figure| figure.mark() == Some(mark)).count();
    let mut parts = Vec::new();
    match marked("not verified") {
        0 => parts.push("verified".to_owned()),
        number => parts.push(format!("**{number} not verified**")),
    }
    match marked("saturated") {
        0 => {}
        number => parts.push(format!("{number} saturated")),
    }
    if run.interrupted {
        parts.push("**interrupted**".to_owned());
    }
    parts.extend(run.notes.iter().map(|note| cell(note)));
    parts.join(", ")
}

/// Every figure of the newest run.
fn figures(text: &mut String, recorded: &Recorded) {
    let _ = writeln!(text, "\n## The newest run\n{}, at commit {}.\n", recorded.name(), commit(recorded));
    let _ = writeln!(text, "| figure | median | from..to | against the limit | against off | state |");
    let _ = writeln!(text, "|---|---|---|---|---|---|");
    for figure in &recorded.run.figures {
        let (median, range) = value(figure);
        let against = match (figure.ratio_to_limit, figure.ratio_to_floor, figure.ratio_to_device) {
            (Some(limit), ..) => format!("{:.2}", limit.median),
            (_, Some(floor), _) => format!("{:.2} × floor", floor.median),
            (.., Some(device)) => format!("{:.2} × device", device.median),
            _ => figure
                .ratio_to_at_least_once
                .map_or(String::new(), |ratio| format!("{:.2} × at least once", ratio.median)),
        };
        let off = figure.ratio_to_off.map_or(String::new(), |off| {
            let (from, to) = off.middle();
            let none = if from <= 1.0 && 1.0 <= to { " (no difference found)" } else { "" };
            format!("{:.2}{none}", off.median)
        });
        let state = figure.mark().unwrap_or("verified");
        let _ = writeln!(text, "| {} | {median} | {range} | {against} | {off} | {state} |", cell(&figure.name()));
    }
}

fn commit(recorded: &Recorded) -> String {
    let facts = &recorded.run.run;
    let commit = facts.commit.as_deref().map_or("none", |commit| commit.get(..12).unwrap_or(commit));
    format!("{}{}", cell(commit), if facts.dirty == Some(true) { ", changed since" } else { "" })
}

/// What a figure is about, and how far its repeats lie apart.
fn value(figure: &Figure) -> (String, String) {
    let spread = |spread: Spread, tell: fn(f64) -> String| {
        (tell(spread.median), format!("{}..{}", tell(spread.min), tell(spread.max)))
    };
    if let Some(latency) = figure.latency_ns.filter(|_| figure.is_durable() || figure.pace.as_deref() == Some("open")) {
        return (format!("p50 {}", units::time(latency.p50)), format!("p99 {}", units::time(latency.p99)));
    }
    if let Some(cost) = figure.ns_per_append.or(figure.ns_per_record).or(figure.ns_per_message) {
        return spread(cost, units::time);
    }
    if let Some((seconds, (min, max))) = figure.seconds.zip(figure.seconds_min.zip(figure.seconds_max)) {
        return (units::time(seconds * 1e9), format!("{}..{}", units::time(min * 1e9), units::time(max * 1e9)));
    }
    let per_second: fn(f64) -> String = |rate| format!("{}/s", units::bytes(rate));
    figure.bytes_per_second.map_or_else(Default::default, |rate| spread(rate, per_second))
}

/// A text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace(['|', '\n', '[', ']', '<'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The committed file is what the command makes of the committed runs: prose and tables can't drift apart.
    #[test]
    fn the_readme_of_the_repository_is_the_generated_one() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results");
        let runs = match runs_of(&dir) {
            Ok(runs) => runs,
            Err(ReportError::NoRun(_)) => Vec::new(),
            Err(error) => panic!("{error}"),
        };
        let lines = history::read(&dir).expect("the history");
        let expected = readme(&runs, &lines, lines.len() > 1);
        let found = fs::read_to_string(dir.join("README.md")).expect("the file");
        assert!(found == expected, "results/README.md is not what `oncelog results` writes: run it");
    }
}
