//! What a group knows besides its entries: the vote, the committed log id, the purged one. They are the metadata of its
//! partition, in one order with the entries: what is durable of it is never ahead of the entries before.

use crate::codec::{decode, encode, failed};
use oncelog::Partition;
use openraft::{
    RaftTypeConfig,
    alias::{LogIdOf, VoteOf},
};
use serde::{Deserialize, Serialize};
use std::io;

/// The three, as they are stored.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Stored<V, L> {
    pub(crate) vote: Option<V>,
    pub(crate) committed: Option<L>,
    pub(crate) purged: Option<L>,
}

/// The three of a group.
pub(crate) struct Marks<C: RaftTypeConfig> {
    /// As they were written last.
    written: Stored<VoteOf<C>, LogIdOf<C>>,
    /// The vote that is durable, and read.
    vote: Option<VoteOf<C>>,
}

impl<C: RaftTypeConfig> Marks<C> {
    /// As they are stored.
    pub(crate) fn open(entries: &Partition) -> io::Result<Self> {
        let written = match entries.metadata() {
            Some(bytes) => decode(&bytes, "the metadata")?,
            None => Stored { vote: None, committed: None, purged: None },
        };
        Ok(Self { vote: written.vote.clone(), written })
    }

    /// Writes them changed. Nothing is durable yet, and a vote is not read before it is.
    pub(crate) fn write(
        &mut self,
        entries: &Partition,
        change: impl FnOnce(&mut Stored<VoteOf<C>, LogIdOf<C>>),
    ) -> io::Result<()> {
        let mut changed = self.written.clone();
        change(&mut changed);
        entries.set_metadata(&encode(&changed, Vec::new())?).map_err(failed)?;
        self.written = changed;
        Ok(())
    }

    /// What was written is durable.
    pub(crate) fn are_durable(&mut self) {
        self.vote.clone_from(&self.written.vote);
    }

    pub(crate) fn vote(&self) -> Option<VoteOf<C>> {
        self.vote.clone()
    }

    pub(crate) fn committed(&self) -> Option<LogIdOf<C>> {
        self.written.committed.clone()
    }

    pub(crate) fn purged(&self) -> Option<LogIdOf<C>> {
        self.written.purged.clone()
    }
}
