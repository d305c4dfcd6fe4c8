//! What does an append cost, by size, batch and threads? Idempotence off, segments prepared ahead.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use oncelog_load::{Payloads, Workload, records_of_block, time_blocks};

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    // What is timed is a whole block into segments that stand ready; preparing them takes ten times as long.
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(50)).measurement_time(Duration::from_millis(200));
    let with = |payload_bytes, batch, threads| Workload {
        batch,
        threads,
        ..Workload::new(Arc::new(Payloads::fixed(payload_bytes)))
    };
    let workloads = [
        ("100 B", with(100, 1, 1)),
        ("1 KiB", with(1024, 1, 1)),
        ("4 KiB", with(4096, 1, 1)),
        ("batch of 100 x 100 B", with(100, 100, 1)),
        ("2 threads, 100 B each", with(100, 1, 2)),
    ];
    for (name, workload) in &workloads {
        group.throughput(Throughput::Elements(records_of_block(workload)));
        group.bench_with_input(BenchmarkId::from_parameter(name), workload, |bencher, workload| {
            bencher.iter_custom(|blocks| {
                time_blocks(workload, Path::new(env!("CARGO_TARGET_TMPDIR")), blocks).expect("appends succeed")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
