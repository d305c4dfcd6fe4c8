//! What a report holds, and what it refuses.

mod runs;

use std::fs;

use oncelog_report::{CHARTS, Report, Verdict, compare, runs_of};
use serde_json::json;

/// A page may be this large.
const PAGE_BYTES_MAX: usize = 2 << 20;

#[test]
fn a_page_needs_nothing_but_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    for number in 1..=3 {
        runs::leave(&dir.path().join(format!("run-{number}")), &runs::run(number, f64::from(number)));
    }
    let report = Report::of(&runs_of(dir.path()).expect("runs")).expect("a report");
    let page = report.page();
    assert!(page.len() < PAGE_BYTES_MAX, "{} bytes", page.len());
    for outside in ["<script", "src=", "@import", "url(", "<link", "https:"] {
        assert!(!page.contains(outside), "{outside} in the page");
    }
    assert!(!page.replace("http://www.w3.org/2000/svg", "").contains("http:"));
    assert!(page.contains("Name &lt;at&gt; 2.30GHz &amp; more"), "what a file holds is text");
    for heading in ["Changes", "Cost of an append", "Latency by percentile", "Rate and knee", "Throughput", "Over time"]
    {
        assert!(page.contains(&format!("<h2>{heading}</h2>")), "no {heading}");
    }
    assert!(page.contains("<h2>Delivery</h2>"));
}

#[test]
fn charts_are_files_too_and_those_of_an_earlier_report_go() {
    let dir = tempfile::tempdir().expect("a directory");
    runs::leave(dir.path(), &runs::run(1, 1.0));
    let charts = dir.path().join(CHARTS);
    fs::create_dir(&charts).expect("a folder");
    fs::write(charts.join("cost-99.svg"), "old").expect("a file");
    let runs = runs_of(dir.path()).expect("a run");
    let page = Report::of(&runs).expect("a report").write(dir.path()).expect("written");
    assert!(page.is_file() && !charts.join("cost-99.svg").exists());
    for name in ["cost-1", "latency-1-1", "sweep-1", "threads-1", "over-time-1", "delivery-1"] {
        let svg = fs::read_to_string(charts.join(format!("{name}.svg"))).unwrap_or_else(|_| panic!("no {name}"));
        assert!(svg.starts_with("<svg") && svg.contains("<style>"), "{name} has no style of its own");
    }
}

#[test]
fn what_was_not_tried_has_no_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut run = runs::run(1, 1.0);
    run["delivery"] = json!([]);
    runs::leave(dir.path(), &run);
    let page = |dir| Report::of(&runs_of(dir).expect("a run")).expect("a report").page().to_owned();
    assert!(!page(dir.path()).contains("<h2>Delivery</h2>"));
    // The delivery command's own file beside the run is taken as well.
    fs::write(dir.path().join("delivery.json"), json!({ "cells": runs::cells() }).to_string()).expect("a file");
    let page = page(dir.path());
    assert!(
        page.contains("<h2>Delivery</h2>") && page.contains("234567 doubled"),
        "doubled is what they call duplicated"
    );
}

#[test]
fn a_slower_log_is_found_worse_and_the_same_one_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    for (number, slower) in [(1, 1.0), (2, 1.0), (3, 1.5)] {
        runs::leave(&dir.path().join(format!("run-{number}")), &runs::run(number, slower));
    }
    let runs = runs_of(dir.path()).expect("runs");
    let same = compare(&runs[0].run, &runs[1].run);
    assert_eq!((same.count(Verdict::Worse), same.count(Verdict::Better), same.alone), (0, 0, 0));
    let worse = compare(&runs[0].run, &runs[2].run);
    // Every closed loop of written appends; the durable ones and the sustained run are as before.
    assert_eq!((worse.count(Verdict::Worse), worse.count(Verdict::Better)), (75, 0));
    assert_eq!(compare(&runs[2].run, &runs[0].run).count(Verdict::Better), 75);
}

#[test]
fn versions_of_the_fields_are_not_mixed() {
    let dir = tempfile::tempdir().expect("a directory");
    runs::leave(&dir.path().join("run-1"), &runs::run(1, 1.0));
    let mut later = runs::run(2, 1.0);
    later["schema_version"] = json!(2);
    runs::leave(&dir.path().join("run-2"), &later);
    let error = runs_of(dir.path()).expect_err("two versions").to_string();
    assert!(error.contains("run-2/run.json has schema version 2 where 1 is read"), "{error}");
    assert!(!error.contains('\n'));
}

#[test]
fn the_history_keeps_runs_whose_folders_are_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    for number in 1..=2 {
        runs::leave(&dir.path().join(format!("run-{number}")), &runs::run(number, 1.0));
    }
    let mut interrupted = runs::run(3, 1.0);
    interrupted["interrupted"] = json!(true);
    runs::leave(&dir.path().join("run-3"), &interrupted);
    oncelog_report::renew(dir.path()).expect("renewed");
    let history = || fs::read_to_string(dir.path().join("history.ndjson")).expect("a history");
    assert_eq!(history().lines().count(), 2, "an interrupted run is no point of the history");
    fs::remove_dir_all(dir.path().join("run-1")).expect("removed");
    oncelog_report::renew(dir.path()).expect("renewed");
    let lines = history();
    assert_eq!(lines.lines().count(), 2);
    assert!(lines.contains("run-1") && lines.contains("\"session_100_x_limit\":1.43"), "{lines}");
    let readme = fs::read_to_string(dir.path().join("README.md")).expect("a readme");
    assert!(readme.contains("history.svg") && readme.contains("**interrupted**"), "{readme}");
    assert!(readme.contains("**1 not verified**"));
}
