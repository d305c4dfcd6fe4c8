//! `oncelog producers close DIR (--id ID | --idle-for DURATION)`.

use std::time::Duration;

use clap::Args;
use oncelog::ProducerId;
use serde::Serialize;

use super::{Place, open};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  oncelog producers close DIR --id 4294967296        the id as `oncelog producers list` shows it
  oncelog producers close DIR --idle-for 30days      all that have not appended for so long
  oncelog producers close DIR --idle-for 12h --json

A closed producer's sequences are forgotten: if it comes back under its name it is a new one, and a
retry of what it sent before would be appended again.";

/// Arguments of `oncelog producers close`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    which: Which,

    /// Print what was closed as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The producer with this id.
    #[arg(long, value_name = "ID")]
    id: Option<u64>,

    /// Every producer that has not appended for this long: 90s, 15min, 12h, 30days.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    idle_for: Option<Duration>,
}

#[derive(Serialize)]
struct Closed {
    closed: Vec<u64>,
}

#[allow(clippy::print_stdout, reason = "what was closed is what was asked for")]
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let log = open(&arguments.place.dir)?;
    let closed = match (arguments.which.id, arguments.which.idle_for) {
        (Some(id), _) => {
            let id = ProducerId::from_u64(id);
            log.close_producer(id).map_err(Failure::failed(format!("producer {}", id.get())))?;
            vec![id.get()]
        }
        (None, Some(age)) => {
            let closed = log.close_producers_idle_for(age).map_err(Failure::failed("closing idle producers"))?;
            closed.into_iter().map(ProducerId::get).collect()
        }
        (None, None) => return Err(Failure::Usage("one of --id and --idle-for is needed".to_owned())),
    };
    log.close().map_err(Failure::failed("closing the log"))?;
    if arguments.json {
        println!("{}", serde_json::to_string(&Closed { closed }).map_err(Failure::failed("writing JSON"))?);
    } else {
        for id in &closed {
            println!("closed {id}");
        }
        println!("{} closed", closed.len());
    }
    Ok(())
}
