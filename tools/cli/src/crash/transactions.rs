//! `oncelog crash transactions`: a process with many concurrent transactions is killed again and again on one log, and all
//! that was answered and read is judged as one history.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use clap::Args;
use oncelog::Log;
use oncelog_history::{End, Event, History, Look, Pending, Recorder, Stage, check, look, parse};

use super::course::{Course, Dice};
use super::load::Transacting;
use super::logs::{crashes, each_log, look_at_copy};
use super::plan::{Side, ValueName};
use crate::failure::Failure;

/// Most kills on one log.
const KILLS_MAX: u64 = 6;

/// Most time that a child has from its start on.
const LIFE_MAX_US: u64 = 150_000;

/// Arguments of the process that is killed.
#[derive(Args, Clone, Debug)]
pub(crate) struct Scene {
    #[arg(long)]
    dir: PathBuf,
    #[arg(long, value_enum)]
    window: Side,
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    life: u64,
    /// Attempt, producer, epoch and number of each transaction that is asked for again.
    #[arg(long, value_delimiter = ',')]
    pending: Vec<u64>,
}

pub(crate) fn transact(scene: &Scene) -> Result<(), Failure> {
    let log = open(&scene.dir, scene.window).map_err(Failure::Failed)?;
    let recorder = Recorder::lines(std::io::stdout());
    let stage = Stage::new(&log, &recorder, scene.seed, scene.life).map_err(Failure::Failed)?;
    let pending: Vec<Pending> = scene
        .pending
        .chunks_exact(4)
        .filter_map(|words| match *words {
            [attempt, producer, epoch, number] => Some(Pending { attempt, id: (producer, epoch as u32, number) }),
            _ => None,
        })
        .collect();
    stage.ask_again(&pending);
    stage.run_for_ever();
    Err(Failure::Failed("everybody has stopped".to_owned()))
}

fn open(directory: &Path, window: Side) -> Result<Log, String> {
    // SAFETY: the directory is ours alone: a child that had it open is dead.
    unsafe { Stage::options(window.window()).open(directory) }.map_err(|error| format!("opening the log: {error}"))
}

pub(super) fn run(arguments: &Transacting, course: &mut Course) -> Result<(), String> {
    course.repeat = KILLS_MAX;
    each_log(course, |_| false, |directory, course| one_log(directory, arguments, course))
}

fn one_log(directory: &Path, arguments: &Transacting, course: &mut Course) -> Result<(), String> {
    let mut dice = Dice::new(course.seed);
    let log = directory.join("log");
    let window = arguments.window.side(course.seed);
    let end = if window == Side::Mapped { End::KeepsVisible } else { End::KeepsDurable };
    let mut history = History::default();
    let mut counts = oncelog_history::Counts::new();
    let kills = 1 + dice.below(KILLS_MAX);
    crashes(course, kills, window, |life, _| {
        let scene = Scene {
            dir: log.clone(),
            window,
            seed: dice.roll(),
            life,
            pending: history.pending().iter().flat_map(words).collect(),
        };
        let events = live(&scene, Duration::from_micros(dice.below(LIFE_MAX_US)))?;
        let found = if log.exists() && dice.one_in(2) {
            look_at_copy(&log, |copied| look_at(copied, window))?
        } else {
            look_at(&log, window)?
        };
        history.push(events, end, found);
        counts = check(&history).map_err(|fault| kept(directory, &history, fault))?;
        Ok::<_, String>(())
    })?;
    for (what, count) in counts {
        course.count(&what, count);
    }
    Ok(())
}

/// Puts the history of a fault beside its log.
fn kept(directory: &Path, history: &History, fault: String) -> String {
    let text = serde_json::to_vec(history).map_err(|error| error.to_string());
    let written =
        text.and_then(|text| fs::write(directory.join("history.json"), text).map_err(|error| error.to_string()));
    match written {
        Ok(()) => format!("{fault}; all that happened is in history.json beside the log"),
        Err(error) => format!("{fault}; what happened could not be kept: {error}"),
    }
}

fn words(pending: &Pending) -> [u64; 4] {
    let (producer, epoch, number) = pending.id;
    [pending.attempt, producer, epoch.into(), number]
}

fn look_at(directory: &Path, window: Side) -> Result<Look, String> {
    look(&open(directory, window)?)
}

/// Starts a process and kills it after that time; all that it has said.
fn live(scene: &Scene, time: Duration) -> Result<Vec<Event>, String> {
    let program = env::current_exe().map_err(|error| format!("no program to run: {error}"))?;
    let mut command = Command::new(program);
    command.args(["crash", "transact", &format!("--dir={}", scene.dir.display())]).args([
        format!("--window={}", scene.window.name()),
        format!("--seed={}", scene.seed),
        format!("--life={}", scene.life),
    ]);
    command.args(scene.pending.iter().map(|word| format!("--pending={word}"))).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().map_err(|error| format!("no child: {error}"))?;
    let out = process.stdout.take();
    let listener = thread::spawn(move || {
        let lines = out.into_iter().flat_map(|out| BufReader::new(out).split(b'\n'));
        lines.map_while(Result::ok).filter_map(|line| parse(&line)).collect()
    });
    thread::sleep(time);
    let ended = process.try_wait().map_err(|error| error.to_string())?;
    // One that has ended is as good as killed.
    let _ = process.kill();
    let _ = process.wait();
    let events = listener.join().map_err(|_| "nobody has listened to the child".to_owned())?;
    if let Some(status) = ended {
        let mut said = String::new();
        if let Some(mut errors) = process.stderr.take() {
            // What can't be read is not said.
            let _ = errors.read_to_string(&mut said);
        }
        return Err(format!("the child ended by itself, {status}: {}", said.trim()));
    }
    Ok(events)
}
