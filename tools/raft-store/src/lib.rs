//! A log store for [openraft](https://docs.rs/openraft), on oncelog.
//!
//! A Raft group is a partition of a log. An entry's index is its record's offset; the vote, the committed log id and the
//! purged one are the partition's metadata, in one order with the entries. A log holds as many groups as it is given, and
//! one flush makes the appends of all of them durable.
//!
//! | openraft asks to | here |
//! |---|---|
//! | append | one batch; it can be read when the call returns, and the callback is called when it is durable |
//! | save a vote | metadata, behind all that was appended before; durable when the call returns |
//! | save the committed log id | metadata, not waited for: after a crash an earlier one may be read |
//! | truncate | `Partition::truncate`, behind all that was appended before |
//! | purge | metadata with the log id, then `Partition::purge`: opening does what a crash has left of it |
//! | read | a reader of the partition, without a copy but for decoding |
//!
//! ```
//! use oncelog::{Options, Window};
//! use oncelog_raft_store::RaftStore;
//!
//! openraft::declare_raft_types!(pub Types: D = String, R = String);
//!
//! let dir = tempfile::tempdir()?;
//! // SAFETY: nothing else writes to this directory.
//! let log = unsafe { Options::new().window(Window::Direct).open(dir.path())? };
//! let store: RaftStore<Types> = RaftStore::open(&log, "group-7")?;
//! // Raft::new(id, config, network, store, state_machine).await?
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Open the log in its direct window: nothing is acknowledged here before it is durable, and there a flush holds no append
//! up. The mapped window works as well.

mod codec;
mod marks;
mod reader;
mod store;
mod writer;

pub use reader::LogReader;
pub use store::RaftStore;
