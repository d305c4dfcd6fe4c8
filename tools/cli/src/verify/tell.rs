//! What was found, for people and for scripts.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use oncelog::{Audit, Finding, PartitionAudit, Salvage, Verdict};
use serde::Serialize;

use super::salvaged::{Salvaged, print};
use crate::failure::Failure;

/// Columns that a table may take.
const COLUMNS: usize = 100;

#[derive(Serialize)]
struct Told<'a> {
    directory: String,
    verdict: &'static str,
    in_use: bool,
    seconds: f64,
    bytes: u64,
    /// Of the same files, not looked at.
    read_bytes_per_second: Option<f64>,
    /// Of that.
    share_of_read_speed: Option<f64>,
    partitions: Vec<Partition<'a>>,
    findings: Vec<Found<'a>>,
    findings_more: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    salvaged: Option<Salvaged<'a>>,
}

#[derive(Serialize)]
struct Partition<'a> {
    name: &'a str,
    verdict: &'static str,
    segments: u64,
    bytes: u64,
    frames: u64,
    records: u64,
    producers: u64,
    snapshots: u64,
    start_offset: u64,
    end_offset: u64,
}

/// How long it took, and how fast the files can be read.
#[derive(Clone, Copy)]
pub(super) struct Time {
    pub(super) took: Duration,
    /// Bytes a second.
    pub(super) read_speed: Option<f64>,
}

/// A finding as others read it.
#[derive(Serialize)]
pub(super) struct Found<'a> {
    verdict: &'static str,
    partition: Option<&'a str>,
    file: String,
    byte: Option<u64>,
    position: Option<u64>,
    offset: Option<u64>,
    what: &'a str,
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Clean => "clean",
        Verdict::TornTail => "torn-tail",
        Verdict::Corrupt => "corrupt",
    }
}

impl<'a> From<&'a PartitionAudit> for Partition<'a> {
    fn from(audit: &'a PartitionAudit) -> Self {
        Self {
            name: &audit.name,
            verdict: word(audit.verdict),
            segments: audit.segments,
            bytes: audit.bytes,
            frames: audit.frames,
            records: audit.records,
            producers: audit.producers,
            snapshots: audit.snapshots,
            start_offset: audit.start_offset,
            end_offset: audit.end_offset,
        }
    }
}

impl<'a> From<&'a Finding> for Found<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            verdict: word(finding.verdict),
            partition: finding.partition.as_deref(),
            file: finding.path.display().to_string(),
            byte: finding.at,
            position: finding.position,
            offset: finding.offset,
            what: &finding.what,
        }
    }
}

#[allow(clippy::print_stdout, reason = "what was found is what was asked for")]
pub(super) fn audit(
    directory: &Path,
    audit: &Audit,
    salvage: Option<(&Path, &Salvage)>,
    time: Time,
    json: bool,
) -> Result<(), Failure> {
    let bytes: u64 = audit.partitions.iter().map(|partition| partition.bytes).sum();
    let seconds = time.took.as_secs_f64();
    let speed = bytes as f64 / seconds.max(1e-9);
    let share = time.read_speed.map(|read| speed / read);
    if json {
        let told = Told {
            directory: directory.display().to_string(),
            verdict: word(audit.verdict),
            in_use: audit.in_use,
            seconds: time.took.as_secs_f64(),
            bytes,
            read_bytes_per_second: time.read_speed,
            share_of_read_speed: share,
            partitions: audit.partitions.iter().map(Partition::from).collect(),
            findings: audit.findings.iter().map(Found::from).collect(),
            findings_more: audit.findings_more,
            salvaged: salvage.map(|(out, salvage)| Salvaged::of(out, salvage)),
        };
        println!("{}", serde_json::to_string_pretty(&told).map_err(Failure::failed("writing JSON"))?);
        return Ok(());
    }
    println!(
        "{:<24} {:>8} {:>10} {:>11} {:>9} {:>9} {:>10} {:>11}",
        "partition", "segments", "MB read", "records", "producers", "snapshots", "first", "next offset"
    );
    for partition in &audit.partitions {
        println!(
            "{:<24} {:>8} {:>10.1} {:>11} {:>9} {:>9} {:>10} {:>11}",
            shortened(&partition.name, 24),
            partition.segments,
            partition.bytes as f64 / 1e6,
            partition.records,
            partition.producers,
            partition.snapshots,
            partition.start_offset,
            partition.end_offset
        );
    }
    for finding in &audit.findings {
        println!("{}", paragraph(directory, finding));
    }
    if audit.findings_more > 0 {
        println!("and {} findings more", audit.findings_more);
    }
    let in_use = if audit.in_use { ", in use by another process" } else { "" };
    let of_reading = match (time.read_speed, share) {
        (Some(read), Some(share)) => {
            format!("; the files are read at {:.2} GB/s: {:.0} % of that", read / 1e9, share * 100.0)
        }
        _ => String::new(),
    };
    println!(
        "{}{in_use}: {:.1} MB in {seconds:.2} s, {:.2} GB/s{of_reading}",
        audit.verdict,
        bytes as f64 / 1e6,
        speed / 1e9
    );
    if let Some((out, salvage)) = salvage {
        print(directory, out, salvage);
    }
    Ok(())
}

/// A name in at most that many columns.
pub(crate) fn shortened(name: &str, columns: usize) -> String {
    if name.chars().count() <= columns {
        return name.to_owned();
    }
    name.chars().take(columns - 2).chain("..".chars()).collect()
}

/// A finding as lines: where it is, and below it what it is.
fn paragraph(directory: &Path, finding: &Finding) -> String {
    let path = finding.path.strip_prefix(directory).unwrap_or(&finding.path);
    let note = if finding.verdict == Verdict::Clean { "note".to_owned() } else { finding.verdict.to_string() };
    let mut text = format!("{note}: {}", path.display());
    for (name, value) in [("byte", finding.at), ("position", finding.position), ("offset", finding.offset)] {
        if let Some(value) = value {
            let _infallible = write!(text, ", {name} {value}");
        }
    }
    wrapped(text, &finding.what)
}

/// A place, and below it what is there, in lines.
pub(crate) fn wrapped(place: String, what: &str) -> String {
    let mut text = place;
    let mut column = COLUMNS;
    for word in what.split_whitespace() {
        if column + 1 + word.chars().count() > COLUMNS {
            text.push_str("\n   ");
            column = 3;
        }
        text.push(' ');
        text.push_str(word);
        column += 1 + word.chars().count();
    }
    text
}
