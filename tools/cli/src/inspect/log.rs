//! Partitions: their watermarks, and what opening would make of them.

use oncelog::{ReadOnlyLog, ReadOnlyPartition};
use serde::Serialize;

use super::{print, print_json, unread};
use crate::failure::Failure;
use crate::verify::{shortened, wrapped};

#[derive(Serialize)]
struct Told<'a> {
    directory: String,
    in_use: bool,
    faults: Vec<String>,
    producers: usize,
    partitions: Vec<Partition<'a>>,
}

#[derive(Serialize)]
struct Partition<'a> {
    name: &'a str,
    internal: bool,
    segments: usize,
    bytes: u64,
    snapshots: usize,
    producers: usize,
    start_offset: u64,
    durable_offset: u64,
    stable_offset: u64,
    end_offset: u64,
    durable_position: u64,
    end_position: u64,
    open_transactions: Vec<Transaction>,
    /// Why opening would refuse it.
    refused: Option<String>,
    scanned_bytes_to_open: u64,
    dropped_by_opening: Vec<Dropped>,
}

/// One without a marker here.
#[derive(Serialize)]
struct Transaction {
    producer: u64,
    epoch: u32,
    transaction: u64,
    first_offset: u64,
}

#[derive(Serialize)]
struct Dropped {
    file: String,
    byte: u64,
    bytes: u64,
    reason: String,
}

fn told(partition: &ReadOnlyPartition) -> Result<Partition<'_>, Failure> {
    let recovery = partition.recovery();
    let segments = partition.segments();
    Ok(Partition {
        name: partition.name(),
        internal: partition.is_internal(),
        segments: segments.len(),
        bytes: segments.iter().map(|segment| segment.bytes).sum(),
        snapshots: partition.snapshots().len(),
        producers: partition.progress().map_err(unread(partition))?.len(),
        start_offset: recovery.start_offset,
        durable_offset: partition.durable_offset().map_err(unread(partition))?,
        stable_offset: partition.stable_offset(),
        end_offset: recovery.end_offset,
        open_transactions: partition
            .undecided()
            .into_iter()
            .map(|open| Transaction {
                producer: open.producer.get(),
                epoch: open.epoch,
                transaction: open.transaction,
                first_offset: open.first_offset,
            })
            .collect(),
        durable_position: partition.durable_position(),
        end_position: recovery.end_position,
        refused: recovery.refused.map(|refused| refused.to_string()),
        scanned_bytes_to_open: recovery.scanned_bytes,
        dropped_by_opening: recovery
            .dropped
            .into_iter()
            .map(|dropped| Dropped {
                file: dropped.path.display().to_string(),
                byte: dropped.at,
                bytes: dropped.bytes,
                reason: dropped.reason,
            })
            .collect(),
    })
}

pub(super) fn tell(log: &ReadOnlyLog, partitions: &[&ReadOnlyPartition], json: bool) -> Result<(), Failure> {
    let partitions = partitions.iter().map(|partition| told(partition)).collect::<Result<Vec<_>, _>>()?;
    let faults: Vec<String> = log.faults().iter().map(|fault| fault.to_string()).collect();
    if json {
        let directory = log.directory().display().to_string();
        let producers = log.producers().len();
        return print_json(&Told { directory, in_use: log.is_in_use(), faults, producers, partitions });
    }
    for fault in &faults {
        print(&wrapped("fault:".to_owned(), fault));
    }
    print(&format!(
        "{:<16} {:>8} {:>8} {:>9} {:>9} {:>10} {:>10} {:>11} {:>11}",
        "partition", "segments", "MB", "producers", "first", "durable", "stable", "next offset", "end"
    ));
    for partition in &partitions {
        print(&format!(
            "{:<16} {:>8} {:>8.1} {:>9} {:>9} {:>10} {:>10} {:>11} {:>11}",
            shortened(partition.name, 16),
            partition.segments,
            partition.bytes as f64 / 1e6,
            partition.producers,
            partition.start_offset,
            partition.durable_offset,
            partition.stable_offset,
            partition.end_offset,
            partition.end_position
        ));
        for open in &partition.open_transactions {
            print(&format!(
                "   transaction {} of producer {} (epoch {}) is without a marker, from offset {} on",
                open.transaction, open.producer, open.epoch, open.first_offset
            ));
        }
        if let Some(refused) = &partition.refused {
            print(&wrapped("   opening refuses:".to_owned(), refused));
        }
        // What stands ready is prepared again, and nothing is lost with it.
        let lost = partition.dropped_by_opening.iter().filter(|dropped| dropped.reason != "prepared and not begun");
        for Dropped { file, byte, bytes, reason } in lost.filter(|_| !log.is_in_use()) {
            let what = format!("{bytes} bytes from byte {byte} on of {file}: {reason}");
            print(&wrapped("   opening drops:".to_owned(), &what));
        }
    }
    let in_use = if log.is_in_use() { "in use by another process" } else { "not in use" };
    print(&format!("{} live producers; {in_use}", log.producers().len()));
    Ok(())
}
