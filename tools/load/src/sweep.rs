//! A sweep of rates: the same schedule faster and faster until the log no longer keeps up, then the rates between the last
//! two; and the knee, up to where latency is what it is at rest.

use crate::closed::{Repeats, Site};
use crate::error::LoadError;
use crate::open;
use crate::recorder::Histograms;
use crate::result::{Figure, Kind};
use crate::stage::frame_bytes;
use crate::workload::{Pace, RATE_MAX, Workload};

/// From rate to rate.
const FACTOR: f64 = 2.0;
/// Rates between the last that was kept and the first that was not.
const BETWEEN: i32 = 3;
/// No more often than this: from one a second to the highest rate takes 27.
const STEPS_MAX: usize = 40;
/// Bytes of one repeat: a fast schedule is given less time.
pub(crate) const REPEAT_BYTES_MAX: f64 = (1_u64 << 30) as f64;
/// Repeats of each rate.
const REPEATS: usize = 5;
/// Up to this many times the median at the lowest rate is before the knee.
const KNEE: f64 = 2.0;

/// Measures a workload at its own rate and at higher ones; a figure for each rate, the lowest first.
pub(crate) fn measure(
    workload: &Workload,
    segment_bytes: u64,
    repeats: Repeats,
    site: Site<'_>,
    told: impl Fn(&str),
) -> Result<Vec<(Figure, Histograms)>, LoadError> {
    let Pace::Open { rate_per_second: lowest } = workload.pace else { return Ok(Vec::new()) };
    let mut measured = Vec::new();
    let mut at = |rate: f64| -> Result<bool, LoadError> {
        told(&format!("{rate:.0}/s"));
        let paced = Workload { pace: Pace::Open { rate_per_second: rate }, ..workload.clone() };
        let longest = REPEAT_BYTES_MAX / (rate * frame_bytes(&paced));
        let seconds = (repeats.seconds / repeats.least as f64).min(longest) * REPEATS as f64;
        let of_rate = Repeats { least: REPEATS, seconds, most: REPEATS };
        let (mut figure, mut histograms) = open::measure(&paced, segment_bytes, of_rate, site, rate)?;
        let kept = figure.saturated != Some(true);
        // Of many rates, only what the curve is made of.
        figure.workload = Kind::Sweep;
        figure.per_second = None;
        histograms.label = format!("sweep-{}", paced.label());
        histograms.kinds.retain(|(kind, _)| *kind == "latency");
        histograms.intervals.clear();
        figure.histograms = Some(histograms.label.clone());
        measured.push((figure, histograms));
        Ok(kept)
    };
    let mut rate = lowest;
    let mut kept = at(rate)?;
    for _ in 0..STEPS_MAX {
        if !kept || rate * FACTOR > RATE_MAX {
            break;
        }
        rate *= FACTOR;
        kept = at(rate)?;
    }
    if !kept && rate > lowest {
        for step in 1..=BETWEEN {
            let between = (rate / FACTOR * FACTOR.powf(f64::from(step) / f64::from(BETWEEN + 1))).round();
            if !at(between)? {
                break;
            }
        }
    }
    measured.sort_by(|(one, _), (other, _)| rate_of(one).total_cmp(&rate_of(other)));
    mark_knee(measured.iter_mut().map(|(figure, _)| figure));
    Ok(measured)
}

fn rate_of(figure: &Figure) -> f64 {
    figure.rate_per_second.unwrap_or(0.0)
}

/// Marks the highest rate of those that were kept one after the other with a median like that of the first.
fn mark_knee<'f>(figures: impl Iterator<Item = &'f mut Figure>) {
    let p50 = |figure: &Figure| figure.latency_ns.map_or(0.0, |latency| latency.p50 as f64);
    let mut figures: Vec<&mut Figure> = figures.collect();
    let Some(at_rest) = figures.first().map(|figure| p50(figure)) else { return };
    let before = |figure: &&mut Figure| figure.saturated == Some(false) && p50(figure) <= KNEE * at_rest;
    let knee = figures.iter().take_while(|figure| before(figure)).count().checked_sub(1);
    for (number, figure) in figures.iter_mut().enumerate() {
        figure.knee = Some(knee == Some(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Percentiles;

    fn figure(p50: u64, saturated: bool) -> Figure {
        let mut figure = Figure::empty(Kind::Append);
        figure.latency_ns = Some(Percentiles { p50, p90: p50, p99: p50, p999: p50, p9999: None, max: p50 });
        figure.saturated = Some(saturated);
        figure
    }

    fn knee(figures: &[(u64, bool)]) -> Option<usize> {
        let mut figures: Vec<Figure> = figures.iter().map(|(p50, saturated)| figure(*p50, *saturated)).collect();
        mark_knee(figures.iter_mut());
        assert!(figures.iter().all(|figure| figure.knee.is_some()));
        figures.iter().position(|figure| figure.knee == Some(true))
    }

    #[test]
    fn the_knee_is_the_last_rate_before_the_median_leaves_the_floor() {
        assert_eq!(knee(&[(100, false), (110, false), (199, false), (500, false), (9_000, true)]), Some(2));
        assert_eq!(
            knee(&[(100, false), (300, false), (120, false)]),
            Some(0),
            "what lies behind a bump is behind the knee"
        );
        assert_eq!(knee(&[(100, false), (100, true)]), Some(0));
        assert_eq!(knee(&[(100, true)]), None, "a rate that was not kept is no knee");
        assert_eq!(knee(&[]), None);
    }
}
