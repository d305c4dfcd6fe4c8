//! Two runs compared, figure by figure: better, worse, or no difference found, by the spread of the pairs.
//!
//! Where a figure has a yardstick that was measured in the same repeats (the limit, the floor, the device, the empty
//! operation), the ratios to it are compared, so that a machine that was slower that day is not taken for slower code.

use std::fmt;

use crate::result::{Figure, Run, Spread};

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It got slower, by more than the repeats lie apart.
    Worse,
    /// It got faster, by more than the repeats lie apart.
    Better,
    /// The difference is smaller than the spread of the pairs.
    NoDifference,
    /// One of the two was not verified, or saturated: nothing follows from it.
    Invalid,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Worse => "worse",
            Self::Better => "better",
            Self::NoDifference => "no difference found",
            Self::Invalid => "not comparable",
        })
    }
}

/// One figure of both runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// What it is.
    pub name: String,
    /// What is compared: a ratio to a yardstick of the same run, or an absolute value.
    pub yardstick: &'static str,
    /// In the older run.
    pub before: Spread,
    /// In the newer run.
    pub after: Spread,
    /// What became of it.
    pub verdict: Verdict,
}

impl Compared {
    /// The change of the median, in percent of what it was.
    #[must_use]
    pub fn change_percent(&self) -> f64 {
        (self.after.median / self.before.median - 1.0) * 100.0
    }
}

/// All figures that both runs have, and how many only one of them has.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// The worse first, then the better, then the rest.
    pub figures: Vec<Compared>,
    /// Figures without one to compare with, or without anything that both runs tell of them.
    pub alone: usize,
}

impl Comparison {
    /// How many figures have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.figures.iter().filter(|figure| figure.verdict == verdict).count()
    }
}

/// Compares the newer run with the older one.
#[must_use]
pub fn compare(before: &Run, after: &Run) -> Comparison {
    let mut comparison = Comparison::default();
    for figure in &after.figures {
        let key = figure.key();
        let Some(older) = before.figures.iter().find(|older| older.key() == key) else {
            comparison.alone += 1;
            continue;
        };
        match compare_figures(older, figure) {
            Some(compared) => comparison.figures.push(compared),
            None => comparison.alone += 1,
        }
    }
    let has = |run: &Run, figure: &Figure| run.figures.iter().any(|other| other.key() == figure.key());
    comparison.alone += before.figures.iter().filter(|figure| !has(after, figure)).count();
    comparison.figures.sort_by_key(|figure| figure.verdict);
    comparison
}

/// A value of a figure, what it is called, and whether less of it is better.
type Yardstick = (fn(&Figure) -> Option<Spread>, &'static str, bool);

/// The first that both have is compared.
const YARDSTICKS: &[Yardstick] = &[
    (|figure| figure.ratio_to_limit, "× limit", true),
    (|figure| figure.ratio_to_floor, "× floor", true),
    (|figure| figure.ratio_to_device, "× device", false),
    (|figure| figure.ratio_to_baseline, "p50 × noise", true),
    (|figure| figure.ratio_to_at_least_once, "× at least once", false),
];

/// And where there is none of these: values by themselves. Not of a schedule, whose rate is what was asked for.
const ABSOLUTE: &[Yardstick] = &[
    (|figure| figure.ns_per_record, "ns a record", true),
    (|figure| figure.ns_per_append, "ns an append", true),
    (|figure| figure.ns_per_message, "ns a message", true),
    (seconds, "seconds", true),
    (|figure| figure.bytes_per_second, "bytes a second", false),
    (|figure| figure.appends_per_second, "appends a second", false),
];

fn seconds(figure: &Figure) -> Option<Spread> {
    let (min, max) = figure.seconds_min.zip(figure.seconds_max)?;
    Some(Spread { median: figure.seconds?, min, max, lower_quarter: None, upper_quarter: None })
}

fn compare_figures(before: &Figure, after: &Figure) -> Option<Compared> {
    let both = |(value, yardstick, less): &Yardstick| Some((value(before)?, value(after)?, *yardstick, *less));
    let absolute = if after.pace.as_deref() == Some("open") { &[] } else { ABSOLUTE };
    let (old, new, yardstick, less_is_better) = YARDSTICKS.iter().chain(absolute).find_map(both)?;
    let verdict = match (before.mark().or(after.mark()), differ(old, new)) {
        (Some(_), _) => Verdict::Invalid,
        (None, false) => Verdict::NoDifference,
        (None, true) if (new.median < old.median) == less_is_better => Verdict::Better,
        (None, true) => Verdict::Worse,
    };
    Some(Compared { name: after.name(), yardstick, before: old, after: new, verdict })
}

/// Whether two runs tell different values: the middle halves of their repeats lie apart, the medians by more than the
/// wider of the two, and neither run has a repeat that reaches the other's median. Runs of one commit on a machine with
/// neighbours differ by more than the first of these alone.
fn differ(one: Spread, other: Spread) -> bool {
    let ((one_from, one_to), (other_from, other_to)) = (one.middle(), other.middle());
    let apart = one_to < other_from || other_to < one_from;
    let width = (one_to - one_from).max(other_to - other_from);
    let reaches = |range: Spread, value: f64| range.min <= value && value <= range.max;
    let reached = reaches(one, other.median) || reaches(other, one.median);
    apart && !reached && (one.median - other.median).abs() > width
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(lower: f64, median: f64, upper: f64) -> Option<Spread> {
        let (min, max) = (lower * 0.9, upper * 1.1);
        Some(Spread { median, min, max, lower_quarter: Some(lower), upper_quarter: Some(upper) })
    }

    fn verdict(before: Figure, after: Figure) -> Verdict {
        compare_figures(&before, &after).expect("a yardstick").verdict
    }

    fn costs(ratio: Option<Spread>) -> Figure {
        Figure { ratio_to_limit: ratio, verified: true, ..Figure::default() }
    }

    #[test]
    fn a_difference_smaller_than_the_spread_is_none() {
        assert_eq!(verdict(costs(spread(1.0, 1.1, 1.2)), costs(spread(1.1, 1.25, 1.3))), Verdict::NoDifference);
        // The middle halves lie apart, but no further than each of them is wide.
        assert_eq!(verdict(costs(spread(1.0, 1.15, 1.2)), costs(spread(1.21, 1.25, 1.4))), Verdict::NoDifference);
        // One repeat of the slower run was as fast as the other run.
        let disturbed = Spread { min: 1.05, ..spread(1.4, 1.5, 1.6).expect("a spread") };
        assert_eq!(verdict(costs(spread(1.0, 1.1, 1.2)), costs(Some(disturbed))), Verdict::NoDifference);
        assert_eq!(verdict(costs(spread(1.0, 1.1, 1.2)), costs(spread(1.4, 1.5, 1.6))), Verdict::Worse);
        assert_eq!(verdict(costs(spread(1.4, 1.5, 1.6)), costs(spread(1.0, 1.1, 1.2))), Verdict::Better);
    }

    #[test]
    fn the_rate_of_a_schedule_is_not_compared() {
        let open = Figure {
            pace: Some("open".to_owned()),
            bytes_per_second: spread(1.0, 1.0, 1.0),
            verified: true,
            ..Figure::default()
        };
        assert_eq!(compare_figures(&open, &open), None);
        let beside_noise = Figure { ratio_to_baseline: spread(1.4, 1.5, 1.6), ..open };
        assert_eq!(compare_figures(&beside_noise, &beside_noise).map(|found| found.yardstick), Some("p50 × noise"));
    }

    #[test]
    fn more_of_the_device_is_better_and_what_is_marked_says_nothing() {
        let takes = |ratio| Figure { ratio_to_device: ratio, verified: true, ..Figure::default() };
        assert_eq!(verdict(takes(spread(0.5, 0.55, 0.6)), takes(spread(0.8, 0.85, 0.9))), Verdict::Better);
        let unverified = Figure { verified: false, ..costs(spread(9.0, 9.1, 9.2)) };
        assert_eq!(verdict(costs(spread(1.0, 1.1, 1.2)), unverified), Verdict::Invalid);
    }

    #[test]
    fn a_file_without_quarters_is_compared_by_its_whole_range() {
        let whole =
            |min, median, max| costs(Some(Spread { median, min, max, lower_quarter: None, upper_quarter: None }));
        assert_eq!(verdict(whole(1.0, 1.1, 1.6), whole(1.4, 1.5, 1.7)), Verdict::NoDifference);
        assert_eq!(verdict(whole(1.0, 1.1, 1.2), whole(1.4, 1.5, 1.6)), Verdict::Worse);
    }
}
