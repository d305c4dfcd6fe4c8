//! Very many partitions in one process: what they hold of its memory and files is bounded, and a limit of the system's is
//! an error with its name.
//!
//! Mappings and descriptors are counted as the system tells them, so these tests take turns.

mod logs;

use logs::{SMALL, directory_in_memory, eventually, open, payload_of, small};
use oncelog::{Answer, AppendError, Audit, LimitReached, Log, Options, Partition, Verdict, Verify, Window};
use std::{
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Open files of this process.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("listed").count()
}

/// Mappings of this process: all, and those of segment files.
fn mappings() -> (usize, usize) {
    let maps = fs::read_to_string("/proc/self/maps").expect("readable");
    (maps.lines().count(), maps.lines().filter(|line| line.ends_with(".seg") || line.ends_with(".ready")).count())
}

fn impatient() -> Options {
    small().idle_after(Some(Duration::from_millis(20)))
}

fn many(log: &Log, count: usize) -> Vec<Partition> {
    (0..count).map(|number| log.partition(&format!("p{number:05}")).expect("a partition")).collect()
}

fn append_to_each(partitions: &[Partition], payload: &[u8]) {
    for partition in partitions {
        partition.appender().expect("an appender").append(payload).expect("appended");
    }
}

/// Each holds exactly these records.
fn assert_each_holds(partitions: &[Partition], payloads: &[&[u8]]) {
    for partition in partitions {
        let mut reader = partition.read_from(0).expect("a reader");
        for (offset, payload) in payloads.iter().enumerate() {
            let record = reader.next().expect("read").expect("a record");
            assert_eq!((record.offset(), record.payload()), (offset as u64, *payload), "{}", partition.name());
        }
        assert!(reader.next().expect("read").is_none());
    }
}

fn quiet_partitions_hold_nothing(window: Window) {
    const PARTITIONS: usize = 1_500;
    const AWAKE: u32 = 16;
    const MAPPED: u32 = 32;
    let _alone = alone();
    let directory = directory_in_memory();
    let options = impatient().window(window).awake_partitions_max(AWAKE).mapped_segments_max(MAPPED);
    let log = open(directory.path(), &options);
    let (before, files) = (mappings().0, descriptors());
    let partitions = many(&log, PARTITIONS);
    assert_eq!(descriptors(), files, "a partition that nobody has appended to has no open file");
    assert_eq!(mappings().1, 0, "and no segment");
    append_to_each(&partitions, b"first");
    // Those that stay awake, and the log's own.
    let most_awake = u64::from(AWAKE) + 2;
    eventually("the others are at rest", || log.stats().resources.awake_partitions <= most_awake);
    // Each that is awake has its segment in use, and an open file for it in the direct window.
    eventually("their files are closed", || descriptors() <= files + most_awake as usize);
    // The longest unused one is given up when the next one is mapped, unless somebody is in it: then a moment later.
    eventually("no more segments are mapped", || mappings().1 <= (most_awake + u64::from(MAPPED)) as usize);
    // The tables of producers lie side by side, and are few mappings to the system.
    assert!(mappings().0 <= before + 300, "{:?} mappings, {before} before", mappings());

    assert_each_holds(&partitions, &[b"first"]);
    eventually("no more segments are mapped", || mappings().1 <= (most_awake + u64::from(MAPPED)) as usize);
    let resources = log.stats().resources;
    assert!(resources.sealed_mapped <= u64::from(MAPPED), "{resources:?}");
    assert!(resources.open_files <= 2 + most_awake, "{resources:?}");

    append_to_each(&partitions, b"second");
    assert_each_holds(&partitions, &[b"first", b"second"]);
    drop(partitions);
    log.close().expect("closed");
    let audit = Audit::run(directory.path(), None, |_| {}).expect("looked through");
    assert_eq!(audit.verdict, Verdict::Clean, "{:?}", audit.findings);
    let log = open(directory.path(), &options);
    assert_each_holds(&many(&log, PARTITIONS), &[b"first", b"second"]);
    assert!(mappings().1 <= MAPPED as usize, "{:?} mappings", mappings());
}

#[test]
fn quiet_partitions_hold_neither_files_nor_mappings() {
    quiet_partitions_hold_nothing(Window::Mapped);
}

#[test]
fn quiet_partitions_hold_neither_files_nor_memory_in_the_direct_window() {
    quiet_partitions_hold_nothing(Window::Direct);
}

#[test]
fn an_idle_partition_gives_back_what_stood_ready_and_asks_for_it_again() {
    let _alone = alone();
    let directory = directory_in_memory();
    let log = open(directory.path(), &impatient());
    let partition = log.partition("orders").expect("a partition");
    append_to_each(std::slice::from_ref(&partition), b"first");
    eventually("it is idle", || partition.stats().segments_ready == 0);
    assert!(partition.stats().is_awake, "few partitions are never put to rest");
    assert_eq!(partition.stats().segments, 1);
    let ready = || {
        let names = fs::read_dir(directory.path().join("partitions/orders")).expect("listed");
        names.flatten().filter(|entry| entry.path().extension().is_some_and(|suffix| suffix == "ready")).count()
    };
    eventually("its files are gone too", || ready() == 0);
    append_to_each(std::slice::from_ref(&partition), b"second");
    let mut appender = partition.appender().expect("an appender");
    // Across several ends of segments, whatever was given back meanwhile.
    for _ in 0..4 {
        appender.append(&vec![7; (SMALL / 5) as usize]).expect("appended");
        eventually("it is idle again", || partition.stats().segments_ready == 0);
    }
    for _ in 0..20 {
        appender.append(&vec![7; (SMALL / 5) as usize]).expect("appended");
    }
    let mut reader = partition.read_from(0).expect("a reader");
    let mut offsets = 0..26;
    while let Some(record) = reader.next().expect("read") {
        assert_eq!(Some(record.offset()), offsets.next());
    }
    assert!(offsets.is_empty());
}

#[test]
fn producers_and_transactions_go_on_where_their_partition_was_at_rest() {
    let _alone = alone();
    for window in [Window::Mapped, Window::Direct] {
        let directory = directory_in_memory();
        let options = impatient().window(window).awake_partitions_max(1);
        let log = open(directory.path(), &options);
        let partitions = many(&log, 3);
        let partition = &partitions[0];
        let mut session = log.session("a").expect("a session");
        let by_id = log.register("b").expect("registered");
        let mut appender = partition.appender().expect("an appender");
        let stamp = |sequence| oncelog::Stamp { producer: by_id.id, epoch: by_id.epoch, sequence };
        for round in 0..3_u64 {
            assert_eq!(
                session.append(partition, round, &payload_of(round)).expect("answered"),
                Answer::Appended { first: 3 * round, last: 3 * round }
            );
            let answer = appender.append_by_id(stamp(round), b"by id").expect("answered");
            assert_eq!(answer, Answer::Appended { first: 3 * round + 1, last: 3 * round + 1 });
            let mut transaction = session.begin().expect("begun");
            let _appended = transaction.append_next(&partitions[1], b"elsewhere").expect("answered");
            let _commit = transaction.commit().expect("committed");
            appender.append(b"plain").expect("appended");
            append_to_each(&partitions[1..], b"later");
            eventually("it is at rest", || !partition.stats().is_awake);
            for earlier in 0..=round {
                assert_eq!(
                    session.append(partition, earlier, &payload_of(earlier)).expect("answered"),
                    Answer::Duplicate { first: 3 * earlier, last: 3 * earlier }
                );
                let answer = appender.append_by_id(stamp(earlier), b"by id").expect("answered");
                assert_eq!(answer, Answer::Duplicate { first: 3 * earlier + 1, last: 3 * earlier + 1 });
            }
            assert!(partition.wait_durable(3 * round + 2, Duration::from_secs(30)).expect("flushed"));
        }
        let copy = logs::killed(directory.path());
        let reopened = open(copy.path(), &options);
        let again = reopened.partition(partition.name()).expect("a partition");
        assert_eq!(logs::payloads(&again), logs::payloads(partition), "{window:?}");
    }
}

#[test]
fn sealed_segments_stay_mapped_by_last_use_and_as_long_as_they_are_held() {
    const MAPPED: u32 = 16;
    let _alone = alone();
    let directory = directory_in_memory();
    let options = small().mapped_segments_max(MAPPED);
    let log = open(directory.path(), &options);
    let partition = log.partition("orders").expect("a partition");
    let mut appender = partition.appender().expect("an appender");
    for number in 0..1_000_u64 {
        appender.append(&vec![number as u8; 8 << 10]).expect("appended");
    }
    let (in_use, ready) = (1, 2);
    eventually("all but the last are sealed, and most are unmapped", || {
        partition.stats().segments > 100 && mappings().1 <= MAPPED as usize + in_use + ready
    });
    // A slice and a reader hold what they have read.
    let mut held = partition.read_from(0).expect("a reader");
    let slice = held.next().expect("read").expect("a record").slice();
    for verify in [Verify::Always, Verify::OncePerSegment, Verify::OncePerSegment] {
        let mut reader = partition.read_from(0).expect("a reader");
        reader.set_verify(verify);
        for number in 0..1_000_u64 {
            let record = reader.next().expect("read").expect("a record");
            assert_eq!((record.offset(), record.payload()), (number, vec![number as u8; 8 << 10].as_slice()));
        }
        let most = MAPPED as usize + in_use + ready;
        assert!(mappings().1 <= most, "{:?}", mappings());
        assert!(partition.stats().sealed_mapped <= u64::from(MAPPED));
    }
    assert_eq!(&slice[..], vec![0; 8 << 10]);
    assert_eq!(held.next().expect("read").map(|record| record.offset()), Some(1));
    // What is used again and again stays, whatever else is read.
    let use_first = || drop(partition.read_from(0).expect("a reader"));
    let address = |what: &[u8]| what.as_ptr().addr();
    drop(held);
    let mut first = partition.read_from(0).expect("a reader");
    let before = address(first.next().expect("read").expect("a record").payload());
    assert_eq!(before, address(&slice), "it was never mapped anew");
    drop(slice);
    drop(first);
    for offset in (0..1_000).step_by(7) {
        use_first();
        partition.read_from(offset).expect("a reader").next().expect("read").expect("a record");
    }
    let mut first = partition.read_from(0).expect("a reader");
    assert_eq!(address(first.next().expect("read").expect("a record").payload()), before, "used last, it stayed");
}

#[test]
fn what_is_unmapped_and_not_yet_durable_is_made_durable() {
    let _alone = alone();
    let directory = directory_in_memory();
    let log = open(directory.path(), &small().mapped_segments_max(1));
    let partition = log.partition("orders").expect("a partition");
    let mut appender = partition.appender().expect("an appender");
    for _ in 0..100 {
        appender.append(&[1; 8 << 10]).expect("appended");
    }
    eventually("nearly all are unmapped", || partition.stats().segments_mapped <= 4);
    assert_eq!(partition.durable_offset(), 0);
    assert!(partition.wait_durable(99, Duration::from_secs(30)).expect("flushed"));
    assert_eq!(partition.durable_offset(), 100);
}

#[test]
fn too_many_open_files_are_an_error_with_its_name() {
    let _alone = alone();
    let directory = directory_in_memory();
    // None is ever idle here.
    let log = open(directory.path(), &small().window(Window::Direct).idle_after(None));
    let partitions = many(&log, 100);
    let limits = |soft: Option<u64>| {
        let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the kernel fills or reads the two words that it is given.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) }, 0);
        let before = limits.rlim_cur;
        if let Some(soft) = soft {
            limits.rlim_cur = soft;
            // SAFETY: as above.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits) }, 0);
        }
        before
    };
    let few = descriptors() as u64 + 40;
    let before = limits(Some(few));
    let mut appended = 0;
    let refused = partitions.iter().find_map(|partition| {
        let tried = partition.appender().expect("an appender").append(b"a record");
        appended += usize::from(tried.is_ok());
        tried.err()
    });
    limits(Some(before));
    let Some(AppendError::Prepare { source, .. }) = &refused else { panic!("{refused:?}") };
    let limit = LimitReached::of(source).expect("a limit");
    assert_eq!((limit.limit, limit.value), ("RLIMIT_NOFILE", few));
    assert!(source.to_string().contains(&few.to_string()), "{source}");
    assert!(appended > 10, "{appended}");
    // With more allowed it goes on, where it was refused too.
    append_to_each(&partitions, b"another");
    assert_eq!(logs::payloads(&partitions[99]), [b"another".to_vec()]);
}

/// Lets the process open so many files, and tells how many it was let before.
fn let_files_be(most: u64) -> u64 {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the two words that it is given.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) }, 0);
    let before = std::mem::replace(&mut limits.rlim_cur, most);
    // SAFETY: the kernel reads the two words that it is given.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits) }, 0);
    before
}

/// What is unmapped is flushed through its file, which can't be opened where there are too many: the log was poisoned.
#[test]
fn too_many_open_files_put_a_flush_off_and_do_not_end_the_log() {
    let _alone = alone();
    let directory = directory_in_memory();
    let log = open(directory.path(), &small().mapped_segments_max(1).idle_after(None));
    let partition = log.partition("orders").expect("a partition");
    let mut appender = partition.appender().expect("an appender");
    for _ in 0..100 {
        appender.append(&[1; 8 << 10]).expect("appended");
    }
    eventually("nearly all are unmapped", || partition.stats().segments_mapped <= 4);
    let before = let_files_be(0);
    let waited = partition.wait_durable(99, Duration::from_millis(100));
    let_files_be(before);
    assert!(!waited.expect("no flush has failed"), "none could be begun");
    assert_eq!(partition.durable_offset(), 0);
    assert!(partition.wait_durable(99, Duration::from_secs(30)).expect("flushed"));
    appender.append(b"another").expect("appended");
}

#[test]
fn an_append_comes_before_the_mappings_of_what_is_sealed() {
    let _alone = alone();
    let directory = directory_in_memory();
    let log = open(directory.path(), &small().idle_after(None));
    let partitions = many(&log, 2);
    let most: usize = fs::read_to_string("/proc/sys/vm/max_map_count").expect("told").trim().parse().expect("a number");
    if most > 1 << 18 {
        #[expect(clippy::print_stderr, reason = "whoever runs the tests must know that one was not run")]
        {
            eprintln!("skipped: {most} mappings are too many to make");
        }
        return;
    }
    let mut appender = partitions[0].appender().expect("an appender");
    for _ in 0..200 {
        appender.append(&[1; 8 << 10]).expect("appended");
    }
    eventually("what is full is sealed, and mapped", || log.stats().resources.sealed_mapped > 15);
    let mut others = Vec::with_capacity(most);
    loop {
        let Ok(map) = memmap2::MmapMut::map_anon(4096) else { break };
        others.push(map.make_read_only().map_err(drop));
        let Ok(map) = memmap2::MmapMut::map_anon(4096) else { break };
        others.push(map.make_exec().map_err(drop));
    }
    let appended = partitions[1].appender().expect("an appender").append(b"a record");
    drop(others);
    assert_eq!(appended.expect("room was made"), 0);
    assert_eq!(logs::payloads(&partitions[0]).len(), 200);
}

#[test]
fn too_many_mappings_are_an_error_with_its_name() {
    let _alone = alone();
    let directory = directory_in_memory();
    let log = open(directory.path(), &small());
    let partitions = many(&log, 2);
    let most: usize = fs::read_to_string("/proc/sys/vm/max_map_count").expect("told").trim().parse().expect("a number");
    if most > 1 << 18 {
        #[expect(clippy::print_stderr, reason = "whoever runs the tests must know that one was not run")]
        {
            eprintln!("skipped: {most} mappings are too many to make");
        }
        return;
    }
    append_to_each(&partitions[..1], b"a record");
    let mut others = Vec::with_capacity(most);
    // Every other one is read-only, since the system makes one of two that are alike.
    loop {
        let Ok(map) = memmap2::MmapMut::map_anon(4096) else { break };
        others.push(map.make_read_only().map_err(drop));
        let Ok(map) = memmap2::MmapMut::map_anon(4096) else { break };
        others.push(map.make_exec().map_err(drop));
    }
    let refused = partitions[1].appender().expect("an appender").append(b"a record");
    drop(others);
    let Err(AppendError::Prepare { source, .. }) = &refused else { panic!("{refused:?}") };
    let limit = LimitReached::of(source).expect("a limit");
    assert_eq!((limit.limit, limit.value), ("vm.max_map_count", most as u64));
    append_to_each(&partitions[1..], b"another");
    assert_eq!(logs::payloads(&partitions[1]), [b"another".to_vec()]);
}
