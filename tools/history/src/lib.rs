//! Random concurrent histories of transactions on an [oncelog](https://github.com/oncelog/oncelog) log, in the manner of
//! Jepsen's workload for Kafka: every operation is written down when it is called and when it is answered, over crashes,
//! and [`check`] says whether any order of them explains what readers have seen.
//!
//! ```text
//!   dice, payload, names       chance that a seed repeats; what a record says of itself
//!   event <- recorder          what is written down, and where to: memory, or the pipe of a process that will be killed
//!   workers <- stage           who appends, reads, replaces and fences whom; one life of a log with all of them
//!   look                       all that is in a log between two lives
//!   history <- check           lives and looks in their order; what must hold of them
//! ```

mod check;
mod dice;
mod event;
mod history;
mod look;
mod payload;
mod recorder;
mod stage;
mod workers;

pub use check::{Counts, check};
pub use dice::Dice;
pub use event::{Event, Found, What};
pub use history::{End, History, Life};
pub use look::{Look, look};
pub use recorder::{Recorder, parse};
pub use stage::{Pending, Stage};
