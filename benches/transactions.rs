//! What does a transaction cost: to commit, visible and durable, and to those who read beside it?
#![allow(missing_docs, clippy::print_stdout, reason = "a benchmark speaks")]

use oncelog::{Isolation, Log, Options, Partition, Session, Verify, Window};
use oncelog_load::{SeveralFiles, Spread};
use std::{
    error::Error,
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const REPEATS: usize = 9;
const PARTITIONS: usize = 3;
/// Records of a transaction in each partition.
const RECORDS: usize = 10;
/// Rounds of a repeat, and transactions of a round.
const ROUNDS: usize = 20;
const VISIBLE: u32 = 100;
const DURABLE: usize = 150;
/// Records of a scan, half of them in aborted transactions where there are any.
const SCANNED: u64 = 200_000;
const PAYLOAD: [u8; 100] = [7; 100];
const LONG: Duration = Duration::from_secs(60);

fn open(dir: &Path, window: Window) -> Outcome<(Log, Vec<Partition>)> {
    // SAFETY: the directory is new, and nothing else knows of it.
    let log = unsafe { Options::new().window(window).first_segment_bytes(16 << 20).open(dir)? };
    let partitions = (0..PARTITIONS).map(|at| log.partition(&format!("p{at}"))).collect::<Result<Vec<_>, _>>()?;
    for partition in &partitions {
        partition.prepare(2)?;
    }
    Ok((log, partitions))
}

fn line(what: &str, spread: Option<Spread>, unit: &str, bound: &str) {
    let Some(Spread { median, min, max, .. }) = spread else { return };
    println!("{what:<62} {median:>8.2} {unit:<4} {:>17}   {bound}", format!("{min:.2}..{max:.2}"));
}

/// The middle of some times, in nanoseconds.
fn middle(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_nanos() as f64)
}

fn append_plain(session: &mut Session, partitions: &[Partition]) -> Outcome<()> {
    for partition in partitions {
        for _ in 0..RECORDS {
            black_box(session.append_next(partition, &PAYLOAD)?.is_stored());
        }
    }
    Ok(())
}

/// A transaction of the same records; how long its commit took, up to being durable if it is to be.
fn transact(session: &mut Session, partitions: &[Partition], durable: bool) -> Outcome<Duration> {
    let mut transaction = session.begin()?;
    for partition in partitions {
        for _ in 0..RECORDS {
            black_box(transaction.append_next(partition, &PAYLOAD)?.is_stored());
        }
    }
    let begin = Instant::now();
    let commit = transaction.commit()?;
    if durable {
        commit.wait_durable(LONG)?;
    }
    Ok(begin.elapsed())
}

fn visible(dir: &Path) -> Outcome<()> {
    let (mut plain, mut inside, mut beyond) = (Vec::new(), Vec::new(), Vec::new());
    for repeat in 0..REPEATS {
        let (log, partitions) = open(&dir.join(format!("visible {repeat}")), Window::Mapped)?;
        let (mut off, mut on) = (log.session("plain")?, log.session("transactions")?);
        // The first round waits for segments that are prepared on demand, and is not counted. The others take turns so
        // closely that what else the machine does falls on both.
        for round in 0..=ROUNDS {
            let begin = Instant::now();
            for _ in 0..VISIBLE {
                append_plain(&mut off, &partitions)?;
            }
            let first = begin.elapsed();
            let begin = Instant::now();
            for _ in 0..VISIBLE {
                transact(&mut on, &partitions, false)?;
            }
            let second = begin.elapsed();
            if round > 0 {
                let each = |time: Duration| time.as_nanos() as f64 / 1e3 / f64::from(VISIBLE);
                plain.push(each(first));
                inside.push(each(second));
                beyond.push(each(second) - each(first));
            }
        }
    }
    println!("{} rounds of {VISIBLE} each; below, the middle half of the rounds.", REPEATS * ROUNDS);
    line("30 idempotent appends in 3 partitions", middle_half(plain), "us", "");
    line("one transaction of them, committed and visible", middle_half(inside), "us", "");
    line("  beyond the appends", middle_half(beyond), "us", "at most 2");
    println!("\nMedians of {REPEATS} interleaved repeats, min..max.");
    Ok(())
}

/// The quartiles in the place of the extremes: among a hundred rounds some always meet something else.
fn middle_half(mut all: Vec<f64>) -> Option<Spread> {
    all.sort_by(f64::total_cmp);
    let quarter = all.len() / 4;
    Spread::of(all.get(quarter..all.len() - quarter)?.to_vec())
}

fn durable(dir: &Path) -> Outcome<()> {
    let (log, partitions) = open(&dir.join("durable"), Window::Direct)?;
    let (mut off, mut on) = (log.session("plain")?, log.session("transactions")?);
    let [mut one, mut four, mut four_each] =
        [SeveralFiles::prepare(dir, 1)?, SeveralFiles::prepare(dir, 4)?, SeveralFiles::prepare(dir, 4)?];
    let (mut appends, mut commits, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bare, mut bare_each) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        let [mut append, mut commit, mut once, mut together, mut each] = [const { Vec::new() }; 5];
        for _ in 0..DURABLE {
            let begin = Instant::now();
            let offsets = off.append_next(&partitions[0], &PAYLOAD)?.offsets().ok_or("stored")?;
            partitions[0].wait_durable(offsets.last, LONG)?;
            append.push(begin.elapsed());
            commit.push(transact(&mut on, &partitions, true)?);
            once.push(one.write(true)?);
            together.push(four.write(true)?);
            each.push(four_each.write(false)?);
        }
        let [append, commit, once, together, each] = [append, commit, once, together, each].map(middle);
        appends.push(append / 1e3);
        commits.push(commit / 1e3);
        ratios.push(commit / append);
        bare.push(together / once);
        bare_each.push(each / once);
    }
    println!("\nDurable, in the direct window ({:?}): p50 of each repeat.", log.stats().flush.kind);
    line("one durable append", Spread::of(appends), "us", "");
    line("commit of 10 records in each of 3 partitions, durable", Spread::of(commits), "us", "");
    line("  against the append", Spread::of(ratios), "", "at most 1.7; 2.6 where each file needs its own");
    line("  bare: four files written and flushed once, against one", Spread::of(bare), "", "");
    line("  bare: four files, each with its flush, against one", Spread::of(bare_each), "", "");
    Ok(())
}

fn scan(partition: &Partition, isolation: Isolation, verify: Verify) -> Outcome<(f64, u64)> {
    let mut reader = partition.read_from(0)?;
    reader.set_isolation(isolation);
    reader.set_verify(verify);
    let (begin, mut records) = (Instant::now(), 0);
    while let Some(record) = reader.next()? {
        black_box(record.payload());
        records += 1;
    }
    Ok((begin.elapsed().as_nanos() as f64 / records as f64, records))
}

fn scans(dir: &Path) -> Outcome<()> {
    println!("\nScans from memory, a record that the reader is given.");
    let (log, partitions) = open(&dir.join("scans"), Window::Mapped)?;
    let mut session = log.session("p")?;
    for _ in 0..SCANNED {
        black_box(session.append_next(&partitions[0], &PAYLOAD)?.is_stored());
    }
    for number in 0..SCANNED / RECORDS as u64 {
        let mut transaction = session.begin()?;
        for _ in 0..RECORDS {
            black_box(transaction.append_next(&partitions[1], &PAYLOAD)?.is_stored());
        }
        if number % 2 == 0 {
            transaction.abort()?;
        } else {
            let _visible = transaction.commit()?;
        }
    }
    for (partition, what, bound) in [(0, "no transactions", "1.05"), (1, "half of them in aborted ones", "1.5")] {
        for verify in [Verify::Never, Verify::Always] {
            let (mut off, mut on, mut ratios, mut scanned) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for _ in 0..REPEATS {
                let (first, all) = scan(&partitions[partition], Isolation::ReadUncommitted, verify)?;
                let (second, seen) = scan(&partitions[partition], Isolation::ReadCommitted, verify)?;
                assert_eq!((all, seen), (SCANNED, if partition == 0 { SCANNED } else { SCANNED / 2 }));
                off.push(first);
                on.push(second);
                ratios.push(second / first);
                scanned.push(second * seen as f64 / (first * all as f64));
            }
            line(&format!("{what}, verified {verify:?}: uncommitted").to_lowercase(), Spread::of(off), "ns", "");
            line("  committed", Spread::of(on), "ns", "");
            line("  ratio, a record that the log holds", Spread::of(scanned), "", &format!("at most {bound}"));
            if partition == 1 {
                line("  ratio, a record that the reader is given", Spread::of(ratios), "", "");
            }
        }
    }
    Ok(())
}

fn main() -> Outcome<()> {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    println!("Transactions of 100 B records.\n");
    visible(dir.path())?;
    durable(dir.path())?;
    scans(dir.path())
}
