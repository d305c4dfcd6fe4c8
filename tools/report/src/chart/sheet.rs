//! The paper of a chart: title, notes and legend, each wrapped to its width, so that nothing lies over anything else.

use svg::Document;
use svg::node::element::{Group, Line, Rectangle, Text, Title};

use super::Chart;

/// Charts are as wide as a phone held upright allows without scrolling, and stand side by side elsewhere.
pub(crate) const WIDTH: f64 = 560.0;
pub(crate) const MARGIN: f64 = 14.0;
/// Letters are narrower than this in the mean, at a size of 1: a guess on the safe side, since no font is at hand.
const LETTER: f64 = 0.58;
const LINE_GAP: f64 = 1.35;

/// What stands for a series in the legend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mark {
    Line,
    Bar,
}

/// A name in the legend.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Classes of its line or bar.
    pub(crate) class: String,
    pub(crate) mark: Mark,
}

/// A sheet that is drawn on from top to bottom.
pub(crate) struct Sheet {
    content: Group,
    described: String,
    /// Everything above is taken.
    pub(crate) top: f64,
}

impl Sheet {
    pub(crate) fn new(title: &str) -> Self {
        let mut sheet = Self { content: Group::new(), described: title.to_owned(), top: MARGIN };
        sheet.paragraph(title, "title", 14.0);
        sheet
    }

    /// A note of as many lines as it takes.
    pub(crate) fn note(&mut self, text: &str) {
        self.paragraph(text, "note", 11.0);
    }

    fn paragraph(&mut self, text: &str, class: &str, size: f64) {
        for line in wrapped(text, size, WIDTH - 2.0 * MARGIN) {
            self.top += size;
            self.text(MARGIN, self.top, "start", class, &line);
            self.top += size * (LINE_GAP - 1.0);
        }
    }

    /// Names beside their marks, in as many rows as they take.
    pub(crate) fn legend(&mut self, entries: &[Entry]) {
        const SAMPLE: f64 = 26.0;
        const GAP: f64 = 16.0;
        if entries.is_empty() {
            return;
        }
        let mut x = MARGIN;
        self.top += 16.0;
        for entry in entries {
            let width = SAMPLE + 6.0 + width_of(&entry.name, 12.0);
            if x > MARGIN && x + width > WIDTH - MARGIN {
                x = MARGIN;
                self.top += 17.0;
            }
            let y = self.top - 4.0;
            match entry.mark {
                Mark::Line => self.line((x, y), (x + SAMPLE, y), &format!("line {}", entry.class)),
                Mark::Bar => self.rectangle((x + 6.0, y - 5.0), (14.0, 10.0), &format!("bar {}", entry.class), None),
            }
            self.text(x + SAMPLE + 6.0, self.top, "start", "label", &entry.name);
            x += width + GAP;
        }
        self.top += 8.0;
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
        let node = Text::new(text).set("x", at(x)).set("y", at(y)).set("text-anchor", anchor).set("class", class);
        self.add(node);
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let line = Line::new().set("x1", at(from.0)).set("y1", at(from.1)).set("x2", at(to.0)).set("y2", at(to.1));
        self.add(line.set("class", class));
    }

    /// A bar or a cell, with what a pointer is told.
    pub(crate) fn rectangle(&mut self, corner: (f64, f64), size: (f64, f64), class: &str, told: Option<&str>) {
        let rectangle = Rectangle::new()
            .set("x", at(corner.0))
            .set("y", at(corner.1))
            .set("width", at(size.0.max(0.0)))
            .set("height", at(size.1.max(0.0)))
            .set("class", class);
        self.add(match told {
            Some(told) => rectangle.add(Title::new(told)),
            None => rectangle,
        });
    }

    pub(crate) fn add(&mut self, node: impl svg::Node) {
        self.content = std::mem::replace(&mut self.content, Group::new()).add(node);
    }

    /// The chart, as high as what was drawn.
    pub(crate) fn finish(self, name: impl Into<String>) -> Chart {
        let height = (self.top + MARGIN).ceil();
        let paper = Rectangle::new().set("width", WIDTH).set("height", height).set("class", "paper");
        let document = Document::new()
            .set("viewBox", (0, 0, WIDTH as i64, height as i64))
            .set("class", "chart")
            .set("role", "img")
            .add(Title::new(self.described))
            .add(paper)
            .add(self.content);
        Chart { name: name.into(), svg: document.to_string() }
    }
}

/// A place on paper: a tenth of a unit is as fine as anything is seen.
pub(crate) fn at(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// How wide a text is at most.
pub(crate) fn width_of(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * LETTER
}

fn wrapped(text: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            line.push_str(word);
        } else if width_of(line, size) + width_of(word, size) + size * LETTER <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_wrapped_and_nothing_in_them_is_taken_for_markup() {
        let lines = wrapped(&"word ".repeat(40), 12.0, 200.0);
        assert!(lines.len() > 4 && lines.iter().all(|line| width_of(line, 12.0) <= 200.0), "{lines:?}");
        let mut sheet = Sheet::new("<b>&");
        sheet.rectangle((0.0, 0.0), (1.0, 1.0), "bar", Some("<script>"));
        let svg = sheet.finish("x").svg;
        assert!(svg.contains("&lt;b&gt;&amp;") && !svg.contains("<script>"), "{svg}");
    }
}
