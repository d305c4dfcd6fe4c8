//! Results of [oncelog](https://github.com/oncelog/oncelog) read back from their folders: charts, one page, a comparison
//! of runs, and their history.
//!
//! ```text
//!   read <- result, figure     run.json and percentile tables; what a figure is told by
//!   chart                      scales, frames, legends: one drawing for paper, day and night
//!   groups                     which figures go into one picture
//!   report <- page             one page that needs no server and no network, and the charts as files
//!   compare                    better, worse, or no difference found
//!   history, index             a line a run; the README of a folder of runs
//! ```

mod chart;
mod compare;
mod error;
mod figure;
mod groups;
mod history;
mod index;
mod page;
mod read;
mod report;
mod result;
mod units;

pub use chart::Chart;
pub use compare::{Compared, Comparison, Verdict, compare};
pub use error::ReportError;
pub use history::{CANONICAL, Canonical, Line};
pub use index::renew;
pub use read::{Point, Recorded, runs_of};
pub use report::{CHARTS, PAGE, Report};
pub use result::{
    Cell, DeviceFacts, Figure, Flushes, Generator, HostFacts, Percentiles, Run, RunFacts, SCHEMA_VERSION, Second,
    Spread,
};
