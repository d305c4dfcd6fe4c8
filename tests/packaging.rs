//! What an embedder takes on with the library: few crates, under licences that ask for no more than its own.

use std::{collections::BTreeMap, process::Command};

/// Most crates in the library's own tree, with all of its features.
const CRATES_MAX: usize = 15;
/// Licences that a crate of the tree may be had under.
const LICENCES: &[&str] = &["MIT", "Apache-2.0", "BSL-1.0"];

/// The crates of the library's tree, and the licences of each; none where there is no cargo to ask.
fn crates() -> Option<BTreeMap<String, String>> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "oncelog", "--edges", "normal", "--all-features", "--offline", "--locked"])
        .args(["--prefix", "none", "--format", "{p}|{l}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let entry = |line: &str| line.split_once('|').map(|(name, licence)| (name.to_owned(), licence.to_owned()));
    // A crate that was shown before is marked so, behind its licence.
    Some(text.lines().filter_map(entry).map(|(name, licence)| (name, licence.replace(" (*)", ""))).collect())
}

/// Whether one of the alternatives of an expression asks for nothing but these licences.
fn is_allowed(expression: &str) -> bool {
    expression
        .split(" OR ")
        .flat_map(|part| part.split('/'))
        .any(|part| part.split(" AND ").all(|licence| LICENCES.contains(&licence.trim_matches(['(', ')', ' ']))))
}

#[test]
fn the_tree_is_small_and_under_licences_like_its_own() {
    let Some(crates) = crates() else {
        #[expect(clippy::print_stderr, reason = "whoever runs the tests must know that one was not run")]
        {
            eprintln!("skipped: there is no cargo here, or not all of the tree");
        }
        return;
    };
    assert!(crates.keys().any(|name| name.starts_with("oncelog ")), "{crates:?}");
    assert!(crates.len() <= CRATES_MAX, "{} crates: {crates:?}", crates.len());
    let strangers: Vec<_> = crates.iter().filter(|(_, licence)| !is_allowed(licence)).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}

#[test]
fn licences_are_read_as_they_are_written() {
    for allowed in ["MIT", "MIT OR Apache-2.0", "MIT/Apache-2.0", "GPL-3.0 OR (MIT AND Apache-2.0)", "BSL-1.0"] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in ["GPL-3.0", "MIT AND GPL-3.0", ""] {
        assert!(!is_allowed(refused), "{refused}");
    }
}
