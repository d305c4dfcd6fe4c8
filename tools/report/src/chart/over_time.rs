//! Second by second: the latency of open loops, and what a sustained run appends.

use super::frame::{Axis, Frame};
use super::percentiles::Group;
use super::scale::Scale;
use super::sheet::{Entry, Mark, Sheet};
use super::{Chart, class_of};
use crate::read::Recorded;
use crate::result::{Figure, Second};
use crate::units;

/// The latencies of one group of schedules; none where there is no second.
pub(crate) fn latency(group: &Group<'_>, name: &str) -> Option<Chart> {
    let figures: Vec<&Figure> = group.figures.iter().copied().filter(|figure| figure.per_second.len() > 1).collect();
    let first = figures.first()?;
    let mut sheet = Sheet::new(&format!("Latency over time: {}, {}", first.payload(), first.conditions()));
    sheet.note(&format!(
        "Run {}. Lines are medians, dashes the 99th percentile, dots the slowest append of each second or repeat.",
        group.recorded.name()
    ));
    let entry = |figure: &&Figure| Entry {
        name: format!("{}{}", figure.series(), figure.extras()),
        class: class_of(figure.idempotence.as_deref()).to_owned(),
        mark: Mark::Line,
    };
    sheet.legend(&figures.iter().map(entry).collect::<Vec<_>>());
    let seconds = || figures.iter().flat_map(|figure| &figure.per_second);
    let values = seconds().flat_map(|second| [second.p50, second.p99, second.max]).flatten();
    let x = Axis {
        scale: Scale::from_zero(seconds().map(|second| second.second)),
        name: "seconds since the first append, repeats one after the other".to_owned(),
        label: units::number,
    };
    let y = Axis { scale: Scale::decades(values), name: "latency".to_owned(), label: units::time };
    let frame = Frame::draw(&mut sheet, x, y, 220.0);
    for figure in &figures {
        let class = class_of(figure.idempotence.as_deref());
        let line = |value: fn(&Second) -> Option<f64>| {
            figure.per_second.iter().filter_map(move |second| Some((second.second, value(second)?)))
        };
        frame.line(&mut sheet, line(|second| second.p99), &format!("{class} dashes"));
        frame.line(&mut sheet, line(|second| second.p50), class);
        for place in line(|second| second.max) {
            frame.dot(&mut sheet, place, &format!("dot {class}"), &units::time(place.1));
        }
    }
    Some(sheet.finish(name))
}

/// A sustained run; none where there is no second.
pub(crate) fn sustained(recorded: &Recorded, figure: &Figure, name: &str) -> Option<Chart> {
    let line = |value: fn(&Second) -> Option<f64>| -> Vec<(f64, f64)> {
        figure.per_second.iter().filter_map(|second| Some((second.second, value(second)?))).collect()
    };
    let lines = [
        ("appended", "off", line(|second| second.bytes)),
        ("durable", "session dashes", line(|second| second.durable_bytes)),
        ("waiting to be written back (bytes)", "noise dots", line(|second| second.dirty_bytes)),
    ];
    if lines[0].2.len() < 2 {
        return None;
    }
    let mut sheet = Sheet::new(&format!("Sustained: {}, {}", figure.payload(), figure.conditions()));
    let device = figure.device_bytes_per_second.map(|device| device.median);
    sheet.note(&format!(
        "Run {}. Payload bytes of each second{}.",
        recorded.name(),
        device.map_or(String::new(), |rate| format!("; the device's own stream takes {}/s", units::bytes(rate)))
    ));
    let entry = |(name, class, _): &(&str, &str, Vec<(f64, f64)>)| Entry {
        name: (*name).to_owned(),
        class: (*class).to_owned(),
        mark: Mark::Line,
    };
    sheet.legend(&lines.iter().map(entry).collect::<Vec<_>>());
    let all = || lines.iter().flat_map(|(_, _, points)| points.iter().copied());
    let x = Axis { scale: Scale::from_zero(all().map(|(x, _)| x)), name: "seconds".to_owned(), label: units::number };
    let y = Axis {
        scale: Scale::from_zero(all().map(|(_, y)| y)),
        name: "bytes of a second".to_owned(),
        label: units::bytes,
    };
    let frame = Frame::draw(&mut sheet, x, y, 220.0);
    for (_, class, points) in lines {
        frame.line(&mut sheet, points, class);
    }
    Some(sheet.finish(name))
}
