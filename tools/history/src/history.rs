//! A log's lives in their order: what happened in each, how it ended, and what was there afterwards.

use serde::Serialize;

use crate::{
    event::{Event, What},
    look::Look,
    stage::Pending,
};

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum End {
    /// Everybody had finished, and the log was looked at while it was open.
    Quiet,
    /// The process was killed: what was visible is kept.
    KeepsVisible,
    /// The power was cut, or the memory of the direct window lost: what was durable is kept.
    KeepsDurable,
}

/// A log from its opening to its end, and the look behind it.
#[derive(Clone, Debug, Serialize)]
pub struct Life {
    /// In the order of their tickets.
    pub events: Vec<Event>,
    /// How it ended.
    pub end: End,
    /// What was there then: of an open log, or of one that was opened after a crash.
    pub look: Look,
}

/// All of them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct History {
    /// In their order.
    pub lives: Vec<Life>,
}

impl History {
    /// Puts events in the order of their tickets and adds a life.
    pub fn push(&mut self, mut events: Vec<Event>, end: End, look: Look) {
        events.sort_by_key(|event| event.at);
        self.lives.push(Life { events, end, look });
    }

    /// Transactions by id whose commit was called and never answered: the next one asks again.
    #[must_use]
    pub fn pending(&self) -> Vec<Pending> {
        let mut pending: Vec<Pending> = Vec::new();
        let mut committing: Vec<u64> = Vec::new();
        for event in self.lives.iter().flat_map(|life| &life.events) {
            match &event.what {
                What::Begun { attempt, id: Some(id) } => pending.push(Pending { attempt: *attempt, id: *id }),
                What::Commit { attempt } => committing.push(*attempt),
                What::Committed { attempt } | What::Aborted { attempt, .. } => {
                    pending.retain(|one| one.attempt != *attempt);
                }
                _ => {}
            }
        }
        pending.retain(|one| committing.contains(&one.attempt));
        pending
    }
}
