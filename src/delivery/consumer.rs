//! A consumer: it reads, and commits before or after what it has read is processed.

use super::{Call, ConsumerOptions, Delivery, DeliveryError, Link, Outcome, Strays, line::Line};
use std::sync::Arc;

/// A message, as a consumer gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number in the partition.
    pub offset: u64,
    /// What was sent.
    pub payload: Arc<[u8]>,
}

/// Reads the messages of one partition for a group, as its only consumer. Of transactions it sees those that are committed.
///
/// - At most once: [`Consumer::poll`] commits what it returns before it returns it. What a consumer that stops then has
///   not processed, its successor never sees.
/// - At least once: `poll` commits what the one before returned, and [`Consumer::commit`] what the last one did. What is
///   processed and not committed, the successor sees again.
/// - Exactly once: it commits nothing. Whoever stores the results stores [`Consumer::position`] with them, in one step,
///   and begins there again by [`Consumer::seek`]. Where the results are messages of the same log, a
///   [`Pipeline`](super::Pipeline) does that.
pub struct Consumer<L> {
    line: Line<L>,
    delivery: Delivery,
    partition: Arc<str>,
    group: Arc<str>,
    generation: u64,
    records: u32,
    position: u64,
    committed: u64,
}

impl<L: Link> Consumer<L> {
    /// A consumer at the end of this link, where the group has committed last; at the beginning, if it never has. The
    /// group's consumer before this one commits no more.
    ///
    /// # Errors
    /// [`DeliveryError::Option`] for options that are impossible, and others if the broker does not let it join.
    pub fn open(
        link: L,
        partition: &str,
        group: &str,
        delivery: Delivery,
        options: &ConsumerOptions,
    ) -> Result<Self, DeliveryError> {
        options.check()?;
        let mut line = Line::new(link, options.patience);
        let (partition, group): (Arc<str>, Arc<str>) = (partition.into(), group.into());
        let (generation, committed) = join(&mut line, &group, &partition)?;
        let records = options.records;
        Ok(Self { line, delivery, partition, group, generation, records, position: committed, committed })
    }

    /// The next messages; none if there are none yet.
    ///
    /// # Errors
    /// [`DeliveryError::Replaced`] if the group has another consumer and this one has something to commit,
    /// [`DeliveryError::Trimmed`] if retention has dropped the next message: [`Consumer::seek`] goes on behind.
    pub fn poll(&mut self) -> Result<Vec<Message>, DeliveryError> {
        if self.delivery == Delivery::AtLeastOnce {
            self.commit()?;
        }
        let (offset, records) = (self.position, self.records);
        let (messages, next) = fetch(&mut self.line, &self.partition, offset, records)?;
        self.position = next;
        if self.delivery == Delivery::AtMostOnce {
            self.commit()?;
        }
        Ok(messages)
    }

    /// Commits what the last poll returned, if it is not committed yet.
    ///
    /// # Errors
    /// [`DeliveryError::Replaced`] if the group has another consumer; [`DeliveryError::CommitsWithResults`] if delivery is
    /// exactly once.
    pub fn commit(&mut self) -> Result<(), DeliveryError> {
        if self.delivery == Delivery::ExactlyOnce {
            return Err(DeliveryError::CommitsWithResults);
        }
        if self.position == self.committed {
            return Ok(());
        }
        let commit = Call::CommitOffset {
            group: Arc::clone(&self.group),
            generation: self.generation,
            partition: Arc::clone(&self.partition),
            offset: self.position,
        };
        self.line.ask(&commit, |outcome| match outcome {
            Outcome::Done => Ok(Ok(())),
            Outcome::Replaced { generation } => Ok(Err(DeliveryError::Replaced { generation })),
            other => Err(other),
        })??;
        self.committed = self.position;
        Ok(())
    }

    /// Offset of the first message that no poll has returned.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Goes on at another offset.
    pub fn seek(&mut self, offset: u64) {
        self.position = offset;
    }

    /// Replies that were ignored.
    #[must_use]
    pub const fn strays(&self) -> Strays {
        self.line.strays
    }

    /// The link, for whoever comes next.
    pub fn into_link(self) -> L {
        self.line.into_link()
    }
}

/// Joins a group: the generation, and the position to begin at.
pub(super) fn join<L: Link>(
    line: &mut Line<L>,
    group: &Arc<str>,
    partition: &Arc<str>,
) -> Result<(u64, u64), DeliveryError> {
    let join = Call::Join { group: Arc::clone(group), partition: Arc::clone(partition) };
    line.ask(&join, |outcome| match outcome {
        Outcome::Joined { generation, committed } => Ok((generation, committed.unwrap_or(0))),
        other => Err(other),
    })
}

/// Reads messages: them, and where to read on.
pub(super) fn fetch<L: Link>(
    line: &mut Line<L>,
    partition: &Arc<str>,
    offset: u64,
    records: u32,
) -> Result<(Vec<Message>, u64), DeliveryError> {
    let fetch = Call::Fetch { partition: Arc::clone(partition), offset, records };
    line.ask(&fetch, |outcome| match outcome {
        Outcome::Fetched { messages, next } if is_sound(&messages, offset, next) => Ok(Ok((messages, next))),
        Outcome::Trimmed { start } => Ok(Err(DeliveryError::Trimmed { offset, start })),
        other => Err(other),
    })?
}

/// Whether an answer can be one to a fetch from `offset`.
fn is_sound(messages: &[Message], offset: u64, next: u64) -> bool {
    let rises = messages.windows(2).all(|pair| pair[0].offset < pair[1].offset);
    let first = messages.first().is_none_or(|first| first.offset >= offset);
    let last = messages.last().is_none_or(|last| last.offset < next);
    rises && first && last && next >= offset
}
