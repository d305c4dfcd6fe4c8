//! One measured figure: the keys that tell it from all others, then its values.

use serde::Serialize;

use super::times::{Flushes, Percentiles, Second};
use crate::delivery::{Column, Fault};
use crate::spread::Spread;
use crate::sys::Usage;
use crate::workload::{Acknowledge, Idempotence, Pace, Reading, Window, Workload};

/// What a figure measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Appends into segments made ready before.
    Append,
    /// Appends on a schedule that rises until it is not kept.
    Sweep,
    /// Appends without end: the preparer is the limit.
    Endless,
    /// Appends of which only the last is waited for.
    Pipelined,
    /// Many more bytes than memory holds, with retention.
    Sustained,
    /// A scan.
    Fetch,
    /// Reopening.
    Recover,
    /// Records in transactions.
    Transaction,
    /// Messages from a producer over a link to a broker.
    Delivery,
}

/// Where the segments of a figure came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SegmentsFrom {
    /// Prepared before the clock started.
    Ahead,
    /// Retention gave them back.
    Recycled,
    /// Prepared while they were being filled.
    OnDemand,
}

macro_rules! figure {
    ($($(#[$doc:meta])* $name:ident: $type:ty $(= $rename:literal)?),+ $(,)?) => {
        /// One measured figure: the keys that tell it from all others, then its values.
        #[derive(Clone, Debug, Serialize)]
        pub struct Figure {
            /// What is measured.
            pub workload: Kind,
            $($(#[$doc])*
            #[serde($(rename = $rename,)? skip_serializing_if = "Option::is_none")]
            pub $name: Option<$type>,)+
            /// A reader found everything that was appended.
            pub verified: bool,
            /// What else is to be known.
            #[serde(skip_serializing_if = "Vec::is_empty")]
            pub notes: Vec<String>,
        }

        impl Figure {
            /// A figure without keys and values.
            #[must_use]
            pub fn empty(workload: Kind) -> Self {
                Self { workload, $($name: None,)+ verified: false, notes: Vec::new() }
            }
        }
    };
}

figure! {
    /// How retries are recognised.
    idempotence: Idempotence,
    /// Bytes of a record, in the mean.
    payload_bytes: usize,
    /// The file whose lines were appended.
    payload_file: String,
    /// The sizes that were appended, and their shares.
    payload_mix: String,
    /// Records of an append.
    batch: usize,
    /// Threads that append.
    threads: usize,
    /// Producers of all threads.
    producers: usize,
    /// Partitions of all threads.
    partitions: usize,
    /// Readers that follow each partition.
    readers: usize,
    /// What they do at the end of it.
    reading: Reading,
    /// The exponent by which some producers and partitions are taken more often than others.
    skew: f64,
    /// The share of appends that are retries, 0 to 1.
    duplicates: f64,
    /// What an append waits for.
    acknowledge: Acknowledge,
    /// The memory written to.
    window: Window,
    /// Closed or open.
    pace: &'static str = "loop",
    /// The schedule of an open loop.
    rate_per_second: f64,
    /// How often a scan checks checksums.
    verify: &'static str,
    /// What a scan sees of transactions.
    isolation: &'static str,
    /// How messages are delivered.
    delivery: Column,
    /// What goes wrong on the link.
    fault: Fault,
    /// How often, as a share of requests.
    rate: f64,

    /// Records of one transaction.
    records_per_transaction: u64,
    /// Partitions of one transaction.
    partitions_per_transaction: u64,

    /// How often it was repeated.
    repeats: usize,
    /// What one append takes of its thread's time.
    ns_per_append: Spread,
    /// The same, by record.
    ns_per_record: Spread,
    /// What one message takes of the one thread that its producer, link and broker share.
    ns_per_message: Spread,
    /// Messages a second.
    messages_per_second: Spread,
    /// The pairs' ratios of the throughput to at least once.
    ratio_to_at_least_once: Spread,
    /// The pairs' ratios of the p99 to at least once.
    p99_ratio_to_at_least_once: Spread,
    /// Appends of all threads.
    appends_per_second: Spread,
    /// Payload bytes of all threads.
    bytes_per_second: Spread,
    /// The limit loop, measured in the same repeats.
    limit_ns_per_append: Spread,
    /// The pairs' ratios to the limit.
    ratio_to_limit: Spread,
    /// Idempotence off, measured in the same repeats.
    off_ns_per_append: Spread,
    /// The pairs' ratios to off.
    ratio_to_off: Spread,
    /// Frame bytes of a record.
    stored_bytes_per_record: f64,
    /// Completion minus schedule.
    latency_ns: Percentiles,
    /// From the time on the schedule, or from sending where there is none, to a reader's having it.
    end_to_end_ns: Percentiles,
    /// Completion minus sending.
    service_ns: Percentiles,
    /// Sending minus schedule.
    send_delay_ns: Percentiles,
    /// The latency of the empty operation on the same schedule.
    baseline_ns: Percentiles,
    /// The repeats' ratios of the median latency to the empty operation's.
    ratio_to_baseline: Spread,
    /// The same while a thread beside it writes and flushes as much, as often, to another file.
    baseline_io_ns: Percentiles,
    /// The latency of the same appends while nothing is written and flushed.
    at_rest_ns: Percentiles,
    /// The repeats' ratios of the median latency to that at rest.
    ratio_to_at_rest: Spread,
    /// The commit of a transaction, up to the level that it acknowledges.
    commit_ns: Percentiles,
    /// A raw direct write of the same blocks, and its flush.
    floor_ns: Flushes,
    /// The repeats' ratios of the medians to the floor's.
    ratio_to_floor: Spread,
    /// One thread's appends a second, measured in the same repeats.
    one_thread_per_second: Spread,
    /// The repeats' ratios of the throughput to one thread's.
    ratio_to_one_thread: Spread,
    /// The device's own sequential writes, measured in the same repeats.
    device_bytes_per_second: Spread,
    /// The ratios of the bytes a second to the device's.
    ratio_to_device: Spread,
    /// Bytes of a segment.
    segment_bytes: u64,
    /// Rotations of one repeat.
    rotations: u64,
    /// Where segments came from.
    segments_from: SegmentsFrom,
    /// System calls of a producer's thread.
    system_calls_per_append: f64,
    /// Page faults of the producers' threads.
    minor_faults_per_thousand: f64,
    /// How often they left the processor.
    context_switches_per_thousand: f64,
    /// Flushes and durable writes of one repeat.
    syncs: u64,
    /// Appends that one of them covers, in the mean.
    appends_per_sync: f64,
    /// Bytes that the committer wrote in one repeat.
    bytes_written: u64,
    /// Bytes that the device itself has written meanwhile, in the mean of the repeats: its journal's and other programs' too.
    device_bytes_written: u64,
    /// The most memory the process held.
    peak_memory_bytes: u64,
    /// Bytes since the newest snapshot, or scanned.
    bytes: u64,
    /// Bytes that a log holds in all.
    log_bytes: u64,
    /// Large reads past the cache, measured in the same run.
    device_read_bytes_per_second: Spread,
    /// Bytes of segments that retention keeps.
    retention_bytes: u64,
    /// Segments reopened.
    segments: u64,
    /// The median time to reopen.
    seconds: f64,
    /// The fastest reopening.
    seconds_min: f64,
    /// The slowest reopening.
    seconds_max: f64,
    /// Syncing what was dirty before, timed apart.
    sync_seconds: f64,
    /// The target rate was not reached.
    saturated: bool,
    /// Of a sweep: the highest rate that was reached with a median of at most twice that of the lowest.
    knee: bool,
    /// The names of the histogram files begin with this.
    histograms: String,
    /// Second by second.
    per_second: Vec<Second>,
}

impl Figure {
    /// What the producers' threads caused in so many appends.
    pub(crate) fn caused(&mut self, usage: Usage, appends: u64) {
        let (minor_faults, context_switches) = usage.per_thousand(appends);
        self.minor_faults_per_thousand = Some(minor_faults);
        self.context_switches_per_thousand = Some(context_switches);
    }

    /// A figure of appends, with the keys of its workload.
    #[must_use]
    pub fn of(workload: &Workload) -> Self {
        let mut figure = Self::empty(Kind::Append);
        figure.idempotence = Some(workload.idempotence);
        figure.payload_bytes = Some(workload.payloads.mean_bytes());
        figure.payload_file = workload.payloads.file_name().map(str::to_owned);
        figure.batch = Some(workload.batch);
        figure.threads = Some(workload.threads);
        figure.producers = (workload.idempotence != Idempotence::Off).then_some(workload.producers);
        figure.partitions = Some(workload.partitions);
        figure.payload_mix = workload.payloads.mix().map(str::to_owned);
        figure.readers = (workload.readers > 0).then_some(workload.readers);
        figure.reading = (workload.readers > 0).then_some(workload.reading);
        figure.skew = (workload.skew > 0.0).then_some(workload.skew);
        figure.duplicates = Some(workload.duplicates);
        figure.acknowledge = Some(workload.acknowledge);
        figure.window = Some(workload.window);
        figure.pace = Some(workload.pace.word());
        if let Pace::Open { rate_per_second } = workload.pace {
            figure.rate_per_second = Some(rate_per_second);
        }
        figure
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::payload::Payloads;

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().expect("an object").keys().map(String::as_str).collect()
    }

    #[test]
    fn a_figure_has_its_keys_and_nothing_that_does_not_apply() {
        let off = Workload::new(Arc::new(Payloads::fixed(100)));
        let figure = serde_json::to_value(Figure::of(&off)).expect("json");
        assert_eq!(
            figure,
            json!({
                "workload": "append", "idempotence": "off", "payload_bytes": 100, "batch": 1, "threads": 1,
                "partitions": 1, "duplicates": 0.0, "acknowledge": "written", "window": "mapped", "loop": "closed",
                "verified": false
            })
        );
        let by_id = Workload {
            idempotence: Idempotence::ById,
            producers: 4,
            pace: Pace::Open { rate_per_second: 1_000.0 },
            ..off
        };
        let figure = serde_json::to_value(Figure::of(&by_id)).expect("json");
        assert_eq!((&figure["idempotence"], &figure["producers"]), (&json!("by-id"), &json!(4)));
        assert_eq!((&figure["loop"], &figure["rate_per_second"]), (&json!("open"), &json!(1_000.0)));
    }

    #[test]
    fn every_value_has_the_name_of_the_interface() {
        let spread = Spread::of([1.0]).expect("a value");
        let mut figure = Figure::empty(Kind::Fetch);
        figure.ns_per_append = Some(spread);
        figure.limit_ns_per_append = Some(spread);
        figure.segments_from = Some(SegmentsFrom::OnDemand);
        figure.latency_ns = Some(Percentiles { p50: 1, p90: 2, p99: 3, p999: 4, p9999: None, max: 5 });
        let value = serde_json::to_value(figure).expect("json");
        assert_eq!(value["workload"], "fetch");
        assert_eq!(value["segments_from"], "on-demand");
        assert_eq!(keys(&value["ns_per_append"]), ["lower_quarter", "max", "median", "min", "upper_quarter"]);
        assert_eq!(keys(&value["latency_ns"]), ["max", "p50", "p90", "p99", "p999"]);
    }
}
