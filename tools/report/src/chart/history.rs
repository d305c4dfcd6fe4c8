//! The canonical figures over the runs that were recorded.

use super::Chart;
use super::frame::{Axis, Frame};
use super::scale::Scale;
use super::sheet::{Entry, Mark, Sheet};
use crate::history::{CANONICAL, Line};
use crate::units;

/// Ratios to the limit and to the floor, run by run; none for a single run.
pub(crate) fn chart(lines: &[Line], name: &str) -> Option<Chart> {
    if lines.len() < 2 {
        return None;
    }
    let mut sheet = Sheet::new("History: what an append costs against what no append can avoid");
    let (first, last) = (lines.first()?, lines.last()?);
    sheet.note(&format!(
        "{} recorded runs, {} to {}. Ratios of pairs to the limit or the floor of the same run, so that machines and \
         their moods cancel out.",
        lines.len(),
        first.day(),
        last.day()
    ));
    let classes = ["off", "session", "by-id", "other", "mutex dashes", "session dashes", "off dashes", "noise dashes"];
    let series: Vec<_> = CANONICAL.iter().filter(|figure| figure.is_ratio).zip(classes).collect();
    let points = |figure: &str| -> Vec<(f64, f64)> {
        let value = |(number, line): (usize, &Line)| Some((number as f64 + 1.0, line.figures.get(figure).copied()?));
        lines.iter().enumerate().filter_map(value).collect()
    };
    let entry = |(figure, class): &(&crate::history::Canonical, &str)| Entry {
        name: figure.words.to_owned(),
        class: (*class).to_owned(),
        mark: Mark::Line,
    };
    sheet.legend(&series.iter().map(entry).collect::<Vec<_>>());
    let values = series.iter().flat_map(|(figure, _)| points(figure.name)).map(|(_, value)| value);
    let x = Axis {
        scale: Scale::from_zero([lines.len() as f64]),
        name: "recorded runs, the newest on the right".to_owned(),
        label: units::number,
    };
    let y = Axis { scale: Scale::from_zero(values), name: "times the limit".to_owned(), label: units::number };
    let frame = Frame::draw(&mut sheet, x, y, 230.0);
    for (figure, class) in &series {
        frame.line(&mut sheet, points(figure.name), class);
        for place in points(figure.name) {
            let line = &lines[place.0 as usize - 1];
            let told = format!("{}: {}, {:.2}", line.run, figure.words, place.1);
            frame.dot(&mut sheet, place, &format!("dot {class}"), &told);
        }
    }
    Some(sheet.finish(name))
}
