//! A directory with anything in it, looked at by everything that looks at one, and opened.
//!
//! Nothing may panic, hang, or take memory by a length that a file only says it has. And all that look must agree: what
//! opening for writing does is what the read-only view says it would do; a log that was opened, appended to and closed
//! opens again with the same records; a salvaged log opens.

use std::path::Path;

use oncelog::{Audit, FetchError, FrameItem, Log, OpenError, Options, ReadOnlyLog, Salvage, Stamp};

/// Records that are read of a partition, and places of damage that are passed: an edited log has no more.
const LOOKED_AT_MAX: usize = 5_000;

/// A record: offset, producer, payload.
type Record = (u64, Option<Stamp>, Vec<u8>);

/// A partition: its name, its end, records in order.
type Of = (String, u64, Vec<Record>);

type Records = Vec<Of>;

fn options() -> Options {
    Options::new().segment_bytes(64 << 10).snapshot_bytes(64 << 10).producers_max(1 << 12)
}

/// Looks at the log in `directory` in every way. An error is a fault of ours. Of a forged one it is not asked
/// that its salvage opens, that all readers make the same of frames that contradict themselves, or that it opens twice:
/// damage leaves no such frames. That nothing panics, hangs or takes memory without bound is asked of all.
pub(crate) fn look(directory: &Path, salvaged: &Path, is_forged: bool) -> Result<(), String> {
    let seen = seen(directory)?;
    let _verdict = Audit::run(directory, None, |_| {});
    if let Ok(salvage) = Salvage::run(directory, salvaged, |_| {}) {
        let is_said = salvage.losses.iter().any(|loss| loss.what.contains("does not open"));
        // SAFETY: the directory is ours alone.
        let opened = unsafe { Log::open(salvaged, &options()) };
        match opened {
            Ok(_) | Err(OpenError::Option { .. }) => {}
            Err(_) if is_forged || is_said => {}
            Err(error) => return Err(format!("a salvaged log does not open: {error}")),
        }
    }
    // SAFETY: as above.
    let opened = unsafe { Log::open(directory, &options()) };
    let log = match (opened, &seen) {
        (Ok(log), Ok(_)) => log,
        // What the options do not allow is nothing that is on disk.
        (Err(OpenError::Option { .. }), _) => return Ok(()),
        (Err(_), Err(_)) => return Ok(()),
        (Ok(_), Err(refused)) => {
            return Err(format!("it opens, and the read-only view says that it would not: {refused}"));
        }
        (Err(refused), Ok(_)) => {
            return Err(format!("it does not open, and the read-only view says that it would: {refused}"));
        }
    };
    let mut before = records(&log)?;
    if let Ok(seen) = &seen
        && !is_forged
        && *seen != before
    {
        return Err(format!("opened, it has other records than the read-only view: {}", difference(&before, seen)));
    }
    append(&log, &mut before)?;
    log.close().map_err(|error| format!("it does not close: {error}"))?;
    // SAFETY: as above.
    let again = unsafe { Log::open(directory, &options()) };
    let log = match again {
        Ok(log) => log,
        // A frame behind the last one, forged for the place that the next one was appended to.
        Err(_) if is_forged => return Ok(()),
        Err(error) => return Err(format!("opened and closed, it does not open again: {error}")),
    };
    let after = records(&log)?;
    let goes_on = |((name, end, records), (other, other_end, others)): (&Of, &Of)| {
        (name, end) == (other, other_end) && others.starts_with(records)
    };
    if !is_forged && (before.len() != after.len() || !before.iter().zip(&after).all(goes_on)) {
        return Err(format!("reopened, it has other records: {}", difference(&before, &after)));
    }
    Ok(())
}

fn difference(one: &Records, other: &Records) -> String {
    for ((name, end, records), (other_name, other_end, others)) in one.iter().zip(other) {
        if (name, end) != (other_name, other_end) {
            return format!("{name} ends at {end}, {other_name} at {other_end}");
        }
        if records.len() != others.len() {
            return format!("{name} has {} records, and {}", records.len(), others.len());
        }
        if let Some((one, other)) = records.iter().zip(others).find(|(one, other)| one != other) {
            return format!("{name} has {one:?}, and {other:?}");
        }
    }
    format!("{} partitions, and {}", one.len(), other.len())
}

/// Everything that the read-only view shows, and the records that opening would keep; or why opening would refuse.
fn seen(directory: &Path) -> Result<Result<Records, String>, String> {
    let log = match ReadOnlyLog::open_damaged(directory) {
        Ok(log) => log,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut refused = log.faults().first().map(|fault| fault.to_string());
    let mut all = Records::new();
    for partition in log.all_partitions() {
        let _shown = (partition.segments(), partition.snapshots(), partition.progress(), partition.durable_offset());
        let mut walk = partition.frames_from(0);
        let mut items = 0;
        while let Ok(Some(item)) = walk.next() {
            if let FrameItem::Frame(frame) = &item {
                let _body = walk.body(frame);
            }
            items += 1;
            if items > 40 * LOOKED_AT_MAX {
                return Err(format!("partition {} has more frames than its files have room for", partition.name()));
            }
        }
        let recovery = partition.recovery();
        if let Some(why) = &recovery.refused {
            refused.get_or_insert_with(|| why.to_string());
        }
        let mut records = Vec::new();
        if let Ok(mut reader) = partition.read_from(partition.start_offset()) {
            let mut whole = true;
            for _ in 0..LOOKED_AT_MAX {
                match reader.next() {
                    Ok(Some(record)) if whole => {
                        records.push((record.offset(), record.producer(), record.payload().to_vec()));
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    // Who reads an open log stops here.
                    Err(_) => {
                        whole = false;
                        if !matches!(reader.skip_damage(), Ok(Some(_))) {
                            break;
                        }
                    }
                }
            }
        }
        if !partition.is_internal() {
            all.push((partition.name().to_owned(), partition.end_offset(), records));
        }
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(match refused {
        Some(refused) => Err(refused),
        None => Ok(all),
    })
}

/// The records of an open log, by partition.
fn records(log: &Log) -> Result<Records, String> {
    let mut all = Records::new();
    for name in log.partition_names() {
        let partition = log.partition(&name).map_err(|error| format!("partition {name}: {error}"))?;
        let mut records = Vec::new();
        let mut reader = partition.read_from(partition.start_offset()).map_err(|error| error.to_string())?;
        for _ in 0..LOOKED_AT_MAX {
            match reader.next() {
                Ok(Some(record)) => records.push((record.offset(), record.producer(), record.payload().to_vec())),
                Ok(None) => break,
                // Damage below a snapshot is found by who reads it.
                Err(FetchError::Corrupt { .. } | FetchError::Trimmed { .. } | FetchError::OutOfRange { .. }) => break,
                Err(error) => return Err(format!("partition {name}: {error}")),
            }
        }
        all.push((name, partition.end_offset(), records));
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(all)
}

/// Appends in each way to each partition. What is refused is refused; what is appended is in `records` then.
fn append(log: &Log, records: &mut Records) -> Result<(), String> {
    for (name, end, records) in records.iter_mut() {
        let partition = log.partition(name).map_err(|error| format!("partition {name}: {error}"))?;
        let whole = records.last().map_or(partition.start_offset(), |(last, ..)| last + 1) == *end;
        if let Ok(mut appender) = partition.appender()
            && let Ok(offset) = appender.append(b"appended")
        {
            if offset != *end {
                return Err(format!("partition {name}: the next record has offset {offset}, and {end} came next"));
            }
            *end += 1;
            if whole {
                records.push((offset, None, b"appended".to_vec()));
            }
        }
        for producer in log.producers() {
            let Ok(mut session) = log.session(&producer.name) else { continue };
            let Ok(last) = session.last(&partition) else { continue };
            let Some(sequence) = last.map_or(Some(0), |last| last.sequence.checked_add(1)) else { continue };
            // A retry of what is stored already, and the next one.
            if let Some(last) = last {
                let _answer = session.append(&partition, last.sequence, b"again");
            }
            if let Ok(answer) = session.append(&partition, sequence, b"by a session")
                && let oncelog::Answer::Appended { first, .. } = answer
            {
                let stamp = Stamp { producer: session.id(), epoch: session.epoch(), sequence };
                *end = first + 1;
                if whole {
                    records.push((first, Some(stamp), b"by a session".to_vec()));
                }
            }
        }
    }
    Ok(())
}
