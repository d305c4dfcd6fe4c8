//! `oncelog verify --salvage` from outside: the new log opens, and holds exactly what was whole.

mod logs;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use logs::{Records, closed, flip, found, killed, of_kind, oncelog, open, orders, payload, records, untouched};
use oncelog::Answer;
use serde_json::Value;
use tempfile::TempDir;

/// Damages a copy of a log, salvages it, and sees that the copy was left as it was and that the new log is clean.
fn salvaged(log: &Path, damage: impl FnOnce(&Path)) -> (TempDir, Value) {
    let damaged = tempfile::tempdir().expect("a directory");
    logs::copy_all(log, damaged.path());
    damage(damaged.path());
    let before = untouched(damaged.path());
    let out = tempfile::tempdir().expect("a directory");
    let path = out.path().to_str().expect("UTF-8").to_owned();
    let (found_there, _) = found(&["verify", "--salvage", &path], damaged.path());
    assert!(untouched(damaged.path()) == before, "something was changed");
    let (verified, code) = found(&["verify"], out.path());
    assert_eq!(code, Some(0), "{verified:#}\n{found_there:#}");
    (out, found_there["salvaged"].clone())
}

/// Offsets of the records that are said to be lost.
fn lost(salvaged: &Value) -> Vec<u64> {
    let losses = salvaged["losses"].as_array().expect("losses");
    let ranges = losses.iter().filter(|loss| loss["partition"] == "orders");
    ranges.filter_map(|loss| Some(loss["first_offset"].as_u64()?..loss["end_offset"].as_u64()?)).flatten().collect()
}

/// The records of a log that was not damaged, without those that are lost.
fn without(log: &Path, lost: &[u64]) -> Records {
    let whole = tempfile::tempdir().expect("a directory");
    logs::copy_all(log, whole.path());
    let mut all = records(&open(whole.path()));
    all.retain(|offset, _| !lost.contains(offset));
    all
}

#[test]
fn of_a_whole_log_nothing_is_lost() {
    for log in [closed(), killed()] {
        let (out, salvaged) = salvaged(log.path(), |_| {});
        assert_eq!(salvaged["losses"].as_array().map(Vec::len), Some(0), "{salvaged:#}");
        let new = open(out.path());
        assert!(records(&new) == without(log.path(), &[]));
        let mut session = new.session("session").expect("a session");
        let next = session.last(&orders(&new)).expect("found").expect("appended").sequence + 1;
        assert!(session.append(&orders(&new), next, b"goes on").expect("answered").is_stored());
    }
}

#[test]
fn a_flipped_byte_costs_the_frame_that_it_is_in() {
    for log in [closed(), killed()] {
        let segments = of_kind(log.path(), "seg").len();
        for (segment, at) in [(0, 5_000), (1, 30_000), (1, 4_096 + 9), (2, 20_000), (segments - 1, 4_500)] {
            let (out, salvaged) = salvaged(log.path(), |log| flip(&of_kind(log, "seg")[segment], at));
            let lost = lost(&salvaged);
            assert!(lost.len() <= 1, "{segment} {at}: {lost:?}");
            let new = open(out.path());
            assert!(records(&new) == without(log.path(), &lost), "{segment} {at}: {salvaged:#}");
        }
    }
}

#[test]
fn what_is_zeroed_cut_or_missing_costs_only_itself() {
    let log = closed();
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("zeros", |log| {
            let path = &of_kind(log, "seg")[1];
            let mut bytes = fs::read(path).expect("readable");
            bytes[20_001..24_003].fill(0);
            fs::write(path, bytes).expect("written");
        }),
        ("cut", |log| {
            let path = &of_kind(log, "seg")[1];
            let bytes = fs::read(path).expect("readable");
            fs::write(path, &bytes[..40_001]).expect("written");
        }),
        ("missing", |log| fs::remove_file(&of_kind(log, "seg")[1]).expect("removed")),
        ("snapshots", |log| {
            for path in of_kind(log, "snapshot") {
                flip(&path, 100);
            }
        }),
    ];
    for (name, damage) in damages {
        let (out, salvaged) = salvaged(log.path(), damage);
        let lost = lost(&salvaged);
        assert_eq!(lost.is_empty(), name == "snapshots", "{name}: {salvaged:#}");
        let new = open(out.path());
        assert!(records(&new) == without(log.path(), &lost), "{name}: {salvaged:#}");
    }
}

/// Found by `tools/fuzz`: the new segment was as short as the cut file, and no log opens with one of that length.
#[test]
fn a_last_segment_with_a_damaged_header_that_is_cut_too_is_salvaged() {
    let log = killed();
    let (out, salvaged) = salvaged(log.path(), |log| {
        let path = of_kind(log, "seg").pop().expect("a segment");
        let bytes = fs::read(&path).expect("readable");
        fs::write(&path, &bytes[..61_440]).expect("written");
        flip(&path, 49);
    });
    assert!(records(&open(out.path())) == without(log.path(), &lost(&salvaged)), "{salvaged:#}");
}

#[test]
fn a_retry_of_what_is_lost_is_not_stored_again_where_a_later_batch_tells_of_it() {
    let log = closed();
    let (out, salvaged) = salvaged(log.path(), |log| {
        let path = &of_kind(log, "seg")[1];
        let mut bytes = fs::read(path).expect("readable");
        bytes[20_001..24_003].fill(0);
        fs::write(path, bytes).expect("written");
    });
    let lost = lost(&salvaged);
    let new = open(out.path());
    let partition = orders(&new);
    let mut session = new.session("session").expect("a session");
    let (mut kept, mut missing) = (0, 0);
    let was = without(log.path(), &[]);
    let id = session.id().get();
    let mine = was.iter().filter_map(|(offset, (stamp, _))| Some((*offset, stamp.filter(|stamp| stamp.0 == id)?.1)));
    for (offset, sequence) in mine {
        match session.append(&partition, sequence, &payload(sequence)).expect("answered") {
            Answer::Duplicate { first, .. } => {
                assert!(first == offset && !lost.contains(&offset), "{sequence}");
                kept += 1;
            }
            Answer::DuplicateTrimmed => missing += 1,
            other => panic!("{sequence}: {other:?}"),
        }
    }
    assert!(missing > 10 && kept > 1_000, "{missing} {kept}");
}

#[test]
fn an_out_that_is_not_empty_or_inside_and_a_log_in_use_are_refused() {
    let log = closed();
    let out = tempfile::tempdir().expect("a directory");
    fs::write(out.path().join("notes.txt"), "a stranger's").expect("written");
    let before = untouched(log.path());
    for path in [out.path(), &log.path().join("inside")] {
        let refused = oncelog(&["verify", "--salvage", path.to_str().expect("UTF-8")], log.path());
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    }
    assert!(untouched(log.path()) == before && fs::read_dir(out.path()).expect("listed").count() == 1);
    let running = open(log.path());
    let new = tempfile::tempdir().expect("a directory");
    let refused = oncelog(&["verify", "--salvage", new.path().to_str().expect("UTF-8")], log.path());
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    drop(running);
    assert_eq!(fs::read_dir(new.path()).expect("listed").count(), 0, "nothing was made");
}

/// Bytes that are flipped, zeroed and cut anywhere. `ONCELOG_TEST_SECONDS` for more than some.
#[test]
fn of_any_damage_something_is_salvaged_or_it_is_refused() {
    let seconds = std::env::var("ONCELOG_TEST_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(4);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut seed = std::env::var("ONCELOG_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
    let mut chance = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let log = killed();
    let all = without(log.path(), &[]);
    while Instant::now() < until {
        let damaged = tempfile::tempdir().expect("a directory");
        logs::copy_all(log.path(), damaged.path());
        let files = logs::files(damaged.path());
        let path = &files[chance(files.len())];
        let mut bytes = fs::read(path).expect("readable");
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
        let at = if chance(4) == 0 { chance(used.min(1_200)) } else { chance(used) };
        let how = chance(4);
        match how {
            _ if bytes.is_empty() => continue,
            0 => bytes.truncate(at),
            1 => bytes[at..(at + 3_000).min(used)].fill(0),
            _ => bytes[at] ^= 1 << chance(8),
        }
        fs::write(path, bytes).expect("written");
        let out = tempfile::tempdir().expect("a directory");
        let what = format!("{} {how} at {at}", path.display());
        let run = oncelog(&["verify", "--json", "--salvage", out.path().to_str().expect("UTF-8")], damaged.path());
        let status = run.status.code().expect("no signal");
        assert!([0, 1, 2, 3, 4].contains(&status), "{what}: {}", String::from_utf8_lossy(&run.stderr));
        // Half a salvage is no log.
        if ![1, 2].contains(&status) {
            let salvaged: Value = serde_json::from_slice(&run.stdout).expect("JSON");
            let (verified, code) = found(&["verify"], out.path());
            // Registrations that are lost are missed by those that appended.
            let of_producers = path.to_str().expect("UTF-8").contains("__producers");
            assert!(code == Some(0) || of_producers, "{what}: {verified:#} {:#}", salvaged["salvaged"]);
            let new = records(&open(out.path()));
            assert!(new.iter().all(|(offset, record)| all.get(offset) == Some(record)), "{what}");
            let lost = lost(&salvaged["salvaged"]);
            // Where the first file is lost as a whole, the new log begins behind it.
            let (first, last) = (new.keys().next().copied(), new.keys().next_back().copied());
            let missing = all.keys().filter(|offset| Some(**offset) > first && Some(**offset) < last);
            let missing = missing.filter(|offset| !lost.contains(offset) && !new.contains_key(offset));
            assert_eq!(missing.count(), 0, "{what}: lost, and not said to be");
        }
    }
}
