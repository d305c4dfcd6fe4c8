//! What a frame can be wrong in by itself.

use crate::{
    format::{batch::Records, frame::Kind},
    stored::frames::StoredFrame,
};

/// What is wrong with a frame whose checksum agrees.
pub(super) fn fault_of(frame: &StoredFrame<'_>) -> Option<String> {
    let records = frame.stored.records();
    match frame.stored.kind() {
        Kind::Batch => {
            let mut bytes = 0;
            let found = Records::new(frame.body).inspect(|record| bytes += record.len() + 4).count();
            (found != records as usize || bytes != frame.body.len()).then(|| {
                format!("the batch says {records} records, and holds {found} in {bytes} of {} bytes", frame.body.len())
            })
        }
        Kind::Record => (records != 1).then(|| format!("a frame of one record takes {records} offsets")),
        Kind::Void => None,
        Kind::Start | Kind::Fence | Kind::Mark | Kind::Commit | Kind::Abort | Kind::Metadata | Kind::Purge => {
            (records != 0).then(|| format!("a control frame takes {records} offsets"))
        }
    }
}
