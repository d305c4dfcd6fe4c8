//! A log as its files: the golden ones to begin with, edited, written to a directory.

#[path = "../../../tests/golden/hex.rs"]
#[allow(dead_code, reason = "only reading is needed here")]
mod hex;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Files by their names below the log's directory.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The golden logs: one that was closed, one as a kill leaves it, and one that was killed amid transactions.
pub(crate) fn golden() -> io::Result<Vec<Files>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    ["closed", "killed", "transactions"].iter().map(|name| below(&root.join(name))).collect()
}

fn below(root: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let entry = entry?;
            let name = directory.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                directories.push(name);
            } else if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".hex")) {
                files.insert(name.to_owned(), hex::undump(&fs::read_to_string(entry.path())?));
            }
        }
    }
    Ok(files)
}

/// Writes the files below a directory.
pub(crate) fn write(files: &Files, to: &Path) -> io::Result<()> {
    for (name, bytes) in files {
        let path = to.join(name);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, bytes)?;
    }
    Ok(())
}
