//! The report: charts of one run, or of several side by side, as files and as one page.

use std::fs;
use std::path::{Path, PathBuf};

use crate::chart::{Chart, delivery, history as history_chart};
use crate::error::ReportError;
use crate::groups;
use crate::history::{self, Line};
use crate::page::{Section, page};
use crate::read::Recorded;

/// The page's file.
pub const PAGE: &str = "report.html";
/// The folder of the charts as files.
pub const CHARTS: &str = "charts";

/// A finished report.
pub struct Report {
    page: String,
    charts: Vec<Chart>,
}

impl Report {
    /// Draws runs, in their order; the first is what others are compared with.
    ///
    /// # Errors
    /// The history beside them cannot be read.
    pub fn of(runs: &[Recorded]) -> Result<Self, ReportError> {
        let lines = history_beside(runs)?;
        let sections = sections(runs, &lines);
        let page = page(runs, &lines, &sections);
        Ok(Self { page, charts: sections.into_iter().flat_map(|section| section.charts).collect() })
    }

    /// The page.
    #[must_use]
    pub fn page(&self) -> &str {
        &self.page
    }

    /// The charts by themselves.
    #[must_use]
    pub fn charts(&self) -> &[Chart] {
        &self.charts
    }

    /// Writes the page and each chart; where the page is. Charts of an earlier report there are taken away.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<PathBuf, ReportError> {
        let charts = dir.join(CHARTS);
        fs::create_dir_all(&charts).map_err(ReportError::io(format!("creating {}", charts.display())))?;
        let entries = fs::read_dir(&charts).map_err(ReportError::io(format!("reading {}", charts.display())))?;
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "svg") {
                fs::remove_file(&path).map_err(ReportError::io(format!("removing {}", path.display())))?;
            }
        }
        for chart in &self.charts {
            write(&charts.join(format!("{}.svg", chart.name)), &chart.standalone())?;
        }
        let path = dir.join(PAGE);
        write(&path, &self.page)?;
        Ok(path)
    }
}

fn write(path: &Path, text: &str) -> Result<(), ReportError> {
    fs::write(path, text).map_err(ReportError::io(format!("writing {}", path.display())))
}

/// The history in the folder that the runs lie in, or in the first of them.
fn history_beside(runs: &[Recorded]) -> Result<Vec<Line>, ReportError> {
    for dir in runs.iter().filter_map(|recorded| recorded.dir.parent()) {
        let lines = history::read(dir)?;
        if !lines.is_empty() {
            return Ok(lines);
        }
    }
    Ok(Vec::new())
}

fn sections(runs: &[Recorded], history: &[Line]) -> Vec<Section> {
    let delivered = runs.iter().enumerate();
    let delivered = delivered.filter_map(|(run, recorded)| delivery::chart(recorded, &format!("delivery-{}", run + 1)));
    vec![
        Section {
            id: "cost",
            heading: "Cost of an append",
            note: "What one append takes of its thread's time, against a bare loop that does only what no append can \
                   avoid, or against a raw write of the same blocks where it is waited for.",
            charts: groups::costs(runs),
        },
        Section {
            id: "latency",
            heading: "Latency by percentile",
            note: "Appends on a fixed schedule, counted from the time they were due. Noise is what the machine adds on \
                   its own: the same schedule with an empty operation.",
            charts: groups::latencies(runs),
        },
        Section {
            id: "sweep",
            heading: "Rate and knee",
            note: "The same schedule at rising rates, until the log no longer keeps up.",
            charts: groups::sweeps(runs),
        },
        Section {
            id: "throughput",
            heading: "Throughput",
            note: "Records a second of all threads, each append sent when the one before has returned.",
            charts: groups::throughputs(runs),
        },
        Section {
            id: "over-time",
            heading: "Over time",
            note: "What a single number hides: pauses, and what only shows after a while.",
            charts: groups::times(runs),
        },
        Section {
            id: "delivery",
            heading: "Delivery",
            note: "What each way of delivering makes of faults between producer, log and consumer.",
            charts: delivered.collect(),
        },
        Section {
            id: "history",
            heading: "History",
            note: "The few figures that everything else is judged by, over all recorded runs.",
            charts: history_chart::chart(history, "history").into_iter().collect(),
        },
    ]
}
