//! Latency against the rate that was asked for, up to where the log no longer keeps up; the knee is ringed.

use super::frame::{Axis, Frame};
use super::scale::Scale;
use super::sheet::{Entry, Mark, Sheet};
use super::{Chart, class_of};
use crate::read::Recorded;
use crate::result::Figure;
use crate::units;

/// One kind of append at several rates.
pub(crate) struct Sweep<'r> {
    pub(crate) name: String,
    pub(crate) figures: Vec<&'r Figure>,
}

/// All sweeps of one run under equal conditions; none where no sweep has three rates.
pub(crate) fn chart(recorded: &Recorded, conditions: &str, sweeps: &[Sweep<'_>], name: &str) -> Option<Chart> {
    type Point = (f64, f64);
    let points = |figures: &[&Figure], value: fn(&Figure) -> Option<f64>| -> Vec<Point> {
        let point = |figure: &&Figure| Some((figure.rate_per_second?, value(figure)?));
        let mut points: Vec<Point> = figures.iter().filter_map(point).collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        points
    };
    let p50 = |figure: &Figure| figure.latency_ns.map(|latency| latency.p50);
    let p99 = |figure: &Figure| figure.latency_ns.map(|latency| latency.p99);
    if sweeps.iter().all(|sweep| points(&sweep.figures, p50).len() < 3) {
        return None;
    }
    let mut sheet = Sheet::new(&format!("Latency against rate: {conditions}"));
    sheet.note(&format!(
        "Run {}. Lines are medians, dashes the 99th percentile; the ring is the knee: the highest rate that was kept \
         with a median of at most twice that of the lowest. A dot on the line is a rate that was not kept.",
        recorded.name()
    ));
    let class =
        |sweep: &Sweep<'_>| class_of(sweep.figures.first().and_then(|figure| figure.idempotence.as_deref())).to_owned();
    let entry = |sweep: &Sweep<'_>| Entry { name: sweep.name.clone(), class: class(sweep), mark: Mark::Line };
    sheet.legend(&sweeps.iter().map(entry).collect::<Vec<_>>());
    let all = || sweeps.iter().flat_map(|sweep| sweep.figures.iter().copied());
    let x = Axis {
        scale: Scale::decades(all().filter_map(|figure| figure.rate_per_second)),
        name: "appends a second that were due".to_owned(),
        label: units::rate,
    };
    let y = Axis {
        scale: Scale::decades(all().flat_map(|figure| [p50(figure), p99(figure)]).flatten()),
        name: "latency".to_owned(),
        label: units::time,
    };
    let frame = Frame::draw(&mut sheet, x, y, 230.0);
    for sweep in sweeps {
        let class = class(sweep);
        frame.line(&mut sheet, points(&sweep.figures, p99), &format!("{class} dashes"));
        frame.line(&mut sheet, points(&sweep.figures, p50), &class);
        for figure in &sweep.figures {
            let Some(place) = figure.rate_per_second.zip(p50(figure)) else { continue };
            let told = format!("{}, {}: {}", sweep.name, units::rate(place.0), units::time(place.1));
            if figure.saturated == Some(true) {
                frame.dot(&mut sheet, place, &format!("dot {class}"), &format!("{told}, not kept"));
            }
            if figure.knee == Some(true) {
                frame.dot(&mut sheet, place, &format!("ring {class}"), &told);
            }
        }
    }
    Some(sheet.finish(name))
}
