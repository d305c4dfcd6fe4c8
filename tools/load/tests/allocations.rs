//! While something is measured, the load generator allocates nothing: neither on a schedule nor back to back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use oncelog_load::{Idempotence, Payloads, Workload, around_block, time_on_schedule};

/// The system's allocator, counting what the thread asks of it.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() -> u64 {
    COUNT.with(Cell::get)
}

fn note() {
    // A thread that is ending has nothing left to count with.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is handed on to the system's allocator as it came; counting touches no memory that is allocated.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note();
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_counter_counts() {
    let before = count();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(count() - before, 2);
}

/// From the first event to the last, warm-up and three changes of the second included.
#[test]
fn nothing_is_allocated_on_a_schedule() {
    let (mut first, mut last, mut events) = (None, 0, 0_u64);
    let recorded = time_on_schedule(10_000.0, 3.2, || {
        let now = count();
        first.get_or_insert(now);
        last = now;
        events += 1;
    })
    .expect("a rate");
    assert_eq!(recorded.latency.len(), 32_000);
    assert!(events > recorded.latency.len(), "the warm-up is not recorded");
    assert_eq!(first, Some(last), "allocations between the first event and the last");
}

#[test]
fn nothing_is_allocated_between_the_appends_of_a_block() {
    let dir = tempfile::tempdir().expect("a directory");
    let mix = Payloads::mixed(&[(64, 70.0), (1024, 30.0)]).expect("a mix");
    for payloads in [Payloads::fixed(100), mix] {
        for (idempotence, producers, skew) in [
            (Idempotence::Off, 1, 0.0),
            (Idempotence::Session, 1, 0.0),
            (Idempotence::ById, 100, 0.0),
            (Idempotence::ById, 100, 1.0),
        ] {
            let payloads = Arc::new(payloads.clone());
            let workload = Workload { idempotence, producers, skew, ..Workload::new(payloads) };
            let within = |begun| {
                assert_eq!(count() - begun, 0, "allocations in a block: {}", workload.label());
            };
            around_block(&workload, dir.path(), count, within).expect("a block");
        }
    }
}

#[test]
fn a_rate_of_zero_is_refused() {
    let error = time_on_schedule(0.0, 1.0, || {}).expect_err("no schedule");
    assert!(error.to_string().contains("the rate is 0"), "{error}");
}
