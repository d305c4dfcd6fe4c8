//! What do very many partitions take, most of them at rest? Memory, descriptors, mappings, threads, disk and time, by state.
//!
//! `cargo bench --bench partitions -- --partitions 10000 --active 100`

#![allow(clippy::print_stdout, reason = "its table is what it is run for")]

use oncelog::{Log, Options, Partition, Window};
use std::{
    error::Error,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

/// What a run is of.
struct Run {
    partitions: usize,
    active: usize,
    window: Window,
}

/// What the process holds.
struct Held {
    descriptors: usize,
    mappings: usize,
    threads: usize,
    resident: u64,
    tables: u64,
}

fn held() -> Held {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()).and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    Held {
        descriptors: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        mappings: fs::read_to_string("/proc/self/maps").map_or(0, |maps| maps.lines().count()),
        threads: field("Threads:") as usize,
        resident: field("VmRSS:") << 10,
        tables: field("VmPTE:") << 10,
    }
}

fn disk(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

fn row(state: &str, since: Instant, directory: &Path) {
    let time = since.elapsed();
    let Held { descriptors, mappings, threads, resident, tables } = held();
    println!(
        "{state:<38} {:>8.2} {descriptors:>6} {mappings:>8} {threads:>7} {:>8} {:>7} {:>9}",
        time.as_secs_f64(),
        mib(resident),
        mib(tables),
        mib(disk(directory)),
    );
}

fn append_to(partitions: &[Partition], records: usize, payload: &[u8]) -> Result<(), Box<dyn Error>> {
    for partition in partitions {
        let mut appender = partition.appender()?;
        for _ in 0..records {
            appender.append(payload)?;
        }
    }
    Ok(())
}

fn measure(run: &Run, directory: &Path) -> Result<(), Box<dyn Error>> {
    let idle = Duration::from_millis(500);
    let options = Options::new().first_segment_bytes(64 << 10).window(run.window).idle_after(Some(idle));
    println!(
        "{:<38} {:>8} {:>6} {:>8} {:>7} {:>8} {:>7} {:>9}",
        format!("{} partitions, {:?} window", run.partitions, run.window),
        "s",
        "fds",
        "mappings",
        "threads",
        "RSS MiB",
        "PTE MiB",
        "disk MiB"
    );
    let since = Instant::now();
    row("before", since, directory);
    // SAFETY: the directory is this program's own.
    let log = unsafe { Log::open(directory, &options)? };
    row("a log without partitions", since, directory);
    let since = Instant::now();
    let names: Vec<String> = (0..run.partitions).map(|number| format!("p{number:05}")).collect();
    let partitions: Vec<Partition> = names.iter().map(|name| log.partition(name)).collect::<Result<_, _>>()?;
    row("created", since, directory);
    let since = Instant::now();
    append_to(&partitions, 1, &[1; 100])?;
    row("one record in each", since, directory);
    let since = Instant::now();
    while log.stats().resources.awake_partitions > 300 {
        std::thread::sleep(Duration::from_millis(100));
    }
    row("all but the last 256 at rest", since, directory);
    let since = Instant::now();
    append_to(&partitions[..run.active], 4 << 10, &[2; 1024])?;
    row(&format!("4 MiB more in each of {}", run.active), since, directory);
    println!("{:>38} {:?}", "the log says", log.stats().resources);
    let since = Instant::now();
    for partition in &partitions {
        let mut reader = partition.read_from(0)?;
        while reader.next()?.is_some() {}
    }
    row("all read once", since, directory);
    let since = Instant::now();
    let _one = log.register("one")?;
    row("a producer registered", since, directory);
    let since = Instant::now();
    drop(partitions);
    log.close()?;
    row("closed", since, directory);
    let since = Instant::now();
    // SAFETY: as above.
    let log = unsafe { Log::open(directory, &options)? };
    row("opened again", since, directory);
    let since = Instant::now();
    log.close()?;
    row("closed again", since, directory);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let window = if arguments.iter().any(|argument| argument == "--direct") { Window::Direct } else { Window::Mapped };
    let run = Run { partitions: number("--partitions", 10_000), active: number("--active", 100), window };
    let directory = tempfile::Builder::new().prefix("partitions").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    measure(&run, directory.path())
}
