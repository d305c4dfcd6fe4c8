//! Latency by percentile on the usual axis: each step to the right is one in ten of what was left.

use super::frame::{Axis, Frame};
use super::scale::Scale;
use super::sheet::{Entry, Mark, Sheet};
use super::{Chart, class_of};
use crate::read::{Point, Recorded};
use crate::result::{Figure, Percentiles};
use crate::units;

/// One curve: its name, its classes, its points.
struct Curve {
    name: String,
    class: String,
    points: Vec<Point>,
}

/// Schedules of one kind, of one run: every idempotence, and the machine's noise on the same schedule.
pub(crate) struct Group<'r> {
    pub(crate) recorded: &'r Recorded,
    pub(crate) figures: Vec<&'r Figure>,
}

impl Group<'_> {
    fn curves(&self) -> Vec<Curve> {
        let mut curves = Vec::new();
        let mut add = |name: String, class: &str, figure: &Figure, kind: &str, percentiles: Option<Percentiles>| {
            let points = self.recorded.curve(figure, kind, percentiles);
            if points.len() > 1 {
                curves.push(Curve { name, class: class.to_owned(), points });
            }
        };
        for figure in &self.figures {
            let mark = figure.mark().map_or(String::new(), |mark| format!(" ({mark})"));
            let name = format!("{}{}{mark}", figure.series(), figure.extras());
            let extra = if figure.extras().is_empty() { "" } else { " mixed" };
            let class = class_of(figure.idempotence.as_deref());
            add(name.clone(), &format!("{class}{extra}"), figure, "latency", figure.latency_ns);
            let read = format!("{name}, from send to read");
            add(read, &format!("{class} dashes"), figure, "end-to-end", figure.end_to_end_ns);
            add(format!("{name}, at rest"), &format!("{class} dots"), figure, "at-rest", figure.at_rest_ns);
        }
        // One picture, one noise: that of the first figure; the others' were measured on the same schedule.
        if let Some(first) = self.figures.first() {
            add("noise: empty operation".to_owned(), "noise dashes", first, "baseline", first.baseline_ns);
            let io = "noise beside the same I/O".to_owned();
            add(io, "noise mixed", first, "baseline-io", first.baseline_io_ns);
        }
        curves
    }
}

/// The groups of several runs, each a picture, all of them on the same axes.
pub(crate) fn charts(groups: &[Group<'_>], name: &str) -> Vec<Chart> {
    let curves: Vec<Vec<Curve>> = groups.iter().map(Group::curves).collect();
    let points = || curves.iter().flatten().flat_map(|curve| &curve.points);
    let y = Scale::decades(points().map(|point| point.ns));
    let x = Scale::decades(points().map(|point| inverse(point.quantile)).chain([1.0, 1e4]));
    let drawn = groups.iter().zip(&curves).enumerate().filter(|(_, (_, curves))| !curves.is_empty());
    drawn.map(|(number, (group, curves))| chart(group, curves, x, y, &format!("{name}-{}", number + 1))).collect()
}

fn inverse(quantile: f64) -> f64 {
    1.0 / (1.0 - quantile)
}

fn chart(group: &Group<'_>, curves: &[Curve], x: Scale, y: Scale, name: &str) -> Chart {
    let first = group.figures.first();
    let what = first.map_or(String::new(), |figure| format!("{}, {}", figure.payload(), figure.conditions()));
    let mut sheet = Sheet::new(&format!("Latency by percentile: {what}"));
    sheet.note(&format!("Run {}.", group.recorded.name()));
    let entry = |curve: &Curve| Entry { name: curve.name.clone(), class: curve.class.clone(), mark: Mark::Line };
    sheet.legend(&curves.iter().map(entry).collect::<Vec<_>>());
    let x = Axis { scale: x, name: "share of appends that took at most so long".to_owned(), label: share };
    let y = Axis { scale: y, name: "from the time on the schedule to completion".to_owned(), label: units::time };
    let frame = Frame::draw(&mut sheet, x, y, 250.0);
    // Noise first, so that it lies below what is measured.
    for curve in curves.iter().rev() {
        frame.line(&mut sheet, curve.points.iter().map(|point| (inverse(point.quantile), point.ns)), &curve.class);
    }
    sheet.finish(name)
}

/// The share behind a tick: 10 is 90 %, 1,000 is 99.9 %.
fn share(inverse: f64) -> String {
    let nines = inverse.log10().round() as usize;
    match nines {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        nines => format!("99.{} %", "9".repeat(nines - 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_of_the_axis_is_one_more_nine() {
        assert_eq!([1.0, 10.0, 100.0, 1e3, 1e5].map(share), ["0 %", "90 %", "99 %", "99.9 %", "99.999 %"]);
        assert!((inverse(0.999) - 1e3).abs() < 1e-6);
    }
}
