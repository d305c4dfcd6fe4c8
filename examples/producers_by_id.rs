//! What a broker does: producers register under a name, and their requests come in on any thread, some of them twice.
//!
//! `cargo run --example producers_by_id`
#![allow(clippy::print_stdout, reason = "an example speaks")]

use oncelog::{Answer, Log, Options, Stamp};
use std::{error::Error, thread};

const REQUESTS: u64 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    // SAFETY: nothing else writes to this directory.
    let log = unsafe { Log::open(dir.path(), &Options::new())? };
    let orders = log.partition("orders")?;
    let producers = log.register_all(&["web", "shop", "phone"])?;

    // Two workers are given every request of every producer: the same work twice, as after a lost answer.
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let (producers, mut appender) = (producers.clone(), orders.appender().expect("a handle is free"));
            thread::spawn(move || -> Result<u64, oncelog::AppendError> {
                let mut appended = 0;
                for sequence in 0..REQUESTS {
                    for producer in &producers {
                        let stamp = Stamp { producer: producer.id, epoch: producer.epoch, sequence };
                        let payload = format!("{} {sequence}", producer.id);
                        // A worker that runs ahead of the other appends, one that lags behind is told where it already is.
                        match appender.append_by_id(stamp, payload.as_bytes())? {
                            Answer::Appended { .. } => appended += 1,
                            answer => assert!(answer.is_stored(), "{answer:?}"),
                        }
                    }
                }
                Ok(appended)
            })
        })
        .collect();
    let mut appended = 0;
    for worker in workers {
        appended += worker.join().expect("a worker does not panic")?;
    }
    assert_eq!(appended, 3 * REQUESTS);
    assert_eq!(orders.end_offset(), 3 * REQUESTS);
    println!("{appended} records stored, each of them offered twice");
    Ok(())
}
