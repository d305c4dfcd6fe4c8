//! What is there when the process was killed, and when a callback was called.

#[allow(dead_code, reason = "only its types are needed here")]
mod machine;

use machine::Types;
use oncelog::{Log, Options, Window};
use oncelog_raft_store::RaftStore;
use openraft::{
    Entry, EntryPayload, LogState, RaftLogReader, Vote,
    alias::{EntryOf, LogIdOf, VoteOf},
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage, RaftLogStorageExt},
    testing::log_id,
    type_config::TypeConfigExt,
};
use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// Where the child finds its log.
const DIRECTORY: &str = "ONCELOG_RAFT_TEST_KILLED";
const CHILD: &str = "the_child_that_is_killed";

fn open(directory: &Path) -> (Log, RaftStore<Types>) {
    let options = Options::new().window(Window::Direct).segment_bytes(1 << 20);
    // SAFETY: the directory was made for this log, and nothing else writes there.
    #[expect(unsafe_code, reason = "opening is a promise of the caller's")]
    let log = unsafe { options.open(directory) }.expect("opened");
    let store = RaftStore::open(&log, "group").expect("a store");
    (log, store)
}

fn id(term: u64, index: u64) -> LogIdOf<Types> {
    log_id::<Types>(term, 1, index)
}

fn entry(term: u64, index: u64) -> EntryOf<Types> {
    Entry::new(id(term, index), EntryPayload::Normal(format!("command {index} of term {term}")))
}

fn entries(term: u64, range: std::ops::Range<u64>) -> Vec<EntryOf<Types>> {
    range.map(|index| entry(term, index)).collect()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

fn read(store: &mut RaftStore<Types>) -> Vec<EntryOf<Types>> {
    run(async { store.get_log_reader().await.try_get_log_entries(..).await.expect("read") })
}

fn vote(store: &mut RaftStore<Types>) -> Option<VoteOf<Types>> {
    run(async { store.get_log_reader().await.read_vote().await.expect("read") })
}

/// A copy of a running log's files is what a kill, or in the direct window a power cut, leaves of it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("listed") {
        let path = entry.expect("listed").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("copied");
        }
    }
}

/// Everything that a store is asked for, once.
async fn live(store: &mut RaftStore<Types>) {
    store.save_vote(&Vote::new(2, 1)).await.expect("voted");
    store.blocking_append(entries(1, 0..40)).await.expect("appended");
    store.blocking_append(entries(2, 40..100)).await.expect("appended");
    store.truncate_after(Some(id(2, 59))).await.expect("cut");
    store.blocking_append(entries(3, 60..70)).await.expect("appended");
    store.save_vote(&Vote::new_committed(3, 2)).await.expect("voted");
    store.save_committed(Some(id(3, 65))).await.expect("noted");
    store.purge(id(1, 19)).await.expect("purged");
    store.blocking_append(entries(3, 70..71)).await.expect("appended");
}

fn check(store: &mut RaftStore<Types>) {
    let kept: Vec<_> = [entries(1, 20..40), entries(2, 40..60), entries(3, 60..71)].concat();
    assert_eq!(read(store), kept, "what was cut off is gone, and what was purged");
    assert_eq!(vote(store), Some(Vote::new_committed(3, 2)));
    assert_eq!(run(store.read_committed()).expect("read"), Some(id(3, 65)));
    let state = LogState { last_purged_log_id: Some(id(1, 19)), last_log_id: Some(id(3, 70)) };
    assert_eq!(run(store.get_log_state()).expect("read"), state);
}

#[test]
fn a_killed_process_leaves_all_that_was_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(env::current_exe().expect("this test"))
        .args([CHILD, "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.contains("all done"))), "the child came to its end");
    child.kill().expect("killed");
    child.wait().expect("dead");

    let (log, mut store) = open(directory.path());
    check(&mut store);
    run(store.blocking_append(entries(3, 71..80))).expect("it goes on");
    drop(store);
    log.close().expect("closed");
    let (_log, mut store) = open(directory.path());
    assert_eq!(read(&mut store).len(), 60);
}

#[test]
#[ignore = "a_killed_process_leaves_all_that_was_acknowledged runs it"]
fn the_child_that_is_killed() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let (_log, mut store) = open(Path::new(&directory));
    run(live(&mut store));
    println!("all done");
    thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_store_that_is_closed_is_the_same_when_it_is_opened() {
    let directory = tempfile::tempdir().expect("a directory");
    for _ in 0..2 {
        let (log, mut store) = open(directory.path());
        if run(store.get_log_state()).expect("read").last_log_id.is_none() {
            run(live(&mut store));
        }
        check(&mut store);
        drop(store);
        log.close().expect("closed");
    }
}

#[test]
fn when_a_callback_is_called_its_entries_are_in_the_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_log, mut store) = open(directory.path());
    for number in 1..=5 {
        run(store.blocking_append(entries(1, (number - 1) * 10..number * 10))).expect("appended");
        let beside = tempfile::tempdir().expect("a directory");
        copy(directory.path(), beside.path());
        let (_copy, mut copied) = open(beside.path());
        assert_eq!(read(&mut copied), entries(1, 0..number * 10));
    }
}

#[test]
fn many_appends_share_a_flush_and_can_be_read_before_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, mut store) = open(directory.path());
    run(store.blocking_append(entries(1, 0..1))).expect("appended");
    let before = log.stats().flush.rounds;
    run(async {
        let mut told = Vec::new();
        for index in 1..1000 {
            let (done, flushed) = Types::oneshot();
            store.append([entry(1, index)], IOFlushed::signal(done)).await.expect("appended");
            told.push(flushed);
        }
        let mut reader = store.get_log_reader().await;
        assert_eq!(reader.try_get_log_entries(..).await.expect("read").len(), 1000);
        for flushed in told {
            flushed.await.expect("told").expect("durable");
        }
    });
    let rounds = log.stats().flush.rounds - before;
    assert!((1..999).contains(&rounds), "999 appends took {rounds} rounds");
}

#[test]
fn a_committed_log_id_is_never_beyond_the_log() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, mut store) = open(directory.path());
    run(async {
        store.blocking_append(entries(1, 0..10)).await.expect("appended");
        // As if a crash had left the mark and not the entries: it was never waited for.
        store.save_committed(Some(id(1, 20))).await.expect("noted");
    });
    drop(store);
    log.close().expect("closed");
    let (_log, mut store) = open(directory.path());
    assert_eq!(run(store.read_committed()).expect("read"), Some(id(1, 9)));
}

#[test]
fn entries_leave_no_gap() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_log, mut store) = open(directory.path());
    run(async {
        let refused = |error: Result<(), std::io::Error>| error.expect_err("refused").to_string();
        store.blocking_append(entries(1, 7..10)).await.expect("the first may have any index");
        let callback = IOFlushed::noop;
        let late = store.append(entries(1, 11..12), callback()).await;
        assert_eq!(refused(late), "entry 11 does not follow the last one, 9");
        let again = store.append(entries(1, 9..11), callback()).await;
        assert_eq!(refused(again), "entry 9 does not follow the last one, 9");
        let gap = store.append([entry(1, 10), entry(1, 12)], callback()).await;
        assert!(refused(gap).ends_with("does not follow the one before it"));
        let large = Entry::new(id(1, 10), EntryPayload::Normal("x".repeat(1 << 20)));
        assert!(refused(store.append([large], callback()).await).contains("at most 26"));
        store.blocking_append(entries(1, 10..12)).await.expect("nothing was written of those");
    });
    assert_eq!(read(&mut store), entries(1, 7..12));
}

#[test]
fn groups_of_one_log_know_nothing_of_each_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, mut first) = open(directory.path());
    let mut second: RaftStore<Types> = RaftStore::open(&log, "other").expect("a store");
    run(async {
        first.blocking_append(entries(1, 0..10)).await.expect("appended");
        second.blocking_append(entries(4, 0..5)).await.expect("appended");
        second.save_vote(&Vote::new(4, 3)).await.expect("voted");
        first.truncate_after(Some(id(1, 3))).await.expect("cut");
        second.purge(id(4, 20)).await.expect("purged beyond the end");
    });
    assert_eq!((read(&mut first), read(&mut second)), (entries(1, 0..4), Vec::new()));
    assert_eq!((vote(&mut first), vote(&mut second)), (None, Some(Vote::new(4, 3))));
    run(second.blocking_append(entries(5, 21..23))).expect("it goes on behind");
    assert_eq!(read(&mut second), entries(5, 21..23));
}
