//! What a folder of results says of the machine beside the figures: a name for it, and the facts as the system tells them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::host::Mount;
use crate::result::RunResult;

/// Words of a processor's name that tell it from no other.
const EMPTY_WORDS: [&str; 8] = ["r", "tm", "cpu", "processor", "core", "with", "at", "gen"];
/// Words of it that are kept.
const WORDS_MAX: usize = 4;

/// The name of a run's folder: `<date>_<machine>_<commit>`.
#[must_use]
pub fn folder_name(result: &RunResult) -> String {
    let run = &result.run;
    let date = run.started.get(..10).unwrap_or("undated");
    let commit = run.commit.as_deref().map_or("nocommit", |commit| commit.get(..7).unwrap_or(commit));
    let changed = if run.dirty == Some(true) { "-changed" } else { "" };
    format!("{date}_{}_{commit}{changed}", machine(&result.host.cpu, result.host.cores))
}

/// `Intel(R) Xeon(R) Processor @ 2.30GHz` with 2 cores is `intel-xeon-2`.
fn machine(cpu: &str, cores: usize) -> String {
    let model = cpu.split('@').next().unwrap_or_default().to_lowercase();
    let words = model.split(|letter: char| !letter.is_ascii_alphanumeric());
    let telling = words.filter(|word| !word.is_empty() && !EMPTY_WORDS.contains(word));
    let mut name: Vec<&str> = telling.take(WORDS_MAX).collect();
    let cores = cores.to_string();
    name.push(&cores);
    name.join("-")
}

/// The machine as its system tells it, for `environment.txt`. Nothing in it names a host or a user.
#[must_use]
pub fn describe(dir: &Path) -> String {
    let mut text = String::new();
    let mut section = |name: &str, content: String| {
        if !content.trim().is_empty() {
            let _ = write!(text, "== {name}\n{}\n\n", content.trim());
        }
    };
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // Not `/proc/version`, which also names who built the kernel, and where.
    let kernel = ["ostype", "osrelease", "version"].map(|name| read(&format!("/proc/sys/kernel/{name}")));
    section("kernel", kernel.each_ref().map(|fact| fact.trim()).join(" "));
    section("processor", read("/proc/cpuinfo").split("\n\n").next().unwrap_or_default().to_owned());
    section("processors", said("lscpu", &[]));
    section("memory", read("/proc/meminfo"));
    section("huge pages", read("/sys/kernel/mm/transparent_hugepage/enabled"));
    section("clock sources", read("/sys/devices/system/clocksource/clocksource0/available_clocksource"));
    section("frequency governor", read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"));
    section("load", read("/proc/loadavg"));
    if let Some(mount) = Mount::of(dir) {
        let source = mount.source.trim_start_matches("/dev/");
        section("file system", format!("{} on {source}, {}", mount.file_system, mount.options));
        section("device scheduler", read(&format!("/sys/dev/block/{}/queue/scheduler", mount.device)));
        section("device cache", read(&format!("/sys/dev/block/{}/queue/write_cache", mount.device)));
    }
    section("compiler", said("rustc", &["-vV"]));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_name_that_a_folder_can_have() {
        assert_eq!(machine("Intel(R) Xeon(R) Processor @ 2.30GHz", 2), "intel-xeon-2");
        assert_eq!(machine("AMD Ryzen 9 7950X 16-Core Processor", 32), "amd-ryzen-9-7950x-32");
        assert_eq!(machine("../../etc", 1), "etc-1");
        assert_eq!(machine("", 4), "4");
    }

    #[test]
    fn the_environment_names_no_host() {
        let text = describe(Path::new("."));
        assert!(text.contains("== kernel") && text.contains("== memory"), "{text}");
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.trim();
        assert!(host.len() < 4 || !text.contains(host), "the host's name is in\n{text}");
        let here = std::env::current_dir().expect("a directory");
        assert!(!text.contains(&here.display().to_string()), "a path of this machine is in\n{text}");
        let names = |(before, after): (char, char)| before.is_alphanumeric() && after.is_alphanumeric();
        let around = |(at, _): (usize, &str)| text[..at].chars().next_back().zip(text[at + 1..].chars().next());
        assert!(!text.match_indices('@').filter_map(around).any(names), "whoever built the kernel is in\n{text}");
    }
}
