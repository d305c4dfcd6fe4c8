//! What an append costs, as bars against what no append can avoid; several runs below each other.

use super::scale::Scale;
use super::sheet::{Entry, MARGIN, Mark, Sheet, WIDTH};
use super::{Chart, class_of};
use crate::read::Recorded;
use crate::result::{Figure, Spread};
use crate::units;

const BAR: f64 = 13.0;
const LIMIT: f64 = 5.0;
/// Room for the words behind the longest bar.
const WORDS: f64 = 176.0;
/// What a label of the axis takes.
const LABEL: f64 = 58.0;

/// A figure, the run that it is of, and the number of that run.
#[derive(Clone, Copy)]
pub(crate) struct Measured<'r> {
    pub(crate) run: usize,
    pub(crate) recorded: &'r Recorded,
    pub(crate) figure: &'r Figure,
}

/// What one bar shows.
struct Bar {
    run: String,
    class: &'static str,
    median: f64,
    range: (f64, f64),
    /// The limit, or the floor.
    against: Option<f64>,
    words: String,
}

/// Figures under equal conditions: each row is what was measured, with a bar for each run.
pub(crate) fn chart(conditions: &str, rows: &[Vec<Measured<'_>>], several: bool, name: &str) -> Chart {
    let durable = rows.iter().flatten().any(|measured| measured.figure.is_durable());
    let bars: Vec<(String, Vec<Bar>)> = rows.iter().filter_map(|row| bars_of(row, several)).collect();
    let what = if durable { "A durable append" } else { "One append" };
    let mut sheet = Sheet::new(&format!("{what}: {conditions}"));
    sheet.note(if durable {
        "Median of the time until it is on the device; the line reaches to p99. Below it, in grey, the floor: a raw \
         direct write of the same blocks and its flush."
    } else {
        "Median of the repeats, in time of the thread; the line reaches from the fastest to the slowest. Below it, in \
         grey, the limit: a bare loop of the same bytes. Ratios are medians of pairs."
    });
    let yardstick = if durable { "floor" } else { "limit" };
    let grey = Entry { name: yardstick.to_owned(), class: "limit".to_owned(), mark: Mark::Bar };
    let mut classes: Vec<&str> = Vec::new();
    for bar in bars.iter().flat_map(|(_, bars)| bars) {
        if !classes.contains(&bar.class) {
            classes.push(bar.class);
        }
    }
    let series = classes.iter().map(|class| Entry {
        name: class.replace('-', " "),
        class: (*class).to_owned(),
        mark: Mark::Bar,
    });
    sheet.legend(&series.chain([grey]).collect::<Vec<_>>());
    let most = bars.iter().flat_map(|(_, bars)| bars).map(|bar| bar.range.1.max(bar.against.unwrap_or(0.0)));
    // The slowest repeat of all does not decide how long the bars are.
    let medians = bars.iter().flat_map(|(_, bars)| bars).map(|bar| bar.median.max(bar.against.unwrap_or(0.0)) * 1.5);
    let most = most.fold(0.0, f64::max).min(medians.fold(0.0, f64::max));
    let scale = Scale::from_zero([most]);
    let length = |value: f64| scale.place(value) * (WIDTH - 2.0 * MARGIN - WORDS);
    let end = match scale {
        Scale::Linear(_, end) | Scale::Log { to: end, .. } => end,
    };
    let top = sheet.top + 8.0;
    let rows_top = top + 18.0;
    let bottom = rows_top + height(&bars);
    let ticks = scale.ticks();
    // Where lines are close, every second one is told.
    let told_of = if ticks.get(1).is_some_and(|tick| length(*tick) < LABEL) { 2 } else { 1 };
    for (number, tick) in ticks.into_iter().enumerate() {
        let x = MARGIN + length(tick);
        sheet.line((x, rows_top - 4.0), (x, bottom), "grid");
        if !number.is_multiple_of(told_of) {
            continue;
        }
        let anchor = if number == 0 { "start" } else { "middle" };
        sheet.text(x, top + 8.0, anchor, "tick", &units::time(tick));
    }
    sheet.top = rows_top;
    for (name, bars) in &bars {
        sheet.text(MARGIN + 4.0, sheet.top + 12.0, "start", "label", name);
        sheet.top += 17.0;
        for bar in bars {
            draw(&mut sheet, bar, end, &length);
        }
        sheet.top += 7.0;
    }
    sheet.line((MARGIN, rows_top - 4.0), (MARGIN, sheet.top - 4.0), "axis");
    sheet.finish(name)
}

fn height(bars: &[(String, Vec<Bar>)]) -> f64 {
    bars.iter().map(|(_, bars)| 24.0 + bars.iter().map(height_of).sum::<f64>()).sum()
}

fn height_of(bar: &Bar) -> f64 {
    BAR + if bar.against.is_some() { LIMIT + 1.0 } else { 0.0 } + 4.0
}

fn draw(sheet: &mut Sheet, bar: &Bar, end: f64, length: &impl Fn(f64) -> f64) {
    let top = sheet.top;
    let told = format!("{}{}", bar.run, bar.words);
    sheet.rectangle((MARGIN, top), (length(bar.median), BAR), &format!("bar {}", bar.class), Some(&told));
    let middle = top + BAR / 2.0;
    let (from, to) = (MARGIN + length(bar.range.0), MARGIN + length(bar.range.1));
    sheet.line((from, middle), (to, middle), "whisker");
    // A line without an end goes on beyond the paper.
    for (value, x) in [(bar.range.0, from), (bar.range.1, to)] {
        if value <= end {
            sheet.line((x, middle - 3.0), (x, middle + 3.0), "whisker");
        }
    }
    if let Some(against) = bar.against {
        sheet.rectangle((MARGIN, top + BAR + 1.0), (length(against), LIMIT), "limit", Some(&units::time(against)));
    }
    let words_at = to.max(MARGIN + length(bar.median)).max(MARGIN + bar.against.map_or(0.0, length)) + 8.0;
    sheet.text(words_at, top + BAR - 2.0, "start", "label", &format!("{}{}", bar.run, bar.words));
    sheet.top += height_of(bar);
}

fn bars_of(row: &[Measured<'_>], several: bool) -> Option<(String, Vec<Bar>)> {
    let name = row.first().map(|measured| format!("{}{}", measured.figure.series(), measured.figure.extras()))?;
    let bars: Vec<Bar> = row.iter().filter_map(|measured| bar(measured, several)).collect();
    (!bars.is_empty()).then_some((name, bars))
}

fn bar(measured: &Measured<'_>, several: bool) -> Option<Bar> {
    let figure = measured.figure;
    let times = |ratio: Option<Spread>, against: &str| {
        ratio.map_or(String::new(), |ratio| format!(", {:.2} × {against}", ratio.median))
    };
    let run = if several { format!("{}: ", letter(measured.run)) } else { String::new() };
    let mark = figure.mark().map_or(String::new(), |mark| format!(" ({mark})"));
    let class = class_of(figure.idempotence.as_deref());
    if figure.is_durable() {
        let latency = figure.latency_ns?;
        let words = format!("{}{}{mark}", units::time(latency.p50), times(figure.ratio_to_floor, "floor"));
        let (median, range) = (latency.p50, (latency.p50, latency.p99));
        return Some(Bar { run, class, median, range, against: figure.floor_ns.map(|floor| floor.p50), words });
    }
    let cost = figure.ns_per_append?;
    let words = format!("{}{}{mark}", units::time(cost.median), times(figure.ratio_to_limit, "limit"));
    let against = figure.limit_ns_per_append.map(|limit| limit.median);
    Some(Bar { run, class, median: cost.median, range: (cost.min, cost.max), against, words })
}

/// Runs are A, B, C, ...
pub(crate) fn letter(number: usize) -> String {
    let letters = (b'A'..=b'Z').map(char::from).collect::<Vec<_>>();
    letters.get(number).map_or_else(|| format!("#{}", number + 1), char::to_string)
}
