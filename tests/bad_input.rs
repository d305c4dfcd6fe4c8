//! Bad input: each is an error that names the value and the limit, nothing is written, and nothing panics.

mod logs;

use logs::{all, append_many, directory, files, fresh, fresh_with, open, small, try_open};
use oncelog::{
    Answer, AppendError, FetchError, FillError, OpenError, Options, Partition, PartitionError, ProducerId,
    RegisterError, Stamp,
};
use std::{fmt, time::Duration};

/// Fails unless the error says what is expected.
fn check(error: impl fmt::Display, expected: &str) {
    assert_eq!(error.to_string(), expected);
}

/// The largest body in segments of 64 KiB: a quarter of what is behind the header, without a frame's header and
/// producer's part.
const LIMIT: usize = (64 * 1024 - 4096) / 4 - 32 - 40;

#[test]
fn what_is_larger_than_a_frame_can_be() {
    let (_directory, log, partition) = fresh();
    let mut appender = partition.appender().expect("an appender");
    let mut session = log.session("session").expect("a session");
    let registration = log.register("by id").expect("registered");
    let stamp = |sequence| Stamp { producer: registration.id, epoch: registration.epoch, sequence };
    let largest = vec![7; LIMIT];
    let beyond = vec![7; LIMIT + 1];
    // Each record of a batch takes four bytes more.
    let halves = [&beyond[..LIMIT / 2], &beyond[..LIMIT / 2 - 7]];
    let told = format!("{} bytes are too many for one frame: at most {LIMIT}", LIMIT + 1);
    for _ in 0..2 {
        let fill = |_, _: &mut [u8]| -> Result<(), String> { panic!("it must not be called") };
        check(appender.append(&beyond).expect_err("too large"), &told);
        check(appender.append_batch(&halves).expect_err("too large"), &told);
        check(appender.append_with(LIMIT + 1, fill).expect_err("too large"), &told);
        check(appender.append_by_id(stamp(0), &beyond).expect_err("too large"), &told);
        check(appender.append_batch_by_id(stamp(0), &halves).expect_err("too large"), &told);
        check(session.append(&partition, 0, &beyond).expect_err("too large"), &told);
        check(session.append_next(&partition, &beyond).expect_err("too large"), &told);
        check(session.append_batch(&partition, 0, &halves).expect_err("too large"), &told);
        check(session.append_with(&partition, 0, LIMIT + 1, fill).expect_err("too large"), &told);
        let told = format!("{} bytes are too many for one frame: at most {LIMIT}", usize::MAX);
        check(appender.append_with(usize::MAX, fill).expect_err("too large"), &told);
    }
    assert!(
        matches!(appender.append(&beyond), Err(AppendError::TooLarge { bytes, limit }) if (bytes, limit) == (LIMIT + 1, LIMIT))
    );
    assert_eq!((partition.end_offset(), partition.stats().segments), (0, 0), "nothing was written");
    assert_eq!(session.last(&partition).expect("read"), None, "no sequence was used");
    // The largest there is, in each way.
    assert_eq!(partition.record_bytes_max(), LIMIT);
    let fits = [&beyond[..LIMIT / 2], &beyond[..LIMIT / 2 - 8]];
    appender.append(&largest).expect("it fits");
    appender.append_batch(&fits).expect("it fits");
    appender.append_with(LIMIT, |_, _| Ok::<(), ()>(())).expect("it fits");
    assert!(appender.append_by_id(stamp(0), &largest).expect("it fits").is_stored());
    assert!(session.append(&partition, 0, &largest).expect("it fits").is_stored());
    assert!(session.append_batch(&partition, 1, &fits).expect("it fits").is_stored());
    assert_eq!(all(&partition).len(), 8);
}

/// However large the segments: no frame is larger than 16 MiB.
#[test]
fn what_is_larger_than_the_largest_frame() {
    let (_directory, _log, partition) =
        fresh_with(&Options::new().segment_bytes(128 << 20).first_segment_bytes(64 << 10));
    let limit = (16 << 20) - 72;
    let error = partition.appender().expect("an appender").append(&vec![0; limit + 1]).expect_err("too large");
    check(error, &format!("{} bytes are too many for one frame: at most {limit}", limit + 1));
}

#[test]
fn a_batch_of_nothing() {
    let (_directory, log, partition) = fresh();
    let mut appender = partition.appender().expect("an appender");
    let mut session = log.session("session").expect("a session");
    let registration = log.register("by id").expect("registered");
    let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence: 0 };
    let told = "the batch has no records: at least 1";
    check(appender.append_batch(&[]).expect_err("empty"), told);
    check(appender.append_batch_by_id(stamp, &[]).expect_err("empty"), told);
    check(session.append_batch(&partition, 0, &[]).expect_err("empty"), told);
    assert_eq!(partition.end_offset(), 0);
}

#[test]
fn sequences_beyond_the_largest() {
    let (_directory, log, partition) = fresh();
    let mut session = log.session("session").expect("a session");
    let registration = log.register("by id").expect("registered");
    let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence: u64::MAX - 1 };
    let told = "2 records from sequence 18446744073709551614 on would pass the largest sequence 18446744073709551615";
    check(session.append_batch(&partition, u64::MAX - 1, &[b"a", b"b"]).expect_err("beyond"), told);
    let mut appender = partition.appender().expect("an appender");
    check(appender.append_batch_by_id(stamp, &[b"a", b"b"]).expect_err("beyond"), told);
    let one = session.append_with(&partition, u64::MAX, 1, |_, _| Ok::<(), String>(())).expect_err("beyond");
    assert!(
        matches!(one, FillError::Append(AppendError::SequenceOverflow { sequence: u64::MAX, records: 1 })),
        "{one}"
    );
    assert_eq!(session.append(&partition, u64::MAX - 1, b"a").expect("answered"), Answer::OutOfOrder { expected: 0 });
    assert_eq!(partition.end_offset(), 0);
}

#[test]
fn names_of_partitions() {
    let (directory, log, _partition) = fresh();
    let before = files(directory.path());
    let long = "n".repeat(201);
    let alphabet = "must be made of letters, digits, '.', '_' and '-' alone: no separator";
    let bad = [
        ("", "must not be empty"),
        (&long, "must be at most 200 bytes long"),
        ("__producers", "must not begin with __, which the log keeps for itself"),
        (".", "must not begin with a dot"),
        ("..", "must not begin with a dot"),
        (".hidden", "must not begin with a dot"),
        ("a/b", alphabet),
        ("../orders", "must not begin with a dot"),
        ("a\\b", alphabet),
        ("a b", alphabet),
        ("a\0b", alphabet),
        ("b\u{e4}r", alphabet),
    ];
    for (name, rule) in bad {
        let error = log.partition(name).map(|_| ()).expect_err("a bad name");
        check(&error, &format!("partition name {name:?}: {rule}"));
        assert!(matches!(error, PartitionError::Name { .. }));
    }
    assert!(files(directory.path()) == before, "nothing was created");
    assert_eq!(log.partition_names(), ["orders"]);
    for name in ["n".repeat(200).as_str(), "a", "A.b-c_9", "_one"] {
        assert_eq!(log.partition(name).expect("a good name").name(), name);
    }
}

#[test]
fn names_of_producers() {
    let (_directory, log, _partition) = fresh();
    let long = "\u{e4}".repeat(101);
    let characters = "must not hold a control character or the separator '/'";
    let bad = [
        ("", "must not be empty"),
        (&long, "must be at most 200 bytes long"),
        ("a/b", characters),
        ("a\nb", characters),
        ("a\0", characters),
    ];
    for (name, rule) in bad {
        let told = format!("producer name {name:?}: {rule}");
        check(log.register(name).expect_err("a bad name"), &told);
        check(log.session(name).map(|_| ()).expect_err("a bad name"), &told);
        check(log.register_all(&["good", name]).expect_err("a bad name"), &told);
    }
    assert!(log.producers().is_empty(), "all of them are registered, or none");
    for name in ["\u{e4}".repeat(100).as_str(), "..", "__producers", "a b \\ c"] {
        log.register(name).expect("a good name");
    }
}

#[test]
fn impossible_options() {
    let parent = directory();
    let sizes = "a multiple of 4096 from 65536 to 1073741824";
    let new = Options::new;
    let bad = [
        (new().segment_bytes(0), "segment_bytes", 0, sizes),
        (new().segment_bytes(65_535), "segment_bytes", 65_535, sizes),
        (new().segment_bytes(65_537), "segment_bytes", 65_537, sizes),
        (new().segment_bytes((1 << 30) + 4096), "segment_bytes", (1 << 30) + 4096, sizes),
        (new().segment_bytes(u64::MAX), "segment_bytes", u64::MAX, sizes),
        (new().first_segment_bytes(4096), "first_segment_bytes", 4096, sizes),
        (new().first_segment_bytes(100_000), "first_segment_bytes", 100_000, sizes),
        (
            new().segment_bytes(1 << 20).first_segment_bytes(2 << 20),
            "first_segment_bytes",
            2 << 20,
            "at most segment_bytes, which is 1048576",
        ),
        (new().segments_ahead(0), "segments_ahead", 0, "from 1 to 1024"),
        (new().segments_ahead(1_025), "segments_ahead", 1_025, "from 1 to 1024"),
        (new().producers_max(0), "producers_max", 0, "from 1 to 268435456"),
        (new().producers_max(u32::MAX), "producers_max", u64::from(u32::MAX), "from 1 to 268435456"),
        (new().snapshot_bytes(65_535), "snapshot_bytes", 65_535, "at least 65536"),
        (new().flush_bytes(Some(65_535)), "flush_bytes", 65_535, "at least 65536"),
        (new().flush_interval(Some(Duration::from_micros(999))), "flush_interval", 999_000, "at least 1,000,000 ns"),
    ];
    for (options, option, value, allowed) in bad {
        let directory = parent.path().join("log");
        let error = try_open(&directory, &options).map(|_| ()).expect_err("impossible");
        check(error, &format!("option {option} is {value}, and must be {allowed}"));
        assert!(!directory.exists(), "nothing was created");
    }
}

/// The table must hold every live producer, wherever in it they are.
#[test]
fn a_table_smaller_than_its_live_producers() {
    let (directory, log, partition) = fresh();
    let registered = log.register_all(&["a", "b", "c", "d"]).expect("registered");
    log.close_producer(registered[1].id).expect("closed");
    drop(partition);
    log.close().expect("closed");
    let before = files(directory.path());
    for producers_max in [1, 3] {
        let error =
            try_open(directory.path(), &small().producers_max(producers_max)).map(|_| ()).expect_err("too small");
        let OpenError::Option { option: "producers_max", value, allowed } = &error else { panic!("{error}") };
        assert_eq!(*value, u64::from(producers_max));
        assert!(allowed.starts_with("at least 4"), "{error}");
    }
    assert!(files(directory.path()) == before, "nothing was changed");
    assert_eq!(open(directory.path(), &small().producers_max(4)).producers().len(), 3);
}

#[test]
fn handles_that_do_not_belong_together() {
    let (_one, log, partition) = fresh();
    let (_other, other, elsewhere) = fresh();
    let mut session = log.session("writer").expect("a session");
    append_many(&mut session, &partition, 0..3);
    let told = "partition \"orders\" belongs to another log than the session";
    check(session.append(&elsewhere, 0, b"a").expect_err("another log's"), told);
    check(session.append_batch(&elsewhere, 0, &[b"a"]).expect_err("another log's"), told);
    check(session.last(&elsewhere).expect_err("another log's"), told);
    let filled = session.append_with(&elsewhere, 0, 1, |_, _| Ok::<(), String>(()));
    check(filled.expect_err("another log's"), told);
    append_many(&mut session, &partition, 3..6);
    assert_eq!((elsewhere.end_offset(), other.producers().len()), (0, 0));
}

#[test]
fn too_many_handles() {
    let (_directory, log, partition) = fresh();
    let mut session = log.session("writer").expect("a session");
    let mut appenders: Vec<_> = (0..32_000).map(|_| partition.appender().expect("within the limit")).collect();
    let told = "too many handles append to this partition: at most 32000";
    check(partition.appender().map(|_| ()).expect_err("one too many"), told);
    check(session.append(&partition, 0, b"a").expect_err("one too many"), told);
    assert_eq!((partition.stats().appenders, partition.end_offset()), (32_000, 0));
    drop(appenders.pop());
    append_many(&mut session, &partition, 0..1);
    drop((session, appenders));
    assert_eq!(partition.stats().appenders, 0);
}

#[test]
fn closing_what_is_in_use() {
    let (directory, log, partition) = fresh();
    let appender = partition.appender().expect("an appender");
    let session = log.session("writer").expect("a session");
    let clone = log.clone();
    let error = log.close().expect_err("it is in use");
    // The partition, the appender's own, the session and the clone.
    check(error, "the log has 4 other handles alive: it closes with the last");
    assert!(matches!(try_open(directory.path(), &small()), Err(OpenError::Locked { .. })));
    drop((partition, appender, session));
    clone.close().expect("the last one");
    open(directory.path(), &small());
}

#[test]
fn producers_and_offsets_that_are_not_there() {
    let (_directory, log, partition) = fresh();
    let id = ProducerId::from_u64(7 | 3 << 32);
    let error = log.close_producer(id).expect_err("no such producer");
    assert!(matches!(error, RegisterError::Unknown { producer } if producer == id));
    check(error, "no live producer has the id 7.3");
    fn out_of_range(partition: &Partition, offset: u64) -> FetchError {
        partition.read_from(offset).map(|_| ()).expect_err("out of range")
    }
    check(out_of_range(&partition, 1), "offset 1 is out of range: 0 is the first, 0 comes next");
    assert!(partition.read_from_time(u64::MAX).expect("the end").next().expect("read").is_none());
}
