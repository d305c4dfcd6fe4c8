//! At most once: a message is sent once and nothing is heard of it; a position is committed before it is processed.
//! Nothing is ever seen twice. What is lost on the way, or in a consumer that stops, is gone.
//!
//! `cargo run --example at_most_once`
#![allow(clippy::print_stdout, reason = "an example speaks")]

use oncelog::{
    Log, Options,
    delivery::{
        Broker, Consumer, ConsumerOptions, Delivery, Link, LinkError, LocalLink, Producer, ProducerOptions, Reply,
        Request,
    },
};
use std::{error::Error, time::Duration};

/// A link that loses every tenth request.
struct Loses(LocalLink);

impl Link for Loses {
    fn send(&mut self, request: Request) -> Result<(), LinkError> {
        if request.number % 10 == 9 { Ok(()) } else { self.0.send(request) }
    }

    fn receive(&mut self, until: Duration) -> Result<Option<Reply>, LinkError> {
        self.0.receive(until)
    }

    fn now(&self) -> Duration {
        self.0.now()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    // SAFETY: nothing else writes to this directory.
    let log = unsafe { Log::open(dir.path(), &Options::new())? };
    let broker = Broker::new(&log);

    let link = Loses(LocalLink::new(broker.clone()));
    let mut producer = Producer::open(link, "readings", "sensor", Delivery::AtMostOnce, &ProducerOptions::default())?;
    for reading in 0..100_u64 {
        producer.send(&reading.to_le_bytes())?;
    }

    let open = || {
        let options = ConsumerOptions::new().records(10);
        Consumer::open(LocalLink::new(broker.clone()), "readings", "chart", Delivery::AtMostOnce, &options)
    };
    // The first consumer stops when it has been given ten messages, and before it has looked at one.
    open()?.poll()?;
    let mut consumer = open()?;
    let mut seen = 0;
    loop {
        let messages = consumer.poll()?;
        if messages.is_empty() {
            break;
        }
        seen += messages.len();
    }
    println!("100 sent, {seen} seen: 10 were lost by the link, 10 by a consumer");
    assert_eq!(seen, 80);
    Ok(())
}
