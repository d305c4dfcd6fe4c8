//! Which code a run has reached, if the build counts it: `README.md` says with which flags. Without them nothing is
//! counted, and inputs are kept for nothing.

use std::slice;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU8, Ordering};

/// Counters of each part of the program, as address and length.
static COUNTERS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Called before `main` by what the compiler adds, once for each part.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __sanitizer_cov_8bit_counters_init(first: *const u8, end: *const u8) {
    let mut counters = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
    counters.push((first.addr(), end.addr() - first.addr()));
}

/// Called likewise, where the compiler adds it: which code a counter belongs to is not asked here.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __sanitizer_cov_pcs_init(_first: *const usize, _end: *const usize) {}

/// What was reached so far, each counter in eight classes of how often.
pub(crate) struct Coverage {
    seen: Vec<u8>,
}

fn parts() -> Vec<&'static [AtomicU8]> {
    let counters = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
    let part = |(first, bytes): &(usize, usize)| {
        let first = std::ptr::with_exposed_provenance::<AtomicU8>(*first);
        // SAFETY: the compiler's counters are bytes that live as long as the program, and are only ever added to; a count
        // that is lost between two threads is lost.
        unsafe { slice::from_raw_parts(first, *bytes) }
    };
    counters.iter().map(part).collect()
}

impl Coverage {
    pub(crate) fn new() -> Self {
        Self { seen: vec![0; parts().iter().map(|part| part.len()).sum()] }
    }

    /// Whether the build counts.
    pub(crate) fn counts(&self) -> bool {
        !self.seen.is_empty()
    }

    /// Places that were reached.
    pub(crate) fn reached(&self) -> usize {
        self.seen.iter().filter(|seen| **seen != 0).count()
    }

    /// Whether the run since the last call has reached something new.
    pub(crate) fn is_news(&mut self) -> bool {
        let mut news = false;
        let counters = parts().into_iter().flatten();
        for (seen, counter) in self.seen.iter_mut().zip(counters) {
            let count = counter.swap(0, Ordering::Relaxed);
            if count == 0 {
                continue;
            }
            let class = 1_u8 << count.ilog2();
            news |= *seen & class == 0;
            *seen |= class;
        }
        news
    }
}
