//! A block with readers behind it: while appends go back to back, each partition is read as it grows.

use std::sync::Arc;
use std::time::Instant;

use hdrhistogram::Histogram;

use super::{block as alone, wait_until_visible};
use crate::error::LoadError;
use crate::lane::{Append, Outcome, Work};
use crate::stage::{Extent, Stage};
use crate::tail::{Notes, Tails};
use crate::timed::{Timing, timed};
use crate::workload::{Acknowledge, Workload};

/// One block of every lane, beside the workload's readers if it has any; and the times until they had what was sent.
pub(super) fn block(
    stage: &mut Stage<'_>,
    workload: &Workload,
    extent: Extent,
    seed: u64,
) -> Result<(Timing, Option<Histogram<u64>>), LoadError> {
    if workload.readers == 0 {
        return Ok((alone(stage, workload, extent, seed)?, None));
    }
    let notes: Vec<Arc<Notes>> = stage.lanes.iter().map(|_| Arc::new(Notes::of(extent.calls))).collect();
    let tails = Tails::behind(stage, workload, |thread| {
        let notes = Arc::clone(&notes[thread]);
        Box::new(move |call| notes.sent_at(call))
    })?;
    let visible = workload.acknowledge == Acknowledge::Visible;
    let mut lanes: Vec<_> = stage.lanes.iter_mut().zip(&notes).collect();
    let t_0 = Instant::now();
    let ((timing, _), read) = tails.beside(t_0, || {
        timed(&mut lanes, |(lane, notes)| {
            lane.work(Followed { calls: extent.calls, visible, notes, t_0 })?;
            lane.appended += extent.calls;
            Ok(())
        })
    })?;
    Ok((timing, read))
}

/// The appends of one lane, back to back, some of them noted.
struct Followed<'n> {
    calls: u64,
    visible: bool,
    notes: &'n Notes,
    t_0: Instant,
}

impl Work for Followed<'_> {
    type Output = ();

    fn on(self, lane: &mut impl Append) -> Result<(), LoadError> {
        for call in 0..self.calls {
            self.notes.note(call, self.t_0);
            match lane.append(false)? {
                Outcome::Appended { last } if self.visible => wait_until_visible(lane, last),
                Outcome::Appended { .. } => {}
                Outcome::Duplicate => return Err(LoadError::Answer("a duplicate of nothing".to_owned())),
            }
        }
        Ok(())
    }
}
