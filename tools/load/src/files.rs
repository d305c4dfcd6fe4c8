//! The files of a run: `run.json`, and for each histogram an interval log (`.hlog`) and a percentile table (`.hgrm`) that
//! the usual HdrHistogram plotters open. Their unit is the microsecond.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;

use crate::recorder::{Histograms, Interval};
use crate::result::RunResult;
use crate::run::Outcome;

const NS_PER_US: f64 = 1_000.0;
/// Lines of a percentile table for each halving of the distance to 100 %.
const TICKS_PER_HALF: u32 = 5;

/// A folder that a run is written to, as far as it has come.
pub struct Folder {
    dir: PathBuf,
    /// Histograms whose files are written.
    written: usize,
}

impl Folder {
    /// Makes the folder if it does not exist.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), written: 0 })
    }

    /// Writes what is new since the last time.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&mut self, outcome: &Outcome) -> io::Result<()> {
        for histograms in outcome.histograms.iter().skip(self.written) {
            write_histograms(&self.dir, histograms, outcome.started)?;
        }
        self.written = outcome.histograms.len();
        write_json(&self.dir.join("run.json"), &outcome.result)
    }
}

/// Writes every file of a run into a directory, which is made if it does not exist.
///
/// # Errors
/// The directory or a file cannot be written.
pub fn write_all(dir: &Path, outcome: &Outcome) -> io::Result<()> {
    Folder::create(dir)?.write(outcome)
}

fn write_histograms(dir: &Path, histograms: &Histograms, started: SystemTime) -> io::Result<()> {
    let file = |kind: &str| dir.join(format!("{}{kind}", histograms.label));
    for (kind, histogram) in &histograms.kinds {
        let whole = Interval { repeat: 0, start: Duration::ZERO, length: Duration::ZERO, latency: histogram.clone() };
        match *kind {
            "latency" if !histograms.intervals.is_empty() => {
                write_intervals(&file(".hlog"), &histograms.intervals, started)?;
            }
            "latency" => write_intervals(&file(".hlog"), &[whole], started)?,
            kind => write_intervals(&file(&format!("-{kind}.hlog")), &[whole], started)?,
        }
        fs::write(file(&format!("-{kind}.hgrm")), percentile_table(histogram))?;
    }
    Ok(())
}

/// Writes the object of `run.json`, all of it or none: whoever reads it meanwhile, or after a kill, finds the one before.
///
/// # Errors
/// The file cannot be written.
pub fn write_json(path: &Path, result: &RunResult) -> io::Result<()> {
    let regular = fs::symlink_metadata(path).map_or(true, |metadata| metadata.is_file());
    if !regular {
        return write_object(File::create(path)?, result);
    }
    let unfinished = path.with_extension("unfinished");
    write_object(File::create(&unfinished)?, result)?;
    fs::rename(&unfinished, path)
}

fn write_object(file: File, result: &RunResult) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    serde_json::to_writer_pretty(&mut file, result)?;
    file.write_all(b"\n")?;
    file.flush()
}

fn write_intervals(path: &Path, intervals: &[Interval], started: SystemTime) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .with_start_time(started)
        .with_max_value_divisor(NS_PER_US)
        .begin_log_with(&mut file, &mut serializer)?;
    for interval in intervals {
        log.write_histogram(&interval.latency, interval.start, interval.length, None)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    file.flush()
}

/// The percentile table of HdrHistogram, in microseconds.
fn percentile_table(histogram: &Histogram<u64>) -> String {
    let mut table = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut count = 0;
    let mut line = |value: u64, quantile: f64, count: u64| {
        let inverse = if quantile < 1.0 { format!("{:>14.2}", 1.0 / (1.0 - quantile)) } else { String::new() };
        let _ = writeln!(table, "{:>12.3} {quantile:>14.12} {count:>10} {inverse}", value as f64 / NS_PER_US);
    };
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        count += step.count_since_last_iteration();
        line(step.value_iterated_to(), step.quantile_iterated_to(), count);
    }
    let _ = writeln!(
        table,
        "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]\n#[Max     = {:>12.3}, Total count    = {:>12}]\n#[Buckets = {:>12}, SubBuckets     = {:>12}]",
        histogram.mean() / NS_PER_US,
        histogram.stdev() / NS_PER_US,
        histogram.max() as f64 / NS_PER_US,
        histogram.len(),
        histogram.buckets(),
        1 << (64 - (2 * 10_u64.pow(u32::from(histogram.sigfig()))).leading_zeros()),
    );
    table
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::recorder::Recorder;

    #[test]
    fn interval_logs_are_read_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.hlog");
        let mut recorded = Recorder::new(0, Duration::ZERO, 2.0);
        recorded.record(5, 10, 1_000);
        recorded.record(1_500_000_000, 1_500_000_000, 1_500_002_000);
        write_intervals(&path, &recorded.intervals, SystemTime::now()).expect("written");
        let text = fs::read(&path).expect("read");
        let mut totals = Vec::new();
        for entry in IntervalLogIterator::new(&text) {
            if let LogEntry::Interval(interval) = entry.expect("an entry") {
                let encoded = interval.encoded_histogram().as_bytes();
                let bytes =
                    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded).expect("base64");
                let histogram: Histogram<u64> =
                    Deserializer::new().deserialize(&mut bytes.as_slice()).expect("a histogram");
                totals.push(histogram.len());
            }
        }
        assert_eq!(totals, [1, 1]);
    }

    #[test]
    fn percentile_tables_have_the_usual_columns() {
        let mut recorded = Recorder::new(0, Duration::ZERO, 1.0);
        for value in 1..=1_000 {
            recorded.record(0, 0, value * 1_000);
        }
        let table = percentile_table(&recorded.latency);
        let mut lines = table.lines();
        assert_eq!(
            lines.next().map(|line| line.split_whitespace().collect::<Vec<_>>()),
            Some(vec!["Value", "Percentile", "TotalCount", "1/(1-Percentile)"])
        );
        let last = table.lines().rfind(|line| !line.starts_with('#')).expect("a line");
        let last: Vec<&str> = last.split_whitespace().collect();
        assert_eq!(last, ["1000.447", "1.000000000000", "1000"]);
        assert!(table.contains("Total count    =         1000]"), "{table}");
    }
}
