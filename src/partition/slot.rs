//! A producer's state in one partition: 64 bytes, one cache line.
//!
//! Who may touch what:
//!
//! - `state` holds epoch, mode and the lock bit. A session only reads it. By id, whoever sets the lock bit owns the rest
//!   of the slot until it clears it. A fence replaces the epoch, when the lock is free.
//! - In session mode the session's one handle writes the rest without a lock, and only between its reservation and its
//!   publication, so that whoever has seen its frames published, as a fence waits to, has seen the slot as of them.
//!
//! Epochs of a slot only grow, also from one owner of the slot to the next, so a state word never repeats.

use crate::{
    ids::{Mode, ProducerId, Progress},
    sync::{AtomicU64, Backoff, Ordering},
};

const LOCK: u64 = 1;
const MODE_SHIFT: u32 = 1;
const EPOCH_SHIFT: u32 = 32;

/// Epoch and mode, as `state` holds them without the lock. 0 is a slot that nobody uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct State(u64);

impl State {
    pub(crate) const UNUSED: Self = Self(0);

    #[inline]
    pub(crate) const fn new(epoch: u32, mode: Mode) -> Self {
        Self((epoch as u64) << EPOCH_SHIFT | (mode as u64) << MODE_SHIFT)
    }

    #[inline]
    pub(crate) const fn epoch(self) -> u32 {
        (self.0 >> EPOCH_SHIFT) as u32
    }
}

/// One producer's state in one partition.
#[repr(C, align(64))]
pub(crate) struct Slot {
    /// Written by fences, by registration, and by id around an append; read by everyone.
    state: AtomicU64,
    /// Written by registration only.
    producer: AtomicU64,
    /// The three of `Progress`: written by the session or under the lock, see above.
    expected: AtomicU64,
    last_position: AtomicU64,
    last_ms: AtomicU64,
    /// By id, under the lock: the transaction that the producer's latest batch here was in, with `ENDED` once it is no
    /// longer open; 0 for none, or one that need not be remembered.
    transaction: AtomicU64,
}

/// Of `Slot::transaction`: it is decided.
pub(crate) const ENDED: u64 = 1 << 63;

#[cfg(not(loom))]
const _: () = assert!(size_of::<Slot>() == 64);

#[cfg(not(loom))]
#[expect(unsafe_code, reason = "the promise is about this type, and is made where it can be seen")]
// SAFETY: six atomics, for which zero is a value, and no drop.
unsafe impl crate::raw::table::ZeroedSlot for Slot {}

impl Slot {
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            state: zero(),
            producer: zero(),
            expected: zero(),
            last_position: zero(),
            last_ms: zero(),
            transaction: zero(),
        }
    }

    /// Gives an unused slot to a producer. Called under the registry's lock, so by one thread at a time.
    pub(crate) fn assign(&self, producer: ProducerId, state: State, progress: Progress) {
        self.producer.store(producer.get(), Ordering::Relaxed);
        self.transaction.store(0, Ordering::Relaxed);
        self.advance(progress);
        // Release: pairs with the Acquire of whoever reads or locks the state.
        self.state.store(state.0, Ordering::Release);
    }

    /// Epoch and mode now.
    #[inline]
    pub(crate) fn state(&self) -> State {
        // Acquire: pairs with the Release in `assign`, `unlock` and `raise`.
        State(self.state.load(Ordering::Acquire) & !LOCK)
    }

    /// Whose slot this is.
    #[inline]
    pub(crate) fn producer(&self) -> ProducerId {
        ProducerId::from_u64(self.producer.load(Ordering::Relaxed))
    }

    /// The producer's progress. Whole only for the session, under the lock, or behind a fence.
    #[inline]
    pub(crate) fn progress(&self) -> Progress {
        Progress {
            expected: self.expected.load(Ordering::Relaxed),
            last_position: self.last_position.load(Ordering::Relaxed),
            last_ms: self.last_ms.load(Ordering::Relaxed),
        }
    }

    /// The transaction that the producer appends in here: see the field.
    #[inline]
    pub(crate) fn transaction(&self) -> u64 {
        self.transaction.load(Ordering::Relaxed)
    }

    /// Stores it. Relaxed: published by `unlock`.
    pub(crate) fn set_transaction(&self, transaction: u64) {
        self.transaction.store(transaction, Ordering::Relaxed);
    }

    /// Forgets the transaction that has ended, if it is still that one: what comes next is in none.
    pub(crate) fn leave(&self, ended: u64) {
        let mut backoff = Backoff::new();
        loop {
            if let Some(locked) = self.lock(self.state()) {
                if ended & ENDED != 0 && locked.slot().transaction() == ended {
                    locked.slot().set_transaction(0);
                }
                return;
            }
            backoff.wait();
        }
    }

    /// Stores the producer's progress. Relaxed: published by the frame's Release store, or by `unlock`.
    #[inline]
    pub(crate) fn advance(&self, progress: Progress) {
        self.expected.store(progress.expected, Ordering::Relaxed);
        self.last_position.store(progress.last_position, Ordering::Relaxed);
        self.last_ms.store(progress.last_ms, Ordering::Relaxed);
    }

    /// Takes the lock if the slot's epoch and mode are `state`.
    #[inline]
    pub(crate) fn lock(&self, state: State) -> Option<Locked<'_>> {
        // Acquire on success: pairs with the Release in `unlock`; the slot is as its last owner left it.
        match self.state.compare_exchange(state.0, state.0 | LOCK, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Some(Locked { slot: self, state }),
            Err(_) => self.lock_held(state),
        }
    }

    /// The same, for a lock that somebody has, or a state that has changed.
    #[cold]
    fn lock_held(&self, state: State) -> Option<Locked<'_>> {
        let mut backoff = Backoff::new();
        loop {
            // As above.
            match self.state.compare_exchange(state.0, state.0 | LOCK, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(Locked { slot: self, state }),
                Err(other) if other == state.0 | LOCK => backoff.wait(),
                Err(_) => return None,
            }
        }
    }

    /// Replaces epoch and mode, waiting for the lock to be free.
    pub(crate) fn raise(&self, to: State) {
        let mut backoff = Backoff::new();
        loop {
            let now = self.state.load(Ordering::Relaxed);
            // AcqRel: Acquire pairs with the Release in `unlock`. Release orders the new epoch before the fence's claim,
            // together with that claim's own Release.
            if now & LOCK == 0 && self.state.compare_exchange(now, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return;
            }
            backoff.wait();
        }
    }
}

/// A slot that this thread has locked; unlocked on drop.
pub(crate) struct Locked<'a> {
    slot: &'a Slot,
    state: State,
}

impl Locked<'_> {
    #[inline]
    pub(crate) const fn slot(&self) -> &Slot {
        self.slot
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        // Release: what was stored under the lock; pairs with the Acquire in `lock`.
        self.slot.state.store(self.state.0, Ordering::Release);
    }
}
