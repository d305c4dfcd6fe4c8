//! Segments and snapshots of each partition.

use oncelog::{ReadOnlyLog, ReadOnlyPartition, SegmentInfo, SegmentState, SnapshotInfo};
use serde::Serialize;

use super::{known, print, print_json};
use crate::failure::Failure;
use crate::moment::{moment, moment_ms};
use crate::verify::wrapped;

#[derive(Serialize)]
struct Partition<'a> {
    name: &'a str,
    segments: Vec<Segment>,
    snapshots: Vec<Snapshot>,
}

#[derive(Serialize)]
struct Segment {
    number: u64,
    file: String,
    state: &'static str,
    bytes: u64,
    base_position: Option<u64>,
    end_position: Option<u64>,
    base_offset: Option<u64>,
    records: Option<u64>,
    prepared: Option<String>,
    latest: Option<String>,
    durable_position: Option<u64>,
    fault: Option<String>,
}

#[derive(Serialize)]
struct Snapshot {
    segment: u64,
    file: String,
    end_position: Option<u64>,
    end_offset: Option<u64>,
    producers: Option<u64>,
    registrations: Option<u64>,
    fault: Option<String>,
}

const fn word(state: SegmentState) -> &'static str {
    match state {
        SegmentState::Ready => "ready",
        SegmentState::Open => "open",
        SegmentState::Full => "full",
        SegmentState::Closed => "closed",
        SegmentState::Recovered => "recovered",
        SegmentState::Cut => "cut",
        SegmentState::Unusable => "unusable",
        _ => "other",
    }
}

impl From<SegmentInfo> for Segment {
    fn from(info: SegmentInfo) -> Self {
        Self {
            number: info.number,
            file: info.path.display().to_string(),
            state: word(info.state),
            bytes: info.bytes,
            base_position: info.base_position,
            end_position: info.end_position,
            base_offset: info.base_offset,
            records: info.records,
            prepared: info.prepared_ms.map(moment_ms),
            latest: info.latest_ms.map(moment_ms),
            durable_position: info.durable_position,
            fault: info.fault,
        }
    }
}

impl From<SnapshotInfo> for Snapshot {
    fn from(info: SnapshotInfo) -> Self {
        let content = info.content.as_ref().ok();
        Self {
            segment: info.segment,
            file: info.path.display().to_string(),
            end_position: content.map(|content| content.end_position),
            end_offset: content.map(|content| content.end_offset),
            producers: content.map(|content| content.producers),
            registrations: content.map(|content| content.registrations),
            fault: info.content.err(),
        }
    }
}

pub(super) fn tell(_log: &ReadOnlyLog, partitions: &[&ReadOnlyPartition], json: bool) -> Result<(), Failure> {
    if json {
        let told = partitions.iter().map(|partition| Partition {
            name: partition.name(),
            segments: partition.segments().into_iter().map(Segment::from).collect(),
            snapshots: partition.snapshots().into_iter().map(Snapshot::from).collect(),
        });
        return print_json(&told.collect::<Vec<_>>());
    }
    for partition in partitions {
        print(&format!("{}:", partition.name()));
        print(&format!(
            "{:>8} {:<9} {:>8} {:>12} {:>10} {:>13} {:>13}  {:<19}",
            "segment", "state", "MB", "first offset", "records", "position", "frames end", "prepared, UTC"
        ));
        for segment in partition.segments() {
            print(&format!(
                "{:>8} {:<9} {:>8.2} {:>12} {:>10} {:>13} {:>13}  {:<19}",
                segment.number,
                word(segment.state),
                segment.bytes as f64 / 1e6,
                known(segment.base_offset),
                known(segment.records),
                known(segment.base_position),
                known(segment.end_position),
                segment.prepared_ms.map_or_else(|| "-".to_owned(), |ms| moment(ms).trim_end_matches('Z').to_owned())
            ));
            if let Some(fault) = &segment.fault {
                print(&wrapped("         fault:".to_owned(), fault));
            }
        }
        for SnapshotInfo { segment, content, .. } in partition.snapshots() {
            match content {
                Ok(content) => print(&format!(
                    "snapshot behind segment {segment}, position {}, offset {}: {} producers",
                    content.end_position, content.end_offset, content.producers
                )),
                Err(fault) => print(&wrapped(format!("snapshot behind segment {segment}, of no use:"), &fault)),
            }
        }
    }
    Ok(())
}
