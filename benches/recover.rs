//! How long does reopening take, by how much was appended since the last snapshot? From memory, left without a close.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use oncelog_load::{Idempotence, Payloads, SEGMENT_BYTES, Workload, with_reopenings};

fn recover(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reopen");
    // The log is copied for each: far longer than what is timed.
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_millis(100));
    for segments in [1, 8] {
        for (name, idempotence) in [("off", Idempotence::Off), ("by id, 1024 producers", Idempotence::ById)] {
            let producers = 1_024;
            let workload = Workload { idempotence, producers, ..Workload::new(Arc::new(Payloads::fixed(100))) };
            group.throughput(Throughput::Bytes(segments * SEGMENT_BYTES));
            let size = format!("{} MiB, {name}", (segments * SEGMENT_BYTES) >> 20);
            let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
            let measured = with_reopenings(&workload, dir, segments, |reopenings| {
                group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                    bencher.iter_custom(|times| reopenings(times).expect("the log reopens"));
                });
            });
            measured.expect("a log is filled");
        }
    }
    group.finish();
}

criterion_group!(benches, recover);
criterion_main!(benches);
