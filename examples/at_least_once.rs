//! At least once: a message is sent until it is acknowledged; a position is committed once its messages are processed.
//! Nothing is ever lost. What was stored before its acknowledgement was lost is stored again, and what a consumer had
//! processed and not committed is processed again.
//!
//! `cargo run --example at_least_once`
#![allow(clippy::print_stdout, reason = "an example speaks")]

use oncelog::{
    Log, Options,
    delivery::{
        Broker, Consumer, ConsumerOptions, Delivery, Link, LinkError, LocalLink, Producer, ProducerOptions, Reply,
        Request,
    },
};
use std::{collections::BTreeSet, error::Error, time::Duration};

/// A link that loses the first acknowledgement of every tenth message.
struct Forgets(LocalLink);

impl Link for Forgets {
    fn send(&mut self, request: Request) -> Result<(), LinkError> {
        self.0.send(request)
    }

    fn receive(&mut self, until: Duration) -> Result<Option<Reply>, LinkError> {
        let reply = self.0.receive(until)?;
        Ok(reply.filter(|reply| reply.attempt > 0 || reply.number % 10 != 9))
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

    let link = Forgets(LocalLink::new(broker.clone()));
    let mut producer = Producer::open(link, "orders", "shop", Delivery::AtLeastOnce, &ProducerOptions::default())?;
    for order in 0..100_u64 {
        producer.send(&order.to_le_bytes())?;
    }
    producer.flush()?;

    let open = || {
        let options = ConsumerOptions::new().records(10);
        Consumer::open(LocalLink::new(broker.clone()), "orders", "parcels", Delivery::AtLeastOnce, &options)
    };
    let (mut parcels, mut sent) = (0, BTreeSet::new());
    let mut ship = |payload: &[u8]| {
        parcels += 1;
        sent.insert(payload.to_vec());
    };
    // The first consumer ships ten orders and stops before it has committed.
    open()?.poll()?.iter().for_each(|message| ship(&message.payload));
    let mut consumer = open()?;
    loop {
        // Asking for more says that the last ones are done.
        let messages = consumer.poll()?;
        if messages.is_empty() {
            break;
        }
        messages.iter().for_each(|message| ship(&message.payload));
    }
    println!("100 orders, {parcels} parcels: 10 acknowledgements were lost, and 10 parcels were not noted");
    assert_eq!((parcels, sent.len()), (120, 100));
    Ok(())
}
