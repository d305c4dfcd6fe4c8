//! A run that is kept: in a folder of its own among the results, with its environment and its report.

use std::fs;
use std::path::{Path, PathBuf};

use oncelog_load::{Outcome, environment, files};
use oncelog_report::{Recorded, Report};

use crate::failure::Failure;

/// Runs of one day, machine and commit.
const SAME_NAME_MAX: usize = 100;

/// Where a run goes, as it is measured.
pub(super) struct Keeper {
    out: Option<files::Folder>,
    json: Option<PathBuf>,
    results: Option<PathBuf>,
    record: Option<(PathBuf, files::Folder)>,
}

impl Keeper {
    /// Refuses places that cannot be written before minutes of measuring, not after them.
    pub(super) fn new(out: Option<&Path>, json: Option<&Path>, results: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = json {
            let open = fs::OpenOptions::new().append(true).create(true).open(path);
            open.map_err(Failure::failed(format!("writing {}", path.display())))?;
        }
        if let Some(dir) = results.filter(|dir| !dir.is_dir()) {
            return Err(Failure::Usage(format!(
                "{} is no folder: record a run where the results are, or name their folder with --record=DIR",
                dir.display()
            )));
        }
        let creating = |dir: &Path| Failure::failed::<std::io::Error>(format!("creating {}", dir.display()));
        let out = out.map(|dir| files::Folder::create(dir).map_err(creating(dir))).transpose()?;
        Ok(Self { out, json: json.map(Path::to_owned), results: results.map(Path::to_owned), record: None })
    }

    /// Writes the run as far as it has come.
    pub(super) fn keep(&mut self, outcome: &Outcome) -> std::io::Result<()> {
        if let Some(path) = &self.json {
            files::write_json(path, &outcome.result)?;
        }
        if let Some(out) = &mut self.out {
            out.write(outcome)?;
        }
        if self.record.is_none()
            && let Some(results) = &self.results
        {
            let dir = new_folder(results, &environment::folder_name(&outcome.result))?;
            fs::write(dir.join("environment.txt"), environment::describe(&dir))?;
            let folder = files::Folder::create(&dir)?;
            self.record = Some((dir, folder));
        }
        if let Some((_, folder)) = &mut self.record {
            folder.write(outcome)?;
        }
        Ok(())
    }

    /// The folder of a recorded run, once it has a figure.
    pub(super) fn recorded(&self) -> Option<&Path> {
        self.record.as_ref().map(|(dir, _)| dir.as_path())
    }

    /// Draws the report of a recorded run and renews the README and the history; its folder.
    pub(super) fn finish(self) -> Result<Option<PathBuf>, Failure> {
        let Some((dir, _)) = self.record else { return Ok(None) };
        if let Some(results) = &self.results {
            oncelog_report::renew(results)?;
        }
        Report::of(&[Recorded::read(&dir)?])?.write(&dir)?;
        Ok(Some(dir))
    }
}

/// A folder that was not there, numbered where the name is taken.
fn new_folder(results: &Path, name: &str) -> std::io::Result<PathBuf> {
    for number in 1..=SAME_NAME_MAX {
        let dir = results.join(if number == 1 { name.to_owned() } else { format!("{name}-{number}") });
        match fs::create_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| dir),
        }
    }
    Err(std::io::Error::other(format!("{SAME_NAME_MAX} folders are called {name} already")))
}
