//! Appending without a producer: records, batches, records filled in place; segments that fill, grow, are made ready, are
//! dropped and used again.

mod logs;

use logs::{PATIENCE, Seen, all, eventually, fresh, fresh_with, open, payloads, rest, small};
use oncelog::{FillError, Offsets, Options};
use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

#[test]
fn records_and_batches_get_offsets_without_a_gap() {
    let (_directory, _log, partition) = fresh();
    let mut appender = partition.appender().expect("an appender");
    assert_eq!(appender.append(b"").expect("an empty record is one"), 0);
    assert_eq!(appender.append(b"one").expect("appended"), 1);
    assert_eq!(appender.append_batch(&[b"two"]).expect("appended"), Offsets { first: 2, last: 2 });
    assert_eq!(appender.append_batch(&[b"three", b"", b"", b"six"]).expect("appended"), Offsets { first: 3, last: 6 });
    let many: Vec<Vec<u8>> = (0..3_000).map(|number: u32| number.to_le_bytes().to_vec()).collect();
    let slices: Vec<&[u8]> = many[..1_500].iter().map(Vec::as_slice).collect();
    assert_eq!(appender.append_batch(&slices).expect("appended"), Offsets { first: 7, last: 1_506 });
    assert_eq!(partition.end_offset(), 1_507);
    let expected = [b"".as_slice(), b"one", b"two", b"three", b"", b"", b"six"];
    let seen = payloads(&partition);
    assert_eq!(seen[..7], expected);
    assert_eq!(seen[7..], many[..1_500]);
}

#[test]
fn a_record_is_filled_where_it_is_read() {
    let (_directory, _log, partition) = fresh();
    let mut appender = partition.appender().expect("an appender");
    let offset = appender
        .append_with(10, |offset, bytes| {
            assert_eq!((offset, &*bytes), (0, [0; 10].as_slice()));
            bytes[3] = 3;
            // What is being filled is nobody else's yet, and holds up what is appended behind it.
            partition.appender().expect("an appender").append(b"behind").expect("appended");
            assert_eq!(partition.end_offset(), 0);
            assert!(partition.stats().oldest_open_frame.is_some());
            Ok::<(), ()>(())
        })
        .expect("filled");
    assert_eq!((offset, partition.end_offset()), (0, 2));
    assert_eq!(partition.stats().oldest_open_frame, None);
    assert_eq!(payloads(&partition), [[0, 0, 0, 3, 0, 0, 0, 0, 0, 0].as_slice(), b"behind"]);
}

#[test]
fn a_record_given_up_takes_its_offset_and_nothing_else() {
    let (_directory, _log, partition) = fresh();
    let mut appender = partition.appender().expect("an appender");
    for round in 0..300 {
        let error = appender.append_with(round, |_, bytes| {
            bytes.fill(b'x');
            Err(format!("in round {round}"))
        });
        let error = error.expect_err("given up");
        assert_eq!(error.to_string(), format!("the record was given up while it was filled: in round {round}"));
        assert!(matches!(error, FillError::Fill(reason) if reason == format!("in round {round}")));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            appender.append_with(round, |offset, bytes| -> Result<(), ()> {
                bytes.fill(b'y');
                // Not `panic!`, which would print.
                std::panic::resume_unwind(Box::new(offset))
            })
        }));
        let offset = panicked.expect_err("the panic goes on").downcast::<u64>().expect("the closure's own");
        assert_eq!(*offset, round as u64 * 3 + 1);
        assert_eq!(appender.append(b"kept").expect("appended"), round as u64 * 3 + 2);
    }
    assert_eq!(partition.stats().oldest_open_frame, None);
    let kept = all(&partition);
    assert!(partition.stats().segments > 1, "over a rotation too");
    assert_eq!(
        kept.iter().map(|seen| seen.offset).collect::<Vec<_>>(),
        (0..300).map(|round| round * 3 + 2).collect::<Vec<_>>()
    );
    assert!(kept.iter().all(|seen| seen.payload == b"kept"));
}

/// Retention as tight as can be, so that segments come round again.
fn recycling() -> Options {
    small().retention_bytes(Some(0))
}

#[test]
fn bytes_left_alone_are_zero_also_where_other_records_were() {
    let (_directory, _log, partition) = fresh_with(&recycling());
    let mut appender = partition.appender().expect("an appender");
    let mut filled = 0;
    eventually("records are filled in segments that are used again", || {
        for _ in 0..10 {
            appender.append(&[0xFF; 700]).expect("appended");
            let fill = |_, bytes: &mut [u8]| {
                assert!(bytes.iter().all(|byte| *byte == 0), "bytes of another record");
                bytes[0] = 1;
                Ok::<(), ()>(())
            };
            let offset = appender.append_with(600, fill).expect("filled");
            let mut reader = partition.read_from(offset).expect("just appended");
            let record = reader.next().expect("read").expect("a record");
            assert!(record.payload()[0] == 1 && record.payload()[1..].iter().all(|byte| *byte == 0));
        }
        filled += 10;
        partition.stats().segments_recycled > 6
    });
    assert!(filled > 100);
}

/// Five threads at the smallest segments: every offset is given once, to the record that is found there.
#[test]
fn offsets_are_dense_however_many_threads_rotate() {
    const RECORDS: usize = 2_500;
    let (_directory, _log, partition) = fresh();
    let append = |thread: usize| {
        let mut appender = partition.appender().expect("an appender");
        let mut appended = BTreeMap::new();
        for number in 0..RECORDS {
            let payload = [vec![thread as u8; number % 300], number.to_string().into_bytes()].concat();
            if number % 50 == 0 {
                let offsets = appender.append_batch(&[&payload, b"beside", &payload]).expect("appended");
                assert_eq!(offsets.last - offsets.first, 2);
                appended.insert(offsets.first, payload.clone());
                appended.insert(offsets.first + 1, b"beside".to_vec());
                appended.insert(offsets.last, payload);
            } else if number % 50 == 1 && thread == 0 {
                // Larger than what most segments have left.
                appended.insert(appender.append(&[9; 14_000]).expect("appended"), vec![9; 14_000]);
            } else {
                appended.insert(appender.append(&payload).expect("appended"), payload);
            }
        }
        appended
    };
    let appended: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..5).map(|thread| scope.spawn(move || append(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let count: usize = appended.iter().map(BTreeMap::len).sum();
    let appended: BTreeMap<_, _> = appended.into_iter().flatten().collect();
    assert_eq!(appended.len(), count, "no offset was given twice");
    let seen: Vec<_> = all(&partition).into_iter().map(|Seen { offset, payload, .. }| (offset, payload)).collect();
    assert!(seen.iter().map(|(offset, _)| *offset).eq(0..count as u64), "none was left out");
    assert!(seen.into_iter().eq(appended), "each record is where its appender was told");
    assert!(partition.stats().rotations > 20);
}

fn segments_in(log: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(logs::file(log, "")).expect("listed").filter_map(Result::ok);
    let files = entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?.len())));
    let mut files: Vec<_> = files.filter(|(name, _)| name.ends_with(".seg") || name.ends_with(".ready")).collect();
    files.sort();
    files
}

#[test]
fn segments_grow_from_the_first_to_the_configured_size() {
    let options = Options::new().segment_bytes(400 << 10).first_segment_bytes(64 << 10);
    let (directory, log, partition) = fresh_with(&options);
    let mut appender = partition.appender().expect("an appender");
    // Larger than the first segment, and within a quarter of the largest.
    assert_eq!(appender.append(&[1; 90_000]).expect("appended"), 0);
    for _ in 0..20 {
        appender.append(&[2; 60_000]).expect("appended");
    }
    eventually("the segments stand ready", || partition.stats().segments_ready == 2);
    let sizes: Vec<_> = segments_in(directory.path()).into_iter().map(|(_, bytes)| bytes >> 10).collect();
    assert_eq!(sizes[..5], [64, 128, 256, 400, 400]);
    assert_eq!(partition.stats().bytes, sizes.iter().sum::<u64>() << 10);
    assert_eq!(payloads(&partition).len(), 21);
    drop(appender);
    drop(partition);
    log.close().expect("closed");
    let log = open(directory.path(), &options);
    let partition = log.partition("orders").expect("the partition");
    partition.appender().expect("an appender").append(b"more").expect("appended");
    let last = segments_in(directory.path()).pop().expect("segments").1;
    assert_eq!(last, 400 << 10, "a reopened partition does not begin small again");
}

#[test]
fn retention_keeps_what_it_is_told_to_keep() {
    for recycle in [true, false] {
        let (directory, _log, partition) = fresh_with(&small().retention_bytes(Some(5 * logs::SMALL)).recycle(recycle));
        let mut appender = partition.appender().expect("an appender");
        let mut next = 0;
        eventually("segments are dropped, and used again if that is wanted", || {
            for _ in 0..100 {
                appender.append(&[next as u8; 400]).expect("appended");
                next += 1;
                // Of the same length as those that were there before: none of them may be taken for one of now.
                assert_eq!(partition.end_offset(), next);
            }
            // Time for retention to do what it would do.
            thread::sleep(Duration::from_millis(2));
            let stats = partition.stats();
            assert!(stats.segments_dropped == 0 || stats.segments > 5, "{stats:?}");
            assert!(recycle || stats.segments_recycled == 0, "{stats:?}");
            // Besides these five and the one in use, no more than two snapshots ask for.
            stats.segments_dropped > 10 && stats.segments < 12 && (stats.segments_recycled > 5 || !recycle)
        });
        eventually("the files are gone too", || {
            segments_in(directory.path()).len() as u64 * logs::SMALL == partition.stats().bytes
        });
        eventually("retention rests meanwhile", || {
            let start = partition.start_offset();
            let Ok(kept) = partition.read_from(start).and_then(|mut reader| rest(&mut reader)) else { return false };
            assert!(kept.iter().all(|seen| seen.payload == [seen.offset as u8; 400]));
            partition.start_offset() == start && (kept[0].offset, kept.len() as u64) == (start, next - start)
        });
    }
}

#[test]
fn retention_by_age_leaves_the_segment_in_use() {
    let (_directory, _log, partition) = fresh_with(&small().retention_age(Some(Duration::ZERO)));
    let mut appender = partition.appender().expect("an appender");
    let mut dropped = 0;
    eventually("what is older than nothing is dropped", || {
        dropped = partition.start_offset();
        appender.append(&[1; 400]).expect("appended");
        dropped > 1_000
    });
    assert!(partition.stats().segments >= 1 && partition.end_offset() > partition.start_offset());
}

#[test]
fn prepared_segments_are_what_rotations_take() {
    let (_directory, _log, partition) = fresh();
    let mut appender = partition.appender().expect("an appender");
    appender.append(b"first").expect("appended");
    partition.prepare(20).expect("prepared");
    let before = partition.stats();
    assert!(before.segments_ready >= 20, "{before:?}");
    for _ in 0..19 * 140 {
        appender.append(&[1; 400]).expect("appended");
    }
    let after = partition.stats();
    assert!(after.rotations >= before.rotations + 18, "{after:?}");
    assert_eq!(after.rotations_waited, before.rotations_waited, "{after:?}");
}

/// Two that wait for segments were once in each other's way.
#[test]
fn several_threads_may_ask_for_segments_at_once() {
    let (_directory, _log, partition) = fresh();
    let (prepared, done) = mpsc::channel();
    let asked = [60, 3, 40, 8];
    for segments in asked {
        let (partition, prepared) = (partition.clone(), prepared.clone());
        thread::spawn(move || {
            partition.prepare(segments).expect("prepared");
            assert!(partition.stats().segments_ready >= u64::from(segments));
            prepared.send(()).expect("the test waits");
        });
    }
    for _ in asked {
        done.recv_timeout(PATIENCE).expect("every one of them is served");
    }
}
