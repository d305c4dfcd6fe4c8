//! What does a record cost a reader, in a scan from memory and at the end of a log?
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use oncelog::{Log, Options, Partition, Verify};

const RECORDS: u64 = 100_000;
const PAYLOAD: [u8; 100] = [7; 100];

fn open(dir: &Path) -> (Log, Partition) {
    // SAFETY: the directory is new, and nothing else knows of it.
    let log = unsafe { Options::new().open(dir) }.expect("a new log opens");
    let partition = log.partition("p").expect("a new partition opens");
    (log, partition)
}

fn scan(criterion: &mut Criterion) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let (_log, partition) = open(&dir.path().join("log"));
    let mut appender = partition.appender().expect("an appender");
    for _ in 0..RECORDS {
        appender.append(&PAYLOAD).expect("an append succeeds");
    }
    let mut group = criterion.benchmark_group("scan, 100 B records");
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500));
    group.throughput(Throughput::Elements(RECORDS));
    let checks = [("always verified", Verify::Always), ("once", Verify::OncePerSegment), ("never", Verify::Never)];
    for (name, verify) in checks {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                let mut reader = partition.read_from(0).expect("the start is there");
                reader.set_verify(verify);
                while let Some(record) = reader.next().expect("nothing is corrupt") {
                    black_box(record.payload());
                }
                assert_eq!(reader.next_offset(), RECORDS);
            });
        });
    }
    group.finish();
}

fn tail(criterion: &mut Criterion) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let (_log, partition) = open(&dir.path().join("log"));
    let mut appender = partition.appender().expect("an appender");
    let mut reader = partition.read_from(0).expect("the start is there");
    let mut group = criterion.benchmark_group("tail");
    group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(300));
    group.bench_function("append 100 B and read it", |bencher| {
        bencher.iter(|| {
            appender.append(&PAYLOAD).expect("an append succeeds");
            let record = reader.next().expect("nothing is corrupt").expect("it is visible");
            black_box(record.payload());
        });
    });
    group.finish();
}

criterion_group!(benches, scan, tail);
criterion_main!(benches);
