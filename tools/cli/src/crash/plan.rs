//! What a child process appends, and how its log is opened: all that the two processes must agree on.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use oncelog::{Log, Options, Partition, Window};

use super::calls::filter::Observed;

/// The one partition that is appended to.
const PARTITION: &str = "orders";

/// Bytes of a segment: the least there is, so that rotation is in every crash.
const SEGMENT_BYTES: u64 = 64 << 10;

const SNAPSHOT_BYTES: u64 = 2 * SEGMENT_BYTES;

/// Bytes that are kept where old segments are dropped: little, so that dropping is in the crashes too.
const RETENTION_BYTES: u64 = 6 * SEGMENT_BYTES;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Idempotence {
    Off,
    Session,
    ById,
    Mixed,
}

/// How one writer appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Off,
    Session,
    ById,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Side {
    Mapped,
    Direct,
}

impl Side {
    pub(super) const fn window(self) -> Window {
        match self {
            Self::Mapped => Window::Mapped,
            Self::Direct => Window::Direct,
        }
    }

    /// What crashes with it are counted under.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Mapped => "mapped window",
            Self::Direct => "direct window",
        }
    }
}

/// Arguments of the child process.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    #[arg(long)]
    pub(super) dir: PathBuf,
    #[arg(long, value_enum)]
    pub(super) window: Side,
    #[arg(long, value_enum)]
    pub(super) idempotence: Idempotence,
    #[arg(long)]
    pub(super) threads: u64,
    /// Those who append in transactions, beside the writers.
    #[arg(long, default_value_t = 0)]
    pub(super) transactors: u64,
    #[arg(long)]
    pub(super) seed: u64,
    /// Whether old segments are dropped.
    #[arg(long)]
    pub(super) retention: bool,
    /// Whether the partition is truncated, purged and reset meanwhile.
    #[arg(long)]
    pub(super) truncates: bool,
    /// Whether an acknowledged record is durable; else it is visible.
    #[arg(long)]
    pub(super) durable: bool,
    /// Appends of a writer, on average, from one that it waits for to the next.
    #[arg(long)]
    pub(super) waits_every: u64,
    /// The number that each writer goes on with.
    #[arg(long, value_delimiter = ',')]
    pub(super) next: Vec<u64>,
    /// The calls that the harness answers in the place of the system.
    #[arg(long, value_enum)]
    pub(super) observed: Option<Observed>,
}

impl Plan {
    pub(super) fn options(&self) -> Options {
        Options::new()
            .window(self.window.window())
            .segment_bytes(SEGMENT_BYTES)
            .segments_ahead(4)
            .snapshot_bytes(SNAPSHOT_BYTES)
            .producers_max(1024)
            .retention_bytes(self.retention.then_some(RETENTION_BYTES))
    }

    /// Whether the partition's first segment is gone.
    pub(super) fn has_dropped(&self) -> bool {
        let directory = self.dir.join("partitions").join(PARTITION);
        let names = fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let used: Vec<String> = names.filter(|name| name.ends_with(".seg")).collect();
        !used.is_empty() && !used.contains(&format!("{:016}.seg", 1))
    }

    pub(super) fn way(&self, writer: u64) -> Way {
        match (self.idempotence, writer % 3) {
            (Idempotence::Session, _) | (Idempotence::Mixed, 0) => Way::Session,
            (Idempotence::ById, _) | (Idempotence::Mixed, 1) => Way::ById,
            (Idempotence::Off | Idempotence::Mixed, _) => Way::Off,
        }
    }

    /// The arguments that give this plan again.
    pub(super) fn arguments(&self) -> Vec<String> {
        let value = |value: &dyn ValueName| value.name();
        let mut arguments = vec![
            format!("--dir={}", self.dir.display()),
            format!("--window={}", value(&self.window)),
            format!("--idempotence={}", value(&self.idempotence)),
            format!("--threads={}", self.threads),
            format!("--transactors={}", self.transactors),
            format!("--seed={}", self.seed),
            format!("--waits-every={}", self.waits_every),
        ];
        arguments.extend(self.next.iter().map(|next| format!("--next={next}")));
        arguments.extend(self.observed.map(|observed| format!("--observed={}", value(&observed))));
        arguments.extend(self.retention.then(|| "--retention".to_owned()));
        arguments.extend(self.truncates.then(|| "--truncates".to_owned()));
        arguments.extend(self.durable.then(|| "--durable".to_owned()));
        arguments
    }
}

/// A value as the command line knows it.
pub(super) trait ValueName {
    fn name(&self) -> String;
}

impl<T: ValueEnum> ValueName for T {
    fn name(&self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// The name of a writer's producer.
pub(super) fn name(writer: u64) -> String {
    format!("writer {writer}")
}

/// A payload of 16 to 200 bytes, sometimes of some thousand, that says whose it is and which.
pub(super) fn payload(writer: u64, number: u64) -> Vec<u8> {
    let mut bytes = [writer.to_le_bytes(), number.to_le_bytes()].concat();
    let long = if number % 97 == 96 { 5_000 } else { 0 };
    bytes.resize(16 + long + (number.wrapping_mul(7) % 185) as usize, number as u8);
    bytes
}

/// Whose a payload is and which, if it is one.
pub(super) fn written_by(payload: &[u8]) -> Option<(u64, u64)> {
    let (writer, rest) = payload.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    Some((u64::from_le_bytes(*writer), u64::from_le_bytes(*number)))
}

/// Opens a log and its partition.
pub(super) fn open(directory: &Path, options: &Options) -> Result<(Log, Partition), String> {
    // SAFETY: the directory is ours alone: a child that had it open is dead.
    let log = unsafe { Log::open(directory, options) }.map_err(|error| format!("opening the log: {error}"))?;
    let partition = log.partition(PARTITION).map_err(|error| format!("opening the partition: {error}"))?;
    Ok((log, partition))
}
