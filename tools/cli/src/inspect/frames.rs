//! Frames in their order, and damage where it is.

use std::io::{self, Write};

use oncelog::{FrameContent, FrameInfo, FrameItem, Mode, ProducerId, ReadOnlyLog, ReadOnlyPartition};
use serde::Serialize;

use super::filter::{Filter, Judged};
use super::{known, print, unread};
use crate::failure::Failure;
use crate::moment::moment_ms;
use crate::verify::{shortened, wrapped};

/// Columns of the last one, which says what only some frames have.
const LAST_COLUMNS: usize = 31;

/// A line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    partition: &'a str,
    segment: u64,
    byte: u64,
    position: u64,
    offset: u64,
    bytes: u64,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What<'a> {
    Frame {
        frame: &'static str,
        body_bytes: u64,
        records: u32,
        time: String,
        producer: Option<u64>,
        epoch: Option<u32>,
        sequence: Option<u64>,
        previous_position: Option<u64>,
        transaction: Option<u64>,
        #[serde(skip_serializing_if = "String::is_empty")]
        says: String,
    },
    Damage {
        damage: &'a str,
        file: String,
    },
}

const fn word(content: &FrameContent) -> &'static str {
    match content {
        FrameContent::Record => "record",
        FrameContent::Registration { live: true, .. } => "register",
        FrameContent::Registration { .. } => "close",
        FrameContent::Batch => "batch",
        FrameContent::Void => "void",
        FrameContent::Start { .. } => "start",
        FrameContent::Fence { .. } => "fence",
        FrameContent::Mark { .. } => "mark",
        FrameContent::Commit => "commit",
        FrameContent::Abort => "abort",
        FrameContent::Decision { .. } => "decision",
        FrameContent::Ledger(_) => "ledger",
        FrameContent::Metadata => "metadata",
        FrameContent::Purge { .. } => "purge",
        FrameContent::Malformed => "malformed",
        _ => "other",
    }
}

/// What a control frame or a registration says.
fn says(content: &FrameContent) -> String {
    match content {
        FrameContent::Registration { producer, epoch, mode, name, .. } => {
            let mode = if *mode == Mode::Session { "session" } else { "by id" };
            format!("{producer} epoch {epoch} {mode} {name:?}")
        }
        FrameContent::Start { base_offset, previous_end, cut, origin } => {
            let cut = if *cut { ", what stood there cut off" } else { "" };
            let origin = if *origin { ", the log starts here" } else { "" };
            format!("base {base_offset}, behind {previous_end}{cut}{origin}")
        }
        FrameContent::Purge { start } => format!("the log starts at {start}"),
        FrameContent::Fence { producer, epoch, restart } => {
            format!("{producer} epoch {epoch}{}", if *restart { ", from 0 again" } else { "" })
        }
        FrameContent::Mark { durable } => format!("durable to {durable}"),
        FrameContent::Decision { producer, epoch, transaction, partitions, offsets } => {
            format!("{producer} epoch {epoch} transaction {transaction}: {partitions} parts, {offsets} offsets")
        }
        FrameContent::Ledger(what) => what.clone(),
        _ => String::new(),
    }
}

/// Lists frames until there are enough.
struct Listing<'a> {
    json: bool,
    left: Option<u64>,
    shown: u64,
    damaged: u64,
    out: io::StdoutLock<'static>,
    partition: &'a str,
}

impl Listing<'_> {
    fn line(&mut self, line: &Line<'_>) -> Result<(), Failure> {
        let written = serde_json::to_writer(&mut self.out, line).map_err(io::Error::from);
        written.and_then(|()| self.out.write_all(b"\n")).map_err(Failure::failed("writing JSON"))
    }

    fn text(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(Failure::failed("writing"))
    }

    fn frame(&mut self, frame: &FrameInfo) -> Result<(), Failure> {
        self.shown += 1;
        let stamp = frame.producer;
        if self.json {
            let what = What::Frame {
                frame: word(&frame.content),
                body_bytes: frame.body_bytes,
                records: frame.records,
                time: moment_ms(frame.timestamp_ms),
                producer: stamp.map(|stamp| stamp.producer.get()),
                epoch: stamp.map(|stamp| stamp.epoch),
                sequence: stamp.map(|stamp| stamp.sequence),
                previous_position: frame.previous_position,
                transaction: frame.transaction,
                says: says(&frame.content),
            };
            let (partition, segment, byte) = (self.partition, frame.segment, frame.at);
            let (position, offset, bytes) = (frame.position, frame.offset, frame.bytes);
            return self.line(&Line { partition, segment, byte, position, offset, bytes, what });
        }
        let mut last = match stamp {
            Some(stamp) if frame.records > 0 => {
                format!("{} epoch {} sequence {}", stamp.producer, stamp.epoch, stamp.sequence)
            }
            Some(stamp) => format!("{} epoch {}", stamp.producer, stamp.epoch),
            None => says(&frame.content),
        };
        if let Some(transaction) = frame.transaction {
            last.push_str(&format!(" t{transaction}"));
        }
        self.text(&format!(
            "{:>12} {:>11} {:>7} {:<9} {:>8}  {:<12}  {}",
            frame.position,
            if frame.records > 0 { frame.offset.to_string() } else { "-".to_owned() },
            known(Some(frame.records).filter(|records| *records > 0)),
            word(&frame.content),
            frame.bytes,
            moment_ms(frame.timestamp_ms).get(11..23).unwrap_or(""),
            shortened(&last, LAST_COLUMNS)
        ))
    }

    fn damage(&mut self, item: &FrameItem) -> Result<(), Failure> {
        let FrameItem::Damage { segment, path, at, position, offset, bytes, reason } = item else { return Ok(()) };
        self.damaged += 1;
        if self.json {
            let what = What::Damage { damage: reason, file: path.display().to_string() };
            let partition = self.partition;
            let line = Line {
                partition,
                segment: *segment,
                byte: *at,
                position: *position,
                offset: *offset,
                bytes: *bytes,
                what,
            };
            return self.line(&line);
        }
        let place = format!("{position:>12} {offset:>11}         DAMAGE    {bytes:>8}  {}, byte {at}:", path.display());
        self.text(&wrapped(place, reason))
    }
}

pub(super) fn tell(
    log: &ReadOnlyLog,
    partitions: &[&ReadOnlyPartition],
    filter: &Filter,
    json: bool,
) -> Result<(), Failure> {
    let producers = filter.producers(log)?;
    let left = Some(filter.limit).filter(|limit| *limit > 0);
    let out = io::stdout().lock();
    let mut listing = Listing { json, left, shown: 0, damaged: 0, out, partition: "" };
    for partition in partitions {
        listing.partition = partition.name();
        if !json {
            listing.text(&format!("{}:", partition.name()))?;
            listing.text(&format!(
                "{:>12} {:>11} {:>7} {:<9} {:>8}  {:<12}  producer, or what it says",
                "position", "offset", "records", "kind", "bytes", "time, UTC"
            ))?;
        }
        if !one(partition, filter, producers.as_deref(), &mut listing)? {
            let more = format!("and more: --limit {} was reached", filter.limit);
            drop(listing);
            if !json {
                print(&more);
            }
            return Ok(());
        }
    }
    let Listing { shown, damaged, out, .. } = listing;
    drop(out);
    if !json {
        print(&format!("{shown} frames, {damaged} damaged places"));
    }
    Ok(())
}

/// Lists one partition's; false if there are more than the limit lets through.
fn one(
    partition: &ReadOnlyPartition,
    filter: &Filter,
    producers: Option<&[ProducerId]>,
    listing: &mut Listing<'_>,
) -> Result<bool, Failure> {
    let mut walk = partition.frames_from(filter.first_segment(partition));
    while let Some(item) = walk.next().map_err(unread(partition))? {
        match &item {
            FrameItem::Frame(frame) => match filter.judge(frame, producers) {
                Judged::Wanted => {
                    if listing.left == Some(0) {
                        return Ok(false);
                    }
                    listing.left = listing.left.map(|left| left - 1);
                    listing.frame(frame)?;
                }
                Judged::Passed => {}
                Judged::Beyond => break,
            },
            FrameItem::Damage { position, bytes, offset, .. } if filter.covers(*position, *bytes, *offset) => {
                listing.damage(&item)?;
            }
            _ => {}
        }
    }
    Ok(true)
}
