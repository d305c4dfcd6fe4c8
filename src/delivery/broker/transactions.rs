//! Groups and transactions: the calls that the log answers by itself, again and again alike.

use super::{Broker, DURABLE_PATIENCE, refusal::Refusal};
use crate::{
    delivery::{Acknowledge, Outcome},
    ids::TransactionId,
    log::Partition,
};
use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

impl Broker {
    fn partition(&mut self, name: &Arc<str>) -> Result<Partition, Refusal> {
        Ok(self.lane(name)?.partition.clone())
    }

    /// A client that asks again is given the generation that it was given before, as with a producer's epoch.
    pub(super) fn join(&mut self, client: u64, group: &Arc<str>, partition: &Arc<str>) -> Result<Outcome, Refusal> {
        let partition = self.partition(partition)?;
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        let known = joined.get(group).filter(|(owner, _)| *owner == client);
        let taken = match known {
            Some((_, generation)) => self.log.group_at(group, *generation),
            None => self.log.group(group)?,
        };
        joined.insert(Arc::clone(group), (client, taken.generation()));
        Ok(Outcome::Joined { generation: taken.generation(), committed: taken.committed(&partition) })
    }

    pub(super) fn commit_offset(
        &mut self,
        group: &Arc<str>,
        generation: u64,
        partition: &Arc<str>,
        offset: u64,
    ) -> Result<Outcome, Refusal> {
        let partition = self.partition(partition)?;
        // Visible is enough: of a position that a power cut takes back, so is all that was committed behind it.
        let _ = self.log.group_at(group, generation).commit(&partition, offset)?;
        Ok(Outcome::Done)
    }

    pub(super) fn begin(&mut self, transaction: TransactionId, timeout: Duration) -> Result<Outcome, Refusal> {
        self.log.begin_transaction(transaction, timeout)?;
        Ok(Outcome::Done)
    }

    pub(super) fn add_offset(
        &mut self,
        transaction: TransactionId,
        group: &Arc<str>,
        generation: u64,
        partition: &Arc<str>,
        offset: u64,
    ) -> Result<Outcome, Refusal> {
        let partition = self.partition(partition)?;
        self.log.add_offset(transaction, &self.log.group_at(group, generation), &partition, offset)?;
        Ok(Outcome::Done)
    }

    pub(super) fn commit(&mut self, transaction: TransactionId, acknowledge: Acknowledge) -> Result<Outcome, Refusal> {
        let commit = self.log.commit_transaction(transaction)?;
        if acknowledge == Acknowledge::Durable && !commit.wait_durable(DURABLE_PATIENCE)? {
            return Err(Refusal::for_now(format!("not durable within {DURABLE_PATIENCE:?}")));
        }
        Ok(Outcome::Done)
    }

    pub(super) fn abort(&mut self, transaction: TransactionId) -> Result<Outcome, Refusal> {
        self.log.abort_transaction(transaction)?;
        Ok(Outcome::Done)
    }
}
