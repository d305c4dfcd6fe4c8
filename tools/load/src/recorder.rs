//! What an open loop records: histograms of latency, service time and send delay, and one a second beside them.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::result::{Flushes, PerSecond, Percentiles, Second};

/// The longest time told apart; longer ones count as this.
const LONGEST_NS: u64 = 60_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;
/// A percentile of one in ten thousand needs this many samples.
const SAMPLES_OF_P9999: u64 = 100_000;

/// An empty histogram whose memory has been touched: recording into it never faults.
pub(crate) fn histogram() -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, LONGEST_NS, SIGNIFICANT_DIGITS)
        .unwrap_or_else(|error| unreachable!("constant bounds: {error}"));
    histogram.reset();
    histogram
}

/// The histograms of one figure, for files of their own.
#[derive(Clone, Debug)]
pub struct Histograms {
    /// The files' names begin with this.
    pub label: String,
    /// What each holds, in nanoseconds: `latency`, `service`, ...
    pub kinds: Vec<(&'static str, Histogram<u64>)>,
    /// The latency second by second; none where there was no schedule.
    pub intervals: Vec<Interval>,
}

/// The three histograms of an open loop, in nanoseconds, and the latency second by second.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// Completion minus the time on the schedule.
    pub latency: Histogram<u64>,
    /// Completion minus the time of sending.
    pub service: Histogram<u64>,
    /// The time of sending minus the time on the schedule.
    pub send_delay: Histogram<u64>,
    /// One a second.
    pub intervals: Vec<Interval>,
}

/// The latency of one second.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Which repeat.
    pub repeat: usize,
    /// Where it begins, counted from the start of the figure.
    pub start: Duration,
    /// How long it is; the last one of a repeat can be shorter than a second.
    pub length: Duration,
    /// Its latencies.
    pub latency: Histogram<u64>,
}

impl Recorder {
    /// Room for `seconds` of one repeat, all of it in memory.
    pub(crate) fn new(repeat: usize, start: Duration, seconds: f64) -> Self {
        let intervals = (0..seconds.ceil() as u64).map(|second| Interval {
            repeat,
            start: start + Duration::from_secs(second),
            length: Duration::from_secs_f64((seconds - second as f64).min(1.0)),
            latency: histogram(),
        });
        Self { latency: histogram(), service: histogram(), send_delay: histogram(), intervals: intervals.collect() }
    }

    /// Records one operation by its times in nanoseconds since the first that counts.
    #[inline]
    pub(crate) fn record(&mut self, due: u64, sent: u64, done: u64) {
        let latency = done - due;
        self.latency.saturating_record(latency);
        self.service.saturating_record(done - sent);
        self.send_delay.saturating_record(sent - due);
        if let Some(interval) = self.intervals.get_mut((due / 1_000_000_000) as usize) {
            interval.latency.saturating_record(latency);
        }
    }

    /// Adds what another thread recorded over the same time.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.add(other);
        for (own, other) in self.intervals.iter_mut().zip(&other.intervals) {
            add(&mut own.latency, &other.latency);
        }
    }

    /// Appends what a later repeat recorded.
    pub(crate) fn follow(&mut self, mut later: Self) {
        self.add(&later);
        self.intervals.append(&mut later.intervals);
    }

    fn add(&mut self, other: &Self) {
        add(&mut self.latency, &other.latency);
        add(&mut self.service, &other.service);
        add(&mut self.send_delay, &other.send_delay);
    }

    /// A row for each second.
    pub(crate) fn per_second(&self) -> Vec<Second> {
        let row = |interval: &Interval| PerSecond {
            repeat: interval.repeat,
            second: interval.start.as_secs_f64(),
            appends: interval.latency.len(),
            p50: interval.latency.value_at_quantile(0.5),
            p99: interval.latency.value_at_quantile(0.99),
            max: interval.latency.max(),
        };
        self.intervals.iter().map(row).map(Second::Latency).collect()
    }
}

pub(crate) fn add(own: &mut Histogram<u64>, other: &Histogram<u64>) {
    own.add(other).unwrap_or_else(|error| unreachable!("histograms of the same bounds: {error}"));
}

/// The percentiles of a histogram; the last one only where there are samples enough to know it.
#[must_use]
pub fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    let at = |quantile| histogram.value_at_quantile(quantile);
    Percentiles {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        p9999: (histogram.len() >= SAMPLES_OF_P9999).then(|| at(0.9999)),
        max: histogram.max(),
    }
}

/// The two of them that a floor is told by.
pub(crate) fn floor_of(histogram: &Histogram<u64>) -> Flushes {
    Flushes { p50: histogram.value_at_quantile(0.5), p99: histogram.value_at_quantile(0.99), samples: histogram.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_merged_not_averaged() {
        let mut fast = Recorder::new(0, Duration::ZERO, 1.0);
        let mut slow = Recorder::new(0, Duration::ZERO, 1.0);
        for _ in 0..99 {
            fast.record(0, 0, 100);
        }
        slow.record(0, 0, 1_000_000);
        fast.merge(&slow);
        let merged = percentiles(&fast.latency);
        assert_eq!(merged.p50, 100);
        assert_eq!(merged.p99, 100);
        assert!(merged.max >= 999_000, "{merged:?}");
        assert_eq!(fast.intervals[0].latency.len(), 100);
    }

    #[test]
    fn the_last_percentile_needs_its_samples() {
        let mut histogram = histogram();
        histogram.record_n(50, SAMPLES_OF_P9999 - 1).expect("within bounds");
        assert_eq!(percentiles(&histogram).p9999, None);
        histogram.record(50).expect("within bounds");
        assert_eq!(percentiles(&histogram).p9999, Some(50));
    }

    #[test]
    fn latency_counts_from_the_schedule() {
        let mut recorder = Recorder::new(0, Duration::ZERO, 2.5);
        recorder.record(2_000_000_100, 2_000_000_600, 2_000_000_700);
        assert_eq!((recorder.latency.max(), recorder.service.max(), recorder.send_delay.max()), (600, 100, 500));
        let appends = |second: &Second| matches!(second, Second::Latency(row) if row.appends == 1);
        let seconds: Vec<_> = recorder.per_second().iter().map(|second| u64::from(appends(second))).collect();
        assert_eq!(seconds, [0, 0, 1]);
        assert_eq!(recorder.intervals[2].length, Duration::from_millis(500));
    }
}
