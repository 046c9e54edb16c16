//! Serial ports that misbehave, with the real binary and pseudo-terminals: whatever one port does, it is said in time,
//! is one alert, comes back by itself, and its neighbour loses nothing.

use crate::harness::{Daemon, Options, telltale, until};
use crate::pty::Device;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const STALE_AFTER: Duration = Duration::from_secs(1);

/// Two ports: `meter`, which gets into trouble, and a neighbour that sends numbered lines all the time.
struct Scene {
    daemon: Daemon,
    dir: tempfile::TempDir,
    stop: Arc<AtomicBool>,
    neighbour: Option<JoinHandle<(Device, u64)>>,
}

impl Scene {
    fn name(dir: &Path) -> PathBuf {
        dir.join("by-id")
    }

    /// Both ports are open and heard.
    fn new(more: &str) -> (Scene, Device) {
        let dir = tempfile::tempdir().unwrap();
        let (device, neighbour) = (Device::plugged_in_as(&Scene::name(dir.path())), Device::new());
        let config = format!(
            r#"
            [[serial]]
            id = "neighbour"
            device = "{}"
            format = "json"
            topic = "app/neighbour"

            [[serial]]
            id = "meter"
            name = "The meter"
            device = "{}"
            format = "json"
            instrument = "psu"
            stale_after = "1s"
            max_line = 64
            {more}
            "#,
            neighbour.path().display(),
            Scene::name(dir.path()).display(),
        );
        let daemon = Options::default().config(&config).start();
        let stop = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stop);
        let mut scene = Scene { daemon, dir, stop, neighbour: None };
        scene.until_source("neighbour", "the opening", |s| s["status"] == "no_data");
        // The first line may be taken for the rest of one.
        scene.neighbour = Some(std::thread::spawn(move || {
            neighbour.say(b"\n");
            let mut sent = 0;
            while !ends.load(Ordering::Relaxed) {
                neighbour.say(format!("{{\"n\":{sent}}}\n").as_bytes());
                sent += 1;
                // The pace of the device, not a wait for something.
                std::thread::sleep(Duration::from_millis(5));
            }
            (neighbour, sent)
        }));
        scene.until_source("meter", "the opening", |s| s["status"] == "no_data");
        device.say(b"\n");
        scene.speak(&device, 1.0);
        (scene, device)
    }

    fn state(&self, kind: &str, id: (&str, &str)) -> Value {
        let all = self.daemon.get("/api/state?topics=*").json();
        let all = all["state"].as_array().unwrap();
        let found = all.iter().find(|e| e["type"] == kind && e["payload"][id.0] == id.1);
        found.map_or(Value::Null, |e| e["payload"].clone())
    }

    fn meter(&self) -> Value {
        self.state("source_status", ("source_id", "meter"))
    }

    fn volts(&self) -> Value {
        self.state("instrument_status", ("instrument_id", "psu"))["channels"]["volts"].clone()
    }

    fn until_source(&self, id: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        until(what, || {
            let source = self.state("source_status", ("source_id", id));
            check(&source).then_some(source)
        })
    }

    /// A good line, which is taken.
    fn speak(&self, device: &Device, volts: f64) {
        device.say(format!("{{\"volts\":{volts}}}\n").as_bytes());
        until("the value", || {
            let now = self.volts();
            (now["value"] == volts && now["quality"] == "good").then_some(())
        });
        self.until_source("meter", "ok", |s| s["status"] == "ok");
    }

    /// What was published of an alert since the beginning.
    fn alerts(&self, id: &str) -> Vec<Value> {
        let all =
            self.daemon.get("/api/events?topics=alerts&types=alert&since=earliest&format=json&limit=10000");
        let all = all.json();
        let events = all["events"].as_array().unwrap().iter().map(|e| e["payload"].clone());
        events.filter(|alert| alert["alert_id"] == id).collect()
    }

    /// The trouble shows within its time: the source's state, its values, one alert.
    fn shows_trouble(&self, since: Instant, status: &str, alert: &str) {
        self.until_source("meter", status, |s| s["status"] == status);
        let took = since.elapsed();
        // A debug build on a loaded machine gets some grace.
        assert!(took < STALE_AFTER + Duration::from_secs(3), "{status} after {took:?}");
        until("the alert", || (!self.alerts("source.meter").is_empty()).then_some(()));
        assert_ne!(self.volts()["quality"], "good");
        let all = self.alerts("source.meter");
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0]["message"].as_str().unwrap().contains(alert), "{all:?}");
    }

    /// The device speaks sense again: it was one outage, it is over, and the neighbour lost nothing.
    fn recovers(mut self, device: Device, alert: &str) {
        device.say(b"\n");
        // All the time, so that a slow machine does not make it another outage.
        let stop = babbling(device, || {
            std::thread::sleep(Duration::from_millis(20));
            b"{\"volts\":2}\n".to_vec()
        });
        until("the value", || {
            let now = self.volts();
            (now["value"] == 2.0 && now["quality"] == "good").then_some(())
        });
        self.until_source("meter", "ok", |s| s["status"] == "ok");
        let all = until("the end of the alert", || {
            let all = self.alerts(alert);
            (all.len() >= 2).then_some(all)
        });
        let told: Vec<_> = all.iter().map(|a| (a["state"].clone(), a["occurrence"].clone())).collect();
        assert_eq!(told, [(json!("active"), json!(1)), (json!("cleared"), json!(1))]);
        self.stop.store(true, Ordering::Relaxed);
        let (_neighbour, sent) = self.neighbour.take().unwrap().join().unwrap();
        assert!(sent > 20);
        let came = until("the neighbour's last line", || {
            let all = self
                .daemon
                .get("/api/events?topics=app/neighbour&types=reading&since=earliest&format=json&limit=10000")
                .json();
            let all: Vec<u64> = all["events"]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| e["payload"]["data"]["n"].as_f64().unwrap() as u64)
                .collect();
            (all.last() == Some(&(sent - 1))).then_some(all)
        });
        assert_eq!(came, (0..sent).collect::<Vec<_>>());
        let own = self.until_source("neighbour", "all counted", |s| s["detail"]["lines"] == sent);
        assert_eq!((&own["status"], &own["detail"]["bad_lines"]), (&json!("ok"), &json!(0)));
        assert_eq!(self.alerts("source.neighbour"), [] as [Value; 0]);
        assert_eq!(self.alerts(alert).len(), 2);
        stop();
    }
}

/// A device that repeats itself until it is told not to.
fn babbling(device: Device, mut next: impl FnMut() -> Vec<u8> + Send + 'static) -> impl FnOnce() -> Device {
    let stop = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        while !ends.load(Ordering::Relaxed) {
            device.say(&next());
        }
        device
    });
    move || {
        stop.store(true, Ordering::Relaxed);
        thread.join().unwrap()
    }
}

/// The same bytes in every run, that look like chance.
fn noise() -> impl FnMut() -> u8 {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    }
}

#[test]
fn unplugged_and_plugged_in_again() {
    let (scene, device) = Scene::new("");
    let since = Instant::now();
    drop(device);
    scene.shows_trouble(since, "absent", "The meter is unplugged");
    assert_eq!(scene.volts()["quality_reason"], "not_connected");
    let device = Device::plugged_in_as(&Scene::name(scene.dir.path()));
    scene.until_source("meter", "the reopening", |s| s["status"] != "absent");
    assert_eq!(scene.meter()["reconnects"], 1);
    scene.recovers(device, "source.meter");
}

#[test]
fn garbage() {
    let (scene, device) = Scene::new("");
    let since = Instant::now();
    let mut random = noise();
    let stop = babbling(device, move || {
        std::thread::sleep(Duration::from_millis(1));
        (0..40).map(|_| random()).chain([b'\n']).collect()
    });
    scene.shows_trouble(since, "error", "is the speed right?");
    assert_eq!(scene.volts()["quality_reason"], "comm_error");
    let device = stop();
    let last = scene.meter()["detail"]["last_bad"].clone();
    assert!(last["line"].as_str().unwrap().contains("\\x"), "{last}");
    // Once for the first line, once for the outage, however many there were.
    let said = scene.daemon.log().matches("not understood").count();
    assert!(said <= 2, "{said}:\n{}", scene.daemon.log());
    scene.recovers(device, "source.meter");
}

#[test]
fn half_lines() {
    let (scene, device) = Scene::new("");
    let since = Instant::now();
    let mut half = false;
    let stop = babbling(device, move || {
        std::thread::sleep(Duration::from_millis(5));
        half = !half;
        if half { b"{\"volts\":\n".to_vec() } else { b"9.5}\n".to_vec() }
    });
    scene.shows_trouble(since, "error", "nothing of it is understood");
    assert_eq!(scene.volts()["value"], 1.0, "9.5 was never said");
    scene.recovers(stop(), "source.meter");
}

#[test]
fn a_line_of_a_megabyte() {
    let (scene, device) = Scene::new("");
    let before = scene.daemon.rss();
    let since = Instant::now();
    device.say(&vec![b'x'; 1 << 20]);
    scene.shows_trouble(since, "stale", "The meter ");
    let source = scene.until_source("meter", "all of it", |s| s["detail"]["bytes"].as_u64() > Some(1 << 20));
    assert_eq!((&source["detail"]["overlong"], &source["detail"]["bad_lines"]), (&json!(1), &json!(1)));
    let grown = scene.daemon.rss().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for a line of which 64 may be kept");
    scene.recovers(device, "source.meter");
}

#[test]
fn silence() {
    let (scene, device) = Scene::new("");
    let since = Instant::now();
    scene.shows_trouble(since, "stale", "The meter is silent for 1s");
    // An adapter that stalls does not say so: it is opened anew, once, and it is still the same outage.
    let source = scene.until_source("meter", "the reopening", |s| s["reconnects"] == 1);
    assert_eq!((&source["detail"]["stalls"], &source["status"]), (&json!(1), &json!("stale")));
    scene.recovers(device, "source.meter");
}

/// As fast as a pseudo-terminal takes it, which no UART is.
#[test]
fn a_flood() {
    let (scene, device) = Scene::new("max_rate = 200");
    let stop = babbling(device, || b"{\"volts\":3.5}\n".repeat(100));
    until("the alert", || (!scene.alerts("source.meter.flood").is_empty()).then_some(()));
    scene.until_source("meter", "enough of it", |s| s["detail"]["dropped"].as_u64() > Some(20_000));
    // It is understood: what is shown is what it says.
    assert_eq!((&scene.meter()["status"], &scene.volts()["value"]), (&json!("ok"), &json!(3.5)));
    let device = stop();
    scene.speak(&device, 4.5);
    let detail = scene.meter()["detail"].clone();
    assert_eq!(detail["bad_lines"], 0);
    // Each line is 14 bytes long: all that came is counted, what was taken and what was dropped.
    let lines = detail["lines"].as_u64().unwrap();
    assert!(lines > 20_000 && detail["dropped"].as_u64().unwrap() < lines, "{detail}");
    scene.recovers(device, "source.meter.flood");
}

/// What a UART makes of lines at another speed: bytes of a few patterns, hardly ever a line end.
#[test]
fn a_wrong_speed() {
    let (scene, device) = Scene::new("");
    let since = Instant::now();
    let mut random = noise();
    let stop = babbling(device, move || {
        std::thread::sleep(Duration::from_millis(1));
        (0..12).map(|_| [0x00, 0x80, 0xf8, 0xfe, 0xe6, 0x98, 0x78, 0x1e][usize::from(random()) % 8]).collect()
    });
    scene.shows_trouble(since, "error", "is the speed right?");
    let device = stop();
    scene.recovers(device, "source.meter");
}

#[test]
fn a_second_telltale_is_told_that_the_port_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let _device = Device::plugged_in_as(&dir.path().join("port"));
    let port = dir.path().join("port").display().to_string();
    let config =
        format!("[[serial]]\nid = \"meter\"\ndevice = \"{port}\"\nformat = \"json\"\nstream = \"t\"\n");
    let source = |daemon: &Daemon, status: &str| {
        until(status, || {
            let all = daemon.get("/api/state?topics=system").json();
            let all = all["state"].as_array().unwrap();
            let found = all.iter().find(|e| e["payload"]["source_id"] == "meter")?;
            (found["payload"]["status"] == status).then(|| found["payload"].clone())
        })
    };
    let first = Options::default().config(&config).start();
    source(&first, "no_data");
    let second = Options::default().config(&config).start();
    let refused = source(&second, "error");
    assert!(refused["last_error"].as_str().unwrap().contains("another program holds it"), "{refused}");
    let out = dir.path().join("c");
    let capture = telltale(&["capture", "--device", &port, "--out", out.to_str().unwrap()]).run();
    assert_eq!(capture.code, 3, "{capture:?}");
    assert!(capture.stderr.contains("a running telltale holds its ports"), "{capture:?}");
    drop(first);
    source(&second, "no_data");
}

/// From a device to a file, from the file to a tty, from there to a second daemon; and by itself.
#[test]
fn a_capture_is_played_again_to_the_last_byte() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::new();
    let file = dir.path().join("meter.capture");
    let capture = telltale(&[
        "capture",
        "--device",
        device.path().to_str().unwrap(),
        "--out",
        file.to_str().unwrap(),
        "--for",
        "20s",
    ]);
    let mut capture = capture.command().spawn().unwrap();
    until("the capture to listen", || {
        std::fs::read_to_string(&file).ok()?.contains("telltale capture").then_some(())
    });
    let mut random = noise();
    let mut said = Vec::new();
    for n in 0..50 {
        said.extend(format!("{{\"n\":{n}}}\n").bytes());
        said.extend((0..20).map(|_| random()).filter(|byte| !matches!(byte, b'\n' | b'\r')));
        said.push(b'\n');
    }
    device.say(&said);
    until("all of it in the file", || (bytes_of(&file) == said).then_some(()));
    let status =
        std::process::Command::new("kill").args(["-INT", &capture.id().to_string()]).status().unwrap();
    assert!(status.success());
    assert!(capture.wait().unwrap().success());

    let played = telltale(&["replay", file.to_str().unwrap(), "--rate", "0"]).command().output().unwrap();
    assert!(played.status.success());
    assert_eq!(played.stdout, said);

    let tty = dir.path().join("tty");
    let config = format!(
        "[[serial]]\nid = \"tty\"\ndevice = \"{}\"\nformat = \"json\"\ntopic = \"app/tty\"\n\
         [[serial]]\nid = \"file\"\nreplay = \"{}\"\nreplay_rate = 0\nformat = \"json\"\ntopic = \"app/file\"\n",
        tty.display(),
        file.display()
    );
    let daemon = Options::default().config(&config).start();
    let mut play =
        telltale(&["replay", file.to_str().unwrap(), "--loop", "--rate", "0", "--to", tty.to_str().unwrap()])
            .command()
            .spawn()
            .unwrap();
    let readings = |topic: &str| -> Vec<u64> {
        let all = daemon
            .get(&format!(
                "/api/events?topics=app/{topic}&types=reading&since=earliest&format=json&limit=10000"
            ))
            .json();
        let all = all["events"].as_array().unwrap();
        all.iter().map(|e| e["payload"]["data"]["n"].as_f64().unwrap() as u64).collect()
    };
    let all: Vec<u64> = (0..50).collect();
    until("the file", || (readings("file") == all).then_some(()));
    // The tty's reader comes in the middle; after one turn everything has come once.
    until("the tty", || readings("tty").windows(50).any(|part| part == all).then_some(()));
    let _ = play.kill();
    let _ = play.wait();
}

/// What a capture holds of what came.
fn bytes_of(capture: &Path) -> Vec<u8> {
    let played = telltale(&["replay", capture.to_str().unwrap(), "--rate", "0"]).command().output().unwrap();
    played.stdout
}

/// A log of a GPS receiver, or whatever was kept of a port by other means.
#[test]
fn any_file_of_lines_is_a_source() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log.txt");
    let lines: String = (0..200).map(|n| format!("{n};{}\n", n * 2)).collect();
    std::fs::write(&file, lines).unwrap();
    let config = format!(
        "[[serial]]\nid = \"log\"\nreplay = \"{}\"\nbaud = 115200\nformat = \"csv\"\nseparator = \";\"\ninstrument = \"old\"\nstale_after = \"500ms\"\nalert = false\n",
        file.display()
    );
    let daemon = Options::default().config(&config).start();
    let find = |kind: &str| {
        let all = daemon.get("/api/state?topics=*").json();
        let all = all["state"].as_array().unwrap().clone();
        all.into_iter().find(|e| e["type"] == kind).map(|e| e["payload"].clone())
    };
    let source = until("the end", || find("source_status").filter(|s| s["status"] == "stale"));
    assert_eq!(
        (&source["kind"], &source["detail"]["lines"], &source["detail"]["replay"]),
        (&json!("replay"), &json!(200), &json!(true))
    );
    let old = find("instrument_status").unwrap();
    assert_eq!(
        (&old["instrument_name"], &old["channels"]["1"]["value"]),
        (&json!("old (replay)"), &json!(398.0))
    );
}

#[test]
fn names_that_change_are_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.toml");
    std::fs::write(
        &file,
        "[[serial]]\nid = \"gps\"\ndevice = \"/dev/ttyUSB7\"\nformat = \"json\"\nstream = \"t\"\n",
    )
    .unwrap();
    let done = telltale(&["check", "--config", file.to_str().unwrap()]).run();
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.stderr.contains("serial gps: `/dev/ttyUSB7` may be another device after the next plug"),
        "{done:?}"
    );
}
