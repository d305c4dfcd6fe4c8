//! Charts as SVG: a sheet of paper with a title and a legend, a frame with two axes, and lines and bars in it.
//!
//! Colours are named by class and live in `chart.css`, so that one drawing serves paper, day and night.

pub(crate) mod cost;
pub(crate) mod delivery;
pub(crate) mod frame;
pub(crate) mod history;
pub(crate) mod over_time;
pub(crate) mod percentiles;
pub(crate) mod scale;
pub(crate) mod sheet;
pub(crate) mod sweep;
pub(crate) mod throughput;

/// What gives every class its colour.
pub(crate) const STYLE: &str = include_str!("chart.css");

/// A finished chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// A name for its file.
    pub name: String,
    /// The element, without a style of its own.
    pub svg: String,
}

impl Chart {
    /// The chart as a file that a browser shows by itself.
    #[must_use]
    pub fn standalone(&self) -> String {
        match self.svg.split_once('>') {
            Some((open, rest)) => format!("{open}>\n<style>\n{STYLE}</style>{rest}\n"),
            None => self.svg.clone(),
        }
    }
}

/// The class of a kind of idempotence.
pub(crate) fn class_of(idempotence: Option<&str>) -> &'static str {
    match idempotence {
        Some("off") => "off",
        Some("session") => "session",
        Some("by-id") => "by-id",
        Some("mutex") => "mutex",
        _ => "other",
    }
}
