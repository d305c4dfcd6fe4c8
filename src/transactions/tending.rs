//! What upkeep and closing do for transactions: those that are open for too long end, what could not be marked is tried again,
//! and the ledger is trimmed.

use crate::{core::Core, error::RegisterError, ids::ProducerId, ledger::Ended, sync::Arc};
use std::{sync::atomic::Ordering, time::Duration};

/// Commits that may wait for their markers before they are made durable for that.
const UNMARKED_MAX: usize = 4096;

impl Core {
    /// Time until the next transaction is over its timeout.
    pub(crate) fn next_expiry(&self) -> Option<Duration> {
        let ledger = self.ledger();
        // What is being ended is tried again at leisure.
        let open = ledger.open.values().filter(|open| open.ending().is_none());
        open.map(|open| open.timeout.saturating_sub(open.began.elapsed())).min()
    }

    /// Ends what has been open for too long, tries again what could not be marked, and lets the ledger be trimmed.
    pub(crate) fn look_after_transactions(&self) {
        let (mut expired, mut halfway) = (Vec::new(), Vec::new());
        let unmarked = {
            let ledger = self.ledger();
            for open in ledger.open.values() {
                match open.aborting {
                    Some(ended) => halfway.push((open.id, open.number, ended)),
                    // Over its time, or doomed by a registration that has failed behind that.
                    None if open.doomed.is_some() || open.began.elapsed() >= open.timeout => {
                        expired.push((open.id, open.number));
                    }
                    None => {}
                }
            }
            ledger.decided.len()
        };
        for (id, number, ended) in halfway {
            let mut ledger = self.ledger();
            if ledger.open_of(id).is_some_and(|open| open.number == number && open.aborting.is_some()) {
                // What fails now is tried again.
                let _ = self.abort_open(&mut ledger, id, number, ended);
            }
        }
        for (id, number) in expired {
            event!(WARN, producer = %id, transaction = number, "a transaction was open for too long, and is aborted");
            let _ = self.fence_out(id, number, Ended::TimedOut);
        }
        if unmarked > UNMARKED_MAX {
            let newest = self.ledger().decided.back().map(|decided| decided.offset);
            let _ = newest.map(|offset| self.wait_entry_durable(offset, Duration::from_millis(500)));
        }
        self.let_ledger_be_trimmed();
    }

    /// Aborts a producer's open transaction, if it is that one, and fences the producer.
    pub(crate) fn fence_out(&self, id: ProducerId, number: u64, ended: Ended) -> Result<bool, RegisterError> {
        // Doomed at once: it can no longer be committed, nor another one be begun in its place.
        let is_open = {
            let mut ledger = self.ledger();
            let open = ledger.open.get_mut(&id.slot()).filter(|open| (open.id, open.number) == (id, number));
            open.map(|open| open.doomed = open.doomed.or(Some(ended))).is_some()
        };
        if is_open {
            self.register_again(id, number, ended)?;
        }
        Ok(is_open)
    }

    /// Snapshots of the ledger may stand where all commits before are marked, and the markers durable: what a snapshot
    /// stands for is dropped, and could decide nothing any more.
    fn let_ledger_be_trimmed(&self) {
        if !self.carried_out.load(Ordering::Acquire) {
            return;
        }
        let (own, limit) = {
            let mut ledger = self.ledger();
            self.settle(&mut ledger, true);
            let Some((own, _)) = &ledger.own else { return };
            let end = own.chain.visible_end().map_or(0, |end| end.offset);
            (Arc::clone(own), ledger.first_unmarked().unwrap_or(end))
        };
        if own.chain.begun().len() < 2 && !self.closing.load(Ordering::Acquire) {
            // Nothing is trimmed yet.
            return;
        }
        if limit <= own.snapshot_limit.load(Ordering::Relaxed) {
            return;
        }
        for partition in self.all_partitions() {
            let marked = partition.marked.load(Ordering::Relaxed);
            // No marker is at 0: there is none.
            if marked > 0 && marked >= partition.durable.position() && self.flush_up_to(&partition, marked).is_err() {
                return;
            }
        }
        own.snapshot_limit.store(limit, Ordering::Relaxed);
    }

    /// Before the log is closed: aborts what is open, makes commits durable and marks them. What is left undone, the next
    /// opening does.
    pub(crate) fn leave_no_transaction_open(&self) {
        let open: Vec<(ProducerId, u64)> = self.ledger().open.values().map(|open| (open.id, open.number)).collect();
        for (id, number) in open {
            let _ = self.abort_open(&mut self.ledger(), id, number, Ended::Aborted);
        }
        let newest = self.ledger().decided.back().map(|decided| decided.offset);
        if let Some(offset) = newest {
            let _ = self.wait_entry_durable(offset, Duration::from_secs(60));
            self.settle(&mut self.ledger(), true);
        }
        self.let_ledger_be_trimmed();
    }
}
