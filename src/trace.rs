//! Events for `tracing`, where the feature of that name is on. Where it is off nothing is left of them: no code, no
//! dependency, and their arguments are not even evaluated.
//!
//! | event | level | told by |
//! |---|---|---|
//! | the log was opened, was closed | info | `log.rs`, `core.rs` |
//! | a partition's end was torn; a file without a header was dropped | warn | `partition/recovery.rs` |
//! | a segment was begun, was sealed, was dropped by retention | debug | `core.rs`, `partition/upkeep.rs` |
//! | no segment could be prepared | warn | `partition/preparer.rs` |
//! | a snapshot was written | debug | `partition/snapshots.rs` |
//! | a partition went to rest | debug | `core.rs` |
//! | a producer was fenced in a partition | info | `producers.rs` |
//! | a transaction was open for too long | warn | `transactions/tending.rs` |
//! | a write or a flush has failed | error | `commit.rs` |
//!
//! None of it is told by an append, a read or a round of the committer.

#[cfg(feature = "tracing")]
macro_rules! event {
    ($level:ident, $($what:tt)*) => {
        ::tracing::event!(target: "oncelog", ::tracing::Level::$level, $($what)*)
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! event {
    ($($what:tt)*) => {};
}
