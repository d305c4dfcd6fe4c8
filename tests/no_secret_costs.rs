//! What the hot paths cost besides their bytes: no allocation and no system call, append by append and record by record.
//! Allocations are counted by this test's allocator, and system calls by a handler that the kernel gives each of them to, for
//! one thread. So all of it is one test: no other may be counted with it.

mod logs;

use logs::{directory, open, small};
use oncelog::{Answer, Isolation, Log, Partition, Stamp, TransactionId, Verify};
use oncelog_load::count_system_calls;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a count for each thread.
struct Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fn count() {
    // A thread that ends may free and allocate behind its own count.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came, and its answer is returned as it is.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, bytes) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Appends or reads of one kind that are counted.
const STEPS: u64 = 200;
/// Rounds of them whose system calls are counted, at most.
const ROUNDS: u64 = 10;

/// Allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

/// Runs `work` once to touch what is touched the first time, and then counts. Says how many allocations it took.
/// Returns the number of the next step.
fn counted(name: &str, mut work: impl FnMut(u64)) -> u64 {
    (0..STEPS).for_each(&mut work);
    let found = allocations(|| (STEPS..2 * STEPS).for_each(&mut work));
    assert_eq!(found, 0, "{name}: {found} allocations in {STEPS} steps");
    // A lock that one of the log's own threads happens to hold costs a call now and then: a path that has calls of its own
    // has them in every round.
    let mut least = u64::MAX;
    for round in 2..2 + ROUNDS {
        let (calls, ()) = count_system_calls(|| (round * STEPS..(round + 1) * STEPS).for_each(&mut work));
        // None where the kernel or the processor cannot count them.
        least = least.min(calls.unwrap_or(0));
        if least == 0 {
            return (round + 1) * STEPS;
        }
    }
    panic!("{name}: {least} system calls in {STEPS} steps");
}

fn with_room() -> (tempfile::TempDir, Log, Partition) {
    let directory = directory();
    // One segment has room for all, so that what is counted is the path and not the step to the next segment.
    let log = open(directory.path(), &small().segment_bytes(4 << 20).first_segment_bytes(4 << 20));
    let partition = log.partition("orders").expect("a partition");
    partition.prepare(1).expect("prepared");
    (directory, log, partition)
}

fn appending() {
    let (_directory, log, partition) = with_room();
    let mut appender = partition.appender().expect("an appender");
    let payload = [7; 100];
    counted("a plain append", |_| {
        appender.append(&payload).expect("appended");
    });
    let batch = [&payload[..]; 10];
    counted("a plain batch", |_| {
        appender.append_batch(&batch).expect("appended");
    });
    counted("an append filled in place", |_| {
        let filled = appender.append_with(100, |_, bytes| {
            bytes.copy_from_slice(&payload);
            Ok::<(), ()>(())
        });
        assert!(filled.is_ok());
    });
    let mut session = log.session("session").expect("a session");
    let next = counted("a session's append", |sequence| {
        let answer = session.append(&partition, sequence, &payload).expect("answered");
        assert!(matches!(answer, Answer::Appended { .. }));
    });
    let by_id = log.register("by id").expect("registered");
    let stamp = |sequence| Stamp { producer: by_id.id, epoch: by_id.epoch, sequence };
    counted("an append by id", |sequence| {
        let answer = appender.append_by_id(stamp(sequence), &payload).expect("answered");
        assert!(matches!(answer, Answer::Appended { .. }));
    });
    counted("a retry of the last append", |_| {
        let answer = session.append(&partition, next - 1, &payload).expect("answered");
        assert!(matches!(answer, Answer::Duplicate { .. }));
    });
}

/// The first append to a partition enters it, under the ledger's lock; the others are as those outside of transactions.
fn appending_in_transactions() {
    let (_directory, log, partition) = with_room();
    let payload = [7; 100];
    let mut session = log.session("session").expect("a session");
    let mut transaction = session.begin().expect("begun");
    counted("a session's append in a transaction", |_| {
        let answer = transaction.append_next(&partition, &payload).expect("answered");
        assert!(matches!(answer, Answer::Appended { .. }));
    });
    let _visible = transaction.commit().expect("committed");
    let by_id = log.register("by id").expect("registered");
    let id = TransactionId { producer: by_id.id, epoch: by_id.epoch, number: 1 };
    log.begin_transaction(id, logs::PATIENCE).expect("begun");
    let mut appender = partition.appender().expect("an appender");
    counted("an append by id in a transaction", |sequence| {
        let stamp = Stamp { producer: by_id.id, epoch: by_id.epoch, sequence };
        let answer = appender.append_in_transaction(1, stamp, &payload).expect("answered");
        assert!(matches!(answer, Answer::Appended { .. }));
    });
}

fn reading() {
    let (_directory, log, partition) = with_room();
    let mut appender = partition.appender().expect("an appender");
    for _ in 0..4 * STEPS {
        appender.append(&[7; 100]).expect("appended");
    }
    // Behind an aborted one, and in one that is committed.
    let mut session = log.session("session").expect("a session");
    let mut transaction = session.begin().expect("begun");
    assert!(transaction.append_next(&partition, &[7; 100]).expect("answered").is_stored());
    transaction.abort().expect("aborted");
    let mut transaction = session.begin().expect("begun");
    for _ in 0..12 * STEPS {
        assert!(transaction.append_next(&partition, &[7; 100]).expect("answered").is_stored());
    }
    let _visible = transaction.commit().expect("committed");
    for verify in [Verify::Always, Verify::Never] {
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let mut reader = partition.read_from(0).expect("a reader");
            reader.set_verify(verify);
            reader.set_isolation(isolation);
            counted("a record read", |_| {
                assert_eq!(reader.next().expect("read").expect("a record").payload().len(), 100);
            });
        }
    }
}

#[test]
fn the_hot_paths_allocate_nothing_and_call_no_system() {
    appending();
    appending_in_transactions();
    reading();
    assert_eq!(allocations(|| drop(Box::new(1))), 1, "what is counted here is counted");
}
