//! Everything that a log has stored, replayed and compared with everything else that it has stored. Nothing is changed.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | the audit of a log, and what it finds |
//! | `ahead.rs` | segments read and checked ahead of the pass, by several threads |
//! | `partition.rs` | one pass over a partition: frames, breaks, marks |
//! | `links.rs` | the pass's second part: the chain of segments, seals, how bad what was found is |
//! | `producers.rs` | the pass's other half: producers' chains, snapshots against a replay, tables against each other |
//!
//! | compared | with |
//! |---|---|
//! | a frame's checksum | its bytes, position and segment |
//! | a frame's offset | the frames before it |
//! | a START frame, a segment's header | the end of the segment before, as offset and as position |
//! | a seal | the frames of its segment: end, records, base offset, latest time |
//! | a producer's batch: sequence, epoch, back-link | the producer's batch before it, its fences, its registration |
//! | a snapshot: producers, registrations, end | a replay of the frames up to its position |
//! | the producers that recovery would restore | a replay of everything that is kept |
//! | the partitions that the ledger's commits name | those that there are |
//! | MARK frames, seals and snapshots that say what was durable | where the partition ends |
//! | all of a partition | what recovery would make of it |
//!
//! There is no index on disk to compare: one is built in memory by whoever seeks.

mod ahead;
mod frame;
mod links;
mod partition;
mod producers;

use self::partition::Pass;
use crate::{
    error::OpenError,
    format::registration::RegistrationEntry,
    ids::ProducerId,
    names::Content,
    stored::files::{LogFiles, PartitionFiles},
};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Most findings of one partition that are kept one by one: the rest is counted.
pub(crate) const FINDINGS_MAX: usize = 1_000;

/// How bad a log, or one thing in it, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// All is as it should be, or is of no harm.
    Clean,
    /// The end is torn off, as a crash leaves it: opening drops what is behind the last whole frame, which was never known
    /// to be durable.
    TornTail,
    /// Something is damaged, or contradicts something else.
    Corrupt,
}

/// One difference, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// The partition, if it is in one.
    pub partition: Option<String>,
    /// The file.
    pub path: PathBuf,
    /// Byte in the file.
    pub at: Option<u64>,
    /// Position in the partition.
    pub position: Option<u64>,
    /// The offset that is concerned, or the first of them.
    pub offset: Option<u64>,
    /// What was found, and what should be.
    pub what: String,
}

/// What was replayed of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionAudit {
    /// Its name.
    pub name: String,
    /// Segments that were begun.
    pub segments: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Whole frames.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Producers that have appended to it.
    pub producers: u64,
    /// Snapshots that agree with a replay.
    pub snapshots: u64,
    /// Offset of the first record.
    pub start_offset: u64,
    /// Offset behind the last record that opening would keep.
    pub end_offset: u64,
    /// The worst of its findings.
    pub verdict: Verdict,
}

/// What an audit has found. See [`Audit::run`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// The worst of the findings.
    pub verdict: Verdict,
    /// Whether a process had the log open for writing.
    pub in_use: bool,
    /// Each partition, the log's own one first.
    pub partitions: Vec<PartitionAudit>,
    /// All that was found, by partition, in its order there.
    pub findings: Vec<Finding>,
    /// Findings beyond those: a partition's first 1,000 are listed.
    pub findings_more: u64,
}

/// How far an audit or a salvage has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that are done.
    pub bytes: u64,
    /// Bytes of all files there are to read.
    pub total: u64,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Clean => "clean",
            Self::TornTail => "torn tail",
            Self::Corrupt => "corrupt",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.path.display())?;
        for (name, value) in [("byte", self.at), ("position", self.position), ("offset", self.offset)] {
            if let Some(value) = value {
                write!(formatter, ", {name} {value}")?;
            }
        }
        write!(formatter, ": {}", self.what)
    }
}

impl Audit {
    /// Replays the log in `directory`, or one of its partitions, and compares what it finds with all that the log has
    /// stored about it. Changes nothing, takes no lock of a writer's, and may run beside one.
    ///
    /// `progress` is called now and then.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append(b"order 41")?;
    /// # drop(orders);
    /// # log.close()?;
    /// let audit = oncelog::Audit::run(directory.path(), None, |_progress| {})?;
    /// assert_eq!(audit.verdict, oncelog::Verdict::Clean);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`OpenError::Foreign`] if there is nothing of a log in the directory, or no partition of that name;
    /// [`OpenError::Io`] if the directories cannot be listed. Damage is no error but what is found.
    pub fn run(
        directory: impl AsRef<Path>,
        partition: Option<&str>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Self, OpenError> {
        let log = LogFiles::list(directory.as_ref())?;
        let mut audit = Self {
            verdict: Verdict::Clean,
            in_use: log.is_in_use(),
            partitions: Vec::new(),
            findings: Vec::new(),
            findings_more: 0,
        };
        for fault in &log.faults {
            audit.findings.push(Finding::of_error(fault, None));
        }
        audit.findings.extend(log.strangers.iter().map(|path| Finding::stranger(path, None)));
        // The registrations are there to be compared with. And they are looked at last: beside a live writer, whoever has
        // appended by then was registered before.
        let wanted = |name: &str| partition.is_none_or(|wanted| wanted == name) || name.starts_with("__");
        let partitions: Vec<&(u32, String)> = log.partitions.iter().filter(|(_, name)| wanted(name)).rev().collect();
        if let Some(wanted) = partition.filter(|wanted| !partitions.iter().any(|(_, name)| name == wanted)) {
            return Err(OpenError::Foreign {
                path: directory.as_ref().to_owned(),
                reason: format!("there is no partition {wanted:?} in it"),
            });
        }
        let mut total = 0;
        for (number, name) in &partitions {
            total += PartitionFiles::list(&log, *number, name)?.bytes();
        }
        let mut done = 0;
        let mut passes = Vec::with_capacity(partitions.len());
        for (number, name) in partitions {
            let files = Arc::new(PartitionFiles::list(&log, *number, name)?);
            let mut pass = Pass::new(&files, audit.in_use);
            pass.run(&mut |bytes| progress(Progress { bytes: (done + bytes).min(total), total }));
            done += files.bytes();
            passes.push(pass);
        }
        let registered =
            passes.iter().find(|pass| pass.content() == Content::Registrations).and_then(Pass::registrations);
        for mut pass in passes.into_iter().rev() {
            if let Some(registered) = registered.as_ref().filter(|_| pass.content() == Content::Records) {
                pass.compare_with_registrations(registered);
            }
            // One that is in use was opened. What its ledger names and is not here was made since the directory was listed.
            if pass.content() == Content::Ledger && !audit.in_use && !log.is_in_use() {
                pass.compare_with_partitions(|number| log.partitions.iter().any(|(there, _)| *there == number));
            }
            let (summary, findings, more) = pass.end();
            audit.partitions.push(summary);
            audit.findings.extend(findings);
            audit.findings_more += more;
        }
        audit.verdict = audit.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Clean);
        Ok(audit)
    }
}

/// Registrations by slot, to be compared with the producers that have appended.
pub(crate) type Registrations = BTreeMap<u32, RegistrationEntry>;

impl Finding {
    fn of_error(error: &OpenError, partition: Option<&str>) -> Self {
        let (path, at, what) = match error {
            OpenError::Corrupt { path, at, reason } => (path.clone(), Some(*at), reason.clone()),
            OpenError::Foreign { path, reason } => (path.clone(), None, reason.clone()),
            OpenError::Version { path, found, known } => {
                (path.clone(), Some(8), format!("format version {found}, and this build knows version {known}"))
            }
            OpenError::Io { path, doing, source } => (path.clone(), None, format!("cannot {doing} it: {source}")),
            other => (PathBuf::new(), None, other.to_string()),
        };
        let partition = partition.map(str::to_owned);
        Self { verdict: Verdict::Corrupt, partition, path, at, position: None, offset: None, what }
    }

    fn stranger(path: &Path, partition: Option<&str>) -> Self {
        Self {
            verdict: Verdict::Clean,
            partition: partition.map(str::to_owned),
            path: path.to_owned(),
            at: None,
            position: None,
            offset: None,
            what: "a stranger's file: the log passes it over".to_owned(),
        }
    }
}

/// How a producer is named in a finding.
pub(crate) fn producer(id: ProducerId) -> String {
    format!("producer {id} (id {})", id.get())
}
