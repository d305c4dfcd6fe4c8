//! Filling in place: records with a header of the embedder's own, written where they will be read. Nothing is gathered in a
//! buffer first; the header holds the record's own offset, which is known only now.
//!
//! ```text
//! record   offset u64 | kind u32 | values u32 | values f64, in nanoseconds of latency, say
//! ```
//!
//! `cargo run --example fill_in_place`
#![allow(clippy::print_stdout, reason = "an example speaks")]

use oncelog::{FillError, Log, Options, Partition, Slice};
use std::{error::Error, fmt};

const HEADER_BYTES: usize = 16;
const VALUE_BYTES: usize = 8;

/// A record, looked at where it lies.
struct Sample(Slice);

/// What is wrong with bytes that are no sample.
#[derive(Debug)]
struct NoSample {
    bytes: usize,
}

impl Sample {
    /// Only as many bytes as the header says, and a header that is whole: what a log holds, an earlier version of this
    /// program may have written.
    fn parse(slice: Slice) -> Result<Self, NoSample> {
        let sample = Self(slice);
        let values = sample.0.get(12..HEADER_BYTES).and_then(|count| count.first_chunk());
        let bytes = values.map(|count| HEADER_BYTES + u32::from_le_bytes(*count) as usize * VALUE_BYTES);
        if bytes == Some(sample.0.len()) { Ok(sample) } else { Err(NoSample { bytes: sample.0.len() }) }
    }

    fn offset(&self) -> u64 {
        self.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.0[HEADER_BYTES..]
            .chunks_exact(VALUE_BYTES)
            .filter_map(|value| value.first_chunk().copied())
            .map(f64::from_le_bytes)
    }
}

/// Appends what the source gives, straight into the log. It must say how much it will be; it need not keep its word.
fn append(
    partition: &Partition,
    kind: u32,
    count: usize,
    mut source: impl FnMut(usize) -> Option<f64>,
) -> Result<u64, FillError<NoSample>> {
    let mut appender = partition.appender()?;
    appender.append_with(HEADER_BYTES + count * VALUE_BYTES, |offset, bytes| {
        let (header, values) = bytes.split_at_mut(HEADER_BYTES);
        header[..8].copy_from_slice(&offset.to_le_bytes());
        header[8..12].copy_from_slice(&kind.to_le_bytes());
        header[12..].copy_from_slice(&(count as u32).to_le_bytes());
        for (index, place) in values.chunks_exact_mut(VALUE_BYTES).enumerate() {
            // An error gives the record up: its offset stays empty, and readers never see half of it.
            let value = source(index).ok_or(NoSample { bytes: index * VALUE_BYTES })?;
            place.copy_from_slice(&value.to_le_bytes());
        }
        Ok(())
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    // SAFETY: nothing else writes to this directory.
    let log = unsafe { Log::open(dir.path(), &Options::new())? };
    let samples = log.partition("samples")?;
    let mut given_up = 0;
    for number in 0..100_usize {
        // Every tenth source dries up half-way.
        let dry = if number % 10 == 9 { number / 2 } else { usize::MAX };
        match append(&samples, 1, number, |index| (index < dry).then_some(index as f64)) {
            Ok(_) => {}
            Err(FillError::Fill(NoSample { .. })) => given_up += 1,
            Err(error) => return Err(error.into()),
        }
    }

    let mut reader = samples.read_from(0)?;
    let (mut kept, mut sum) = (0, 0.0);
    while let Some(record) = reader.next()? {
        let offset = record.offset();
        let sample = Sample::parse(record.slice())?;
        assert_eq!(sample.offset(), offset, "the record says itself where it is");
        assert_eq!(sample.values().count() as u64, offset, "as many as were promised");
        (kept, sum) = (kept + 1, sum + sample.values().sum::<f64>());
    }
    println!("{kept} samples filled in place, {given_up} given up half-way and never seen; all values add up to {sum}");
    assert_eq!((kept, given_up, samples.end_offset()), (90, 10, 100));
    Ok(())
}

impl fmt::Display for NoSample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes are no whole sample", self.bytes)
    }
}

impl Error for NoSample {}
