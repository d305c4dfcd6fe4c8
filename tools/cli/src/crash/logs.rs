//! What harnesses share: one log a seed, some crashes of each, and a look at what a crash has left.

use std::fs;
use std::io;
use std::path::Path;

use super::course::Course;
use super::disk::Images;
use super::plan::Side;

/// Why no further log is crashed.
pub(super) enum Stop {
    /// It cannot be done here.
    Skip(String),
    Fault(String),
}

impl From<String> for Stop {
    fn from(reason: String) -> Self {
        Self::Fault(reason)
    }
}

/// One log a seed, each in a directory of its own, which is kept where there is a fault. In memory all but flushes goes on
/// as it does elsewhere, and many more crashes fit into the time.
pub(super) fn each_log<E: Into<Stop>>(
    course: &mut Course,
    in_memory: impl Fn(u64) -> bool,
    mut one_log: impl FnMut(&Path, &mut Course) -> Result<(), E>,
) -> Result<(), String> {
    let memory = Path::new("/dev/shm");
    while course.goes_on() {
        let in_memory = in_memory(course.seed) && memory.is_dir();
        let directory = if in_memory { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let directory = directory.map_err(|error| error.to_string())?;
        // As the system names it, where it is compared with what is observed.
        let path = fs::canonicalize(directory.path()).map_err(|error| error.to_string())?;
        match one_log(&path, course).map_err(Into::into) {
            Ok(()) => course.seed += 1,
            Err(Stop::Skip(why)) => {
                course.skip(why);
                return Ok(());
            }
            Err(Stop::Fault(reason)) => {
                return Err(format!("{reason}; what is left of it is in {}", directory.keep().display()));
            }
        }
    }
    Ok(())
}

/// One log a seed, each on a disk whose power can be cut. Says so where there is none.
pub(super) fn each_disk(
    course: &mut Course,
    mut one_log: impl FnMut(&Images, &mut Course) -> Result<(), String>,
) -> Result<(), String> {
    let place = tempfile::tempdir().map_err(|error| error.to_string())?;
    if let Err(reason) = Images::make(place.path()).and_then(|images| images.mount().map(drop)) {
        course.skip(format!("it needs root, loop devices and ext4: {reason}"));
        return Ok(());
    }
    while course.goes_on() {
        one_log(&Images::make(place.path())?, course)?;
        course.seed += 1;
    }
    Ok(())
}

/// So many crashes of one log, unless the run is over before.
pub(super) fn crashes<E>(
    course: &mut Course,
    count: u64,
    window: Side,
    mut crash: impl FnMut(u64, &mut Course) -> Result<(), E>,
) -> Result<(), E> {
    for number in 0..count {
        if !course.goes_on() {
            break;
        }
        crash(number, course)?;
        course.count(window.label(), 1);
        course.step();
    }
    course.count("logs", 1);
    Ok(())
}

/// Looks at a copy of a log, so that the next process finds what the crash has left, and not what a close has.
pub(super) fn look_at_copy<T>(log: &Path, look: impl FnOnce(&Path) -> Result<T, String>) -> Result<T, String> {
    let copied = log.with_extension("copy");
    copy(log, &copied).map_err(|error| format!("copying the log: {error}"))?;
    let found = look(&copied)?;
    fs::remove_dir_all(&copied).map_err(|error| error.to_string())?;
    Ok(found)
}

/// Copies a directory whose owner is dead.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
