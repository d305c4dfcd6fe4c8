//! A client's end of a link: it numbers requests, waits for replies, and counts those that belong to nothing.

use super::{Call, DeliveryError, Link, LinkError, Outcome, Patience, Reply, Request};
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// Replies that a client has ignored. A link that doubles or delays makes some; so does one that is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strays {
    /// To a request that was answered already, or to an attempt that was superseded.
    pub repeated: u64,
    /// To a request that this client never sent.
    pub unknown: u64,
    /// Not a reply, or not one to what was asked.
    pub garbage: u64,
}

pub(super) struct Line<L> {
    link: L,
    client: u64,
    next_number: u64,
    pub(super) patience: Patience,
    pub(super) strays: Strays,
    /// Requests that were sent again.
    pub(super) sent_again: u64,
}

impl<L: Link> Line<L> {
    pub(super) fn new(link: L, patience: Patience) -> Self {
        // Keys that differ from one client to the next, on this machine and others.
        let client = RandomState::new().build_hasher().finish();
        Self { link, client, next_number: 0, patience, strays: Strays::default(), sent_again: 0 }
    }

    pub(super) fn into_link(self) -> L {
        self.link
    }

    /// The number of the next request.
    pub(super) const fn next_number(&self) -> u64 {
        self.next_number
    }

    pub(super) fn now(&self) -> Duration {
        self.link.now()
    }

    /// The number of a new request.
    pub(super) fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    pub(super) fn send(&mut self, number: u64, attempt: u32, call: Call) -> Result<(), DeliveryError> {
        self.sent_again += u64::from(attempt > 0);
        Ok(self.link.send(Request { client: self.client, number, attempt, call })?)
    }

    /// The next reply to a request of this client; none when it is time to look at the clock.
    pub(super) fn receive(&mut self, until: Duration) -> Result<Option<Reply>, DeliveryError> {
        match self.link.receive(until) {
            Ok(Some(reply)) if reply.client != self.client || reply.number >= self.next_number => {
                self.strays.unknown += 1;
                Ok(None)
            }
            Ok(reply) => Ok(reply),
            Err(LinkError::Garbage { .. }) => {
                self.strays.garbage += 1;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends one request until it is answered, with nothing else under way. `accept` takes the answer that it waits for,
    /// and gives back any other. Only the last attempt's answer counts: that of an earlier one may be out of date.
    pub(super) fn ask<T>(
        &mut self,
        call: &Call,
        accept: impl Fn(Outcome) -> Result<T, Outcome>,
    ) -> Result<T, DeliveryError> {
        let began = self.now();
        let number = self.take_number();
        let mut attempt = 0;
        loop {
            self.send(number, attempt, call.clone())?;
            let until = self.now() + self.patience.of_attempt(attempt);
            while self.now() < until {
                let Some(reply) = self.receive(until)? else { continue };
                if (reply.number, reply.attempt) != (number, attempt) {
                    self.strays.repeated += 1;
                    continue;
                }
                match accept(reply.outcome) {
                    Ok(answer) => return Ok(answer),
                    Err(Outcome::Refused { retriable: false, reason }) => {
                        return Err(DeliveryError::Refused { reason });
                    }
                    // Sent again when this attempt's time is over, and not sooner: it would be refused again.
                    Err(Outcome::Refused { .. }) => {}
                    Err(_) => self.strays.garbage += 1,
                }
            }
            let after = self.now() - began;
            attempt += 1;
            if after >= self.patience.give_up_after {
                return Err(DeliveryError::GaveUp { attempts: attempt, after });
            }
        }
    }
}
