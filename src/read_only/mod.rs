//! A log that is only looked at: beside a process that writes it, or damaged. No lock of a writer's is taken, no byte is
//! changed, nothing is mapped (`stored/mod.rs` says why).
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | the log and its partitions, and what opening for writing would make of them |
//! | `decided.rs` | what became of transactions |
//! | `level.rs` | how far it is read: as anything is published, or as what is on the device |
//! | `reader.rs` | the records of a partition in order |

mod decided;
mod level;
mod reader;
mod steps;

pub use level::Level;
pub use reader::{ReadOnlyReader, StoredRecord};

use decided::{Decided, decide, refuse_missing};

use crate::{
    error::OpenError,
    names::Content,
    options::Options,
    registry::{ProducerInfo, Registry},
    stored::{
        files::{LogFiles, PartitionFiles},
        outlook::{Dropped, Outlook, outlook},
    },
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How often a partition is looked at again whose files are renamed and removed meanwhile.
const LOOKS: u32 = 20;

/// A log that was opened to be looked at: what was there at that moment.
///
/// ```
/// use oncelog::{Log, Options, ReadOnlyLog};
///
/// let directory = tempfile::tempdir()?;
/// // SAFETY: nobody else writes to the directory.
/// let log = unsafe { Log::open(directory.path(), &Options::new()) }?;
/// log.partition("orders")?.appender()?.append(b"hello")?;
///
/// // Here beside the writer, but in any process.
/// let seen = ReadOnlyLog::open(directory.path())?;
/// let mut reader = seen.partition("orders").expect("the partition").read_from(0)?;
/// assert_eq!(reader.next()?.expect("the record").payload(), b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ReadOnlyLog {
    directory: PathBuf,
    in_use: bool,
    partitions: Vec<ReadOnlyPartition>,
    producers: Vec<ProducerInfo>,
    faults: Vec<Arc<OpenError>>,
}

/// A partition of a log that was opened to be looked at.
pub struct ReadOnlyPartition {
    pub(crate) files: Arc<PartitionFiles>,
    start_offset: u64,
    /// Index of the segment that the log starts in.
    origin: usize,
    pub(crate) outlook: Outlook,
    decided: Decided,
}

/// What opening a log for writing would make of one of its partitions, as it stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecoveryOutlook {
    /// Why opening would refuse; none if it would not.
    pub refused: Option<Arc<OpenError>>,
    /// Offset of the first record that would be kept.
    pub start_offset: u64,
    /// Offset behind the last record that would be kept; where opening would refuse, of the last one before the reason.
    pub end_offset: u64,
    /// Position behind the last frame that would be kept.
    pub end_position: u64,
    /// Segments that would be kept.
    pub segments: usize,
    /// The snapshot that producers would be restored from.
    pub snapshot: Option<PathBuf>,
    /// Bytes that have to be scanned for this.
    pub scanned_bytes: u64,
    /// What would be dropped, and why.
    pub dropped: Vec<Dropped>,
}

impl Options {
    /// Opens the log in `directory` to be looked at. None of the options matters. See [`ReadOnlyLog::open`].
    ///
    /// # Errors
    /// As for [`ReadOnlyLog::open`].
    pub fn open_read_only(&self, directory: impl AsRef<Path>) -> Result<ReadOnlyLog, OpenError> {
        ReadOnlyLog::open(directory)
    }
}

impl ReadOnlyLog {
    /// Opens the log in `directory` to be looked at: without the lock that a writer holds, and without changing a byte. It
    /// may be in use by another process, or damaged; partitions say what opening for writing would make of them.
    ///
    /// This takes no promise of the caller's: files are read and not mapped, so that what others do to them meanwhile shows
    /// as an error at worst.
    ///
    /// # Errors
    /// [`OpenError::Foreign`], [`OpenError::Version`] and [`OpenError::Corrupt`] if the directory or the files that say what
    /// it is are not a log's, [`OpenError::Io`] for what the system refuses. Damaged segments and snapshots are no error
    /// here.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        let directory = directory.as_ref();
        let mut log = LogFiles::list(directory)?;
        if !log.faults.is_empty() {
            let fault = Arc::into_inner(log.faults.swap_remove(0));
            return Err(fault
                .unwrap_or(OpenError::Foreign { path: directory.to_owned(), reason: "it is not a log".to_owned() }));
        }
        Self::look(log)
    }

    /// The same, also where the directory or the files that say what it is are damaged: [`ReadOnlyLog::faults`] says how.
    ///
    /// # Errors
    /// [`OpenError::Foreign`] if there is nothing of a log in the directory, [`OpenError::Io`] for what the system refuses.
    pub fn open_damaged(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::look(LogFiles::list(directory.as_ref())?)
    }

    fn look(mut log: LogFiles) -> Result<Self, OpenError> {
        // Looked at before and behind: a writer that closes meanwhile was one.
        let was_in_use = log.is_in_use();
        let mut partitions = Vec::with_capacity(log.partitions.len());
        for (number, name) in &log.partitions {
            partitions.push(ReadOnlyPartition::look(&log, *number, name)?);
        }
        let in_use = was_in_use || log.is_in_use();
        let decided = decide(&partitions, in_use);
        for (partition, decided) in partitions.iter_mut().zip(decided) {
            partition.decided = decided;
        }
        // One that is in use was opened. What its ledger names and is not here was made since the directory was listed.
        if let Some((own, refused)) = refuse_missing(&partitions).filter(|_| !in_use)
            && let Some(ledger) = partitions.get_mut(own)
        {
            ledger.outlook.refused.get_or_insert_with(|| Arc::new(refused));
        }
        Ok(Self {
            in_use,
            producers: producers_of(&partitions),
            partitions,
            faults: std::mem::take(&mut log.faults),
            directory: log.directory,
        })
    }

    /// What is wrong with the directory or with the files that say what it is; nothing of a log that
    /// [`ReadOnlyLog::open`] opens.
    #[must_use]
    pub fn faults(&self) -> &[Arc<OpenError>] {
        &self.faults
    }

    /// The log's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether a process had the log open for writing, as far as the system's list of locks tells.
    #[must_use]
    pub const fn is_in_use(&self) -> bool {
        self.in_use
    }

    /// All partitions, in the order of their creation, without those that the log keeps for itself.
    pub fn partitions(&self) -> impl Iterator<Item = &ReadOnlyPartition> {
        self.partitions.iter().filter(|partition| !partition.files.is_internal())
    }

    /// All partitions, with those that the log keeps for itself, which come first.
    #[must_use]
    pub fn all_partitions(&self) -> &[ReadOnlyPartition] {
        &self.partitions
    }

    /// The partition of that name, if there is one.
    #[must_use]
    pub fn partition(&self, name: &str) -> Option<&ReadOnlyPartition> {
        self.partitions().find(|partition| partition.name() == name)
    }

    /// Live producers as opening would restore them, those that have been idle for longest first.
    #[must_use]
    pub fn producers(&self) -> &[ProducerInfo] {
        &self.producers
    }

    /// What opening would make of the partition that the log keeps its producers in.
    #[must_use]
    pub fn producers_outlook(&self) -> Option<RecoveryOutlook> {
        self.partitions
            .iter()
            .find(|partition| partition.files.content() == Content::Registrations)
            .map(ReadOnlyPartition::recovery)
    }
}

fn producers_of(partitions: &[ReadOnlyPartition]) -> Vec<ProducerInfo> {
    let Some(own) = partitions.iter().find(|partition| partition.files.content() == Content::Registrations) else {
        return Vec::new();
    };
    // No slot is given out here.
    let registry = Registry::new(own.outlook.replay.registrations(), 0);
    let mut producers: Vec<ProducerInfo> = registry
        .all_live()
        .map(|entry| {
            let mut info = ProducerInfo {
                id: entry.id,
                name: entry.name.to_string(),
                epoch: entry.epoch,
                mode: entry.mode,
                last_used_ms: entry.at_ms,
                partitions: Vec::new(),
            };
            for partition in partitions {
                let replay = &partition.outlook.replay;
                let Some(found) = replay.producer_in(entry.id.slot()).filter(|found| found.id == entry.id) else {
                    continue;
                };
                info.last_used_ms = info.last_used_ms.max(found.progress.last_ms);
                if let Some(last) = found.progress.expected.checked_sub(1) {
                    info.partitions.push((partition.name().to_owned(), last));
                }
            }
            info
        })
        .collect();
    producers.sort_by_key(|info| (info.last_used_ms, info.id));
    producers
}

impl ReadOnlyPartition {
    fn look(log: &LogFiles, number: u32, name: &str) -> Result<Self, OpenError> {
        let mut looks = LOOKS;
        loop {
            let files = PartitionFiles::list(log, number, name)?;
            let outlook = outlook(&files);
            looks -= 1;
            // Renamed, removed or gone on between the listing and the reading: real damage is there the next time too.
            let moved = outlook.refused.as_ref().is_some_and(|refused| {
                let removed =
                    matches!(&**refused, OpenError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
                removed || log.is_in_use()
            });
            if !moved || looks == 0 {
                // What the log does not start with is only kept for what it says of producers.
                let origin = outlook.kept.iter().rposition(|kept| kept.segment.is_origin()).unwrap_or(0);
                let start_offset = match outlook.kept.get(origin) {
                    Some(kept) => kept.base_offset.max(outlook.replay.kept().start),
                    None => outlook.end_offset,
                };
                return Ok(Self { files: Arc::new(files), start_offset, origin, outlook, decided: Decided::default() });
            }
        }
    }

    /// The partition's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.files.name
    }

    /// Whether the log keeps it for itself.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.files.is_internal()
    }

    /// Offset of the first record that was kept when the log was opened.
    #[must_use]
    pub const fn start_offset(&self) -> u64 {
        self.start_offset
    }

    /// Offset behind the last record when the log was opened; before damage that opening for writing would refuse, the
    /// offset of the damage.
    #[must_use]
    pub const fn end_offset(&self) -> u64 {
        self.outlook.end_offset
    }

    /// The bytes that were kept beside the records when the log was opened: see
    /// [`Partition::set_metadata`](crate::Partition::set_metadata).
    #[must_use]
    pub fn metadata(&self) -> Option<&[u8]> {
        self.outlook.replay.kept().metadata
    }

    /// Offset behind the last record that was decided when the log was opened: up to here a reader of committed records
    /// comes.
    #[must_use]
    pub const fn stable_offset(&self) -> u64 {
        self.decided.limit
    }

    /// What opening for writing would make of the partition, without doing it.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append(b"order 41")?;
    /// # drop(orders);
    /// # log.close()?;
    /// let seen = oncelog::ReadOnlyLog::open(directory.path())?;
    /// let recovery = seen.partition("orders").expect("the partition").recovery();
    /// assert!(recovery.refused.is_none() && recovery.end_offset == 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn recovery(&self) -> RecoveryOutlook {
        let Outlook { kept, end_position, end_offset, snapshot, scanned, dropped, refused, .. } = &self.outlook;
        RecoveryOutlook {
            refused: refused.clone(),
            start_offset: self.start_offset,
            end_offset: *end_offset,
            end_position: *end_position,
            segments: kept.len(),
            snapshot: snapshot.clone(),
            scanned_bytes: *scanned,
            dropped: dropped.clone(),
        }
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.outlook.refused.is_some()
    }
}
