//! What does it cost to append once? The same 100 B, one thread: off, a session, by id, and a mutex around a map.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use oncelog_load::{Idempotence, Payloads, Workload, records_of_block, time_blocks};

fn idempotence(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("idempotence");
    // What is timed is a whole block into segments that stand ready; preparing them takes ten times as long.
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(50)).measurement_time(Duration::from_millis(200));
    let payloads = Arc::new(Payloads::fixed(100));
    let with = |idempotence, producers| Workload { idempotence, producers, ..Workload::new(Arc::clone(&payloads)) };
    let workloads = [
        ("off", with(Idempotence::Off, 1)),
        ("session", with(Idempotence::Session, 1)),
        ("by id, 1 producer", with(Idempotence::ById, 1)),
        ("by id, 1024 producers", with(Idempotence::ById, 1_024)),
        ("mutex, 1024 producers", with(Idempotence::Mutex, 1_024)),
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

criterion_group!(benches, idempotence);
criterion_main!(benches);
