//! The health of the box, read from /proc and /sys: `system_health` once in an interval.
//!
//! **Promises.** What can't be read on this host is absent, never invented; nothing here needs more than a plain user
//! may read. **Blocking.** Files of the kernel only, and `statvfs`, which waits for a network file system that hangs:
//! it then holds up this thread alone. The folder that holds `proc` and `sys` is given, so that tests bring their own.

mod card;
mod network;
mod proc;

use super::inputs::Until;
use super::{HostExtras, publish};
use crate::alerts::Alerts;
use crate::bus::Bus;
use crate::clock::Wall;
use crate::model::{Disk, Severity, SystemHealth};
use crate::store::Store;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// See the module above.
pub struct HostSource {
    root: PathBuf,
    disks: Vec<PathBuf>,
    interval: Duration,
    extras: Box<dyn Fn() -> HostExtras + Send>,
    cpu: Option<proc::CpuTimes>,
    throttled_seen: u32,
    card: Option<CardWatch>,
}

/// What is needed to remember the errors of a card, and to tell of them.
struct CardWatch {
    store: Arc<Store>,
    alerts: Arc<Alerts>,
    log: card::KernelLog,
    boot: String,
    /// The card of the last look and what is known of it.
    known: Option<(card::Card, card::Memory)>,
}

impl HostSource {
    /// Reads `root`/proc and `root`/sys, and the file systems that hold `disks`, every `interval`.
    pub fn new(
        root: &Path,
        disks: Vec<PathBuf>,
        interval: Duration,
        extras: Box<dyn Fn() -> HostExtras + Send>,
    ) -> Self {
        HostSource {
            root: root.to_path_buf(),
            disks,
            interval,
            extras,
            cpu: None,
            throttled_seen: 0,
            card: None,
        }
    }

    /// Has errors of the card remembered in `store` and raised as an alert.
    pub(super) fn with_card(mut self, store: Arc<Store>, alerts: Arc<Alerts>, boot: String) -> Self {
        let log = card::KernelLog::open(&self.root);
        self.card = Some(CardWatch { store, alerts, log, boot, known: None });
        self
    }

    /// Publishes until it is over.
    pub(super) fn run(mut self, bus: &Bus, until: &Until) {
        // The first share of the CPU needs two looks; the rest is told at once.
        loop {
            let health = self.read();
            publish(bus, "system_health", &health);
            if until.wait(self.interval.max(Duration::from_millis(100))) {
                return;
            }
        }
    }

    /// Reads everything once.
    pub fn read(&mut self) -> SystemHealth {
        let extras = (self.extras)();
        let cpu = proc::CpuTimes::read(&self.root);
        let busy = cpu.zip(self.cpu).and_then(|(now, before)| now.busy_since(before));
        self.cpu = cpu.or(self.cpu);
        SystemHealth {
            uptime_s: proc::uptime(&self.root).unwrap_or_else(proc::boot_time),
            cpu: busy,
            memory: proc::memory(&self.root),
            temperature_c: proc::temperature(&self.root),
            throttled: self.throttled(),
            disks: self.disks.iter().filter_map(|path| disk(path)).collect(),
            clock: Some(extras.clock),
            network: network::interfaces(&self.root),
            process: proc::process(&self.root),
            store: extras.store,
            clients: extras.clients,
            card: self.card.as_mut().and_then(|watch| watch.look(&self.root)),
        }
    }

    /// The firmware's word when the kernel shows it, else the one alarm that every Pi's kernel has.
    fn throttled(&mut self) -> Option<Value> {
        if let Some(word) = proc::throttled_word(&self.root) {
            // Reading can clear the firmware's memory; ours keeps what it has shown.
            self.throttled_seen |= word | (word & 0xF) << 16;
            return Some(json!({ "now": names(word), "since_boot": names(self.throttled_seen >> 16) }));
        }
        let alarm = proc::undervoltage_alarm(&self.root)?;
        let mut throttled = Map::new();
        throttled.insert("now".into(), json!(names(u32::from(alarm))));
        // The alarm says nothing of the time before we asked.
        throttled.insert("since_boot".into(), Value::Null);
        Some(throttled.into())
    }
}

impl CardWatch {
    fn look(&mut self, root: &Path) -> Option<Value> {
        let now = card::card(root)?;
        if self.known.as_ref().is_none_or(|(card, _)| *card != now) {
            let rows = self.store.shelf(&shelf(&now)).unwrap_or_default();
            let kept = rows.first().and_then(|(_, bytes)| serde_json::from_slice(bytes).ok());
            if self.known.is_some() {
                self.alerts.clear("card.errors", "The SD card is another one.");
            }
            self.known = Some((now, kept.unwrap_or_default()));
        }
        let (card, memory) = self.known.as_mut()?;
        let before = memory.errors;
        if card::look(memory, root, card, &mut self.log, &self.boot, &Wall::now().rfc3339()) {
            let bytes = serde_json::to_vec(&memory).ok();
            if let Err(e) = self.store.shelve(&[(shelf(card), bytes)]) {
                log::warn!("failed to remember the errors of the SD card: {e}");
            }
        }
        if memory.errors > before {
            let message = format!("The SD card has had {} error(s): {}.", memory.errors, memory.last_error);
            let guidance = "Copy what matters off the card and replace it. Under-voltage causes this too: see the health of the box.";
            self.alerts.raise("card.errors", Severity::Major, &message, guidance);
        }
        card::describe(memory, card)
    }
}

/// What `telltale doctor` asks of the health of a host.
#[derive(Debug, Default)]
pub struct Health {
    /// What is wrong with power and heat at the moment: `under_voltage`, `throttled`, ...
    pub throttled_now: Vec<String>,
    /// The same since it was started, where that is known.
    pub throttled_since_boot: Vec<String>,
    /// Of the processor.
    pub temperature_c: Option<f64>,
}

impl Health {
    /// Reads `root`/proc and `root`/sys once.
    pub fn look(root: &Path) -> Health {
        let extras = || HostExtras { store: Map::new(), clients: Map::new(), clock: Value::Null };
        let mut host = HostSource::new(root, Vec::new(), Duration::ZERO, Box::new(extras));
        let throttled = host.throttled().unwrap_or_default();
        let words = |name: &str| serde_json::from_value(throttled[name].clone()).unwrap_or_default();
        Health {
            throttled_now: words("now"),
            throttled_since_boot: words("since_boot"),
            temperature_c: proc::temperature(root),
        }
    }
}

/// The SD card's device and what its file systems have counted; none without a card.
pub fn card_errors(root: &Path) -> Option<(String, u64)> {
    let card = card::card(root)?;
    let errors = card::ext4_errors(root, &card.device).values().sum();
    Some((card.device, errors))
}

/// Where a card is remembered.
fn shelf(card: &card::Card) -> String {
    format!("card/{}", card.cid)
}

/// Bits 0 to 3 of the word: source, Raspberry Pi documentation of `vcgencmd get_throttled`.
fn names(bits: u32) -> Vec<&'static str> {
    const NAMES: [&str; 4] = ["under_voltage", "frequency_capped", "throttled", "soft_temperature_limit"];
    NAMES.into_iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| name).collect()
}

fn disk(path: &Path) -> Option<Disk> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(Disk {
        path: path.display().to_string(),
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extras() -> HostExtras {
        HostExtras { store: Map::new(), clients: Map::new(), clock: json!({ "quality": "unsynced" }) }
    }

    fn write(root: &Path, path: &str, text: &str) {
        let file = root.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    fn host(root: &Path) -> HostSource {
        HostSource::new(root, vec![root.to_path_buf()], Duration::from_secs(5), Box::new(extras))
    }

    fn pi(root: &Path) {
        write(
            root,
            "proc/stat",
            "cpu  100 0 50 800 40 0 10 0 0 0\ncpu0 100 0 50 800 40 0 10 0 0 0\nintr 1\n",
        );
        write(root, "proc/uptime", "1234.56 4000.00\n");
        write(
            root,
            "proc/meminfo",
            "MemTotal:  948280 kB\nMemFree: 100 kB\nMemAvailable:  700000 kB\nSwapTotal: 102396 kB\nSwapFree: 102396 kB\n",
        );
        write(root, "proc/self/status", "Name:\ttelltale\nVmRSS:\t   9000 kB\nThreads:\t7\n");
        write(root, "proc/self/fd/0", "");
        write(root, "proc/self/fd/1", "");
        write(root, "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n");
        write(root, "sys/class/thermal/thermal_zone0/temp", "48312\n");
        write(root, "sys/class/hwmon/hwmon0/name", "cpu_thermal\n");
        write(root, "sys/class/hwmon/hwmon1/name", "rpi_volt\n");
        write(root, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n");
        write(root, "sys/class/net/lo/operstate", "unknown\n");
        write(root, "sys/class/net/wlan0/operstate", "up\n");
        write(root, "sys/class/net/wlan0/statistics/rx_bytes", "1000\n");
        write(root, "sys/class/net/wlan0/statistics/tx_bytes", "2000\n");
        write(root, "sys/class/net/eth0/operstate", "down\n");
        write(
            root,
            "proc/net/wireless",
            "Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE\n face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22\n wlan0: 0000   54.  -56.  -256        0      0      0      0      0        0\n",
        );
        write(
            root,
            "proc/net/route",
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\nwlan0\t00000000\t0104A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\nwlan0\t0004A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0\n",
        );
        write(
            root,
            "proc/net/fib_trie",
            "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n        +-- 192.168.4.0/24 2 0 2\n           |-- 192.168.4.0\n              /24 link UNICAST\n           |-- 192.168.4.21\n              /32 host LOCAL\n           |-- 192.168.4.255\n              /32 link BROADCAST\nLocal:\n     |-- 192.168.4.21\n        /32 host LOCAL\n",
        );
        write(
            root,
            "proc/net/if_inet6",
            "fe80000000000000ba27ebfffe123456 03 40 20 80    wlan0\n00000000000000000000000000000001 01 80 10 80       lo\n",
        );
    }

    #[test]
    fn a_pi_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        pi(root);
        let mut host = host(root);
        assert_eq!(host.read().cpu, None, "one look is no share");
        write(root, "proc/stat", "cpu  150 0 75 1000 60 0 15 0 0 0\n");
        let health = host.read();
        assert_eq!(health.cpu, Some(80.0 / 300.0));
        assert_eq!(health.uptime_s, 1234.56);
        assert_eq!(health.memory["total"], 948_280 * 1024);
        assert_eq!(health.memory["available"], 700_000 * 1024);
        assert_eq!(health.temperature_c, Some(48.312));
        assert_eq!(health.throttled, Some(json!({"now": [], "since_boot": null})));
        assert_eq!(health.clock, Some(json!({ "quality": "unsynced" })));
        assert_eq!(json!(health.process), json!({"rss": 9000 * 1024, "threads": 7, "fds": 2}));
        assert!(health.disks[0].total >= health.disks[0].free && health.disks[0].total > 0);
        assert_eq!(
            json!(health.network),
            json!([
                {"name": "eth0", "up": false, "addresses": []},
                {"name": "wlan0", "up": true, "addresses": ["192.168.4.21", "fe80::ba27:ebff:fe12:3456"], "signal_dbm": -56, "rx_bytes": 1000, "tx_bytes": 2000},
            ])
        );
    }

    #[test]
    fn errors_of_the_card_outlive_a_restart_but_not_the_card() {
        let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = dir.path();
        pi(root);
        write(root, "sys/block/mmcblk0/device/cid", "0353445343333247801234567800d200\n");
        write(root, "sys/fs/ext4/mmcblk0p2/errors_count", "2\n");
        let opened = Store::open(data.path(), &crate::config::Store::default()).unwrap();
        let bus = Arc::new(Bus::new(opened.start, Arc::default()));
        let (store, alerts) = (Arc::new(opened.store), Arc::new(Alerts::new(Arc::clone(&bus))));
        let start = || host(root).with_card(Arc::clone(&store), Arc::clone(&alerts), "boot".into());
        let mut running = start();
        assert_eq!(running.read().card.unwrap()["errors"], 2);
        assert!(bus.state_of("alert/card.errors").is_some());
        let head = bus.head();
        assert_eq!(running.read().card.unwrap()["errors"], 2);
        write(root, "sys/fs/ext4/mmcblk0p2/errors_count", "0\n");
        assert_eq!(start().read().card.unwrap()["errors"], 2, "after a repair and a restart");
        assert_eq!(bus.head(), head, "told once");
        write(root, "sys/block/mmcblk0/device/cid", "ffff445343333247801234567800d200\n");
        assert_eq!(running.read().card, None, "another card");
        assert!(bus.state_of("alert/card.errors").unwrap().payload().contains("cleared"));
    }

    #[test]
    fn the_firmware_word_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        pi(dir.path());
        let file = "sys/devices/platform/soc/soc:firmware/get_throttled";
        let mut host = host(dir.path());
        let mut look = |word: &str| {
            write(dir.path(), file, word);
            host.read().throttled.unwrap()
        };
        assert_eq!(look("0\n"), json!({"now": [], "since_boot": []}));
        assert_eq!(
            look("50005\n"),
            json!({"now": ["under_voltage", "throttled"], "since_boot": ["under_voltage", "throttled"]})
        );
        assert_eq!(
            look("0x80000\n"),
            json!({"now": [], "since_boot": ["under_voltage", "throttled", "soft_temperature_limit"]})
        );
    }

    #[test]
    fn under_voltage_without_the_word() {
        let dir = tempfile::tempdir().unwrap();
        pi(dir.path());
        write(dir.path(), "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
        assert_eq!(
            host(dir.path()).read().throttled,
            Some(json!({"now": ["under_voltage"], "since_boot": null}))
        );
    }

    #[test]
    fn what_is_not_there_is_absent() {
        let dir = tempfile::tempdir().unwrap();
        let mut host = HostSource::new(
            dir.path(),
            vec!["/no/such/disk".into()],
            Duration::from_secs(5),
            Box::new(extras),
        );
        host.read();
        let mut health = host.read();
        assert!(health.uptime_s > 0.0, "the clock since boot needs no file");
        health.uptime_s = 0.0;
        assert_eq!(
            json!(health),
            json!({"uptime_s": 0.0, "cpu": null, "memory": {}, "clock": {"quality": "unsynced"}}),
        );
    }

    #[test]
    fn nonsense_in_the_files_is_survived() {
        let dir = tempfile::tempdir().unwrap();
        pi(dir.path());
        for file in [
            "proc/stat",
            "proc/uptime",
            "proc/meminfo",
            "proc/self/status",
            "proc/net/wireless",
            "proc/net/route",
            "proc/net/fib_trie",
            "proc/net/if_inet6",
            "sys/class/thermal/thermal_zone0/temp",
        ] {
            for text in [
                "",
                "\n\n",
                "cpu",
                "cpu x y",
                "wlan0:",
                "wlan0\tzz",
                "|-- 1.2.3.4.5\n/32 host LOCAL",
                "ffff 1 2 3 4 wlan0",
                "9999999999999999999999999999",
                "VmRSS: -1 kB\nThreads:",
            ] {
                write(dir.path(), file, text);
                let mut host = host(dir.path());
                host.read();
                host.read();
            }
        }
    }

    #[test]
    fn this_machine_can_be_read() {
        let mut host = host(Path::new("/"));
        host.read();
        let health = host.read();
        assert!(health.uptime_s > 0.0);
        assert!(health.memory["total"].as_u64().unwrap() > 0);
        assert!(health.process["rss"].as_u64().unwrap() > 0);
        assert!(health.process["fds"].as_u64().unwrap() >= 3);
    }
}
