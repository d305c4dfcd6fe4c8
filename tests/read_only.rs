//! A log that is only looked at: it shows what opening would, beside a writer and on damaged files, and changes no byte.

mod logs;

use logs::{
    Seen, append_many, copy_of, directory, eventually, file, flip, fresh, fresh_with, killed, payload_of, segment_file,
    small, try_open,
};
use oncelog::{
    FetchError, Level, Log, OpenError, Options, ReadOnlyLog, ReadOnlyPartition, ReadOnlyReader, Stamp, Window,
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

fn look(directory: &Path) -> ReadOnlyLog {
    ReadOnlyLog::open(directory).expect("the log is looked at")
}

fn rest(reader: &mut ReadOnlyReader) -> Result<Vec<Seen>, FetchError> {
    let mut seen = Vec::new();
    while let Some(record) = reader.next()? {
        seen.push(Seen { offset: record.offset(), payload: record.payload().to_vec(), producer: record.producer() });
    }
    Ok(seen)
}

/// All records up to the end, or to an error.
fn all(partition: &ReadOnlyPartition) -> (Vec<Seen>, Option<FetchError>) {
    let mut reader = partition.read_from(partition.start_offset()).expect("a reader at the start");
    let mut seen = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(record)) => seen.push(Seen {
                offset: record.offset(),
                payload: record.payload().to_vec(),
                producer: record.producer(),
            }),
            Ok(None) => return (seen, None),
            Err(error) => return (seen, Some(error)),
        }
    }
}

/// Bytes, and times of change, of all that is below.
fn untouched(directory: &Path) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64)> {
    let with_times = |(path, bytes): (PathBuf, Vec<u8>)| {
        let file = fs::metadata(directory.join(&path)).expect("there");
        (path, (bytes, file.mtime_nsec(), file.ctime_nsec()))
    };
    logs::files(directory).into_iter().map(with_times).collect()
}

/// A log with batches, void frames, fences, several segments and snapshots.
fn fill(log: &Log, rounds: u64) {
    let partition = log.partition("orders").expect("a partition");
    let other = log.register("by id").expect("registered");
    let mut appender = partition.appender().expect("an appender");
    for round in 0..rounds {
        let mut session = log.session("writer").expect("a session");
        append_many(&mut session, &partition, round * 300..round * 300 + 298);
        let batch: [&[u8]; 2] = [b"one of two", b""];
        assert!(session.append_batch(&partition, round * 300 + 298, &batch).expect("answered").is_stored());
        let stamp = Stamp { producer: other.id, epoch: other.epoch, sequence: round };
        assert!(appender.append_by_id(stamp, b"beside").expect("answered").is_stored());
        let _given_up = appender.append_with(20, |_, _| Err::<(), ()>(()));
        partition.flush().expect("flushed");
    }
}

fn with_snapshots() -> Options {
    small().snapshot_bytes(logs::SMALL)
}

/// Compares what looking at a log shows with what opening a copy of it makes of it.
fn check(directory: &Path, what: &str) {
    let before = untouched(directory);
    let seen = ReadOnlyLog::open(directory);
    let records = seen.as_ref().ok().and_then(|seen| seen.partition("orders").map(all));
    assert!(untouched(directory) == before, "{what}: something was changed");

    let copy = copy_of(directory);
    let opened = try_open(copy.path(), &with_snapshots());
    // Opening gives what was begun its new name before it looks further.
    let inside = |error: &OpenError, directory: &Path| {
        error.to_string().replace(directory.to_str().expect("UTF-8"), "").replace(".ready", ".seg")
    };
    let place = |error: &OpenError| inside(error, copy.path());
    let here = |error: &OpenError| inside(error, directory);
    match (opened, seen) {
        (Ok(log), Ok(seen)) => {
            let partition = log.partition("orders").expect("the partition");
            let mut reader = partition.read_from(partition.start_offset()).expect("a reader");
            let mut expected = Vec::new();
            let fault = loop {
                match reader.next() {
                    Ok(Some(record)) => expected.push((record.offset(), record.payload().to_vec(), record.producer())),
                    Ok(None) => break None,
                    // What opening did not look at: both readers have to.
                    Err(FetchError::Corrupt { at, offset, reason, .. }) => break Some((at, offset, reason)),
                    Err(error) => panic!("{what}: {error}"),
                }
            };
            let found = seen.partition("orders").expect("the partition");
            let refused = found.recovery().refused;
            assert!(refused.is_none(), "{what}: it opens, and not {refused:?}");
            assert_eq!(seen.producers(), log.producers(), "{what}");
            let ends = (found.start_offset(), found.end_offset());
            assert_eq!(ends, (partition.start_offset(), partition.end_offset()), "{what}");
            let (records, refused) = records.expect("the partition");
            let refused = refused.map(|error| match error {
                FetchError::Corrupt { at, offset, reason, .. } => (at, offset, reason),
                error => panic!("{what}: {error}"),
            });
            assert_eq!(refused, fault, "{what}");
            let records: Vec<_> = records.into_iter().map(|seen| (seen.offset, seen.payload, seen.producer)).collect();
            assert!(records == expected, "{what}: {} of {}", records.len(), expected.len());
        }
        (Err(error), Ok(seen)) => {
            let outlooks = seen.producers_outlook().into_iter().chain(seen.partitions().map(|found| found.recovery()));
            let refused: Vec<String> =
                outlooks.filter_map(|outlook| outlook.refused.map(|error| here(&error))).collect();
            assert!(refused.contains(&place(&error)), "{what}: {error}, and not {refused:?}");
        }
        (Err(error), Err(refused)) => assert_eq!(here(&refused), place(&error), "{what}"),
        (Ok(_), Err(refused)) => panic!("{what}: it opens, and not {refused}"),
    }
}

/// A log closed, and the same as a kill leaves it.
fn closed_and_killed() -> [tempfile::TempDir; 2] {
    let (directory, log, partition) = fresh_with(&with_snapshots());
    fill(&log, 6);
    eventually("a snapshot is there", || partition.stats().snapshots > 0);
    let killed = killed(directory.path());
    drop(partition);
    log.close().expect("closed");
    [directory, killed]
}

#[test]
fn what_is_shown_is_what_opening_would_give() {
    let [closed, killed] = closed_and_killed();
    check(closed.path(), "closed");
    check(killed.path(), "killed");
}

/// Bytes that are flipped and lengths that are cut, some hundred of each; `ONCELOG_TEST_SECONDS` for more.
#[test]
fn of_damaged_files_is_shown_what_opening_would_make_of_them() {
    let seconds = std::env::var("ONCELOG_TEST_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(6);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut seed = std::env::var("ONCELOG_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
    let mut chance = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let logs = closed_and_killed();
    let mut tried = 0;
    while Instant::now() < until || tried < 20 {
        let log = logs[chance(2)].path();
        let damaged = copy_of(log);
        let names: Vec<PathBuf> = logs::files(log).into_keys().filter(|path| !path.ends_with("LOCK")).collect();
        let name = &names[chance(names.len())];
        let path = damaged.path().join(name);
        let mut bytes = fs::read(&path).expect("readable");
        // A file that was being made when the log was killed.
        if bytes.is_empty() {
            continue;
        }
        // Not only in what is never used.
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
        let at = if chance(4) == 0 { chance(used.min(1200)) } else { chance(used) };
        let what = match chance(5) {
            0 => {
                bytes.truncate(at);
                format!("{} cut to {at}", name.display())
            }
            1 => {
                let to = (at + 8 + chance(3_000)).min(used);
                bytes[at..to].fill(0);
                format!("{} zero from {at} to {to}", name.display())
            }
            _ => {
                bytes[at] ^= 1 << chance(8);
                format!("{} byte {at}", name.display())
            }
        };
        fs::write(&path, bytes).expect("written");
        check(damaged.path(), &what);
        tried += 1;
    }
}

#[test]
fn files_that_are_missing_or_in_the_wrong_place_are_shown_as_opening_takes_them() {
    let logs = closed_and_killed();
    for log in &logs {
        for name in logs::files(log.path()).into_keys().filter(|path| !path.ends_with("LOCK") && !path.ends_with("log"))
        {
            let damaged = copy_of(log.path());
            fs::remove_file(damaged.path().join(&name)).expect("removed");
            if !name.ends_with("partition") {
                check(damaged.path(), &format!("without {}", name.display()));
            }
        }
        let damaged = copy_of(log.path());
        fs::copy(segment_file(log.path(), 1), segment_file(damaged.path(), 2)).expect("copied");
        check(damaged.path(), "segment 1 in the place of segment 2");
        fs::write(file(damaged.path(), "notes.txt"), "a stranger's").expect("written");
        check(damaged.path(), "a stranger's file beside");
    }
}

/// What a power cut leaves of names, headers and lengths, in each segment.
#[test]
fn names_that_came_before_their_headers_are_shown_as_opening_takes_them() {
    // The third was killed before anything was durable: nothing says of what is behind a torn name that it was.
    let (running, log, partition) = fresh();
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..2_500);
    let [closed, killed] = closed_and_killed();
    for log in [closed, killed, logs::killed(running.path())] {
        let last = (1..).find(|number| !segment_file(log.path(), number + 1).exists()).expect("a last segment");
        // Once with, once without snapshots.
        for (number, snapshots) in (1..=last).flat_map(|number| [(number, true), (number, false)]) {
            for left in ["no header", "no length", "an earlier header", "ready", "ready, no header", "two ready"] {
                let torn = copy_of(log.path());
                if !snapshots {
                    let files = logs::files(torn.path()).into_keys();
                    for path in files.filter(|path| path.extension().is_some_and(|found| found == "snapshot")) {
                        fs::remove_file(torn.path().join(path)).expect("removed");
                    }
                }
                let path = segment_file(torn.path(), number);
                let ready = |path: &Path| fs::rename(path, path.with_extension("ready")).expect("renamed");
                let mut bytes = fs::read(&path).expect("readable");
                match left {
                    "an earlier header" => bytes[..4096]
                        .copy_from_slice(&fs::read(segment_file(torn.path(), 1)).expect("readable")[..4096]),
                    "no length" => bytes.clear(),
                    "no header" | "ready, no header" | "two ready" => bytes[..4096].fill(0),
                    _ => {}
                }
                fs::write(&path, bytes).expect("written");
                if left.contains("ready") {
                    ready(&path);
                }
                if left == "two ready" && number < last {
                    ready(&segment_file(torn.path(), number + 1));
                }
                check(torn.path(), &format!("segment {number}: {left}; snapshots: {snapshots}"));
            }
        }
    }
}

#[test]
fn a_directory_without_a_log_is_refused_and_nothing_is_made_in_it() {
    let empty = directory();
    let error = ReadOnlyLog::open(empty.path()).map(|_| ()).expect_err("empty");
    assert!(matches!(&error, OpenError::Foreign { .. }) && error.to_string().contains("empty"), "{error}");
    let other = directory();
    fs::write(other.path().join("notes.txt"), "a stranger's").expect("written");
    assert!(matches!(ReadOnlyLog::open(other.path()), Err(OpenError::Foreign { .. })));
    assert!(matches!(ReadOnlyLog::open(other.path().join("none")), Err(OpenError::Io { .. })));
    assert!(logs::files(empty.path()).is_empty() && logs::files(other.path()).len() == 1);
}

#[test]
fn a_reader_begins_at_any_offset() {
    let (directory, log, partition) = fresh();
    fill(&log, 3);
    let expected = logs::all(&partition);
    let seen = look(directory.path());
    let found = seen.partition("orders").expect("the partition");
    for offset in (0..=found.end_offset()).step_by(7) {
        let read = rest(&mut found.read_from(offset).expect("a reader")).expect("read");
        let from = expected.iter().position(|seen| seen.offset >= offset).unwrap_or(expected.len());
        assert!(read == expected[from..], "from {offset}");
    }
    let beyond = found.read_from(found.end_offset() + 1).map(|_| ());
    assert!(matches!(beyond, Err(FetchError::OutOfRange { .. })), "{beyond:?}");
}

/// The reader of another opening follows a writer, over rotations, in both windows.
#[test]
fn a_reader_follows_a_live_writer() {
    for window in [Window::Mapped, Window::Direct] {
        let (directory, log, partition) = fresh_with(&small().window(window));
        let mut session = log.session("writer").expect("a session");
        append_many(&mut session, &partition, 0..10);
        partition.flush().expect("flushed");
        let seen = look(directory.path());
        assert!(seen.is_in_use());
        let mut reader = seen.partition("orders").expect("the partition").read_from(0).expect("a reader");
        let mut read = rest(&mut reader).expect("read").len() as u64;
        assert_eq!(read, 10);
        for round in 1..40 {
            append_many(&mut session, &partition, round * 100..round * 100 + if round == 1 { 0 } else { 100 });
            if round == 1 {
                append_many(&mut session, &partition, 10..100);
                append_many(&mut session, &partition, 100..200);
            }
            partition.flush().expect("flushed");
            let seen = rest(&mut reader).unwrap_or_else(|error| panic!("{window:?}: {error}"));
            for record in &seen {
                assert_eq!((record.offset, &record.payload), (read, &payload_of(read)));
                read += 1;
            }
            assert_eq!(read, (round + 1) * 100, "{window:?}");
        }
    }
}

/// The same, no further than what is on the device: it makes sure of that itself, and changes nothing.
#[test]
fn a_reader_of_what_is_durable_follows_a_live_writer() {
    for window in [Window::Mapped, Window::Direct] {
        let (directory, log, partition) = fresh_with(&small().window(window));
        let mut session = log.session("writer").expect("a session");
        append_many(&mut session, &partition, 0..10);
        partition.flush().expect("flushed");
        let mut reader = look(directory.path()).partition("orders").expect("there").read_from(0).expect("a reader");
        reader.set_level(Level::Durable);
        assert_eq!(rest(&mut reader).expect("read").len(), 10);
        let mut read = 10;
        for round in 0..20 {
            append_many(&mut session, &partition, 10 + round * 100..110 + round * 100);
            if window == Window::Direct {
                // Else it is in memory alone, and not in the file.
                partition.flush().expect("flushed");
            }
            for record in rest(&mut reader).unwrap_or_else(|error| panic!("{window:?}: {error}")) {
                assert_eq!((record.offset, &record.payload), (read, &payload_of(read)));
                read += 1;
            }
            assert_eq!(read, 110 + round * 100, "{window:?}");
        }
    }
}

/// Retention overtakes a reader: it reads on in the segment that it has, to its end, and hears it then; never other bytes.
#[test]
fn a_reader_that_retention_overtakes_is_told() {
    for window in [Window::Mapped, Window::Direct] {
        let options = with_snapshots().retention_bytes(Some(0)).window(window);
        let (directory, log, partition) = fresh_with(&options);
        let mut session = log.session("writer").expect("a session");
        append_many(&mut session, &partition, 0..100);
        partition.flush().expect("flushed");
        let seen = look(directory.path());
        let mut reader = seen.partition("orders").expect("the partition").read_from(0).expect("a reader");
        assert_eq!(reader.next().expect("read").expect("a record").payload(), payload_of(0));
        for round in 1..80 {
            append_many(&mut session, &partition, round * 100..round * 100 + 100);
        }
        partition.flush().expect("flushed");
        eventually("retention has dropped what was read", || partition.start_offset() > 2_000);
        let mut next = 1;
        let error = loop {
            match reader.next() {
                Ok(Some(record)) => assert_eq!(record.payload(), payload_of(next)),
                Ok(None) => panic!("it was trimmed"),
                Err(error) => break error,
            }
            next += 1;
        };
        let FetchError::Trimmed { offset, start } = error else { panic!("{window:?}: {error}") };
        assert!(offset == next && start > next, "{window:?}: {offset}, {start}");
        assert!(next > 500, "{window:?}: the segment that it stood in was there to its end: {next}");
    }
}

/// Damage is an error with its place; what is behind it can be read.
#[test]
fn a_reader_goes_on_behind_damage() {
    let (directory, log, partition) = fresh();
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..2_000);
    partition.flush().expect("flushed");
    drop(partition);
    log.close().expect("closed");
    flip(&segment_file(directory.path(), 2), 20_000);
    let seen = look(directory.path());
    let found = seen.partition("orders").expect("the partition");
    let mut reader = found.read_from(0).expect("a reader");
    let mut offsets = Vec::new();
    let mut damaged = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(record)) => offsets.push(record.offset()),
            Ok(None) => break,
            Err(FetchError::Corrupt { path, offset, .. }) => {
                assert_eq!(path, segment_file(directory.path(), 2));
                damaged.push(offset);
                reader.skip_damage().expect("read").expect("more behind it");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(damaged.len(), 1);
    assert_eq!(offsets, (0..2_000).filter(|offset| *offset != damaged[0]).collect::<Vec<_>>());
}

/// Another process appends, rotates, and drops segments as fast as it can.
#[test]
fn a_log_in_use_by_another_process_is_read_in_order() {
    if std::env::var_os("ONCELOG_TEST_CHILD").is_some() {
        return;
    }
    for window in ["mapped", "direct"] {
        let directory = directory();
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "writes_until_it_is_killed", "--ignored", "--nocapture"])
            .env("ONCELOG_TEST_CHILD", directory.path())
            .env("ONCELOG_TEST_WINDOW", window)
            .stdout(Stdio::null())
            .spawn()
            .expect("the child runs");
        eventually("the child appends", || {
            let seen = ReadOnlyLog::open(directory.path());
            seen.is_ok_and(|seen| seen.partition("orders").is_some_and(|found| found.end_offset() > 5_000))
        });
        for _ in 0..5 {
            let seen = look(directory.path());
            let found = seen.partition("orders").expect("the partition");
            assert!(found.recovery().refused.is_none(), "{window}: {:?}", found.recovery().refused);
            assert!(seen.is_in_use());
            let mut next = None;
            let mut reader = match found.read_from(found.start_offset()) {
                Ok(reader) => reader,
                Err(FetchError::Trimmed { .. }) => continue,
                Err(error) => panic!("{window}: {error}"),
            };
            // It never ends while the writer is as fast as the reader.
            while next.is_none_or(|next| next < found.end_offset() + 1_000) {
                match reader.next() {
                    Ok(Some(record)) => {
                        assert_eq!(record.payload(), payload_of(record.offset()), "{window}");
                        assert!(next.is_none_or(|next| next == record.offset()), "{window}: {next:?}");
                        next = Some(record.offset() + 1);
                    }
                    Err(FetchError::Trimmed { .. }) | Ok(None) => break,
                    Err(error) => panic!("{window}: {error}"),
                }
            }
        }
        child.kill().expect("killed");
        child.wait().expect("gone");
    }
}

/// What `a_log_in_use_by_another_process_is_read_in_order` runs.
#[test]
#[ignore = "runs for ever, in a process of its own"]
fn writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os("ONCELOG_TEST_CHILD").map(PathBuf::from) else { return };
    let direct = std::env::var("ONCELOG_TEST_WINDOW").is_ok_and(|window| window == "direct");
    let window = if direct { Window::Direct } else { Window::Mapped };
    let options = with_snapshots().window(window).retention_bytes(Some(16 * logs::SMALL));
    let log = logs::open(&directory, &options);
    let partition = log.partition("orders").expect("a partition");
    let mut session = log.session("writer").expect("a session");
    for sequence in 0.. {
        let answer = session.append(&partition, sequence, &payload_of(sequence)).expect("appended");
        assert!(answer.is_stored());
        if sequence % 500 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
