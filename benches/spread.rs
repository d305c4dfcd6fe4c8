//! What do producers that wait for each record to be durable lose when they are spread over as many partitions? One log with
//! sixteen of them in one partition, one with a partition for each, by turns of a few milliseconds.
//!
//! `cargo bench --bench spread -- --threads 16 --repeats 15`

#![allow(clippy::print_stdout, reason = "its table is what it is run for")]

use oncelog::{Answer, Log, Options, Partition, Session, Window};
use std::{
    error::Error,
    path::Path,
    sync::Barrier,
    time::{Duration, Instant},
};

/// Appends of each thread in a turn.
const CALLS: u64 = 150;
const PAYLOAD: [u8; 128] = [7; 128];

struct Lane {
    session: Session,
    partition: Partition,
    sequence: u64,
}

struct Side {
    log: Log,
    lanes: Vec<Lane>,
}

/// What a turn came to.
#[derive(Clone, Copy)]
struct Turn {
    per_second: f64,
    syncs_per_thousand: f64,
}

impl Side {
    fn open(directory: &Path, threads: usize, partitions: usize) -> Result<Self, Box<dyn Error>> {
        // SAFETY: the directory is this program's own.
        let log = unsafe { Log::open(directory, &Options::new().window(Window::Direct).segment_bytes(16 << 20))? };
        let mut lanes = Vec::with_capacity(threads);
        for thread in 0..threads {
            let partition = log.partition(&format!("p{}", thread % partitions))?;
            partition.prepare(2)?;
            let session = log.session(&format!("producer-{thread}"))?;
            lanes.push(Lane { session, partition, sequence: 0 });
        }
        Ok(Self { log, lanes })
    }

    fn turn(&mut self) -> Result<Turn, Box<dyn Error>> {
        let before = self.log.stats().flush.flushes;
        let together = Barrier::new(self.lanes.len() + 1);
        let appends = CALLS * self.lanes.len() as u64;
        let seconds = std::thread::scope(|scope| -> Result<f64, String> {
            let threads: Vec<_> = self
                .lanes
                .iter_mut()
                .map(|lane| {
                    let together = &together;
                    scope.spawn(move || -> Result<(), String> {
                        together.wait();
                        (0..CALLS).try_for_each(|_| lane.append().map_err(|error| error.to_string()))
                    })
                })
                .collect();
            together.wait();
            let begun = Instant::now();
            for thread in threads {
                thread.join().map_err(|_| "a producer panicked".to_owned())??;
            }
            Ok(begun.elapsed().as_secs_f64())
        })?;
        let syncs = self.log.stats().flush.flushes - before;
        Ok(Turn { per_second: appends as f64 / seconds, syncs_per_thousand: syncs as f64 * 1e3 / appends as f64 })
    }
}

impl Lane {
    fn append(&mut self) -> Result<(), Box<dyn Error>> {
        let answer = self.session.append(&self.partition, self.sequence, &PAYLOAD)?;
        let Answer::Appended { last, .. } = answer else { return Err(format!("{answer:?}").into()) };
        self.sequence += 1;
        match self.partition.wait_durable(last, Duration::from_secs(60))? {
            true => Ok(()),
            false => Err("not durable within a minute".into()),
        }
    }
}

/// Median and range.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).and_then(|value| value.parse().ok()).unwrap_or(default).max(1)
    };
    let (threads, repeats) = (number("--threads", 16), number("--repeats", 15));
    let directory = tempfile::Builder::new().prefix("spread").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut together = Side::open(&directory.path().join("together"), threads, 1)?;
    let mut apart = Side::open(&directory.path().join("apart"), threads, threads)?;
    let (mut one, mut many) = (Vec::new(), Vec::new());
    // The first turn of each warms up.
    for turn in 0..=repeats {
        let (first, second) = match turn % 2 {
            0 => (together.turn()?, apart.turn()?),
            _ => {
                let apart = apart.turn()?;
                (together.turn()?, apart)
            }
        };
        if turn > 0 {
            one.push(first);
            many.push(second);
        }
    }
    println!(
        "{threads} producers, 128 B, each waits until its record is durable, direct window; {repeats} repeats by turns"
    );
    println!("{:<28} {:>12} {:>20} {:>24}", "", "appends/s", "from..to", "syncs per 1,000 appends");
    for (name, turns) in [("in one partition", &one), ("in a partition each", &many)] {
        let (rate, least, most) = spread(turns.iter().map(|turn| turn.per_second).collect());
        let (syncs, ..) = spread(turns.iter().map(|turn| turn.syncs_per_thousand).collect());
        println!("{name:<28} {rate:>12.0} {:>20} {syncs:>24.0}", format!("{least:.0}..{most:.0}"));
    }
    let (ratio, least, most) =
        spread(many.iter().zip(&one).map(|(many, one)| many.per_second / one.per_second).collect());
    println!("throughput of the second against the first: {ratio:.2} ({least:.2}..{most:.2})");
    Ok(())
}
