//! A run as tables for a terminal: at most 100 columns, a unit on every number.

mod delivery;
mod durable;

use std::fmt::Write as _;

use crate::result::{Figure, Kind, Percentiles, RunResult};
use crate::spread::Spread;
use crate::workload::{Acknowledge, Window};

/// No line is longer.
pub const WIDTH_MAX: usize = 100;

/// The whole run.
#[must_use]
pub fn render(result: &RunResult) -> String {
    let mut text = String::new();
    let figures = |kind, pace| {
        let of = move |figure: &&Figure| figure.workload == kind && figure.pace == pace;
        result.figures.iter().filter(of).collect::<Vec<_>>()
    };
    let is_durable = |figure: &&Figure| figure.acknowledge == Some(Acknowledge::Durable);
    let (durable, others) = figures(Kind::Append, Some("closed")).into_iter().partition(is_durable);
    for (conditions, figures) in groups(others) {
        closed(&mut text, &conditions, &figures);
    }
    for (conditions, figures) in groups(durable) {
        durable::closed(&mut text, &conditions, &figures);
    }
    for (conditions, figures) in groups(figures(Kind::Pipelined, Some("closed"))) {
        durable::pipelined(&mut text, &conditions, &figures);
    }
    for figure in figures(Kind::Sustained, Some("closed")) {
        durable::sustained(&mut text, figure);
    }
    for (conditions, figures) in groups(figures(Kind::Endless, Some("closed"))) {
        endless(&mut text, &conditions, &figures);
    }
    for (conditions, figures) in groups(figures(Kind::Append, Some("open"))) {
        open(&mut text, &conditions, &figures);
    }
    fetch(&mut text, &figures(Kind::Fetch, None));
    let (cold, warm) =
        figures(Kind::Recover, None).into_iter().partition::<Vec<_>, _>(|figure| figure.log_bytes.is_some());
    recover(&mut text, &warm);
    durable::reopened(&mut text, &cold);
    delivery::cost(&mut text, &figures(Kind::Delivery, None));
    footer(&mut text, result);
    text
}

/// Figures under the same conditions stand in one table, and its title names them.
fn groups(figures: Vec<&Figure>) -> Vec<(String, Vec<&Figure>)> {
    let mut groups: Vec<(String, Vec<&Figure>)> = Vec::new();
    for figure in figures {
        let level = figure.acknowledge.map_or("", Acknowledge::word);
        let window = figure.window.map_or("", Window::word);
        let partitions = figure.partitions.unwrap_or(1);
        let plural = if partitions == 1 { "" } else { "s" };
        let conditions = format!("{level}, {window} window, {partitions} partition{plural}");
        match groups.iter_mut().find(|(other, _)| *other == conditions) {
            Some((_, group)) => group.push(figure),
            None => groups.push((conditions, vec![figure])),
        }
    }
    groups
}

fn closed(text: &mut String, conditions: &str, figures: &[&Figure]) {
    let mut table = Table::new([
        "payload",
        "batch",
        "thr",
        "idempotence",
        "producers",
        "dup",
        "append",
        "min..max",
        "limit",
        "x limit",
        "x off",
        "rate",
    ]);
    for figure in figures {
        table.row([
            payload(figure),
            or_dash(figure.batch),
            or_dash(figure.threads),
            idempotence(figure),
            or_dash(figure.producers),
            figure.duplicates.map_or(String::new(), |share| format!("{}%", (share * 1e4).round() / 100.0)),
            time(figure.ns_per_append),
            time_range(figure.ns_per_append),
            time(figure.limit_ns_per_append),
            ratio(figure.ratio_to_limit),
            ratio(figure.ratio_to_off),
            median(figure.appends_per_second.map(|rate| scaled(rate, 1e-6)), "M/s"),
        ]);
    }
    table.write(
        text,
        &format!(
            "Append, closed loop: {conditions}, segments prepared ahead.\n\
             The time of one append on its thread; x limit and x off are medians of the pairs' ratios\n\
             (~: no difference found, the middle half of the pairs lies on both sides of 1)."
        ),
    );
}

fn endless(text: &mut String, conditions: &str, figures: &[&Figure]) {
    let mut table = Table::new([
        "payload",
        "idempotence",
        "append",
        "min..max",
        "two bare threads",
        "ratio",
        "payload rate",
        "rotations",
    ]);
    for figure in figures {
        table.row([
            payload(figure),
            idempotence(figure),
            time(figure.ns_per_append),
            time_range(figure.ns_per_append),
            time(figure.limit_ns_per_append),
            ratio(figure.ratio_to_limit),
            median(figure.bytes_per_second.map(|rate| scaled(rate, 1e-6)), "MB/s"),
            or_dash(figure.rotations),
        ]);
    }
    table.write(
        text,
        &format!(
            "Append without end: {conditions}, nothing recycled.\n\
             Segments are prepared while it runs; so are those of two bare threads, one of which copies."
        ),
    );
}

fn open(text: &mut String, conditions: &str, figures: &[&Figure]) {
    let mut table = Table::new([
        "payload",
        "batch",
        "thr",
        "idempotence",
        "schedule",
        "what",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "p99.99",
        "max",
    ]);
    for figure in figures {
        let rate = figure.rate_per_second.map_or(String::new(), |rate| format!("{}/s", number(rate)));
        let mark = if figure.saturated == Some(true) { " (!)" } else { "" };
        let keys = [
            payload(figure),
            or_dash(figure.batch),
            or_dash(figure.threads),
            idempotence(figure),
            format!("{rate}{mark}"),
        ];
        let rows = [
            ("latency", figure.latency_ns),
            ("service", figure.service_ns),
            ("send delay", figure.send_delay_ns),
            ("at rest", figure.at_rest_ns),
            ("noise", figure.baseline_ns),
            ("noise, I/O", figure.baseline_io_ns),
        ];
        for (number, (what, percentiles)) in rows.into_iter().enumerate() {
            let Some(percentiles) = percentiles else { continue };
            let keys = keys.iter().map(|key| if number == 0 { key.clone() } else { String::new() });
            table.row(keys.chain([what.to_owned()]).chain(times(percentiles)));
        }
    }
    table.write(
        text,
        &format!(
            "Append, open loop: {conditions}.\n\
             In us, from the time on the schedule to completion. Noise is the empty operation on the same\n\
             schedule; noise, I/O the same beside as many writes and flushes of another file; at rest the\n\
             latency while the committer does nothing. (!) saturated: under 99 % of the schedule was reached."
        ),
    );
}

fn times(percentiles: Percentiles) -> [String; 6] {
    let us = |ns: u64| number(ns as f64 / 1e3);
    [
        us(percentiles.p50),
        us(percentiles.p90),
        us(percentiles.p99),
        us(percentiles.p999),
        percentiles.p9999.map_or("-".to_owned(), us),
        us(percentiles.max),
    ]
}

fn fetch(text: &mut String, figures: &[&Figure]) {
    let mut table = Table::new(["payload", "batch", "idempotence", "verified", "record", "min..max", "payload rate"]);
    for figure in figures {
        table.row([
            payload(figure),
            or_dash(figure.batch),
            idempotence(figure),
            figure.verify.unwrap_or_default().to_owned(),
            time(figure.ns_per_record),
            time_range(figure.ns_per_record),
            median(figure.bytes_per_second.map(|rate| scaled(rate, 1e-6)), "MB/s"),
        ]);
    }
    table.write(text, "Scan from memory, one thread.");
}

fn recover(text: &mut String, figures: &[&Figure]) {
    let mut table = Table::new([
        "payload",
        "idempotence",
        "producers",
        "since snapshot",
        "segments",
        "reopen",
        "min..max",
        "rate",
        "sync before",
    ]);
    let ms = |seconds: Option<f64>| seconds.map_or(String::new(), |seconds| number(seconds * 1e3));
    for figure in figures {
        table.row([
            payload(figure),
            idempotence(figure),
            or_dash(figure.producers),
            figure.bytes.map_or(String::new(), |bytes| format!("{} MB", number(bytes as f64 / 1e6))),
            or_dash(figure.segments),
            format!("{} ms", ms(figure.seconds)),
            format!("{}..{}", ms(figure.seconds_min), ms(figure.seconds_max)),
            median(figure.bytes_per_second.map(|rate| scaled(rate, 1e-6)), "MB/s"),
            format!("{} ms", ms(figure.sync_seconds)),
        ]);
    }
    table.write(text, "Reopening a log that was left without a close, from memory.");
}

fn footer(text: &mut String, result: &RunResult) {
    let (run, host, device) = (&result.run, &result.host, &result.device);
    let commit = run.commit.as_deref().map_or("no commit", |commit| commit.get(..12).unwrap_or(commit));
    let dirty = if run.dirty == Some(true) { ", changed since" } else { "" };
    let lines = [
        format!("{}, {} cores, {} GB, {}", host.cpu, host.cores, host.memory_bytes >> 30, host.kernel),
        format!("{} on {}, mounted {}", host.file_system, device.name, host.mount_options),
        device.flush_ns.map_or(String::new(), |flush| {
            let us = |ns: u64| number(ns as f64 / 1e3);
            format!("a write and its flush: {} us, p99 {} us", us(flush.p50), us(flush.p99))
        }),
        device
            .sequential_write_bytes_per_second
            .map_or(String::new(), |rate| format!("a stream of writes and its flush: {} MB/s", number(rate / 1e6))),
        format!("{}, {} build, commit {commit}{dirty}", run.rustc, run.profile),
        format!(
            "clock {}: {} ns a reading; memory takes copies at {} GB/s",
            host.clock_source,
            number(host.clock_ns),
            number(host.memory_copy_bytes_per_second / 1e9)
        ),
    ];
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let _ = writeln!(text, "{}", line.chars().take(WIDTH_MAX).collect::<String>());
    }
    if matches!(host.file_system.as_str(), "tmpfs" | "ramfs") {
        let _ = writeln!(text, "the file system is memory: nothing here says anything about a disk");
    }
    if run.profile != "release" {
        let _ = writeln!(text, "this is a {} build: its figures mean nothing", run.profile);
    }
}

/// Rows of cells, as wide as their widest.
struct Table<const N: usize> {
    header: [&'static str; N],
    rows: Vec<Vec<String>>,
}

impl<const N: usize> Table<N> {
    fn new(header: [&'static str; N]) -> Self {
        Self { header, rows: Vec::new() }
    }

    fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    fn write(&self, text: &mut String, title: &str) {
        if self.rows.is_empty() {
            return;
        }
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].len());
            cells.chain([self.header[column].len()]).max().unwrap_or(0)
        };
        let widths: [usize; N] = std::array::from_fn(width);
        let tight = widths.iter().sum::<usize>() + 2 * (N - 1) > WIDTH_MAX;
        let gap = if tight { " " } else { "  " };
        let _ = writeln!(text, "{title}");
        self.line(text, &widths, gap, self.header.iter().copied());
        for row in &self.rows {
            self.line(text, &widths, gap, row.iter().map(String::as_str));
        }
        text.push('\n');
    }

    /// Words to the left, numbers to the right, so that digits stand below each other.
    fn line<'c>(&self, text: &mut String, widths: &[usize; N], gap: &str, cells: impl Iterator<Item = &'c str>) {
        let mut line = String::new();
        for (column, cell) in cells.enumerate() {
            let width = widths[column];
            let _ = match self.header[column] {
                "idempotence" | "what" | "verified" | "window" | "delivery" => write!(line, "{cell:<width$}{gap}"),
                _ => write!(line, "{cell:>width$}{gap}"),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

fn payload(figure: &Figure) -> String {
    let about = if figure.payload_file.is_some() { "~" } else { "" };
    figure.payload_bytes.map_or(String::new(), |bytes| format!("{about}{bytes} B"))
}

fn idempotence(figure: &Figure) -> String {
    figure.idempotence.map_or(String::new(), |idempotence| idempotence.to_string())
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

fn median(spread: Option<Spread>, unit: &str) -> String {
    spread.map_or("-".to_owned(), |spread| format!("{} {unit}", number(spread.median)))
}

fn time(spread: Option<Spread>) -> String {
    spread.map_or("-".to_owned(), |spread| {
        let (factor, unit) = unit(spread);
        format!("{} {unit}", number(spread.median * factor))
    })
}

/// In the unit of the median.
fn time_range(spread: Option<Spread>) -> String {
    spread.map_or(String::new(), |spread| {
        let (factor, _) = unit(spread);
        format!("{}..{}", number(spread.min * factor), number(spread.max * factor))
    })
}

fn unit(ns: Spread) -> (f64, &'static str) {
    match ns.median {
        median if median < 10e3 => (1.0, "ns"),
        median if median < 10e6 => (1e-3, "us"),
        _ => (1e-6, "ms"),
    }
}

fn ratio(spread: Option<Spread>) -> String {
    let Some(spread) = spread else { return "-".to_owned() };
    format!("{}{:.2}", if spread.straddles(1.0) { "~" } else { "" }, spread.median)
}

fn scaled(spread: Spread, factor: f64) -> Spread {
    Spread {
        median: spread.median * factor,
        min: spread.min * factor,
        max: spread.max * factor,
        lower_quarter: spread.lower_quarter * factor,
        upper_quarter: spread.upper_quarter * factor,
    }
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        size if size < 9.995 => format!("{value:.2}"),
        size if size < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::delivery::Column;
    use crate::payload::Payloads;
    use crate::result::{
        DeviceFacts, Flushes, HostFacts, RunFacts, SCHEMA_VERSION, Second, SegmentsFrom, SustainedSecond,
    };
    use crate::workload::{Idempotence, Pace, Workload};

    /// Figures wider than any real one.
    fn wide() -> RunResult {
        let spread = |median: f64| Spread::of([median * 0.9, median, median * 1.2]);
        let percentiles = Some(Percentiles {
            p50: 65,
            p90: 1_100,
            p99: 20_000,
            p999: 12_345_000,
            p9999: Some(12_345_000),
            max: 59_123_456_789,
        });
        let workload = Workload {
            idempotence: Idempotence::Session,
            producers: 1_048_576,
            batch: 65_536,
            threads: 256,
            duplicates: 0.015,
            pace: Pace::Open { rate_per_second: 100e6 },
            ..Workload::new(Arc::new(Payloads::fixed(1_048_576)))
        };
        let mut figure = Figure::of(&workload);
        figure.ns_per_append = spread(123_456.0);
        figure.limit_ns_per_append = spread(123_400.0);
        figure.ns_per_record = spread(1_234.0);
        figure.ratio_to_limit = spread(1.0);
        figure.ratio_to_off = spread(12.34);
        figure.appends_per_second = spread(123.4e6);
        figure.bytes_per_second = spread(12.34e9);
        figure.rotations = Some(123);
        figure.segments_from = Some(SegmentsFrom::Ahead);
        figure.latency_ns = percentiles;
        figure.service_ns = percentiles;
        figure.send_delay_ns = percentiles;
        figure.baseline_ns = percentiles;
        figure.saturated = Some(true);
        figure.bytes = Some(1 << 30);
        figure.segments = Some(1_234);
        figure.floor_ns = Some(Flushes { p50: 101_000, p99: 12_345_000, samples: 1_000 });
        figure.ratio_to_floor = spread(12.34);
        figure.ratio_to_one_thread = spread(123.4);
        figure.appends_per_sync = Some(123.4);
        figure.device_bytes_per_second = spread(12.34e9);
        figure.ratio_to_device = spread(0.95);
        figure.at_rest_ns = percentiles;
        figure.baseline_io_ns = percentiles;
        figure.seconds = Some(1.234);
        figure.seconds_min = Some(1.234);
        figure.seconds_max = Some(1.234);
        figure.sync_seconds = Some(12.34);
        figure.verify = Some("always");
        figure.delivery = Some(Column::AtLeastOnce);
        figure.rate = Some(0.015);
        figure.ns_per_message = spread(123_456.0);
        figure.messages_per_second = spread(123.4e6);
        figure.ratio_to_at_least_once = spread(12.34);
        figure.p99_ratio_to_at_least_once = spread(12.34);
        let second = Second::Sustained(SustainedSecond {
            second: 12_345.0,
            bytes: 12_345_678_901,
            durable_bytes: 12_345_678_901,
            resident_bytes: 123 << 30,
            dirty_bytes: 123 << 30,
            writeback_bytes: 123 << 30,
        });
        let of = |workload, pace| Figure { workload, pace, ..figure.clone() };
        RunResult {
            schema_version: SCHEMA_VERSION,
            run: RunFacts {
                id: "x".to_owned(),
                started: "2026-11-23T08:35:00Z".to_owned(),
                ended: "2026-11-23T08:36:00Z".to_owned(),
                commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
                dirty: Some(true),
                crate_version: "0.1.0".to_owned(),
                rustc: "rustc 1.95.0 (59807616e 2026-04-14)".to_owned(),
                target_features: vec![],
                profile: "release".to_owned(),
                command: "oncelog bench".to_owned(),
                seed: 1,
            },
            host: HostFacts {
                cpu: "A Processor With A Rather Long Name @ 2.30GHz".to_owned(),
                cores: 192,
                memory_bytes: 1 << 40,
                kernel: "Linux 6.18.44-with-a-long-local-version".to_owned(),
                hypervisor: None,
                clock_source: "tsc".to_owned(),
                clock_ns: 24.0,
                memory_copy_bytes_per_second: 4.5e9,
                load_before: 0.5,
                huge_pages: None,
                file_system: "ext4".to_owned(),
                mount_options: "rw,relatime,discard,".repeat(20),
            },
            device: DeviceFacts {
                name: "nvme0n1p1".to_owned(),
                write_cache: None,
                flush_ns: Some(Flushes { p50: 101_000, p99: 150_000, samples: 1_000 }),
                sequential_write_bytes_per_second: None,
            },
            figures: vec![
                of(Kind::Append, Some("closed")),
                of(Kind::Append, Some("open")),
                of(Kind::Endless, Some("closed")),
                Figure { acknowledge: Some(Acknowledge::Durable), ..of(Kind::Append, Some("closed")) },
                of(Kind::Pipelined, Some("closed")),
                Figure { per_second: Some(vec![second; 100]), ..of(Kind::Sustained, Some("closed")) },
                of(Kind::Fetch, None),
                of(Kind::Recover, None),
                Figure { log_bytes: Some(123 << 30), ..of(Kind::Recover, None) },
                of(Kind::Delivery, None),
            ],
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let text = render(&wide());
        for line in text.lines() {
            assert!(line.len() <= WIDTH_MAX, "{} columns: {line}", line.len());
        }
        for expected in [
            "x limit",
            "x floor",
            "x device",
            "GB durable",
            "Reopening a large log",
            "schedule",
            "two bare threads",
            "acks lost",
            "Scan from memory",
            "since snapshot",
            "(!)",
            "~1.00",
        ] {
            assert!(text.contains(expected), "no {expected} in\n{text}");
        }
    }

    #[test]
    fn numbers_have_three_digits_that_matter() {
        let numbers = [0.0, 0.0651, 1.234, 12.34, 99.99, 123.4, 1_234_567.0].map(number);
        assert_eq!(numbers, ["0.00", "0.07", "1.23", "12.3", "100", "123", "1234567"]);
    }
}
