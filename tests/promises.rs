//! `README.md` here says which test fails when a promise is broken. So each test that it names must be there, and each
//! promise of the root README must have its line.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// By name, the files that a test of that name is in.
type Tests = BTreeMap<String, Vec<PathBuf>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The tests below a directory: functions that follow the attribute.
fn gather(directory: &Path, tests: &mut Tests) {
    for entry in fs::read_dir(directory).expect("listed") {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            gather(&path, tests);
            continue;
        }
        if path.extension().is_none_or(|suffix| suffix != "rs") {
            continue;
        }
        let source = fs::read_to_string(&path).expect("UTF-8");
        let mut lines = source.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if line != "#[test]" {
                continue;
            }
            let named = lines.by_ref().find_map(|line| line.strip_prefix("fn "));
            let name = named.and_then(|line| line.split_once('(')).expect("a function").0;
            tests.entry(name.to_owned()).or_default().push(path.strip_prefix(root()).expect("below").to_owned());
        }
    }
}

fn all() -> Tests {
    let mut tests = Tests::new();
    for directory in ["src", "tests", "tools"] {
        gather(&root().join(directory), &mut tests);
    }
    assert!(tests.len() > 200, "these are the tests");
    tests
}

/// What stands between back-quotes.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// A word of several, as only a test's name is; or one behind the file that it is in.
fn is_name(word: &str) -> bool {
    let plain = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_:".contains(&byte));
    let name = word.rsplit("::").next().unwrap_or(word);
    plain && name.contains('_') && (word.contains("::") || name.matches('_').count() >= 3)
}

#[test]
fn every_test_that_the_readme_names_is_there() {
    let tests = all();
    let mut missing = Vec::new();
    let mut found = 0;
    for line in text("tests/README.md").lines() {
        for word in quoted(line).filter(|word| is_name(word)) {
            let (file, name) = word.rsplit_once("::").map_or((None, word), |(file, name)| (Some(file), name));
            let places = tests.get(name).map_or(&[][..], Vec::as_slice);
            // The file, or the directory where it is the main one's, or a module in it.
            let is_in = |path: &PathBuf, of: &str| {
                path.file_stem().is_some_and(|stem| stem == of) || path.iter().any(|part| part == of)
            };
            let there = match file {
                None => !places.is_empty(),
                Some(file) => places.iter().any(|path| file.split("::").all(|of| is_in(path, of))),
            };
            found += 1;
            if !there {
                missing.push(word.to_owned());
            }
        }
    }
    assert!(found > 100, "{found} names were found");
    assert!(missing.is_empty(), "tests/README.md names tests that are not there: {missing:#?}");
}

/// The first cells of the table's lines below a heading, up to the next heading.
fn first_cells(text: &str, heading: &str) -> Vec<String> {
    let below = text.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let section = below.split("\n## ").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next().map(str::to_owned));
    cells.map(|cell| cell.replace('*', "")).collect()
}

#[test]
fn every_promise_has_its_line_and_every_line_its_test() {
    let (root, here) = (text("README.md"), text("tests/README.md"));
    let lines = first_cells(&here, "Which test would fail if a promise were broken");
    for promise in first_cells(&root, "What survives what") {
        if ["level", "promise"].contains(&promise.as_str()) {
            continue;
        }
        let has = lines.iter().any(|line| line.to_lowercase().starts_with(&promise.to_lowercase()));
        assert!(has, "tests/README.md has no line for the promise {promise:?}");
    }
    // Of the answers each.
    let answers = root.lines().find(|line| line.starts_with("| an answer |")).expect("the line of the answers");
    for answer in answers.split('*').skip(1).step_by(2) {
        let has = lines.iter().any(|line| line.split(", ").any(|one| one.contains(answer)) || line.contains(answer));
        assert!(has, "tests/README.md has no line for the answer {answer:?}");
    }
    let below = here.split("\n## Which test would fail").nth(1).and_then(|below| below.split("\n## ").next());
    for line in
        below.expect("the table").lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"))
    {
        let first = line.split(" | ").nth(1).unwrap_or_default();
        assert!(quoted(first).next().is_some(), "no test is named: {line}");
    }
}
