//! The page in a real browser, headless, at two widths, by day and by night: what its layout makes of every text is
//! measured. Without a Chromium it says that it was skipped.

mod runs;

use std::fs;
use std::path::Path;
use std::process::Command;

use oncelog_report::{Recorded, Report, runs_of};
use serde_json::Value;

/// Browsers that take the same flags.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/// Put into the page that is measured; the page itself has no script.
const MEASURE: &str = include_str!("measure.js");
const WIDE: u32 = 1280;
/// No window of this browser is narrower than 500.
const NARROW: u32 = 500;

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn browser() -> Option<&'static str> {
    let found = BROWSERS.into_iter().find(|name| Command::new(name).arg("--version").output().is_ok());
    if found.is_none() {
        eprintln!("skipped: no browser to look at the page with (apt-get install chromium)");
    }
    found
}

/// What the script in the page found, told by its title.
fn look(browser: &str, page: &Path, profile: &Path, width: u32, dark: bool) -> Value {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--window-size={width},2000"))
        .arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!dark)))
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("the browser runs");
    let dom = String::from_utf8_lossy(&output.stdout);
    let title = dom.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>")).map(|(title, _)| title);
    let title = title.unwrap_or_else(|| panic!("no page: {}", String::from_utf8_lossy(&output.stderr)));
    let title = title.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&title).unwrap_or_else(|error| panic!("{error}: {title}"))
}

fn check(runs: &[Recorded], dir: &Path) {
    let report = Report::of(runs).expect("a report");
    let Some(browser) = browser() else { return };
    let page = dir.join("measured.html");
    fs::write(&page, report.page().replace("</body>", &format!("<script>{MEASURE}</script></body>"))).expect("a page");
    for width in [WIDE, NARROW] {
        for dark in [false, true] {
            let seen = look(browser, &page, &dir.join("profile"), width, dark);
            assert_eq!((&seen["width"], &seen["dark"]), (&Value::from(width), &Value::from(dark)), "{seen}");
            assert!(seen["texts"].as_u64() > Some(100), "hardly any text: {seen}");
            assert_eq!(seen["found"], Value::Array(Vec::new()), "{width} wide, dark {dark}: {seen:#}");
        }
    }
}

#[test]
fn one_run_with_everything_is_laid_out_without_overlap() {
    let dir = tempfile::tempdir().expect("a directory");
    runs::leave(&dir.path().join("run"), &runs::run(1, 1.0));
    check(&runs_of(&dir.path().join("run")).expect("a run"), dir.path());
}

#[test]
fn several_runs_stand_side_by_side_without_overlap() {
    let dir = tempfile::tempdir().expect("a directory");
    let results = dir.path().join("results");
    for (number, slower) in [(1, 1.0), (2, 1.0), (3, 1.4)] {
        runs::leave(&results.join(format!("run-{number}")), &runs::run(number, slower));
    }
    oncelog_report::renew(&results).expect("a history");
    check(&runs_of(&results).expect("runs"), dir.path());
}
