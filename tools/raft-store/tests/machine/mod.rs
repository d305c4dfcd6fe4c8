//! A state machine in memory, as openraft's suite asks for one beside the log: it keeps nothing but how far it has come.

use futures_util::{Stream, TryStreamExt};
use openraft::{
    OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta,
    alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf},
    entry::RaftEntry,
    storage::{EntryResponder, RaftStateMachine},
};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

openraft::declare_raft_types!(
    /// Commands are text, and answered with nothing.
    pub Types: D = String, R = ()
);

type Applied = (Option<LogIdOf<Types>>, StoredMembershipOf<Types>);

/// How far it has come, and its last snapshot, which holds no more than that.
#[derive(Clone, Default)]
pub struct Machine {
    applied: Arc<Mutex<Applied>>,
    snapshot: Arc<Mutex<Option<SnapshotMetaOf<Types>>>>,
}

impl Machine {
    fn applied(&self) -> Applied {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, meta: SnapshotMetaOf<Types>) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(meta);
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, Vec<u8>>, io::Error> {
        let (last_log_id, last_membership) = self.applied();
        let meta = SnapshotMeta { last_log_id, last_membership };
        self.keep(meta.clone());
        Ok(Snapshot { meta, snapshot: Vec::new() })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<Applied, io::Error> {
        Ok(self.applied())
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            {
                let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
                applied.0 = Some(entry.log_id());
                if let Some(membership) = entry.get_membership() {
                    applied.1 = StoredMembershipOf::<Types>::new(Some(entry.log_id()), membership);
                }
            }
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<Types>, _: Vec<u8>) -> Result<(), io::Error> {
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = (meta.last_log_id, meta.last_membership.clone());
        self.keep(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<Types, Vec<u8>>>, io::Error> {
        let meta = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(meta.map(|meta| Snapshot { meta, snapshot: Vec::new() }))
    }
}
