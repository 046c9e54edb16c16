//! What the kernel counts of a process (proc(5)) and of this machine.

use std::fs;
use std::path::Path;

/// Seconds of processor time the process and its ended threads have had, to 10 ms.
pub fn cpu_s(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // Fields 14 and 15, counted after the name in brackets, in ticks of 1/100 s (the kernel's USER_HZ).
    let after = stat.rsplit_once(')').expect("a name in brackets").1;
    let ticks: u64 =
        after.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().expect("a number")).sum();
    ticks as f64 / 100.0
}

fn field(pid: u32, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).expect("the process runs");
    let line =
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{file} has {name}"));
    line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
}

/// Resident memory in bytes, the proportional share, and its anonymous part (what the process itself wrote).
pub fn memory(pid: u32) -> (u64, u64, u64) {
    let of = |name| 1024 * field(pid, "smaps_rollup", name);
    (of("Rss:"), of("Pss:"), of("Anonymous:"))
}

/// Bytes the process caused to be written to storage.
pub fn written(pid: u32) -> u64 {
    field(pid, "io", "write_bytes:")
}

/// Bytes of all files in a folder.
pub fn size(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).expect("the folder is there").flatten();
    files.filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
}

/// The processor and how many of it.
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(" : unknown");
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} x {}, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}

/// 5,000 readers need as many descriptors on either side.
pub fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Nanoseconds of the clock that all processes share and nobody sets.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
