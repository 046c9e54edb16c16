//! The kernel's text files, one value each. Sources: proc(5) and the kernel's documentation of hwmon and thermal.

use serde_json::{Map, Value};
use std::fs;
use std::path::Path;

/// A small file of the kernel, trimmed.
pub fn text(root: &Path, path: &str) -> Option<String> {
    fs::read_to_string(root.join(path)).ok().map(|text| text.trim().to_string())
}

/// Jiffies since boot, all cores.
#[derive(Clone, Copy, Debug)]
pub struct CpuTimes {
    total: u64,
    idle: u64,
}

impl CpuTimes {
    /// The first line of /proc/stat: user nice system idle iowait irq softirq steal. Guest time is in user already.
    pub fn read(root: &Path) -> Option<Self> {
        let text = text(root, "proc/stat")?;
        let numbers: Vec<u64> = text
            .lines()
            .next()?
            .strip_prefix("cpu ")?
            .split_whitespace()
            .map_while(|n| n.parse().ok())
            .take(8)
            .collect();
        let idle = numbers.get(3)?.saturating_add(numbers.get(4).copied().unwrap_or(0));
        Some(CpuTimes { total: numbers.iter().fold(0, |sum, n| sum.saturating_add(*n)), idle })
    }

    /// The share that was not idle, 0 to 1.
    pub fn busy_since(self, before: Self) -> Option<f64> {
        let total = self.total.checked_sub(before.total).filter(|t| *t > 0)?;
        let idle = self.idle.checked_sub(before.idle).filter(|i| *i <= total)?;
        Some((total - idle) as f64 / total as f64)
    }
}

/// Seconds since boot.
pub fn uptime(root: &Path) -> Option<f64> {
    let seconds: f64 = text(root, "proc/uptime")?.split_whitespace().next()?.parse().ok()?;
    seconds.is_finite().then_some(seconds)
}

/// The same from the system's own clock, where /proc is hidden.
pub fn boot_time() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// total, available, swap_total and swap_free, in bytes.
pub fn memory(root: &Path) -> Map<String, Value> {
    let text = text(root, "proc/meminfo").unwrap_or_default();
    let rows = [
        ("MemTotal", "total"),
        ("MemAvailable", "available"),
        ("SwapTotal", "swap_total"),
        ("SwapFree", "swap_free"),
    ];
    rows.into_iter()
        .filter_map(|(row, name)| Some((name.to_string(), kilobytes(&text, row)?.into())))
        .collect()
}

/// rss in bytes, threads and fds of this process.
pub fn process(root: &Path) -> Map<String, Value> {
    let mut process = Map::new();
    let status = text(root, "proc/self/status").unwrap_or_default();
    if let Some(rss) = kilobytes(&status, "VmRSS") {
        process.insert("rss".into(), rss.into());
    }
    if let Some(threads) = row(&status, "Threads").and_then(|t| t.parse::<u64>().ok()) {
        process.insert("threads".into(), threads.into());
    }
    if let Ok(fds) = fs::read_dir(root.join("proc/self/fd")) {
        process.insert("fds".into(), fds.count().into());
    }
    process
}

/// The CPU's temperature in degrees Celsius: the sensor that belongs to the CPU by its name, or none.
pub fn temperature(root: &Path) -> Option<f64> {
    let hwmon = folders(root, "sys/class/hwmon").into_iter().find_map(|folder| {
        let name = text(root, &format!("{folder}/name"))?;
        let ours = matches!(name.as_str(), "cpu_thermal" | "soc_thermal" | "coretemp" | "k10temp");
        ours.then(|| millidegrees(root, &format!("{folder}/temp1_input"))).flatten()
    });
    hwmon.or_else(|| {
        folders(root, "sys/class/thermal").into_iter().find_map(|folder| {
            let kind = text(root, &format!("{folder}/type"))?;
            let ours = kind.contains("cpu") || kind.contains("soc") || kind == "x86_pkg_temp";
            ours.then(|| millidegrees(root, &format!("{folder}/temp"))).flatten()
        })
    })
}

/// The firmware's throttle word, where Raspberry Pi's kernel shows it (hexadecimal, with or without `0x`).
pub fn throttled_word(root: &Path) -> Option<u32> {
    let word = text(root, "sys/devices/platform/soc/soc:firmware/get_throttled")?;
    u32::from_str_radix(word.strip_prefix("0x").unwrap_or(&word), 16).ok()
}

/// The under-voltage alarm of the kernel's `raspberrypi-hwmon` driver; needs no device node and no group.
pub fn undervoltage_alarm(root: &Path) -> Option<bool> {
    folders(root, "sys/class/hwmon").into_iter().find_map(|folder| {
        if text(root, &format!("{folder}/name"))? != "rpi_volt" {
            return None;
        }
        Some(text(root, &format!("{folder}/in0_lcrit_alarm"))? == "1")
    })
}

/// The folders in a folder, in order of name.
pub fn folders(root: &Path, path: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join(path)).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|e| Some(format!("{path}/{}", e.file_name().to_str()?))).collect();
    names.sort();
    names
}

fn millidegrees(root: &Path, path: &str) -> Option<f64> {
    text(root, path)?.parse::<i32>().ok().map(|t| f64::from(t) / 1000.0)
}

/// The rest of the row `name:`.
fn row<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    row(text, name)?.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
