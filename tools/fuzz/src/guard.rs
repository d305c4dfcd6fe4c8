//! What no run may do: panic in any thread, take memory without bound, or go on for ever.
//!
//! The input at hand lies in a file while it runs. If the process dies of it, the file is still there, and says which.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Most bytes that a run may hold at once: files of these sizes have no use for as much.
const BYTES_MAX: i64 = 256 << 20;

/// Longest that a run may take, on a machine with other work.
const RUN_MAX: Duration = Duration::from_secs(30);

static LIVE: AtomicI64 = AtomicI64::new(0);
static MOST: AtomicI64 = AtomicI64::new(0);
static PANICS: AtomicU64 = AtomicU64::new(0);
static SAID: Mutex<String> = Mutex::new(String::new());
/// Milliseconds since the process began at which the run began; 0 between two runs.
static BEGAN_MS: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, counted.
struct Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fn took(bytes: usize) {
    let live = LIVE.fetch_add(bytes as i64, Ordering::Relaxed) + bytes as i64;
    MOST.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came, and its answer is returned as it is.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        LIVE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        took(bytes);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, bytes) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Runs inputs one at a time.
pub(crate) struct Guard {
    began: Instant,
    current: PathBuf,
}

impl Guard {
    /// The input at hand is kept in the file `current`.
    pub(crate) fn new(current: &Path) -> Self {
        let began = Instant::now();
        panic::set_hook(Box::new(|info| {
            // One that a test raises on purpose has no message, and does not come here.
            PANICS.fetch_add(1, Ordering::Relaxed);
            let backtrace = std::backtrace::Backtrace::force_capture().to_string();
            let ours: Vec<&str> = backtrace.lines().filter(|line| line.contains("oncelog")).take(12).collect();
            *SAID.lock().unwrap_or_else(PoisonError::into_inner) = format!("{info}\n{}", ours.join("\n"));
        }));
        let kept = current.to_owned();
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_millis(500));
                let run = BEGAN_MS.load(Ordering::Relaxed);
                if run > 0 && began.elapsed() > Duration::from_millis(run) + RUN_MAX {
                    say(&format!("a run goes on for more than {RUN_MAX:?}: {}", kept.display()));
                    process::exit(1);
                }
            }
        });
        Self { began, current: current.to_owned() }
    }

    /// Runs one input. What is wrong, if anything is.
    pub(crate) fn run(&self, input: &[u8], target: impl FnOnce(&[u8]) -> Result<(), String>) -> Option<String> {
        if let Err(error) = fs::write(&self.current, input) {
            return Some(format!("{}: {error}", self.current.display()));
        }
        let panics = PANICS.load(Ordering::Relaxed);
        let before = LIVE.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        BEGAN_MS.store(self.began.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
        let ended = panic::catch_unwind(AssertUnwindSafe(|| target(input)));
        BEGAN_MS.store(0, Ordering::Relaxed);
        let most = MOST.load(Ordering::Relaxed) - before;
        let said = || SAID.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match ended {
            _ if PANICS.load(Ordering::Relaxed) > panics => Some(said()),
            Err(_) => Some("it unwound without a message".to_owned()),
            Ok(_) if most > BYTES_MAX => Some(format!("it held {} MiB at once", most >> 20)),
            Ok(Err(fault)) => Some(fault),
            Ok(Ok(())) => None,
        }
    }
}

fn say(text: &str) {
    // Nobody to say it to is no reason to go on.
    let _ = writeln!(std::io::stderr(), "oncelog-fuzz: {text}");
}
