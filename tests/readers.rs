//! Readers: where they begin, what they see beside writers, and what becomes of one that is overtaken.

mod logs;

use logs::{PATIENCE, Seen, all, append_many, eventually, fresh, fresh_with, payload_of, reopened, rest, small};
use oncelog::{FetchError, Options, Partition, Reader, Slice};
use std::{
    collections::HashMap,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A log in which every way to take an offset follows every other, over several segments.
fn mixed(log: &oncelog::Log, partition: &Partition) {
    let mut appender = partition.appender().expect("an appender");
    let mut zombie = log.session("writer").expect("a session");
    assert!(zombie.append(partition, 0, b"a session's").expect("answered").is_stored());
    let mut session = log.session("writer").expect("its successor");
    for round in 0..90_u64 {
        appender.append(&vec![b'p'; 1 + round as usize * 20]).expect("appended");
        appender.append_with(round as usize * 3, |_, _| Err("given up")).expect_err("a void frame");
        appender.append_batch(&[b"b0", b"b1", b"b2", b"b3"]).expect("appended");
        let batch = [b"s0".as_slice(), b"", b"s2"];
        assert!(session.append_batch(partition, 1 + round * 3, &batch).expect("answered").is_stored());
        if round == 40 {
            // A batch that was given up for a fence leaves a void frame of three offsets.
            assert!(!zombie.append_batch(partition, 1, &batch).expect("answered").is_stored());
        }
    }
}

#[test]
fn a_reader_begins_at_any_offset_also_within_batches_and_gaps() {
    let (directory, log, partition) = fresh();
    mixed(&log, &partition);
    let check = |partition: &Partition| {
        let end = partition.end_offset();
        let all = all(partition);
        assert!(partition.stats().segments > 1 && all.len() < end as usize, "there are segments and gaps");
        let mut moved = partition.read_from_end().expect("a reader");
        for offset in 0..=end {
            let expected: Vec<_> = all.iter().filter(|seen| seen.offset >= offset).take(6).cloned().collect();
            let mut reader = partition.read_from(offset).expect("in range");
            // Within a gap, it is already at the gap's end.
            let next = expected.first().map_or(end, |seen| seen.offset);
            assert!((offset..=next).contains(&reader.next_offset()), "from {offset}: {}", reader.next_offset());
            assert_eq!(some(&mut reader, 6), expected, "from offset {offset}");
            moved.seek(offset).expect("in range");
            assert_eq!(some(&mut moved, 6), expected, "sought offset {offset}");
        }
        all
    };
    let before = check(&partition);
    drop(partition);
    let (_log, partition) = reopened(directory.path(), log, &small());
    assert_eq!(check(&partition), before);
}

fn some(reader: &mut Reader, most: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    while seen.len() < most
        && let Some(record) = reader.next().expect("a record")
    {
        seen.push(Seen { offset: record.offset(), payload: record.payload().to_vec(), producer: record.producer() });
    }
    seen
}

#[test]
fn a_record_says_whose_it_is_and_when_it_came() {
    let (_directory, log, partition) = fresh();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let before = now();
    let mut session = log.session("writer").expect("a session");
    assert!(session.append(&partition, 0, b"single").expect("answered").is_stored());
    assert!(session.append_batch(&partition, 1, &[b"one", b"two", b"three"]).expect("answered").is_stored());
    partition.appender().expect("an appender").append(b"plain").expect("appended");
    let mut reader = partition.read_from(0).expect("a reader");
    for sequence in [Some(0), Some(1), Some(2), Some(3), None] {
        let record = reader.next().expect("read").expect("a record");
        let producer = record.producer();
        assert_eq!(producer.map(|stamp| stamp.sequence), sequence);
        assert!(producer.is_none_or(|stamp| (stamp.producer, stamp.epoch) == (session.id(), session.epoch())));
        // A minute either way: the clocks of the machine are not what is tested.
        assert!((before - 60_000..now() + 60_000).contains(&record.timestamp_ms()));
    }
    assert!(reader.next().expect("read").is_none());
}

#[test]
fn an_offset_out_of_range_is_told_with_what_is_there() {
    let (_directory, _log, partition) = fresh_with(&small().retention_bytes(Some(0)));
    let error = |offset| match partition.read_from(offset) {
        Err(FetchError::OutOfRange { offset, start, end }) => (offset, start, end),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("offset {offset} was taken"),
    };
    assert_eq!(error(1), (1, 0, 0));
    let mut appender = partition.appender().expect("an appender");
    eventually("the first records are dropped", || {
        appender.append(&[7; 4_000]).expect("appended");
        partition.start_offset() > 3
    });
    eventually("retention rests meanwhile", || {
        let (start, end) = (partition.start_offset(), partition.end_offset());
        let errors = [0, start - 1, end + 1, u64::MAX].map(|offset| (offset, error(offset)));
        if partition.start_offset() != start {
            return false;
        }
        for (offset, error) in errors {
            assert_eq!(error, (offset, start, end));
        }
        let Ok(mut reader) = partition.read_from(start) else { return false };
        reader.next().expect("read").expect("a record");
        let text = reader.seek(end + 1).expect_err("out of range").to_string();
        assert_eq!(text, format!("offset {} is out of range: {start} is the first, {end} comes next", end + 1));
        assert_eq!(
            reader.next().expect("read").expect("a record").offset(),
            start + 1,
            "the reader stayed where it was"
        );
        true
    });
}

/// Records of one thread, in groups between which time passes, in segments large and small: large ones are looked up in
/// an index, which is of no more than a few entries in a small one.
fn timed(segment_bytes: u64) -> (tempfile::TempDir, oncelog::Log, Partition) {
    let (directory, log, partition) = fresh_with(&Options::new().segment_bytes(segment_bytes));
    let mut appender = partition.appender().expect("an appender");
    for number in 0..1_600_u64 {
        appender.append(&[number as u8; 400]).expect("appended");
        if number % 80 == 79 {
            thread::sleep(Duration::from_millis(4));
        }
    }
    drop(appender);
    (directory, log, partition)
}

fn check_places_and_times(partition: &Partition) {
    let mut times = Vec::new();
    let mut reader = partition.read_from(0).expect("a reader");
    while let Some(record) = reader.next().expect("read") {
        times.push(record.timestamp_ms());
    }
    assert!(times.is_sorted(), "one thread's records never go back in time");
    let (first, last) = (times[0], times[1_599]);
    assert!(last - first > 20, "time has passed between the records");
    for time in (first - 2..=last).chain([0]) {
        let expected = times.partition_point(|at| *at < time) as u64;
        let mut reader = partition.read_from_time(time).expect("a reader");
        assert_eq!(reader.next().expect("read").expect("a record").offset(), expected, "time {time}");
    }
    for time in [last + 1, u64::MAX] {
        let mut reader = partition.read_from_time(time).expect("a reader");
        assert_eq!(reader.next_offset(), 1_600);
        assert!(reader.next().expect("read").is_none());
    }
    for offset in 0..1_600 {
        let mut reader = partition.read_from(offset).expect("in range");
        assert_eq!(reader.next().expect("read").expect("a record").offset(), offset);
    }
}

#[test]
fn a_reader_begins_at_a_place_or_a_time() {
    for (segment_bytes, segments) in [(logs::SMALL, 11), (1 << 20, 1)] {
        let (directory, log, partition) = timed(segment_bytes);
        assert!(partition.stats().segments >= segments);
        check_places_and_times(&partition);
        drop(partition);
        let (_log, partition) = reopened(directory.path(), log, &small());
        check_places_and_times(&partition);
    }
}

#[test]
fn many_readers_beside_many_writers_see_one_order() {
    const RECORDS: u64 = 1_500;
    let (_directory, log, partition) = fresh();
    let read = || {
        let mut reader = partition.read_from(0).expect("a reader");
        let mut seen = Vec::new();
        while seen.len() < 3 * RECORDS as usize {
            assert!(reader.wait(PATIENCE).expect("waits"));
            seen.extend(rest(&mut reader).expect("every record is whole"));
        }
        seen
    };
    let seen: Vec<_> = thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(read)).collect();
        scope.spawn(|| append_many(&mut log.session("writer").expect("a session"), &partition, 0..RECORDS));
        scope.spawn(|| {
            let mut appender = partition.appender().expect("an appender");
            for number in 0..RECORDS {
                appender.append(&[b"plain".as_slice(), &number.to_le_bytes()].concat()).expect("appended");
            }
        });
        scope.spawn(|| {
            let mut appender = partition.appender().expect("an appender");
            for number in (0..RECORDS).step_by(5) {
                let batch: Vec<_> = (number..number + 5).map(|number| number.to_le_bytes()).collect();
                let batch: Vec<_> = batch.iter().map(<[u8; 8]>::as_slice).collect();
                appender.append_batch(&batch).expect("appended");
            }
        });
        readers.into_iter().map(|reader| reader.join().expect("no panic")).collect()
    });
    assert!(seen[0].iter().enumerate().all(|(at, seen)| seen.offset == at as u64), "no offset is missing or doubled");
    assert!(seen[0] == seen[1] && seen[0] == seen[2], "all readers saw the same");
    let of =
        |matches: fn(&Seen) -> bool| seen[0].iter().filter(move |seen| matches(seen)).map(|seen| seen.payload.clone());
    assert!(of(|seen| seen.producer.is_some()).eq((0..RECORDS).map(payload_of)));
    let plain = |number: u64| [b"plain".as_slice(), &number.to_le_bytes()].concat();
    assert!(of(|seen| seen.payload.starts_with(b"plain")).eq((0..RECORDS).map(plain)));
    assert!(
        of(|seen| seen.payload.len() == 8 && seen.producer.is_none())
            .eq((0..RECORDS).map(|number| number.to_le_bytes().to_vec()))
    );
}

/// Nothing that happens to the log changes a slice: not that its reader goes, not that retention drops its segment and
/// others are written into its file, not that the log is closed and its directory removed.
#[test]
fn a_slice_outlives_reader_segment_and_log() {
    let (directory, log, partition) = fresh_with(&small().retention_bytes(Some(0)));
    let mut appender = partition.appender().expect("an appender");
    let mut slices: HashMap<u64, (Slice, Vec<u8>)> = HashMap::new();
    let payload = |number: u64| vec![number as u8; 500 + (number % 700) as usize];
    let mut next = 0;
    eventually("segments that a slice holds are dropped, others are used again", || {
        for _ in 0..40 {
            let offset = appender.append(&payload(next)).expect("appended");
            // Of every third segment or so.
            if next % 240 < 40 && next < 2_000 {
                let mut reader = partition.read_from(offset).expect("just appended");
                let slice = reader.next().expect("read").expect("a record").slice();
                slices.insert(offset, (slice, payload(next)));
            }
            next += 1;
        }
        let stats = partition.stats();
        stats.segments_recycled > 5 && stats.start_offset > 2_000
    });
    let check = |what: &str| {
        for (offset, (slice, payload)) in &slices {
            assert!(**slice == **payload && slice.clone().as_ref() == &**payload, "{what}: offset {offset}");
        }
    };
    check("dropped by retention");
    drop((appender, partition));
    log.close().expect("slices do not hold the log");
    check("the log is closed");
    drop(directory);
    check("the directory is removed");
    thread::scope(|scope| drop(scope.spawn(|| check("in another thread"))));
}

#[test]
fn a_reader_that_retention_overtakes_is_told_and_goes_on_where_it_is_sent() {
    let (_directory, log, partition) = fresh_with(&small().retention_bytes(Some(0)));
    let mut session = log.session("writer").expect("a session");
    append_many(&mut session, &partition, 0..10);
    let mut reader = partition.read_from(0).expect("a reader");
    reader.next().expect("read").expect("the first record");
    let mut sequence = 10;
    eventually("retention overtakes the reader", || {
        append_many(&mut session, &partition, sequence..sequence + 100);
        sequence += 100;
        partition.stats().segments_dropped > 3
    });
    // What it stands in is kept for it.
    let mut next = 1;
    let error = loop {
        match reader.next() {
            Ok(Some(record)) => {
                assert_eq!((record.offset(), record.payload()), (next, payload_of(next).as_slice()));
                next += 1;
            }
            Ok(None) => panic!("told that there is nothing behind offset {next}"),
            Err(error) => break error,
        }
    };
    let FetchError::Trimmed { offset, start } = error else { panic!("{error}") };
    assert!(offset == next && start > next, "{error}");
    assert!(matches!(reader.next(), Err(FetchError::Trimmed { .. })), "it is told as often as it asks");
    eventually("retention lets it come to the end", || {
        if reader.seek(partition.start_offset()).is_err() {
            return false;
        }
        loop {
            match reader.next() {
                Ok(Some(record)) => assert_eq!(record.payload(), payload_of(record.offset())),
                Ok(None) => return true,
                Err(FetchError::Trimmed { .. }) => return false,
                Err(error) => panic!("{error}"),
            }
        }
    });
    assert_eq!(reader.next_offset(), sequence);
}

/// A segment may hold no record: one that is too small for the next. A reader before it once waited there for ever when
/// retention had dropped it.
#[test]
fn a_reader_passes_dropped_segments_that_held_no_record() {
    let options =
        Options::new().segment_bytes(1 << 20).first_segment_bytes(logs::SMALL).retention_age(Some(Duration::ZERO));
    let (_directory, _log, partition) = fresh_with(&options);
    let mut appender = partition.appender().expect("an appender");
    appender.append(b"first").expect("appended");
    let mut reader = partition.read_from(0).expect("a reader");
    reader.next().expect("read").expect("the first record");
    assert!(reader.next().expect("read").is_none());
    partition.prepare(2).expect("two segments stand ready");
    // Into the third segment; what is dropped is in two snapshots, so a second one has to follow.
    appender.append(&[1; 200_000]).expect("appended");
    eventually("the first two are in a snapshot", || partition.stats().snapshot_position >= 3 * logs::SMALL);
    appender.append(&[1; 200_000]).expect("appended");
    eventually("the first two are dropped", || partition.stats().segments_dropped == 2);
    assert_eq!(partition.start_offset(), 1, "the reader's place");
    assert!(reader.wait(PATIENCE).expect("waits"));
    assert_eq!(reader.next().expect("read").expect("the large record").offset(), 1);
}
