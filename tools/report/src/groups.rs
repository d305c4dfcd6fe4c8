//! Which figures go into one picture.

use crate::chart::cost::{self, Measured};
use crate::chart::percentiles::Group;
use crate::chart::sweep::{self, Sweep};
use crate::chart::throughput::{self, Against, Series};
use crate::chart::{Chart, over_time, percentiles};
use crate::read::Recorded;
use crate::result::Figure;

/// Things by a name, in the order in which the names came up.
struct Named<T>(Vec<(String, Vec<T>)>);

impl<T> Named<T> {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn add(&mut self, name: String, thing: T) {
        match self.0.iter_mut().find(|(other, _)| *other == name) {
            Some((_, things)) => things.push(thing),
            None => self.0.push((name, vec![thing])),
        }
    }
}

fn figures<'r>(runs: &'r [Recorded], is_it: impl Fn(&Figure) -> bool) -> Vec<Measured<'r>> {
    let of_run = |(run, recorded): (usize, &'r Recorded)| {
        recorded.run.figures.iter().map(move |figure| Measured { run, recorded, figure })
    };
    runs.iter().enumerate().flat_map(of_run).filter(|measured| is_it(measured.figure)).collect()
}

fn is_closed_append(figure: &Figure) -> bool {
    figure.workload == "append" && figure.pace.as_deref() == Some("closed")
}

/// Bars: a chart for each size and set of conditions, a row for each figure, a bar for each run.
pub(crate) fn costs(runs: &[Recorded]) -> Vec<Chart> {
    let mut groups: Named<Measured<'_>> = Named::new();
    for measured in figures(runs, is_closed_append) {
        groups.add(conditions(measured.figure), measured);
    }
    let several = runs.len() > 1;
    let charts = groups.0.into_iter().enumerate();
    charts
        .map(|(number, (name, all))| cost::chart(&name, &rows(all), several, &format!("cost-{}", number + 1)))
        .collect()
}

fn conditions(figure: &Figure) -> String {
    format!("{}, {}", figure.payload(), figure.conditions())
}

/// The same figure of several runs is one row.
fn rows(measured: Vec<Measured<'_>>) -> Vec<Vec<Measured<'_>>> {
    let mut rows = Named::new();
    measured.into_iter().for_each(|measured| rows.add(measured.figure.key(), measured));
    rows.0.into_iter().map(|(_, row)| row).collect()
}

/// Lines against threads, and against batches.
pub(crate) fn throughputs(runs: &[Recorded]) -> Vec<Chart> {
    let mut charts = Vec::new();
    for (against, file) in [(Against::Threads, "threads"), (Against::Batch, "batch")] {
        let mut groups: Named<Measured<'_>> = Named::new();
        for measured in figures(runs, |figure| is_closed_append(figure) && figure.extras().is_empty()) {
            // All but what the axis shows is equal within a chart.
            let figure = measured.figure.clone();
            groups.add(
                conditions(&match against {
                    Against::Threads => Figure { threads: None, ..figure },
                    Against::Batch => Figure { batch: Some(1), ..figure },
                }),
                measured,
            );
        }
        for (conditions, measured) in groups.0 {
            let mut series: Named<Measured<'_>> = Named::new();
            for measured in measured {
                series.add(format!("{} {}", measured.run, measured.figure.series()), measured);
            }
            let mut lines = Vec::new();
            for (_, figures) in series.0 {
                if let Some(first) = figures.first().copied() {
                    lines.push(Series { name: first.figure.series(), run: first.run, figures });
                }
            }
            let name = format!("{file}-{}", charts.len() + 1);
            charts.extend(throughput::chart(against, &conditions, &lines, runs.len(), &name));
        }
    }
    charts
}

fn is_latency(figure: &Figure) -> bool {
    figure.workload == "append" && figure.pace.as_deref() == Some("open")
}

/// The schedules of each run that belong into one picture: same payload, conditions and rate.
fn latency_groups(runs: &[Recorded]) -> Vec<Vec<Group<'_>>> {
    let mut groups: Named<Measured<'_>> = Named::new();
    for measured in figures(runs, is_latency) {
        groups.add(conditions(measured.figure), measured);
    }
    groups.0.into_iter().map(|(_, measured)| by_run(measured)).collect()
}

fn by_run(measured: Vec<Measured<'_>>) -> Vec<Group<'_>> {
    let mut runs = Named::new();
    measured.into_iter().for_each(|measured| runs.add(measured.run.to_string(), measured));
    let mut groups = Vec::new();
    for (_, measured) in runs.0 {
        if let Some(first) = measured.first().copied() {
            let figures = measured.into_iter().map(|measured| measured.figure).collect();
            groups.push(Group { recorded: first.recorded, figures });
        }
    }
    groups
}

/// Latency by percentile, the runs of one picture side by side.
pub(crate) fn latencies(runs: &[Recorded]) -> Vec<Chart> {
    let groups = latency_groups(runs);
    let charts = groups.iter().enumerate();
    charts.flat_map(|(number, groups)| percentiles::charts(groups, &format!("latency-{}", number + 1))).collect()
}

/// Latency and sustained runs, second by second.
pub(crate) fn times(runs: &[Recorded]) -> Vec<Chart> {
    let groups = latency_groups(runs);
    let mut charts: Vec<Chart> = Vec::new();
    for group in groups.iter().flatten() {
        charts.extend(over_time::latency(group, &format!("over-time-{}", charts.len() + 1)));
    }
    for measured in figures(runs, |figure| figure.workload == "sustained") {
        let name = format!("over-time-{}", charts.len() + 1);
        charts.extend(over_time::sustained(measured.recorded, measured.figure, &name));
    }
    charts
}

/// Latency against the rate, for each run and set of conditions.
pub(crate) fn sweeps(runs: &[Recorded]) -> Vec<Chart> {
    let mut groups: Named<Measured<'_>> = Named::new();
    for measured in figures(runs, |figure| figure.workload == "sweep") {
        let conditions = conditions(&Figure { rate_per_second: None, ..measured.figure.clone() });
        groups.add(format!("{} {conditions}", measured.run), measured);
    }
    let mut charts = Vec::new();
    for (name, measured) in groups.0 {
        let Some(first) = measured.first().copied() else { continue };
        let mut sweeps: Named<&Figure> = Named::new();
        for measured in measured {
            sweeps.add(format!("{}{}", measured.figure.series(), measured.figure.extras()), measured.figure);
        }
        let sweeps: Vec<Sweep<'_>> = sweeps.0.into_iter().map(|(name, figures)| Sweep { name, figures }).collect();
        let conditions = name.split_once(' ').map_or(name.as_str(), |(_, conditions)| conditions);
        let name = format!("sweep-{}", charts.len() + 1);
        charts.extend(sweep::chart(first.recorded, conditions, &sweeps, &name));
    }
    charts
}
