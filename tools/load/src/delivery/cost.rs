//! What each delivery costs, in process: a producer or a pipeline, a link without a wire, a broker, one log each, by turns.
//!
//! A link that loses acknowledgements loses the same ones of each delivery. Its clock jumps to the end of a timeout, so what
//! is compared is the work of sending again, and not how long somebody chose to wait.

mod lane;

use std::time::Instant;

use self::lane::Lane;
use super::Column;
use super::fault::{Fault, Injector};
use super::source::Messages;
use super::world::MESSAGE_BYTES;
use crate::closed::{Repeats, Site};
use crate::error::LoadError;
use crate::recorder::{add, histogram, percentiles};
use crate::result::{Figure, Kind};
use crate::run::SEGMENT_BYTES;
use crate::spread::Spread;
use crate::workload::{Acknowledge, Window, Workload};

/// Turns that the deliveries take in one repeat: short ones, so that what the machine does meanwhile meets all of them.
const TURNS: u64 = 20;
/// Messages of one turn, sent as fast as the window allows.
const MESSAGES_OF_TURN: u64 = if cfg!(debug_assertions) { 100 } else { 5_000 };
/// Messages of one turn each of which is waited for before the next.
const WAITED_FOR_OF_TURN: u64 = if cfg!(debug_assertions) { 50 } else { 1_000 };
/// Messages of a repeat.
const MESSAGES: u64 = TURNS * (MESSAGES_OF_TURN + WAITED_FOR_OF_TURN);
/// Messages that a pipeline consumes and produces in one transaction.
const MESSAGES_OF_TRANSACTION: u32 = if cfg!(debug_assertions) { 10 } else { 100 };

/// What is compared, in the order of the turns.
const DELIVERIES: &[Column] = Column::ALL;
/// The one that the others are compared with.
const AGAINST: usize = 1;

/// Bytes of the files of one measurement: a pipeline has what it consumes, too.
pub(crate) fn bytes(workload: &Workload) -> u64 {
    let frame = workload.payloads.longest() as u64 + MESSAGE_BYTES as u64 + 128;
    (DELIVERIES.len() as u64 + 1) * (frame * MESSAGES + 4 * SEGMENT_BYTES)
}

/// A figure for each delivery. `lost` is the share of acknowledgements that the link loses.
pub(crate) fn measure(
    workload: &Workload,
    lost: f64,
    repeats: Repeats,
    site: Site<'_>,
) -> Result<Vec<Figure>, LoadError> {
    let of_each = || vec![Vec::new(); DELIVERIES.len()];
    let (mut seconds, mut p99): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (of_each(), of_each());
    let mut latency = vec![histogram(); DELIVERIES.len()];
    let mut messages = Messages::new(&workload.payloads, MESSAGES);
    let fault = if lost > 0.0 { Fault::AckLost } else { Fault::None };
    // They share the time of a figure each.
    let shares = DELIVERIES.len();
    let repeats = Repeats { seconds: repeats.seconds * shares as f64, most: repeats.most * shares, ..repeats };
    let start = Instant::now();
    let mut done = 0;
    let mut last = false;
    while !last {
        last = repeats.is_last(done, start.elapsed().as_secs_f64());
        let scratch = tempfile::tempdir_in(site.scratch).map_err(LoadError::io("a scratch directory"))?;
        let injector = Injector::new(fault, lost, site.seed.wrapping_add(done as u64));
        let open = |column: &Column| Lane::open(&scratch.path().join(column.word()), *column, injector, &mut messages);
        let mut lanes = DELIVERIES.iter().map(open).collect::<Result<Vec<Lane>, _>>()?;
        for turn in 0..TURNS {
            // To and fro, so that what drifts within a turn favours none of them.
            for place in 0..lanes.len() {
                let which = if turn % 2 == 0 { place } else { lanes.len() - 1 - place };
                seconds[which].push(lanes[which].turn(&mut messages)?);
            }
        }
        for (which, lane) in lanes.iter().enumerate() {
            p99[which].push(lane.latency.value_at_quantile(0.99) as f64);
            add(&mut latency[which], &lane.latency);
            lane.verify(&mut messages)?;
        }
        done += 1;
    }
    let figures = DELIVERIES.iter().enumerate().map(|(which, column)| {
        let mut figure = Figure::empty(Kind::Delivery);
        let of = |factor: f64| Spread::of(seconds[which].iter().map(|seconds| seconds * factor));
        let rate = |factor: f64| Spread::of(seconds[which].iter().map(|seconds| factor / seconds));
        figure.delivery = Some(*column);
        figure.fault = Some(fault);
        figure.rate = Some(lost);
        figure.payload_bytes = Some(workload.payloads.mean_bytes() + MESSAGE_BYTES);
        figure.payload_file = workload.payloads.file_name().map(str::to_owned);
        figure.acknowledge = (*column != Column::AtMostOnce).then_some(Acknowledge::Visible);
        figure.window = Some(Window::Mapped);
        figure.repeats = Some(done);
        figure.ns_per_message = of(1e9 / MESSAGES_OF_TURN as f64);
        figure.messages_per_second = rate(MESSAGES_OF_TURN as f64);
        if which != AGAINST {
            figure.ratio_to_at_least_once = Spread::of_ratios(&seconds[AGAINST], &seconds[which]);
        }
        if *column != Column::AtMostOnce {
            figure.latency_ns = Some(percentiles(&latency[which]));
        }
        match column {
            Column::ExactlyOnce => figure.p99_ratio_to_at_least_once = Spread::of_ratios(&p99[which], &p99[AGAINST]),
            Column::Transactional => {
                figure.records_per_transaction = Some(MESSAGES_OF_TRANSACTION.into());
                figure.partitions_per_transaction = Some(1);
                figure.notes.push("consumed, produced and committed: latency is a whole transaction's".to_owned());
            }
            Column::AtMostOnce | Column::AtLeastOnce => {}
        }
        figure.verified = true;
        figure
    });
    Ok(figures.collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::payload::Payloads;

    #[test]
    fn each_delivery_is_measured_verified_and_told_from_the_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let scratch: &Path = dir.path();
        let workload = Workload::new(Arc::new(Payloads::fixed(92)));
        let repeats = Repeats { least: 1, seconds: 0.01, most: 1 };
        let site = Site { scratch, kept: None, seed: 1 };
        for lost in [0.0, 0.05] {
            let figures = measure(&workload, lost, repeats, site).expect("it runs");
            let told: HashSet<_> = figures.iter().filter_map(|figure| figure.delivery).collect();
            assert_eq!((figures.len(), told.len()), (4, 4));
            for figure in &figures {
                assert!(figure.verified && figure.ns_per_message.is_some(), "{figure:?}");
                assert_eq!(figure.latency_ns.is_some(), figure.delivery != Some(Column::AtMostOnce));
                assert_eq!(figure.ratio_to_at_least_once.is_none(), figure.delivery == Some(Column::AtLeastOnce));
            }
        }
    }
}
