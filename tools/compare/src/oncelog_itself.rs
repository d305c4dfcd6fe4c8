//! This log, with idempotence off and with a session a thread.

use std::path::Path;
use std::time::Duration;

use oncelog::format::{FRAME_HEADER_BYTES, PRODUCER_BYTES};
use oncelog::{Answer, Appender, Log, Options, Partition, Session, Window};

use crate::case::{Case, Level};
use crate::contender::{Contender, Failure, Lane, time};

const SEGMENT_BYTES: u64 = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether appends are idempotent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Idempotence {
    /// Plain appends.
    Off,
    /// A session a thread.
    Session,
}

/// See the head of this file.
pub struct Oncelog {
    lanes: Vec<Own>,
    case: Case,
    partition: Partition,
    /// Last, so that handles go before what they belong to.
    _log: Log,
}

struct Own {
    kind: Kind,
    partition: Partition,
    case: Case,
}

enum Kind {
    Plain(Appender),
    Session { session: Session, sequence: u64 },
}

impl Oncelog {
    /// A log of its own.
    pub fn open(case: Case, dir: &Path, idempotence: Idempotence) -> Result<Self, Failure> {
        let options = Options::new()
            .segment_bytes(SEGMENT_BYTES)
            .first_segment_bytes(SEGMENT_BYTES)
            .segments_ahead(2)
            .snapshot_bytes(1 << 50);
        let options = match case.level {
            Level::NotSynced => options,
            Level::Durable => options.window(Window::Direct),
        };
        // SAFETY: the directory was made for this log, and nothing else writes there.
        let log = unsafe { options.open(dir) }?;
        let partition = log.partition("p")?;
        let lane = |thread: usize| -> Result<Own, Failure> {
            let kind = match idempotence {
                Idempotence::Off => Kind::Plain(partition.appender()?),
                Idempotence::Session => Kind::Session { session: log.session(&format!("s{thread}"))?, sequence: 0 },
            };
            Ok(Own { kind, partition: partition.clone(), case })
        };
        let lanes = (0..case.threads).map(lane).collect::<Result<_, _>>()?;
        Ok(Self { lanes, case, partition, _log: log })
    }
}

impl Contender for Oncelog {
    fn prepare(&mut self, calls: u64) -> Result<(), Failure> {
        let lengths = if self.case.batch > 1 { 4 * self.case.batch } else { 0 };
        let frame = FRAME_HEADER_BYTES + PRODUCER_BYTES + self.case.bytes() + lengths + 8;
        let segments = (frame as u64 * calls * self.case.threads as u64).div_ceil(SEGMENT_BYTES);
        Ok(self.partition.prepare(u32::try_from(segments)? + 2)?)
    }

    fn block(&mut self, ring: &[&[u8]], calls: u64) -> Result<f64, Failure> {
        time(&mut self.lanes, ring, self.case.batch, calls)
    }

    fn records(&mut self) -> Option<u64> {
        Some(self.partition.end_offset())
    }
}

impl Lane for Own {
    #[inline]
    fn append(&mut self, records: &[&[u8]]) -> Result<(), Failure> {
        let last = match &mut self.kind {
            Kind::Plain(appender) => match records {
                [record] => appender.append(record)?,
                records => appender.append_batch(records)?.last,
            },
            Kind::Session { session, sequence } => {
                let answer = match records {
                    [record] => session.append(&self.partition, *sequence, record)?,
                    records => session.append_batch(&self.partition, *sequence, records)?,
                };
                let Answer::Appended { last, .. } = answer else { return Err(format!("{answer:?}").into()) };
                *sequence += records.len() as u64;
                last
            }
        };
        if self.case.level == Level::Durable && !self.partition.wait_durable(last, PATIENCE)? {
            return Err(format!("offset {last} is not durable after {PATIENCE:?}").into());
        }
        Ok(())
    }
}
