//! A state machine's log with snapshots: what is accepted is a command in the log first, the state follows from the
//! commands, and a snapshot of it stands for all commands before. What stands behind a snapshot is purged.
//!
//! `cargo run --example state_machine`
#![allow(clippy::print_stdout, reason = "an example speaks")]

use oncelog::{Appender, Log, Options, Partition};
use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

type Failure = Box<dyn Error + Send + Sync>;

/// Commands between two snapshots.
const SNAPSHOT_EVERY: u64 = 100;

/// Balances of accounts. A command is text, `account amount`; applying one asks nothing but the state, so that every
/// replay comes to the same.
#[derive(Debug, Default, PartialEq, Eq)]
struct Balances(BTreeMap<String, i64>);

impl Balances {
    fn apply(&mut self, command: &[u8]) -> Result<(), Failure> {
        let (account, amount) = std::str::from_utf8(command)?.split_once(' ').ok_or("no command")?;
        *self.0.entry(account.to_owned()).or_default() += amount.parse::<i64>()?;
        Ok(())
    }
}

/// The state, the commands it follows from, and how many of them a snapshot holds.
struct Machine {
    state: Balances,
    commands: Partition,
    appender: Appender,
    snapshot: PathBuf,
    /// Offset of the first command that the newest snapshot does not hold.
    snapshot_offset: u64,
    /// Commands that were replayed when this was opened.
    replayed: u64,
}

impl Machine {
    /// The state as it was: the snapshot, and the commands behind it.
    fn open(log: &Log, snapshot: PathBuf) -> Result<Self, Failure> {
        let commands = log.partition("commands")?;
        let (mut state, snapshot_offset) = load(&snapshot)?;
        let mut reader = commands.read_from(snapshot_offset)?;
        while let Some(command) = reader.next()? {
            state.apply(command.payload())?;
        }
        let replayed = reader.next_offset() - snapshot_offset;
        Ok(Self { state, appender: commands.appender()?, commands, snapshot, snapshot_offset, replayed })
    }

    /// Carries a command out. Once this returns it survives whatever happens to the machine.
    fn execute(&mut self, command: &str) -> Result<(), Failure> {
        let offset = self.appender.append(command.as_bytes())?;
        // The log first: a state that is ahead of it could be forgotten by a crash, after somebody has seen it.
        if !self.commands.wait_durable(offset, Duration::from_secs(10))? {
            return Err(format!("command {offset} is not durable after 10 s").into());
        }
        self.state.apply(command.as_bytes())?;
        if offset + 1 >= self.snapshot_offset + SNAPSHOT_EVERY {
            self.take_snapshot(offset + 1)?;
        }
        Ok(())
    }

    /// The snapshot first, durable and under its name; then the commands that it holds may go.
    fn take_snapshot(&mut self, offset: u64) -> Result<(), Failure> {
        store(&self.snapshot, &self.state, offset)?;
        self.snapshot_offset = offset;
        self.commands.purge(offset)?;
        Ok(())
    }
}

/// Whole or not at all: written beside, synced, renamed, and the name synced too.
fn store(path: &Path, state: &Balances, offset: u64) -> io::Result<()> {
    let beside = path.with_extension("tmp");
    let mut file = File::create(&beside)?;
    writeln!(file, "{offset}")?;
    for (account, balance) in &state.0 {
        writeln!(file, "{account} {balance}")?;
    }
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// The state in a snapshot, and the offset behind its last command; the first state, if there is none.
fn load(path: &Path) -> Result<(Balances, u64), Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Balances::default(), 0)),
        Err(error) => return Err(error.into()),
    };
    let (offset, lines) = text.split_once('\n').ok_or("no snapshot")?;
    let mut state = Balances::default();
    for line in lines.lines() {
        state.apply(line.as_bytes())?;
    }
    Ok((state, offset.parse()?))
}

fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let (mut expected, mut executed, mut replayed) = (Balances::default(), 0, Vec::new());
    for commands in [250, 30, 45, 100] {
        // SAFETY: nothing else writes to this directory.
        let log = unsafe { Log::open(dir.path().join("log"), &Options::new())? };
        let mut machine = Machine::open(&log, dir.path().join("balances"))?;
        assert_eq!(machine.state, expected, "as if it had never stopped");
        replayed.push(machine.replayed);
        for _ in 0..commands {
            let command = format!("account-{} {}", executed % 7, executed * 31 % 100 - 50);
            machine.execute(&command)?;
            expected.apply(command.as_bytes())?;
            executed += 1;
        }
        assert_eq!(machine.commands.start_offset(), machine.snapshot_offset, "what the snapshot holds is purged");
        // It stops here, wherever it is.
    }
    println!("{executed} commands in four lives, which began with {replayed:?} of them to replay");
    assert_eq!(replayed, [0, 50, 80, 25]);
    Ok(())
}
