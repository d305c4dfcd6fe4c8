//! White-box tests.
//!
//! | file | what it proves |
//! |---|---|
//! | `loom/` | the claim, the publication, the step to the next segment, the slot and the fence, in every interleaving |
//! | `dropped.rs` | a segment that is taken off between being found and being mapped is told so, to readers and to retries |
//! | `far.rs` | a producer's frames tell how far back its previous one is, however far that is |
//! | `golden.rs` | what is written is what the golden files hold |
//! | `undecodable.rs` | a record of the ledger that is no entry, or names a partition that is gone, refuses to open; a purge beyond the end is passed over |
//! | `layers.rs` | imports between modules point one way; every file keeps to what all keep to |
//! | `resting.rs` | a partition that is put to rest while somebody appends to it is awake; how often segments are made for nothing |
//! | `overtaken.rs` | a commit whose producer was fenced while it waited is told so |
//! | `seen.rs` | what an appender knows to be visible without a look |
//! | `rounds.rs` | who begins a round of the committer, and who is waited for |

#[cfg(not(loom))]
mod dropped;
#[cfg(not(loom))]
mod far;
#[cfg(not(loom))]
mod golden;
#[cfg(not(loom))]
mod layers;
#[cfg(loom)]
mod loom;
#[cfg(not(loom))]
mod overtaken;
#[cfg(not(loom))]
mod resting;
#[cfg(not(loom))]
mod rounds;
#[cfg(not(loom))]
mod seen;
#[cfg(not(loom))]
mod undecodable;
