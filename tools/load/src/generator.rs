//! What the load generator itself costs: how late it sends when nothing is sent, and what recording an event takes.

use std::time::{Duration, Instant};

use crate::error::LoadError;
use crate::open::on_schedule;
use crate::recorder::{Recorder, percentiles};
use crate::result::GeneratorFacts;
use crate::spread::Spread;

/// Events a second of the empty schedule.
const RATE_PER_SECOND: f64 = 1_000_000.0;
const SECONDS: f64 = 0.3;
/// Events of a block whose recording is timed.
const EVENTS: u64 = 100_000;
const BLOCKS: usize = 7;

/// Measures the generator on this machine.
pub(crate) fn facts() -> Result<GeneratorFacts, LoadError> {
    let recorded = on_schedule(RATE_PER_SECOND, SECONDS, || {
        std::hint::black_box(());
    })?;
    Ok(GeneratorFacts {
        rate_per_second: RATE_PER_SECOND,
        send_delay_ns: percentiles(&recorded.send_delay),
        record_ns: record_ns(),
    })
}

/// Nanoseconds that recording one event takes: three histograms, and that of its second.
fn record_ns() -> f64 {
    let blocks = (0..BLOCKS).map(|_| {
        let mut recorder = Recorder::new(0, Duration::ZERO, 1.0);
        let start = Instant::now();
        for event in 0..EVENTS {
            // Times that differ, as those of appends do.
            let due = event * 1_000;
            recorder.record(due, due + event % 64, due + 50 + event % 512);
        }
        let ns = start.elapsed().as_secs_f64() * 1e9 / EVENTS as f64;
        std::hint::black_box(&recorder);
        ns
    });
    Spread::of(blocks).map_or(0.0, |blocks| blocks.median)
}
