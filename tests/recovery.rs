//! What is there after a log was opened again: after a clean close, and after a kill at any byte of the last write. The
//! numbers are those of the scenarios in `README.md`; `kill.rs` kills for real.

mod logs;

use logs::{
    all, append_many, copy_of, eventually, file, frame, fresh, killed, open, payloads, reopened, segment_file, small,
    state, state_in,
};
use oncelog::{Answer, Audit, Log, Partition, Stamp, Verdict};
use std::{fs, path::Path};

/// A log with every kind of frame in it, the last ones within one segment.
fn eventful(log: &Log, partition: &Partition) {
    let mut appender = partition.appender().expect("an appender");
    let mut session = log.session("writer").expect("a session");
    append_many(&mut session, partition, 0..900);
    appender.append_batch(&[b"of", b"a", b"batch"]).expect("appended");
    appender.append_with(100, |_, _| Err("given up")).expect_err("a void frame");
    let registration = log.register("by id").expect("registered");
    let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence: 0 };
    assert!(appender.append_batch_by_id(stamp, &[b"one", b"", b"three"]).expect("answered").is_stored());
    let mut session = log.session("writer").expect("the session, fenced");
    append_many(&mut session, partition, 900..903);
}

#[test]
fn a_clean_close_and_a_kill_leave_the_same() {
    let (directory, log, partition) = fresh();
    eventful(&log, &partition);
    let before = state(&log, &partition);
    assert_eq!(before.records.len(), 900 + 3 + 3 + 3);
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
    append_many(&mut log.session("writer").expect("a session"), &partition, 903..3_000);
    drop(partition);
    let (_log, _partition) = reopened(copy.path(), log, &small());
    for (number, bytes) in (1..).zip(bytes) {
        assert!(fs::read(segment_file(copy.path(), number)).expect("it is kept") == bytes, "segment {number}");
    }
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
    for at in 4096 + 56..ends.last().expect("frames").0 {
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

/// Files of segments that were prepared and not begun, of every state of preparation, and what other work has left.
#[test]
fn files_left_behind_are_removed_and_harm_nothing() {
    let (directory, log, partition) = fresh();
    eventful(&log, &partition);
    let before = state(&log, &partition);
    partition.prepare(2).expect("prepared");
    let copy = killed(directory.path());
    let left = |number: u64, suffix: &str| file(copy.path(), &format!("{number:016}.{suffix}"));
    let orders = left(0, "ready");
    let ready = fs::read_dir(orders.parent().expect("its directory")).expect("listed");
    let mut ready = ready.map(|entry| entry.expect("listed").path());
    let ready = ready.find(|path| path.extension().is_some_and(|suffix| suffix == "ready"));
    let prepared = fs::read(ready.expect("one stands ready")).expect("read");
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
    eventually("the second segment, the open one, has its name", || segment_file(directory.path(), 2).exists());
    let copy = killed(directory.path());
    fs::rename(segment_file(copy.path(), 2), file(copy.path(), "0000000000000002.ready")).expect("renamed");
    assert_eq!(state_in(copy.path(), &small()), before);
    assert_eq!(state_in(copy.path(), &small()), before, "the next time too");
}

/// A segment is begun, and the thread that was to write its START frame is killed, while others fill it and go on. It
/// ends the log before it, whatever its name is by then; once it was taken for one that was never begun, and the next one
/// for proof of a missing segment.
/// A segment that was full when the process was killed, and nothing of the next one reached the device: an audit once
/// took what reopening makes of it for damage.
#[test]
fn what_goes_on_behind_a_full_segment_after_a_crash_is_clean() {
    let (directory, log, partition) = fresh();
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..2_000);
    eventually("two segments have their names", || segment_file(directory.path(), 2).exists());
    let copy = killed(directory.path());
    for number in 2.. {
        // The first one that has a seal is behind a full one that has it, too.
        let Ok(mut bytes) = fs::read(segment_file(copy.path(), number)) else { break };
        bytes[512..1_088].fill(0);
        bytes[4_096..].fill(0);
        fs::write(segment_file(copy.path(), number), bytes).expect("written");
        fs::rename(segment_file(copy.path(), number), file(copy.path(), &format!("{number:016}.ready")))
            .expect("renamed");
    }
    let mut first = fs::read(segment_file(copy.path(), 1)).expect("a segment");
    first[512..1_088].fill(0);
    fs::write(segment_file(copy.path(), 1), first).expect("written");
    for name in ["0000000000000001.snapshot", "0000000000000002.snapshot"] {
        let _none = fs::remove_file(file(copy.path(), name));
    }
    let log = open(copy.path(), &small());
    let partition = log.partition("orders").expect("the partition");
    let end = partition.end_offset();
    assert!(end > 100);
    append_many(&mut log.session("writer").expect("a session"), &partition, end..end + 10);
    drop(partition);
    log.close().expect("closed");
    let audit = Audit::run(copy.path(), None, |_| {}).expect("a log");
    assert_eq!(audit.verdict, Verdict::Clean, "{:?}", audit.findings);
}

#[test]
fn a_segment_without_its_first_frame_ends_the_log_before_it() {
    let (directory, log, partition) = fresh();
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..3_600);
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
            logs::copy_all(copies.last().expect("a copy").path(), directory.path()).expect("copied");
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
