//! `telltale doctor`: looks at the host as a technician would, a line each: ok, warn or fail, and what to do.
//!
//! It reads files of the kernel and of systemd, starts nothing but `iw` and `timedatectl`, and changes nothing. The folder
//! that holds `etc`, `proc`, `sys` and so on is given, so that a mounted card can be looked at, and tests bring their own.

use super::{DONE, DoctorArgs, FAILED, say};
use crate::clock;
use crate::config::{self, Config, Device, Flags, Overrides};
use crate::sources::host::{self, Health};
use rustix::fs::{Access, access};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    Ok,
    Warn,
    Fail,
}

/// One line.
#[derive(Debug)]
struct Finding {
    grade: Grade,
    what: &'static str,
    text: String,
    /// What to do.
    remedy: String,
}

fn ok(what: &'static str, text: impl Into<String>) -> Finding {
    Finding { grade: Grade::Ok, what, text: text.into(), remedy: String::new() }
}

fn warn(what: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { grade: Grade::Warn, what, text: text.into(), remedy: remedy.into() }
}

fn fail(what: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { grade: Grade::Fail, ..warn(what, text, remedy) }
}

pub(super) fn doctor(args: DoctorArgs) -> u8 {
    let root = args.root.unwrap_or_else(|| PathBuf::from("/"));
    let overrides =
        Overrides::from_process(Flags { config: args.config, data: args.data, ..Flags::default() });
    let findings = examine(&root, &overrides);
    for finding in &findings {
        let grade = match finding.grade {
            Grade::Ok => "ok  ",
            Grade::Warn => "warn",
            Grade::Fail => "fail",
        };
        say(&format!("{grade}  {:<9} {}", finding.what, finding.text));
        if !finding.remedy.is_empty() {
            say(&format!("                {}", finding.remedy));
        }
    }
    if findings.iter().any(|f| f.grade == Grade::Fail) { FAILED } else { DONE }
}

/// Everything, in the order it is told.
fn examine(root: &Path, overrides: &Overrides) -> Vec<Finding> {
    let (mut findings, config) = configuration(overrides);
    findings.extend(groups(root, &config));
    findings.extend(devices(root, &config));
    findings.push(journal(root));
    findings.extend(wifi(root));
    findings.push(time(root));
    let health = host::Health::look(root);
    findings.push(throttle(&health));
    findings.push(disk(root, &config));
    findings.push(card(root));
    findings
}

fn configuration(overrides: &Overrides) -> (Vec<Finding>, Config) {
    match config::check(overrides) {
        Ok(loaded) => {
            let file =
                loaded.file.as_ref().map_or("no file, the defaults".into(), |f| f.display().to_string());
            let mut findings = vec![ok("config", format!("{file}: no faults"))];
            findings.extend(
                loaded.warnings.iter().map(|w| warn("config", w.as_str(), "Is the variable spelt right?")),
            );
            (findings, loaded.config)
        }
        Err(errors) => {
            let remedy = "Correct it: telltale check names every fault.";
            let first = errors.first().map(ToString::to_string).unwrap_or_default();
            let text = format!("{} fault(s), the first: {first}", errors.len());
            (vec![fail("config", text, remedy)], Config::default())
        }
    }
}

/// The groups that the inputs of the configuration need.
fn groups(root: &Path, config: &Config) -> Vec<Finding> {
    let mut needed = Vec::new();
    if !config.gpio.is_empty() {
        needed.push("gpio");
    }
    if config.serial.iter().any(|port| !matches!(port.device, Device::Replay(_) | Device::Visa(_))) {
        needed.push("dialout");
    }
    let file = text(root, "etc/group");
    let unit: String = UNITS.iter().map(|path| text(root, path)).collect();
    let of_unit = |group: &str| {
        let lines = unit.lines().filter_map(|line| line.trim().strip_prefix("SupplementaryGroups="));
        lines.flat_map(str::split_whitespace).any(|g| g == group)
    };
    needed
        .into_iter()
        .map(|group| {
            let line = file.lines().find(|line| line.split(':').next() == Some(group));
            let Some(line) = line else {
                return fail(
                    "groups",
                    format!("there is no group {group}"),
                    format!("groupadd --system {group}, and a udev rule that gives it the devices"),
                );
            };
            let members = line.rsplit(':').next().unwrap_or_default();
            if of_unit(group) || members.split(',').any(|m| m == "telltale") {
                ok("groups", format!("telltale is in {group}"))
            } else {
                let who = if unit.is_empty() { "the user that runs telltale" } else { "telltale" };
                warn(
                    "groups",
                    format!("nothing puts {who} into {group}"),
                    format!("SupplementaryGroups={group} in the unit, or usermod -a -G {group} USER and log in again"),
                )
            }
        })
        .collect()
}

const UNITS: [&str; 3] = [
    "etc/systemd/system/telltale.service",
    "usr/lib/systemd/system/telltale.service",
    "lib/systemd/system/telltale.service",
];

/// The device nodes that the configuration names.
fn devices(root: &Path, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    if !config.gpio.is_empty() {
        let nodes = ["dev/gpiomem", "dev/gpiomem0", "dev/gpiochip0", "dev/gpiochip4"];
        findings.push(match nodes.iter().find(|node| root.join(node).exists()) {
            Some(node) => usable(&root.join(node), Path::new("/").join(node).as_path(), "gpio"),
            None => fail(
                "devices",
                "there are pins in the configuration, but no /dev/gpiomem and no /dev/gpiochip0",
                "Is this a Raspberry Pi, and is gpiomem not switched off in its device tree?",
            ),
        });
    }
    for port in &config.serial {
        findings.push(match &port.device {
            Device::Path(device) if inside(device).exists() => usable(&inside(device), device, "dialout"),
            Device::Path(device) => warn(
                "devices",
                format!("{} of {} is not there", device.display(), port.id),
                "Plugged in? ls /dev/serial/by-id shows adapters; telltale waits for it.",
            ),
            device => ok("devices", format!("{device} of {} is looked for when telltale runs", port.id)),
        });
    }
    findings
}

fn usable(node: &Path, shown: &Path, group: &str) -> Finding {
    match access(node, Access::READ_OK | Access::WRITE_OK) {
        Ok(()) => ok("devices", format!("{} can be used", shown.display())),
        Err(e) => warn(
            "devices",
            format!("{} can't be used by this user: {e}", shown.display()),
            format!("Fine if the unit has the group {group}; else put the user into it."),
        ),
    }
}

/// Whether the journal outlives a power cut. Source: journald.conf(5): the main file, then drop-ins by name.
fn journal(root: &Path) -> Finding {
    let mut files = vec![root.join("etc/systemd/journald.conf")];
    let mut drop_ins: Vec<PathBuf> =
        ["usr/lib/systemd/journald.conf.d", "run/systemd/journald.conf.d", "etc/systemd/journald.conf.d"]
            .iter()
            .flat_map(|folder| fs::read_dir(root.join(folder)).into_iter().flatten().flatten())
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "conf"))
            .collect();
    drop_ins.sort_by_key(|path| path.file_name().map(|name| name.to_os_string()));
    files.extend(drop_ins);
    let storage = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|text| text.lines().map(str::to_string).collect::<Vec<_>>())
        .filter_map(|line| line.trim().strip_prefix("Storage=").map(|s| s.trim().to_lowercase()))
        .next_back();
    let there = root.join("var/log/journal").is_dir();
    let remedy = "systemd/60-telltale-journald.conf keeps it, bounded; without it a power cut takes the reason with it.";
    match storage.as_deref() {
        Some("persistent") => ok("journal", "is kept on the disk"),
        Some("auto") | None if there => ok("journal", "is kept on the disk"),
        Some("volatile") => warn("journal", "is in memory only", remedy),
        Some("none") => warn("journal", "is not kept at all", remedy),
        _ => warn("journal", "is in memory only: there is no /var/log/journal", remedy),
    }
}

/// Power saving of the Wi-Fi makes the page slow and streams break. `iw` says whether it is on.
fn wifi(root: &Path) -> Vec<Finding> {
    let interfaces = fs::read_dir(root.join("sys/class/net")).into_iter().flatten().flatten();
    let wireless = interfaces
        .filter(|entry| entry.path().join("wireless").exists() || entry.path().join("phy80211").exists())
        .filter_map(|entry| entry.file_name().into_string().ok());
    let iw = ["usr/sbin/iw", "sbin/iw", "usr/bin/iw"].iter().map(|p| root.join(p)).find(|p| p.exists());
    wireless
        .map(|name| {
            let said = iw.as_ref().and_then(|iw| ask(iw, &["dev", &name, "get", "power_save"]));
            match said.as_deref().map(str::trim) {
                Some("Power save: off") => ok("wifi", format!("{name}: power saving is off")),
                Some("Power save: on") => warn(
                    "wifi",
                    format!("{name}: power saving is on; pages may hang for seconds"),
                    format!("iw dev {name} set power_save off; to keep it: nmcli connection modify NAME 802-11-wireless.powersave 2"),
                ),
                _ => warn(
                    "wifi",
                    format!("{name}: whether power saving is on can't be told"),
                    "Install iw to know.",
                ),
            }
        })
        .collect()
}

/// What a program says; none when it is not there, fails, or takes long.
fn ask(program: &Path, args: &[&str]) -> Option<String> {
    const TIME: Duration = Duration::from_secs(3);
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let begun = Instant::now();
    while child.try_wait().ok()?.is_none() {
        if begun.elapsed() > TIME {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take()?, &mut said).ok()?;
    Some(said)
}

fn time(root: &Path) -> Finding {
    match clock::synced_by(root, Duration::from_secs(3)) {
        (true, source) => ok("clock", format!("is set by {source}")),
        (false, source) => warn(
            "clock",
            format!("is not synchronised ({source}); nothing is deleted by age"),
            "Connect it to a network with NTP, or give it the time: POST /api/time, docs/time.md.",
        ),
    }
}

fn throttle(health: &Health) -> Finding {
    let words = |names: &[String]| names.join(", ").replace('_', " ");
    if !health.throttled_now.is_empty() {
        let text = format!("at this moment: {}", words(&health.throttled_now));
        return fail(
            "power",
            text,
            "A supply of the right rating and a short, thick cable; a heat sink if it is hot.",
        );
    }
    if !health.throttled_since_boot.is_empty() {
        let text = format!("since it was started: {}", words(&health.throttled_since_boot));
        return warn(
            "power",
            text,
            "A supply of the right rating and a short, thick cable; under-voltage ruins cards.",
        );
    }
    match health.temperature_c {
        Some(degrees) if degrees >= 80.0 => warn(
            "power",
            format!("{degrees:.0} degC"),
            "A heat sink or a fan; from 80 degC on a Pi slows down.",
        ),
        Some(degrees) => ok("power", format!("no throttling, {degrees:.0} degC")),
        None => ok("power", "no throttling is told"),
    }
}

/// Room for the data. The database needs twice what it may keep, see docs/store.md.
fn disk(root: &Path, config: &Config) -> Finding {
    const LEAST: u64 = 50 << 20;
    let data = if config.data.is_absolute() && root != Path::new("/") {
        root.join(config.data.strip_prefix("/").unwrap_or(&config.data))
    } else {
        config.data.clone()
    };
    // The folder may not have been made yet.
    let there = data.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let Ok(stat) = rustix::fs::statvfs(there) else {
        return fail("disk", format!("{} can't be looked at", there.display()), "Is it mounted?");
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let used = fs::metadata(data.join("telltale.redb")).map_or(0, |meta| meta.len());
    let wanted = (2 * config.store.keep_bytes).saturating_sub(used);
    let size = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
    let text = format!("{} free for {}", size(free), data.display());
    if stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        fail(
            "disk",
            format!("{} is read-only", there.display()),
            "A card that fails is made read-only: see card; else remount it.",
        )
    } else if free < LEAST {
        fail("disk", text, "Make room: events wait in memory when it is full, and then are refused.")
    } else if free < wanted {
        let remedy = format!(
            "store.keep = {} may need {} more; lower it or make room.",
            size(config.store.keep_bytes),
            size(wanted)
        );
        warn("disk", text, remedy)
    } else {
        ok("disk", text)
    }
}

fn card(root: &Path) -> Finding {
    match host::card_errors(root) {
        None => ok("card", "there is no SD card"),
        Some((device, 0)) => ok("card", format!("{device}: no errors")),
        Some((device, errors)) => fail(
            "card",
            format!("{device}: its file systems have counted {errors} error(s)"),
            "Copy what matters off the card and replace it; check the supply for under-voltage.",
        ),
    }
}

fn text(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    fn write(root: &Path, path: &str, text: &str) {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// A Pi on which everything is as it should be, and a configuration with a pin and a port.
    fn pi(root: &Path) -> Overrides {
        write(
            root,
            "etc/telltale/telltale.toml",
            "[[gpio]]\nid = \"door\"\npin = 17\nstream = \"door\"\n[[serial]]\nid = \"scale\"\ndevice = \"/dev/ttyUSB0\"\nformat = \"json\"\nstream = \"scale\"\n",
        );
        write(root, "etc/group", "root:x:0:\ngpio:x:997:pi\ndialout:x:20:pi,telltale\n");
        write(
            root,
            "usr/lib/systemd/system/telltale.service",
            "[Service]\nSupplementaryGroups=gpio dialout\n",
        );
        write(root, "dev/gpiomem", "");
        write(root, "dev/ttyUSB0", "");
        write(
            root,
            "usr/lib/systemd/journald.conf.d/40-rpi-volatile-storage.conf",
            "[Journal]\nStorage=volatile\n",
        );
        write(root, "etc/systemd/journald.conf.d/60-telltale.conf", "[Journal]\n Storage=persistent\n");
        write(root, "sys/class/net/wlan0/wireless/x", "");
        write(root, "sys/class/net/eth0/operstate", "up\n");
        iw(root, "off");
        write(root, "run/systemd/timesync/synchronized", "");
        write(root, "sys/class/hwmon/hwmon1/name", "rpi_volt\n");
        write(root, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n");
        write(root, "sys/block/mmcblk0/device/cid", "0353445343333247801234567800d200\n");
        write(root, "sys/fs/ext4/mmcblk0p2/errors_count", "0\n");
        let flags = Flags {
            config: Some(root.join("etc/telltale/telltale.toml")),
            data: Some(root.join("data")),
            ..Flags::default()
        };
        Overrides { flags, env: BTreeMap::from([("TELLTALE_STORE_KEEP".into(), "1MiB".into())]) }
    }

    fn iw(root: &Path, state: &str) {
        let program = "#!/bin/sh\n[ \"$*\" = 'dev wlan0 get power_save' ] && echo 'Power save: STATE'\n";
        write(root, "usr/sbin/iw", &program.replace("STATE", state));
        fs::set_permissions(root.join("usr/sbin/iw"), PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// What is not ok.
    fn faults(root: &Path, overrides: &Overrides) -> Vec<(Grade, &'static str, String)> {
        let findings = examine(root, overrides);
        assert!(findings.iter().all(|f| (f.grade == Grade::Ok) == f.remedy.is_empty()), "{findings:?}");
        findings.into_iter().filter(|f| f.grade != Grade::Ok).map(|f| (f.grade, f.what, f.text)).collect()
    }

    #[test]
    fn a_host_in_order_has_no_faults() {
        let dir = tempfile::tempdir().unwrap();
        let overrides = pi(dir.path());
        assert_eq!(faults(dir.path(), &overrides), []);
        let told: Vec<_> = examine(dir.path(), &overrides).iter().map(|f| f.what).collect();
        for what in ["config", "groups", "devices", "journal", "wifi", "clock", "power", "disk", "card"] {
            assert!(told.contains(&what), "{what} is missing in {told:?}");
        }
    }

    #[test]
    fn each_fault_is_found() {
        type Break = fn(&Path);
        let table: [(&str, Break, Grade, &str); 12] = [
            ("config", |r| write(r, "etc/telltale/telltale.toml", "nmae = 1\n"), Grade::Fail, "did you mean"),
            ("groups", |r| write(r, "etc/group", "dialout:x:20:\n"), Grade::Fail, "no group gpio"),
            ("groups", |r| write(r, "usr/lib/systemd/system/telltale.service", ""), Grade::Warn, "into gpio"),
            ("devices", |r| fs::remove_file(r.join("dev/gpiomem")).unwrap(), Grade::Fail, "/dev/gpiomem"),
            (
                "devices",
                |r| fs::remove_file(r.join("dev/ttyUSB0")).unwrap(),
                Grade::Warn,
                "/dev/ttyUSB0 of scale",
            ),
            (
                "journal",
                |r| fs::remove_file(r.join("etc/systemd/journald.conf.d/60-telltale.conf")).unwrap(),
                Grade::Warn,
                "in memory only",
            ),
            ("wifi", |r| iw(r, "on"), Grade::Warn, "power saving is on"),
            ("wifi", |r| fs::remove_file(r.join("usr/sbin/iw")).unwrap(), Grade::Warn, "can't be told"),
            (
                "clock",
                |r| fs::remove_file(r.join("run/systemd/timesync/synchronized")).unwrap(),
                Grade::Warn,
                "not synchronised",
            ),
            (
                "power",
                |r| write(r, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n"),
                Grade::Fail,
                "under voltage",
            ),
            (
                "power",
                |r| write(r, "sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n"),
                Grade::Warn,
                "under voltage, throttled",
            ),
            ("card", |r| write(r, "sys/fs/ext4/mmcblk0p2/errors_count", "4\n"), Grade::Fail, "4 error(s)"),
        ];
        for (what, break_it, grade, words) in table {
            let dir = tempfile::tempdir().unwrap();
            let overrides = pi(dir.path());
            break_it(dir.path());
            let found = faults(dir.path(), &overrides);
            assert!(
                found.iter().any(|f| (f.0, f.1) == (grade, what) && f.2.contains(words)),
                "{what} {words}: {found:?}"
            );
        }
    }

    #[test]
    fn too_little_room_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut overrides = pi(dir.path());
        overrides.env.insert("TELLTALE_STORE_KEEP".into(), "1TiB".into());
        let found = faults(dir.path(), &overrides);
        assert!(found.iter().any(|f| f.1 == "disk"), "{found:?}");
    }

    #[test]
    fn without_drop_ins_the_folder_decides() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(journal(dir.path()).grade, Grade::Warn);
        fs::create_dir_all(dir.path().join("var/log/journal")).unwrap();
        assert_eq!(journal(dir.path()).grade, Grade::Ok);
        write(dir.path(), "etc/systemd/journald.conf", "[Journal]\nStorage=none\n");
        assert_eq!(journal(dir.path()).grade, Grade::Warn);
    }
}
