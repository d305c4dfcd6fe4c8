//! A small log with frames of every kind, some segments and a snapshot: once closed, and once as a kill leaves it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use oncelog::{Log, Options, Partition, Stamp};

use super::kill::copy;
use super::plan::payload;

/// A record as it was read: offset, producer and sequence, payload.
pub(super) type Record = (u64, Option<(u64, u64)>, Vec<u8>);

pub(super) fn options() -> Options {
    Options::new().segment_bytes(64 << 10).segments_ahead(1).snapshot_bytes(64 << 10).producers_max(64)
}

/// Makes the two logs.
pub(super) fn build(place: &Path) -> Result<[PathBuf; 2], String> {
    let (closed, killed) = (place.join("closed"), place.join("killed"));
    // SAFETY: the directory is ours alone.
    let log = unsafe { Log::open(&closed, &options()) }.map_err(|error| error.to_string())?;
    let orders = log.partition("orders").map_err(|error| error.to_string())?;
    fill(&log, &orders).map_err(|error| format!("filling the small log: {error}"))?;
    // Until upkeep has come to rest, files are renamed and made meanwhile. What there is then is what a kill would leave.
    thread::sleep(Duration::from_millis(300));
    copy(&closed, &killed).map_err(|error| format!("copying the small log: {error}"))?;
    drop(orders);
    log.close().map_err(|error| error.to_string())?;
    Ok([closed, killed])
}

fn fill(log: &Log, orders: &Partition) -> Result<(), Box<dyn std::error::Error>> {
    let mut plain = orders.appender()?;
    let registration = log.register("by id")?;
    // Registered twice: a fence frame is among the others.
    let mut sequence = 0;
    for round in 0..2 {
        let mut session = log.session("session")?;
        for _ in 0..if round == 0 { 250 } else { 150 } {
            plain.append(&payload(2, sequence))?;
            let stored = session.append_batch(orders, 2 * sequence, &[&payload(0, sequence), b""])?.is_stored();
            let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence };
            if !(plain.append_by_id(stamp, &payload(1, sequence))?.is_stored() && stored) {
                return Err("a record of the small log was refused".into());
            }
            if sequence % 40 == 0 {
                // Given up: a void frame, whose offset stays empty.
                let _ = plain.append_with(50, |_, _| Err(()));
                orders.flush()?;
            }
            sequence += 1;
        }
    }
    Ok(())
}

/// All records of a log by partition.
pub(super) fn read(log: &Log) -> Result<BTreeMap<String, Vec<Record>>, String> {
    let mut all = BTreeMap::new();
    for name in log.partition_names() {
        let partition = log.partition(&name).map_err(|error| error.to_string())?;
        let mut reader = partition.read_from(partition.start_offset()).map_err(|error| error.to_string())?;
        let mut records = Vec::new();
        while let Some(record) = reader.next().map_err(|error| error.to_string())? {
            let producer = record.producer().map(|stamp| (stamp.producer.get(), stamp.sequence));
            records.push((record.offset(), producer, record.payload().to_vec()));
        }
        all.insert(name, records);
    }
    Ok(all)
}
