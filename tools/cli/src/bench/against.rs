//! `--against FOLDER`: what became of each figure since a run that was kept.

use std::fmt::Write as _;

use oncelog_load::RunResult;
use oncelog_report::{Compared, Recorded, Run, Spread, Verdict, compare};

use crate::failure::Failure;

const WIDTH: usize = 100;
/// Names begin behind the verdict and the change.
const INDENT: usize = 29;

/// A table: the worse first, then the better, then the rest.
pub(super) fn told(before: &Recorded, after: &RunResult) -> Result<String, Failure> {
    let reading = Failure::failed("reading the run back");
    let after: Run = serde_json::to_value(after).and_then(serde_json::from_value).map_err(reading)?;
    let comparison = compare(&before.run, &after);
    let count = |verdict| comparison.count(verdict);
    let mut text = format!(
        "\nAgainst the run of {}:\n\
         {} better, {} worse, {} no difference found, {} not comparable, {} in one of the two alone.\n\
         Ratios to what was measured in the same repeats where there are any; (from..to) is the middle half.\n",
        before.name(),
        count(Verdict::Better),
        count(Verdict::Worse),
        count(Verdict::NoDifference),
        count(Verdict::Invalid),
        comparison.alone
    );
    for figure in &comparison.figures {
        line(&mut text, figure);
    }
    Ok(text)
}

fn line(text: &mut String, figure: &Compared) {
    let spread = |spread: Spread| {
        let (from, to) = spread.middle();
        let [median, from, to] = [spread.median, from, to].map(number);
        format!("{median} ({from}..{to})")
    };
    let about = format!("{} {} -> {}", figure.yardstick, spread(figure.before), spread(figure.after));
    let change = format!("{:+.0} %", figure.change_percent());
    let mut lines = wrapped(&figure.name, WIDTH - INDENT);
    lines.push(about);
    for (number, line) in lines.into_iter().enumerate() {
        let (verdict, change) =
            if number == 0 { (figure.verdict.to_string(), change.as_str()) } else { Default::default() };
        let _ = writeln!(text, "{verdict:<19} {change:>7}  {line}");
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size < 1e2 => format!("{value:.2}"),
        size if size < 1e5 => format!("{value:.0}"),
        _ => format!("{value:.3e}"),
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + 1 + word.len() > width {
            lines.push(word.to_owned());
        } else {
            let space = if lines[last].is_empty() { "" } else { " " };
            lines[last] += &format!("{space}{word}");
        }
    }
    lines
}
