//! Columns of a table, and what stands in a cell.

use std::fmt::Write as _;

use super::WIDTH_MAX;
use crate::result::Figure;
use crate::spread::Spread;

/// Rows of cells, as wide as their widest.
pub(super) struct Table<const N: usize> {
    header: [&'static str; N],
    rows: Vec<Vec<String>>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(header: [&'static str; N]) -> Self {
        Self { header, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn write(&self, text: &mut String, title: &str) {
        if self.rows.is_empty() {
            return;
        }
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].len());
            cells.chain([self.header[column].len()]).max().unwrap_or(0)
        };
        let widths: [usize; N] = std::array::from_fn(width);
        let tight = widths.iter().sum::<usize>() + 2 * (N - 1) > WIDTH_MAX;
        let gap = if tight { " " } else { "  " };
        let _ = writeln!(text, "{title}");
        self.line(text, &widths, gap, self.header.iter().copied());
        for row in &self.rows {
            self.line(text, &widths, gap, row.iter().map(String::as_str));
        }
        text.push('\n');
    }

    /// Words to the left, numbers to the right, so that digits stand below each other.
    fn line<'c>(&self, text: &mut String, widths: &[usize; N], gap: &str, cells: impl Iterator<Item = &'c str>) {
        let mut line = String::new();
        for (column, cell) in cells.enumerate() {
            let width = widths[column];
            let _ = match self.header[column] {
                "idempotence" | "what" | "verified" | "window" => write!(line, "{cell:<width$}{gap}"),
                _ => write!(line, "{cell:>width$}{gap}"),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

pub(super) fn payload(figure: &Figure) -> String {
    let about = if figure.payload_file.is_some() { "~" } else { "" };
    figure.payload_bytes.map_or(String::new(), |bytes| format!("{about}{bytes} B"))
}

pub(super) fn idempotence(figure: &Figure) -> String {
    figure.idempotence.map_or(String::new(), |idempotence| idempotence.to_string())
}

pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

pub(super) fn median(spread: Option<Spread>, unit: &str) -> String {
    spread.map_or("-".to_owned(), |spread| format!("{} {unit}", number(spread.median)))
}

pub(super) fn time(spread: Option<Spread>) -> String {
    spread.map_or("-".to_owned(), |spread| {
        let (factor, unit) = unit(spread);
        format!("{} {unit}", number(spread.median * factor))
    })
}

/// In the unit of the median.
pub(super) fn time_range(spread: Option<Spread>) -> String {
    spread.map_or(String::new(), |spread| {
        let (factor, _) = unit(spread);
        format!("{}..{}", number(spread.min * factor), number(spread.max * factor))
    })
}

pub(super) fn unit(ns: Spread) -> (f64, &'static str) {
    match ns.median {
        median if median < 10e3 => (1.0, "ns"),
        median if median < 10e6 => (1e-3, "us"),
        _ => (1e-6, "ms"),
    }
}

pub(super) fn ratio(spread: Option<Spread>) -> String {
    let Some(spread) = spread else { return "-".to_owned() };
    format!("{}{:.2}", if spread.straddles(1.0) { "~" } else { "" }, spread.median)
}

pub(super) fn scaled(spread: Spread, factor: f64) -> Spread {
    Spread {
        median: spread.median * factor,
        min: spread.min * factor,
        max: spread.max * factor,
        lower_quarter: spread.lower_quarter * factor,
        upper_quarter: spread.upper_quarter * factor,
    }
}

/// Three digits that matter.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size < 9.995 => format!("{value:.2}"),
        size if size < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_matter() {
        let numbers = [0.0, 0.0651, 1.234, 12.34, 99.99, 123.4, 1_234_567.0].map(number);
        assert_eq!(numbers, ["0.00", "0.07", "1.23", "12.3", "100", "123", "1234567"]);
    }
}
