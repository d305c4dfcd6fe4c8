//! What a soak has done, whether memory and descriptors stayed flat, and how it is told.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::crash::pairs;
use crate::failure::Failure;

/// What memory may have grown by between the second quarter of a run and its last: the allocator's slack.
const GROWN_MAX_KIB: u64 = 24 << 10;
/// The same of descriptors.
const DESCRIPTORS_MAX: u64 = 4;
/// Turns without which a growth says nothing.
const TURNS_MIN: usize = 16;

/// What was done. Shared by all threads.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) appended: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) fenced: AtomicU64,
    pub(super) given_up: AtomicU64,
    pub(super) read: AtomicU64,
    pub(super) overtaken: AtomicU64,
    pub(super) flushed: AtomicU64,
    pub(super) pairs: pairs::Counts,
}

impl Counts {
    pub(super) fn one(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Default, Serialize)]
pub(super) struct Outcome {
    pub(super) seed: u64,
    pub(super) seconds: f64,
    pub(super) turns: u64,
    pub(super) kills: u64,
    pub(super) closes: u64,
    pub(super) records_appended: u64,
    pub(super) retries: u64,
    pub(super) fences: u64,
    pub(super) frames_given_up: u64,
    pub(super) records_read: u64,
    pub(super) readers_overtaken: u64,
    pub(super) flushes_waited_for: u64,
    pub(super) transactions_committed: u64,
    pub(super) transactions_aborted: u64,
    pub(super) transactions_timed_out: u64,
    pub(super) transactions_fenced: u64,
    pub(super) transactions_of_a_group_taken_over: u64,
    pub(super) records_read_beside_transactions: u64,
    pub(super) audits: u64,
    pub(super) memory_kib_second_quarter: Option<u64>,
    pub(super) memory_kib_last_quarter: Option<u64>,
    pub(super) descriptors_second_quarter: Option<u64>,
    pub(super) descriptors_last_quarter: Option<u64>,
    pub(super) fault: Option<String>,
}

impl Outcome {
    /// Puts down what the threads have counted.
    pub(super) fn take(&mut self, counts: &Counts) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.records_appended = read(&counts.appended);
        self.retries = read(&counts.retried);
        self.fences = read(&counts.fenced);
        self.frames_given_up = read(&counts.given_up);
        self.records_read = read(&counts.read);
        self.readers_overtaken = read(&counts.overtaken);
        self.flushes_waited_for = read(&counts.flushed);
        self.transactions_committed = read(&counts.pairs.committed);
        self.transactions_aborted = read(&counts.pairs.aborted);
        self.transactions_timed_out = read(&counts.pairs.timed_out);
        self.transactions_fenced = read(&counts.pairs.fenced);
        self.transactions_of_a_group_taken_over = read(&counts.pairs.regrouped);
        self.records_read_beside_transactions = read(&counts.pairs.read);
    }
}

/// Has one heap for all threads: what is free at the end of the heaps of others is never given back, and grows with the
/// largest that a turn has ever needed.
pub(super) fn with_one_heap() {
    // SAFETY: it sets a number, before there is another thread.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Memory in KiB and open descriptors of this process.
pub(super) fn held() -> Result<(u64, u64), String> {
    // What the allocator only keeps for later is nobody's.
    // SAFETY: it gives free memory back to the system, and touches none that is in use.
    unsafe { libc::malloc_trim(0) };
    let status = fs::read_to_string("/proc/self/status").map_err(|error| format!("/proc/self/status: {error}"))?;
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let memory = anonymous.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    let descriptors = fs::read_dir("/proc/self/fd").map_err(|error| format!("/proc/self/fd: {error}"))?.count() as u64;
    Ok((memory.ok_or("/proc/self/status says nothing of memory")?, descriptors))
}

/// The middle one.
fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// Whether memory and descriptors are where they were.
pub(super) fn judge(samples: &[(u64, u64)], outcome: &mut Outcome) {
    let quarter = samples.len() / 4;
    let of =
        |from: usize, to: usize, what: fn(&(u64, u64)) -> u64| median(samples[from..to].iter().map(what).collect());
    outcome.memory_kib_second_quarter = of(quarter, 2 * quarter, |sample| sample.0);
    outcome.memory_kib_last_quarter = of(3 * quarter, samples.len(), |sample| sample.0);
    outcome.descriptors_second_quarter = of(quarter, 2 * quarter, |sample| sample.1);
    outcome.descriptors_last_quarter = of(3 * quarter, samples.len(), |sample| sample.1);
    if samples.len() < TURNS_MIN || outcome.fault.is_some() {
        return;
    }
    let grown = |before: Option<u64>, after: Option<u64>| after.unwrap_or(0).saturating_sub(before.unwrap_or(0));
    let memory = grown(outcome.memory_kib_second_quarter, outcome.memory_kib_last_quarter);
    let descriptors = grown(outcome.descriptors_second_quarter, outcome.descriptors_last_quarter);
    if memory > GROWN_MAX_KIB {
        outcome.fault =
            Some(format!("memory has grown by {memory} KiB since the second quarter, {GROWN_MAX_KIB} allowed"));
    } else if descriptors > DESCRIPTORS_MAX {
        outcome.fault = Some(format!("{descriptors} descriptors more are open than in the second quarter"));
    }
}

#[allow(clippy::print_stdout, reason = "what was done is what was asked for")]
pub(super) fn tell(outcome: &Outcome, json: bool) -> Result<(), Failure> {
    if json {
        println!("{}", serde_json::to_string_pretty(outcome).map_err(Failure::failed("writing JSON"))?);
        return Ok(());
    }
    let known = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let rows = [
        ("turns", outcome.turns.to_string()),
        ("  ended by SIGKILL, and by a close", format!("{}, {}", outcome.kills, outcome.closes)),
        ("records appended in this process", outcome.records_appended.to_string()),
        ("retries recognised", outcome.retries.to_string()),
        ("fences", outcome.fences.to_string()),
        ("frames given up", outcome.frames_given_up.to_string()),
        ("records read, each compared", outcome.records_read.to_string()),
        ("readers that retention overtook", outcome.readers_overtaken.to_string()),
        ("flushes waited for", outcome.flushes_waited_for.to_string()),
        ("transactions committed", outcome.transactions_committed.to_string()),
        ("  aborted, timed out", format!("{}, {}", outcome.transactions_aborted, outcome.transactions_timed_out)),
        (
            "  ended by a rival, by a group taken over",
            format!("{}, {}", outcome.transactions_fenced, outcome.transactions_of_a_group_taken_over),
        ),
        ("records read beside them, both isolations", outcome.records_read_beside_transactions.to_string()),
        ("audits of a log between two turns", outcome.audits.to_string()),
        (
            "memory of its own, KiB, second and last quarter",
            format!("{}, {}", known(outcome.memory_kib_second_quarter), known(outcome.memory_kib_last_quarter)),
        ),
        (
            "open descriptors, second and last quarter",
            format!("{}, {}", known(outcome.descriptors_second_quarter), known(outcome.descriptors_last_quarter)),
        ),
    ];
    println!("soak, seed {}, {:.1} s", outcome.seed, outcome.seconds);
    for (what, value) in rows {
        println!("  {what:<52} {value:>24}");
    }
    if outcome.fault.is_none() {
        println!("  no fault");
    }
    Ok(())
}
