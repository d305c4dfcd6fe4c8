//! Consume, transform, produce: a stage that reads orders and writes invoices, each order invoiced once, however often the
//! stage is stopped half-way.
//!
//! `cargo run --example pipeline`
#![allow(clippy::print_stdout, reason = "an example speaks")]

use oncelog::{Group, Isolation, Log, Options, Partition};
use std::error::Error;

/// One life of the stage: ten orders a transaction, until there are no more, or until it is stopped.
fn run(log: &Log, orders: &Partition, invoices: &Partition, stopped_at: Option<u64>) -> Result<(), Box<dyn Error>> {
    // Both fence whoever had these names before: a life that was taken for dead can commit nothing more.
    let mut session = log.session("invoicing")?;
    let group: Group = log.group("invoicing")?;
    let mut reader = orders.read_from(group.committed(orders).unwrap_or(0))?;
    reader.set_isolation(Isolation::ReadCommitted);
    loop {
        let mut transaction = session.begin()?;
        let mut taken = 0;
        while taken < 10
            && let Some(order) = reader.next()?
        {
            let invoice = format!("invoice for {}", String::from_utf8_lossy(order.payload()));
            assert!(transaction.append_next(invoices, invoice.as_bytes())?.is_stored());
            taken += 1;
            if stopped_at == Some(order.offset()) {
                return Ok(()); // The transaction is dropped: its invoices never were.
            }
        }
        if taken == 0 {
            return Ok(());
        }
        transaction.commit_offset(&group, orders, reader.next_offset())?;
        // The invoices, and how far the orders were read, in one step.
        assert!(transaction.commit()?.transaction() > 0);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    // SAFETY: nothing else writes to this directory.
    let log = unsafe { Log::open(dir.path(), &Options::new())? };
    let (orders, invoices) = (log.partition("orders")?, log.partition("invoices")?);
    for number in 0..100 {
        orders.appender()?.append(format!("order {number}").as_bytes())?;
    }
    for stopped_at in [Some(17), Some(42), Some(80), None] {
        run(&log, &orders, &invoices, stopped_at)?;
    }
    let mut reader = invoices.read_from(0)?;
    reader.set_isolation(Isolation::ReadCommitted);
    for number in 0..100 {
        let invoice = reader.next()?.ok_or("an invoice is missing")?;
        assert_eq!(invoice.payload(), format!("invoice for order {number}").as_bytes());
    }
    assert!(reader.next()?.is_none(), "and none twice");
    println!("100 orders, 100 invoices, in {} records of four lives", invoices.end_offset());
    Ok(())
}
