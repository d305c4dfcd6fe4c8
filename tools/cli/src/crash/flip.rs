//! `oncelog crash flip`: a small log, of which each byte is flipped and each length is cut, one at a time.
//!
//! What is tried is cut into slices; a seed stands for one of them, so a whole pass takes as many seeds. Each slice is tried
//! by a process of its own (`damaged.rs`), some at once: one that dies of a damage is a fault like any other.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::{collections::BTreeMap, env, num::NonZero};

use clap::Args;

use super::course::{Bounds, Course};
use super::damaged::{CAME, END, FAULT, NEXT, SLICES, build, damages};

/// Arguments of `oncelog crash flip`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) bounds: Bounds,
}

/// What a slice's process has said.
enum Said {
    Next(String),
    Came(String),
    Fault(String),
    /// The slice is done, or its process is dead.
    Ended,
}

/// A process that tries a slice. Killed when dropped.
struct Trial {
    process: Child,
    /// What it is at.
    next: String,
    done: bool,
}

impl Drop for Trial {
    fn drop(&mut self) {
        // One that has ended is as good as killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Trial {
    fn start(place: &Path, seed: u64, said: Sender<(u64, Said)>) -> Result<Self, String> {
        let program = env::current_exe().map_err(|error| format!("no program to run: {error}"))?;
        let mut command = Command::new(program);
        command.args(["crash", "slice", "--place"]).arg(place);
        command.args(["--slice", &(seed % SLICES).to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(|error| format!("no child: {error}"))?;
        if let Some(out) = process.stdout.take() {
            thread::spawn(move || listen(BufReader::new(out), seed, &said));
        }
        Ok(Self { process, next: "the whole log".to_owned(), done: false })
    }
}

fn listen(out: impl BufRead, seed: u64, said: &Sender<(u64, Said)>) {
    for line in out.lines().map_while(Result::ok) {
        let line = if let Some(next) = line.strip_prefix(NEXT) {
            Said::Next(next.to_owned())
        } else if let Some(came) = line.strip_prefix(CAME) {
            Said::Came(came.to_owned())
        } else if let Some(fault) = line.strip_prefix(FAULT) {
            Said::Fault(fault.to_owned())
        } else if line == END {
            Said::Came(END.to_owned())
        } else {
            continue;
        };
        if said.send((seed, line)).is_err() {
            return;
        }
    }
    // Nobody may be left to hear it.
    let _ = said.send((seed, Said::Ended));
}

pub(super) fn run(_arguments: &Arguments, course: &mut Course) -> Result<(), String> {
    // Openings sync what they read: in memory that costs nothing.
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let place = place.map_err(|error| error.to_string())?;
    build(place.path())?;
    course.count("bytes and lengths there are, of a closed log and a killed one", damages(place.path())?);
    // More than there are cores: opening waits now and then, for threads that end.
    let at_once = 3 * thread::available_parallelism().map_or(2, NonZero::get);
    course.repeat = damages(place.path())? / SLICES * at_once as u64;
    let (tell, hear) = channel();
    let mut trials = BTreeMap::new();
    let last = course.seed + SLICES;
    let mut next = course.seed;
    while course.goes_on() && course.seed < last {
        while trials.len() < at_once && next < last {
            trials.insert(next, Trial::start(place.path(), next, tell.clone())?);
            next += 1;
        }
        hear_one(&hear, &mut trials, course)?;
        // The slices before this one are done.
        course.seed = trials.keys().next().copied().unwrap_or(next);
    }
    Ok(())
}

fn hear_one(
    hear: &Receiver<(u64, Said)>,
    trials: &mut BTreeMap<u64, Trial>,
    course: &mut Course,
) -> Result<(), String> {
    let (seed, said) = hear.recv().map_err(|error| error.to_string())?;
    let Some(trial) = trials.get_mut(&seed) else { return Ok(()) };
    match said {
        Said::Next(what) => trial.next = what,
        Said::Came(what) if what == END => trial.done = true,
        Said::Came(what) => {
            course.count(&what, 1);
            course.step();
        }
        Said::Fault(fault) => {
            course.seed = seed;
            return Err(fault);
        }
        Said::Ended if trial.done => {
            trials.remove(&seed);
            course.count("slices that are whole", 1);
        }
        Said::Ended => {
            course.seed = seed;
            let status = trial.process.wait().map_err(|error| error.to_string())?;
            return Err(format!("{}: the process that opened it ended, {status}", trial.next));
        }
    }
    Ok(())
}
