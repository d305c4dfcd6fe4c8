//! Takes producers' names and groups over, and aborts others' transactions, while they are at work.

use std::{thread, time::Duration};

use super::{by_id, consumer, session};
use crate::{
    dice::Dice,
    stage::{GROUPS, Stage, group_name, words},
};

/// Does so now and then until it is over.
pub(crate) fn run(stage: &Stage<'_>, _: u32, mut dice: Dice) -> Result<(), String> {
    while !stage.is_over() {
        thread::sleep(Duration::from_micros(dice.below(20_000)));
        if stage.is_over() {
            break;
        }
        match dice.below(5) {
            0 => {
                let name = session::name(dice.below(2) as u32);
                let mut rival = stage.log.session(&name).map_err(words("a rival's session"))?;
                if dice.one_in(2) {
                    // Open for a moment, and aborted when it is dropped: by the rival, or by whoever comes back before.
                    let _ = rival.begin().map(drop);
                }
                stage.count("sessions taken over");
            }
            1 => {
                let name = by_id::name(dice.below(2) as u32);
                let _ = stage.log.register(&name).map_err(words("a rival's registration"))?;
                stage.count("ids registered again");
            }
            2 => {
                let _ = stage.log.group(&group_name(dice.below(GROUPS.into()) as u32)).map_err(words("a group"))?;
                stage.count("groups taken over");
            }
            3 => {
                let name = consumer::name(dice.below(3) as u32);
                let _ = stage.log.session(&name).map_err(words("a rival's session"))?;
                stage.count("consumers' sessions taken over");
            }
            _ => {
                if let Some(one) = stage.log.open_transactions().into_iter().next() {
                    let (producer, number) = (one.id.producer, one.id.number);
                    if stage.log.abort_and_fence(producer, number).map_err(words("an abort of somebody's"))? {
                        stage.count("open transactions aborted by an operator");
                    }
                }
            }
        }
    }
    Ok(())
}
