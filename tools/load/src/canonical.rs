//! The canonical workload: the rows that `cargo bench` measures without being asked, and the few of `--quick`.

use std::collections::HashSet;
use std::sync::Arc;

use crate::closed::Repeats;
use crate::payload::Payloads;
use crate::row::Row;
use crate::workload::{Acknowledge, Idempotence, Pace, Reading, Window, Workload};

/// Appends a second of the open loops: well below saturation, so that percentiles mean something.
pub const RATE_PER_SECOND: f64 = 200_000.0;

/// Durable appends a second of an open loop on one thread.
pub const DURABLE_RATE_PER_SECOND: f64 = 2_000.0;

/// The share of acknowledgements that a bad link loses.
pub const LOST_ACKNOWLEDGEMENTS: f64 = 0.01;
/// Durable appends a second that a sweep begins with.
pub const DURABLE_SWEEP_PER_SECOND: f64 = 500.0;

/// How long the canonical run takes over a figure.
pub const REPEATS: Repeats = Repeats { least: 5, seconds: 1.5, most: 15 };
/// And a quick one.
pub const REPEATS_QUICK: Repeats = Repeats { least: 5, seconds: 1.0, most: 9 };

fn plain(payloads: &Arc<Payloads>) -> Workload {
    Workload::new(Arc::clone(payloads))
}

fn with(workload: &Workload, idempotence: Idempotence, producers: usize) -> Workload {
    Workload { idempotence, producers: producers.max(workload.threads), ..workload.clone() }
}

/// The rows of a quick run, for payloads of 100 B and 1 KiB.
#[must_use]
pub fn quick_rows() -> Vec<Row> {
    let payloads = [100, 1024].map(|bytes| Arc::new(Payloads::fixed(bytes)));
    let mut rows = quick_rows_of(&payloads);
    rows.extend(latency_rows(&payloads[0]));
    rows
}

/// The closed loops of a quick run, for payloads of one's own.
#[must_use]
pub fn quick_rows_of(payloads: &[Arc<Payloads>]) -> Vec<Row> {
    let mut rows = Vec::new();
    for payloads in payloads {
        for idempotence in [Idempotence::Off, Idempotence::Session, Idempotence::ById] {
            rows.push(Row::Append(with(&plain(payloads), idempotence, 1)));
        }
    }
    rows
}

/// Off, session and by id on a schedule.
#[must_use]
pub fn latency_rows(payloads: &Arc<Payloads>) -> Vec<Row> {
    let paced = Workload { pace: Pace::Open { rate_per_second: RATE_PER_SECOND }, ..plain(payloads) };
    [Idempotence::Off, Idempotence::Session, Idempotence::ById]
        .map(|idempotence| Row::Append(with(&paced, idempotence, 1)))
        .to_vec()
}

/// All rows: what idempotence costs, by size, batch, threads, producers and share of retries; latency; scans;
/// reopening.
#[must_use]
pub fn rows() -> Vec<Row> {
    use Idempotence::{ById, Mutex, Off, Session};
    let [small, middle, large] = [100, 1024, 4096].map(|bytes| plain(&Arc::new(Payloads::fixed(bytes))));
    let batches = Workload { batch: 100, ..small.clone() };
    let two_threads = Workload { threads: 2, ..small.clone() };
    let retries = |idempotence, duplicates| Workload { duplicates, ..with(&small, idempotence, 1) };
    let mut rows: Vec<Row> = [
        with(&small, Off, 1),
        with(&small, Session, 1),
        with(&small, ById, 1),
        with(&small, ById, 1_024),
        with(&small, ById, 1_048_576),
        with(&small, Mutex, 1_024),
        with(&middle, Off, 1),
        with(&middle, Session, 1),
        with(&middle, ById, 1),
        with(&middle, Mutex, 1_024),
        with(&large, Off, 1),
        with(&large, Session, 1),
        with(&large, ById, 1),
        with(&batches, Off, 1),
        with(&batches, Session, 1),
        with(&batches, ById, 1),
        with(&two_threads, Off, 1),
        with(&two_threads, Session, 1),
        with(&two_threads, ById, 1_024),
        with(&two_threads, Mutex, 1_024),
        retries(Session, 0.01),
        retries(Session, 0.5),
        retries(ById, 0.01),
        retries(ById, 0.5),
    ]
    .into_iter()
    .map(Row::Append)
    .collect();
    rows.push(Row::Endless(small.clone()));
    rows.extend(latency_rows(&small.payloads));
    rows.extend(durable_rows());
    rows.push(Row::Fetch(small.clone()));
    rows.push(Row::Recover(with(&small, ById, 1_024)));
    rows.extend(transaction_rows());
    rows.extend(delivery_rows());
    rows
}

/// What records cost in a transaction over three partitions, visible and durable.
#[must_use]
pub fn transaction_rows() -> Vec<Row> {
    let small = Arc::new(Payloads::fixed(100));
    let visible = Workload { partitions: 3, acknowledge: Acknowledge::Visible, ..plain(&small) };
    let durable = Workload { acknowledge: Acknowledge::Durable, window: Window::Direct, ..visible.clone() };
    [visible, durable].map(|workload| Row::Transaction(with(&workload, Idempotence::Session, 1))).to_vec()
}

/// What each delivery costs, while nothing fails and while acknowledgements are lost. A message's number takes 8 bytes.
#[must_use]
pub fn delivery_rows() -> Vec<Row> {
    let messages = plain(&Arc::new(Payloads::fixed(92)));
    vec![Row::Delivery(messages.clone(), 0.0), Row::Delivery(messages, LOST_ACKNOWLEDGEMENTS)]
}

/// Records on the device: one thread and sixteen against the device's own writes, with and without idempotence; a
/// pipeline against its stream; and what appends feel while it is written to.
#[must_use]
pub fn durable_rows() -> Vec<Row> {
    let durable = |bytes, threads| Workload {
        threads,
        acknowledge: Acknowledge::Durable,
        window: Window::Direct,
        ..plain(&Arc::new(Payloads::fixed(bytes)))
    };
    let paced = |workload, rate_per_second| Workload { pace: Pace::Open { rate_per_second }, ..workload };
    let (one, sixteen) = (durable(128, 1), durable(128, 16));
    vec![
        Row::Append(one.clone()),
        Row::Append(with(&one, Idempotence::Session, 1)),
        Row::Append(with(&one, Idempotence::ById, 1)),
        Row::Append(with(&durable(4096, 1), Idempotence::Session, 1)),
        Row::Append(durable(4096, 1)),
        Row::Append(sixteen.clone()),
        Row::Append(with(&sixteen, Idempotence::Session, 16)),
        Row::Append(Workload { window: Window::Mapped, ..one.clone() }),
        Row::Pipelined(durable(1024, 1)),
        Row::Append(paced(one, DURABLE_RATE_PER_SECOND)),
        Row::Append(paced(Workload { acknowledge: Acknowledge::Written, ..durable(1024, 1) }, RATE_PER_SECOND)),
    ]
}

/// Every axis against every other, as far as they mean something together: the canonical rows and the rest.
#[must_use]
pub fn full_rows() -> Vec<Row> {
    let mut all = rows();
    for payloads in [100, 1024, 4096].map(|bytes| Arc::new(Payloads::fixed(bytes))) {
        for batch in [1, 10, 100] {
            for threads in [1, 2, 4] {
                let workload = Workload { batch, threads, ..plain(&payloads) };
                for idempotence in [Idempotence::Off, Idempotence::Session, Idempotence::ById] {
                    all.push(Row::Append(with(&workload, idempotence, 1)));
                }
                if batch == 1 {
                    all.push(Row::Append(with(&workload, Idempotence::Mutex, 1_024)));
                }
            }
        }
    }
    let small = plain(&Arc::new(Payloads::fixed(100)));
    let open = |workload: Workload, rate_per_second| Workload { pace: Pace::Open { rate_per_second }, ..workload };
    // Many small records and a few large ones, as most programs have them.
    let mixed = Payloads::mixed(&[(64, 70.0), (512, 20.0), (4_096, 9.0), (16_384, 1.0)]).map(Arc::new);
    for idempotence in [Idempotence::Off, Idempotence::Session, Idempotence::ById] {
        all.extend(mixed.iter().map(|payloads| Row::Append(with(&plain(payloads), idempotence, 1))));
        all.push(Row::Sweep(open(with(&small, idempotence, 1), RATE_PER_SECOND)));
        for reading in [Reading::Polling, Reading::Blocking] {
            let followed = Workload { readers: 1, reading, ..with(&small, idempotence, 1) };
            all.push(Row::Append(followed.clone()));
            all.push(Row::Append(open(followed, RATE_PER_SECOND)));
        }
    }
    let skewed = Workload { partitions: 16, ..small.clone() };
    for skew in [0.0, 1.0] {
        all.push(Row::Append(Workload { skew, ..with(&skewed, Idempotence::ById, 1_024) }));
    }
    let durable = |bytes, threads| Workload {
        threads,
        acknowledge: Acknowledge::Durable,
        window: Window::Direct,
        ..plain(&Arc::new(Payloads::fixed(bytes)))
    };
    for bytes in [128, 4_096] {
        for threads in [1, 4, 16] {
            all.push(Row::Append(durable(bytes, threads)));
            all.push(Row::Append(with(&durable(bytes, threads), Idempotence::Session, threads)));
        }
    }
    all.push(Row::Sweep(open(durable(128, 1), DURABLE_SWEEP_PER_SECOND)));
    all.push(Row::Fetch(Workload { readers: 2, ..small }));
    let mut labels = HashSet::new();
    all.retain(|row| labels.insert(row.label()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_measured_and_none_is_there_twice() {
        for rows in [rows(), quick_rows(), full_rows()] {
            let mut labels = HashSet::new();
            for row in &rows {
                assert_eq!(row.check(), Ok(()));
                assert!(labels.insert(row.label()), "{} twice", row.label());
            }
        }
        // A scan is a figure for each kind of check.
        assert!((36..=46).contains(&rows().len()));
    }

    #[test]
    fn a_quick_run_holds_what_it_always_holds() {
        let held: Vec<_> = quick_rows()
            .iter()
            .map(|row| row.workload())
            .filter(|workload| workload.pace == Pace::Closed)
            .map(|workload| (workload.payloads.mean_bytes(), workload.idempotence, workload.producers))
            .collect();
        let expected = [100, 1024].map(|bytes| {
            [Idempotence::Off, Idempotence::Session, Idempotence::ById].map(|idempotence| (bytes, idempotence, 1))
        });
        assert_eq!(held, expected.concat());
    }
}
