//! Where the broker runs: on a log in this process, which is dropped and reopened, or in a process of its own, which is
//! killed.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use oncelog::delivery::{Acknowledge, Broker, Call, Reply, Request};
use oncelog::{Log, Options};
use serde::Serialize;

use super::wire::{decode_reply, encode_request, read_frame, write_frame};
use crate::error::LoadError;

/// Bytes of a segment: small, so that a cell crosses several.
const SEGMENT_BYTES: u64 = 1 << 20;
/// Bytes of a partition's first segment, and of the first one after each reopening.
const FIRST_SEGMENT_BYTES: u64 = 64 << 10;

/// Opens the log of a cell's broker.
///
/// # Errors
/// As for [`Log::open`].
pub fn open_log(directory: &Path) -> Result<Log, LoadError> {
    let options = Options::new()
        .segment_bytes(SEGMENT_BYTES)
        .first_segment_bytes(FIRST_SEGMENT_BYTES)
        .segments_ahead(1)
        .producers_max(1024);
    // SAFETY: the directory is this cell's own, and was made for it; a broker's process is the only one to open it.
    Ok(unsafe { options.open(directory) }?)
}

/// Where a cell's broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the process that measures.
    Here,
    /// In a process of its own, while messages are produced.
    Process,
}

/// A broker that can be stopped and started again.
pub(super) struct Host {
    directory: PathBuf,
    /// The program that serves, if brokers are processes.
    program: Option<PathBuf>,
    running: Option<Running>,
}

enum Running {
    Here { log: Log, broker: Box<Broker> },
    Process(Process),
}

struct Process {
    child: Child,
    requests: ChildStdin,
    replies: ChildStdout,
}

impl Host {
    /// Starts a broker on the log in this directory: here, or by running a program with the directory as the last argument
    /// of `oncelog delivery --broker`.
    pub(super) fn start(directory: &Path, program: Option<&Path>) -> Result<Self, LoadError> {
        let mut host = Self { directory: directory.to_owned(), program: program.map(Path::to_owned), running: None };
        host.restart()?;
        Ok(host)
    }

    /// Stops the broker as it is: its process is killed, or its log dropped without a close.
    pub(super) fn kill(&mut self) {
        self.running = None;
    }

    /// Starts the broker again, unless it runs.
    pub(super) fn restart(&mut self) -> Result<(), LoadError> {
        if self.running.is_none() {
            self.running = Some(match &self.program {
                Some(program) => {
                    let process = Process::start(program, &self.directory);
                    Running::Process(process.map_err(LoadError::io("starting a broker's process"))?)
                }
                None => {
                    let log = open_log(&self.directory)?;
                    Running::Here { broker: Box::new(Broker::new(&log)), log }
                }
            });
        }
        Ok(())
    }

    /// The broker's answer to a request, if it runs and gives one.
    pub(super) fn handle(&mut self, request: &Request) -> Result<Option<Reply>, LoadError> {
        match &mut self.running {
            Some(Running::Here { broker, .. }) => Ok(broker.handle(request)),
            Some(Running::Process(process)) => process.ask(request).map_err(LoadError::io("asking a broker's process")),
            None => Ok(None),
        }
    }

    /// The log, from now on in this process: a broker of its own is killed.
    pub(super) fn log(&mut self) -> Result<&Log, LoadError> {
        if self.program.take().is_some() {
            self.kill();
        }
        self.restart()?;
        match &self.running {
            Some(Running::Here { log, .. }) => Ok(log),
            _ => unreachable!("without a program the broker runs here"),
        }
    }
}

impl Process {
    fn start(program: &Path, directory: &Path) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(["delivery", "--broker"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let (requests, replies) = (child.stdin.take(), child.stdout.take());
        match requests.zip(replies) {
            Some((requests, replies)) => Ok(Self { child, requests, replies }),
            None => Err(io::Error::other("it was started without pipes")),
        }
    }

    fn ask(&mut self, request: &Request) -> io::Result<Option<Reply>> {
        let frame = encode_request(request).ok_or_else(|| io::Error::other("it serves producers alone"))?;
        write_frame(&mut self.requests, &frame)?;
        if matches!(request.call, Call::Append { acknowledge: Acknowledge::Nothing, .. }) {
            return Ok(None);
        }
        let frame = read_frame(&mut self.replies)?.ok_or_else(|| io::Error::other("it has ended by itself"))?;
        decode_reply(&frame).map(Some).ok_or_else(|| io::Error::other("what it said is no reply"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended is as good as killed. Waited for, so that its log is free for the next.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
