//! The page: one file with everything in it, that a browser opens from disk. No script, nothing from a network.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::chart::cost::letter;
use crate::chart::{Chart, STYLE};
use crate::compare::{Comparison, Verdict, compare};
use crate::history::Line;
use crate::read::Recorded;
use crate::result::Spread;
use crate::units;

const PAGE_STYLE: &str = include_str!("page.css");
/// Of figures without a difference, a comparison lists this many.
const NO_DIFFERENCE_MAX: usize = 60;

/// A heading, what it shows, and its charts.
pub(crate) struct Section {
    pub(crate) id: &'static str,
    pub(crate) heading: &'static str,
    pub(crate) note: &'static str,
    pub(crate) charts: Vec<Chart>,
}

/// The page over all runs.
pub(crate) fn page(runs: &[Recorded], history: &[Line], sections: &[Section]) -> String {
    let names: Vec<String> = runs.iter().map(Recorded::name).collect();
    let shown = || sections.iter().filter(|section| !section.charts.is_empty());
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "oncelog: " (names.join(", ")) }
                style { (PreEscaped(STYLE)) (PreEscaped(PAGE_STYLE)) }
            }
            body {
                header {
                    h1 { "oncelog, measured" }
                    p { (introduction(runs)) }
                    nav {
                        @if runs.len() > 1 { a href="#changes" { "Changes" } }
                        @for section in shown() { a href={ "#" (section.id) } { (section.heading) } }
                        a href="#figures" { "All figures" }
                    }
                }
                main {
                    section id="runs" { h2 { "Runs" } (facts(runs)) }
                    @if runs.len() > 1 { section id="changes" { h2 { "Changes" } (changes(runs)) } }
                    @for section in shown() {
                        section id=(section.id) {
                            h2 { (section.heading) }
                            p { (section.note) }
                            div class="charts" {
                                @for chart in &section.charts { figure { (PreEscaped(&chart.svg)) } }
                            }
                        }
                    }
                    section id="figures" { h2 { "All figures" } (tables(runs)) }
                }
                footer {
                    p { (history.len()) " runs are in the history. A figure is told by its keys, and every ratio is a \
                        median of pairs measured in one process by turns; what the numbers do not say stands in \
                        results/README.md." }
                }
            }
        }
    };
    markup.into_string()
}

fn introduction(runs: &[Recorded]) -> String {
    let figures: usize = runs.iter().map(|recorded| recorded.run.figures.len()).sum();
    match runs {
        [one] => format!("One run, {figures} figures, begun {} UTC.", one.name()),
        _ => format!("{} runs side by side, {figures} figures. A is the first that was named.", runs.len()),
    }
}

fn facts(runs: &[Recorded]) -> Markup {
    let row = |name: &str, value: &dyn Fn(&Recorded) -> String| {
        html! { tr { th scope="row" { (name) } @for recorded in runs { td { (value(recorded)) } } } }
    };
    let table = html! {
        table class="facts" {
            thead { tr { th {} @for (number, _) in runs.iter().enumerate() { th scope="col" { "Run " (letter(number)) } } } }
            tbody {
                (row("begun, UTC", &|recorded| recorded.run.run.started.replace(['T', 'Z'], " ").trim().to_owned()))
                (row("commit", &commit))
                (row("state", &state))
                (row("command", &|recorded| recorded.run.run.command.clone()))
                (row("compiler", &|recorded| format!("{}, {} build", recorded.run.run.rustc, recorded.run.run.profile)))
                (row("machine", &machine))
                (row("kernel", &|recorded| recorded.run.host.kernel.clone()))
                (row("clock", &|recorded| {
                    let host = &recorded.run.host;
                    format!("{}, {} a reading", host.clock_source, units::time(host.clock_ns))
                }))
                (row("load generator", &generator))
                (row("memory takes copies at", &|recorded| {
                    format!("{}/s", units::bytes(recorded.run.host.memory_copy_bytes_per_second))
                }))
                (row("file system", &|recorded| {
                    format!("{}, {}", recorded.run.host.file_system, recorded.run.host.mount_options)
                }))
                (row("device", &device))
            }
        }
    };
    html! { div class="scroll" { (table) } }
}

fn commit(recorded: &Recorded) -> String {
    let facts = &recorded.run.run;
    let commit = facts.commit.as_deref().map_or("none", |commit| commit.get(..12).unwrap_or(commit));
    format!("{commit}{}", if facts.dirty == Some(true) { ", changed since" } else { "" })
}

fn state(recorded: &Recorded) -> String {
    let run = &recorded.run;
    let marked = |mark| run.figures.iter().filter(|figure| figure.mark() == Some(mark)).count();
    let mut parts = vec![format!("{} figures", run.figures.len())];
    let (unverified, saturated) = (marked("not verified"), marked("saturated"));
    parts.push(if unverified == 0 { "all verified".to_owned() } else { format!("{unverified} NOT VERIFIED") });
    if saturated > 0 {
        parts.push(format!("{saturated} saturated"));
    }
    if run.interrupted {
        parts.push("INTERRUPTED".to_owned());
    }
    parts.extend(run.notes.iter().cloned());
    parts.join(", ")
}

fn machine(recorded: &Recorded) -> String {
    let host = &recorded.run.host;
    let hypervisor = host.hypervisor.as_ref().map_or(String::new(), |name| format!(", virtual ({name})"));
    format!("{}, {} cores, {}{hypervisor}", host.cpu, host.cores, units::bytes(host.memory_bytes as f64))
}

fn generator(recorded: &Recorded) -> String {
    recorded.run.generator.as_ref().map_or("not measured".to_owned(), |generator| {
        format!(
            "at {}: send delay p50 {}, p99 {}; recording {} an event",
            units::rate(generator.rate_per_second),
            units::time(generator.send_delay_ns.p50),
            units::time(generator.send_delay_ns.p99),
            units::time(generator.record_ns)
        )
    })
}

fn device(recorded: &Recorded) -> String {
    let device = &recorded.run.device;
    let flush = device.flush_ns.map_or(String::new(), |flush| {
        format!(", a write and its flush {} (p99 {})", units::time(flush.p50), units::time(flush.p99))
    });
    let stream = device
        .sequential_write_bytes_per_second
        .map_or(String::new(), |rate| format!(", a stream {}/s", units::bytes(rate)));
    let cache = device.write_cache.as_ref().map_or(String::new(), |cache| format!(", {cache}"));
    format!("{}{cache}{flush}{stream}", device.name)
}

fn changes(runs: &[Recorded]) -> Markup {
    let Some((first, others)) = runs.split_first() else { return html! {} };
    html! {
        p { "A difference is one where the middle halves of the repeats lie apart, the medians by more than either is \
             wide, and no repeat of one run reaches the median of the other. Ratios to what was measured in the same repeats are compared where there are any." }
        @for (number, other) in others.iter().enumerate() {
            (changes_of(&letter(number + 1), &compare(&first.run, &other.run)))
        }
    }
}

fn changes_of(name: &str, comparison: &Comparison) -> Markup {
    let told = |spread: Spread| {
        let (from, to) = spread.middle();
        format!("{} ({}..{})", units::number(spread.median), units::number(from), units::number(to))
    };
    let count = |verdict| comparison.count(verdict);
    html! {
        h3 { "From A to " (name) ": " (count(Verdict::Better)) " better, " (count(Verdict::Worse)) " worse, "
             (count(Verdict::NoDifference)) " without a difference found" }
        @if comparison.alone > 0 { p { (comparison.alone) " figures are only in one of the two, or have nothing that both tell." } }
        @if !comparison.figures.is_empty() {
            div class="scroll" { table {
                thead { tr { th { "figure" } th { "compared" } th { "A" } th { (name) } th { "change" } th { "" } } }
                tbody { @for figure in comparison.figures.iter().take(NO_DIFFERENCE_MAX) {
                    tr class=(figure.verdict.to_string().replace(' ', "-")) {
                        td { (figure.name) }
                        td { (figure.yardstick) }
                        td class="number" { (told(figure.before)) }
                        td class="number" { (told(figure.after)) }
                        td class="number" { (format!("{:+.0} %", figure.change_percent())) }
                        td { (figure.verdict) }
                    }
                } }
            } }
        }
    }
}

fn tables(runs: &[Recorded]) -> Markup {
    let median = |spread: Option<Spread>, tell: fn(f64) -> String| spread.map_or(String::new(), |s| tell(s.median));
    let ratio = |spread: Option<Spread>| median(spread, |value| format!("{value:.2}"));
    html! {
        @for (number, recorded) in runs.iter().enumerate() {
            @if runs.len() > 1 { h3 { "Run " (letter(number)) ", " (recorded.name()) } }
            div class="scroll" { table {
                thead { tr {
                    th { "figure" } th { "cost" } th { "× limit" } th { "× floor" } th { "× off" } th { "rate" }
                    th { "p50" } th { "p99" } th { "p99.9" } th { "" }
                } }
                tbody { @for figure in &recorded.run.figures {
                    tr {
                        td { (figure.name()) }
                        td class="number" { (median(figure.ns_per_append.or(figure.ns_per_record), units::time)) }
                        td class="number" { (ratio(figure.ratio_to_limit)) }
                        td class="number" { (ratio(figure.ratio_to_floor)) }
                        td class="number" { (ratio(figure.ratio_to_off)) }
                        td class="number" { (rate(figure)) }
                        @let times = figure.latency_ns.map(|latency| [latency.p50, latency.p99, latency.p999]);
                        @for time in times.map_or([const { String::new() }; 3], |times| times.map(units::time)) {
                            td class="number" { (time) }
                        }
                        td { (figure.mark().unwrap_or_default()) }
                    }
                } }
            } }
        }
    }
}

fn rate(figure: &crate::result::Figure) -> String {
    match (figure.appends_per_second, figure.bytes_per_second, figure.seconds) {
        (Some(rate), ..) => units::rate(rate.median),
        (None, Some(rate), _) => format!("{}/s", units::bytes(rate.median)),
        (None, None, Some(seconds)) => units::time(seconds * 1e9),
        _ => String::new(),
    }
}
