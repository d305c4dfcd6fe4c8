//! What was cut off is removed, behind the cut.

use super::Switch;
use crate::{error::TruncateError, partition::PartitionState, segment::file::Segment, sync::Arc};
use std::{fs, io, path::PathBuf};

/// Seals what was cut, and removes what is gone. The cut counts, whatever comes of this.
pub(super) fn remove(
    partition: &PartitionState,
    switch: &Switch,
    sealed: Option<Arc<Segment>>,
    removed: Vec<Arc<Segment>>,
) -> Result<(), TruncateError> {
    let mut first: Option<(PathBuf, io::Error)> = None;
    let mut failed = |path: PathBuf, result: io::Result<()>| {
        if let (Err(error), None) = (result, &first) {
            first = Some((path, error));
        }
    };
    if let Some(sealed) = sealed {
        failed(sealed.path(), sealed.rename_to_used().and_then(|()| sealed.store_seal()));
    }
    for segment in removed.into_iter().rev() {
        let path = segment.path();
        let gone = fs::remove_file(&path);
        failed(path, gone);
    }
    for (path, gone) in partition.drop_snapshots_behind(switch.cut.position) {
        failed(path, gone);
    }
    first.map_or(Ok(()), |(path, source)| Err(TruncateError::Remains { path, source }))
}
