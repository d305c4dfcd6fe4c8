//! Truncation: what is cut off is gone for good, with all that was known of it; what is before stays, with all that was.

mod logs;

use logs::*;
use oncelog::{
    Answer, Audit, DurableError, FetchError, Isolation, Log, Options, Partition, ReadOnlyLog, SegmentState, Stamp,
    TruncateError, Verdict, Verify, Window,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

const LONG: Duration = Duration::from_secs(30);

fn both() -> [Options; 2] {
    [small(), small().window(Window::Direct)]
}

fn append(partition: &Partition, payloads: std::ops::Range<u64>) {
    let mut appender = partition.appender().expect("an appender");
    for number in payloads {
        appender.append(&payload_of(number)).expect("appended");
    }
}

fn expected(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(payload_of).collect()
}

/// What is left of a log after it was killed, and after it was closed, is what it held.
fn check_after(directory: &Path, log: Log, partition: Partition, options: &Options) -> (Log, Partition) {
    partition.flush().expect("flushed");
    let before = state(&log, &partition);
    let killed = killed(directory);
    assert_eq!(state_in(killed.path(), options), before, "after a kill");
    drop(partition);
    let (log, partition) = reopened(directory, log, options);
    assert_eq!(state(&log, &partition), before, "after a close");
    (log, partition)
}

#[test]
fn what_is_cut_off_is_gone_and_its_offsets_are_given_again() {
    for options in both() {
        let (directory, log, partition) = fresh_with(&options);
        // Over several segments, within the first of them, and at its very beginning.
        for from in [2_900, 700, 10, 0] {
            append(&partition, partition.end_offset()..3_000);
            let made = partition.truncate(from).expect("truncated");
            assert_eq!((made.records, made.fenced.len()), (3_000 - from, 0));
            assert_eq!((partition.end_offset(), partition.durable_offset()), (from, from));
            assert_eq!(payloads(&partition), expected(0..from));
            let killed = killed(directory.path());
            let left = state_in(killed.path(), &options);
            assert_eq!((left.end, left.records.len() as u64), (from, from), "durable on return");
            append(&partition, 10_000..10_005);
            let mut all = expected(0..from);
            all.extend(expected(10_000..10_005));
            assert_eq!(payloads(&partition), all);
            partition.truncate(from).expect("truncated once more");
        }
        append(&partition, 0..100);
        let (_log, partition) = check_after(directory.path(), log, partition, &options);
        // What was sealed before the log was opened is cut like anything.
        assert_eq!(partition.truncate(40).expect("truncated").records, 60);
        append(&partition, 40..50);
        assert_eq!(payloads(&partition), expected(0..50));
    }
}

#[test]
fn nothing_is_cut_off_at_the_end_or_outside_of_what_is_there() {
    let (_directory, _log, partition) = fresh();
    assert_eq!(partition.truncate(0).expect("nothing to cut").records, 0);
    append(&partition, 0..10);
    assert_eq!(partition.truncate(10).expect("nothing to cut").records, 0);
    assert!(matches!(partition.truncate(11), Err(TruncateError::OutOfRange { offset: 11, start: 0, end: 10 })));
    partition.purge(4).expect("purged");
    assert!(matches!(partition.truncate(3), Err(TruncateError::OutOfRange { offset: 3, start: 4, end: 10 })));
    assert_eq!(partition.truncate(4).expect("all that is there").records, 6);
    append(&partition, 4..6);
    assert_eq!(payloads(&partition), expected(4..6));
}

/// Scenario 22.
#[test]
fn a_producer_goes_back_to_where_it_was_and_its_retry_is_appended_in_the_new_place() {
    for options in both() {
        let (directory, log, partition) = fresh_with(&options);
        let mut kept = log.session("kept").expect("a session");
        append_many(&mut kept, &partition, 0..50);
        let mut cut = log.session("cut").expect("a session");
        append_many(&mut cut, &partition, 0..1_500);
        let registered = log.register("by-id").expect("registered");
        let stamp = |sequence, epoch| Stamp { producer: registered.id, epoch, sequence };
        let mut appender = partition.appender().expect("an appender");
        for sequence in 0..10 {
            let answer = appender.append_by_id(stamp(sequence, registered.epoch), b"by id").expect("answered");
            assert!(matches!(answer, Answer::Appended { .. }));
        }
        let made = partition.truncate(150).expect("truncated");
        assert_eq!(made.fenced, [cut.id(), registered.id]);

        // Only those who wrote beyond are fenced.
        append_many(&mut kept, &partition, 50..60);
        assert!(matches!(cut.append(&partition, 1_500, b"late").expect("answered"), Answer::Fenced { .. }));
        let late = appender.append_by_id(stamp(10, registered.epoch), b"late").expect("answered");
        assert!(matches!(late, Answer::Fenced { .. }));

        drop(cut);
        let mut cut = log.session("cut").expect("a session");
        assert_eq!(
            cut.last(&partition).expect("known").map(|last| (last.sequence, last.offset)),
            Some((99, Some(149)))
        );
        assert_eq!(
            cut.append(&partition, 99, &payload_of(99)).expect("answered"),
            Answer::Duplicate { first: 149, last: 149 }
        );
        assert_eq!(
            cut.append(&partition, 100, &payload_of(100)).expect("answered"),
            Answer::Appended { first: 161, last: 161 }
        );
        let again = log.register("by-id").expect("registered");
        let answer = appender.append_by_id(stamp(0, again.epoch), b"by id").expect("answered");
        assert_eq!(answer, Answer::Appended { first: 162, last: 162 });
        drop((kept, cut, appender));

        let (log, partition) = check_after(directory.path(), log, partition, &options);
        let mut cut = log.session("cut").expect("a session");
        assert_eq!(
            cut.append(&partition, 50, &payload_of(50)).expect("answered"),
            Answer::Duplicate { first: 100, last: 100 }
        );
        assert_eq!(
            cut.append(&partition, 101, &payload_of(101)).expect("answered"),
            Answer::Appended { first: 163, last: 163 }
        );
    }
}

#[test]
fn a_batch_is_cut_in_its_middle_and_what_stays_of_it_is_its_producers() {
    for options in both() {
        let (directory, log, partition) = fresh_with(&options);
        let mut session = log.session("batches").expect("a session");
        let records: Vec<Vec<u8>> = (0..10).map(payload_of).collect();
        let batch: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let appended = session.append_batch(&partition, 0, &batch).expect("answered");
        assert_eq!(appended, Answer::Appended { first: 0, last: 9 });
        let mut within = partition.read_from(0).expect("a reader");
        for _ in 0..3 {
            within.next().expect("read").expect("a record");
        }
        partition.truncate(4).expect("truncated");
        assert_eq!(payloads(&partition), expected(0..4));
        // A reader before the cut goes on in what was written again.
        assert_eq!(within.next().expect("read").expect("a record").payload(), payload_of(3));
        assert!(within.next().expect("read").is_none());
        drop(session);
        let mut session = log.session("batches").expect("a session");
        assert_eq!(
            session.last(&partition).expect("known").map(|last| (last.sequence, last.offset)),
            Some((3, Some(3)))
        );
        assert_eq!(
            session.append_batch(&partition, 2, &batch[2..4]).expect("answered"),
            Answer::Duplicate { first: 2, last: 3 }
        );
        assert_eq!(
            session.append(&partition, 4, b"another").expect("answered"),
            Answer::Appended { first: 4, last: 4 }
        );
        assert_eq!(within.next().expect("read").expect("a record").payload(), b"another");
        drop((session, within));
        check_after(directory.path(), log, partition, &options);
    }
}

#[test]
fn a_reader_beyond_the_cut_is_told_so_and_one_before_it_goes_on() {
    for options in both() {
        let (_directory, _log, partition) = fresh_with(&options);
        append(&partition, 0..2_000);
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let reader_at = |offset| {
                let mut reader = partition.read_from(offset).expect("a reader");
                reader.set_isolation(isolation);
                reader.set_verify(Verify::Always);
                reader
            };
            let end = partition.end_offset();
            let (mut before, mut at, mut beyond, mut last) =
                (reader_at(100), reader_at(1_000), reader_at(1_200), reader_at(end));
            before.next().expect("read").expect("a record");
            beyond.next().expect("read").expect("a record");
            let slice = beyond.next().expect("read").expect("a record").slice();
            let bytes = slice.to_vec();
            partition.truncate(1_000).expect("truncated");
            let told = |error: FetchError, offset: u64| matches!(error, FetchError::Truncated { offset: o, end: 1_000 } if o == offset);
            assert!(told(beyond.next().err().expect("cut off"), 1_202));
            assert!(told(last.next().err().expect("cut off"), end));
            assert!(told(last.next().err().expect("it stays there"), end));
            assert!(at.next().expect("read").is_none());
            append(&partition, 1_000..1_300);
            assert_eq!(at.next().expect("read").expect("a record").offset(), 1_000);
            assert_eq!(rest(&mut before).expect("read").len(), 1_300 - 101);
            assert_eq!(slice.to_vec(), bytes, "what was read stays as it is");
            beyond.seek(1_000).expect("there");
            assert_eq!(rest(&mut beyond).expect("read").len(), 300);
        }
    }
}

#[test]
fn who_waits_beyond_the_cut_is_told_so() {
    for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
        let (_directory, _log, partition) = fresh();
        append(&partition, 0..100);
        let mut reader = partition.read_from_end().expect("a reader");
        reader.set_isolation(isolation);
        let waiting = thread::spawn(move || {
            let ready = reader.wait(LONG).expect("waited");
            (ready, matches!(reader.next(), Err(FetchError::Truncated { offset: 100, end: 50 })))
        });
        let other = partition.clone();
        let durable = thread::spawn(move || other.wait_durable(120, LONG));
        // Until both wait; a moment too few would not find less.
        thread::sleep(Duration::from_millis(50));
        partition.truncate(50).expect("truncated");
        assert_eq!(waiting.join().expect("no panic"), (true, true));
        let told = durable.join().expect("no panic");
        assert!(matches!(told, Err(DurableError::Truncated { offset: 120, end: 50 })), "{told:?}");
    }
}

#[test]
fn no_late_append_lands_however_many_threads_append() {
    for options in both() {
        let (directory, log, partition) = fresh_with(&options);
        let stop = Arc::new(AtomicBool::new(false));
        let registered = log.register("shared").expect("registered");
        let writers: Vec<_> = (0..3)
            .map(|number| {
                let (log, partition, stop) = (log.clone(), partition.clone(), Arc::clone(&stop));
                thread::spawn(move || {
                    let name = format!("writer-{number}");
                    let mut fences = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let mut session = log.session(&name).expect("a session");
                        let mut next = session.last(&partition).expect("known").map_or(0, |last| last.sequence + 1);
                        loop {
                            match session.append(&partition, next, &payload_of(next)).expect("answered") {
                                Answer::Appended { .. } | Answer::Duplicate { .. } => next += 1,
                                Answer::Fenced { .. } => break,
                                other => panic!("{other:?}"),
                            }
                            if stop.load(Ordering::Relaxed) {
                                break;
                            }
                        }
                        fences += 1;
                    }
                    fences
                })
            })
            .chain(std::iter::once({
                let (log, partition, stop) = (log.clone(), partition.clone(), Arc::clone(&stop));
                thread::spawn(move || {
                    let mut appender = partition.appender().expect("an appender");
                    let (mut epoch, mut sequence, mut fences) = (registered.epoch, 0, 0);
                    while !stop.load(Ordering::Relaxed) {
                        let stamp = Stamp { producer: registered.id, epoch, sequence };
                        match appender.append_by_id(stamp, &payload_of(sequence)).expect("answered") {
                            Answer::Appended { .. } | Answer::Duplicate { .. } => sequence += 1,
                            Answer::OutOfOrder { expected } | Answer::SequenceReused { expected } => {
                                sequence = expected
                            }
                            Answer::Fenced { .. } => {
                                epoch = log.register("shared").expect("registered").epoch;
                                fences += 1;
                            }
                            other => panic!("{other:?}"),
                        }
                    }
                    fences
                })
            }))
            .collect();
        for round in 0..20 {
            let floor = partition.end_offset() / 2;
            eventually("something is appended", || partition.end_offset() > floor + 50);
            partition.truncate(floor).unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
        stop.store(true, Ordering::Relaxed);
        let fences: u32 = writers.into_iter().map(|writer| writer.join().expect("no panic")).sum();
        assert!(fences > 0);
        // Each producer's sequences stand once, in order, without a gap.
        let mut next = BTreeMap::new();
        for seen in all(&partition) {
            let stamp = seen.producer.expect("all have a producer");
            let expected = next.entry(stamp.producer).or_insert(0);
            assert_eq!(stamp.sequence, *expected);
            assert_eq!(seen.payload, payload_of(*expected));
            *expected += 1;
        }
        check_after(directory.path(), log, partition, &options);
    }
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What opening finds of these files: it is looked at first, and nothing of it is damage.
fn found(files: &Files, options: &Options, step: &str) -> Vec<Seen> {
    let directory = directory_in_memory();
    for (name, bytes) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, bytes).expect("written");
    }
    let audit = Audit::run(directory.path(), None, |_| {}).expect("looked at");
    assert!(audit.verdict <= Verdict::TornTail, "{step}: {:?}", audit.findings);
    let seen = ReadOnlyLog::open(directory.path()).expect("looked at");
    let seen = seen.partition("orders").expect("the partition");
    let outlook = seen.recovery();
    assert!(outlook.refused.is_none(), "{step}: {:?}", outlook.refused);
    let mut reader = seen.read_from(seen.start_offset()).expect("a reader");
    let mut offsets = Vec::new();
    while let Some(record) = reader.next().expect("read") {
        offsets.push(record.offset());
    }
    // Twice: what the first opening has finished stays so.
    let state = state_in(directory.path(), options);
    assert_eq!(state.records, state_in(directory.path(), options).records, "{step}, opened again");
    assert_eq!(offsets, state.records.iter().map(|seen| seen.offset).collect::<Vec<_>>(), "{step}");
    assert_eq!((outlook.start_offset, outlook.end_offset), (state.start, state.end), "{step}");
    // A snapshot of a segment that was cut off would stand for what follows, once retention has come so far.
    let numbers = |suffix: &str| -> Vec<String> {
        let left = logs::files(directory.path()).into_keys().filter(|name| name.starts_with("partitions/orders"));
        left.filter(|name| name.extension().is_some_and(|one| one == suffix))
            .map(|name| name.file_stem().expect("a number").to_string_lossy().into_owned())
            .collect()
    };
    let segments = numbers("seg");
    assert!(numbers("snapshot").iter().all(|number| segments.contains(number)), "{step}");
    let audit = Audit::run(directory.path(), None, |_| {}).expect("looked at");
    assert!(audit.verdict == Verdict::Clean, "{step}, opened: {:?}", audit.findings);
    state.records
}

/// Each state that a crash can leave between two steps: all files as before the cut, and then, in the order of the steps, what
/// it writes and removes.
#[test]
fn a_crash_at_any_step_leaves_all_of_the_cut_or_nothing_of_it() {
    for (options, cuts) in both().into_iter().zip([&[2_100, 650, 4, 0][..], &[650, 4]]) {
        let options = options.snapshot_bytes(SMALL);
        for from in cuts.iter().copied() {
            let (directory, log, partition) = fresh_with(&options);
            let mut session = log.session("p").expect("a session");
            let records: Vec<Vec<u8>> = (0..10).map(payload_of).collect();
            let batch: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
            assert!(session.append_batch(&partition, 0, &batch).expect("answered").is_stored());
            append_many(&mut session, &partition, 10..2_400);
            partition.set_metadata(b"vote").expect("set");
            partition.flush().expect("flushed");
            eventually("a snapshot is written", || partition.stats().snapshots > 0);
            let copy = killed(directory.path());
            let mut before = files(copy.path());
            let all_before = state_in(copy.path(), &options).records;
            partition.truncate(from).expect("truncated");
            let copy = killed(directory.path());
            let after = files(copy.path());
            let all_after = state_in(copy.path(), &options).records;
            assert_eq!(all_after, all_before[..from as usize]);

            let looked = killed(directory.path());
            let looked = ReadOnlyLog::open(looked.path()).expect("looked at");
            let segments = looked.partition("orders").expect("the partition").segments();
            let cut = segments.iter().find(|segment| segment.state == SegmentState::Cut).map(|segment| segment.number);
            let next = segments.iter().rev().find(|segment| segment.state == SegmentState::Open);
            let next = next.expect("what follows the cut").number;
            // The fences come first, whatever comes of the rest.
            let is_others = |name: &Path| !name.starts_with("partitions/orders");
            before.retain(|name, _| !is_others(name));
            before.extend(
                after.iter().filter(|(name, _)| is_others(name)).map(|(name, bytes)| (name.clone(), bytes.clone())),
            );
            let named = |number: u64, suffix: &str| PathBuf::from(format!("partitions/orders/{number:016}.{suffix}"));
            let taken = |files: &Files, number: u64| {
                ["seg", "ready"]
                    .into_iter()
                    .find_map(|suffix| files.get(&named(number, suffix)).cloned())
                    .expect("there")
            };

            let mut files = before.clone();
            let mut begun = taken(&after, next);
            let whole = begun.clone();
            assert_eq!(found(&files, &options, "before"), all_before);
            for suffix in ["seg", "ready"] {
                files.remove(&named(next, suffix));
            }
            // What is said again is there, and the START frame is not.
            begun[4_096..4_152].fill(0);
            for suffix in ["ready", "seg"] {
                files.insert(named(next, suffix), begun.clone());
                assert_eq!(found(&files, &options, "without the START frame"), all_before, "{from} {suffix}");
                files.insert(named(next, suffix), whole.clone());
                assert_eq!(found(&files, &options, "with the START frame"), all_after, "{from} {suffix}");
                files.remove(&named(next, suffix));
            }
            files.insert(named(next, "seg"), whole);
            // In the order of the steps, and sealed last.
            let is_gone = |name: &&PathBuf| {
                // One that was only renamed is there.
                !after.contains_key(*name) && !after.contains_key(&name.with_extension("seg"))
            };
            let gone: Vec<PathBuf> = before.keys().filter(is_gone).cloned().collect();
            let mut sealed = files.clone();
            if let Some(cut) = cut {
                let bytes = taken(&after, cut);
                for suffix in ["seg", "ready"] {
                    if let Some(old) = sealed.get_mut(&named(cut, suffix)) {
                        old.clone_from(&bytes);
                    }
                }
            }
            assert_eq!(found(&sealed, &options, "sealed"), all_after);
            for name in gone.iter().filter(|name| !name.ends_with(format!("{next:016}.ready"))).rev() {
                sealed.remove(name);
                files.remove(name);
                assert_eq!(found(&sealed, &options, &format!("without {}", name.display())), all_after);
            }
            assert_eq!(found(&files, &options, "not sealed, and all else done"), all_after);
        }
    }
}

#[test]
fn a_reader_in_another_process_is_told_at_the_end_of_what_was_there() {
    for from in [2_300, 100] {
        let (directory, _log, partition) = fresh();
        append(&partition, 0..2_400);
        let log = ReadOnlyLog::open(directory.path()).expect("looked at");
        let seen = log.partition("orders").expect("the partition");
        let (mut before, mut end) = (seen.read_from(50).expect("a reader"), seen.read_from(2_400).expect("a reader"));
        for offset in 50..100 {
            assert_eq!(before.next().expect("read").expect("a record").offset(), offset);
        }
        assert!(end.next().expect("read").is_none());
        partition.truncate(from).expect("truncated");
        append(&partition, from..from + 10);
        let told = loop {
            match end.next() {
                Ok(None) => {}
                Ok(Some(record)) => panic!("offset {}", record.offset()),
                Err(error) => break error,
            }
        };
        assert!(matches!(told, FetchError::Truncated { offset: 2_400, end } if end == from), "{told}");
        // One that had not come so far reads on: what was there, and is then told, or what is there now.
        let mut next = 100;
        loop {
            match before.next() {
                Ok(Some(record)) => assert_eq!(record.offset(), next),
                Ok(None) => break assert_eq!(next, from + 10),
                Err(FetchError::Truncated { offset, end }) => {
                    break assert!(offset == next && end == from && next > from);
                }
                Err(error) => panic!("{error}"),
            }
            next += 1;
        }
    }
}
