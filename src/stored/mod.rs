//! What is on disk, read without changing a byte of it: beside a process that writes it, and when it is damaged.
//!
//! Nothing here is mapped. Every byte is read into memory of the reader's own with `pread`, for these reasons:
//!
//! - A file that is cut while it is read ends early. A mapping of it would raise SIGBUS.
//! - A sector that can't be read is an error with a place. In a mapping it would be SIGBUS too.
//! - Bytes that a live writer stores to never stand behind a `&[u8]`: what is looked at is a copy, which stays as it is.
//!   So no promise is asked of the caller, and there is no `unsafe`.
//!
//! A copy may be taken while a frame is being stored. Its checksum tells: what does not agree is copied again, and counts
//! as not published while it goes on so. A segment that is used again under a reader has another tag and another salt: no
//! frame of the new use passes for one of the old. Where file locks work, it is not even used again: the shared lock of a
//! reader keeps a segment from it.
//!
//! | file | what it holds |
//! |---|---|
//! | `frames.rs` | the frames of one segment file, one after the other, or found again behind damage |
//! | `files.rs` | what is in the directories of a log and of a partition |
//! | `cuts.rs` | what was cut off and is still there |
//! | `outlook.rs` | what recovery would make of a partition |

mod cuts;
pub(crate) mod files;
pub(crate) mod frames;
pub(crate) mod outlook;
