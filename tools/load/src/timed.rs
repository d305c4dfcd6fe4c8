//! Lanes let go at one moment, and the time until the last has finished.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::error::LoadError;
use crate::sys::Usage;

/// Threads that wait spin this often before they let others run.
const SPINS: u32 = 10_000;

/// A finished block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// From the first lane's start to the last one's end.
    pub(crate) seconds: f64,
    /// Of all lanes meanwhile.
    pub(crate) usage: Usage,
}

/// Runs `work` on a thread for each lane, all at once.
pub(crate) fn timed<L: Send, R: Send>(
    lanes: &mut [L],
    work: impl Fn(&mut L) -> Result<R, LoadError> + Sync,
) -> Result<(Timing, Vec<R>), LoadError> {
    let start_line = StartLine { missing: AtomicUsize::new(lanes.len()) };
    let (start_line, work) = (&start_line, &work);
    let run = |lane: &mut L| {
        start_line.wait();
        let before = Usage::of_thread();
        let start = Instant::now();
        let result = work(lane);
        let end = Instant::now();
        result.map(|result| (start, end, Usage::of_thread().since(before), result))
    };
    let ended = thread::scope(|scope| {
        let threads: Vec<_> = lanes.iter_mut().map(|lane| scope.spawn(move || run(lane))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| LoadError::Panicked)?)
            .collect::<Result<Vec<_>, LoadError>>()
    })?;
    let first = ended.iter().map(|(start, ..)| *start).min();
    let last = ended.iter().map(|(_, end, ..)| *end).max();
    let seconds = first.zip(last).map_or(0.0, |(first, last)| (last - first).as_secs_f64());
    let mut usage = Usage::default();
    ended.iter().for_each(|(.., of_lane, _)| usage += *of_lane);
    Ok((Timing { seconds, usage }, ended.into_iter().map(|(.., result)| result).collect()))
}

/// Holds every thread until the last has come. Spinning, since waking a sleeper takes longer than a short block.
struct StartLine {
    missing: AtomicUsize,
}

impl StartLine {
    fn wait(&self) {
        // AcqRel and Acquire: whatever a lane did before is over when the others start.
        self.missing.fetch_sub(1, Ordering::AcqRel);
        let mut spins = 0;
        while self.missing.load(Ordering::Acquire) > 0 {
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { thread::yield_now() }
        }
    }
}

/// What one reading of the clock costs, in nanoseconds: the median of some runs of readings.
#[must_use]
pub fn clock_ns() -> f64 {
    const READINGS: u32 = 10_000;
    let runs = (0..11).map(|_| {
        let start = Instant::now();
        for _ in 0..READINGS {
            std::hint::black_box(Instant::now());
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(READINGS)
    });
    crate::spread::Spread::of(runs).map_or(0.0, |spread| spread.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_runs_once_and_errors_come_back() {
        let mut lanes = [1, 2, 3];
        let (timing, results) = timed(&mut lanes, |lane| {
            *lane *= 10;
            Ok(*lane)
        })
        .expect("no lane fails");
        assert_eq!((results, lanes), (vec![10, 20, 30], [10, 20, 30]));
        assert!(timing.seconds >= 0.0);
        let failed = timed(&mut lanes, |_| Err::<(), _>(LoadError::Answer("nothing".to_owned())));
        assert!(failed.is_err());
    }
}
