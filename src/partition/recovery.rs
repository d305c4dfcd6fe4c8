//! A partition from what is on disk, after a clean close or after the process was killed.
//!
//! 1. List the files, read the headers, put the segments in order: numbers leave no gap.
//! 2. Finish what was being cut off (`unfinished.rs`). Sync what is to be read: the system's cache may hold what a process that was killed never made durable.
//! 3. Frames since the newest valid snapshot are scanned and verified. The first one that is not whole ends the partition
//!    there. What stands behind it is dropped, also where it is whole, so that every producer's order stays true (the
//!    prefix rule). Unless something behind it, a MARK frame or a seal, says that the partition was durable beyond: then
//!    it was not torn off but damaged, and opening refuses.
//! 4. The end is sealed. Nothing is ever appended to a segment that was open before: its successor has another tag.
//! 5. Producers: the newest valid snapshot, and the frames since.
//!
//! | found | taken for |
//! |---|---|
//! | a sealed segment, frames valid | its frames |
//! | an unsealed segment | its frames up to the first that is not valid |
//! | an invalid frame, and behind it a valid MARK frame or a seal that says that this was durable | corruption: opening refuses and names the place |
//! | an invalid frame, also in a sealed segment, and nothing that says so | the end: what a power cut left |
//! | segments behind one that ended early | dropped |
//! | a `.ready` file without a valid START frame | prepared and not begun: removed |
//! | a `.seg` file without a length, or whose header was never written or is of an earlier use | a name that reached the device before its header: an open frame |
//! | the same, and a later segment was begun | an open frame: the partition ends before it |
//! | the same, and a later segment cuts off what was there | cut off: removed |
//! | a `.ready` file with one, sealed or not | used, and not yet renamed |
//! | segments that end before what a snapshot or a mark says was durable | corruption: the last ones are missing |
//! | a snapshot that is cut, flipped or foreign | ignored: the next older one and a longer replay serve |

use super::{
    chain::{Bounds, Chain, End},
    ledger::LedgerReplay,
    listing::{Listing, begun_segments, list, refuse_gaps, start_of},
    replay::{Replay, control_words},
    snapshots::{SnapshotFile, read},
    unfinished::{Starts, cuts_at, finish_cuts, take_cut_off},
};
use crate::{
    error::{OpenError, io_at},
    format::{SEGMENT_HEADER_BYTES, control::Mark, files::Identity, frame::Kind, segment_header::SealReason},
    names::Content,
    raw::window::Window,
    segment::{
        file::Segment,
        residents::Residents,
        scan::{Found, Frame, find},
        tail::{FIRST_UNIT, Place},
    },
};
use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::Arc,
};

/// What recovery made of a partition's directory.
pub(crate) struct Recovered {
    pub(crate) chain: Arc<Chain>,
    pub(crate) replay: Replay,
    pub(crate) snapshots: Vec<SnapshotFile>,
    /// Where the partition ends: all of it is durable now.
    pub(crate) durable: End,
    /// Position from which on frames were read; below, a snapshot stands for them, and they were synced before it.
    pub(crate) replayed_from: u64,
}

impl Recovered {
    /// A partition that nobody has appended to.
    pub(crate) fn nothing(content: Content, residents: &Arc<Residents>) -> Self {
        let end = End { position: 0, offset: 0 };
        Self {
            chain: Chain::new(Vec::new(), 0, 0, end, Bounds::default(), residents),
            replay: Replay::new(content),
            snapshots: Vec::new(),
            durable: end,
            replayed_from: 0,
        }
    }
}

/// Where a scan of a segment ended.
struct Scanned {
    end: Place,
    latest_ms: u64,
    /// Position up to which a frame says that all was durable.
    durable: u64,
}

/// What a valid MARK frame says.
fn mark_of(segment: &Segment, window: &Window, frame: &Frame) -> Option<u64> {
    let is_mark = frame.stored.kind() == Kind::Mark;
    is_mark.then(|| control_words(segment.body(window, frame)).map(|words| Mark::from_words(words).durable)).flatten()
}

/// Scans the valid frames of a segment into `replay`, up to its seal, or to the first frame that is not whole.
fn scan(segment: &Segment, base_offset: u64, replay: &mut Replay) -> io::Result<Scanned> {
    let window = segment.window()?;
    let shape = *segment.shape();
    let limit = segment.limit();
    let mut end = Place { records: 0, units: FIRST_UNIT };
    let mut latest_ms = shape.prepared_ms;
    let mut durable = 0;
    while end.units < limit {
        match find(&window, &shape, end.units) {
            Found::Frame(frame)
                if u64::from(frame.stored.offset_delta()) == end.records && segment.verifies(&window, &frame) =>
            {
                frame.fetch_on(&window);
                replay.apply(&frame, segment, &window, base_offset);
                durable = durable.max(mark_of(segment, &window, &frame).unwrap_or(0));
                end.units += frame.units;
                end.records += u64::from(frame.stored.records());
                latest_ms = latest_ms.max(shape.prepared_ms + u64::from(frame.stored.time_delta()));
            }
            Found::Padding { units } => end.units += units,
            Found::Frame(_) | Found::Nothing | Found::Invalid => break,
        }
    }
    Ok(Scanned { end, latest_ms, durable })
}

/// The furthest durable position that any valid MARK frame from `unit` on speaks of. Where frames begin is not known
/// behind a broken one, so each place is looked at where a frame might begin.
fn durable_behind(segment: &Segment, unit: usize) -> io::Result<u64> {
    let window = segment.window()?;
    let shape = segment.shape();
    let mut durable = segment.seal().map_or(0, |seal| seal.durable);
    for unit in unit..shape.capacity {
        if let Found::Frame(frame) = find(&window, shape, unit)
            && frame.stored.kind() == Kind::Mark
            && segment.verifies(&window, &frame)
        {
            durable = durable.max(mark_of(segment, &window, &frame).unwrap_or(0));
        }
    }
    Ok(durable)
}

/// Where a replay begins: the segment that a snapshot stands behind, the end there, and the producers as of it.
struct Begin {
    covered: u64,
    end: End,
    replay: Replay,
}

/// The newest snapshot that fits the segments, and all that might help to find old retries.
fn usable_snapshot(
    listing: &Listing,
    segments: &[Segment],
    starts: &Starts,
    identity: &Identity,
    partition: u32,
    content: Content,
) -> (Option<Begin>, Vec<SnapshotFile>, u64) {
    let first = segments.first().map(Segment::number);
    let mut newest = None;
    let mut kept = Vec::new();
    let mut durable = 0;
    for (number, path) in listing.snapshots.iter().rev() {
        let Ok(snapshot) = read(path, identity.log, partition) else { continue };
        let header = snapshot.header;
        // What a snapshot stands for was synced before it: where the segments no longer bear it out, they are damaged.
        durable = durable.max(header.end_position);
        // A snapshot stands at the end of a sealed segment, of one that is here or of the last one that was dropped.
        let stands = header.segment == *number
            && match (first, segments.iter().find(|segment| segment.number() == *number)) {
                (_, Some(segment)) => segment
                    .seal()
                    .is_some_and(|seal| segment.shape().position(seal.end_units as usize) == header.end_position),
                (Some(first), None) => {
                    newest.is_some() || header.segment + 1 == first || cuts_at(starts, first, header.end_position)
                }
                (None, None) => true,
            };
        if !stands {
            continue;
        }
        let file = SnapshotFile { path: path.clone(), segment: header.segment, end_position: header.end_position };
        kept.push(file);
        if newest.is_none() {
            let end = End { position: header.end_position, offset: header.end_offset };
            newest = Some(Begin { covered: *number, end, replay: Replay::from_snapshot(&snapshot, content) });
        }
    }
    kept.reverse();
    (newest, kept, durable)
}

/// Up to where a mark may say that all was durable, if nothing is left behind these segments: up to the place of the next
/// one's first frame, since nothing is before it.
fn reach(kept: &[Arc<Segment>], end: End) -> u64 {
    let behind = kept.last().map_or(end.position.next_multiple_of(4096), |segment| segment.end_of_file());
    behind + SEGMENT_HEADER_BYTES as u64
}

/// Removes segments, the last one first, so that a gap is never left between two.
fn remove_all(segments: &mut impl DoubleEndedIterator<Item = Segment>) -> Result<(), OpenError> {
    for segment in segments.rev() {
        let path = segment.path();
        fs::remove_file(&path).map_err(io_at("remove", &path))?;
    }
    Ok(())
}

/// Recovers the partition in `directory`.
pub(crate) fn recover(
    directory: &Path,
    identity: &Identity,
    partition: u32,
    content: Content,
    residents: &Arc<Residents>,
) -> Result<Recovered, OpenError> {
    let mut listing = list(directory)?;
    let (mut segments, starts, mut headless) = begun_segments(&listing, identity, partition)?;
    let base_offset = |segment: &Segment| match segment.seal() {
        Some(seal) => Ok(Some(seal.base_offset)),
        None => Ok(start_of(segment)?.map(|start| start.base_offset)),
    };
    let mut bounds = finish_cuts(directory, &mut listing, &mut segments, &starts, identity, partition, base_offset)?;
    let cut_off = take_cut_off(&mut headless, &segments, &starts);
    refuse_gaps(&segments, &starts, &headless)?;
    let (newest, snapshots, witnessed) = usable_snapshot(&listing, &segments, &starts, identity, partition, content);
    let begin = newest.unwrap_or_else(|| Begin {
        covered: 0,
        end: End { position: 0, offset: 0 },
        replay: Replay::new(content),
    });
    let Begin { covered, mut end, mut replay } = begin;
    let replayed_from = end.position;
    // A name without a header where the first segment should be.
    let torn_first = headless.iter().any(|(number, ..)| *number == covered + 1);
    if let Some(first) = segments.first()
        && first.number() > covered + 1
        && !torn_first
        && !cuts_at(&starts, first.number(), end.position)
    {
        return Err(OpenError::Corrupt {
            path: first.path(),
            at: 0,
            reason: format!("segments before {} are gone, and no valid snapshot stands for them", first.number()),
        });
    }

    sync_before_reading(directory, &segments, covered)?;

    let mut kept: Vec<Arc<Segment>> = Vec::with_capacity(segments.len());
    let mut rest = segments.drain(..);
    let mut before: Option<(u64, End)> = None;
    // Whoever cuts makes durable first what he keeps.
    let mut durable = bounds.cuts.iter().map(|cut| cut.position).fold(end.position.max(witnessed), u64::max);
    while let Some(segment) = rest.next() {
        let path = segment.path();
        let follows = match before {
            Some((number, end)) => number + 1 == segment.number() || cuts_at(&starts, segment.number(), end.position),
            None => !torn_first || segment.number() <= covered + 1,
        };
        if !follows {
            // Behind a name without a header, where the partition ends.
            if let Err(damage) = refuse_damage(&segment, FIRST_UNIT, rest.as_slice(), reach(&kept, end), durable) {
                let at = headless.iter().position(|(number, ..)| number + 1 == segment.number());
                return Err(at.map_or(damage, |at| headless.swap_remove(at).2));
            }
            remove_all(&mut rest)?;
            fs::remove_file(&path).map_err(io_at("remove", &path))?;
            break;
        }
        let base_offset = match segment.seal() {
            Some(seal) => seal.base_offset,
            None => match start_of(&segment)? {
                Some(start) => start.base_offset,
                None => {
                    // Begun by no frame that counts: like one that stands ready.
                    let position = segment.shape().position(FIRST_UNIT);
                    refuse_damage(&segment, FIRST_UNIT, rest.as_slice(), position, durable)?;
                    remove_all(&mut rest)?;
                    fs::remove_file(&path).map_err(io_at("remove", &path))?;
                    break;
                }
            },
        };
        let begins_anew = starts.get(&segment.number()).is_some_and(|start| start.origin);
        if let Some((_, before)) = before.filter(|(_, before)| before.offset != base_offset && !begins_anew) {
            return Err(OpenError::Corrupt {
                path,
                at: SEGMENT_HEADER_BYTES as u64,
                reason: format!(
                    "it begins at offset {base_offset}, and the segment before it ends at {}",
                    before.offset
                ),
            });
        }
        let is_covered = segment.number() <= covered;
        if let Some(seal) = segment.seal().filter(|_| is_covered) {
            let place = Place { records: seal.records, units: seal.end_units as usize };
            end = End::of(&segment, base_offset, place);
            before = Some((segment.number(), end));
            kept.push(Arc::new(segment));
            continue;
        }
        // What the snapshot stands for already must not be applied to it once more, whatever became of the seal.
        let mut covered_already = Replay::new(content);
        let replay = if is_covered { &mut covered_already } else { &mut replay };
        let scanned = scan(&segment, base_offset, replay).map_err(io_at("map", &path))?;
        durable = durable.max(scanned.durable).max(segment.seal().map_or(0, |seal| seal.durable));
        let whole = match segment.seal() {
            Some(seal) => scanned.end.units as u64 >= seal.end_units && scanned.end.records == seal.records,
            None => scanned.end.units == segment.shape().capacity,
        };
        let place = scanned.end;
        if !whole {
            let position = segment.shape().position(place.units);
            refuse_damage(&segment, place.units, rest.as_slice(), position, durable)?;
            event!(WARN, file = %path.display(), at = place.units * 8, "the end of a partition was torn, and is cut here");
            // Behind an early end nothing counts. Gone before the end is sealed: an opening that is itself cut off must
            // not leave an end with something behind it, nor may a power cut.
            remove_all(&mut rest)?;
            File::open(directory).and_then(|names| names.sync_all()).map_err(io_at("sync", directory))?;
        }
        end = End::of(&segment, base_offset, place);
        before = Some((segment.number(), end));
        kept.push(Arc::new(match (whole, segment.seal()) {
            (true, Some(_)) => segment,
            (whole, _) => {
                let segment = segment.reopened();
                let reason = if whole { SealReason::Full } else { SealReason::Recovered };
                let sealed = segment.write_seal(place, base_offset, scanned.latest_ms, end.position, reason);
                sealed.map_err(io_at("seal", &path))?;
                segment
            }
        }));
    }
    drop(rest);
    for path in cut_off.iter().rev() {
        fs::remove_file(path).map_err(io_at("remove", path))?;
    }
    let durable_end = kept.last().map_or(covered, |segment| segment.number());
    let reached = reach(&kept, end);
    for (number, path, refused) in headless.into_iter().rev() {
        // Behind the end it is not missed. Anywhere else a segment is, also below the first one that is kept: what
        // retention drops goes whole, name and header.
        let is_missed = number <= durable_end;
        if is_missed || durable > reached {
            return Err(refused);
        }
        event!(WARN, file = %path.display(), "a file that never got a header is dropped");
        fs::remove_file(&path).map_err(io_at("remove", &path))?;
    }
    if durable > reached {
        return Err(OpenError::Corrupt {
            path: directory.to_owned(),
            at: 0,
            reason: format!(
                "the segments end at position {}, and all up to position {durable} was durable",
                end.position
            ),
        });
    }
    let last_number = kept.last().map_or(covered, |segment| segment.number());
    let next_position = kept.last().map_or(end.position.next_multiple_of(4096), |segment| segment.end_of_file());
    let is_kept = |number: u64| kept.iter().any(|segment| segment.number() == number);
    bounds.cuts.retain(|cut| is_kept(cut.number));
    bounds.origin = if is_kept(bounds.origin) { bounds.origin } else { 0 };
    (bounds.start, bounds.lowest_cut) = (replay.kept().start, replay.kept().cut);
    let chain = Chain::new(kept, last_number, next_position, end, bounds, residents);
    if let Some(position) = replay.ledger().and_then(LedgerReplay::undecodable) {
        return Err(undecodable(&chain, directory, position));
    }
    replay.forget_aborted_before(chain.start_position());
    Ok(Recovered { chain, replay, snapshots, durable: end, replayed_from })
}

/// A record of the ledger that is as it was written, and that this build can't read: what it decides must not be guessed.
fn undecodable(chain: &Chain, directory: &Path, position: u64) -> OpenError {
    let holder = chain.begun().into_iter().find(|segment| position < segment.end_of_file());
    let (path, at) = match holder {
        Some(segment) => (segment.path(), position - segment.shape().base_position),
        None => (directory.to_owned(), position),
    };
    let reason = format!("no entry of the ledger that this build knows, at position {position}");
    OpenError::Corrupt { path, at, reason }
}

/// Waits until everything that is about to be read is on the device: what was only in the system's cache when the process
/// was killed must not be taken for durable.
fn sync_before_reading(directory: &Path, segments: &[Segment], covered: u64) -> Result<(), OpenError> {
    for segment in segments.iter().filter(|segment| segment.number() > covered) {
        let path = segment.path();
        File::open(&path).and_then(|file| file.sync_all()).map_err(io_at("sync", path))?;
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io_at("sync", directory))
}

/// Refuses a break at `position` if anything says that the partition was durable beyond it.
fn refuse_damage(
    segment: &Segment,
    unit: usize,
    behind: &[Segment],
    position: u64,
    durable: u64,
) -> Result<(), OpenError> {
    let path = segment.path();
    let mut durable = durable.max(durable_behind(segment, unit).map_err(io_at("map", &path))?);
    for segment in behind {
        durable = durable.max(durable_behind(segment, FIRST_UNIT).map_err(io_at("map", segment.path()))?);
    }
    if durable > position {
        return Err(OpenError::Corrupt {
            path,
            at: unit as u64 * 8,
            reason: format!(
                "no valid frame here, at position {position}, and all up to position {durable} was durable"
            ),
        });
    }
    Ok(())
}
