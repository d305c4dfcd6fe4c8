//! Transactions that write each number into two partitions and into a group's offset. Whatever ends them, and wherever a
//! kill cuts them off, the three agree; who reads what is committed finds each number once, whole and in order.
//!
//! A number belongs to what is committed: a try that is aborted has it too, and the next try has it again.

mod hand;
mod view;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use oncelog::{Isolation, Log, Partition};

use self::hand::{Ended, Ends, Hand, Try};
pub(super) use self::view::read;
use self::view::{View, read_all};
use super::course::Dice;
use super::plan::{Plan, open};
use super::reports::report;

/// Who writes pairs: some by session, the last by id.
pub(super) const TRANSACTORS: u64 = 3;

/// In reports they stand behind the other writers.
const REPORTED_FROM: u64 = 1_000;

/// The two partitions.
const SIDES: [&str; 2] = ["left", "right"];

/// Most records of a try in one partition.
const RECORDS_MAX: u64 = 4;

const DURABLE_WITHIN: Duration = Duration::from_secs(60);

/// What was done.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) committed: AtomicU64,
    pub(super) aborted: AtomicU64,
    pub(super) timed_out: AtomicU64,
    pub(super) fenced: AtomicU64,
    pub(super) regrouped: AtomicU64,
    pub(super) read: AtomicU64,
}

/// The partitions of an open log that pairs are written to.
pub(super) struct Stand<'a> {
    pub(super) log: &'a Log,
    pub(super) sides: [Partition; 2],
}

impl<'a> Stand<'a> {
    pub(super) fn new(log: &'a Log) -> Result<Self, String> {
        let side = |name: &str| log.partition(name).map_err(|error| format!("opening {name}: {error}"));
        Ok(Self { log, sides: [side(SIDES[0])?, side(SIDES[1])?] })
    }

    /// The number that comes next, as the group's offset says: it was committed with the number before.
    fn next(&self, transactor: u64) -> u64 {
        let group = self.log.group_at(&group(transactor), 0);
        group.committed(&self.sides[0]).map_or(0, |last| last + 1)
    }
}

const fn is_by_id(transactor: u64) -> bool {
    transactor + 1 == TRANSACTORS
}

fn name(transactor: u64) -> String {
    format!("transactor {transactor}")
}

fn group(transactor: u64) -> String {
    format!("pairs of {transactor}")
}

/// Writes pairs until `stop`. Returns the number that comes next.
pub(super) fn transact(
    stand: &Stand<'_>,
    transactor: u64,
    mut dice: Dice,
    stop: &AtomicBool,
    counts: &Counts,
) -> Result<u64, String> {
    let mut hand = Hand::new(stand, transactor)?;
    let mut next = stand.next(transactor);
    while !stop.load(Ordering::Relaxed) {
        let wanted = Try::new(transactor, next, &mut dice);
        let ends = wanted.ends;
        match hand.run(stand, &wanted)? {
            Ended::Committed(commit) => {
                next += 1;
                Counts::one(&counts.committed);
                if dice.one_in(200)
                    && !commit.wait_durable(DURABLE_WITHIN).map_err(|error| format!("waiting for a commit: {error}"))?
                {
                    return Err(format!("number {} was not durable within {DURABLE_WITHIN:?}", next - 1));
                }
            }
            Ended::Aborted => Counts::one(&counts.aborted),
            Ended::Replaced => {
                Counts::one(match ends {
                    Ends::TimeOut => &counts.timed_out,
                    Ends::Regroup => &counts.regrouped,
                    _ => &counts.fenced,
                });
                hand = Hand::new(stand, transactor)?;
            }
        }
        let told = stand.next(transactor);
        if told != next {
            return Err(format!("{next} comes next, and {told} by the group's offset"));
        }
    }
    Ok(next)
}

impl Counts {
    fn one(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes pairs until the process is killed, and reports each that is acknowledged.
pub(super) fn transact_all(
    stand: &Stand<'_>,
    plan: &Plan,
    transactor: u64,
) -> Result<std::convert::Infallible, String> {
    let mut dice = Dice::new(plan.seed ^ (REPORTED_FROM + transactor));
    let mut hand = Hand::new(stand, transactor)?;
    let mut next = stand.next(transactor);
    loop {
        match hand.run(stand, &Try::new(transactor, next, &mut dice))? {
            Ended::Committed(commit) => {
                next += 1;
                if !dice.one_in(8) {
                    continue;
                }
                if plan.durable
                    && !commit.wait_durable(DURABLE_WITHIN).map_err(|error| format!("waiting for a commit: {error}"))?
                {
                    return Err(format!("number {} was not durable within {DURABLE_WITHIN:?}", next - 1));
                }
                report(REPORTED_FROM + transactor, next - 1)?;
            }
            Ended::Aborted => {}
            Ended::Replaced => hand = Hand::new(stand, transactor)?,
        }
    }
}

/// What an opening finds is compared with this.
pub(super) enum Known<'a> {
    /// By transactor, the number that comes next: the log was closed.
    Exactly(&'a [u64]),
    /// Killed: what was reported by the process, and what an earlier look has found.
    AtLeast(&'a BTreeMap<u64, u64>, &'a [u64]),
}

/// Opens the log and compares its partitions and groups with each other and with what is known. Returns by transactor the
/// number that comes next.
pub(super) fn check(directory: &Path, plan: &Plan, known: &Known<'_>) -> Result<Vec<u64>, String> {
    // Without retention, which would go on while this is read.
    let (log, orders) = open(directory, &plan.options().retention_bytes(None))?;
    let stand = Stand::new(&log)?;
    let open = log.open_transactions();
    if let Some(open) = open.first() {
        return Err(format!("a log that was just opened has a transaction open: {open:?}"));
    }
    let mut all = Vec::new();
    for transactor in 0..TRANSACTORS {
        let next = stand.next(transactor);
        let index = transactor as usize;
        match known {
            Known::Exactly(nexts) => {
                if nexts.get(index).is_some_and(|known| *known != next) {
                    return Err(format!("transactor {transactor}: {next} comes next, and {:?} did", nexts.get(index)));
                }
            }
            Known::AtLeast(reported, before) => {
                let reported = reported.get(&(REPORTED_FROM + transactor)).map_or(0, |number| number + 1);
                let before = before.get(index).copied().unwrap_or(0);
                if next < reported.max(before) {
                    return Err(format!(
                        "transactor {transactor}: {next} comes next; {reported} were acknowledged, and {before} there before"
                    ));
                }
            }
        }
        all.push(next);
    }
    for side in &stand.sides {
        let mut view = View::new(side, Isolation::ReadCommitted)?;
        read_all(&mut view, &AtomicU64::new(0))?;
        view.ends_with(&all)?;
        // All of them can be read, in their order.
        let mut view = View::new(side, Isolation::ReadUncommitted)?;
        read_all(&mut view, &AtomicU64::new(0))?;
    }
    drop((stand, orders));
    log.close().map_err(|error| format!("closing: {error}"))?;
    Ok(all)
}
