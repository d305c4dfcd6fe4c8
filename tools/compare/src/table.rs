//! The rows as tables, one of logs and one of Raft logs: at most 100 columns wide, the fastest of each row marked.

use std::fmt::Write as _;

use oncelog_load::Spread;

use crate::contender::Name;
use crate::row::{Row, Shown};

/// Width of the first column and of the others.
const LABEL: usize = 27;
const CELL: usize = 7;
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// The tables; `bold` for a terminal. This log's plain appends come first in both: the others are compared with them.
pub fn render(rows: &[Row], names: &[Name], bold: bool) -> String {
    let mut text = String::new();
    for (what, is_rafts) in [("logs", false), ("Raft logs", true)] {
        let shown = |name: &Name| name.is_rafts() == is_rafts || *name == Name::Oncelog;
        let shown: Vec<Name> = names.iter().copied().filter(shown).collect();
        if shown.iter().any(|name| name.is_rafts() == is_rafts) {
            table(&mut text, what, rows, &shown, bold);
        }
    }
    text.push('\n');
    for name in names {
        for (number, part) in wrapped(name.settings(), 88).into_iter().enumerate() {
            let word = if number == 0 { name.word() } else { "" };
            let _ = writeln!(text, "{word:>CELL$}  {part}");
        }
    }
    text
}

fn table(text: &mut String, what: &str, rows: &[Row], names: &[Name], bold: bool) {
    let mut level = None;
    for row in rows {
        let shown = || row.logs.iter().filter(|log| names.iter().any(|name| name.word() == log.name));
        if level != Some(row.case.level) {
            level = Some(row.case.level);
            let _ = writeln!(
                text,
                "\n{what}, {}: time a record, of all threads together; * is the fastest of its row\n",
                row.case.level
            );
            let _ = write!(text, "{:LABEL$}", "");
            names.iter().for_each(|name| _ = write!(text, " {:>CELL$}", name.word()));
            text.push('\n');
        }
        // One unit a row, by its fastest.
        let fastest = shown().map(|log| log.ns_per_record.median).fold(f64::INFINITY, f64::min);
        let (unit, ns) = if fastest < 1e3 { ("ns", 1.0) } else { ("us", 1e3) };
        let time = |value: f64| number(value / ns);
        let heading = format!("{}, {unit}", row.case);
        line(text, &heading, row, names, bold, |log| Some(time(log.ns_per_record.median)), Some(fastest));
        line(text, "  least", row, names, bold, |log| Some(time(log.ns_per_record.min)), None);
        line(text, "  most", row, names, bold, |log| Some(time(log.ns_per_record.max)), None);
        let times = |log: &Shown| log.times_oncelog.map(|Spread { median, .. }| format!("x {}", number(median)));
        line(text, "  times oncelog's", row, names, bold, times, None);
    }
}

fn line(
    text: &mut String,
    label: &str,
    row: &Row,
    names: &[Name],
    bold: bool,
    value: impl Fn(&Shown) -> Option<String>,
    // Marked, if it is that fast.
    fastest: Option<f64>,
) {
    let _ = write!(text, "{label:<LABEL$}");
    for name in names {
        let shown = row.logs.iter().find(|log| log.name == name.word());
        let wins = shown.is_some_and(|log| fastest.is_some_and(|fastest| log.ns_per_record.median <= fastest));
        let cell = shown.and_then(&value).unwrap_or_else(|| "-".to_owned());
        let cell = if wins { format!("{cell}*") } else { cell };
        let (before, after) = if wins && bold { (BOLD, PLAIN) } else { ("", "") };
        let _ = write!(text, " {before}{cell:>CELL$}{after}");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
}

/// Three digits, or as many as there are before the point.
fn number(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last().map_or(0, String::len);
        if last > 0 && last + 1 + word.len() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Case, Level};

    fn row(medians: &[f64]) -> Row {
        let case = Case { level: Level::NotSynced, payload_bytes: 1024, batch: 100, threads: 16 };
        let fastest = medians.iter().copied().fold(f64::INFINITY, f64::min);
        let logs = Name::ALL.iter().zip(medians).map(|(name, median)| {
            let spread = Spread::of([*median]).expect("a value");
            let wins = *median <= fastest;
            let times_oncelog = Some(spread);
            let (ns_per_record, records_per_second) = (spread, spread);
            Shown { name: name.word(), ns_per_record, records_per_second, times_oncelog, wins, counted: None }
        });
        Row { case, repeats: 5, logs: logs.collect() }
    }

    #[test]
    fn no_line_is_longer_than_a_terminal_is_wide() {
        let rows = [row(&[12_345.0; 11]), row(&[28.0, 1.0, 99_999.0])];
        let text = render(&rows, &Name::ALL, false);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn the_fastest_of_a_row_is_marked_whoever_it_is() {
        let names = &Name::ALL[..3];
        let text = render(&[row(&[28.0, 30.5, 20.25])], names, false);
        assert!(text.contains("20.2*") && !text.contains("28.0*"), "{text}");
        assert_eq!(text.matches('*').count(), 2, "one mark, and one word on what it is: {text}");
        assert!(render(&[row(&[28.0, 30.5, 20.25])], names, true).contains(BOLD));
    }

    #[test]
    fn raft_logs_are_compared_with_each_other_and_with_this_log() {
        let text =
            render(&[row(&[30.0, 40.0, 50.0, 50.0, 50.0, 50.0, 50.0, 20.0, 60.0, 70.0, 80.0])], &Name::ALL, false);
        let (logs, rafts) = text.split_once("Raft logs").expect("a table of their own");
        assert!(logs.contains("20.0*") && !logs.contains("60.0"), "{logs}");
        assert!(rafts.contains("30.0*") && rafts.contains("60.0") && !rafts.contains("20.0"), "{rafts}");
        let logs = render(&[row(&[30.0, 40.0])], &[Name::Oncelog, Name::OncelogSession], false);
        assert!(!logs.contains("Raft"), "a table of nobody is left out: {logs}");
    }
}
