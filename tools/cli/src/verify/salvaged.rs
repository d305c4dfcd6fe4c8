//! What a salvage has kept and lost, for people and for scripts.

use std::path::Path;

use oncelog::{Loss, Salvage, SalvagedPartition};
use serde::Serialize;

use super::tell::{shortened, wrapped};

/// Losses that are printed; JSON has them all.
const PRINTED_MAX: usize = 100;

#[derive(Serialize)]
pub(super) struct Salvaged<'a> {
    directory: String,
    partitions: Vec<Kept<'a>>,
    losses: Vec<Lost<'a>>,
}

#[derive(Serialize)]
struct Kept<'a> {
    name: &'a str,
    segments: u64,
    frames: u64,
    records: u64,
    records_lost: u64,
    snapshots: u64,
}

#[derive(Serialize)]
struct Lost<'a> {
    partition: Option<&'a str>,
    file: String,
    first_position: Option<u64>,
    end_position: Option<u64>,
    first_offset: Option<u64>,
    end_offset: Option<u64>,
    what: &'a str,
}

impl<'a> From<&'a SalvagedPartition> for Kept<'a> {
    fn from(partition: &'a SalvagedPartition) -> Self {
        Self {
            name: &partition.name,
            segments: partition.segments,
            frames: partition.frames,
            records: partition.records,
            records_lost: partition.records_lost,
            snapshots: partition.snapshots,
        }
    }
}

impl<'a> From<&'a Loss> for Lost<'a> {
    fn from(loss: &'a Loss) -> Self {
        Self {
            partition: loss.partition.as_deref(),
            file: loss.path.display().to_string(),
            first_position: loss.positions.map(|(first, _)| first),
            end_position: loss.positions.map(|(_, end)| end),
            first_offset: loss.offsets.map(|(first, _)| first),
            end_offset: loss.offsets.map(|(_, end)| end),
            what: &loss.what,
        }
    }
}

impl<'a> Salvaged<'a> {
    pub(super) fn of(out: &Path, salvage: &'a Salvage) -> Self {
        Self {
            directory: out.display().to_string(),
            partitions: salvage.partitions.iter().map(Kept::from).collect(),
            losses: salvage.losses.iter().map(Lost::from).collect(),
        }
    }
}

#[allow(clippy::print_stdout, reason = "what was salvaged is what was asked for")]
pub(super) fn print(directory: &Path, out: &Path, salvage: &Salvage) {
    println!(
        "\n{:<24} {:>8} {:>11} {:>11} {:>11} {:>9}",
        "salvaged", "segments", "frames", "records", "lost", "snapshots"
    );
    for partition in &salvage.partitions {
        println!(
            "{:<24} {:>8} {:>11} {:>11} {:>11} {:>9}",
            shortened(&partition.name, 24),
            partition.segments,
            partition.frames,
            partition.records,
            partition.records_lost,
            partition.snapshots
        );
    }
    for loss in salvage.losses.iter().take(PRINTED_MAX) {
        let path = loss.path.strip_prefix(directory).unwrap_or(&loss.path);
        let mut place = format!("lost: {}", path.display());
        if let Some((first, end)) = loss.offsets {
            place.push_str(&format!(", offsets {first} to {end}"));
        }
        println!("{}", wrapped(place, &loss.what));
    }
    if let Some(more @ 1..) = salvage.losses.len().checked_sub(PRINTED_MAX) {
        println!("and {more} losses more");
    }
    println!("salvaged to {}", out.display());
}
