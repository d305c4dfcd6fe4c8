//! Figures wider than any real one still fit the terminal.

use std::sync::Arc;

use super::{WIDTH_MAX, render};
use crate::payload::Payloads;
use crate::result::{
    DeviceFacts, Figure, Flushes, GeneratorFacts, HostFacts, Kind, Percentiles, RunFacts, RunResult, SCHEMA_VERSION,
    Second, SegmentsFrom, SustainedSecond,
};
use crate::spread::Spread;
use crate::workload::{Acknowledge, Idempotence, Pace, Workload};

/// Figures wider than any real one.
fn wide() -> RunResult {
    let spread = |median: f64| Spread::of([median * 0.9, median, median * 1.2]);
    let whole = Percentiles {
        p50: 65,
        p90: 1_100,
        p99: 20_000,
        p999: 12_345_000,
        p9999: Some(12_345_000),
        max: 59_123_456_789,
    };
    let percentiles = Some(whole);
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
    figure.end_to_end_ns = percentiles;
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
    figure.isolation = Some("read-uncommitted");
    figure.records_per_transaction = Some(65_536);
    figure.partitions_per_transaction = Some(1_024);
    figure.off_ns_per_append = spread(123_456.0);
    figure.commit_ns = percentiles;
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
            threads_per_core: Some(2),
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
        generator: GeneratorFacts { rate_per_second: 1e6, send_delay_ns: whole, record_ns: 12.3 },
        interrupted: true,
        notes: vec!["the file system is memory".to_owned()],
        figures: vec![
            of(Kind::Append, Some("closed")),
            of(Kind::Append, Some("open")),
            Figure { knee: Some(true), ..of(Kind::Sweep, Some("open")) },
            of(Kind::Endless, Some("closed")),
            Figure { acknowledge: Some(Acknowledge::Durable), ..of(Kind::Append, Some("closed")) },
            of(Kind::Pipelined, Some("closed")),
            Figure { per_second: Some(vec![second; 100]), ..of(Kind::Sustained, Some("closed")) },
            of(Kind::Fetch, None),
            of(Kind::Transaction, Some("closed")),
            of(Kind::Recover, None),
            Figure { log_bytes: Some(123 << 30), ..of(Kind::Recover, None) },
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
        "Scan from memory",
        "Transactions of a session",
        "Readers behind them",
        "since snapshot",
        "(!)",
        "to a reader",
        "the knee",
        "NOT VERIFIED: 11 figures",
        "interrupted",
        "the file system is memory",
        "~1.00",
    ] {
        assert!(text.contains(expected), "no {expected} in\n{text}");
    }
}
