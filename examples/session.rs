//! A producer whose answers get lost, and a log that stores each of its records once all the same.
//!
//! `cargo run --example session`
#![allow(clippy::print_stdout, reason = "an example speaks")]

use oncelog::{Answer, Log, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    // SAFETY: nothing else writes to this directory.
    let log = unsafe { Log::open(dir.path(), &Options::new())? };
    let payments = log.partition("payments")?;

    let mut session = log.session("till-3")?;
    let mut retries = 0;
    for sequence in 0..1_000_u64 {
        let payment = format!("payment {sequence}");
        // Every third answer is lost on its way. The producer cannot know whether the payment was stored, and sends it
        // again under the same sequence until it hears.
        for attempt in 0.. {
            let answer = session.append(&payments, sequence, payment.as_bytes())?;
            let lost = attempt == 0 && sequence % 3 == 0;
            if !lost {
                retries += u64::from(matches!(answer, Answer::Duplicate { .. }));
                assert!(answer.is_stored());
                break;
            }
        }
    }

    let mut reader = payments.read_from(0)?;
    let mut stored = 0;
    while let Some(record) = reader.next()? {
        assert_eq!(record.payload(), format!("payment {stored}").as_bytes());
        stored += 1;
    }
    println!("{stored} payments stored once, {retries} retries recognised");
    assert_eq!((stored, retries), (1_000, 334));
    Ok(())
}
