//! Tables of what reads a log back: scans and reopenings.

use super::columns::{Table, idempotence, median, number, or_dash, payload, scaled, time, time_range};
use crate::result::Figure;

pub(super) fn fetch(text: &mut String, figures: &[&Figure]) {
    let mut table = Table::new([
        "payload",
        "batch",
        "thr",
        "idempotence",
        "verified",
        "isolation",
        "record",
        "min..max",
        "payload rate",
    ]);
    for figure in figures {
        table.row([
            payload(figure),
            or_dash(figure.batch),
            or_dash(figure.threads),
            idempotence(figure),
            figure.verify.unwrap_or_default().to_owned(),
            figure.isolation.unwrap_or_default().to_owned(),
            time(figure.ns_per_record),
            time_range(figure.ns_per_record),
            median(figure.bytes_per_second.map(|rate| scaled(rate, 1e-6)), "MB/s"),
        ]);
    }
    table.write(text, "Scan from memory: each thread reads all of it.");
}

pub(super) fn recover(text: &mut String, figures: &[&Figure]) {
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
