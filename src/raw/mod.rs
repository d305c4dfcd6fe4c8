//! Everything `unsafe` that touches memory or the kernel, behind types whose use is safe. Why that holds: `README.md`.
//!
//! | file | what it holds |
//! |---|---|
//! | `window.rs` | the bytes of a segment: publication words, exclusive claims, published slices |
//! | `mapping.rs` | who owns those bytes: a mapped file |
//! | `hint.rs` | cache lines asked for before they are needed |
//! | `limit.rs` | limits that the system sets a process, told by name |
//! | `link.rs` | a pointer to the successor that is set once |
//! | `table.rs` | a large array of zeroed slots, touched only where used |
//! | `ring.rs` | several writes at once, through io_uring |
//! | `word.rs` | a word that threads sleep on |
//! | `sys.rs` | the few system calls that std does not offer |

pub(crate) mod hint;
#[cfg(not(loom))]
pub(crate) mod limit;
pub(crate) mod link;
#[cfg(not(loom))]
pub(crate) mod mapping;
#[cfg(not(loom))]
pub(crate) mod ring;
#[cfg(not(loom))]
pub(crate) mod sys;
#[cfg(not(loom))]
pub(crate) mod table;
#[cfg_attr(loom, path = "window_loom.rs")]
pub(crate) mod window;
#[cfg_attr(loom, path = "word_loom.rs")]
pub(crate) mod word;
