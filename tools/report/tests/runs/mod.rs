//! Runs as a load generator would leave them, made up: every kind of figure, and names and values at their longest.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

fn spread(median: f64, width: f64) -> Value {
    json!({
        "median": median, "min": median * (1.0 - width), "max": median * (1.0 + 3.0 * width),
        "lower_quarter": median * (1.0 - width / 2.0), "upper_quarter": median * (1.0 + width / 2.0)
    })
}

fn percentiles(p50: f64) -> Value {
    json!({ "p50": p50, "p90": p50 * 1.4, "p99": p50 * 30.0, "p999": p50 * 900.0, "p9999": p50 * 4e3, "max": p50 * 1e4 })
}

struct Append {
    idempotence: &'static str,
    payload_bytes: u64,
    batch: u64,
    threads: u64,
    producers: u64,
}

fn append(append: &Append, cost: f64) -> Value {
    let mut figure = json!({
        "workload": "append", "idempotence": append.idempotence, "payload_bytes": append.payload_bytes,
        "batch": append.batch, "threads": append.threads, "partitions": 1, "duplicates": 0.0,
        "acknowledge": "written", "window": "mapped", "loop": "closed", "repeats": 5, "verified": true,
        "ns_per_append": spread(cost, 0.1), "limit_ns_per_append": spread(cost * 0.7, 0.1),
        "ratio_to_limit": spread(1.43, 0.02), "ratio_to_off": spread(1.2, 0.3),
        "appends_per_second": spread(append.threads as f64 * 1e9 / cost, 0.1)
    });
    if append.idempotence != "off" {
        figure["producers"] = json!(append.producers);
    }
    figure
}

fn on_schedule(idempotence: &str, rate: f64, p50: f64) -> Value {
    let second = |second: usize| {
        json!({ "repeat": second / 3, "second": second, "appends": rate, "p50": p50, "p99": p50 * 30.0,
                "max": p50 * (900.0 + second as f64 * 100.0) })
    };
    json!({
        "workload": "append", "idempotence": idempotence, "payload_bytes": 100, "batch": 1, "threads": 1, "partitions": 1,
        "duplicates": 0.0, "acknowledge": "written", "window": "mapped", "loop": "open", "rate_per_second": rate,
        "latency_ns": percentiles(p50), "service_ns": percentiles(p50 * 0.9), "baseline_ns": percentiles(p50 * 0.6), "ratio_to_baseline": spread(1.6, 0.1),
        "per_second": (0..15).map(second).collect::<Vec<_>>(), "saturated": false, "verified": true
    })
}

fn durable(idempotence: &str, p50: f64) -> Value {
    json!({
        "workload": "append", "idempotence": idempotence, "payload_bytes": 128, "batch": 1, "threads": 1, "partitions": 1,
        "duplicates": 0.0, "acknowledge": "durable", "window": "direct", "loop": "closed", "verified": true,
        "latency_ns": percentiles(p50), "floor_ns": { "p50": p50 * 0.97, "p99": p50 * 2.0, "samples": 500 },
        "ratio_to_floor": spread(1.03, 0.02), "appends_per_second": spread(9_200.0, 0.1)
    })
}

fn sustained() -> Value {
    let second = |second: u64| {
        json!({ "second": second, "bytes": 1_700_000_000_u64 + second * 7_000_000, "durable_bytes": 1_690_000_000_u64,
                "resident_bytes": 400_000_000, "dirty_bytes": 200_000_000, "writeback_bytes": 0 })
    };
    json!({
        "workload": "sustained", "idempotence": "off", "payload_bytes": 1024, "batch": 1, "threads": 1, "partitions": 1,
        "acknowledge": "written", "window": "direct", "loop": "closed", "bytes_per_second": spread(1.7e9, 0.05),
        "device_bytes_per_second": spread(1.9e9, 0.05), "ratio_to_device": spread(0.9, 0.02),
        "per_second": (0..12).map(second).collect::<Vec<_>>(), "verified": true
    })
}

fn sweep(idempotence: &str) -> Vec<Value> {
    let rates = [2e5, 1e6, 4e6, 8e6, 1.2e7, 1.6e7];
    let at = |(number, rate): (usize, &f64)| {
        let mut figure = on_schedule(idempotence, *rate, 90.0 * (1 << (2 * number.saturating_sub(2))) as f64);
        figure["workload"] = json!("sweep");
        figure["knee"] = json!(number == 3);
        figure["saturated"] = json!(number == 5);
        figure
    };
    rates.iter().enumerate().map(at).collect()
}

/// Every delivery under every fault.
pub fn cells() -> Value {
    let deliveries = ["at-most-once", "at-least-once", "exactly-once", "transactional"];
    let faults = ["none", "request-lost", "ack-late", "reordered", "broker-killed-before-store", "zombie-producer"];
    let cell = |delivery: &str, fault: &str| {
        let harmed = fault != "none";
        json!({
            "delivery": delivery, "fault": fault, "rate": if harmed { 0.05 } else { 0.0 }, "sent": 1_000_000,
            "stored": 1_000_000, "lost": if harmed && delivery == "at-most-once" { 123_456 } else { 0 },
            "duplicated": if harmed && delivery == "at-least-once" { 234_567 } else { 0 }, "reordered": 0
        })
    };
    let of = |delivery: &&'static str| faults.map(|fault| cell(delivery, fault));
    Value::from(deliveries.iter().flat_map(of).collect::<Vec<_>>())
}

/// A whole run; `slower` multiplies what appends cost, against the limit too.
pub fn run(number: u32, slower: f64) -> Value {
    let mut figures = Vec::new();
    for (payload_bytes, cost) in [(100, 30.0), (1024, 160.0), (4096, 700.0)] {
        for (batch, threads) in [(1, 1), (1, 2), (1, 4), (10, 1), (100, 1)] {
            for (idempotence, producers) in
                [("off", 1), ("session", threads), ("by-id", threads), ("by-id", 1_048_576), ("mutex", 1_048_576)]
            {
                let kind = Append { idempotence, payload_bytes, batch, threads, producers };
                let mut figure = append(&kind, cost * slower * batch as f64);
                figure["ratio_to_limit"] = spread(1.43 * slower, 0.02);
                figures.push(figure);
            }
        }
    }
    for idempotence in ["off", "session", "by-id"] {
        figures.push(on_schedule(idempotence, 200_000.0, 100.0 * slower));
        figures.push(durable(idempotence, 101_000.0));
    }
    figures.extend(sweep("off"));
    figures.extend(sweep("by-id"));
    figures.push(sustained());
    let mut unverified = on_schedule("session", 9_000_000.0, 1e6);
    unverified["verified"] = json!(false);
    figures.push(unverified);
    json!({
        "schema_version": 1,
        "run": { "id": format!("{number}"), "started": format!("2026-11-{:02}T08:35:00Z", 10 + number),
                 "ended": "2026-11-23T08:40:00Z", "commit": "0123456789abcdef0123456789abcdef01234567", "dirty": number % 2 == 1,
                 "rustc": "rustc 1.95.0 (59807616e 2026-04-14)", "profile": "release", "seed": 1,
                 "command": "oncelog bench --idempotence off,session,by-id --payload-bytes 64,256,1024 --batch 1,10,100" },
        "host": { "cpu": "A Processor With A Rather Long Name <at> 2.30GHz & more", "cores": 192, "memory_bytes": 1_u64 << 40,
                  "kernel": "Linux 6.18", "clock_source": "tsc", "clock_ns": 24.0, "file_system": "ext4",
                  "mount_options": "rw,relatime,discard,".repeat(20) },
        "device": { "name": "nvme0n1p1", "flush_ns": { "p50": 101_000, "p99": 150_000, "samples": 1_000 } },
        "delivery": cells(),
        "figures": figures
    })
}

/// Puts a run into a folder.
pub fn leave(dir: &Path, run: &Value) {
    fs::create_dir_all(dir).expect("a folder");
    fs::write(dir.join("run.json"), run.to_string()).expect("a file");
}
