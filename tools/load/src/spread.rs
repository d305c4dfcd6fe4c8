//! The median of repeats and how far they lie apart; ratios taken pair by pair.

use serde::Serialize;

/// Median, smallest and largest of some repeats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the repeats are at most this.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// A quarter of the repeats are at most this.
    pub lower_quarter: f64,
    /// A quarter of the repeats are at least this.
    pub upper_quarter: f64,
}

impl Spread {
    /// The spread of these values; none for no values. What is no number does not count: a repeat in which nothing was
    /// recorded, or a ratio to one.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        let lower_quarter = values[values.len() / 4];
        let upper_quarter = values[values.len() - 1 - values.len() / 4];
        Some(Self { median, min, max, lower_quarter, upper_quarter })
    }

    /// The spread of the ratios of pairs: each repeat against the one measured beside it, so that what drifts from
    /// repeat to repeat cancels out.
    #[must_use]
    pub fn of_ratios(values: &[f64], against: &[f64]) -> Option<Self> {
        Self::of(values.iter().zip(against).map(|(value, against)| value / against))
    }

    /// Whether the middle half of the repeats lies on both sides of a value: no difference from it was found. Not all of
    /// them, so that one repeat that the machine disturbed does not hide what the others show.
    #[must_use]
    pub fn straddles(&self, value: f64) -> bool {
        self.lower_quarter <= value && value <= self.upper_quarter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let spread = Spread::of([4.0, 1.0, 2.0, 3.0]).expect("values");
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 4.0));
        let one = Spread::of([7.0]).expect("a value");
        assert_eq!((one.median, one.min, one.max), (7.0, 7.0, 7.0));
        assert_eq!(Spread::of([]), None);
    }

    /// A saturated run's generator gave up before anything was recorded, and its results could not be read: a file has no
    /// word for what is no number.
    #[test]
    fn a_repeat_that_recorded_nothing_does_not_count() {
        let ratios = Spread::of_ratios(&[4.0, 0.0, 6.0], &[2.0, 0.0, 0.0]).expect("one of them");
        assert_eq!((ratios.median, ratios.min, ratios.max), (2.0, 2.0, 2.0));
        assert_eq!(Spread::of_ratios(&[1.0], &[0.0]), None);
    }

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        // The machine halves its speed at each repeat, and the ratio stays what it is.
        let ratio = Spread::of_ratios(&[15.0, 30.0, 60.0], &[10.0, 20.0, 40.0]).expect("pairs");
        assert_eq!((ratio.median, ratio.min, ratio.max), (1.5, 1.5, 1.5));
    }

    #[test]
    fn one_disturbed_repeat_does_not_hide_a_difference() {
        let ratio = Spread::of([1.5, 1.6, 0.9, 1.7, 1.5]).expect("ratios");
        assert!(!ratio.straddles(1.0));
        assert!(Spread::of([0.9, 1.1, 1.0, 0.95, 1.2]).expect("ratios").straddles(1.0));
    }
}
