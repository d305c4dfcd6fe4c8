//! The load generator of [oncelog](https://github.com/oncelog/oncelog): what one append costs, what idempotence adds
//! to it, and what the machine adds on its own.
//!
//! A [`Workload`] is a value on every axis; a [`Row`] says what is measured of it; [`run()`] measures rows and returns
//! an [`Outcome`], which [`files`] writes and [`table`] prints. [`canonical`] lists the rows that are measured when
//! nothing is asked for.
//!
//! ```text
//!   workload, payload          what is appended
//!   stage <- lane <- turns     a log set up for it: a lane per thread, producers in a shuffled order
//!   closed, open, endless      appends back to back / on a schedule / faster than segments are made
//!   tail                       readers beside them, and how long it takes until they have it
//!   sweep                      schedules faster and faster, to the knee and beyond
//!   fetch, recover             scans, reopening
//!   transaction                records in transactions beside the same without
//!   durable <- floor          each append waited for, beside a raw write of the same blocks
//!   pipelined, sustained      as fast as the device takes it
//!   reopen                    a large log whose process was killed, cold
//!   delivery                   clients under faults, and what each delivery costs
//!   limit <- bare              what no append can avoid, on bare segments
//!   verify -> verdict          a reader checks everything that was appended; what it finds marks the figure
//!   recorder, spread           histograms; medians and ratios of pairs
//!   result, files, table       what a run holds, and how it is written
//!   environment                what a folder of results is called, and says of the machine
//!   host, device, generator    the machine and the generator itself, beside the figures
//! ```

mod bare;
mod beside;
pub mod canonical;
mod closed;
pub mod delivery;
mod device;
mod durable;
mod endless;
pub mod environment;
mod error;
mod fetch;
pub mod files;
mod floor;
mod generator;
mod harness;
mod host;
mod lane;
mod limit;
mod open;
mod payload;
mod pipelined;
mod prefault;
mod progress;
mod recorder;
mod recover;
mod reopen;
mod result;
mod row;
mod run;
mod several;
mod spread;
mod stage;
mod sustained;
mod sweep;
mod sys;
mod system_calls;
pub mod table;
mod tail;
mod timed;
mod transaction;
mod turns;
mod verdict;
mod verify;
mod workload;

pub use closed::Repeats;
pub use error::LoadError;
pub use harness::{around_block, records_of_block, time_blocks, time_on_schedule, with_reopenings};
pub use host::command_line;
pub use payload::{PayloadError, Payloads};
pub use progress::Progress;
pub use recorder::{Histograms, Interval, Recorder};
pub use reopen::{Reopen, fill};
pub use result::{
    DeviceFacts, Figure, Flushes, GeneratorFacts, HostFacts, Kind, PerSecond, Percentiles, RunFacts, RunResult,
    SCHEMA_VERSION, Second, SegmentsFrom, SustainedSecond,
};
pub use row::Row;
pub use run::{Outcome, SEGMENT_BYTES, Settings, run, run_watched};
pub use several::SeveralFiles;
pub use spread::Spread;
pub use sustained::Sustained;
pub use system_calls::count_system_calls;
pub use verify::VerifyError;
pub use workload::{Acknowledge, Idempotence, Pace, Reading, Window, Workload, WorkloadError};
