//! The matrix: every delivery under every fault, run one after the other and shown in one table.

use std::env;
use std::fmt::Write as _;
use std::path::PathBuf;

use super::cell::{Cell, Experiment};
use super::{Column, Counts, Fault};
use crate::error::LoadError;
use crate::progress::Progress;

/// Where a matrix's logs are made: in memory, if there is such a place, since what is counted does not depend on the disk, and
/// a log that is reopened a hundred times waits for it.
#[must_use]
pub fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { env::temp_dir() }
}

/// Runs a cell for each pair.
///
/// # Errors
/// As for [`Experiment::cell`].
pub fn matrix(
    experiment: &Experiment,
    columns: &[Column],
    faults: &[Fault],
    progress: &mut Progress,
) -> Result<Vec<Cell>, LoadError> {
    progress.steps(columns.len() * faults.len());
    let mut cells = Vec::with_capacity(columns.len() * faults.len());
    for fault in faults {
        for column in columns {
            progress.step(cells.len(), &format!("{column} under {fault}"));
            cells.push(experiment.cell(*column, *fault)?);
        }
    }
    progress.finish();
    Ok(cells)
}

/// The cells as a table, a line for each fault and a column for each delivery, at most 100 columns wide.
#[must_use]
pub fn render(experiment: &Experiment, cells: &[Cell]) -> String {
    const FAULT: usize = 26;
    const CELL: usize = 17;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} messages a cell, faults strike {} % of requests, seed {}.\n\
         lost / doubled / late: what became of messages in the end, as the injector's own log foretells it;\n\
         (!) where it does not, or where nothing went wrong that should have.",
        experiment.messages,
        experiment.rate * 100.0,
        experiment.seed
    );
    let columns: Vec<Column> =
        Column::ALL.iter().copied().filter(|column| cells.iter().any(|cell| cell.delivery == *column)).collect();
    let _ = write!(text, "{:<FAULT$}", "fault");
    for column in &columns {
        let _ = write!(text, " {:>CELL$}", column.word());
    }
    text.push('\n');
    for fault in Fault::ALL {
        let of_fault: Vec<&Cell> = cells.iter().filter(|cell| cell.fault == *fault).collect();
        if of_fault.is_empty() {
            continue;
        }
        let _ = write!(text, "{:<FAULT$}", fault.word());
        for column in &columns {
            let cell = of_fault.iter().find(|cell| cell.delivery == *column);
            let _ = write!(text, " {:>CELL$}", cell.map_or(String::new(), |cell| shown(cell)));
        }
        text.push('\n');
    }
    text
}

fn shown(cell: &Cell) -> String {
    let Counts { lost, duplicated, reordered } = cell.measured;
    let mark = if cell.check().is_err() { " (!)" } else { "" };
    format!("{lost} / {duplicated} / {reordered}{mark}")
}
