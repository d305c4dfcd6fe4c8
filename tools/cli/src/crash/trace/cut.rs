//! What a power cut leaves of a disk with a volatile cache: one of all the directories that it may leave.

use std::fs;
use std::io;
use std::path::Path;

use super::super::course::Dice;
use super::cache::{Body, Cache, current};

/// What a device writes whole or not at all.
const SECTOR: usize = 512;
/// What a mapping is written back by.
const PAGE: usize = 4096;

impl Cache {
    /// Writes to `place` what a power cut may leave. `mapped` files are written back by pages.
    pub(super) fn cut_power(&self, place: &Path, mapped: bool, dice: &mut Dice) -> io::Result<Loss> {
        let mut names = self.before.clone();
        let kept = match dice.below(4) {
            0 => 0,
            1 => self.changes.len(),
            _ => dice.below(self.changes.len() as u64 + 1) as usize,
        };
        let mut loss = Loss::default();
        for (at, (change, settled)) in self.changes.iter().enumerate() {
            if at < kept || *settled {
                names.apply(change);
            } else {
                loss.changes += 1;
            }
        }
        for directory in &names.directories {
            // One whose parent is gone is gone too.
            let whole = directory.ancestors().take_while(|above| self.is_ours(above));
            if whole.into_iter().all(|above| names.directories.contains(above)) {
                fs::create_dir_all(place.join(directory.strip_prefix(&self.root).unwrap_or(directory)))?;
            }
        }
        let choice = Choice::draw(dice);
        for (path, inode) in &names.files {
            let Some(body) = self.bodies.get(inode) else { continue };
            let at = place.join(path.strip_prefix(&self.root).unwrap_or(path));
            if !at.parent().is_some_and(Path::is_dir) {
                continue;
            }
            let unit = if mapped && path.extension().is_some_and(|suffix| suffix != "tmp") { PAGE } else { SECTOR };
            let mut bytes = choose(body, unit, &choice, dice, &mut loss)?;
            bytes.resize(names.lengths.get(inode).copied().unwrap_or(0) as usize, 0);
            fs::write(at, bytes)?;
        }
        Ok(loss)
    }
}

/// A file's bytes after the cut.
fn choose(body: &Body, unit: usize, choice: &Choice, dice: &mut Dice, loss: &mut Loss) -> io::Result<Vec<u8>> {
    let new = current(body)?;
    let mut bytes = body.durable.clone();
    bytes.resize(new.len().max(bytes.len()), 0);
    let whole = dice.one_in(2);
    for (at, (old, new)) in bytes.chunks_mut(unit).zip(new.chunks(unit)).enumerate() {
        let old = old.get_mut(..new.len()).unwrap_or(&mut []);
        if old == new {
            continue;
        }
        loss.unflushed += 1;
        // Now, or at one of the moments before.
        let moment = dice.below(body.earlier.len() as u64 + 1) as usize;
        let earlier = body.earlier.get(moment).and_then(|earlier| earlier.get(at * unit..at * unit + new.len()));
        let new = earlier.filter(|_| dice.one_in(2)).unwrap_or(new);
        let survives = match choice {
            Choice::All => true,
            Choice::None => false,
            Choice::WholeFiles => whole,
            Choice::OneIn(count) => dice.one_in(*count),
            Choice::AllButOneIn(count) => !dice.one_in(*count),
        };
        if survives {
            old.copy_from_slice(new);
        } else {
            loss.lost += 1;
        }
    }
    Ok(bytes)
}

/// What a power cut took.
#[derive(Default)]
pub(super) struct Loss {
    /// Sectors and pages that were not flushed, and those of them that are gone.
    pub(super) unflushed: u64,
    pub(super) lost: u64,
    /// Changes of names and lengths that are gone.
    pub(super) changes: u64,
}

/// Which of the unflushed sectors survive.
enum Choice {
    All,
    None,
    WholeFiles,
    OneIn(u64),
    AllButOneIn(u64),
}

impl Choice {
    fn draw(dice: &mut Dice) -> Self {
        match dice.below(8) {
            0 => Self::All,
            1 => Self::None,
            2 => Self::WholeFiles,
            3 => Self::OneIn(8),
            4 => Self::AllButOneIn(8),
            5 => Self::AllButOneIn(40),
            _ => Self::OneIn(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::super::calls::Wish;
    use super::super::cache::Done;
    use super::*;

    fn created(cache: &mut Cache, path: &Path) -> fs::File {
        let wish = Wish::Create { path: path.to_owned(), flags: libc::O_CREAT | libc::O_RDWR, mode: 0o600 };
        match cache.perform(&wish).expect("created") {
            Done::Opened(file) => file,
            _ => panic!("a file is opened"),
        }
    }

    fn write(cache: &mut Cache, file: &fs::File, at: usize, byte: u8, durably: bool) {
        let file = file.try_clone().expect("cloned");
        let wish = Wish::Write { file, at: Some(at as u64), bytes: vec![byte; SECTOR], durably };
        cache.perform(&wish).expect("written");
    }

    fn sync(cache: &mut Cache, file: fs::File) {
        cache.perform(&Wish::Sync { file }).expect("flushed");
    }

    /// What very many cuts leave of the file: none, or its bytes' first of each sector.
    fn left(cache: &Cache, name: &str) -> BTreeSet<Option<Vec<u8>>> {
        let cuts = tempfile::tempdir().expect("a directory");
        let mut dice = Dice::new(1);
        let one = |cut: u64| {
            let place = cuts.path().join(cut.to_string());
            fs::create_dir(&place).expect("made");
            cache.cut_power(&place, false, &mut dice).expect("cut");
            let bytes = fs::read(place.join(name)).ok()?;
            Some(bytes.chunks(SECTOR).map(|sector| sector[0]).collect())
        };
        (0..400).map(one).collect()
    }

    #[test]
    fn a_cut_leaves_any_of_what_was_not_flushed_and_all_of_what_was() {
        let root = tempfile::tempdir().expect("a directory");
        let mut cache = Cache::new(root.path(), true, false).expect("a disk");
        let file = created(&mut cache, &root.path().join("a"));
        write(&mut cache, &file, 0, 1, false);
        write(&mut cache, &file, SECTOR, 1, false);
        assert!(left(&cache, "a").contains(&None), "its name is not flushed");
        sync(&mut cache, file.try_clone().expect("cloned"));
        sync(&mut cache, fs::File::open(root.path()).expect("opened"));
        assert_eq!(left(&cache, "a"), BTreeSet::from([Some(vec![1, 1])]));

        write(&mut cache, &file, 0, 2, false);
        write(&mut cache, &file, SECTOR, 2, false);
        let all = [[1, 1], [1, 2], [2, 1], [2, 2]].map(|bytes| Some(bytes.to_vec()));
        assert_eq!(left(&cache, "a"), BTreeSet::from(all));
        write(&mut cache, &file, SECTOR, 3, true);
        let all = [[1, 3], [2, 3]].map(|bytes| Some(bytes.to_vec()));
        assert_eq!(left(&cache, "a"), BTreeSet::from(all), "a write that flushes flushes itself alone");
    }

    #[test]
    fn a_disk_that_flushes_nothing_may_lose_all() {
        let root = tempfile::tempdir().expect("a directory");
        let mut cache = Cache::new(root.path(), false, true).expect("a disk");
        let file = created(&mut cache, &root.path().join("a"));
        write(&mut cache, &file, 0, 1, true);
        sync(&mut cache, file);
        sync(&mut cache, fs::File::open(root.path()).expect("opened"));
        assert!(left(&cache, "a").contains(&None));
    }
}
