//! What a reader notices of bytes that are not what they were, by how it was told to verify.

mod logs;

use logs::{Seen, append_many, fresh, payload_of, rest, segment_file, small};
use oncelog::{FetchError, Partition, Verify};
use std::{fs::File, os::unix::fs::FileExt, path::Path};

/// Changes bits of a byte of a segment of an open log, where its mapping shows it. No reader is at work.
fn damage(path: &Path, at: u64, bits: u8) {
    let file = File::options().read(true).write(true).open(path).expect("the segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ bits], at).expect("written");
}

fn read(partition: &Partition, verify: Verify) -> Result<Vec<Seen>, FetchError> {
    let mut reader = partition.read_from(0).expect("a reader");
    reader.set_verify(verify);
    rest(&mut reader)
}

/// Where the frames of `sealed` begin, behind the START frame.
const FIRST: u64 = 4096 + 56;
const BATCH: u64 = FIRST + 32 + 16;
const SESSIONS: u64 = BATCH + 32 + 24;
const END: u64 = SESSIONS + 56 + 16;

/// A log that was closed and opened, so that a seal says where its frames end.
fn sealed() -> (tempfile::TempDir, oncelog::Log, Partition) {
    let (directory, log, partition) = fresh();
    let mut appender = partition.appender().expect("an appender");
    appender.append(b"sixteen bytes!!!").expect("appended");
    appender.append_batch(&[b"four", b"", b"eight888"]).expect("appended");
    let mut session = log.session("writer").expect("a session");
    assert!(session.append(&partition, 0, b"of one producer!").expect("answered").is_stored());
    drop((appender, session, partition));
    let (log, partition) = logs::reopened(directory.path(), log, &small());
    (directory, log, partition)
}

/// Every bit of every frame: the publication word, the header, the producer's part and the body.
#[test]
fn a_changed_bit_anywhere_is_noticed_where_it_is() {
    let (directory, _log, partition) = sealed();
    let segment = segment_file(directory.path(), 1);
    let whole = read(&partition, Verify::Always).expect("whole");
    assert_eq!(whole.len(), 5);
    for at in FIRST..END {
        let (frame, offset) = match at {
            _ if at < BATCH => (FIRST, 0),
            _ if at < SESSIONS => (BATCH, 1),
            _ => (SESSIONS, 4),
        };
        for bit in 0..8 {
            damage(&segment, at, 1 << bit);
            match read(&partition, Verify::Always) {
                Err(FetchError::Corrupt { path, at: found, offset: found_offset, .. }) => {
                    assert_eq!((&path, found_offset), (&segment, offset), "byte {at}, bit {bit}");
                    assert_eq!(found, frame, "byte {at}, bit {bit}");
                }
                other => panic!("byte {at}, bit {bit}: {other:?}"),
            }
            // What is not verified may be anything; it is still bounded by what is there, and nothing panics.
            let _ = read(&partition, Verify::Never);
            damage(&segment, at, 1 << bit);
        }
    }
    assert_eq!(read(&partition, Verify::Always).expect("mended"), whole);
}

#[test]
fn a_reader_stays_before_a_damaged_record_and_can_pass_it() {
    let (directory, _log, partition) = sealed();
    damage(&segment_file(directory.path(), 1), BATCH + 36, 1);
    let mut reader = partition.read_from(0).expect("a reader");
    reader.next().expect("read").expect("the first is whole");
    for _ in 0..2 {
        let error = reader.next().map(|_| ()).expect_err("damaged");
        assert!(matches!(error, FetchError::Corrupt { offset: 1, .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("0000000000000001.seg is corrupt at byte 4200, offset 1: "), "{text}");
    }
    // Into the damaged batch: refused, and the reader stays.
    reader.seek(0).expect("whole");
    reader.seek(2).expect_err("within the damaged batch");
    assert_eq!(reader.next_offset(), 0);
    assert_eq!(reader.next().expect("read").expect("a record").offset(), 0);
    reader.seek(4).expect("behind it");
    assert_eq!(reader.next().expect("read").expect("a record").payload(), b"of one producer!");
}

#[test]
fn always_notices_once_notices_the_first_time_never_does_not() {
    let (directory, log, partition) = fresh();
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..1_000);
    logs::eventually("the segment has its lasting name", || segment_file(directory.path(), 2).exists());
    let length = (56 + payload_of(0).len() as u64).next_multiple_of(8);
    let body_of_fourth = FIRST + 3 * length + 56;
    let corrupt = |result: Result<Vec<Seen>, FetchError>| matches!(result, Err(FetchError::Corrupt { offset: 3, .. }));

    // Damaged before anyone has read it.
    let first = segment_file(directory.path(), 1);
    damage(&first, body_of_fourth, 1);
    assert!(corrupt(read(&partition, Verify::Always)));
    assert!(corrupt(read(&partition, Verify::OncePerSegment)));
    assert!(corrupt(read(&partition, Verify::OncePerSegment)), "what did not agree is not taken for verified");
    assert_eq!(read(&partition, Verify::Never).expect("not looked at").len(), 1_000);
    damage(&first, body_of_fourth, 1);

    // Damaged once it was verified, by a reader that keeps a note of it.
    assert_eq!(read(&partition, Verify::Always).expect("whole").len(), 1_000);
    damage(&first, body_of_fourth, 1);
    assert!(corrupt(read(&partition, Verify::OncePerSegment)), "a reader that always verifies has left no note");
    damage(&first, body_of_fourth, 1);
    assert_eq!(read(&partition, Verify::OncePerSegment).expect("whole").len(), 1_000);
    damage(&first, body_of_fourth, 1);
    assert_eq!(read(&partition, Verify::OncePerSegment).expect("verified before").len(), 1_000);
    assert!(corrupt(read(&partition, Verify::Always)));
    // A note is of this life of the log.
    damage(&first, body_of_fourth, 1);
    drop(partition);
    let (_log, partition) = logs::reopened(directory.path(), log, &small());
    damage(&first, body_of_fourth, 1);
    assert!(corrupt(read(&partition, Verify::OncePerSegment)));
}
