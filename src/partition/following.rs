//! The producers as of the newest sealed end, kept up with the sealing: a snapshot then reads nothing back from the device
//! that was in memory a moment ago. In the direct window, whose memory is gone once a segment is its file's; a mapped one
//! is in the system's cache anyway. Only between two snapshots; where it is missing, the segments' files are read.

use super::{
    replay::Replay,
    snapshots::{read, replay_segment},
    state::{PartitionState, locked},
};
use crate::segment::file::Segment;

/// See the head of this file.
pub(crate) struct Followed {
    /// The segment at whose end this is.
    pub(crate) segment: u64,
    pub(crate) replay: Replay,
}

impl PartitionState {
    /// Takes a segment into account that was just sealed, while its memory is still there.
    pub(super) fn follow(&self, segment: &Segment) {
        let mut followed = locked(&self.followed);
        let before = match followed.take() {
            Some(followed) if followed.segment + 1 == segment.number() => Some(followed.replay),
            _ => self.as_of_the_newest_snapshot(segment.number() - 1),
        };
        // What cannot be followed is read from the files when a snapshot is due, and says there what is wrong.
        *followed = before.and_then(|mut replay| {
            replay_segment(&mut replay, segment).ok()?;
            Some(Followed { segment: segment.number(), replay })
        });
    }

    /// The newest snapshot's producers, if it stands at the end of that segment.
    fn as_of_the_newest_snapshot(&self, segment: u64) -> Option<Replay> {
        let newest = locked(&self.snapshots).last().cloned();
        match newest {
            None => (segment == 0).then(|| Replay::new(self.content())),
            Some(file) if file.segment == segment => {
                let snapshot = read(&file.path, self.identity.log, self.number).ok()?;
                Some(Replay::from_snapshot(&snapshot, self.content()))
            }
            Some(_) => None,
        }
    }

    /// Forgets what goes beyond the beginning of that segment.
    pub(crate) fn follow_no_further(&self, segment: u64) {
        locked(&self.followed).take_if(|followed| followed.segment >= segment);
    }

    /// What was followed up to a segment after `since` and not after `last`, to go on from.
    pub(super) fn take_followed(&self, since: u64, last: u64) -> Option<Followed> {
        locked(&self.followed).take_if(|followed| since < followed.segment && followed.segment <= last)
    }
}
