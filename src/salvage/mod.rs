//! What is whole of a damaged log, as a new log: every frame whose checksum agrees, at its place.
//!
//! Frames keep their position, offset, time, producer, epoch and sequence, segments their number, the log its identity. What
//! is lost is filled with void frames that take its offsets, so that every record keeps its own, and the new log opens.
//! Such a frame has a producer's part with the id of nobody (`format/frame.rs`).
//!
//! | carried over | how |
//! |---|---|
//! | records | every whole frame, also behind a hole that recovery would end the partition at |
//! | producers | registrations and snapshots that are whole; else what the kept frames say |
//! | back-links | those to a lost frame lead to the producer's kept frame before it |
//!
//! A retry of a lost record is answered `DuplicateTrimmed` while a later batch or a snapshot knows that it was stored; where
//! its producer's last batches are lost and no snapshot has them, they can be appended again. Not carried over: registrations
//! that are lost, with names and ids (their records keep their stamps); snapshots that stand behind the last segment that is
//! kept; what was claimed and never published; strangers' files.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | the log, its directories, what was lost |
//! | `partition.rs` | one partition: its segments and those that are missing, its snapshots |
//! | `segment.rs` | one new segment file: kept frames, void frames, a seal |

mod partition;
mod segment;

use crate::{
    audit::Progress,
    directory::{LOCK_FILE, LOG_FILE, PARTITION_FILE, PARTITIONS, make_directory},
    error::{OpenError, io_at},
    format::files::{Directory, Identity},
    partition::snapshots::write_durably,
    stored::files::{LogFiles, PartitionFiles},
};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Something that could not be salvaged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// The partition, if it is in one.
    pub partition: Option<String>,
    /// The damaged file.
    pub path: PathBuf,
    /// Positions in the partition: the first, and the one behind the last.
    pub positions: Option<(u64, u64)>,
    /// Offsets: the first, and the one behind the last; none if they are not known.
    pub offsets: Option<(u64, u64)>,
    /// What is wrong there.
    pub what: String,
}

/// What was salvaged of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvagedPartition {
    /// Its name.
    pub name: String,
    /// Segments written, those in the place of missing ones included.
    pub segments: u64,
    /// Frames that were kept.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Offsets whose records are lost.
    pub records_lost: u64,
    /// Snapshots that were kept.
    pub snapshots: u64,
}

/// What a salvage has kept, and lost. See [`Salvage::run`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvage {
    /// Each partition, the log's own one first.
    pub partitions: Vec<SalvagedPartition>,
    /// What was lost, by partition, in its order there.
    pub losses: Vec<Loss>,
}

impl Salvage {
    /// Copies every whole frame of the log in `directory` to a new log in `out`, which must be empty or not there, and lists
    /// what is lost. Nothing in `directory` is changed. Records keep their offsets, producers their ids and sequences.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # orders.appender()?.append(b"order 41")?;
    /// # drop(orders);
    /// # log.close()?;
    /// let whole = tempfile::tempdir()?;
    /// oncelog::Salvage::run(directory.path(), &whole.path().join("log"), |_progress| {})?;
    /// assert!(oncelog::ReadOnlyLog::open(whole.path().join("log"))?.partition("orders").is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`OpenError::Locked`] if the log is in use; [`OpenError::Foreign`] if there is no log in `directory`, or something in
    /// `out`; [`OpenError::Io`] for what the system refuses.
    pub fn run(
        directory: impl AsRef<Path>,
        out: impl AsRef<Path>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Self, OpenError> {
        let (directory, out) = (directory.as_ref(), out.as_ref());
        let log = LogFiles::list(directory)?;
        if log.is_in_use() {
            return Err(OpenError::Locked { path: directory.join(LOCK_FILE) });
        }
        refuse_unless_empty(directory, out)?;
        let mut salvage = Self::default();
        for fault in &log.faults {
            salvage.lose(directory, None, format!("written anew: {fault}"));
        }
        let mut files = Vec::new();
        for (expected, (number, name)) in log.partitions.iter().enumerate() {
            if expected as u32 != *number {
                let what = format!("partition number {expected} is missing: the new log does not open without it");
                salvage.lose(directory, None, what);
            }
            files.push(PartitionFiles::list(&log, *number, name)?);
        }
        let total = files.iter().map(PartitionFiles::bytes).sum();
        let mut done = 0;
        make_directory(out)?;
        let partitions = out.join(PARTITIONS);
        make_directory(&partitions)?;
        for files in &files {
            let to = partitions.join(&files.name);
            make_directory(&to)?;
            let identity = Identity { directory: Directory::Partition { number: files.number }, ..log.identity };
            let salvaged = partition::salvage(files, &to, &mut salvage.losses, &mut |bytes| {
                progress(Progress { bytes: (done + bytes).min(total), total });
            })?;
            write_durably(&to, PARTITION_FILE, &identity.encode())?;
            salvage.partitions.push(salvaged);
            done += files.bytes();
        }
        File::open(&partitions).and_then(|names| names.sync_all()).map_err(io_at("sync", &partitions))?;
        // Last: a directory without this file is no log, so half a salvage does not pass for a whole one.
        write_durably(out, LOG_FILE, &log.identity.encode())?;
        Ok(salvage)
    }

    fn lose(&mut self, path: &Path, partition: Option<&str>, what: String) {
        let partition = partition.map(str::to_owned);
        self.losses.push(Loss { partition, path: path.to_owned(), positions: None, offsets: None, what });
    }
}

fn refuse_unless_empty(directory: &Path, out: &Path) -> Result<(), OpenError> {
    let refuse = |reason: &str| Err(OpenError::Foreign { path: out.to_owned(), reason: reason.to_owned() });
    let whole = |path: &Path| fs::canonicalize(path).map_err(io_at("find", path));
    let parent = out.ancestors().skip(1).find(|parent| parent.exists()).unwrap_or(Path::new("."));
    let parent = if parent == Path::new("") { Path::new(".") } else { parent };
    if whole(parent)?.starts_with(whole(directory)?) {
        return refuse("it lies inside of the log that is salvaged");
    }
    match fs::read_dir(out) {
        Ok(mut entries) => entries.next().map_or(Ok(()), |_| refuse("it is not empty")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_at("list", out)(error)),
    }
}
