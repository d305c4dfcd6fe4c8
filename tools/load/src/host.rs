//! The facts beside a figure: the run, the machine, the file system.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use crate::result::HostFacts;
use crate::spread::Spread;
use crate::timed::clock_ns;

/// The machine, and the file system that `dir` lies on.
pub(crate) fn facts(dir: &Path) -> HostFacts {
    let cpu_info = read("/proc/cpuinfo");
    let mount = Mount::of(dir).unwrap_or_default();
    HostFacts {
        cpu: value_of(&cpu_info, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        threads_per_core: threads_per_core(&cpu_info),
        memory_bytes: memory_bytes(&read("/proc/meminfo")),
        kernel: format!("{} {}", read("/proc/sys/kernel/ostype"), read("/proc/sys/kernel/osrelease")),
        hypervisor: hypervisor(&cpu_info),
        clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        clock_ns: clock_ns(),
        memory_copy_bytes_per_second: memory_copy_bytes_per_second(),
        load_before: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        huge_pages: chosen(&read("/sys/kernel/mm/transparent_hugepage/enabled")),
        file_system: mount.file_system,
        mount_options: mount.options,
    }
}

/// Copies one page again and again to memory that is larger than any cache but in use already.
fn memory_copy_bytes_per_second() -> f64 {
    const BYTES: usize = 128 << 20;
    let page = [0x5a_u8; 4096];
    let mut memory = vec![1_u8; BYTES];
    let rates = (0..3).map(|_| {
        let start = Instant::now();
        for to in memory.chunks_exact_mut(page.len()) {
            to.copy_from_slice(std::hint::black_box(&page));
        }
        BYTES as f64 / start.elapsed().as_secs_f64()
    });
    Spread::of(rates).map_or(0.0, |rates| rates.median)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// The value behind `key :` in the first line that begins with it.
fn value_of(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_bytes(mem_info: &str) -> u64 {
    let total = value_of(mem_info, "MemTotal").unwrap_or_default();
    total.trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024
}

fn threads_per_core(cpu_info: &str) -> Option<u64> {
    let number = |key| value_of(cpu_info, key)?.parse::<u64>().ok();
    number("siblings")?.checked_div(number("cpu cores")?)
}

fn hypervisor(cpu_info: &str) -> Option<String> {
    let named = read("/sys/hypervisor/type");
    let vendor = read("/sys/class/dmi/id/sys_vendor");
    let flagged = value_of(cpu_info, "flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    match (named.is_empty(), vendor.is_empty(), flagged) {
        (false, ..) => Some(named),
        (_, false, true) => Some(vendor),
        (_, true, true) => Some("unnamed".to_owned()),
        (_, _, false) => None,
    }
}

/// The word in brackets: how the kernel shows a choice.
fn chosen(choices: &str) -> Option<String> {
    let (_, rest) = choices.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// A mounted file system.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mount {
    pub(crate) file_system: String,
    pub(crate) options: String,
    pub(crate) source: String,
    /// Major and minor number of its device.
    pub(crate) device: String,
}

impl Mount {
    /// The file system of a directory.
    pub(crate) fn of(dir: &Path) -> Option<Self> {
        let dir = fs::canonicalize(dir).ok()?;
        let number = fs::metadata(&dir).ok()?.dev();
        let device = format!("{}:{}", libc::major(number), libc::minor(number));
        Self::find(&read("/proc/self/mountinfo"), &dir, &device)
    }

    /// The mount point that is the longest beginning of the directory, on its device if one is.
    fn find(mount_info: &str, dir: &Path, device: &str) -> Option<Self> {
        let mounts = mount_info.lines().filter_map(Self::parse);
        let around = mounts.filter(|(point, _)| dir.starts_with(point));
        around.max_by_key(|(point, mount)| (mount.device == device, point.as_os_str().len())).map(|(_, mount)| mount)
    }

    /// One line: `id parent major:minor root point options tags.. - type source super-options`.
    fn parse(line: &str) -> Option<(PathBuf, Self)> {
        let (mounted, file_system) = line.split_once(" - ")?;
        let mut mounted = mounted.split(' ').skip(2);
        let device = mounted.next()?.to_owned();
        let point = PathBuf::from(mounted.nth(1)?);
        let point_options = mounted.next()?;
        let mut file_system = file_system.split(' ');
        let (kind, source, super_options) = (file_system.next()?, file_system.next()?, file_system.next()?);
        let mut options: Vec<&str> = point_options.split(',').collect();
        options
            .extend(super_options.split(',').filter(|option| !point_options.split(',').any(|other| other == *option)));
        // Layers and the like are paths of this machine, and say nothing of the file system.
        options.retain(|option| !option.contains('/'));
        Some((
            point,
            Self { file_system: kind.to_owned(), options: options.join(","), source: source.to_owned(), device },
        ))
    }

    /// Whether its files are memory: nothing on it survives, and nothing about a device can be learnt from it.
    pub(crate) fn is_memory(&self) -> bool {
        is_memory(&self.file_system)
    }
}

/// Whether a file system of this kind keeps its files in memory.
pub(crate) fn is_memory(file_system: &str) -> bool {
    matches!(file_system, "tmpfs" | "ramfs" | "hugetlbfs")
}

/// The commit of the source this was built from and whether it was changed since; none without a checkout.
pub(crate) fn commit() -> (Option<String>, Option<bool>) {
    let git = |arguments: &[&str]| -> Option<String> {
        let output = Command::new("git").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    (git(&["rev-parse", "HEAD"]), git(&["status", "--porcelain"]).map(|changes| !changes.is_empty()))
}

/// The command that was given, places of this machine by their last part: where things lay says nothing about what was
/// measured.
#[must_use]
pub fn command_line() -> String {
    without_places(std::env::args())
}

/// Every absolute path by its last part.
fn without_places(arguments: impl Iterator<Item = String>) -> String {
    let by_name = |argument: String| {
        let (flag, value) = argument.split_once('=').map_or(("", argument.as_str()), |(flag, value)| (flag, value));
        let path = Path::new(value);
        match path.file_name().filter(|_| path.is_absolute()) {
            Some(name) if flag.is_empty() => name.to_string_lossy().into_owned(),
            Some(name) => format!("{flag}={}", name.to_string_lossy()),
            None => argument,
        }
    };
    arguments.map(by_name).collect::<Vec<_>>().join(" ")
}

/// A moment as `2026-11-23T08:35:00Z`.
pub(crate) fn utc(moment: SystemTime) -> String {
    humantime::format_rfc3339_seconds(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_is_found() {
        let info = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
                    30 22 0:30 / /mnt/fast rw,noatime shared:5 - tmpfs none rw,size=1k\n";
        let root = Mount::find(info, Path::new("/mnt/slow"), "254:0").expect("a mount");
        assert_eq!((root.file_system.as_str(), root.options.as_str()), ("ext4", "rw,relatime,discard"));
        assert!(!root.is_memory());
        let fast = Mount::find(info, Path::new("/mnt/fast/log"), "0:30").expect("a mount");
        assert_eq!((fast.source.as_str(), fast.options.as_str()), ("none", "rw,noatime,size=1k"));
        assert!(fast.is_memory());
        let layered = "22 1 0:40 / / rw,relatime - overlay overlay rw,lowerdir=/home/me/a:/home/me/b,xino=off\n";
        let layered = Mount::find(layered, Path::new("/x"), "0:40").expect("a mount");
        assert_eq!(layered.options, "rw,relatime,xino=off");
    }

    #[test]
    fn a_command_line_tells_no_place_of_this_machine() {
        let arguments =
            ["/opt/bin/oncelog", "bench", "--record=/srv/results", "--out", "/home/me/out", "--rate", "1e5"];
        let told = without_places(arguments.into_iter().map(str::to_owned));
        assert_eq!(told, "oncelog bench --record=results --out out --rate 1e5");
        assert_eq!(without_places(["./oncelog".to_owned(), "results/a".to_owned()].into_iter()), "./oncelog results/a");
    }

    #[test]
    fn the_machine_is_known() {
        let facts = facts(Path::new("."));
        assert!(facts.cores > 0 && facts.memory_bytes > 0 && !facts.kernel.is_empty() && !facts.file_system.is_empty());
        assert_eq!(chosen("always [madvise] never").as_deref(), Some("madvise"));
    }
}
