//! How long do a truncation and a purge take, durable on return? Of 100 records that are durable already, in a partition whose
//! next segment stands ready.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use oncelog::{Log, Options, Partition, Window};

const RECORDS: u64 = 100;
const SEGMENT_BYTES: u64 = 4 << 20;

/// Appends records under a name, or under none, and waits until they are durable.
fn append(log: &Log, partition: &Partition, name: Option<&str>) {
    match name {
        Some(name) => {
            let mut session = log.session(name).expect("a session");
            for _ in 0..RECORDS {
                assert!(session.append_next(partition, &[7; 100]).expect("answered").is_stored());
            }
        }
        None => {
            let mut appender = partition.appender().expect("an appender");
            for _ in 0..RECORDS {
                appender.append(&[7; 100]).expect("appended");
            }
        }
    }
    partition.flush().expect("flushed");
    partition.prepare(2).expect("prepared");
}

fn truncation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bounds");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_millis(200));
    for (window, name) in [(Window::Mapped, "mapped"), (Window::Direct, "direct")] {
        let directory = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a directory");
        let options = Options::new()
            .segment_bytes(SEGMENT_BYTES)
            .first_segment_bytes(SEGMENT_BYTES)
            .window(window)
            .flush_interval(Some(Duration::from_millis(100)));
        // SAFETY: nobody else writes to the directory.
        let log = unsafe { Log::open(directory.path(), &options) }.expect("opened");
        for producer in [None, Some("p")] {
            let partition = log.partition(if producer.is_some() { "session" } else { "plain" }).expect("a partition");
            append(&log, &partition, producer);
            let who = if producer.is_some() { "session's, which is fenced" } else { "plain" };
            group.bench_function(BenchmarkId::new("truncate", format!("{name}, {who}")), |bencher| {
                bencher.iter_custom(|times| {
                    let mut taken = Duration::ZERO;
                    for _ in 0..times {
                        let from = partition.end_offset();
                        append(&log, &partition, producer);
                        let begun = Instant::now();
                        partition.truncate(from).expect("truncated");
                        taken += begun.elapsed();
                    }
                    taken
                });
            });
            group.bench_function(BenchmarkId::new("purge", format!("{name}, {who}")), |bencher| {
                bencher.iter_custom(|times| {
                    let mut taken = Duration::ZERO;
                    for _ in 0..times {
                        append(&log, &partition, producer);
                        let begun = Instant::now();
                        partition.purge(partition.end_offset()).expect("purged");
                        taken += begun.elapsed();
                    }
                    taken
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, truncation);
criterion_main!(benches);
