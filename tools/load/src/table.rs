//! A run as tables for a terminal: at most 100 columns, a unit on every number.

mod append;
mod columns;
mod delivery;
mod durable;
mod scan;
#[cfg(test)]
mod tests;
mod transaction;

use std::fmt::Write as _;

use self::columns::number;
use crate::result::{Figure, Kind, RunResult};
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
        append::closed(&mut text, &conditions, &figures);
        append::followed(&mut text, &conditions, &figures);
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
        append::endless(&mut text, &conditions, &figures);
    }
    for (conditions, figures) in groups(figures(Kind::Append, Some("open"))) {
        append::open(&mut text, &conditions, &figures);
    }
    for (conditions, figures) in groups(figures(Kind::Sweep, Some("open"))) {
        append::sweep(&mut text, &conditions, &figures);
    }
    scan::fetch(&mut text, &figures(Kind::Fetch, None));
    let (cold, warm) =
        figures(Kind::Recover, None).into_iter().partition::<Vec<_>, _>(|figure| figure.log_bytes.is_some());
    scan::recover(&mut text, &warm);
    durable::reopened(&mut text, &cold);
    transaction::committed(&mut text, &figures(Kind::Transaction, Some("closed")));
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
        let mut conditions = format!("{level}, {window} window, {partitions} partition{plural}");
        if let Some(mix) = &figure.payload_mix {
            conditions += &format!(",\nsizes {mix}");
        }
        if let Some(skew) = figure.skew {
            conditions += &format!(", skew {skew}");
        }
        if let Some(readers) = figure.readers {
            conditions += &format!(", {readers} reader{} each", if readers == 1 { "" } else { "s" });
            conditions += &figure.reading.map_or(String::new(), |reading| format!(", {reading}"));
        }
        match groups.iter_mut().find(|(other, _)| *other == conditions) {
            Some((_, group)) => group.push(figure),
            None => groups.push((conditions, vec![figure])),
        }
    }
    groups
}

fn footer(text: &mut String, result: &RunResult) {
    let (run, host, device, generator) = (&result.run, &result.host, &result.device, &result.generator);
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
        format!(
            "load generator at {:.0}/s: send delay p50 {} ns; recording {} ns an event",
            generator.rate_per_second,
            generator.send_delay_ns.p50,
            number(generator.record_ns)
        ),
    ];
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let _ = writeln!(text, "{}", line.chars().take(WIDTH_MAX).collect::<String>());
    }
    let unverified = result.figures.iter().filter(|figure| !figure.verified).count();
    if unverified > 0 {
        let _ = writeln!(text, "NOT VERIFIED: {unverified} figures, whose notes say what a reader found");
    }
    if result.interrupted {
        let _ = writeln!(text, "interrupted: the rows that were to follow are missing");
    }
    for note in &result.notes {
        let _ = writeln!(text, "{note}");
    }
}
