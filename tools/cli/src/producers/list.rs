//! `oncelog producers list DIR`.

use clap::Args;
use oncelog::{Mode, ProducerInfo};
use serde::Serialize;

use super::{Place, open};
use crate::failure::Failure;
use crate::moment::moment;

const EXAMPLES: &str = "\
Examples:
  oncelog producers list DIR            a table
  oncelog producers list DIR --json     an array of objects: id, name, epoch, mode, last_used, partitions";

/// Arguments of `oncelog producers list`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A producer as others read it.
#[derive(Serialize)]
pub(super) struct Listed {
    id: u64,
    name: String,
    epoch: u32,
    mode: &'static str,
    last_used: String,
    partitions: Vec<Sequences>,
}

#[derive(Serialize)]
struct Sequences {
    partition: String,
    last_sequence: u64,
}

impl From<ProducerInfo> for Listed {
    fn from(producer: ProducerInfo) -> Self {
        let partitions = producer.partitions.into_iter();
        Self {
            id: producer.id.get(),
            name: producer.name,
            epoch: producer.epoch,
            mode: match producer.mode {
                Mode::Session => "session",
                Mode::ById => "by-id",
            },
            last_used: moment(producer.last_used_ms),
            partitions: partitions.map(|(partition, last_sequence)| Sequences { partition, last_sequence }).collect(),
        }
    }
}

#[allow(clippy::print_stdout, reason = "the list is what was asked for")]
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let log = open(&arguments.place.dir)?;
    let producers: Vec<Listed> = log.producers().into_iter().map(Listed::from).collect();
    log.close().map_err(Failure::failed("closing the log"))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&producers).map_err(Failure::failed("writing JSON"))?);
        return Ok(());
    }
    println!("{:>20}  {:>5}  {:<7}  {:<20}  {:>10}  name", "id", "epoch", "mode", "last used", "partitions");
    for producer in &producers {
        println!(
            "{:>20}  {:>5}  {:<7}  {:<20}  {:>10}  {}",
            producer.id,
            producer.epoch,
            producer.mode,
            producer.last_used,
            producer.partitions.len(),
            producer.name
        );
    }
    println!("{} producers", producers.len());
    Ok(())
}
