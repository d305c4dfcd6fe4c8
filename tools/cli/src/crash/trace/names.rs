//! Names and lengths of files, and how they change: in one order, as a journal has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One change. Files are known by their numbers, which stay while their names move.
pub(super) enum Change {
    Name { path: PathBuf, inode: u64 },
    Move { from: PathBuf, to: PathBuf },
    NoName { path: PathBuf },
    Directory { path: PathBuf },
    NoDirectory { path: PathBuf },
    Length { inode: u64, bytes: u64 },
}

/// Names and lengths, as a beginning of the changes leaves them.
#[derive(Clone, Default)]
pub(super) struct Names {
    pub(super) files: BTreeMap<PathBuf, u64>,
    pub(super) directories: BTreeSet<PathBuf>,
    pub(super) lengths: BTreeMap<u64, u64>,
}

impl Names {
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Name { path, inode } => {
                self.files.insert(path.clone(), *inode);
            }
            Change::Move { from, to } => {
                if let Some(inode) = self.files.remove(from) {
                    self.files.insert(to.clone(), inode);
                }
            }
            Change::NoName { path } => {
                self.files.remove(path);
            }
            Change::Directory { path } => {
                self.directories.insert(path.clone());
            }
            Change::NoDirectory { path } => {
                self.directories.remove(path);
            }
            Change::Length { inode, bytes } => {
                self.lengths.insert(*inode, *bytes);
            }
        }
    }
}

impl Change {
    /// Whether a flush of this directory covers it.
    pub(super) fn is_in(&self, directory: &Path) -> bool {
        let inside = |path: &Path| path.parent() == Some(directory);
        match self {
            Self::Move { from, to } => inside(from) || inside(to),
            Self::Name { path, .. } | Self::NoName { path } | Self::Directory { path } | Self::NoDirectory { path } => {
                inside(path)
            }
            Self::Length { .. } => false,
        }
    }
}
