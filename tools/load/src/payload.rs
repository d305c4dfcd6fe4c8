//! What is appended: records of one size or of several, or the lines of a file, in an order that can be told again.
//!
//! The records form a ring. Every thread goes round it from the start, a batch at a time, and a retry sends the
//! same records again; so what a thread sent is known from how often it appended, and a reader can check it.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// A ring of fixed-size records takes at most this much, so that it stays in the first cache level:
/// what is measured is the log, not the source of its input.
const RING_BYTES: usize = 16 * 1024;
const RING_RECORDS: usize = 16;
/// Records of a mix: a share of one in a thousand is one of them.
const MIX_RECORDS: usize = 1_000;
/// Of a file's lines, this many are taken, and no more bytes than these.
const LINES_MAX: usize = 65_536;
const LINES_BYTES_MAX: usize = 64 << 20;

/// The records that a workload appends, again and again in the same order.
#[derive(Clone, Debug)]
pub struct Payloads {
    bytes: Vec<u8>,
    /// Where each record begins and ends in them; records of a mix lie over each other.
    spans: Vec<(usize, usize)>,
    file_name: Option<String>,
    mix: Option<String>,
}

impl Payloads {
    /// Records of one size, filled with bytes that differ from record to record.
    #[must_use]
    pub fn fixed(record_bytes: usize) -> Self {
        let records = (RING_BYTES / record_bytes.max(1)).clamp(1, RING_RECORDS);
        let spans = (0..records).map(|record| (record * record_bytes, (record + 1) * record_bytes)).collect();
        Self { bytes: noise(records * record_bytes), spans, file_name: None, mix: None }
    }

    /// Records of several sizes, each as often as its share says, in a shuffled order.
    ///
    /// # Errors
    /// There is none, a share is zero or no number, or one is so small beside the others that it gets no record.
    pub fn mixed(sizes: &[(usize, f64)]) -> Result<Self, PayloadError> {
        let total: f64 = sizes.iter().map(|(_, share)| share).sum();
        let mut lengths = Vec::new();
        for (bytes, share) in sizes {
            let records = (share / total * MIX_RECORDS as f64).round();
            if !(*share > 0.0 && records >= 1.0) {
                return Err(PayloadError::Share { bytes: *bytes, share: *share });
            }
            lengths.extend(std::iter::repeat_n(*bytes, records as usize));
        }
        let Some(longest) = lengths.iter().max() else { return Err(PayloadError::NoSize) };
        let bytes = noise(RING_BYTES.max(*longest));
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: usize| {
            state = xorshift(state);
            (state % below as u64) as usize
        };
        for last in (1..lengths.len()).rev() {
            lengths.swap(last, random(last + 1));
        }
        let spans = lengths.iter().map(|length| {
            let start = random(bytes.len() - length + 1);
            (start, start + length)
        });
        let words: Vec<String> = sizes.iter().map(|(bytes, share)| format!("{bytes}:{share}")).collect();
        Ok(Self { spans: spans.collect(), bytes, file_name: None, mix: Some(words.join(",")) })
    }

    /// The lines of a file, without their ends; empty lines are left out.
    ///
    /// # Errors
    /// The file cannot be read, or holds no line.
    pub fn lines_of(path: &Path) -> Result<Self, PayloadError> {
        let unreadable = |source| PayloadError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let mut payloads = Self {
            bytes: Vec::new(),
            spans: Vec::new(),
            file_name: Some(path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()),
            mix: None,
        };
        for line in BufReader::new(file).split(b'\n') {
            let line = line.map_err(unreadable)?;
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if payloads.spans.len() == LINES_MAX || payloads.bytes.len() + line.len() > LINES_BYTES_MAX {
                break;
            }
            if !line.is_empty() {
                let start = payloads.bytes.len();
                payloads.bytes.extend_from_slice(line);
                payloads.spans.push((start, payloads.bytes.len()));
            }
        }
        if payloads.spans.is_empty() {
            return Err(PayloadError::NoLine { path: path.to_owned() });
        }
        Ok(payloads)
    }

    /// The file whose lines these are.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.file_name.as_deref()
    }

    /// The sizes and shares that these are a mix of.
    #[must_use]
    pub fn mix(&self) -> Option<&str> {
        self.mix.as_deref()
    }

    /// Bytes of a record, in the mean.
    #[must_use]
    pub fn mean_bytes(&self) -> usize {
        let bytes: usize = self.each().map(<[u8]>::len).sum();
        (bytes as f64 / self.spans.len() as f64).round() as usize
    }

    /// Bytes of the longest record.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.each().map(<[u8]>::len).max().unwrap_or(0)
    }

    fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.spans.iter().map(|(start, end)| &self.bytes[*start..*end])
    }

    /// The ring for batches of this size: whole batches only, so that none goes round the corner.
    #[must_use]
    pub fn ring(&self, batch: usize) -> Vec<&[u8]> {
        let records: Vec<&[u8]> = self.each().collect();
        let length = if records.len() < batch { batch } else { records.len() - records.len() % batch };
        records.iter().copied().cycle().take(length).collect()
    }
}

/// Bytes without a pattern, the same each time.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = xorshift(state);
        (state >> 32) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// One step of Marsaglia's generator: cheap, and the same on every machine.
pub(crate) fn xorshift(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ (state << 17)
}

/// Goes round a ring of records, a batch at a time.
#[derive(Clone, Debug)]
pub(crate) struct Feed<'p> {
    ring: &'p [&'p [u8]],
    batch: usize,
    at: usize,
}

impl<'p> Feed<'p> {
    pub(crate) fn new(ring: &'p [&'p [u8]], batch: usize) -> Self {
        assert!(
            !ring.is_empty() && ring.len().is_multiple_of(batch),
            "a ring of {} for batches of {batch}",
            ring.len()
        );
        Self { ring, batch, at: ring.len() - batch }
    }

    /// The records of the next append, or of the last one `again`.
    #[inline]
    pub(crate) fn batch(&mut self, again: bool) -> &'p [&'p [u8]] {
        self.step(again);
        &self.ring[self.at..self.at + self.batch]
    }

    /// The record of the next append, or of the last one `again`; for batches of one.
    #[inline]
    pub(crate) fn record(&mut self, again: bool) -> &'p [u8] {
        self.step(again);
        self.ring[self.at]
    }

    #[inline]
    fn step(&mut self, again: bool) {
        let mut next = self.at + self.batch;
        if next == self.ring.len() {
            next = 0;
        }
        self.at = if again { self.at } else { next };
    }
}

/// A file, or sizes, that give no payload.
#[derive(Debug)]
#[non_exhaustive]
pub enum PayloadError {
    /// It cannot be read.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no line with anything in it.
    NoLine {
        /// Which file.
        path: PathBuf,
    },
    /// A mix of nothing.
    NoSize,
    /// A share of a mix that gets no record.
    Share {
        /// The size.
        bytes: usize,
        /// Its share.
        share: f64,
    },
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => write!(f, "payload file {}: {source}", path.display()),
            Self::NoLine { path } => {
                write!(f, "payload file {} is empty: at least one line with anything in it is needed", path.display())
            }
            Self::NoSize => f.write_str("a mix of no sizes: at least one is needed"),
            Self::Share { bytes, share } => {
                write!(f, "the share of {bytes} bytes is {share}: the smallest is one record in {MIX_RECORDS}")
            }
        }
    }
}

impl std::error::Error for PayloadError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_records_have_the_size_and_differ() {
        let payloads = Payloads::fixed(100);
        let ring = payloads.ring(1);
        assert_eq!(ring.len(), RING_RECORDS);
        assert!(ring.iter().all(|record| record.len() == 100));
        assert_ne!(ring[0], ring[1]);
        assert_eq!(Payloads::fixed(100).ring(1), ring);
    }

    #[test]
    fn a_ring_holds_whole_batches() {
        let payloads = Payloads::fixed(1024);
        assert_eq!(payloads.ring(100).len(), 100);
        assert_eq!(payloads.ring(5).len(), 15);
    }

    #[test]
    fn a_mix_holds_each_size_as_often_as_its_share_says() {
        let payloads = Payloads::mixed(&[(100, 90.0), (1024, 9.0), (65_536, 1.0)]).expect("a mix");
        let of = |bytes: usize| payloads.ring(1).iter().filter(|record| record.len() == bytes).count();
        assert_eq!([of(100), of(1024), of(65_536)], [900, 90, 10]);
        assert_eq!((payloads.mean_bytes(), payloads.longest()), (838, 65_536));
        assert_eq!(payloads.mix(), Some("100:90,1024:9,65536:1"));
        assert_ne!(payloads.ring(1)[..90], vec![payloads.ring(1)[0]; 90], "shuffled");
        let refused = |sizes: &[(usize, f64)]| Payloads::mixed(sizes).expect_err("no mix").to_string();
        assert!(refused(&[]).contains("no sizes"));
        assert!(refused(&[(100, 1e9), (200, 1.0)]).contains("share of 200 bytes is 1"));
        assert!(refused(&[(100, 0.0), (200, 1.0)]).contains("share of 100 bytes is 0"));
        assert!(refused(&[(100, f64::NAN)]).contains("NaN"));
    }

    #[test]
    fn a_retry_sends_the_same_again() {
        let payloads = Payloads::fixed(100);
        let ring = payloads.ring(1);
        let mut feed = Feed::new(&ring, 1);
        let first = feed.record(false);
        assert_eq!(first, ring[0]);
        assert_eq!(feed.record(true), first);
        assert_eq!(feed.record(false), ring[1]);
    }

    #[test]
    fn lines_lose_their_ends_and_empty_files_are_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lines.log");
        std::fs::write(&path, "one\r\n\ntwo three\n").expect("a file");
        let payloads = Payloads::lines_of(&path).expect("lines");
        assert_eq!(payloads.ring(1), [&b"one"[..], b"two three"]);
        assert_eq!((payloads.mean_bytes(), payloads.longest()), (6, 9));
        std::fs::write(&path, "").expect("a file");
        let error = Payloads::lines_of(&path).expect_err("no line").to_string();
        assert!(error.contains("lines.log is empty"), "{error}");
        assert!(Payloads::lines_of(&dir.path().join("none")).is_err());
    }
}
