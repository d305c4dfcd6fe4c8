//! Throughput against threads, and against the records of an append.

use super::cost::{Measured, letter};
use super::frame::{Axis, Frame};
use super::scale::Scale;
use super::sheet::{Entry, Mark, Sheet};
use super::{Chart, class_of};
use crate::result::Figure;
use crate::units;

/// What the horizontal axis shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Against {
    Threads,
    Batch,
}

impl Against {
    pub(crate) fn of(self, figure: &Figure) -> Option<f64> {
        match self {
            Self::Threads => figure.threads,
            Self::Batch => figure.batch,
        }
        .map(|value| value as f64)
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Threads => ("Throughput against threads", "threads that append"),
            Self::Batch => ("Throughput against batches", "records of one append"),
        }
    }
}

/// One line: a series of one run.
pub(crate) struct Series<'r> {
    pub(crate) name: String,
    pub(crate) run: usize,
    pub(crate) figures: Vec<Measured<'r>>,
}

/// Records a second.
pub(crate) fn records_per_second(figure: &Figure) -> Option<f64> {
    Some(figure.appends_per_second?.median * figure.batch.unwrap_or(1) as f64)
}

/// All series under equal conditions; none where no series has two points.
pub(crate) fn chart(
    against: Against,
    conditions: &str,
    series: &[Series<'_>],
    runs: usize,
    name: &str,
) -> Option<Chart> {
    let points = |series: &Series<'_>| {
        let point =
            |measured: &Measured<'_>| Some((against.of(measured.figure)?, records_per_second(measured.figure)?));
        let mut points: Vec<(f64, f64)> = series.figures.iter().filter_map(point).collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        points
    };
    let lines: Vec<(&Series<'_>, Vec<(f64, f64)>)> = series.iter().map(|series| (series, points(series))).collect();
    if lines.iter().all(|(_, points)| points.len() < 2) {
        return None;
    }
    let (title, x_name) = against.words();
    let mut sheet = Sheet::new(&format!("{title}: {conditions}"));
    let class = |series: &Series<'_>| {
        let idempotence = series.figures.first().and_then(|measured| measured.figure.idempotence.as_deref());
        let run = ["", " dashes", " dots", " mixed"][series.run % 4];
        let many = if series.name.contains("producers") { " second" } else { "" };
        format!("{}{run}{many}", class_of(idempotence))
    };
    let entry = |series: &Series<'_>| Entry {
        name: if runs > 1 { format!("{}: {}", letter(series.run), series.name) } else { series.name.clone() },
        class: class(series),
        mark: Mark::Line,
    };
    sheet.legend(&lines.iter().map(|(series, _)| entry(series)).collect::<Vec<_>>());
    let all = || lines.iter().flat_map(|(_, points)| points.iter().copied());
    let x = match against {
        Against::Threads => Scale::powers(2.0, all().map(|(x, _)| x)),
        Against::Batch => Scale::decades(all().map(|(x, _)| x)),
    };
    let x = Axis { scale: x, name: x_name.to_owned(), label: units::number };
    let y = Axis {
        scale: Scale::from_zero(all().map(|(_, y)| y)),
        name: "records a second, of all threads".to_owned(),
        label: units::rate,
    };
    let frame = Frame::draw(&mut sheet, x, y, 220.0);
    for (series, points) in &lines {
        let class = class(series);
        frame.line(&mut sheet, points.iter().copied(), &class);
        for (x, y) in points {
            let told = format!("{}, {}: {}", entry(series).name, units::number(*x), units::rate(*y));
            frame.dot(&mut sheet, (*x, *y), &format!("dot {class}"), &told);
        }
    }
    Some(sheet.finish(name))
}
