//! What was cut off, and is still there: as `partition/unfinished.rs` takes it away, with nothing done.

use super::files::{Named, PartitionFiles, StoredSegment};
use crate::partition::snapshots::read;

/// Takes apart what a partition's directory holds: what was cut off goes to `cut_off`, and the segment that a cut goes through
/// ends there.
pub(super) fn apply(files: &mut PartitionFiles) {
    let begun = |named: &Named| named.refused.is_none() && named.segment.is_some();
    let mut numbers: Vec<(u64, bool)> =
        files.used.iter().filter(|named| begun(named)).map(|n| (n.number, true)).collect();
    let is_begun =
        |named: &&Named| begun(named) && named.segment.as_ref().is_some_and(|segment| segment.start.is_some());
    numbers.extend(files.ready.iter().filter(is_begun).map(|named| (named.number, false)));
    numbers.sort_unstable_by(|one, other| other.cmp(one));
    let mut floor = u64::MAX;
    for (number, used) in numbers {
        let list = if used { &mut files.used } else { &mut files.ready };
        let Some(at) = list.iter().position(|named| named.number == number) else { continue };
        let Some(segment) = list.get_mut(at).and_then(|named| named.segment.as_mut()) else { continue };
        let base = segment.header.base_position;
        if base >= floor {
            files.cut_off.push(list.remove(at));
            continue;
        }
        if floor < segment.shape.position(segment.limit()) {
            segment.cut = Some(((floor - base) / 8) as usize);
            segment.seal = None;
        }
        if let Some(start) = segment.start.filter(|start| start.cut) {
            floor = floor.min(start.previous_end);
            drop_snapshots(files, number, start.previous_end);
        }
    }
}

/// Leaves out the snapshots that stand for what was cut off before that segment.
fn drop_snapshots(files: &mut PartitionFiles, number: u64, position: u64) {
    let kept = files.used.iter().filter_map(|named| named.segment.as_ref());
    let kept = kept.filter(|segment| segment.header.base_position < position).map(|segment| segment.number).max();
    let (log, partition) = (files.identity.log, files.number);
    files.snapshots.retain(|(snapshot, path)| {
        let is_between = *snapshot < number && kept.is_none_or(|kept| *snapshot >= kept);
        !is_between || read(path, log, partition).is_ok_and(|snapshot| snapshot.header.end_position <= position)
    });
}

impl StoredSegment {
    /// Whether this segment follows what ends at a position, whatever was between: a cut says so.
    pub(crate) fn cuts_at(&self, position: u64) -> bool {
        self.start.is_some_and(|start| start.cut && start.previous_end == position)
    }

    /// Whether the log starts here: no record before counts.
    pub(crate) fn is_origin(&self) -> bool {
        self.start.is_some_and(|start| start.origin)
    }

    /// Whether what stood before this segment was cut off.
    pub(crate) fn is_behind_a_cut(&self) -> bool {
        self.start.is_some_and(|start| start.cut)
    }
}
