//! What is under way on a link, in the order in which it arrives.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use oncelog::delivery::{Reply, Request};

/// Something that arrives.
pub(super) struct Event {
    pub(super) at: Duration,
    order: u64,
    pub(super) client: usize,
    pub(super) what: What,
}

pub(super) enum What {
    Request(Request),
    Reply(Reply),
}

/// All that is under way. Of one moment, what was sent first arrives first.
#[derive(Default)]
pub(super) struct Events {
    heap: BinaryHeap<Reverse<Event>>,
    made: u64,
}

impl Events {
    pub(super) fn schedule(&mut self, at: Duration, client: usize, what: What) {
        self.made += 1;
        self.heap.push(Reverse(Event { at, order: self.made, client, what }));
    }

    pub(super) fn next(&mut self) -> Option<Event> {
        self.heap.pop().map(|Reverse(event)| event)
    }

    /// The next one, if it arrives by then.
    pub(super) fn next_by(&mut self, until: Duration) -> Option<Event> {
        self.heap.peek().filter(|Reverse(event)| event.at <= until)?;
        self.next()
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_first_arrives_first_and_of_one_moment_what_was_sent_first() {
        let reply = |number| {
            let outcome = oncelog::delivery::Outcome::Done;
            What::Reply(Reply { client: 0, number, attempt: 0, outcome })
        };
        let mut events = Events::default();
        for (at, number) in [(9, 0), (5, 1), (5, 2), (1, 3)] {
            events.schedule(Duration::from_micros(at), 0, reply(number));
        }
        let number = |event: Event| match event.what {
            What::Reply(reply) => reply.number,
            What::Request(request) => request.number,
        };
        assert!(events.next_by(Duration::ZERO).is_none());
        assert_eq!(events.next_by(Duration::from_micros(5)).map(number), Some(3));
        let rest: Vec<u64> = std::iter::from_fn(|| events.next()).map(number).collect();
        assert_eq!(rest, [1, 2, 0]);
    }
}
