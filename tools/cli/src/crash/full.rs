//! `oncelog crash full`: a small file system fills up while a process appends, room is made, and appending goes on.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::check::check;
use super::child::Child;
use super::course::{Course, Dice};
use super::disk::Disk;
use super::known::Known;
use super::load::Appending;

const MEMORY_BYTES: u64 = 8 << 20;
const IMAGE_BYTES: u64 = 24 << 20;

/// What is in the way at first, and gone later.
const BALLAST_BYTES: usize = 4 << 20;

pub(super) fn run(arguments: &Appending, course: &mut Course) -> Result<(), String> {
    let place = tempfile::tempdir().map_err(|error| error.to_string())?;
    while course.goes_on() {
        let mut dice = Dice::new(course.seed);
        let on_ext4 = dice.one_in(2);
        let disk = match mount(place.path(), on_ext4) {
            Ok(disk) => disk,
            Err(reason) => {
                course.skip(format!("it needs root, and loop devices for ext4: {reason}"));
                return Ok(());
            }
        };
        fill_up(&place.path().join("disk"), arguments, course, &mut dice)?;
        drop(disk);
        course.count(if on_ext4 { "on ext4" } else { "on tmpfs" }, 1);
        course.step();
        course.seed += 1;
    }
    Ok(())
}

fn mount(place: &Path, on_ext4: bool) -> Result<Disk, String> {
    let at = place.join("disk");
    if !on_ext4 {
        return Disk::in_memory(MEMORY_BYTES, &at);
    }
    let image = place.join("disk.img");
    let made = File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES));
    made.map_err(|error| error.to_string())?;
    Disk::format(&image)?;
    Disk::mount(&image, &at)
}

fn fill_up(disk: &Path, arguments: &Appending, course: &mut Course, dice: &mut Dice) -> Result<(), String> {
    let log = disk.join("log");
    let ballast = disk.join("ballast");
    let written = File::create(&ballast).and_then(|mut file| file.write_all(&vec![1; BALLAST_BYTES]));
    written.map_err(|error| format!("writing the ballast: {error}"))?;
    let mut plan = arguments.load.plan(&log, course.seed, false);
    // Nothing makes room by itself.
    plan.retention = false;
    plan.truncates = false;
    let mut child = Child::start(&plan, Known::default())?;
    let writers = plan.threads as usize;
    child.wait("end of the room", |reports| reports.full.len() == writers)?;
    let before = child.reports();
    fs::remove_file(&ballast).map_err(|error| error.to_string())?;
    child.wait("append after room was made", |reports| {
        reports.acknowledged.values().sum::<u64>() > before.acknowledged.values().sum::<u64>()
    })?;
    // The room that was made is used up as well, sometimes.
    if dice.one_in(2) {
        let full = |writer: &u64| before.full.get(writer).copied().unwrap_or(0);
        child.wait("end of the room that was made", |reports| {
            reports.full.iter().all(|(writer, times)| *times > full(writer))
        })?;
        course.count("filled up a second time", 1);
    }
    child.still_runs()?;
    course.count(plan.window.label(), 1);
    let reports = child.kill();
    // Each is told once an append, however often it has tried.
    course.count("appends that found no room at first", reports.full.values().sum());
    // Opened elsewhere, where there is room for it.
    let room = tempfile::tempdir().map_err(|error| error.to_string())?;
    super::logs::copy(&log, room.path()).map_err(|error| error.to_string())?;
    check(room.path(), &plan, &reports.known, true, dice)?;
    course.count("records acknowledged at the last look", reports.acknowledged.values().sum());
    Ok(())
}
