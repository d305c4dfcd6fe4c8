//! A segment that is taken off, with its file, between being found in the chain and being mapped. What was in the chain a
//! moment ago is handed to the step that follows, so that no thread need come in between.

use crate::{
    answer::Answer,
    error::FetchError,
    format::frame::Kind,
    log::{Log, Partition},
    options::Options,
    partition::chain::Lookup,
    segment::{
        file::Segment,
        scan::{Found, find},
        tail::FIRST_UNIT,
    },
};
use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

#[expect(unsafe_code, reason = "opening a log is")]
fn open(directory: &Path) -> (Log, Partition) {
    let options = Options::new().segment_bytes(64 << 10).first_segment_bytes(64 << 10).snapshot_bytes(64 << 10);
    // SAFETY: nobody else knows of the directory.
    let log = unsafe { Log::open(directory, &options) }.expect("opened");
    let partition = log.partition("orders").expect("made");
    (log, partition)
}

const RECORDS: u64 = 2_000;

/// Position of the first record of a segment.
fn first_record(segment: &Segment) -> u64 {
    let window = segment.window().expect("mapped");
    let mut unit = FIRST_UNIT;
    while let Found::Frame(frame) = find(&window, segment.shape(), unit) {
        if frame.stored.kind() == Kind::Record {
            return frame.position(segment.shape());
        }
        unit += frame.units;
    }
    panic!("no record");
}

/// A log of several sealed segments that nobody has mapped since it was opened, the first of them as it was found, and the
/// position of the producer's first record there.
fn found() -> (TempDir, Log, Partition, Arc<Segment>, u64) {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, partition) = open(directory.path());
    let mut session = log.session("writer").expect("a session");
    for sequence in 0..RECORDS {
        assert!(session.append(&partition, sequence, &[7; 200]).expect("appended").is_stored());
    }
    let position = first_record(&partition.state.chain.segment_with_offset(0).expect("the first segment"));
    drop((session, partition));
    log.close().expect("closed");
    let (log, partition) = open(directory.path());
    let first = partition.state.chain.segment_with_offset(0).expect("the first segment");
    assert!(first.last_use().is_none() && first.number() == 1, "nobody has mapped it");
    (directory, log, partition, first, position)
}

/// Waits until the segment's file is gone. Meanwhile nothing is asked of it.
fn wait_until_gone(segment: &Segment) {
    let until = Instant::now() + Duration::from_secs(30);
    while segment.path().exists() {
        assert!(Instant::now() < until, "the segment is never dropped");
        thread::sleep(Duration::from_millis(1));
    }
    assert!(segment.last_use().is_none(), "somebody has mapped it, and so the test proves nothing");
}

/// A retry was told that its original could not be read, where retention had just dropped it.
#[test]
fn an_original_that_is_dropped_once_it_was_found_is_trimmed() {
    let (_directory, log, partition, first, position) = found();
    let chain = &partition.state.chain;
    let (segment, leads) = chain.segment_with_position(position).expect("found");
    partition.purge(RECORDS - 10).expect("purged");
    wait_until_gone(&first);
    assert!(matches!(chain.frame_in(segment, leads, position), Ok(Lookup::Trimmed)), "it is no longer kept");
    let answer = log.session("writer").expect("a session").append(&partition, 0, &[7; 200]).expect("answered");
    assert_eq!(answer, Answer::DuplicateTrimmed);
}

/// A reader was told that the segment's file was not there, and not that retention has overtaken it.
#[test]
fn a_reader_whose_segment_is_dropped_once_it_was_found_is_told_that_it_was_overtaken() {
    let (_directory, _log, partition, first, _) = found();
    let mut reader = partition.read_from_end().expect("a reader");
    partition.purge(RECORDS - 10).expect("purged");
    wait_until_gone(&first);
    match reader.move_to(5, Some(Arc::clone(&first))) {
        // The offset that was asked for, and not where the reader stood before.
        Err(FetchError::Trimmed { offset: 5, start }) => assert_eq!(start, RECORDS - 10),
        other => panic!("{other:?}"),
    }
    assert!(matches!(reader.enter(Arc::clone(&first)), Err(FetchError::Trimmed { offset: 5, .. })));
    // By time, what is kept begins behind it.
    let mut segments = vec![first];
    segments.extend(partition.state.chain.begun());
    let mut reader = partition.read_from_end().expect("a reader");
    assert!(reader.move_to_time(0, segments).expect("moved"));
    assert!(reader.next_offset() > 5 && reader.next().expect("read").is_some());
}
