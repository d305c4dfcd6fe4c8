//! The Rust crates that are compared with, a file each.

pub mod commitlog;
pub mod okaywal;
pub mod raft_engine;
pub mod raft_log;
pub mod walrus;
