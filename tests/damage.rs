//! What a reopening makes of damaged files: a damaged snapshot costs a longer replay, damage below what was durable is
//! refused, damage above it is the end. The numbers are those of the scenarios in `README.md`.

mod logs;

use logs::{
    State, append_many, copy_of, eventually, file, flip, frame, fresh, fresh_with, killed, open, payload_of, payloads,
    reopened, segment_file, small, state, state_in, try_open,
};
use oncelog::{OpenError, Options, ReadOnlyLog, Stamp};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn with_snapshots() -> Options {
    small().snapshot_bytes(logs::SMALL)
}

/// A log with several snapshots and frames behind the newest one, as a kill leaves it; and its state.
fn with_snapshots_killed() -> (tempfile::TempDir, State) {
    let (directory, log, partition) = fresh_with(&with_snapshots());
    let other = log.register("by id").expect("registered");
    let mut appender = partition.appender().expect("an appender");
    // Of these, the newest snapshot alone says how far they have come, or a replay from the beginning.
    for name in ["early", "earlier", "earliest"] {
        append_many(&mut log.session(name).expect("a session"), &partition, 0..3);
    }
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
        for at in [0, 7, 8, 16, 20, 32, 40, 48, 56] {
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
        flip(&segment_file(copy.path(), 1), 4096 + 56 + sizes.sum::<usize>() + 59);
        let log = open(copy.path(), &small());
        let partition = log.partition("orders").expect("the partition");
        assert_eq!(payloads(&partition), (0..105).map(payload_of).collect::<Vec<_>>());
        append_many(&mut log.session("writer").expect("a session"), &partition, 105..1_500);
        drop(partition);
        let (_log, partition) = reopened(copy.path(), log, &small());
        assert_eq!(payloads(&partition), (0..1_500).map(payload_of).collect::<Vec<_>>());
    }
}

/// Found by `tools/fuzz`: the partition was passed over as one that was just being made, and its records were gone from the
/// log without a word.
#[test]
fn a_partition_without_the_file_that_says_which_it_is_is_refused() {
    let (directory, log, partition) = fresh();
    append_many(&mut log.session("writer").expect("a session"), &partition, 0..10);
    drop(partition);
    log.close().expect("closed");
    let of_last = file(directory.path(), "partition");
    let identity = fs::read(&of_last).expect("readable");
    fs::remove_file(&of_last).expect("removed");
    match try_open(directory.path(), &small()) {
        Err(OpenError::Corrupt { path, .. }) => assert_eq!(path, of_last),
        other => panic!("{:?}", other.err()),
    }
    let seen = ReadOnlyLog::open(directory.path()).err();
    assert!(matches!(seen, Some(OpenError::Corrupt { path, .. }) if path == of_last), "the read-only view says so too");
    fs::write(&of_last, identity).expect("written");
    assert_eq!(state_in(directory.path(), &small()).records.len(), 10);
    // One that was being made has nothing in it, or the beginning of that file.
    let unfinished = directory.path().join("partitions/unfinished");
    fs::create_dir(&unfinished).expect("made");
    fs::write(unfinished.join("partition.tmp"), b"").expect("written");
    assert_eq!(state_in(directory.path(), &small()).records.len(), 10);
}
