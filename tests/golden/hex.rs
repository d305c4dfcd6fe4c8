//! Golden files as text: a line for each 16 bytes that are not all zero, and the length at the end.

use std::{env, fs, path::Path};

/// `bytes` as text.
pub fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, bytes) in bytes.chunks(16).enumerate() {
        if bytes.iter().any(|byte| *byte != 0) {
            let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            text += &format!("{:06x}: {}\n", line * 16, hex.join(" "));
        }
    }
    text + &format!("{:06x}.\n", bytes.len())
}

/// The bytes that `dump` made the text of.
pub fn undump(text: &str) -> Vec<u8> {
    let number = |hex: &str| usize::from_str_radix(hex, 16).expect("a number");
    let length =
        text.trim_end().lines().next_back().and_then(|line| line.strip_suffix('.')).expect("a length at the end");
    let mut bytes = vec![0; number(length)];
    for (at, line) in text.lines().filter_map(|line| line.split_once(": ")) {
        for (byte, hex) in bytes[number(at)..].iter_mut().zip(line.split(' ')) {
            *byte = number(hex) as u8;
        }
    }
    bytes
}

/// Whether golden files are to be written anew. What changes in them is a change of the format, and needs a new version of
/// it once there is a release.
pub fn bless() -> bool {
    env::var_os("ONCELOG_BLESS").is_some()
}

/// Fails unless the golden file holds this text.
pub fn check(path: &Path, text: &str) {
    if bless() {
        fs::write(path, text).expect("written");
    }
    let golden = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (line, (golden, now)) in golden.lines().zip(text.lines()).enumerate() {
        assert_eq!(now, golden, "{}, line {}", path.display(), line + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "{}: lines", path.display());
}
