//! The rows as one table: at most 100 columns, the fastest of each row marked.

use std::fmt::Write as _;

use oncelog_load::Spread;

use crate::contender::Name;
use crate::row::{Row, Shown};

/// Width of the first column and of the others.
const LABEL: usize = 27;
const CELL: usize = 7;
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// The table; `bold` for a terminal.
pub fn render(rows: &[Row], names: &[Name], bold: bool) -> String {
    let mut text = String::new();
    let mut level = None;
    for row in rows {
        if level != Some(row.case.level) {
            level = Some(row.case.level);
            let _ = writeln!(
                text,
                "\n{}: time a record, of all threads together; * is the fastest of its row\n",
                row.case.level
            );
            let _ = write!(text, "{:LABEL$}", "");
            names.iter().for_each(|name| _ = write!(text, " {:>CELL$}", name.word()));
            text.push('\n');
        }
        // One unit a row, by its fastest.
        let fastest = row.logs.iter().map(|log| log.ns_per_record.median).fold(f64::INFINITY, f64::min);
        let (unit, ns) = if fastest < 1e3 { ("ns", 1.0) } else { ("us", 1e3) };
        let time = |value: f64| number(value / ns);
        let heading = format!("{}, {unit}", row.case);
        line(&mut text, &heading, row, names, bold, |log| Some(time(log.ns_per_record.median)), true);
        line(&mut text, "  least", row, names, bold, |log| Some(time(log.ns_per_record.min)), false);
        line(&mut text, "  most", row, names, bold, |log| Some(time(log.ns_per_record.max)), false);
        let times = |log: &Shown| log.times_oncelog.map(|Spread { median, .. }| format!("x {}", number(median)));
        line(&mut text, "  times oncelog's", row, names, bold, times, false);
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

fn line(
    text: &mut String,
    label: &str,
    row: &Row,
    names: &[Name],
    bold: bool,
    value: impl Fn(&Shown) -> Option<String>,
    marks: bool,
) {
    let _ = write!(text, "{label:<LABEL$}");
    for name in names {
        let shown = row.logs.iter().find(|log| log.name == name.word());
        let wins = marks && shown.is_some_and(|log| log.wins);
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
        let rows = [row(&[12_345.0; 9]), row(&[28.0, 1.0, 99_999.0])];
        let text = render(&rows, &Name::ALL, false);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn the_fastest_of_a_row_is_marked_whoever_it_is() {
        let text = render(&[row(&[28.0, 30.5, 20.25])], &Name::ALL, false);
        assert!(text.contains("20.2*") && !text.contains("28.0*"), "{text}");
        assert_eq!(text.matches('*').count(), 2, "one mark, and one word on what it is: {text}");
        assert!(render(&[row(&[28.0, 30.5, 20.25])], &Name::ALL, true).contains(BOLD));
    }
}
