//! The direction of imports between modules, and what every source file keeps to.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The modules, lowest first: one may use those of the lines above its own, and none else. So each can be read, and
/// tested, with nothing in mind but what stands above it here.
const LAYERS: &[&[&str]] = &[
    &["sync", "signal", "ids", "trace"],
    &["raw", "format"],
    &["names", "error", "answer", "isolation"],
    &["options"],
    &["segment"],
    &["partition"],
    &["turns"],
    &["clock", "wake", "slice", "registry", "ledger", "directory", "committer"],
    &["core", "stored"],
    &["assembly"],
    &["decide"],
    &["producers", "commit"],
    &["transactions"],
    &["outcome", "truncation"],
    &["log", "read_only", "audit"],
    &["appender", "reader", "stats", "durable", "bounds", "salvage", "decision", "inspect"],
    &["group"],
    &["session", "by_id"],
    &["delivery"],
];

/// Files that may hold `unsafe`, and how often where it is seldom. All else that touches memory goes through `raw`.
const UNSAFE: &[(&str, usize)] = &[
    ("raw/", usize::MAX),
    ("segment/tail.rs", usize::MAX),
    ("segment/scan.rs", usize::MAX),
    ("segment/file.rs", usize::MAX),
    // The promise that a slot may be zeroed memory.
    ("partition/slot.rs", 1),
    // Opening is a promise of the caller's: two functions, and one that calls the other.
    ("log.rs", 3),
    ("tests/loom/", usize::MAX),
    ("tests/dropped.rs", 1),
    ("tests/far.rs", 1),
    ("tests/overtaken.rs", 1),
    ("tests/resting.rs", 1),
    ("tests/rounds.rs", 1),
    ("tests/seen.rs", 1),
    ("tests/undecodable.rs", 3),
];

const LINES_MAX: usize = 500;

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("listed") {
            let path: PathBuf = entry.expect("listed").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|suffix| suffix == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                let name = path.strip_prefix(&root).expect("below src").to_str().expect("UTF-8").to_owned();
                files.push((name, text));
            }
        }
    }
    files.sort();
    assert!(files.len() > 30, "these are the sources");
    files
}

/// The text without its comments.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    lines.collect::<Vec<_>>().join("\n")
}

/// The module that a file belongs to: its name, or its directory's.
fn module_of(name: &str) -> &str {
    let first = name.split('/').next().unwrap_or(name);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// The modules that `code` names with paths that begin at the crate.
fn used_by(code: &str) -> BTreeSet<String> {
    let identifier = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let mut used = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let path = &code[at + found.len()..];
        let Some(group) = path.strip_prefix('{') else {
            used.insert(identifier(path));
            continue;
        };
        // The first identifier of each member of the group, whatever it holds itself.
        let mut depth = 0;
        let mut begins = true;
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ if begins && !character.is_whitespace() => {
                    used.insert(identifier(&group[at..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    used
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn imports_point_downwards() {
    let mut upwards = Vec::new();
    for (name, text) in sources() {
        let module = module_of(&name);
        if ["lib", "tests"].contains(&module) {
            continue;
        }
        let own = layer_of(module).unwrap_or_else(|| panic!("{name}: give the module {module} its place in LAYERS"));
        for used in used_by(&code(&text)) {
            match layer_of(&used) {
                Some(layer) if layer < own || used == module => {}
                Some(_) => upwards.push(format!("{name} uses {used}")),
                None => {
                    upwards.push(format!("{name} uses crate::{used}, which is no module: name the module it is in"))
                }
            }
        }
    }
    assert!(upwards.is_empty(), "not downwards:\n{}", upwards.join("\n"));
}

#[test]
fn the_reading_of_imports_finds_them() {
    let code = code(
        "use crate::{core::{Core, Source}, error::{self, X}, ids::Mode};\n// crate::no\nfn f(x: crate::raw::table::T) {}\nuse mycrate::not; pub(crate) fn g() {}",
    );
    let used = used_by(&code);
    assert_eq!(used.iter().map(String::as_str).collect::<Vec<_>>(), ["core", "error", "ids", "raw"]);
}

#[test]
fn every_file_says_what_it_is_and_can_be_read_in_one_go() {
    let mut untidy = Vec::new();
    for (name, text) in sources() {
        let begins = text.starts_with("//! ") || name == "lib.rs" && text.starts_with("#![doc");
        if !begins {
            untidy.push(format!("{name} does not begin by saying what it is"));
        }
        if text.lines().count() > LINES_MAX {
            untidy.push(format!("{name} has {} lines, and {LINES_MAX} are enough", text.lines().count()));
        }
        for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")] {
            if text.contains(word) {
                untidy.push(format!("{name} holds a {word}"));
            }
        }
    }
    assert!(untidy.is_empty(), "{}", untidy.join("\n"));
}

#[test]
fn unsafe_code_is_where_it_belongs() {
    let mut strays = Vec::new();
    for (name, text) in sources() {
        let code = code(&text);
        let found =
            ["{", "fn ", "impl ", "trait ", "extern "].map(|what| code.matches(&["unsafe", what].join(" ")).count());
        let found: usize = found.iter().sum();
        let allowed = UNSAFE.iter().find(|(place, _)| name.starts_with(place)).map_or(0, |(_, most)| *most);
        if found > allowed {
            strays.push(format!("{name}: {found}, and at most {allowed} belong there"));
        }
    }
    assert!(strays.is_empty(), "unsafe code elsewhere:\n{}", strays.join("\n"));
}
