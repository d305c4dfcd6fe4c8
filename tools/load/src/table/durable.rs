//! Tables of what is waited for until it is on the device.

use super::columns::{Table, idempotence, median, number, or_dash, payload, ratio, scaled};
use crate::result::{Figure, Second, SustainedSecond};
use crate::spread::Spread;
use crate::workload::Window;

/// A sustained run's table has at most this many lines; of a longer one, every so many seconds are told.
const SECONDS_MAX: usize = 40;

fn us(ns: Option<u64>) -> String {
    ns.map_or("-".to_owned(), |ns| number(ns as f64 / 1e3))
}

fn gigabytes(bytes: u64) -> String {
    number(bytes as f64 / 1e9)
}

pub(super) fn closed(text: &mut String, conditions: &str, figures: &[&Figure]) {
    let mut table = Table::new([
        "payload",
        "batch",
        "thr",
        "idempotence",
        "producers",
        "p50",
        "p99",
        "floor",
        "x floor",
        "x off",
        "rate",
        "x 1 thr",
        "a sync",
    ]);
    for figure in figures {
        table.row([
            payload(figure),
            or_dash(figure.batch),
            or_dash(figure.threads),
            idempotence(figure),
            or_dash(figure.producers),
            us(figure.latency_ns.map(|times| times.p50)),
            us(figure.latency_ns.map(|times| times.p99)),
            us(figure.floor_ns.map(|times| times.p50)),
            ratio(figure.ratio_to_floor),
            ratio(figure.ratio_to_off),
            median(figure.appends_per_second.map(|rate| scaled(rate, 1e-3)), "k/s"),
            ratio(figure.ratio_to_one_thread),
            figure.appends_per_sync.map_or(String::new(), number),
        ]);
    }
    table.write(
        text,
        &format!(
            "Append and wait until it is durable, closed loop: {conditions}.\n\
             In us, from sending to the return of the wait. The floor is the median of a raw direct write of the\n\
             same blocks and its flush, by turns with it; x floor is the ratio of the medians, x 1 thr that of\n\
             the throughputs, and \"a sync\" the appends that one flush covers."
        ),
    );
}

pub(super) fn pipelined(text: &mut String, conditions: &str, figures: &[&Figure]) {
    let mut table = Table::new([
        "payload",
        "batch",
        "thr",
        "idempotence",
        "payload rate",
        "min..max",
        "device",
        "x device",
        "syncs",
    ]);
    for figure in figures {
        table.row([
            payload(figure),
            or_dash(figure.batch),
            or_dash(figure.threads),
            idempotence(figure),
            rate(figure.bytes_per_second),
            range(figure.bytes_per_second),
            rate(figure.device_bytes_per_second),
            ratio(figure.ratio_to_device),
            or_dash(figure.syncs),
        ]);
    }
    table.write(
        text,
        &format!(
            "Append in a pipeline, only the last is waited for: {conditions}.\n\
             The device is a raw stream of direct writes and a flush at its end, by turns with it."
        ),
    );
}

pub(super) fn sustained(text: &mut String, figure: &Figure) {
    let seconds: Vec<SustainedSecond> = figure
        .per_second
        .iter()
        .flatten()
        .filter_map(|second| match second {
            Second::Sustained(second) => Some(*second),
            Second::Latency(_) => None,
        })
        .collect();
    let rates = Spread::of(seconds.iter().map(|second| second.bytes as f64));
    let mut table =
        Table::new(["window", "payload", "GB durable", "in", "payload rate", "by second", "device", "x device"]);
    table.row([
        figure.window.map_or(String::new(), |window| window.to_string()),
        payload(figure),
        figure.bytes.map_or(String::new(), gigabytes),
        figure.seconds.map_or(String::new(), |seconds| format!("{} s", number(seconds))),
        rate(figure.bytes_per_second),
        rates.map_or("-".to_owned(), |rates| {
            format!("{} ({}..{})", number(rates.median / 1e6), number(rates.min / 1e6), number(rates.max / 1e6))
        }),
        rate(figure.device_bytes_per_second),
        ratio(figure.ratio_to_device),
    ]);
    table.write(
        text,
        "Append without pause, with retention by size; the clock starts after the first lap.\n\
         x device is what frames take of the device's own stream, measured before and after. By second: the\n\
         median, the slowest and the fastest second, in MB/s.",
    );
    let every = seconds.len().div_ceil(SECONDS_MAX).max(1);
    let mut table = Table::new(["second", "appended", "durable", "resident", "dirty", "written back"]);
    for second in seconds.iter().step_by(every) {
        table.row([
            format!("{:.0} s", second.second),
            format!("{} MB/s", number(second.bytes as f64 / 1e6)),
            format!("{} MB/s", number(second.durable_bytes as f64 / 1e6)),
            format!("{} MB", number(second.resident_bytes as f64 / 1e6)),
            format!("{} MB", number(second.dirty_bytes as f64 / 1e6)),
            format!("{} MB", number(second.writeback_bytes as f64 / 1e6)),
        ]);
    }
    let window = figure.window.map_or("", Window::word);
    let title =
        format!("{window} window, by second: payload bytes, the process's memory, and the whole system's pages.");
    table.write(text, &title);
}

pub(super) fn reopened(text: &mut String, figures: &[&Figure]) {
    let mut table =
        Table::new(["window", "log", "segments", "since snapshot", "device reads", "reopen", "2 s and the reading"]);
    for figure in figures {
        let read = figure.device_read_bytes_per_second.map(|rate| rate.median);
        let bound = figure.bytes.zip(read).map(|(bytes, rate)| 2.0 + bytes as f64 / rate);
        table.row([
            figure.window.map_or(String::new(), |window| window.to_string()),
            figure.log_bytes.map_or(String::new(), |bytes| format!("{} GB", gigabytes(bytes))),
            or_dash(figure.segments),
            figure.bytes.map_or(String::new(), |bytes| format!("{} MB", number(bytes as f64 / 1e6))),
            rate(figure.device_read_bytes_per_second),
            figure.seconds.map_or(String::new(), |seconds| format!("{} ms", number(seconds * 1e3))),
            bound.map_or(String::new(), |seconds| format!("{} ms", number(seconds * 1e3))),
        ]);
    }
    let how = figures.first().and_then(|figure| figure.notes.first()).map_or("", String::as_str);
    table.write(text, &format!("Reopening a large log.\n{how}."));
}

fn rate(bytes_per_second: Option<Spread>) -> String {
    median(bytes_per_second.map(|rate| scaled(rate, 1e-6)), "MB/s")
}

fn range(bytes_per_second: Option<Spread>) -> String {
    bytes_per_second.map_or(String::new(), |rate| format!("{}..{}", number(rate.min / 1e6), number(rate.max / 1e6)))
}
