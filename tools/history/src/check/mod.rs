//! What must hold of a history, whatever ran beside what and wherever it was cut:
//!
//! | fault | what was seen |
//! |---|---|
//! | aborted read | a reader of committed records has one whose commit was not called yet, or never answered so |
//! | lost write | what was acknowledged at the level that the crash keeps is not there |
//! | duplicate | one record at two offsets |
//! | torn transaction | some of its records are there, and others not |
//! | non-monotonic poll | a reader went back, or left out what is between |
//! | out of order | a producer's sequences in a partition have a gap, or do not ascend |
//! | unstable | the last stable offset fell, or passed a record that was undecided |
//! | group offset | it went back, or stands where no transaction that is there has put it |

mod attempts;
mod groups;
mod polls;
mod views;

use std::collections::BTreeMap;

use self::attempts::Attempts;
use crate::{
    event::What,
    history::{End, History},
};

/// What was counted in a history, by a word for it.
pub type Counts = BTreeMap<String, u64>;

/// Judges a history.
///
/// # Errors
/// The first fault, in words that begin with its kind.
pub fn check(history: &History) -> Result<Counts, String> {
    let mut counts = Counts::new();
    for (number, life) in history.lives.iter().enumerate() {
        for event in &life.events {
            let (what, more) = match &event.what {
                What::Strange { what } => return Err(format!("strange answer: life {number}, {what}")),
                What::Count { what } => (what.clone(), 1),
                What::Plain { .. } => ("plain appends".to_owned(), 1),
                What::Begun { .. } => ("transactions begun".to_owned(), 1),
                What::Committed { .. } => ("answers that it is committed".to_owned(), 1),
                What::Durable { .. } => ("answers that it is durable".to_owned(), 1),
                What::Aborted { why, .. } => (format!("aborted: {why}"), 1),
                What::Offset { .. } => ("offsets in transactions".to_owned(), 1),
                What::Read { records, .. } => ("records read".to_owned(), records.len() as u64),
                What::Stable { .. } | What::GroupAt { .. } => ("offsets asked for".to_owned(), 1),
                _ => continue,
            };
            *counts.entry(what).or_default() += more;
        }
        if life.end != End::Quiet {
            *counts.entry("crashes".to_owned()).or_default() += 1;
        }
    }
    let attempts = Attempts::of(history)?;
    let at = |number: usize| move |fault: String| format!("{fault} (life {number})");
    for number in 0..history.lives.len() {
        views::check(history, &attempts, number).map_err(at(number))?;
        polls::check(history, &attempts, number).map_err(at(number))?;
        groups::check(history, &attempts, number).map_err(at(number))?;
    }
    Ok(counts)
}
