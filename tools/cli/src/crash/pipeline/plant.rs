//! The process that is killed: one thread feeds a partition, another maps it to others in transactions.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use oncelog::{Answer, Group, Isolation, Log, Options, Partition, Reader, Session, Transaction};

use super::super::course::Dice;
use super::super::plan::{Side, ValueName};
use super::super::reports::report;
use crate::failure::Failure;

/// Partitions that are produced to: input `n` goes to `n % OUTPUTS`.
pub(super) const OUTPUTS: u64 = 3;

/// Inputs that may wait.
const AHEAD_MAX: u64 = 400;

const DURABLE_WITHIN: Duration = Duration::from_secs(60);

/// Arguments of the process that is killed.
#[derive(Args, Clone, Debug)]
pub(crate) struct Scene {
    #[arg(long)]
    pub(super) dir: PathBuf,
    #[arg(long, value_enum)]
    pub(super) window: Side,
    #[arg(long)]
    pub(super) seed: u64,
    /// Whether what is reported is durable; else it is visible.
    #[arg(long)]
    pub(super) durable: bool,
    #[arg(long)]
    pub(super) offsets_apart: bool,
}

impl Scene {
    pub(super) fn arguments(&self) -> Vec<String> {
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
pub(super) struct Plant {
    pub(super) log: Log,
    pub(super) input: Partition,
    pub(super) outputs: Vec<Partition>,
}

impl Plant {
    pub(super) fn open(directory: &Path, window: Side) -> Result<Self, String> {
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

pub(super) fn word(bytes: &[u8], index: usize) -> Result<u64, String> {
    let word = bytes.chunks_exact(8).nth(index).and_then(|bytes| bytes.try_into().ok());
    word.map(u64::from_le_bytes).ok_or_else(|| "a record without its words".to_owned())
}

pub(super) const fn mapped(input: u64) -> u64 {
    input.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ input
}

pub(super) fn words<E: std::fmt::Display>(doing: &str) -> impl FnOnce(E) -> String + '_ {
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
pub(super) struct Mapper {
    session: Session,
    group: Group,
    reader: Reader,
    from: u64,
}

impl Mapper {
    pub(super) fn new(plant: &Plant) -> Result<Self, String> {
        let session = plant.log.session("mapper").map_err(words("a session"))?;
        let group = plant.log.group("mapping").map_err(words("a group"))?;
        let from = group.committed(&plant.input).unwrap_or(0);
        let mut reader = plant.input.read_from(from).map_err(words("a reader"))?;
        reader.set_isolation(Isolation::ReadCommitted);
        Ok(Self { session, group, reader, from })
    }

    /// Inputs to map next.
    pub(super) fn read(&mut self, most: u64) -> Result<Vec<u64>, String> {
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
    pub(super) fn turn(
        &mut self,
        plant: &Plant,
        inputs: &[u64],
        offsets_apart: bool,
    ) -> Result<oncelog::Commit, String> {
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
