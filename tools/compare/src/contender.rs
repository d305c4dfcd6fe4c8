//! A log that takes part, and the block of appends that is timed.

use std::error::Error;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use crate::case::Case;
use crate::kafka_like::KafkaLike;
use crate::mutex_writer::MutexWriter;
use crate::oncelog_itself::{Idempotence, Oncelog};
use crate::raft_store;
use crate::rivals::{commitlog, okaywal, raft_engine, raft_log, walrus};

/// Whatever a log answers when it does not append.
pub type Failure = Box<dyn Error + Send + Sync>;

/// What one thread appends through.
pub trait Lane: Send {
    /// Appends a batch, and returns when it has reached the row's level.
    fn append(&mut self, records: &[&[u8]]) -> Result<(), Failure>;
}

/// A log that is open for one row.
pub trait Contender {
    /// Makes ready for so many appends of each thread: what a log does before it is needed is not timed.
    fn prepare(&mut self, _calls: u64) -> Result<(), Failure> {
        Ok(())
    }

    /// Seconds that so many appends of each thread take, all threads at once.
    fn block(&mut self, ring: &[&[u8]], calls: u64) -> Result<f64, Failure>;

    /// Records in the log, if it can say.
    fn records(&mut self) -> Option<u64> {
        None
    }
}

/// Everyone who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// This log, plain appends.
    Oncelog,
    /// This log, a session a thread.
    OncelogSession,
    /// One lock a partition around check and append.
    KafkaLike,
    /// A mutex around a buffered writer.
    Mutex,
    /// commitlog 0.2.
    Commitlog,
    /// walrus-rust 0.2 with files.
    Walrus,
    /// walrus-rust 0.2 with mappings.
    WalrusMapped,
    /// okaywal 0.3.
    Okaywal,
    /// This log behind openraft's interface.
    RaftStore,
    /// raft-engine 0.4.
    RaftEngine,
    /// raft-log 0.4.
    RaftLog,
}

impl Name {
    /// In the order of the columns; this log first, which the others are compared with.
    pub const ALL: [Self; 11] = [
        Self::Oncelog,
        Self::OncelogSession,
        Self::KafkaLike,
        Self::Mutex,
        Self::Commitlog,
        Self::Walrus,
        Self::WalrusMapped,
        Self::Okaywal,
        Self::RaftStore,
        Self::RaftEngine,
        Self::RaftLog,
    ];

    /// Whether it is the log of Raft groups, entries by index, and so comes in a table of its own.
    pub const fn is_rafts(self) -> bool {
        matches!(self, Self::RaftStore | Self::RaftEngine | Self::RaftLog)
    }

    /// The word in results; short enough for a column.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Oncelog => "oncelog",
            Self::OncelogSession => "session",
            Self::KafkaLike => "kafka",
            Self::Mutex => "mutex",
            Self::Commitlog => "commitl",
            Self::Walrus => "walrus",
            Self::WalrusMapped => "walr-m",
            Self::Okaywal => "okaywal",
            Self::RaftStore => "raft-s",
            Self::RaftEngine => "raft-e",
            Self::RaftLog => "raft-l",
        }
    }

    /// Which log it is, and its settings: the best that were found.
    pub const fn settings(self) -> &'static str {
        match self {
            Self::Oncelog => {
                "this log, idempotence off; one partition. Not synced: mapped window, segments of 8 MiB prepared ahead. \
                 Durable: direct window, each append waits for its own record"
            }
            Self::OncelogSession => "this log the same, with idempotence: a session a thread",
            Self::KafkaLike => {
                "a design like Kafka's, of our own: one lock a partition around the check of the producer's sequence and \
                 write(2) of the batch; checksum outside of the lock. Durable: fdatasync in the lock, as flush.messages=1"
            }
            Self::Mutex => {
                "a mutex around a BufWriter of 1 MiB: length, checksum, record; not synced means in the process's memory. \
                 Durable: flush and fdatasync in the lock"
            }
            Self::Commitlog => {
                "commitlog 0.2 behind a mutex, segments of 1 GiB, index of 16 Mi entries. It has no durable level: its flush \
                 asks the device for nothing"
            }
            Self::Walrus => "walrus-rust 0.2, files, a topic a thread, NoFsync; durable: SyncEach",
            Self::WalrusMapped => "walrus-rust 0.2, mapped, a topic a thread, NoFsync; durable: SyncEach",
            Self::Okaywal => {
                "okaywal 0.3, segments of 64 MiB, checkpoint (to nowhere) after 48 MiB, buffer of 64 KiB. Always durable"
            }
            Self::RaftStore => {
                "tools/raft-store: this log through openraft's interface, a raft group a thread, all groups in one log. Not \
                 synced: mapped window. Durable: direct window, until the callback is called"
            }
            Self::RaftEngine => "raft-engine 0.4, a raft group a thread, no compression; durable: write with sync",
            Self::RaftLog => {
                "raft-log 0.4, a log a thread, no wait for others before a flush. Not synced: handed to its thread, which \
                 writes it. Durable: flush with sync, until its callback is called"
            }
        }
    }

    /// Opens it in an empty directory; none if it has no such level.
    pub fn open(self, case: Case, dir: &Path) -> Result<Option<Box<dyn Contender>>, Failure> {
        Ok(match self {
            Self::Oncelog => Some(Box::new(Oncelog::open(case, dir, Idempotence::Off)?)),
            Self::OncelogSession => Some(Box::new(Oncelog::open(case, dir, Idempotence::Session)?)),
            Self::KafkaLike => Some(Box::new(KafkaLike::open(case, dir)?)),
            Self::Mutex => Some(Box::new(MutexWriter::open(case, dir)?)),
            Self::Commitlog => commitlog::open(case, dir)?,
            Self::Walrus => Some(walrus::open(case, dir, walrus::Backend::File)?),
            Self::WalrusMapped => Some(walrus::open(case, dir, walrus::Backend::Mapped)?),
            Self::Okaywal => okaywal::open(case, dir)?,
            Self::RaftStore => Some(raft_store::open(case, dir)?),
            Self::RaftEngine => Some(raft_engine::open(case, dir)?),
            Self::RaftLog => Some(raft_log::open(case, dir)?),
        })
    }
}

/// Seconds from the moment that all threads begin to the moment that the last one is done.
pub fn time<L: Lane>(lanes: &mut [L], ring: &[&[u8]], batch: usize, calls: u64) -> Result<f64, Failure> {
    let work = |lane: &mut L| -> Result<(), Failure> {
        let mut batches = ring.chunks_exact(batch).cycle();
        for _ in 0..calls {
            let records = batches.next().ok_or("the payload is shorter than a batch")?;
            lane.append(records)?;
        }
        Ok(())
    };
    if let [lane] = lanes {
        let start = Instant::now();
        work(lane)?;
        return Ok(start.elapsed().as_secs_f64());
    }
    let barrier = Barrier::new(lanes.len());
    thread::scope(|scope| {
        let threads: Vec<_> = lanes
            .iter_mut()
            .map(|lane| {
                scope.spawn(|| {
                    barrier.wait();
                    let start = Instant::now();
                    work(lane).map(|()| (start, Instant::now()))
                })
            })
            .collect();
        // The threads take the times: this one may get a processor again only when they are done.
        let mut times = Vec::new();
        for thread in threads {
            times.push(thread.join().map_err(|_| "a thread panicked")??);
        }
        let start = times.iter().map(|(start, _)| *start).min().ok_or("no thread")?;
        let end = times.iter().map(|(_, end)| *end).max().ok_or("no thread")?;
        Ok((end - start).as_secs_f64())
    })
}
