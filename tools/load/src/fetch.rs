//! Scans from memory: what a record costs a reader, by how often checksums are looked at.

use std::time::Instant;

use oncelog::{Isolation, Partition, Verify};

use crate::closed::{Repeats, Site, block};
use crate::error::LoadError;
use crate::result::{Figure, Kind};
use crate::spread::Spread;
use crate::stage::{Extent, Stage};
use crate::timed::timed;
use crate::verify::VerifyError;
use crate::workload::Workload;

/// How often a scan looks at checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// For every frame, each time.
    Always,
    /// For every frame, the first time a segment is read.
    Once,
    /// Not at all.
    Never,
}

impl Checks {
    /// The word in results.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Once => "once",
            Self::Never => "never",
        }
    }

    fn verify(self) -> Verify {
        match self {
            Self::Always => Verify::Always,
            Self::Once => Verify::OncePerSegment,
            Self::Never => Verify::Never,
        }
    }
}

/// What is compared: each kind of check, and what looking out for transactions takes.
const SCANS: &[(Checks, Isolation)] = &[
    (Checks::Always, Isolation::ReadUncommitted),
    (Checks::Once, Isolation::ReadUncommitted),
    (Checks::Once, Isolation::ReadCommitted),
    (Checks::Never, Isolation::ReadUncommitted),
];

fn word(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadUncommitted => "read-uncommitted",
        Isolation::ReadCommitted => "read-committed",
    }
}

/// Scans what a workload has appended, in each way by turns; a figure for each.
pub(crate) fn measure(
    workload: &Workload,
    extent: Extent,
    repeats: Repeats,
    site: Site<'_>,
) -> Result<Vec<Figure>, LoadError> {
    let ring = workload.payloads.ring(workload.batch);
    let scratch = tempfile::tempdir_in(site.scratch).map_err(LoadError::io("a scratch directory"))?;
    let mut stage = match site.kept {
        Some(log) => Stage::within(log, &format!("fetch-{}", workload.label()), workload, &ring, extent, site.seed)?,
        None => Stage::open(&scratch.path().join("own"), workload, &ring, extent, site.seed)?,
    };
    stage.prepare()?;
    block(&mut stage, workload, extent, site.seed)?;
    // Also warms: every page and every index entry has been read once before the clock starts.
    stage.verify()?;
    let readers = workload.readers.max(1);
    let mut seconds = vec![Vec::new(); SCANS.len()];
    let mut scanned = Scanned::default();
    let start = Instant::now();
    let mut done = 0;
    while done < repeats.least || (done < repeats.most && start.elapsed().as_secs_f64() < repeats.seconds) {
        for (which, scan) in SCANS.iter().enumerate() {
            let begin = Instant::now();
            let found = scan_together(&stage.partitions, *scan, readers)?;
            seconds[which].push(begin.elapsed().as_secs_f64());
            if done > 0 && found != scanned {
                return Err(VerifyError::Count { partition: 0, expected: scanned.records, found: found.records }.into());
            }
            scanned = found;
        }
        done += 1;
    }
    let figure = |((checks, isolation), seconds): (&(Checks, Isolation), &Vec<f64>)| {
        let mut figure = Figure::empty(Kind::Fetch);
        let per_record = || seconds.iter().map(|seconds| seconds * 1e9 / scanned.records as f64);
        figure.idempotence = Some(workload.idempotence);
        figure.payload_bytes = Some(workload.payloads.mean_bytes());
        figure.batch = Some(workload.batch);
        figure.threads = Some(readers);
        figure.payload_mix = workload.payloads.mix().map(str::to_owned);
        figure.partitions = Some(workload.partitions);
        figure.window = Some(workload.window);
        figure.verify = Some(checks.word());
        figure.isolation = Some(word(*isolation));
        figure.repeats = Some(seconds.len());
        figure.ns_per_record = Spread::of(per_record());
        figure.bytes_per_second =
            Spread::of(seconds.iter().map(|seconds| (scanned.bytes * readers as u64) as f64 / seconds));
        figure.bytes = Some(scanned.bytes);
        figure.segment_bytes = Some(extent.segment_bytes);
        figure.verified = true;
        figure
    };
    Ok(SCANS.iter().zip(&seconds).map(figure).collect())
}

/// What a scan went over. The sum of first bytes makes sure that each payload was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Scanned {
    records: u64,
    bytes: u64,
    first_bytes: u64,
}

/// Every reader on a thread of its own reads all of it; what each of them found.
fn scan_together(partitions: &[Partition], how: (Checks, Isolation), readers: usize) -> Result<Scanned, LoadError> {
    if readers == 1 {
        return scan(partitions, how);
    }
    let mut lanes = vec![(); readers];
    let (_, found) = timed(&mut lanes, |()| scan(partitions, how))?;
    let first = found[0];
    match found.iter().find(|other| **other != first) {
        None => Ok(first),
        Some(other) => Err(VerifyError::Count { partition: 0, expected: first.records, found: other.records }.into()),
    }
}

fn scan(partitions: &[Partition], (checks, isolation): (Checks, Isolation)) -> Result<Scanned, LoadError> {
    let mut scanned = Scanned::default();
    for partition in partitions {
        let mut reader = partition.read_from(0)?;
        reader.set_verify(checks.verify());
        reader.set_isolation(isolation);
        while let Some(record) = reader.next()? {
            let payload = record.payload();
            scanned.records += 1;
            scanned.bytes += payload.len() as u64;
            scanned.first_bytes += u64::from(payload.first().copied().unwrap_or(0));
        }
    }
    Ok(scanned)
}
