//! Tables of appends that wait for no device: back to back, without end, on a schedule.

use super::columns::{Table, idempotence, median, number, or_dash, payload, ratio, scaled, time, time_range};
use crate::result::{Figure, Percentiles};

pub(super) fn closed(text: &mut String, conditions: &str, figures: &[&Figure]) {
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

/// How far the readers of closed loops are behind, where there are any.
pub(super) fn followed(text: &mut String, conditions: &str, figures: &[&Figure]) {
    let mut table =
        Table::new(["payload", "batch", "thr", "idempotence", "p50", "p90", "p99", "p99.9", "p99.99", "max"]);
    for figure in figures {
        let Some(read) = figure.end_to_end_ns else { continue };
        let keys = [payload(figure), or_dash(figure.batch), or_dash(figure.threads), idempotence(figure)];
        table.row(keys.into_iter().chain(times(read)));
    }
    table.write(
        text,
        &format!(
            "Readers behind them: {conditions}.\n\
             In us, from sending to a reader's having it, of one append in 256."
        ),
    );
}

pub(super) fn endless(text: &mut String, conditions: &str, figures: &[&Figure]) {
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

pub(super) fn open(text: &mut String, conditions: &str, figures: &[&Figure]) {
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
            ("to a reader", figure.end_to_end_ns),
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
             latency while the committer does nothing; to a reader the time until one that follows has it.\n\
             (!) saturated: under 99 % of the schedule was reached."
        ),
    );
}

pub(super) fn sweep(text: &mut String, conditions: &str, figures: &[&Figure]) {
    let mut table = Table::new([
        "payload",
        "batch",
        "thr",
        "idempotence",
        "schedule",
        "reached",
        "p50",
        "p90",
        "p99",
        "max",
        "what",
    ]);
    for figure in figures {
        let what = match (figure.knee, figure.saturated) {
            (Some(true), _) => "the knee",
            (_, Some(true)) => "saturated",
            _ => "",
        };
        let per_second = |rate: f64| format!("{} k/s", number(rate / 1e3));
        let times = figure.latency_ns.map(times);
        let [p50, p90, p99, _, _, max] = times.unwrap_or_default();
        table.row([
            payload(figure),
            or_dash(figure.batch),
            or_dash(figure.threads),
            idempotence(figure),
            figure.rate_per_second.map_or(String::new(), per_second),
            figure.appends_per_second.map_or(String::new(), |rate| per_second(rate.median)),
            p50,
            p90,
            p99,
            max,
            what.to_owned(),
        ]);
    }
    table.write(
        text,
        &format!(
            "Append, rising rates: {conditions}.\n\
             In us, from the time on the schedule to completion. The knee is the highest rate that was reached\n\
             with a median of at most twice that of the lowest; saturated: under 99 % of the schedule."
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
