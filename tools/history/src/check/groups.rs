//! Groups: what is committed for one is what the transactions that are there have put, one behind the other, and nothing
//! else.

use std::collections::{HashMap, HashSet};

use super::attempts::{Attempt, Attempts};
use crate::{
    event::{Found, What},
    history::{End, History},
};

pub(super) fn check(history: &History, attempts: &Attempts, number: usize) -> Result<(), String> {
    polls(history, attempts, number)?;
    let Some(life) = history.lives.get(number) else { return Ok(()) };
    let there: HashSet<u64> = life.look.committed.iter().flatten().map(|Found(_, attempt, ..)| *attempt).collect();
    for (group, offset) in (0..).zip(&life.look.groups) {
        let mut at = 0;
        for (attempt, one) in attempts.iter().take_while(|(_, one)| one.life <= number) {
            let Some((_, from, to)) = one.group.filter(|(of, ..)| *of == group && there.contains(&attempt)) else {
                continue;
            };
            if from != at && !was_cut(history, one, from, at) {
                return Err(format!(
                    "group offset: attempt {attempt} of group {group} has read from {from} to {to}, and those before it \
                     have come to {at}"
                ));
            }
            at = to;
        }
        let end = life.look.ends.first().copied().unwrap_or(0);
        if *offset != at && !(*offset == end && end < at && life.end == End::KeepsDurable) {
            return Err(format!(
                "group offset: group {group} is at {offset}, and the transactions that are there have come to {at}"
            ));
        }
    }
    Ok(())
}

/// Whether what a group had read was lost with the power, so that it goes on from the end that was found.
fn was_cut(history: &History, attempt: &Attempt, from: u64, at: u64) -> bool {
    let before = history.lives.get(..attempt.life).unwrap_or_default();
    let cut = |end: End, ends: &[u64]| end == End::KeepsDurable && ends.first() == Some(&from);
    from < at && before.iter().any(|life| cut(life.end, &life.look.ends))
}

/// What those who asked were told during a life.
fn polls(history: &History, attempts: &Attempts, number: usize) -> Result<(), String> {
    let lives = history.lives.get(..=number).unwrap_or_default();
    let Some((life, before)) = lives.split_last() else { return Ok(()) };
    let began = |group: u32| before.last().and_then(|life| life.look.groups.get(group as usize)).copied().unwrap_or(0);
    let own: Vec<_> = attempts.iter().filter(|(_, one)| one.life == number && one.group.is_some()).collect();
    let mut latest: HashMap<u32, u64> = HashMap::new();
    for event in &life.events {
        let What::GroupAt { since, group, offset } = event.what else { continue };
        let latest = latest.entry(group).or_insert_with(|| began(group));
        if offset < *latest {
            return Err(format!("group offset: group {group} goes back from {latest} to {offset}"));
        }
        *latest = offset;
        let mut explained = offset == began(group);
        for (attempt, one) in &own {
            let Some((_, _, to)) = one.group.filter(|(of, ..)| *of == group) else { continue };
            if one.committed_at.is_some_and(|at| at < since) && offset < to {
                return Err(format!(
                    "group offset: group {group} is at {offset} behind attempt {attempt}, which put {to}"
                ));
            }
            explained |= to == offset && one.commit_at.is_some_and(|at| at < event.at) && !one.is_aborted;
        }
        if !explained {
            return Err(format!("group offset: nobody has put group {group} at {offset} yet"));
        }
    }
    Ok(())
}
