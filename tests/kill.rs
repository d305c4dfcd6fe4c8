//! The process is killed for real, at a random moment, while several threads append (scenario 18 of `README.md`).
//!
//! The test runs itself again as a child process. The child appends plainly, through sessions, by id and in place, and
//! writes into its standard output up to which offset its own reader has seen everything: that much was visible. The
//! parent kills it with SIGKILL, opens the log and compares. Then the next child goes on in the same log.

mod logs;

use logs::{Seen, all, directory, eventually, open, segment_file, small};
use oncelog::{Answer, Log, Options, Partition, Stamp};
use std::{
    collections::BTreeMap,
    env, fs,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// Where the child finds its log.
const DIRECTORY: &str = "ONCELOG_TEST_KILLED";
const CHILD: &str = "the_child_that_is_killed";

const PLAIN: u64 = u64::MAX;

fn options() -> Options {
    small().segments_ahead(4).snapshot_bytes(4 * logs::SMALL)
}

/// A payload of 16 to 200 bytes that says whose it is and which.
fn payload(writer: u64, number: u64) -> Vec<u8> {
    let mut bytes = [writer.to_le_bytes(), number.to_le_bytes()].concat();
    bytes.resize(16 + (number.wrapping_mul(7) % 185) as usize, number as u8);
    bytes
}

fn written_by(payload: &[u8]) -> (u64, u64) {
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| payload[at + index]));
    (word(0), word(8))
}

fn appended(answer: Answer) -> bool {
    matches!(answer, Answer::Appended { .. })
}

/// A session of its own: single records, batches, records filled in place half of which are given up.
fn run_session(log: &Log, partition: &Partition, writer: u64) {
    let mut session = log.session(&format!("session {writer}")).expect("a session");
    let mut next = session.last(partition).expect("read").map_or(0, |last| last.sequence + 1);
    loop {
        let answer = match next % 5 {
            0 => {
                let batch: Vec<_> = (next..next + 3).map(|number| payload(writer, number)).collect();
                let batch: Vec<_> = batch.iter().map(Vec::as_slice).collect();
                session.append_batch(partition, next, &batch).expect("answered")
            }
            4 => {
                let bytes = payload(writer, next);
                let _ = session.append_with(partition, next, bytes.len(), |_, to| {
                    to.fill(b'?');
                    Err("given up")
                });
                let fill = |_, to: &mut [u8]| -> Result<(), ()> {
                    to.fill(b'?');
                    thread::yield_now();
                    to.copy_from_slice(&bytes);
                    Ok(())
                };
                session.append_with(partition, next, bytes.len(), fill).expect("filled")
            }
            _ => session.append(partition, next, &payload(writer, next)).expect("answered"),
        };
        assert!(appended(answer), "{answer:?}");
        next += if next.is_multiple_of(5) { 3 } else { 1 };
        let again = session.append(partition, next - 1, &payload(writer, next - 1)).expect("answered");
        assert!(matches!(again, Answer::Duplicate { .. }), "{again:?}");
    }
}

fn run_by_id(log: &Log, partition: &Partition, writer: u64) {
    let registration = log.register(&format!("by id {writer}")).expect("registered");
    let mut appender = partition.appender().expect("an appender");
    let info = log.producers().into_iter().find(|info| info.id == registration.id).expect("it is registered");
    let last = info.partitions.first().map_or(0, |(_, last)| *last);
    // Sends the last ones again, as a client does that has not heard the answers.
    let sequence = last.saturating_sub(20);
    let mut stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence };
    loop {
        match appender.append_by_id(stamp, &payload(writer, stamp.sequence)).expect("answered") {
            Answer::Appended { .. } | Answer::Duplicate { .. } => stamp.sequence += 1,
            other => panic!("sequence {}: {other:?}", stamp.sequence),
        }
    }
}

fn run_plain(partition: &Partition) {
    let mut appender = partition.appender().expect("an appender");
    for number in 0.. {
        appender.append(&payload(PLAIN, number)).expect("appended");
    }
}

/// Not a test of its own: does nothing unless it is the child.
#[test]
fn the_child_that_is_killed() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let log = open(Path::new(&directory), &options());
    let partition = log.partition("orders").expect("the partition");
    let mut reader = partition.read_from_end().expect("a reader");
    let found = reader.next_offset();
    let mut out = std::io::stdout().lock();
    thread::scope(|scope| {
        scope.spawn(|| run_session(&log, &partition, 1));
        scope.spawn(|| run_session(&log, &partition, 2));
        scope.spawn(|| run_by_id(&log, &partition, 3));
        scope.spawn(|| run_plain(&partition));
        loop {
            let mut seen = 0;
            while let Some(record) = reader.next().expect("a record")
                && seen < 200
            {
                assert!(record.payload().len() >= 16);
                seen += 1;
            }
            if reader.next_offset() > found {
                writeln!(out, "\nvisible before {}", reader.next_offset()).expect("the parent listens");
            }
            if seen == 0 {
                reader.wait(Duration::from_millis(10)).expect("waits");
            }
        }
    });
}

/// Lets a child append to the log and kills it. Returns the offset before which everything was visible to it.
fn kill_one(directory: &Path, after: Duration) -> u64 {
    let child = Command::new(env::current_exe().expect("this test"))
        .args(["--exact", CHILD, "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Killed(child.expect("a child"));
    let lines = BufReader::new(child.0.stdout.take().expect("piped"));
    let visible = AtomicBool::new(false);
    let mut last = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut child = child;
            eventually("the child has appended", || visible.load(Ordering::SeqCst));
            thread::sleep(after);
            assert!(child.0.try_wait().expect("asked").is_none(), "the child ended by itself");
        });
        for line in lines.lines() {
            // The last line may be cut.
            let offset = line.expect("a line").strip_prefix("visible before ").and_then(|offset| offset.parse().ok());
            if let Some(offset) = offset {
                last = last.max(offset);
                visible.store(offset > 0, Ordering::SeqCst);
            }
        }
    });
    last
}

/// A child that is killed with SIGKILL at the latest when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every record is whole, each producer's sequences are there once and in order, and the table says the same.
fn check(log: &Log, seen: &[Seen]) {
    let mut next: BTreeMap<_, u64> = BTreeMap::new();
    for record in seen {
        let (writer, number) = written_by(&record.payload);
        assert_eq!(record.payload, payload(writer, number), "offset {}", record.offset);
        assert_eq!(record.producer.is_none(), writer == PLAIN, "offset {}", record.offset);
        if let Some(stamp) = record.producer {
            let next = next.entry(stamp.producer).or_default();
            assert_eq!((stamp.sequence, number), (*next, *next), "offset {}: once, and in order", record.offset);
            *next += 1;
        }
    }
    let table: BTreeMap<_, _> =
        log.producers().into_iter().filter_map(|info| Some((info.id, info.partitions.first()?.1 + 1))).collect();
    assert_eq!(table, next, "the table is a replay of the log");
}

#[test]
fn what_was_visible_survives_a_kill_and_what_was_not_finished_leaves_no_trace() {
    const KILLS: u64 = 6;
    let directory = directory();
    let mut sealed: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut before: Vec<Seen> = Vec::new();
    for kill in 0..KILLS {
        let after = Duration::from_micros(RandomState::new().hash_one(kill) % 60_000);
        let mut visible = kill_one(directory.path(), after);
        if kill % 2 == 1 {
            // The second child finds what the first one left.
            visible = visible.max(kill_one(directory.path(), after));
        }
        let what = format!("kill {kill}, after {after:?}");

        let log = open(directory.path(), &options());
        let partition = log.partition("orders").expect("the partition");
        assert!(partition.end_offset() >= visible, "{what}: {} is not behind {visible}", partition.end_offset());
        let seen = all(&partition);
        check(&log, &seen);
        assert!(seen.starts_with(&before), "{what}: what was there is there, unchanged");
        assert!(seen.len() > before.len(), "{what}: the child has appended");
        before = seen;
        for (number, bytes) in &sealed {
            let now = fs::read(segment_file(directory.path(), *number)).expect("kept");
            assert!(now == *bytes, "{what}: segment {number} was written to after it was sealed");
        }
        // All that is there now is sealed: nothing has been appended since.
        for number in 1.. {
            let Ok(bytes) = fs::read(segment_file(directory.path(), number)) else { break };
            sealed.insert(number, bytes);
        }
    }
    assert!(sealed.len() > KILLS as usize);
}
