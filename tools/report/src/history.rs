//! `history.ndjson`: a line a run with the few figures that everything else is judged by.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::ReportError;
use crate::read::Recorded;
use crate::result::Figure;

/// The name of the file in a folder of runs.
pub const FILE: &str = "history.ndjson";

/// A figure of the history.
#[derive(Clone, Copy, Debug)]
pub struct Canonical {
    /// Its field.
    pub name: &'static str,
    /// What it is.
    pub words: &'static str,
    /// Against the limit or the floor; else nanoseconds.
    pub is_ratio: bool,
    idempotence: &'static str,
    payload_bytes: f64,
    producers: Option<u64>,
    durable: bool,
}

const fn closed(name: &'static str, words: &'static str, idempotence: &'static str, payload_bytes: f64) -> Canonical {
    Canonical { name, words, is_ratio: true, idempotence, payload_bytes, producers: None, durable: false }
}

/// The figures of the history.
pub const CANONICAL: &[Canonical] = &[
    closed("off_100_x_limit", "100 B, off", "off", 100.0),
    closed("session_100_x_limit", "100 B, session", "session", 100.0),
    Canonical { producers: Some(1), ..closed("by_id_100_x_limit", "100 B, by id", "by-id", 100.0) },
    closed("session_1024_x_limit", "1 KiB, session", "session", 1024.0),
    Canonical { durable: true, ..closed("session_128_x_floor", "128 B, durable, session", "session", 128.0) },
    Canonical { is_ratio: false, ..closed("off_100_ns", "100 B, off", "off", 100.0) },
    Canonical { is_ratio: false, ..closed("session_100_ns", "100 B, session", "session", 100.0) },
    Canonical { is_ratio: false, producers: Some(1), ..closed("by_id_100_ns", "100 B, by id", "by-id", 100.0) },
];

impl Canonical {
    fn is_it(&self, figure: &Figure) -> bool {
        figure.workload == "append"
            && figure.pace.as_deref() == Some("closed")
            && figure.idempotence.as_deref() == Some(self.idempotence)
            && figure.payload_bytes == Some(self.payload_bytes)
            && figure.payload_file.is_none()
            && figure.payload_mix.is_none()
            && (figure.batch, figure.threads, figure.partitions) == (Some(1), Some(1), Some(1))
            && figure.duplicates == Some(0.0)
            && figure.skew.is_none()
            && figure.readers.is_none()
            && (self.producers.is_none() || figure.producers == self.producers)
            && figure.is_durable() == self.durable
            && (!self.durable || figure.window.as_deref() == Some("direct"))
            && figure.verified
    }

    fn value(&self, figure: &Figure) -> Option<f64> {
        let spread = match (self.is_ratio, self.durable) {
            (true, true) => figure.ratio_to_floor,
            (true, false) => figure.ratio_to_limit,
            (false, _) => figure.ns_per_append,
        };
        spread.map(|spread| spread.median)
    }
}

/// One run of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The name of its folder.
    pub run: String,
    /// When it began.
    pub started: String,
    /// Its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The figures that it has, by name.
    pub figures: BTreeMap<String, f64>,
}

impl Line {
    /// The line of a run.
    #[must_use]
    pub fn of(recorded: &Recorded) -> Self {
        let run = &recorded.run;
        let value = |canonical: &Canonical| {
            let figure = run.figures.iter().find(|figure| canonical.is_it(figure))?;
            Some((canonical.name.to_owned(), (canonical.value(figure)? * 1e3).round() / 1e3))
        };
        Self {
            run: recorded.dir.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            started: run.run.started.clone(),
            commit: run.run.commit.clone(),
            figures: CANONICAL.iter().filter_map(value).collect(),
        }
    }

    pub(crate) fn day(&self) -> &str {
        self.started.get(..10).unwrap_or(&self.started)
    }
}

/// The history of a folder of runs, oldest first; empty where there is none.
///
/// # Errors
/// The file cannot be read, or a line of it makes no sense.
pub fn read(dir: &Path) -> Result<Vec<Line>, ReportError> {
    let path = dir.join(FILE);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path).map_err(ReportError::io(format!("reading {}", path.display())))?;
    let line =
        |line: &str| serde_json::from_str(line).map_err(|source| ReportError::Malformed { path: path.clone(), source });
    text.lines().filter(|line| !line.trim().is_empty()).map(line).collect()
}

/// Brings the history up to the runs of a folder: theirs are written anew, those whose folders are gone stay.
pub(crate) fn renew(dir: &Path, runs: &[Recorded]) -> Result<Vec<Line>, ReportError> {
    let mut lines: BTreeMap<(String, String), Line> = BTreeMap::new();
    let kept = read(dir)?.into_iter();
    for line in kept.chain(runs.iter().filter(|recorded| !recorded.run.interrupted).map(Line::of)) {
        lines.insert((line.started.clone(), line.run.clone()), line);
    }
    let lines: Vec<Line> = lines.into_values().collect();
    let path = dir.join(FILE);
    let mut text = String::new();
    for line in &lines {
        text += &serde_json::to_string(line).map_err(|source| ReportError::Malformed { path: path.clone(), source })?;
        text.push('\n');
    }
    fs::write(&path, text).map_err(ReportError::io(format!("writing {}", path.display())))?;
    Ok(lines)
}
