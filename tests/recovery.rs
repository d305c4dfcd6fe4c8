//! What is there after a log was opened again: after a clean close, and after a kill at any byte of the last write. The
//! numbers are those of the scenarios in `README.md`; `kill.rs` kills for real.

mod logs;

use logs::{
    Seen, all, append_many, copy_of, eventually, file, flip, fresh, fresh_with, killed, open, payload_of, payloads,
    reopened, segment_file, small, try_open,
};
use oncelog::{Answer, Log, OpenError, Options, Partition, ProducerInfo, Stamp};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// All that a reopening has to bring back.
#[derive(Debug, PartialEq)]
struct State {
    records: Vec<Seen>,
    start: u64,
    end: u64,
    producers: Vec<ProducerInfo>,
}

fn state(log: &Log, partition: &Partition) -> State {
    State {
        records: all(partition),
        start: partition.start_offset(),
        end: partition.end_offset(),
        producers: log.producers(),
    }
}

fn state_in(directory: &Path, options: &Options) -> State {
    let log = open(directory, options);
    state(&log, &log.partition("orders").expect("the partition"))
}

/// A log with every kind of frame in it, the last ones within one segment.
fn eventful(log: &Log, partition: &Partition) {
    let mut appender = partition.appender().expect("an appender");
    let mut session = log.session("writer").expect("a session");
    append_many(&mut session, partition, 0..700);
    appender.append_batch(&[b"of", b"a", b"batch"]).expect("appended");
    appender.append_with(100, |_, _| Err("given up")).expect_err("a void frame");
    let registration = log.register("by id").expect("registered");
    let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence: 0 };
    assert!(appender.append_batch_by_id(stamp, &[b"one", b"", b"three"]).expect("answered").is_stored());
    let mut session = log.session("writer").expect("the session, fenced");
    append_many(&mut session, partition, 700..703);
}

#[test]
fn a_clean_close_and_a_kill_leave_the_same() {
    let (directory, log, partition) = fresh();
    eventful(&log, &partition);
    let before = state(&log, &partition);
    assert_eq!(before.records.len(), 700 + 3 + 3 + 3);
    assert_eq!(state_in(killed(directory.path()).path(), &small()), before);
    drop(partition);
    let (log, partition) = reopened(directory.path(), log, &small());
    assert_eq!(state(&log, &partition), before);
    assert_eq!(partition.appender().expect("an appender").append(b"next").expect("appended"), before.end);
}

/// What was open before is sealed, and its bytes are never written again.
#[test]
fn a_segment_of_an_earlier_life_never_changes() {
    let (directory, log, partition) = fresh();
    eventful(&log, &partition);
    let copy = killed(directory.path());
    let log = open(copy.path(), &small());
    let partition = log.partition("orders").expect("the partition");
    let mut bytes = Vec::new();
    for number in 1.. {
        match fs::read(segment_file(copy.path(), number)) {
            Ok(segment) => bytes.push(segment),
            Err(_) => break,
        }
    }
    assert!(bytes.len() > 1);
    append_many(&mut log.session("writer").expect("a session"), &partition, 703..3_000);
    drop(partition);
    let (_log, _partition) = reopened(copy.path(), log, &small());
    for (number, bytes) in (1..).zip(bytes) {
        assert!(fs::read(segment_file(copy.path(), number)).expect("it is kept") == bytes, "segment {number}");
    }
}

/// Bytes of a frame by its parts; see the drawing in `src/format/frame.rs`.
const fn frame(body: usize, producer: bool) -> usize {
    (32 + if producer { 40 } else { 0 } + body).next_multiple_of(8)
}

/// Scenario 18: a log whose process was killed while it wrote. Its last frames lie behind each other at the end of what is
/// written; each entry is where one ends, with the records and the last sequence that are whole when it is.
fn torn() -> (tempfile::TempDir, Vec<(usize, usize, Option<u64>)>) {
    let (directory, log, partition) = fresh();
    let mut session = log.session("writer").expect("a session");
    let mut appender = partition.appender().expect("an appender");
    let mut ends = vec![(4096 + 56, 0, None)];
    let mut wrote = |bytes: usize, records: usize, sequence: Option<u64>| {
        let (end, before, _) = *ends.last().expect("the START frame");
        ends.push((end + bytes, before + records, sequence));
    };
    appender.append(b"the first of all").expect("appended");
    wrote(frame(16, false), 1, None);
    assert!(session.append_batch(&partition, 0, &[b"zero", b"one!"]).expect("answered").is_stored());
    wrote(frame(16, true), 2, Some(1));
    session = log.session("writer").expect("a session, fencing the one before");
    wrote(frame(24, false), 0, Some(1));
    assert!(session.append(&partition, 2, b"number 2").expect("answered").is_stored());
    wrote(frame(8, true), 1, Some(2));
    appender.append_batch(&[b"four", b"more"]).expect("appended");
    wrote(frame(16, false), 2, Some(2));
    assert!(session.append(&partition, 3, b"number 3").expect("answered").is_stored());
    wrote(frame(8, true), 1, Some(3));
    eventually("the segment has its lasting name", || segment_file(directory.path(), 1).exists());
    (killed(directory.path()), ends)
}

/// Opens a copy of the torn log whose segment has these bytes, and checks that exactly the frames before the first one
/// that differs are there.
fn check_torn(torn: &Path, ends: &[(usize, usize, Option<u64>)], bytes: &[u8], what: &str) {
    let whole = fs::read(segment_file(torn, 1)).expect("the segment");
    let copy = copy_of(torn);
    fs::write(segment_file(copy.path(), 1), bytes).expect("written");
    let kept = ends.iter().take_while(|(end, ..)| whole[4096..*end] == bytes[4096..*end]).last();
    let (_, records, sequence) = *kept.expect("the START frame is whole");

    let log = open(copy.path(), &small());
    let partition = log.partition("orders").expect("the partition");
    let expected = [b"the first of all".as_slice(), b"zero", b"one!", b"number 2", b"four", b"more", b"number 3"];
    assert_eq!(payloads(&partition), expected[..records], "{what}");
    let mut session = log.session("writer").expect("a session");
    let last = session.last(&partition).expect("read").map(|last| last.sequence);
    assert_eq!(last, sequence, "{what}: the table is a replay of what is there");
    // What was lost is sent again and appended, once.
    let next = sequence.map_or(0, |sequence| sequence + 1);
    let answer = session.append(&partition, next, b"sent again").expect("answered");
    assert_eq!(answer, Answer::Appended { first: records as u64, last: records as u64 }, "{what}");
    assert_eq!(all(&partition).len(), records + 1, "{what}");
}

/// Scenario 18: written up to that byte, and zeros behind it.
#[test]
fn a_write_cut_at_any_byte_leaves_whole_frames_or_no_trace() {
    let (torn, ends) = torn();
    let whole = fs::read(segment_file(torn.path(), 1)).expect("the segment");
    let end = ends.last().expect("frames").0;
    for cut in 4096 + 56..=end {
        let mut bytes = whole.clone();
        bytes[cut..].fill(0);
        check_torn(torn.path(), &ends, &bytes, &format!("cut at byte {cut}"));
    }
}

/// Scenario 18: one byte of the last frames is another one. What follows a frame that does not hold is dropped with it.
#[test]
fn a_changed_byte_of_the_open_segment_ends_it_there() {
    let (torn, ends) = torn();
    let whole = fs::read(segment_file(torn.path(), 1)).expect("the segment");
    // The reserved bytes of a producer's part are nobody's: see the drawing.
    let starts = ends.iter().zip(&ends[1..]).filter(|(before, end)| before.2 != end.2).map(|(before, _)| before.0);
    let reserved: Vec<_> = starts.flat_map(|start| start + 52..start + 56).collect();
    for at in (4096 + 56..ends.last().expect("frames").0).filter(|at| !reserved.contains(at)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        check_torn(torn.path(), &ends, &bytes, &format!("byte {at} changed"));
    }
}

/// A frame was still open when the process was killed, and others behind it were not: they were never visible.
#[test]
fn an_unfinished_frame_and_what_follows_it_leave_no_trace() {
    let (directory, log, partition) = fresh();
    let mut appender = partition.appender().expect("an appender");
    for _ in 0..10 {
        appender.append(b"visible").expect("appended");
    }
    let mut session = log.session("writer").expect("a session");
    let mut copy = None;
    appender
        .append_with(100, |_, bytes| -> Result<(), ()> {
            bytes[..60].fill(b'?');
            // Into the segments behind this one, too.
            append_many(&mut session, &partition, 0..2_000);
            assert_eq!(partition.end_offset(), 10);
            copy = Some(killed(directory.path()));
            Ok(())
        })
        .expect("filled");
    let copy = copy.expect("the closure ran");
    let again = copy_of(copy.path());

    let log = open(copy.path(), &small());
    let partition = log.partition("orders").expect("the partition");
    assert_eq!(payloads(&partition), vec![b"visible"; 10]);
    let mut session = log.session("writer").expect("a session");
    assert_eq!(session.last(&partition).expect("read"), None);
    assert_eq!(session.append(&partition, 0, b"anew").expect("answered"), Answer::Appended { first: 10, last: 10 });
    drop((session, partition, log));

    // The same, and the opening itself is killed before it has removed the last of what must go: as a segment that
    // follows an end which is already sealed would show, the order is from the last one on.
    fs::remove_file(file(again.path(), "0000000000000003.ready"))
        .or_else(|_| fs::remove_file(segment_file(again.path(), 3)))
        .expect("removed");
    for number in 4..9 {
        let _ = fs::remove_file(file(again.path(), &format!("{number:016}.ready")));
    }
    assert_eq!(state_in(again.path(), &small()).records.len(), 10);
}

fn with_snapshots() -> Options {
    small().snapshot_bytes(logs::SMALL)
}

/// A log with several snapshots and frames behind the newest one, as a kill leaves it; and its state.
fn with_snapshots_killed() -> (tempfile::TempDir, State) {
    let (directory, log, partition) = fresh_with(&with_snapshots());
    let other = log.register("by id").expect("registered");
    let mut appender = partition.appender().expect("an appender");
    for round in 0..4 {
        let before = partition.stats().snapshots;
        let mut session = log.session("writer").expect("a session");
        append_many(&mut session, &partition, round * 1_000..(round + 1) * 1_000);
        let stamp = Stamp { producer: other.id, epoch: other.epoch, sequence: round };
        assert!(appender.append_by_id(stamp, b"beside").expect("answered").is_stored());
        eventually("the segment that is full is in a snapshot", || partition.stats().snapshots > before);
    }
    append_many(&mut log.session("writer").expect("a session"), &partition, 4_000..4_010);
    let copy = killed(directory.path());
    let before = state(&log, &partition);
    (copy, before)
}

fn snapshots_in(partition: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(partition).expect("listed").map(|entry| entry.expect("listed").path());
    let mut snapshots: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|suffix| suffix == "snapshot")).collect();
    snapshots.sort();
    snapshots
}

/// Scenario 19.
#[test]
fn a_damaged_snapshot_costs_a_longer_replay_and_nothing_else() {
    let (directory, before) = with_snapshots_killed();
    let snapshots = snapshots_in(&file(directory.path(), ""));
    assert!(snapshots.len() >= 3, "{snapshots:?}");
    let newest = fs::read(snapshots.last().expect("the newest")).expect("readable");
    let mut damaged = vec![("empty".to_owned(), Vec::new()), ("of another version".to_owned(), newest.clone())];
    damaged[1].1[8] = 2;
    for cut in (1..newest.len()).step_by(23) {
        damaged.push((format!("cut to {cut} bytes"), newest[..cut].to_vec()));
    }
    for at in (0..newest.len()).step_by(7) {
        damaged.push((format!("byte {at} changed"), newest.clone()));
        damaged.last_mut().expect("just pushed").1[at] ^= 0x40;
    }
    damaged.push(("longer than it is".to_owned(), [newest.as_slice(), &[0; 48]].concat()));
    for (what, bytes) in damaged {
        let copy = copy_of(directory.path());
        let snapshots = snapshots_in(&file(copy.path(), ""));
        fs::write(snapshots.last().expect("the newest"), &bytes).expect("written");
        assert_eq!(state_in(copy.path(), &with_snapshots()), before, "the newest snapshot is {what}");
    }
    // All of them, and none at all.
    for damage in [|path: &Path| flip(path, 20), |path: &Path| fs::remove_file(path).expect("removed")] {
        let copy = copy_of(directory.path());
        for snapshot in snapshots_in(&file(copy.path(), "")) {
            damage(&snapshot);
        }
        assert_eq!(state_in(copy.path(), &with_snapshots()), before);
    }
}

/// Scenario 19, where retention has dropped what is in a snapshot, in a partition and in the log's own one, which keeps
/// nothing but its snapshots: one of them may still be damaged.
#[test]
fn a_damaged_snapshot_costs_nothing_where_segments_were_dropped() {
    let options = with_snapshots().retention_bytes(Some(0));
    let (directory, mut log, mut partition) = fresh_with(&options);
    for round in 0..3 {
        append_many(&mut log.session(&format!("producer {round}")).expect("a session"), &partition, 0..3_000);
        drop(partition);
        (log, partition) = reopened(directory.path(), log, &options);
    }
    append_many(&mut log.session("producer 3").expect("a session"), &partition, 0..3);
    let own = directory.path().join("partitions").join("__producers");
    eventually("what is in the snapshots is dropped", || {
        let first = fs::read_dir(&own)
            .expect("listed")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".seg")?.parse().ok());
        partition.start_offset() > 3_000 && first.min() > Some(1_u64)
    });
    let producers = log.producers();
    for partition in ["orders", "__producers"] {
        let copy = killed(directory.path());
        let snapshots = snapshots_in(&copy.path().join("partitions").join(partition));
        flip(snapshots.last().expect("a snapshot"), 30);
        let log = try_open(copy.path(), &options).unwrap_or_else(|error| panic!("{partition}: {error}"));
        assert_eq!(log.producers(), producers, "{partition}");
    }
}

/// Files of segments that were prepared and not begun, of every state of preparation, and what other work has left.
#[test]
fn files_left_behind_are_removed_and_harm_nothing() {
    let (directory, log, partition) = fresh();
    eventful(&log, &partition);
    let before = state(&log, &partition);
    let copy = killed(directory.path());
    let left = |number: u64, suffix: &str| file(copy.path(), &format!("{number:016}.{suffix}"));
    let prepared =
        fs::read(left(5, "ready").as_path()).or_else(|_| fs::read(left(4, "ready"))).expect("one stands ready");
    fs::write(left(90, "ready"), b"").expect("written");
    fs::write(left(91, "ready"), &prepared[..100]).expect("written");
    fs::write(left(92, "ready"), &prepared).expect("written");
    fs::write(left(93, "ready"), vec![0xAB; 64 << 10]).expect("written");
    fs::write(left(94, "spare"), &prepared).expect("written");
    fs::write(left(95, "tmp"), b"half a snapshot").expect("written");
    fs::write(copy.path().join("log.tmp"), b"half a file").expect("written");
    assert_eq!(state_in(copy.path(), &small()), before);
    for entry in fs::read_dir(file(copy.path(), "")).expect("listed") {
        let path = entry.expect("listed").path();
        let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or("");
        assert!(["", "seg", "snapshot"].contains(&suffix), "{} is still there", path.display());
    }
}

/// A segment gets its lasting name a moment after it is begun: one that did not is no less there.
#[test]
fn a_segment_that_was_begun_and_not_yet_renamed_counts() {
    let (directory, log, partition) = fresh();
    eventful(&log, &partition);
    let before = state(&log, &partition);
    let copy = killed(directory.path());
    let open = (1..).take_while(|number| segment_file(copy.path(), *number).exists()).last().expect("segments");
    fs::rename(segment_file(copy.path(), open), file(copy.path(), &format!("{open:016}.ready"))).expect("renamed");
    assert_eq!(state_in(copy.path(), &small()), before);
}

/// Damage is not taken for the end where something says that what is damaged was durable: a seal, or a MARK frame. Opening
/// refuses then, and says where.
#[test]
fn damage_below_what_was_durable_is_refused_with_its_file_and_position() {
    for sealed in [true, false] {
        let (directory, log, partition) = fresh();
        let mut session = log.session("writer").expect("a session");
        append_many(&mut session, &partition, 0..100);
        partition.flush().expect("flushed");
        append_many(&mut session, &partition, 100..if sealed { 1_500 } else { 110 });
        partition.flush().expect("flushed");
        eventually("the first segment has its name, or its seal", || {
            let bytes = fs::read(segment_file(directory.path(), 1)).unwrap_or_default();
            bytes.len() > 4096 && (!sealed || bytes[512..1088].iter().any(|byte| *byte != 0))
        });
        let copy = killed(directory.path());
        // Publication word, checksum, header, producer's part and body of the third frame behind the START frame.
        let third = 4096 + 56 + 2 * frame(payload_of(0).len(), true);
        for at in [0, 7, 8, 16, 20, 32, 40, 64, 72] {
            let damaged = copy_of(copy.path());
            flip(&segment_file(damaged.path(), 1), third + at);
            let segments = || {
                let mut files = logs::files(&file(damaged.path(), ""));
                files.retain(|path, _| path.extension().is_some_and(|suffix| suffix == "seg"));
                files
            };
            let before = segments();
            let error = try_open(damaged.path(), &small()).map(|_| ()).expect_err("it is damaged");
            let OpenError::Corrupt { path, at: found, .. } = &error else { panic!("{error}") };
            assert_eq!((path, *found), (&segment_file(damaged.path(), 1), third as u64), "byte {at}");
            let text = error.to_string();
            assert!(text.contains("0000000000000001.seg") && text.contains(&third.to_string()), "{text}");
            assert!(segments() == before, "what was stored is as it was");
        }
    }
}

/// Where nothing says so, a frame that does not hold is where a power cut has ended the partition, sealed or not.
#[test]
fn damage_above_what_was_durable_is_the_end() {
    for sealed in [true, false] {
        let (directory, log, partition) = fresh();
        let mut session = log.session("writer").expect("a session");
        append_many(&mut session, &partition, 0..100);
        partition.flush().expect("flushed");
        append_many(&mut session, &partition, 100..if sealed { 1_500 } else { 110 });
        eventually("the first segment has its name, or its seal", || {
            let bytes = fs::read(segment_file(directory.path(), 1)).unwrap_or_default();
            bytes.len() > 4096 && (!sealed || bytes[512..1088].iter().any(|byte| *byte != 0))
        });
        let copy = killed(directory.path());
        let sizes = (0..105).map(|sequence| frame(payload_of(sequence).len(), true));
        flip(&segment_file(copy.path(), 1), 4096 + 56 + sizes.sum::<usize>() + 75);
        let log = open(copy.path(), &small());
        let partition = log.partition("orders").expect("the partition");
        assert_eq!(payloads(&partition), (0..105).map(payload_of).collect::<Vec<_>>());
        append_many(&mut log.session("writer").expect("a session"), &partition, 105..1_500);
        drop(partition);
        let (_log, partition) = reopened(copy.path(), log, &small());
        assert_eq!(payloads(&partition), (0..1_500).map(payload_of).collect::<Vec<_>>());
    }
}

/// A segment is begun, and the thread that was to write its START frame is killed, while others fill it and go on. It
/// ends the log before it, whatever its name is by then; once it was taken for one that was never begun, and the next one
/// for proof of a missing segment.
#[test]
fn a_segment_without_its_first_frame_ends_the_log_before_it() {
    let (directory, log, partition) = fresh();
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..3_000);
    eventually("five segments have their names", || segment_file(directory.path(), 5).exists());
    let copy = killed(directory.path());
    let mut bytes = fs::read(segment_file(copy.path(), 3)).expect("a segment");
    bytes[512..1_088].fill(0);
    bytes[4096..4096 + 8].fill(0);
    for number in 4..6 {
        let mut bytes = fs::read(segment_file(copy.path(), number)).expect("a segment");
        bytes[512..1_088].fill(0);
        fs::write(segment_file(copy.path(), number), bytes).expect("written");
    }
    // What its START frame says: its base offset.
    let end = u64::from_le_bytes(std::array::from_fn(|at| bytes[4096 + 32 + at]));
    for ready in [true, false] {
        let copy = copy_of(copy.path());
        fs::write(segment_file(copy.path(), 3), &bytes).expect("written");
        if ready {
            for number in 3..6 {
                let to = file(copy.path(), &format!("{number:016}.ready"));
                fs::rename(segment_file(copy.path(), number), to).expect("renamed");
            }
        }
        let log = open(copy.path(), &small());
        let partition = log.partition("orders").expect("the partition");
        assert_eq!(all(&partition).len() as u64, end);
        append_many(&mut log.session("writer").expect("a session"), &partition, end..end + 10);
    }
}

/// Many openings, cleanly and not: nothing grows but the records.
#[test]
fn a_log_is_opened_and_closed_again_and_again() {
    let (directory, mut log, mut partition) = fresh();
    let mut copies = Vec::new();
    for round in 0..12 {
        let mut session = log.session("writer").expect("a session");
        append_many(&mut session, &partition, round * 5..(round + 1) * 5);
        drop((session, partition));
        if round % 2 == 0 {
            let copy = killed(directory.path());
            log.close().expect("closed");
            log = open(copy.path(), &small());
            copies.push(copy);
            // Go on in the copy's place.
            log.close().expect("closed");
            fs::remove_dir_all(directory.path()).expect("removed");
            fs::rename(copies.last().expect("a copy").path(), directory.path()).expect("moved");
        } else {
            log.close().expect("closed");
        }
        log = open(directory.path(), &small());
        partition = log.partition("orders").expect("the partition");
        assert_eq!(all(&partition).len() as u64, (round + 1) * 5);
    }
    let stats = partition.stats();
    assert_eq!((stats.start_offset, stats.end_offset, stats.segments_ready), (0, 60, 0));
}
