//! Exactly once into a store outside of the log: the offset is kept beside the result, in one transaction of the store's.
//! The log then needs to know nothing of how far its reader has come.
//!
//! `cargo run --example outside_store`
#![allow(clippy::print_stdout, reason = "an example speaks")]

use oncelog::{Log, Options, Partition};
use rusqlite::{Connection, OptionalExtension};
use std::{error::Error, path::Path};

/// One life of a reader that adds up payments: stopped behind so many, between two transactions or within one.
fn run(payments: &Partition, store: &Path, most: usize) -> Result<(), Box<dyn Error>> {
    let mut store = Connection::open(store)?;
    store.execute_batch(
        "CREATE TABLE IF NOT EXISTS sums (account TEXT PRIMARY KEY, sum INTEGER);
         CREATE TABLE IF NOT EXISTS offsets (partition TEXT PRIMARY KEY, next INTEGER);",
    )?;
    let next = "SELECT next FROM offsets WHERE partition = 'payments'";
    let next: Option<u64> = store.query_row(next, [], |row| row.get(0)).optional()?;
    let mut reader = payments.read_from(next.unwrap_or(0))?;
    for number in 0.. {
        let Some(record) = reader.next()? else { return Ok(()) };
        let (account, amount) = std::str::from_utf8(record.payload())?.split_once(' ').ok_or("no payment")?;
        let next = record.offset() + 1;
        let transaction = store.transaction()?;
        transaction.execute(
            "INSERT INTO sums VALUES (?1, ?2) ON CONFLICT DO UPDATE SET sum = sum + ?2",
            (account, amount.parse::<i64>()?),
        )?;
        if number == most {
            return Ok(()); // Stopped within: neither the sum nor the offset has changed.
        }
        transaction.execute("INSERT OR REPLACE INTO offsets VALUES ('payments', ?1)", [next])?;
        transaction.commit()?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    // SAFETY: nothing else writes to this directory.
    let log = unsafe { Log::open(dir.path().join("log"), &Options::new())? };
    let payments = log.partition("payments")?;
    for number in 1..=60 {
        payments.appender()?.append(format!("account-{} {number}", number % 3).as_bytes())?;
    }
    let store = dir.path().join("sums.sqlite");
    for most in [7, 0, 20, usize::MAX] {
        run(&payments, &store, most)?;
    }
    let sum: i64 = Connection::open(&store)?.query_row("SELECT sum(sum) FROM sums", [], |row| row.get(0))?;
    println!("60 payments add up to {sum}, in a reader that was stopped three times");
    assert_eq!(sum, (1..=60).sum());
    Ok(())
}
