//! Which partitions, producers and frames are looked at.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use oncelog::{FrameContent, FrameInfo, ProducerId, ReadOnlyLog};

use crate::failure::Failure;

/// Filters of `oncelog inspect`. Several must all agree.
#[derive(Args)]
pub(super) struct Filter {
    /// Only this partition.
    #[arg(long, value_name = "NAME")]
    pub(super) partition: Option<String>,

    /// Only this producer: its name, or its id, as 4294967297 or as frames show it: 1.1.
    #[arg(long, value_name = "NAME|ID")]
    pub(super) producer: Option<String>,

    /// Only frames that hold one of these offsets: N, N.., N..M or ..M, without M itself.
    #[arg(long, value_name = "RANGE")]
    offset: Option<Extent>,

    /// Only frames that cover one of these positions, in bytes.
    #[arg(long, value_name = "RANGE")]
    position: Option<Extent>,

    /// Only frames appended since: a time as 2026-11-23T14:05:00Z, or so long ago as 90s, 10min, 12h.
    #[arg(long, value_name = "TIME|DURATION")]
    since: Option<Moment>,

    /// Only frames appended before.
    #[arg(long, value_name = "TIME|DURATION")]
    until: Option<Moment>,

    /// Most frames that are listed; 0 lists all.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(super) limit: u64,
}

/// Numbers from one on, up to another, which is not one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    first: u64,
    end: u64,
}

impl FromStr for Extent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number: N, N.., N..M or ..M"));
        let Some((first, end)) = text.split_once("..") else {
            let first: u64 = number(text)?;
            return Ok(Self { first, end: first.saturating_add(1) });
        };
        let first = if first.is_empty() { 0 } else { number(first)? };
        let end = if end.is_empty() { u64::MAX } else { number(end)? };
        if first >= end {
            return Err(format!("nothing is in {text}: it begins at {first} and ends before {end}"));
        }
        Ok(Self { first, end })
    }
}

/// A time, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment(u64);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let moment = match humantime::parse_rfc3339_weak(text) {
            Ok(moment) => moment,
            Err(_) => {
                let ago = humantime::parse_duration(text).map_err(|_| {
                    format!("{text:?} is neither a time as 2026-11-23T14:05:00Z nor a duration as 10min")
                })?;
                SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH)
            }
        };
        let since = moment.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Ok(Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Whether a frame comes before what is looked for, is it, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Wanted,
    Passed,
    /// No later frame of this partition is wanted.
    Beyond,
}

/// An id as it is listed, 4294967297, or as frames show it: 1.1, by slot and generation.
fn id_of(text: &str) -> Option<ProducerId> {
    let id = match text.split_once('.') {
        Some((slot, generation)) => {
            u64::from(generation.parse::<u32>().ok()?) << 32 | u64::from(slot.parse::<u32>().ok()?)
        }
        None => text.parse().ok()?,
    };
    Some(ProducerId::from_u64(id))
}

impl Filter {
    /// The flag that was given and means frames alone.
    pub(super) fn frames_only(&self) -> Option<&'static str> {
        let given = [
            ("--offset", self.offset.is_some()),
            ("--position", self.position.is_some()),
            ("--since", self.since.is_some()),
            ("--until", self.until.is_some()),
        ];
        given.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }

    /// The producers that are meant: those with the name, live, and the one with the id, as a number or as slot and
    /// generation.
    pub(super) fn producers(&self, log: &ReadOnlyLog) -> Result<Option<Vec<ProducerId>>, Failure> {
        let Some(wanted) = &self.producer else { return Ok(None) };
        let live = log.producers().iter().filter(|producer| producer.name == *wanted).map(|producer| producer.id);
        let found: Vec<ProducerId> = live.chain(id_of(wanted)).collect();
        if found.is_empty() {
            let directory = log.directory().display();
            return Err(Failure::Usage(format!("there is no producer {wanted:?} in {directory}, and it is no id")));
        }
        Ok(Some(found))
    }

    /// The first segment that may hold what is wanted.
    pub(super) fn first_segment(&self, partition: &oncelog::ReadOnlyPartition) -> u64 {
        let behind = |segment: &&oncelog::SegmentInfo| {
            let end_offset = segment.base_offset.zip(segment.records).map(|(base, records)| base + records);
            self.offset.is_some_and(|extent| end_offset.is_some_and(|end| end <= extent.first))
                || self.position.is_some_and(|extent| segment.end_position.is_some_and(|end| end <= extent.first))
                || self.since.is_some_and(|since| segment.latest_ms.is_some_and(|latest| latest < since.0))
        };
        let segments = partition.segments();
        // Only from the front: what is damaged or open says nothing of itself.
        segments.iter().take_while(behind).last().map_or(0, |last| last.number + 1)
    }

    pub(super) fn judge(&self, frame: &FrameInfo, producers: Option<&[ProducerId]>) -> Judged {
        if let Some(Extent { first, end }) = self.offset {
            if frame.offset >= end {
                return Judged::Beyond;
            }
            if frame.records == 0 || frame.offset + u64::from(frame.records) <= first {
                return Judged::Passed;
            }
        }
        if let Some(Extent { first, end }) = self.position {
            if frame.position >= end {
                return Judged::Beyond;
            }
            if frame.position + frame.bytes <= first {
                return Judged::Passed;
            }
        }
        if self.since.is_some_and(|since| frame.timestamp_ms < since.0)
            || self.until.is_some_and(|until| frame.timestamp_ms >= until.0)
        {
            return Judged::Passed;
        }
        let of = match &frame.content {
            FrameContent::Fence { producer, .. }
            | FrameContent::Registration { producer, .. }
            | FrameContent::Decision { producer, .. } => Some(*producer),
            _ => frame.producer.map(|stamp| stamp.producer),
        };
        match producers {
            Some(producers) if of.is_none_or(|of| !producers.contains(&of)) => Judged::Passed,
            _ => Judged::Wanted,
        }
    }

    /// Whether damage there is in the range of positions and offsets that is looked at.
    pub(super) fn covers(&self, position: u64, bytes: u64, offset: u64) -> bool {
        self.position.is_none_or(|extent| position < extent.end && position + bytes > extent.first)
            && self.offset.is_none_or(|extent| offset < extent.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_they_are_written() {
        let read = |text: &str| text.parse::<Extent>().map(|extent| (extent.first, extent.end));
        assert_eq!(read("7"), Ok((7, 8)));
        assert_eq!(read("7.."), Ok((7, u64::MAX)));
        assert_eq!(read("..9"), Ok((0, 9)));
        assert_eq!(read("7..9"), Ok((7, 9)));
        for wrong in ["", "x", "9..7", "7..7", "1..2..3", "-1"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
