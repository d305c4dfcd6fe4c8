//! A large log whose process is killed: this command again, which fills it, says so, and waits for its end.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::parent_id;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use oncelog_load::Workload;

use super::Arguments;
use crate::failure::Failure;

/// What the process says when all of it is durable.
const FILLED: &str = "filled";

/// Fills a log in another process, and kills it.
pub(super) fn fill_and_kill(dir: &Path, workload: &Workload, bytes: u64) -> io::Result<()> {
    let mut process = Command::new(env::current_exe()?)
        .args(["bench", "--reopen-bytes", &bytes.to_string(), "--window", workload.window.word()])
        .args(["--payload-bytes", &workload.payloads.mean_bytes().to_string(), "--fill"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    let heard = process.stdout.take().map_or(Ok(0), |out| BufReader::new(out).read_line(&mut said));
    process.kill()?;
    process.wait()?;
    heard?;
    if said.trim() == FILLED { Ok(()) } else { Err(io::Error::other("the process that fills it ended by itself")) }
}

/// Fills the log, says so, and waits to be killed.
#[allow(clippy::print_stdout, reason = "the process that started this one listens")]
pub(super) fn fill(dir: &Path, arguments: &Arguments, bytes: u64) -> Result<(), Failure> {
    let [payload_bytes] = arguments.payload_bytes[..] else {
        return Err(Failure::Usage("--fill needs one --payload-bytes".to_owned()));
    };
    let [window] = arguments.window[..] else { return Err(Failure::Usage("--fill needs one --window".to_owned())) };
    let parent = parent_id();
    oncelog_load::fill(dir, payload_bytes, window, bytes)?;
    println!("{FILLED}");
    io::stdout().flush().map_err(Failure::failed("saying that it is filled"))?;
    // Not for longer than whoever would kill it lives.
    while parent_id() == parent {
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
