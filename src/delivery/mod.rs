//! Delivery: producers and consumers that speak to a broker over a link which loses, doubles and delays.
//!
//! ```text
//!   Producer  Pipeline  Consumer   what a program holds
//!        \       |      /
//!         Line                     numbers requests, waits for replies, tries again, counts strays
//!          |
//!         Link                     a wire: a trait of three verbs
//!          :
//!        Broker                    answers requests by id, on the log that it embeds
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `request.rs` | requests and replies, as plain data |
//! | `link.rs` | the trait, a link without a wire, and one to a thread |
//! | `line.rs` | a client's end of a link |
//! | `broker/` | the loop that embeds the log |
//! | `producer.rs`, `in_flight.rs` | the sending side, and what it has under way |
//! | `consumer.rs` | the receiving side, and when it commits |
//! | `pipeline.rs` | consuming and producing as one |
//! | `options.rs`, `error.rs` | what can be chosen, and what can go wrong |
//!
//! An acknowledgement that gets lost leaves a producer with two ways to be wrong: not to send again, and perhaps lose, or
//! to send again, and perhaps store twice. A [`Delivery`] is the choice, for both sides at once.

mod broker;
mod consumer;
mod error;
mod in_flight;
mod line;
mod link;
mod options;
mod pipeline;
mod producer;
mod request;

pub use self::{
    broker::Broker,
    consumer::{Consumer, Message},
    error::DeliveryError,
    line::Strays,
    link::{Link, LinkError, LocalLink, ThreadLink},
    options::{ConsumerOptions, Patience, PipelineOptions, ProducerOptions},
    pipeline::Pipeline,
    producer::Producer,
    request::{Acknowledge, Call, Outcome, Reply, Request},
};

/// What a message may suffer on its way, and so what its producer and its consumer do.
///
/// | | producer | consumer | a message is processed |
/// |---|---|---|---|
/// | at most once | sends once, awaits nothing | commits, then processes | 0 or 1 times |
/// | at least once | sends until it hears, several in flight | processes, then commits | 1 or more times, perhaps late |
/// | exactly once | the same, under sequences that the log compares | its position is kept with the result | 1 time, in order |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Never twice: nothing is sent again, and a position is committed before its messages are processed.
    AtMostOnce,
    /// Never lost: what is not acknowledged is sent again, and a position is committed once its messages are processed.
    AtLeastOnce,
    /// Neither: what is sent again is recognised by its sequence, and the position is kept together with the result.
    ExactlyOnce,
}

impl Delivery {
    /// Its name, as results spell it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::AtMostOnce => "at-most-once",
            Self::AtLeastOnce => "at-least-once",
            Self::ExactlyOnce => "exactly-once",
        }
    }
}
