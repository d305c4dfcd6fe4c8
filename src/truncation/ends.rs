//! Both ends of a cut: the segment that is appended to is held, and what was cut off is removed.

use super::Switch;
use crate::{
    core::Source,
    error::TruncateError,
    partition::{PartitionState, append::Supply},
    segment::{
        file::Segment,
        tail::{Held, Tail},
    },
    sync::{Arc, Backoff},
};
use std::{fs, io, path::PathBuf};

/// How often a segment is looked for that has not filled up meanwhile.
const HOLDS: u32 = 1_000;

/// Holds the segment that is appended to. Others may fill it up just then, and the one behind it: what is found at one look
/// is an old story at the next where segments are small.
pub(super) fn hold_newest(partition: &Arc<PartitionState>, source: &Source<'_>) -> Option<Held> {
    let mut backoff = Backoff::new();
    for _ in 0..HOLDS {
        let tail = partition.chain.newest_tail();
        // Looked at before, since each claim behind the end counts on.
        if let Some(held) = (!tail.is_full()).then(|| Tail::hold(&tail)).flatten() {
            return Some(held);
        }
        if let Some((_, true)) = tail.successor() {
            source.opened();
        }
        backoff.wait();
    }
    None
}

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
