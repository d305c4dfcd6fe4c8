//! Folders of runs read back: `run.json`, and the percentile tables beside it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::ReportError;
use crate::result::{Figure, Percentiles, Run, SCHEMA_VERSION};

/// A run and the folder it lies in.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// What was measured.
    pub run: Run,
    /// Where.
    pub dir: PathBuf,
}

/// A point of a percentile curve: the share of samples that took at most so long, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// From 0 to below 1.
    pub quantile: f64,
    /// The time.
    pub ns: f64,
}

/// The run of a folder, or the runs of the folders in it, by name.
///
/// # Errors
/// There is none, or one cannot be read.
pub fn runs_of(dir: &Path) -> Result<Vec<Recorded>, ReportError> {
    if dir.join("run.json").is_file() {
        return Ok(vec![Recorded::read(dir)?]);
    }
    let reading = || format!("reading {}", dir.display());
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir).map_err(ReportError::io(reading()))? {
        let path = entry.map_err(ReportError::io(reading()))?.path();
        if path.join("run.json").is_file() {
            folders.push(path);
        }
    }
    if folders.is_empty() {
        return Err(ReportError::NoRun(dir.to_owned()));
    }
    folders.sort();
    folders.iter().map(|folder| Recorded::read(folder)).collect()
}

impl Recorded {
    /// The run of one folder.
    ///
    /// # Errors
    /// There is no `run.json`, or it is no run, or one of another version.
    pub fn read(dir: &Path) -> Result<Self, ReportError> {
        let path = dir.join("run.json");
        let mut run = parse(&path)?;
        let cells = dir.join("delivery.json");
        if run.delivery.is_empty() && cells.is_file() {
            run.delivery = cells_of(&cells)?;
        }
        Ok(Self { run, dir: dir.to_owned() })
    }

    /// A short name: the day, and the commit.
    #[must_use]
    pub fn name(&self) -> String {
        let facts = &self.run.run;
        let day = facts.started.get(..16).unwrap_or(&facts.started).replace('T', " ");
        let commit = facts.commit.as_deref().map_or("no commit", |commit| commit.get(..7).unwrap_or(commit));
        let changed = if facts.dirty == Some(true) { "+" } else { "" };
        format!("{day} {commit}{changed}")
    }

    /// The curve of one of a figure's histograms (`latency`, `baseline`, ...): of its percentile table, or, where there
    /// is none, the few percentiles that the figure itself holds.
    #[must_use]
    pub fn curve(&self, figure: &Figure, kind: &str, percentiles: Option<Percentiles>) -> Vec<Point> {
        let table = figure.histograms.as_ref().filter(|name| is_plain(name)).and_then(|name| {
            let text = fs::read_to_string(self.dir.join(format!("{name}-{kind}.hgrm"))).ok()?;
            Some(curve_of(&text)).filter(|points| points.len() > 1)
        });
        table.or_else(|| percentiles.map(few)).unwrap_or_default()
    }
}

/// A file's name and nothing that leads out of its folder.
fn is_plain(name: &str) -> bool {
    !name.contains(['/', '\0']) && !name.starts_with('.')
}

fn parse(path: &Path) -> Result<Run, ReportError> {
    let malformed = |source| ReportError::Malformed { path: path.to_owned(), source };
    let text = fs::read(path).map_err(ReportError::io(format!("reading {}", path.display())))?;
    let value: Value = serde_json::from_slice(&text).map_err(malformed)?;
    let found = value.get("schema_version").and_then(Value::as_u64).unwrap_or(0);
    if found != u64::from(SCHEMA_VERSION) {
        return Err(ReportError::Schema { path: path.to_owned(), found, expected: SCHEMA_VERSION });
    }
    serde_json::from_value(value).map_err(malformed)
}

fn cells_of(path: &Path) -> Result<Vec<crate::result::Cell>, ReportError> {
    let malformed = |source| ReportError::Malformed { path: path.to_owned(), source };
    let text = fs::read(path).map_err(ReportError::io(format!("reading {}", path.display())))?;
    let mut value: Value = serde_json::from_slice(&text).map_err(malformed)?;
    serde_json::from_value(value.get_mut("cells").map(Value::take).unwrap_or_default()).map_err(malformed)
}

/// The lines of a percentile table: value in microseconds, quantile, count, inverse.
fn curve_of(table: &str) -> Vec<Point> {
    let point = |line: &str| {
        let mut columns = line.split_whitespace();
        let us: f64 = columns.next()?.parse().ok()?;
        let quantile: f64 = columns.next()?.parse().ok()?;
        (quantile < 1.0).then_some(Point { quantile, ns: us * 1e3 })
    };
    table.lines().filter(|line| !line.starts_with('#')).filter_map(point).collect()
}

fn few(percentiles: Percentiles) -> Vec<Point> {
    let known = [
        (0.0, Some(percentiles.p50)),
        (0.5, Some(percentiles.p50)),
        (0.9, Some(percentiles.p90)),
        (0.99, Some(percentiles.p99)),
        (0.999, Some(percentiles.p999)),
        (0.9999, percentiles.p9999),
    ];
    known.into_iter().filter_map(|(quantile, ns)| Some(Point { quantile, ns: ns? })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_table_gives_a_curve() {
        let table = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n       \
                     0.044 0.500000000000        500           2.00\n       \
                     1.200 0.990000000000        990         100.00\n      \
                     12.000 1.000000000000       1000\n#[Mean    =        0.100]\n";
        let points = curve_of(table);
        assert_eq!(points, [Point { quantile: 0.5, ns: 44.0 }, Point { quantile: 0.99, ns: 1_200.0 }]);
    }

    #[test]
    fn another_version_and_a_torn_file_are_one_clear_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |text: &str| fs::write(dir.path().join("run.json"), text).expect("a file");
        let error = || Recorded::read(dir.path()).expect_err("no run").to_string();
        write(r#"{"schema_version": 7, "figures": []}"#);
        assert!(error().contains("schema version 7 where 1 is read"), "{}", error());
        write(r#"{"schema_version": 1, "run": {"#);
        assert!(error().contains("is no result of a run"), "{}", error());
        write(r#"{"figures": []}"#);
        assert!(error().contains("schema version 0"), "{}", error());
        fs::remove_file(dir.path().join("run.json")).expect("removed");
        let none = runs_of(dir.path()).expect_err("no run").to_string();
        assert!(none.contains("holds no run") && !none.contains('\n'), "{none}");
    }

    #[test]
    fn a_name_in_a_result_leads_nowhere_else() {
        assert!(is_plain("append-off-100b"));
        assert!(!is_plain("../other/append") && !is_plain("/etc/x") && !is_plain(".."));
    }
}
