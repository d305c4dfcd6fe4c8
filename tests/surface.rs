//! What an embedder meets: handles that can be moved to and shared between threads, types that can grow without breaking
//! anyone, and a library that prints nothing.

use oncelog::{
    Answer, AppendError, Appender, Audit, CloseError, Commit, DurableError, FetchError, FillError, Group, LimitReached,
    Log, LogStats, OpenError, Options, Partition, PartitionError, PartitionStats, ProducerInfo, ReadOnlyLog,
    ReadOnlyPartition, ReadOnlyReader, Reader, Record, RegisterError, Registration, ResourceStats, Salvage, Session,
    Slice, Stamp, StoredRecord, Transaction, TransactionError, TransactionInfo, delivery,
};
use std::{
    fs,
    panic::{RefUnwindSafe, UnwindSafe},
    path::{Path, PathBuf},
};

const fn moves<T: Send>() {}
const fn moves_and_is_shared<T: Send + Sync>() {}
const fn is_its_own<T: Send + Sync + 'static>() {}
const fn is_an_error<T: std::error::Error + Send + Sync + 'static>() {}
const fn survives_a_panic<T: UnwindSafe + RefUnwindSafe>() {}

// Each of these is a test that fails by not compiling.
const _: () = {
    // Shared as they are, or cloned: a log and its partitions.
    is_its_own::<Log>();
    is_its_own::<Partition>();
    is_its_own::<Slice>();
    is_its_own::<ReadOnlyLog>();
    is_its_own::<ReadOnlyPartition>();
    // One thread at a time has these, and any thread may. None has a lifetime that its owner would have to carry along.
    is_its_own::<Appender>();
    is_its_own::<Session>();
    is_its_own::<Reader>();
    is_its_own::<ReadOnlyReader>();
    is_its_own::<Group>();
    is_its_own::<Commit>();
    is_its_own::<delivery::Broker>();
    // Borrowed from a session, a reader: they end with it.
    moves::<Transaction<'static>>();
    moves_and_is_shared::<Record<'static>>();
    moves_and_is_shared::<StoredRecord<'static>>();
    // Plain values.
    is_its_own::<Options>();
    is_its_own::<Answer>();
    is_its_own::<Stamp>();
    is_its_own::<Registration>();
    is_its_own::<ProducerInfo>();
    is_its_own::<LogStats>();
    is_its_own::<PartitionStats>();
    is_its_own::<ResourceStats>();
    is_its_own::<TransactionInfo>();
    is_its_own::<Audit>();
    is_its_own::<Salvage>();
    is_an_error::<OpenError>();
    is_an_error::<CloseError>();
    is_an_error::<PartitionError>();
    is_an_error::<AppendError>();
    is_an_error::<FillError<OpenError>>();
    is_an_error::<FetchError>();
    is_an_error::<DurableError>();
    is_an_error::<RegisterError>();
    is_an_error::<TransactionError>();
    is_an_error::<LimitReached>();
    survives_a_panic::<Options>();
};

fn sources() -> Vec<(PathBuf, String)> {
    let mut sources = Vec::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("listed").flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|suffix| suffix == "rs") {
                let text = fs::read_to_string(&path).expect("readable");
                sources.push((path, text));
            }
        }
    }
    assert!(sources.len() > 80, "these are the sources");
    sources
}

#[test]
fn the_library_prints_nothing() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            let prints = ["print!", "println!", "eprint!", "eprintln!", "dbg!", "stdout()", "stderr()"];
            if prints.iter().any(|print| code.contains(print)) {
                found.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "printed here:\n{}", found.join("\n"));
}

#[test]
fn what_may_grow_is_non_exhaustive() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let name = line
                .strip_prefix("pub enum ")
                .or_else(|| line.strip_prefix("pub struct "))
                .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric()).collect::<String>());
            let grows = |name: &String| {
                ["Error", "Stats", "Info", "Options", "Kind"].iter().any(|ending| name.ends_with(ending))
            };
            let Some(name) = name.filter(grows) else { continue };
            let attributes =
                lines[..number].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("///"));
            if !attributes.into_iter().any(|line| *line == "#[non_exhaustive]") {
                found.push(format!("{}:{}: {name}", path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "these can never have another field or variant:\n{}", found.join("\n"));
}
