//! Cuts as reopening finds them: the START frame of a segment says where the frames before it end, and that what stood behind
//! was cut off. Whatever a crash has left of the rest is done now: the segment that is cut gets its seal, segments that were
//! cut off and snapshots of what was are removed.
//!
//! | found behind a START frame that cuts at a position | done |
//! |---|---|
//! | the segment of that position, not ended there | ended there, if all before is whole |
//! | segments between that position and the START frame | removed |
//! | names between them whose headers never reached the device | removed |
//! | snapshots that stand for anything between | removed |
//! | the segment of that position, broken before it | nothing: it ends the partition, as it would have without the cut |

use super::{
    chain::{Bounds, Cut},
    listing::{Headless, Listing},
    snapshots::read,
};
use crate::{
    error::{OpenError, io_at},
    format::{control::Start, files::Identity},
    segment::{
        file::Segment,
        scan::{Found, find},
        tail::{FIRST_UNIT, Place},
    },
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// START frames that say more than where a segment begins, by the segment's number.
pub(super) type Starts = BTreeMap<u64, Start>;

/// Whether a segment follows what ends at a position, whatever was between: a cut says so.
pub(super) fn cuts_at(starts: &Starts, number: u64, position: u64) -> bool {
    starts.get(&number).is_some_and(|start| start.cut && start.previous_end == position)
}

/// Whether a name without a header is that of a segment that was cut off: behind it a segment follows that cuts, and where it
/// cuts is in the last one before it, from the one of these positions to the other, or before all that there is.
pub(crate) fn is_cut_off(before: Option<(u64, u64)>, cut: Option<u64>) -> bool {
    cut.is_some_and(|cut| before.is_none_or(|(from, to)| from < cut && cut <= to))
}

/// Takes the names without a header out that were cut off. What was cut off for good is left in `segments` no more.
pub(super) fn take_cut_off(headless: &mut Headless, segments: &[Segment], starts: &Starts) -> Vec<PathBuf> {
    let is_cut = |number: u64| {
        let behind = segments.partition_point(|segment| segment.number() < number);
        let before = behind.checked_sub(1).and_then(|at| segments.get(at));
        let start = segments.get(behind).and_then(|next| starts.get(&next.number()));
        let cut = start.filter(|start| start.cut).map(|start| start.previous_end);
        is_cut_off(before.map(|before| (before.shape().base_position, before.end_of_file())), cut)
    };
    headless.extract_if(.., |(number, ..)| is_cut(*number)).map(|(_, path, _)| path).collect()
}

/// What the cuts among these segments take away, and where: by index, the last one first.
struct Plan {
    cuts: Vec<Cut>,
    removed: Vec<usize>,
    /// The segment that is cut, and the position.
    ended: Vec<(usize, u64)>,
}

fn plan(segments: &[Segment], starts: &Starts) -> Plan {
    let mut plan = Plan { cuts: Vec::new(), removed: Vec::new(), ended: Vec::new() };
    let mut floor = u64::MAX;
    for (index, segment) in segments.iter().enumerate().rev() {
        let base = segment.shape().base_position;
        if base >= floor {
            plan.removed.push(index);
            continue;
        }
        let limit = segment.shape().position(segment.limit());
        if floor < limit {
            plan.ended.push((index, floor));
        }
        if let Some(start) = starts.get(&segment.number()).filter(|start| start.cut) {
            floor = floor.min(start.previous_end);
            let Start { base_offset: offset, previous_end: position, .. } = *start;
            plan.cuts.push(Cut { number: segment.number(), position, until: base, offset });
        }
    }
    plan.cuts.reverse();
    plan
}

/// The frames of a segment up to a position, if they are whole: where they end, and the time of the latest record.
fn frames_up_to(segment: &Segment, position: u64) -> io::Result<Option<(Place, u64)>> {
    let (window, shape) = (segment.window()?, *segment.shape());
    let mut end = Place { records: 0, units: FIRST_UNIT };
    let mut latest_ms = shape.prepared_ms;
    while shape.position(end.units) < position {
        match find(&window, &shape, end.units) {
            Found::Frame(frame)
                if u64::from(frame.stored.offset_delta()) == end.records && segment.verifies(&window, &frame) =>
            {
                end.units += frame.units;
                end.records += u64::from(frame.stored.records());
                if frame.stored.records() > 0 {
                    latest_ms = latest_ms.max(shape.prepared_ms + u64::from(frame.stored.time_delta()));
                }
            }
            Found::Padding { units } => end.units += units,
            Found::Frame(_) | Found::Nothing | Found::Invalid => return Ok(None),
        }
    }
    Ok((shape.position(end.units) == position).then_some((end, latest_ms)))
}

/// Finishes what the START frames say. `base_offset` is asked for an unsealed segment's.
pub(super) fn finish_cuts(
    directory: &Path,
    listing: &mut Listing,
    segments: &mut Vec<Segment>,
    starts: &Starts,
    identity: &Identity,
    partition: u32,
    base_offset: impl Fn(&Segment) -> Result<Option<u64>, OpenError>,
) -> Result<Bounds, OpenError> {
    let Plan { cuts, removed, ended } = plan(segments, starts);
    let mut numbers = segments.iter().rev().map(Segment::number);
    let origin = numbers.find(|number| starts.get(number).is_some_and(|start| start.origin)).unwrap_or(0);
    let bounds = Bounds { origin, start: 0, cuts, lowest_cut: None };
    let stale = stale_snapshots(listing, &bounds.cuts, segments, identity, partition);
    if removed.is_empty() && ended.is_empty() && stale.is_empty() {
        return Ok(bounds);
    }
    // What says it must be on the device before anything is done about it.
    let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all()).map_err(io_at("sync", path));
    for segment in segments.iter().filter(|segment| bounds.cuts.iter().any(|cut| cut.number == segment.number())) {
        sync(&segment.path())?;
    }
    sync(directory)?;
    let mut whole = true;
    for (index, position) in ended {
        let Some(segment) = segments.get_mut(index) else { continue };
        sync(&segment.path())?;
        let found = frames_up_to(segment, position).map_err(io_at("map", segment.path()))?;
        let Some(((end, latest_ms), base_offset)) = found.zip(base_offset(segment)?) else {
            whole = false;
            continue;
        };
        let cut = segment.cut(end, base_offset, latest_ms, 0);
        cut.store_seal().map_err(io_at("seal", cut.path()))?;
        *segment = cut;
    }
    if !whole {
        // What is broken before a cut ends the partition there, with all behind it.
        return Ok(bounds);
    }
    for index in removed {
        let path = segments.remove(index).path();
        fs::remove_file(&path).map_err(io_at("remove", &path))?;
    }
    for number in stale {
        let at = listing.snapshots.iter().position(|(snapshot, _)| *snapshot == number);
        if let Some((_, path)) = at.map(|at| listing.snapshots.remove(at)) {
            fs::remove_file(&path).map_err(io_at("remove", &path))?;
        }
    }
    sync(directory)?;
    Ok(bounds)
}

/// Numbers of snapshots that stand for what was cut off.
fn stale_snapshots(
    listing: &Listing,
    cuts: &[Cut],
    segments: &[Segment],
    identity: &Identity,
    partition: u32,
) -> Vec<u64> {
    let is_stale = |number: u64, path: &Path| {
        cuts.iter().filter(|cut| number < cut.number).any(|cut| {
            // The segment that was cut: what stands at the end of an earlier one is from before.
            let kept = segments.iter().rev().find(|segment| segment.shape().base_position < cut.position);
            if kept.is_some_and(|kept| number < kept.number()) {
                return false;
            }
            read(path, identity.log, partition).map_or(true, |snapshot| snapshot.header.end_position > cut.position)
        })
    };
    listing.snapshots.iter().filter(|(number, path)| is_stale(*number, path)).map(|(number, _)| *number).collect()
}
