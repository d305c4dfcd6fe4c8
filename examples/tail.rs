//! A reader that follows what another thread appends, and keeps a record beyond its own life.
//!
//! `cargo run --example tail`
#![allow(clippy::print_stdout, reason = "an example speaks")]

use oncelog::{Log, Options, Slice};
use std::{error::Error, thread, time::Duration};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    // SAFETY: nothing else writes to this directory.
    let log = unsafe { Log::open(dir.path(), &Options::new())? };
    let events = log.partition("events")?;

    let mut appender = events.appender()?;
    let writer = thread::spawn(move || {
        for number in 0..100_u32 {
            appender.append(format!("event {number}").as_bytes()).expect("there is room");
            thread::sleep(Duration::from_micros(200));
        }
    });

    let mut reader = events.read_from_end()?;
    reader.seek(0)?;
    let mut kept: Option<Slice> = None;
    while reader.next_offset() < 100 && reader.wait(Duration::from_secs(10))? {
        while let Some(record) = reader.next()? {
            // Nothing is copied: the slice is the memory that the record was appended to.
            kept = Some(record.slice());
        }
    }
    writer.join().expect("the writer does not panic");
    drop((reader, events));
    log.close()?;
    let last = kept.ok_or("nothing came")?;
    assert_eq!(&*last, b"event 99");
    println!("the last one was {:?}", std::str::from_utf8(&last)?);
    Ok(())
}
