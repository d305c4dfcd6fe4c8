//! A log's directory: its lock, and the files that say what it and its partitions are.

use crate::{
    error::{OpenError, io_at},
    format::{
        VERSION,
        files::{Directory, Identity, IdentityFault},
    },
    partition::snapshots::{SNAPSHOT, write_durably},
    raw::sys,
    segment::file::{READY, USED},
};
use std::{
    fs::{self, File, OpenOptions},
    path::Path,
};

pub(crate) const LOCK_FILE: &str = "LOCK";
pub(crate) const LOG_FILE: &str = "log";
pub(crate) const PARTITION_FILE: &str = "partition";
/// Where a log keeps its partitions, a directory each.
pub(crate) const PARTITIONS: &str = "partitions";

pub(crate) fn read_identity(path: &Path) -> Result<Identity, OpenError> {
    let bytes = fs::read(path).map_err(io_at("read", path))?;
    let foreign = |reason: String| OpenError::Foreign { path: path.to_owned(), reason };
    Identity::decode(&bytes).map_err(|fault| match fault {
        IdentityFault::Length(length) => foreign(format!("it has {length} bytes")),
        IdentityFault::Magic(magic) => foreign(format!("it begins with {magic:#018x}")),
        IdentityFault::Version(found) => OpenError::Version { path: path.to_owned(), found, known: VERSION },
        IdentityFault::Checksum => {
            OpenError::Corrupt { path: path.to_owned(), at: 0, reason: "the checksum does not agree".to_owned() }
        }
    })
}

/// Makes a directory that is there to stay.
pub(crate) fn make_directory(path: &Path) -> Result<(), OpenError> {
    fs::create_dir_all(path).map_err(io_at("create", path))?;
    match path.parent() {
        Some(parent) if parent != Path::new("") => {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(io_at("sync", parent))
        }
        _ => Ok(()),
    }
}

pub(crate) fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK_FILE);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io_at("open", &path))?;
    match sys::try_lock_exclusive(&file).map_err(io_at("lock", &path))? {
        true => Ok(file),
        false => Err(OpenError::Locked { path }),
    }
}

/// What the log is, written if it is new.
pub(crate) fn identify(directory: &Path) -> Result<Identity, OpenError> {
    let path = directory.join(LOG_FILE);
    if path.exists() {
        let identity = read_identity(&path)?;
        return match identity.directory {
            Directory::Log => Ok(identity),
            Directory::Partition { number } => {
                Err(OpenError::Foreign { path, reason: format!("it is the file of partition {number}, not of a log") })
            }
        };
    }
    let random = || sys::random_u64().map_err(io_at("draw an identity for", directory));
    let identity = Identity { log: u128::from(random()?) << 64 | u128::from(random()?), directory: Directory::Log };
    write_durably(directory, LOG_FILE, &identity.encode())?;
    Ok(identity)
}

/// Refuses a directory with something in it that is no log: it is somebody else's.
pub(crate) fn refuse_a_stranger(directory: &Path) -> Result<(), OpenError> {
    if directory.join(LOG_FILE).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(directory).map_err(io_at("list", directory))? {
        let entry = entry.map_err(io_at("list", directory))?;
        let name = entry.file_name();
        // The log's file is the first that is written: without it there is nothing else of ours.
        let ours = [LOCK_FILE, "log.tmp", "lost+found"].iter().any(|ours| name == *ours);
        if !ours {
            return Err(OpenError::Foreign {
                path: entry.path(),
                reason: "the directory is not empty, and is not a log".to_owned(),
            });
        }
    }
    Ok(())
}

/// Creates a partition's directory.
pub(crate) fn create_partition(
    partitions: &Path,
    name: &str,
    number: u32,
    identity: Identity,
) -> Result<(), OpenError> {
    let directory = partitions.join(name);
    make_directory(&directory)?;
    let identity = Identity { directory: Directory::Partition { number }, ..identity };
    write_durably(&directory, PARTITION_FILE, &identity.encode())?;
    Ok(())
}

/// Whether there is anything of a partition in a directory but the file that says which.
pub(crate) fn holds_a_partition(directory: &Path) -> Result<bool, OpenError> {
    if !directory.is_dir() {
        return Ok(false);
    }
    for entry in fs::read_dir(directory).map_err(io_at("list", directory))? {
        let path = entry.map_err(io_at("list", directory))?.path();
        if path.extension().is_some_and(|suffix| [USED, READY, SNAPSHOT].iter().any(|ours| suffix == *ours)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The file that says which partition it is, of one that is there.
pub(crate) fn missing(file: &Path) -> OpenError {
    OpenError::Corrupt {
        path: file.to_owned(),
        at: 0,
        reason: "it is missing, and there are segments or snapshots beside it".to_owned(),
    }
}

/// Names and numbers of the partitions that are there.
pub(crate) fn list_partitions(partitions: &Path, identity: &Identity) -> Result<Vec<(u32, String)>, OpenError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(partitions).map_err(io_at("list", partitions))? {
        let entry = entry.map_err(io_at("list", partitions))?;
        let directory = entry.path();
        let file = directory.join(PARTITION_FILE);
        if !file.exists() {
            // A partition that was being created when the process was killed has nothing in it.
            if holds_a_partition(&directory)? {
                return Err(missing(&file));
            }
            if directory.is_dir() && fs::remove_dir(&directory).is_err() {
                let unfinished = directory.join("partition.tmp");
                let _ = fs::remove_file(unfinished);
                let _ = fs::remove_dir(&directory);
            }
            continue;
        }
        let partition = read_identity(&file)?;
        let Directory::Partition { number } = partition.directory else {
            return Err(OpenError::Foreign {
                path: file,
                reason: "it is the file of a log, not of a partition".to_owned(),
            });
        };
        if partition.log != identity.log {
            return Err(OpenError::Foreign { path: file, reason: "it is of another log".to_owned() });
        }
        let name = entry.file_name().into_string().map_err(|name| OpenError::Foreign {
            path: directory,
            reason: format!("{} is not a partition's name", name.display()),
        })?;
        found.push((number, name));
    }
    found.sort();
    for (expected, (number, name)) in found.iter().enumerate() {
        if expected as u32 != *number {
            return Err(OpenError::Foreign {
                path: partitions.join(name),
                reason: format!("it is partition number {number}, where number {expected} should be"),
            });
        }
    }
    Ok(found)
}
