//! What a sequence of messages has suffered: lost, doubled, reordered.

use serde::Serialize;

/// What went wrong between a source and what was processed in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Messages that were never processed.
    pub lost: u64,
    /// Times that a message was processed beyond its first.
    pub duplicated: u64,
    /// Messages that were processed for the first time after a later one.
    pub reordered: u64,
}

impl Counts {
    /// Of messages 0 to `sent`, processed in this order.
    pub(super) fn of(sent: u64, processed: &[u64]) -> Self {
        let mut seen = vec![false; usize::try_from(sent).unwrap_or(usize::MAX)];
        let mut counts = Self::default();
        let mut latest = None;
        for message in processed {
            let Some(seen) = usize::try_from(*message).ok().and_then(|at| seen.get_mut(at)) else { continue };
            if std::mem::replace(seen, true) {
                counts.duplicated += 1;
                continue;
            }
            if latest.is_some_and(|latest| latest > *message) {
                counts.reordered += 1;
            }
            latest = latest.max(Some(*message));
        }
        counts.lost = seen.iter().filter(|seen| !**seen).count() as u64;
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_lost_doubled_or_late_by_itself() {
        assert_eq!(Counts::of(4, &[0, 1, 2, 3]), Counts::default());
        assert_eq!(Counts::of(4, &[0, 2, 3]), Counts { lost: 1, ..Counts::default() });
        assert_eq!(Counts::of(4, &[0, 1, 1, 2, 3, 1]), Counts { duplicated: 2, ..Counts::default() });
        // One that three have overtaken is late once; a second copy is never late.
        assert_eq!(Counts::of(4, &[1, 2, 3, 0, 1]), Counts { duplicated: 1, reordered: 1, lost: 0 });
    }
}
