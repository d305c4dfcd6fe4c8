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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> PathBuf {
        PathBuf::from(path)
    }

    #[test]
    fn a_file_keeps_its_length_under_each_of_its_names() {
        let mut names = Names::default();
        let changes = [
            Change::Directory { path: at("/d") },
            Change::Name { path: at("/d/a"), inode: 7 },
            Change::Length { inode: 7, bytes: 512 },
            Change::Name { path: at("/d/b"), inode: 8 },
            Change::Move { from: at("/d/a"), to: at("/d/b") },
        ];
        changes.iter().for_each(|change| names.apply(change));
        assert_eq!(names.files, BTreeMap::from([(at("/d/b"), 7)]), "the one that was there is gone");
        assert_eq!(names.lengths.get(&7), Some(&512));
        // A move of what a cut has left without a name is none.
        names.apply(&Change::NoName { path: at("/d/b") });
        names.apply(&Change::Move { from: at("/d/b"), to: at("/d/c") });
        assert!(names.files.is_empty());
    }

    #[test]
    fn a_flush_of_a_directory_covers_what_is_directly_in_it() {
        let path = at("/d/e/f");
        for change in [
            Change::Name { path: path.clone(), inode: 1 },
            Change::NoName { path: path.clone() },
            Change::Directory { path: path.clone() },
            Change::NoDirectory { path: path.clone() },
            Change::Move { from: path.clone(), to: at("/d/g") },
        ] {
            assert!(change.is_in(Path::new("/d/e")));
            let moved_out = matches!(change, Change::Move { .. });
            assert_eq!(change.is_in(Path::new("/d")), moved_out);
        }
        assert!(!Change::Length { inode: 1, bytes: 0 }.is_in(Path::new("/d/e")), "a length is its file's");
    }
}
