//! A child process that appends, what it has reported so far, and its end.

use std::collections::BTreeMap;
use std::env;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::calls::Calls;
use super::plan::Plan;
use super::writers::{FULL, OBSERVED};

/// What a child has said.
#[derive(Clone, Default)]
pub(super) struct Reports {
    /// By writer, the number up to which all is acknowledged.
    pub(super) acknowledged: BTreeMap<u64, u64>,
    /// By writer, how often there was no room.
    pub(super) full: BTreeMap<u64, u64>,
    /// Where the harness hears of its calls.
    listener: Option<u64>,
}

pub(super) struct Child {
    process: std::process::Child,
    reports: Arc<Mutex<Reports>>,
    listener: Option<thread::JoinHandle<()>>,
}

impl Child {
    pub(super) fn start(plan: &Plan) -> Result<Self, String> {
        Self::run("child", &plan.arguments())
    }

    /// Starts this program with a subcommand of `oncelog crash` that reports.
    pub(super) fn run(subcommand: &str, arguments: &[String]) -> Result<Self, String> {
        let program = env::current_exe().map_err(|error| format!("no program to run: {error}"))?;
        let mut command = Command::new(program);
        command.args(["crash", subcommand]).args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(|error| format!("no child: {error}"))?;
        let reports = Arc::new(Mutex::new(Reports::default()));
        let heard = Arc::clone(&reports);
        let out = process.stdout.take();
        let listener = out.map(|mut out| {
            thread::spawn(move || {
                let mut report = [0; 16];
                while out.read_exact(&mut report).is_ok() {
                    let [writer, number] =
                        [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|index| report[at + index])));
                    let mut reports = heard.lock().unwrap_or_else(PoisonError::into_inner);
                    if writer == OBSERVED {
                        reports.listener = Some(number);
                    } else if number == FULL {
                        *reports.full.entry(writer).or_default() += 1;
                    } else {
                        reports.acknowledged.insert(writer, number);
                    }
                }
            })
        });
        Ok(Self { process, reports, listener })
    }

    pub(super) fn reports(&self) -> Reports {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the reports are as wanted.
    pub(super) fn wait(&mut self, what: &str, wanted: impl Fn(&Reports) -> bool) -> Result<(), String> {
        let began = Instant::now();
        while !wanted(&self.reports()) {
            self.still_runs()?;
            if began.elapsed() > Duration::from_secs(60) {
                return Err(format!("within a minute there was no {what}"));
            }
            thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// The calls of a child whose plan has them observed.
    pub(super) fn calls(&mut self) -> Result<Calls, String> {
        self.wait("descriptor to hear of calls at", |reports| reports.listener.is_some())?;
        let listener = self.reports().listener.unwrap_or_default() as i32;
        Calls::of(self.process.id(), listener).map_err(|error| format!("hearing of its calls: {error}"))
    }

    /// Refuses a child that has ended by itself, with what it said last.
    pub(super) fn still_runs(&mut self) -> Result<(), String> {
        let Some(status) = self.process.try_wait().map_err(|error| error.to_string())? else { return Ok(()) };
        let mut said = String::new();
        if let Some(mut errors) = self.process.stderr.take() {
            // What can't be read is not said.
            let _ = errors.read_to_string(&mut said);
        }
        Err(format!("the child ended by itself, {status}: {}", said.trim()))
    }

    /// Kills it with SIGKILL and returns all that it has said.
    pub(super) fn kill(mut self) -> Reports {
        self.end();
        self.reports()
    }

    fn end(&mut self) {
        // One that has ended is as good as killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}
