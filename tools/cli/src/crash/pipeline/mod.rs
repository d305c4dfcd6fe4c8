//! `oncelog crash pipeline`: a process that consumes, transforms and produces is killed at random, or its power cut, and
//! started again. Each time the output is the input that its group has read, mapped once, in order per partition.

mod plant;

use std::path::Path;
use std::thread;
use std::time::Duration;

use clap::Args;
use oncelog::{Isolation, Partition};

use self::plant::{Mapper, OUTPUTS, Plant, mapped, word, words};
use super::child::Child;
use super::course::{Course, Dice};
use super::disk::Images;
use super::load::Transacting;
use super::logs::{crashes, each_disk, each_log, look_at_copy};
use super::plan::Side;

pub(super) use self::plant::{Scene, consume};

/// Most kills on one log.
const KILLS_MAX: u64 = 24;

/// Cuts of one log.
const CUTS: u64 = 4;

/// Most time that a child has after its first report.
const LIFE_MAX_US: u64 = 20_000;

/// Arguments of `oncelog crash pipeline`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) of: Transacting,

    /// Cut the power below the log's disk instead of killing. Needs root and loop devices.
    #[arg(long)]
    pub(super) power: bool,

    /// Commit the group's offset behind the transaction, not in it: shows that the harness finds it.
    #[arg(long, hide = true)]
    pub(super) offsets_apart: bool,
}

pub(super) fn run(arguments: &Arguments, course: &mut Course) -> Result<(), String> {
    course.repeat = KILLS_MAX;
    if arguments.power {
        return each_disk(course, |images, course| cut(images, arguments, course));
    }
    // A kill takes nothing from a file system in memory either. Some logs are where flushes take their time.
    each_log(course, |seed| seed % 5 > 1, |directory, course| kill(directory, arguments, course))
}

fn kill(directory: &Path, arguments: &Arguments, course: &mut Course) -> Result<(), String> {
    let mut dice = Dice::new(course.seed);
    let dir = directory.join("log");
    let window = arguments.of.window.side(course.seed);
    let (durable, offsets_apart) = (window == Side::Direct, arguments.offsets_apart);
    let kills = 1 + dice.below(KILLS_MAX);
    crashes(course, kills, window, |kill, _| {
        let scene = Scene { dir: dir.clone(), window, seed: dice.roll(), durable, offsets_apart };
        let mut child = Child::run("consume", &scene.arguments())?;
        if kill == 0 || !dice.one_in(4) {
            child.wait("output", |reports| !reports.acknowledged.is_empty())?;
        }
        thread::sleep(Duration::from_micros(dice.below(LIFE_MAX_US)));
        child.still_runs()?;
        let acknowledged = child.kill().acknowledged.get(&0).copied().unwrap_or(0);
        let look = |directory: &Path| compare(&Plant::open(directory, window)?, acknowledged).map(|_| ());
        match dice.below(6) {
            0 if dir.exists() => look_at_copy(&dir, look),
            1 => look(&dir),
            // Not looked at: what is wrong shows later.
            _ => Ok(()),
        }
    })?;
    let plant = Plant::open(&dir, window)?;
    compare(&plant, 0)?;
    course.count("inputs, each in the output once", drain(&plant)?);
    Ok(())
}

/// The same with the power cut: what was reported is durable in either window.
fn cut(images: &Images, arguments: &Arguments, course: &mut Course) -> Result<(), String> {
    let mut dice = Dice::new(course.seed);
    let dir = images.inner.join("log");
    let window = arguments.of.window.side(course.seed);
    let mut nested = images.mount()?;
    crashes(course, CUTS, window, |_, course| {
        let offsets_apart = arguments.offsets_apart;
        let scene = Scene { dir: dir.clone(), window, seed: dice.roll(), durable: true, offsets_apart };
        let mut child = Child::run("consume", &scene.arguments())?;
        child.wait("output", |reports| !reports.acknowledged.is_empty())?;
        thread::sleep(Duration::from_micros(dice.below(4 * LIFE_MAX_US)));
        child.still_runs()?;
        nested.cut_power()?;
        let acknowledged = child.kill().acknowledged.get(&0).copied().unwrap_or(0);
        nested.mount_again(images)?;
        let inputs = compare(&Plant::open(&dir, window)?, acknowledged)?;
        course.count("inputs mapped at each look", inputs);
        Ok::<_, String>(())
    })?;
    course.count("inputs, each in the output once", drain(&Plant::open(&dir, window)?)?);
    Ok(())
}

/// What is committed in a partition, with its offsets.
fn read(partition: &Partition) -> Result<Vec<(u64, Vec<u8>)>, String> {
    let mut reader = partition.read_from(partition.start_offset()).map_err(words("a reader"))?;
    reader.set_isolation(Isolation::ReadCommitted);
    let mut all = Vec::new();
    while let Some(record) = reader.next().map_err(words("reading"))? {
        all.push((record.offset(), record.payload().to_vec()));
    }
    Ok(all)
}

/// Compares the outputs with the inputs that the group has read; how many these are.
fn compare(plant: &Plant, acknowledged: u64) -> Result<u64, String> {
    let inputs = read(&plant.input)?;
    for (number, (offset, bytes)) in (0..).zip(&inputs) {
        if word(bytes, 0)? != number {
            return Err(format!("input {} at offset {offset}, and {number} comes next", word(bytes, 0)?));
        }
    }
    let committed = plant.log.group_at("mapping", 0).committed(&plant.input).unwrap_or(0);
    let count = inputs.partition_point(|(offset, _)| *offset < committed) as u64;
    if count < acknowledged {
        return Err(format!("the first {acknowledged} inputs were mapped, and the group has read {count}"));
    }
    for (output, number) in plant.outputs.iter().zip(0..) {
        let mut expected = (number..count).step_by(OUTPUTS as usize);
        for (offset, bytes) in read(output)? {
            let (input, to) = (word(&bytes, 0)?, word(&bytes, 1)?);
            let next = expected.next();
            if next != Some(input) || to != mapped(input) {
                let next = next.map_or_else(|| "nothing".to_owned(), |next| format!("input {next}"));
                return Err(format!(
                    "output {number}, offset {offset}: input {input} is mapped to {to:#x}, where {next} comes next; the \
                     group has read {count} of {} inputs",
                    inputs.len()
                ));
            }
        }
        if let Some(missing) = expected.next() {
            return Err(format!("output {number}: input {missing} is missing; the group has read {count}"));
        }
    }
    Ok(count)
}

/// Maps what is left, and compares all of it.
fn drain(plant: &Plant) -> Result<u64, String> {
    let mut mapper = Mapper::new(plant)?;
    loop {
        let inputs = mapper.read(100)?;
        if inputs.is_empty() {
            break;
        }
        let _ = mapper.turn(plant, &inputs, false)?;
    }
    let (mapped, all) = (compare(plant, 0)?, read(&plant.input)?.len() as u64);
    if mapped == all { Ok(all) } else { Err(format!("of {all} inputs {mapped} are mapped")) }
}
