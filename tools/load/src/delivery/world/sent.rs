//! Messages on their way from their source: when each was handed to its producer, and when the producer heard of it.

use std::collections::HashMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::recorder::histogram;

/// When messages were handed to their producers, and how long they took.
pub(super) struct Sent {
    at: Vec<Handed>,
    /// By client and request.
    messages: HashMap<(usize, u64), u64>,
    pub(super) latency: Histogram<u64>,
    pub(super) acknowledged: u64,
}

/// Where a message stands with its source.
#[derive(Clone, Copy)]
enum Handed {
    Not,
    At(Duration),
    Acknowledged,
}

impl Sent {
    pub(super) fn new(messages: u64) -> Self {
        let messages = usize::try_from(messages).unwrap_or(usize::MAX);
        Self { at: vec![Handed::Not; messages], messages: HashMap::new(), latency: histogram(), acknowledged: 0 }
    }

    fn place(&mut self, message: u64) -> Option<&mut Handed> {
        self.at.get_mut(usize::try_from(message).ok()?)
    }

    /// A message is handed to a producer; again, after another producer has failed, changes nothing.
    pub(super) fn handed(&mut self, message: u64, now: Duration) {
        if let Some(handed @ Handed::Not) = self.place(message) {
            *handed = Handed::At(now);
        }
    }

    /// A client's request carries a message.
    pub(super) fn carried(&mut self, request: (usize, u64), message: u64) {
        self.messages.insert(request, message);
    }

    /// A producer hears that the message of its request is stored.
    pub(super) fn stored(&mut self, request: (usize, u64), now: Duration) {
        let Some(message) = self.messages.remove(&request) else { return };
        if let Some(handed) = self.place(message)
            && let Handed::At(at) = *handed
        {
            *handed = Handed::Acknowledged;
            self.acknowledged += 1;
            self.latency.saturating_record(now.saturating_sub(at).as_nanos() as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_acknowledged_once_from_when_it_was_first_handed_over() {
        let at = Duration::from_nanos;
        let mut sent = Sent::new(1);
        sent.handed(0, at(10));
        sent.handed(0, at(50));
        sent.carried((0, 7), 0);
        sent.carried((1, 7), 0);
        sent.stored((0, 8), at(60));
        assert_eq!(sent.acknowledged, 0, "nobody has sent that request");
        sent.stored((0, 7), at(110));
        sent.stored((1, 7), at(500));
        assert_eq!((sent.acknowledged, sent.latency.max()), (1, 100));
        // Beyond the last: nothing to note.
        sent.handed(9, at(1));
    }
}
