//! Transactions behind their handles: beginning one, ending one, by session or by id.
//!
//! | file | |
//! |---|---|
//! | `offsets.rs` | groups' generations and offsets, within a transaction and outside of one |
//! | `settling.rs` | until when a commit could be undone, and who waits for that |
//! | `tending.rs` | what ends by itself, and what upkeep and closing do |

mod offsets;
mod settling;
mod tending;

use crate::{
    core::Core,
    error::TransactionError,
    ids::Mode,
    ledger::{Author, By, Ended, Ledger, OpenTransaction},
    partition::{PartitionState, slot::ENDED},
    sync::Arc,
};
use std::{
    sync::MutexGuard,
    time::{Duration, Instant},
};

/// Shortest time that a transaction may be open.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// Timeouts below this are looked for sooner than upkeep comes by itself.
const TIMEOUT_SHORT: Duration = Duration::from_secs(1);

/// How long a beginning waits for the fence that is about to refuse it, and between two looks.
const FENCE_PATIENCE: Duration = Duration::from_millis(100);
const FENCE_PAUSE: Duration = Duration::from_micros(200);
/// Numbers end where a slot's flag begins.
const NUMBER_END: u64 = ENDED;

/// What beginning a transaction comes to.
enum Begun {
    /// It is open.
    Number(u64),
    /// The one before is about to be ended, and its producer fenced.
    Doomed(u64, Ended),
}

/// What a call about a transaction meets.
enum Standing<'a> {
    Open(MutexGuard<'a, Ledger>),
    Ended(Ended),
}

impl Core {
    /// Begins a transaction, with a number of its own, or with the given one. The same call again changes nothing.
    pub(crate) fn begin(&self, by: By, number: Option<u64>, timeout: Duration) -> Result<u64, TransactionError> {
        if timeout < TIMEOUT_MIN {
            return Err(TransactionError::Timeout { timeout });
        }
        let mut until = None;
        loop {
            let (doomed, how) = match self.try_begin(by, number, timeout)? {
                Begun::Number(number) => return Ok(number),
                Begun::Doomed(doomed, how) => (doomed, how),
            };
            // Whoever ends the one before is about to fence the producer: then this one's epoch is the elder.
            let now = self.registry().find(by.id).map(|entry| (entry.epoch, entry.mode));
            let (epoch, mode) = now.ok_or(TransactionError::UnknownProducer { producer: by.id })?;
            refuse(by, epoch, mode)?;
            if Instant::now() >= *until.get_or_insert_with(|| Instant::now() + FENCE_PATIENCE) {
                // The fence has failed, and is tried again.
                return Err(self.ended_otherwise(by, doomed, how));
            }
            std::thread::sleep(FENCE_PAUSE);
        }
    }

    fn try_begin(&self, by: By, number: Option<u64>, timeout: Duration) -> Result<Begun, TransactionError> {
        let By { id, epoch, mode } = by;
        let mut ledger = self.ledger();
        let known = ledger.author(id).is_some_and(|author| (author.epoch, author.mode) == (epoch, mode));
        if !known {
            drop(ledger);
            // The registry's lock first, and both: a registration that comes between finds what is begun here.
            let registry = self.registry();
            let Some(entry) = registry.find(id) else { return Err(TransactionError::UnknownProducer { producer: id }) };
            refuse(by, entry.epoch, entry.mode)?;
            ledger = self.ledger();
            let new = Author { id, epoch, mode, last: 0, ended: Ended::Aborted, last_epoch: 0, entry: None };
            let author = ledger.authors.entry(id.slot()).or_insert(new);
            if author.id != id {
                *author = new;
            }
            (author.epoch, author.mode) = (epoch, mode);
            ledger.names.insert(id.slot(), entry.name.clone());
        }
        if let Some(open) = ledger.open_of(id) {
            if let (None, Some(how)) = (open.aborting, open.doomed) {
                return Ok(Begun::Doomed(open.number, how));
            }
            match (open.aborting, open.number) {
                // What is left of an abort comes first.
                (Some(ended), number) => self.abort_open(&mut ledger, id, number, ended)?,
                (None, open) if number == Some(open) => return Ok(Begun::Number(open)),
                (None, open) => return Err(TransactionError::AlreadyOpen { open }),
            }
        }
        let Some(author) = ledger.author(id) else { return Err(TransactionError::UnknownProducer { producer: id }) };
        let number = number.unwrap_or(author.last + 1);
        if number <= author.last || number >= NUMBER_END {
            return Err(TransactionError::NumberUsed { transaction: number, last: author.last });
        }
        (author.last, author.last_epoch, author.ended, author.entry) = (number, epoch, Ended::Aborted, None);
        let open = OpenTransaction {
            id,
            epoch,
            mode,
            number,
            began: Instant::now(),
            timeout,
            parts: Vec::new(),
            offsets: Vec::new(),
            doomed: None,
            aborting: None,
        };
        ledger.open.insert(id.slot(), open);
        drop(ledger);
        if timeout < TIMEOUT_SHORT {
            // It may be asleep for longer than that.
            self.upkeep.raise();
        }
        Ok(Begun::Number(number))
    }

    /// The transaction, if it is open for this caller, or how it ended.
    fn standing(&self, by: By, number: u64) -> Result<Standing<'_>, TransactionError> {
        let By { id, epoch, mode } = by;
        let mut ledger = self.ledger();
        if let Some(open) = ledger.open_of(id).filter(|open| open.number == number && open.epoch == epoch) {
            if open.mode != mode {
                return Err(TransactionError::WrongMode { producer: id, registered: open.mode });
            }
            let ending = open.ending();
            return Ok(ending.map_or_else(|| Standing::Open(ledger), Standing::Ended));
        }
        let author = ledger.author(id).copied();
        if let Some(author) = author.filter(|author| author.last == number && [0, epoch].contains(&author.last_epoch)) {
            return Ok(Standing::Ended(author.ended));
        }
        drop(ledger);
        let registry = self.registry();
        let Some(entry) = registry.find(id) else { return Err(TransactionError::UnknownProducer { producer: id }) };
        refuse(by, entry.epoch, entry.mode)?;
        Err(TransactionError::NotOpen { transaction: number, last: author.map_or(0, |author| author.last) })
    }

    /// Commits: the offset of the ledger's entry, if there was anything to commit. The same call again gives the same
    /// answer; of what was committed before the log was opened, which is durable, without the offset.
    pub(crate) fn commit_transaction(&self, by: By, number: u64) -> Result<Option<u64>, TransactionError> {
        let ledger = match self.standing(by, number)? {
            Standing::Open(ledger) => ledger,
            Standing::Ended(Ended::Committed) => {
                return Ok(self.ledger().author(by.id).and_then(|author| author.entry));
            }
            Standing::Ended(ended) => return Err(self.ended_otherwise(by, number, ended)),
        };
        self.commit_open(ledger, by, number)
    }

    /// Aborts. The same call again changes nothing.
    pub(crate) fn abort_transaction(&self, by: By, number: u64) -> Result<(), TransactionError> {
        match self.standing(by, number)? {
            Standing::Open(mut ledger) => Ok(self.abort_open(&mut ledger, by.id, number, Ended::Aborted)?),
            Standing::Ended(Ended::Aborted | Ended::TimedOut) => {
                // What is left of it, if its markers could not be written.
                let mut ledger = self.ledger();
                match ledger.open_of(by.id).filter(|open| open.number == number).and_then(|open| open.aborting) {
                    Some(ended) => Ok(self.abort_open(&mut ledger, by.id, number, ended)?),
                    None => Ok(()),
                }
            }
            Standing::Ended(ended) => Err(self.ended_otherwise(by, number, ended)),
        }
    }

    fn ended_otherwise(&self, by: By, transaction: u64, ended: Ended) -> TransactionError {
        match ended {
            Ended::Committed => TransactionError::Committed { transaction },
            Ended::Aborted => TransactionError::Aborted { transaction },
            Ended::TimedOut => TransactionError::TimedOut { transaction },
            Ended::Fenced => {
                let epoch = self.registry().find(by.id).map_or(by.epoch, |entry| entry.epoch);
                TransactionError::Fenced { epoch }
            }
        }
    }

    /// Adds a partition to an open transaction of a producer that appends by id.
    pub(crate) fn add_partition(
        &self,
        by: By,
        number: u64,
        partition: &Arc<PartitionState>,
    ) -> Result<(), TransactionError> {
        match self.standing(by, number)? {
            Standing::Open(ledger) => drop(ledger),
            Standing::Ended(ended) => return Err(self.ended_otherwise(by, number, ended)),
        }
        // Gives the producer its slot there.
        self.place(partition, by.id, by.epoch, by.mode)?;
        if self.enter_transaction(by.id, by.epoch, number, partition)? {
            return Ok(());
        }
        Err(TransactionError::NotOpen { transaction: number, last: number })
    }
}

fn refuse(by: By, epoch: u32, mode: Mode) -> Result<(), TransactionError> {
    if mode != by.mode {
        return Err(TransactionError::WrongMode { producer: by.id, registered: mode });
    }
    match epoch.cmp(&by.epoch) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(TransactionError::Fenced { epoch }),
        std::cmp::Ordering::Less => Err(TransactionError::EpochNotIssued { current: epoch }),
    }
}
