//! A child process that appends, what it has reported so far, and its end.

use std::collections::BTreeMap;
use std::env;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::calls::Calls;
use super::known::Known;
use super::plan::Plan;
use super::reports::Said;

/// What a child has said.
#[derive(Clone, Default)]
pub(super) struct Reports {
    /// By writer, the number up to which all is acknowledged.
    pub(super) acknowledged: BTreeMap<u64, u64>,
    /// By writer, how often there was no room.
    pub(super) full: BTreeMap<u64, u64>,
    /// Changes of the partition that have returned.
    pub(super) changes: u64,
    /// What is known by all that its log's processes have said.
    pub(super) known: Known,
    /// Where the harness hears of its calls.
    listener: Option<u64>,
}

impl Reports {
    fn hear(&mut self, said: &Said) {
        self.known.hear(said);
        match *said {
            Said::Acknowledged { writer, told } => {
                self.acknowledged.insert(writer, told.number);
            }
            Said::Full { writer } => *self.full.entry(writer).or_default() += 1,
            Said::Observed { listener } => self.listener = Some(listener),
            Said::Returned { made } => self.changes += u64::from(made),
            Said::Begins(_) => {}
        }
    }
}

pub(super) struct Child {
    process: std::process::Child,
    reports: Arc<Mutex<Reports>>,
    listener: Option<thread::JoinHandle<()>>,
}

impl Child {
    /// Starts writers on a log of which that is known.
    pub(super) fn start(plan: &Plan, known: Known) -> Result<Self, String> {
        Self::spawn("child", &plan.arguments(), known)
    }

    /// Starts this program with a subcommand of `oncelog crash` that reports.
    pub(super) fn run(subcommand: &str, arguments: &[String]) -> Result<Self, String> {
        Self::spawn(subcommand, arguments, Known::default())
    }

    fn spawn(subcommand: &str, arguments: &[String], known: Known) -> Result<Self, String> {
        let program = env::current_exe().map_err(|error| format!("no program to run: {error}"))?;
        let mut command = Command::new(program);
        command.args(["crash", subcommand]).args(arguments).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(|error| format!("no child: {error}"))?;
        let reports = Arc::new(Mutex::new(Reports { known, ..Reports::default() }));
        let heard = Arc::clone(&reports);
        let listener = process.stdout.take().zip(process.stdin.take()).map(|(mut out, mut told)| {
            thread::spawn(move || {
                while let Some(said) = Said::hear(&mut out) {
                    heard.lock().unwrap_or_else(PoisonError::into_inner).hear(&said);
                    if matches!(said, Said::Begins(_)) {
                        // One that is dead needs not be told.
                        let _ = told.write_all(&[0]);
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
        while !wanted(&self.reports.lock().unwrap_or_else(PoisonError::into_inner)) {
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
