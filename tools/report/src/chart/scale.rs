//! From values to places on paper: linear from zero, logarithmic by decades, and the ticks of both.

/// What an axis does with a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    /// From one value to another.
    Linear(f64, f64),
    /// The same by powers: between two values, a line for each multiple by the base.
    Log { from: f64, to: f64, base: f64 },
}

impl Scale {
    /// From zero to a round number that holds all values.
    pub(crate) fn from_zero(values: impl IntoIterator<Item = f64>) -> Self {
        let most = values.into_iter().filter(|value| value.is_finite()).fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        let step = step(most);
        Self::Linear(0.0, (most / step).ceil() * step)
    }

    /// Whole decades around all values that are above zero.
    pub(crate) fn decades(values: impl IntoIterator<Item = f64>) -> Self {
        Self::powers(10.0, values)
    }

    /// Whole powers of a base around all values that are above zero.
    pub(crate) fn powers(base: f64, values: impl IntoIterator<Item = f64>) -> Self {
        // What lies on a line but for the last digits of a floating number is not above it.
        const ALMOST: f64 = 1e-6;
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for value in values.into_iter().filter(|value| value.is_finite() && *value > 0.0) {
            least = least.min(value);
            most = most.max(value);
        }
        if !least.is_finite() {
            return Self::Log { from: 1.0, to: base, base };
        }
        let from = (least.log(base) + ALMOST).floor();
        let to = (most.log(base) - ALMOST).ceil().max(from + 1.0);
        Self::Log { from: base.powf(from), to: base.powf(to), base }
    }

    /// Where a value lies, from 0 to 1.
    pub(crate) fn place(self, value: f64) -> f64 {
        let share = match self {
            Self::Linear(from, to) => (value - from) / (to - from),
            Self::Log { from, to, .. } => (value.max(from) / from).ln() / (to / from).ln(),
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// The values that get a line and a label.
    pub(crate) fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear(from, to) => {
                let step = step(to - from);
                let steps = ((to - from) / step).round() as usize;
                (0..=steps).map(|number| from + number as f64 * step).collect()
            }
            Self::Log { from, to, base } => {
                let powers = (to / from).log(base).round() as i32;
                (0..=powers).map(|power| from * base.powi(power)).collect()
            }
        }
    }

    /// Lines without labels between them.
    pub(crate) fn minor_ticks(self) -> Vec<f64> {
        match self {
            Self::Log { to, base: 10.0, .. } => {
                let within = self.ticks().into_iter().flat_map(|decade| [2.0, 5.0].map(|times| decade * times));
                within.filter(|value| *value < to).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The step of 1, 2 or 5 times a power of ten that makes four to eight of a length.
fn step(length: f64) -> f64 {
    let power = 10_f64.powf((length / 4.0).log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|times| times * power);
    steps.into_iter().find(|step| length / step >= 4.0).unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_begins_at_zero_and_ends_at_a_round_number() {
        let scale = Scale::from_zero([3.0, 52.0]);
        assert_eq!(scale, Scale::Linear(0.0, 60.0));
        assert_eq!(scale.ticks(), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
        assert_eq!(scale.place(30.0), 0.5);
        assert_eq!(Scale::from_zero([]), Scale::Linear(0.0, 1.0));
        assert_eq!(Scale::from_zero([f64::NAN, f64::INFINITY]), Scale::Linear(0.0, 1.0));
    }

    #[test]
    fn a_logarithmic_axis_holds_whole_decades() {
        let scale = Scale::decades([44.0, 12_345.0]);
        assert_eq!(scale.ticks().iter().map(|tick| tick.round()).collect::<Vec<_>>(), [10.0, 100.0, 1e3, 1e4, 1e5]);
        assert!((scale.place(1_000.0) - 0.5).abs() < 1e-9);
        assert_eq!(scale.place(0.0), 0.0);
        assert_eq!(Scale::decades([0.0]).ticks().len(), 2);
        assert_eq!(Scale::decades([1.0, 1.0 / (1.0 - 0.9999)]).ticks().len(), 5);
        assert_eq!(Scale::powers(2.0, [1.0, 3.0]).ticks(), [1.0, 2.0, 4.0]);
    }
}
