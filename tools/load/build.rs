//! Captures what only the compiler knows: its version, the target's features and the profile.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let compiler = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = Command::new(compiler)
        .arg("-V")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .unwrap_or_default();
    println!("cargo::rustc-env=ONCELOG_RUSTC={}", version.trim());
    for (from, to) in [("CARGO_CFG_TARGET_FEATURE", "ONCELOG_TARGET_FEATURES"), ("PROFILE", "ONCELOG_PROFILE")] {
        println!("cargo::rerun-if-env-changed={from}");
        println!("cargo::rustc-env={to}={}", env::var(from).unwrap_or_default());
    }
}
