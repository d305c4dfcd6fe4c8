//! `oncelog crash pipeline`: a process that consumes, transforms and produces is killed at random, or its power cut, and
//! started again. Each time the output is the input that its group has read, mapped once, in order per partition.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use oncelog::{Answer, Group, Isolation, Log, Options, Partition, Reader, Session, Transaction};

use super::child::Child;
use super::course::{Bounds, Course, Dice};
use super::disk::{Images, Nested};
use super::kill::{Windows, copy};
use super::plan::{Side, ValueName};
use super::writers::report;
use crate::failure::Failure;

/// Most kills on one log.
const KILLS_MAX: u64 = 24;

/// Cuts of one log.
const CUTS: u64 = 4;

/// Most time that a child has after its first report.
const LIFE_MAX_US: u64 = 20_000;

/// Partitions that are produced to: input `n` goes to `n % OUTPUTS`.
const OUTPUTS: u64 = 3;

/// Inputs that may wait.
const AHEAD_MAX: u64 = 400;

const DURABLE_WITHIN: Duration = Duration::from_secs(60);

/// Arguments of `oncelog crash pipeline`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) bounds: Bounds,

    /// The memory that is written to.
    #[arg(long, value_enum, default_value_t = Windows::Both)]
    pub(super) window: Windows,

    /// Cut the power below the log's disk instead of killing. Needs root and loop devices.
    #[arg(long)]
    pub(super) power: bool,

    /// Commit the group's offset behind the transaction, not in it: shows that the harness finds it.
    #[arg(long, hide = true)]
    pub(super) offsets_apart: bool,
}

/// Arguments of the process that is killed.
#[derive(Args, Clone, Debug)]
pub(crate) struct Scene {
    #[arg(long)]
    dir: PathBuf,
    #[arg(long, value_enum)]
    window: Side,
    #[arg(long)]
    seed: u64,
    /// Whether what is reported is durable; else it is visible.
    #[arg(long)]
    durable: bool,
    #[arg(long)]
    offsets_apart: bool,
}

impl Scene {
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--dir={}", self.dir.display()),
            format!("--window={}", self.window.name()),
            format!("--seed={}", self.seed),
        ];
        arguments.extend(self.durable.then(|| "--durable".to_owned()));
        arguments.extend(self.offsets_apart.then(|| "--offsets-apart".to_owned()));
        arguments
    }
}

/// A log with one partition to read and some to write.
struct Plant {
    log: Log,
    input: Partition,
    outputs: Vec<Partition>,
}

impl Plant {
    fn open(directory: &Path, window: Side) -> Result<Self, String> {
        let options = Options::new()
            .window(window.window())
            .segment_bytes(64 << 10)
            .segments_ahead(2)
            .snapshot_bytes(128 << 10)
            .producers_max(16);
        // SAFETY: the directory is ours alone: a child that had it open is dead.
        let log = unsafe { options.open(directory) }.map_err(|error| format!("opening the log: {error}"))?;
        let partition = |name: &str| log.partition(name).map_err(|error| format!("partition {name}: {error}"));
        let outputs: Result<_, _> = (0..OUTPUTS).map(|number| partition(&format!("output-{number}"))).collect();
        let (input, outputs) = (partition("input")?, outputs?);
        Ok(Self { log, input, outputs })
    }

    fn output(&self, input: u64) -> Result<&Partition, String> {
        self.outputs.get((input % OUTPUTS) as usize).ok_or_else(|| "no output".to_owned())
    }
}

/// The words of a record: an input is its number; an output the number, and what it was mapped to.
fn payload(words: &[u64]) -> Vec<u8> {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize(bytes.len() + 40, b'.');
    bytes
}

fn word(bytes: &[u8], index: usize) -> Result<u64, String> {
    let word = bytes.chunks_exact(8).nth(index).and_then(|bytes| bytes.try_into().ok());
    word.map(u64::from_le_bytes).ok_or_else(|| "a record without its words".to_owned())
}

const fn mapped(input: u64) -> u64 {
    input.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ input
}

fn words<E: std::fmt::Display>(doing: &str) -> impl FnOnce(E) -> String + '_ {
    move |error| format!("{doing}: {error}")
}

#[allow(clippy::print_stderr, reason = "the parent reads why its child ended")]
pub(crate) fn consume(scene: &Scene) -> Result<(), Failure> {
    let plant = Plant::open(&scene.dir, scene.window).map_err(Failure::Failed)?;
    thread::scope(|scope| {
        let plant = &plant;
        let start = |work: fn(&Plant, &Scene) -> Result<std::convert::Infallible, String>| {
            scope.spawn(move || {
                let Err(reason) = work(plant, scene);
                eprintln!("{reason}");
                std::process::exit(1);
            });
        };
        start(feed);
        start(map);
    });
    Ok(())
}

/// Appends inputs, in transactions of which some are aborted, and outside.
fn feed(plant: &Plant, scene: &Scene) -> Result<std::convert::Infallible, String> {
    let mut dice = Dice::new(scene.seed);
    let mut session = plant.log.session("feeder").map_err(words("a session"))?;
    let last = session.last(&plant.input).map_err(words("a last sequence"))?;
    let mut next = last.map_or(0, |last| last.sequence + 1);
    let group = plant.log.group_at("mapping", 0);
    loop {
        if dice.one_in(4) {
            expect(session.append(&plant.input, next, &payload(&[next])))?;
            next += 1;
        } else {
            let count = 1 + dice.below(20);
            let mut transaction = session.begin().map_err(words("begin"))?;
            for number in next..next + count {
                expect(transaction.append(&plant.input, number, &payload(&[number])))?;
            }
            if dice.one_in(6) {
                transaction.abort().map_err(words("abort"))?;
            } else {
                let _ = transaction.commit().map_err(words("commit"))?;
                next += count;
            }
        }
        while next > group.committed(&plant.input).unwrap_or(0) + AHEAD_MAX {
            thread::sleep(Duration::from_micros(100));
        }
    }
}

fn expect(answer: Result<Answer, oncelog::AppendError>) -> Result<(), String> {
    match answer.map_err(words("an append"))? {
        Answer::Appended { .. } => Ok(()),
        other => Err(format!("an append: {other:?}")),
    }
}

/// Who maps: its session, its group, and where it reads.
struct Mapper {
    session: Session,
    group: Group,
    reader: Reader,
    from: u64,
}

impl Mapper {
    fn new(plant: &Plant) -> Result<Self, String> {
        let session = plant.log.session("mapper").map_err(words("a session"))?;
        let group = plant.log.group("mapping").map_err(words("a group"))?;
        let from = group.committed(&plant.input).unwrap_or(0);
        let mut reader = plant.input.read_from(from).map_err(words("a reader"))?;
        reader.set_isolation(Isolation::ReadCommitted);
        Ok(Self { session, group, reader, from })
    }

    /// Inputs to map next.
    fn read(&mut self, most: u64) -> Result<Vec<u64>, String> {
        let mut inputs = Vec::new();
        while (inputs.len() as u64) < most {
            let Some(record) = self.reader.next().map_err(words("reading"))? else { break };
            inputs.push(word(record.payload(), 0)?);
        }
        Ok(inputs)
    }

    fn produce<'a>(session: &'a mut Session, plant: &Plant, inputs: &[u64]) -> Result<Transaction<'a>, String> {
        let mut transaction = session.begin().map_err(words("begin"))?;
        for input in inputs {
            let answer = transaction.append_next(plant.output(*input)?, &payload(&[*input, mapped(*input)]));
            expect(answer)?;
        }
        Ok(transaction)
    }

    /// Maps and commits; the commit.
    fn turn(&mut self, plant: &Plant, inputs: &[u64], offsets_apart: bool) -> Result<oncelog::Commit, String> {
        let to = self.reader.next_offset();
        let mut transaction = Self::produce(&mut self.session, plant, inputs)?;
        if !offsets_apart {
            transaction.commit_offset(&self.group, &plant.input, to).map_err(words("an offset"))?;
        }
        let mut commit = transaction.commit().map_err(words("commit"))?;
        if offsets_apart {
            commit = self.group.commit(&plant.input, to).map_err(words("an offset"))?;
        }
        self.from = to;
        Ok(commit)
    }

    /// Maps and thinks better of it.
    fn abort(&mut self, plant: &Plant, inputs: &[u64]) -> Result<(), String> {
        Self::produce(&mut self.session, plant, inputs)?.abort().map_err(words("abort"))?;
        self.reader.seek(self.from).map_err(words("a seek"))
    }
}

/// Maps inputs to outputs, and reports how many are mapped for good.
fn map(plant: &Plant, scene: &Scene) -> Result<std::convert::Infallible, String> {
    let mut dice = Dice::new(scene.seed ^ 1);
    let mut mapper = Mapper::new(plant)?;
    // Commits that are not durable yet, with the inputs before them.
    let mut waiting: VecDeque<(oncelog::Commit, u64)> = VecDeque::new();
    loop {
        let inputs = mapper.read(1 + dice.below(16))?;
        let Some(last) = inputs.last() else {
            thread::sleep(Duration::from_micros(50));
            continue;
        };
        if dice.one_in(10) {
            mapper.abort(plant, &inputs)?;
            continue;
        }
        waiting.push_back((mapper.turn(plant, &inputs, scene.offsets_apart)?, last + 1));
        if scene.durable
            && dice.one_in(4)
            && let Some((commit, _)) = waiting.back()
            && !commit.wait_durable(DURABLE_WITHIN).map_err(words("a commit"))?
        {
            return Err(format!("a commit was not durable within {DURABLE_WITHIN:?}"));
        }
        while let Some((commit, inputs)) = waiting.front() {
            if scene.durable && !commit.is_durable() {
                break;
            }
            report(0, *inputs)?;
            waiting.pop_front();
        }
    }
}

pub(super) fn run(arguments: &Arguments, course: &mut Course) -> Result<(), String> {
    course.repeat = KILLS_MAX;
    if arguments.power {
        return cut(arguments, course);
    }
    while course.goes_on() {
        // A kill takes nothing from a file system in memory either, and many more fit into the time there. Some logs are
        // where flushes take their time.
        let in_memory = if course.seed % 5 > 1 { tempfile::tempdir_in("/dev/shm").ok() } else { None };
        let directory = in_memory.map_or_else(tempfile::tempdir, Ok).map_err(|error| error.to_string())?;
        if let Err(reason) = kill(directory.path(), arguments, course) {
            return Err(format!("{reason}; the log is in {}", directory.keep().display()));
        }
        course.seed += 1;
    }
    Ok(())
}

fn kill(directory: &Path, arguments: &Arguments, course: &mut Course) -> Result<(), String> {
    let mut dice = Dice::new(course.seed);
    let dir = directory.join("log");
    let window = arguments.window.side(course.seed);
    let (durable, offsets_apart) = (window == Side::Direct, arguments.offsets_apart);
    for kill in 0..1 + dice.below(KILLS_MAX) {
        if !course.goes_on() {
            break;
        }
        let scene = Scene { dir: dir.clone(), window, seed: dice.roll(), durable, offsets_apart };
        let mut child = Child::run("consume", &scene.arguments())?;
        if kill == 0 || !dice.one_in(4) {
            child.wait("output", |reports| !reports.acknowledged.is_empty())?;
        }
        thread::sleep(Duration::from_micros(dice.below(LIFE_MAX_US)));
        child.still_runs()?;
        let acknowledged = child.kill().acknowledged.get(&0).copied().unwrap_or(0);
        match dice.below(6) {
            // Looked at as a copy, so that the next child finds what was left by the kill, and not by a close.
            0 if dir.exists() => {
                let copied = directory.join("copy");
                copy(&dir, &copied).map_err(|error| format!("copying the log: {error}"))?;
                compare(&Plant::open(&copied, window)?, acknowledged)?;
                fs::remove_dir_all(&copied).map_err(|error| error.to_string())?;
            }
            1 => compare(&Plant::open(&dir, window)?, acknowledged).map(|_| ())?,
            // Not looked at: what is wrong shows later.
            _ => {}
        }
        course.count(window.label(), 1);
        course.step();
    }
    let plant = Plant::open(&dir, window)?;
    compare(&plant, 0)?;
    course.count("inputs, each in the output once", drain(&plant)?);
    course.count("logs", 1);
    Ok(())
}

/// The same with the power cut: what was reported is durable in either window.
fn cut(arguments: &Arguments, course: &mut Course) -> Result<(), String> {
    let place = tempfile::tempdir().map_err(|error| error.to_string())?;
    if let Err(reason) = Images::make(place.path()).and_then(|images| images.mount().map(drop)) {
        course.skip(format!("it needs root, loop devices and ext4: {reason}"));
        return Ok(());
    }
    while course.goes_on() {
        let mut dice = Dice::new(course.seed);
        let images = Images::make(place.path())?;
        let dir = images.inner.join("log");
        let window = arguments.window.side(course.seed);
        let mut nested = images.mount()?;
        for _ in 0..CUTS {
            if !course.goes_on() {
                break;
            }
            let offsets_apart = arguments.offsets_apart;
            let scene = Scene { dir: dir.clone(), window, seed: dice.roll(), durable: true, offsets_apart };
            let mut child = Child::run("consume", &scene.arguments())?;
            child.wait("output", |reports| !reports.acknowledged.is_empty())?;
            thread::sleep(Duration::from_micros(dice.below(4 * LIFE_MAX_US)));
            child.still_runs()?;
            nested.outer.cut_power().map_err(|error| format!("cutting the power: {error}"))?;
            let acknowledged = child.kill().acknowledged.get(&0).copied().unwrap_or(0);
            let Nested { inner, outer } = nested;
            drop(inner);
            drop(outer);
            nested = images.mount()?;
            let plant = Plant::open(&dir, window)?;
            let inputs = compare(&plant, acknowledged)?;
            course.count("inputs mapped at each look", inputs);
            course.count(window.label(), 1);
            course.step();
        }
        course.count("inputs, each in the output once", drain(&Plant::open(&dir, window)?)?);
        course.count("logs", 1);
        course.seed += 1;
        let Nested { inner, outer } = nested;
        drop(inner);
        drop(outer);
    }
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
