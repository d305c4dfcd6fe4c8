//! What the injector has done, and what must come of it: the prediction that a cell is held to.
//!
//! The journal knows nothing of sequences, sessions or answers. It notes which messages the link has delivered to a living
//! broker, in which order, and where a consumer was killed.

use super::Column;
use super::counts::Counts;

/// Everything that was done to a cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    /// How often the fault has struck.
    pub(super) injected: u64,
    /// Messages in the order in which they were delivered to a living broker, each as often as it was.
    pub(super) delivered: Vec<u64>,
    /// Commits of a consumer, in their order.
    pub(super) commits: Vec<Commit>,
}

/// One commit of a consumer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commit {
    /// Offset of the first message that is not done.
    pub(super) offset: u64,
    /// Whether the consumer was killed before it, after it, or not.
    pub(super) killed: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

impl Journal {
    /// What must have been lost, doubled and reordered of messages 0 to `sent`.
    pub(super) fn predict(&self, column: Column, sent: u64) -> Counts {
        match column {
            Column::AtMostOnce => Counts::of(sent, &self.processed_before(&self.delivered)),
            // Whatever the link does, nothing is given up.
            Column::AtLeastOnce => Counts { lost: 0, ..Counts::of(sent, &self.processed_after(&self.delivered)) },
            Column::ExactlyOnce | Column::Transactional => Counts::default(),
        }
    }

    /// What the deliveries alone would have come to, had every one of them been stored.
    pub(super) fn without_sequences(&self, sent: u64) -> Counts {
        Counts::of(sent, &self.delivered)
    }

    /// What consumers process that commit before it.
    fn processed_before(&self, stored: &[u64]) -> Vec<u64> {
        let mut processed = Vec::new();
        let mut position = 0;
        for commit in &self.commits {
            if commit.killed == Some(Moment::Before) {
                continue;
            }
            if commit.killed.is_none() {
                processed.extend_from_slice(between(stored, position, commit.offset));
            }
            position = commit.offset;
        }
        processed
    }

    /// What consumers process that commit after it.
    fn processed_after(&self, stored: &[u64]) -> Vec<u64> {
        let mut processed = Vec::new();
        let mut position = 0;
        for commit in &self.commits {
            processed.extend_from_slice(between(stored, position, commit.offset));
            if commit.killed != Some(Moment::Before) {
                position = commit.offset;
            }
        }
        processed
    }
}

fn between(stored: &[u64], from: u64, to: u64) -> &[u64] {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(stored.len());
    stored.get(at(from)..at(to)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_that_is_killed_loses_or_repeats_what_its_commit_was_for() {
        let commit = |offset, killed| Commit { offset, killed };
        let journal = Journal {
            delivered: (0..6).collect(),
            commits: vec![
                commit(2, None),
                commit(4, Some(Moment::Before)),
                commit(4, Some(Moment::After)),
                commit(6, None),
            ],
            ..Journal::default()
        };
        assert_eq!(journal.predict(Column::AtMostOnce, 6), Counts { lost: 2, ..Counts::default() });
        assert_eq!(journal.predict(Column::AtLeastOnce, 6), Counts { duplicated: 2, ..Counts::default() });
        assert_eq!(journal.predict(Column::ExactlyOnce, 6), Counts::default());
    }
}
