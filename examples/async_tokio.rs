//! From tokio: tasks that append and await that their record is durable, and a task that awaits what comes to be read. One
//! thread runs them all. The log has no runtime of its own and asks for none: what it offers is to wake a waker.
//!
//! `cargo run --example async_tokio`
#![allow(clippy::print_stdout, reason = "an example speaks")]

use oncelog::{DurableError, FetchError, Options, Partition, Reader, Slice, Window};
use std::{error::Error, future::poll_fn};

type Failure = Box<dyn Error + Send + Sync>;

const TASKS: u64 = 64;
const RECORDS: u64 = 20;

/// Resolves when the record at `offset` is durable.
async fn durable(partition: &Partition, offset: u64) -> Result<(), DurableError> {
    poll_fn(|context| partition.poll_durable(offset, context)).await
}

/// Resolves with the next record; none when the log is closed and everything in it was read.
async fn next(reader: &mut Reader) -> Result<Option<Slice>, FetchError> {
    loop {
        // The slice keeps its memory: it may outlive the reader, and go to another task.
        if let Some(record) = reader.next()? {
            return Ok(Some(record.slice()));
        }
        match poll_fn(|context| reader.poll_ready(context)).await {
            Err(FetchError::Closed) => return Ok(None),
            ready => ready?,
        }
    }
}

/// One client's requests, each answered before the next comes.
async fn requests(partition: Partition, client: u64) -> Result<(), Failure> {
    let mut appender = partition.appender()?;
    for number in 0..RECORDS {
        // Appending copies the bytes and returns, so there is nothing to await. Only where a partition outruns the segments
        // that are prepared ahead does it wait for one, in this thread; `Options::segments_ahead` is what that takes.
        let offset = appender.append(format!("{client} {number}").as_bytes())?;
        durable(&partition, offset).await?;
    }
    Ok(())
}

/// Counts what is appended until the log is closed.
async fn follow(mut reader: Reader) -> Result<u64, FetchError> {
    let mut seen = 0;
    while next(&mut reader).await?.is_some() {
        seen += 1;
    }
    Ok(seen)
}

async fn run() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    // SAFETY: nothing else writes to this directory.
    let log = unsafe { Options::new().window(Window::Direct).open(dir.path())? };
    let partition = log.partition("requests")?;
    // A reader does not keep its log open, so the task that follows ends when the log does.
    let follower = tokio::spawn(follow(partition.read_from(0)?));
    let clients: Vec<_> = (0..TASKS).map(|client| tokio::spawn(requests(partition.clone(), client))).collect();
    for client in clients {
        client.await??;
    }
    let flushes = log.stats().flush.rounds;
    drop(partition);
    // Closing writes and waits: not for a thread that has tasks to run.
    tokio::task::spawn_blocking(|| log.close()).await??;
    let seen = follower.await??;
    assert_eq!(seen, TASKS * RECORDS);
    assert!(flushes < seen, "tasks that wait together share a flush");
    println!(
        "{seen} records, each awaited until it was durable, in {flushes} flushes, and seen by a task that awaited them"
    );
    Ok(())
}

fn main() -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().build()?.block_on(run())
}
