//! Two axes with units and grid lines, and lines and dots between them.

use svg::node::element::path::Data;
use svg::node::element::{Circle, Path, Title};

use super::scale::Scale;
use super::sheet::{MARGIN, Sheet, WIDTH, at};

const LEFT: f64 = 66.0;
/// Half of the longest label of the last tick.
const RIGHT: f64 = 34.0;

/// One axis: what it shows, and how a value of it is written.
pub(crate) struct Axis {
    pub(crate) scale: Scale,
    pub(crate) name: String,
    pub(crate) label: fn(f64) -> String,
}

/// A place for lines on a sheet.
pub(crate) struct Frame {
    x: Axis,
    y: Axis,
    top: f64,
    height: f64,
}

impl Frame {
    /// Draws axes and grid below what the sheet holds.
    pub(crate) fn draw(sheet: &mut Sheet, x: Axis, y: Axis, height: f64) -> Self {
        let top = sheet.top + 20.0;
        sheet.text(MARGIN, sheet.top + 10.0, "start", "tick", &y.name);
        let frame = Self { x, y, top, height };
        let (left, right, bottom) = (LEFT, WIDTH - RIGHT, top + height);
        for (values, class) in [(frame.y.scale.minor_ticks(), "grid minor"), (frame.y.scale.ticks(), "grid")] {
            for value in values {
                let y = frame.y_of(value);
                sheet.line((left, y), (right, y), class);
            }
        }
        for value in frame.y.scale.ticks() {
            sheet.text(left - 6.0, frame.y_of(value) + 4.0, "end", "tick", &(frame.y.label)(value));
        }
        for value in frame.x.scale.ticks() {
            let x = frame.x_of(value);
            sheet.line((x, top), (x, bottom), "grid");
            sheet.text(x, bottom + 16.0, "middle", "tick", &(frame.x.label)(value));
        }
        sheet.line((left, top), (left, bottom), "axis");
        sheet.line((left, bottom), (right, bottom), "axis");
        sheet.text(f64::midpoint(left, right), bottom + 34.0, "middle", "tick", &frame.x.name);
        sheet.top = bottom + 38.0;
        frame
    }

    pub(crate) fn x_of(&self, value: f64) -> f64 {
        LEFT + self.x.scale.place(value) * (WIDTH - LEFT - RIGHT)
    }

    pub(crate) fn y_of(&self, value: f64) -> f64 {
        self.top + (1.0 - self.y.scale.place(value)) * self.height
    }

    /// A line through points.
    pub(crate) fn line(&self, sheet: &mut Sheet, points: impl IntoIterator<Item = (f64, f64)>, class: &str) {
        let mut data = Data::new();
        let mut last: Option<(f64, f64)> = None;
        for (x, y) in points.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
            let place = (at(self.x_of(x)), at(self.y_of(y)));
            data = match last {
                None => data.move_to(place),
                Some(last) if last == place => data,
                Some(_) => data.line_to(place),
            };
            last = Some(place);
        }
        if last.is_some() {
            sheet.add(Path::new().set("d", data).set("class", format!("line {class}")));
        }
    }

    /// A dot with what a pointer is told.
    pub(crate) fn dot(&self, sheet: &mut Sheet, place: (f64, f64), class: &str, told: &str) {
        let radius = if class.contains("ring") { 5.0 } else { 3.5 };
        let dot = Circle::new().set("cx", at(self.x_of(place.0))).set("cy", at(self.y_of(place.1))).set("r", radius);
        sheet.add(dot.set("class", class).add(Title::new(told)));
    }
}
