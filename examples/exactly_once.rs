//! Exactly once: a message keeps its sequence over all attempts, and the log stores it once; a consumer's position is kept
//! together with its results, in one step. Whatever is lost, each message counts once, in order.
//!
//! `cargo run --example exactly_once`
#![allow(clippy::print_stdout, reason = "an example speaks")]

use oncelog::{
    Log, Options,
    delivery::{
        Broker, Consumer, ConsumerOptions, Delivery, Link, LinkError, LocalLink, Producer, ProducerOptions, Reply,
        Request,
    },
};
use std::{error::Error, time::Duration};

/// A link that loses every seventh request, and the acknowledgement of every tenth, at the first attempt.
struct Unsteady(LocalLink);

impl Link for Unsteady {
    fn send(&mut self, request: Request) -> Result<(), LinkError> {
        if request.attempt == 0 && request.number % 7 == 6 { Ok(()) } else { self.0.send(request) }
    }

    fn receive(&mut self, until: Duration) -> Result<Option<Reply>, LinkError> {
        let reply = self.0.receive(until)?;
        Ok(reply.filter(|reply| reply.attempt > 0 || reply.number % 10 != 9))
    }

    fn now(&self) -> Duration {
        self.0.now()
    }
}

/// A consumer's results, and the position that belongs to them: a row each in one database, say.
#[derive(Clone, Default)]
struct Account {
    payments: Vec<u64>,
    position: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    // SAFETY: nothing else writes to this directory.
    let log = unsafe { Log::open(dir.path(), &Options::new())? };
    let broker = Broker::new(&log);

    // The producer is replaced half-way. Its successor learns from the log which payment comes next.
    let mut sent_again = 0;
    for until in [50, 100] {
        let link = Unsteady(LocalLink::new(broker.clone()));
        let options = ProducerOptions::default();
        let mut producer = Producer::open(link, "payments", "till-3", Delivery::ExactlyOnce, &options)?;
        for payment in producer.next_message()..until {
            producer.send(&payment.to_le_bytes())?;
        }
        producer.flush()?;
        sent_again += producer.sent_again();
    }

    let mut account = Account::default();
    for stops in [true, false] {
        let options = ConsumerOptions::new().records(10);
        let link = Unsteady(LocalLink::new(broker.clone()));
        let mut consumer = Consumer::open(link, "payments", "ledger", Delivery::ExactlyOnce, &options)?;
        consumer.seek(account.position);
        loop {
            let messages = consumer.poll()?;
            if messages.is_empty() {
                break;
            }
            let mut changed = account.clone();
            for message in messages {
                changed.payments.push(u64::from_le_bytes(message.payload[..].try_into()?));
            }
            changed.position = consumer.position();
            if stops && changed.position > 50 {
                // The first consumer stops before this is stored: nothing of it has happened.
                break;
            }
            account = changed;
        }
    }
    println!("100 payments booked once each; {sent_again} requests were sent again");
    assert!(sent_again > 10);
    assert_eq!(account.payments, (0..100).collect::<Vec<_>>());
    Ok(())
}
