//! The clock: set while it runs, while it is down, by hand, by years.

use crate::harness::{Daemon, Options, until};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A clock that is played, and a data folder that outlives a daemon.
struct Box {
    dir: tempfile::TempDir,
}

impl Box {
    fn new(clock: &str) -> Box {
        let it = Box { dir: tempfile::tempdir().unwrap() };
        it.set(clock);
        it
    }
    fn file(&self) -> PathBuf {
        self.dir.path().join("clock")
    }
    /// `synced|unsynced [ms ahead] [boot]`, whole or not at all.
    fn set(&self, clock: &str) {
        let new = self.dir.path().join("clock.new");
        std::fs::write(&new, clock).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }
    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
    fn start(&self, config: &str) -> Daemon {
        let file = self.file();
        let options = Options { config: Some(config.into()), ..Options::default() };
        options.env("TELLTALE_CLOCK_FILE", file.to_str().unwrap()).start_in(Path::new(&self.data()))
    }
}

const HOUR: i64 = 3_600_000;
const FAST: &str = "[store]\ncommit = \"20ms\"\n";

fn millis(event: &Value, member: &str) -> i64 {
    let text = event[member].as_str().unwrap_or_else(|| panic!("no {member} in {event}"));
    let time = humantime::parse_rfc3339(text).unwrap();
    time.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

fn real() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

fn notes(daemon: &Daemon) -> Vec<Value> {
    let answer = daemon.get("/api/events?topics=app/t&since=earliest&limit=10000").json();
    assert!(answer["gap"].is_null(), "{answer}");
    answer["events"].as_array().unwrap().clone()
}

/// Waits until the daemon has noticed the last step, and gives its line.
fn step(daemon: &Daemon, count: usize) -> Value {
    until("the step to be told", || {
        let answer = daemon.get("/api/events?topics=log&types=log&since=earliest").json();
        let lines: Vec<Value> = answer["events"].as_array().unwrap().clone();
        let lines: Vec<_> = lines.into_iter().filter(|e| e["payload"]["source"] == "clock").collect();
        (lines.len() == count).then(|| lines[count - 1].clone())
    })
}

/// Publishes one that is on the disk when this returns.
fn durable(daemon: &Daemon, n: u64) {
    let body = format!(r#"{{"type":"test","topic":"app/t","payload":{{"n":{n}}}}}"#);
    assert_eq!(daemon.post("/api/events?durable=true", &body).status, 201);
}

fn close(a: i64, b: i64) -> bool {
    (a - b).abs() < 5_000
}

#[test]
fn what_was_published_before_the_clock_was_set_is_corrected_when_it_is_read_again() {
    let it = Box::new(&format!("unsynced {}", -2 * HOUR));
    let mut daemon = it.start(FAST);
    let mut live = daemon.stream("topics=app/t,log,system", None);
    for n in 0..5 {
        daemon.publish("app/t", &format!("{{\"n\":{n}}}"));
    }
    let frame = live.wait("test").json();
    assert_eq!(frame["clock"], "unsynced");
    assert!(frame["corrected"].is_null());
    assert!(close(millis(&frame, "timestamp"), real() - 2 * HOUR));

    // An hour forward, but still nobody vouches for it; then the rest, by a time source.
    it.set(&format!("unsynced {}", -HOUR));
    let said = step(&daemon, 1);
    assert_eq!(said["payload"]["level"], "WARNING");
    assert!(said["payload"]["message"].as_str().unwrap().contains("forward"), "{said}");
    assert!((said["payload"]["data"]["delta_s"].as_f64().unwrap() - 3_600.0).abs() < 1.0, "{said}");
    daemon.publish("app/t", "{\"n\":5}");
    it.set("synced 0");
    step(&daemon, 2);
    daemon.publish("app/t", "{\"n\":6}");

    let check = |daemon: &Daemon| {
        let read = notes(daemon);
        assert_eq!(
            read.iter().map(|e| e["payload"]["n"].as_i64().unwrap()).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5, 6]
        );
        for event in &read[..6] {
            let ahead = if event["payload"]["n"] == 5 { HOUR } else { 2 * HOUR };
            assert_eq!(event["clock"], "unsynced");
            let (told, corrected) = (millis(event, "timestamp"), millis(event, "corrected"));
            assert!((corrected - told - ahead).abs() < 200, "{event}");
        }
        assert!(read[6]["corrected"].is_null() && read[6]["clock"].is_null(), "{}", read[6]);
        let best: Vec<_> = read
            .iter()
            .map(|e| millis(e, if e["corrected"].is_null() { "timestamp" } else { "corrected" }))
            .collect();
        assert!(
            best.windows(2).all(|w| w[0] <= w[1]),
            "corrected times are in the order of the ids: {best:?}"
        );
        read
    };
    let read = check(&daemon);
    // The other ways to read it: resuming a stream, a snapshot, NDJSON.
    let mut resumed = daemon.stream("topics=app/t&since=earliest", None);
    assert_eq!(resumed.wait("test").json()["corrected"], read[0]["corrected"]);
    let lines = daemon
        .request("GET", "/api/events?topics=app/t&since=earliest&limit=1&format=ndjson", &[], b"")
        .text();
    assert!(lines.lines().any(|line| line.contains("\"corrected\"")), "{lines}");
    let log = daemon.get("/api/log?source=clock").json();
    let marks: Vec<_> = log["items"].as_array().unwrap().iter().map(|l| l["clock"].as_str()).collect();
    assert_eq!(marks, [None, Some("unsynced")], "{log}");
    let state = daemon.get("/api/state?topics=system").json();
    let config =
        state["state"].as_array().unwrap().iter().find(|e| e["type"] == "config_changed").unwrap().clone();
    assert!((millis(&config, "corrected") - millis(&config, "timestamp") - 2 * HOUR).abs() < 200, "{config}");

    // From the disk, and after a restart in the same boot.
    assert_eq!(daemon.stop(), 0);
    let mut daemon = it.start(FAST);
    assert_eq!(check(&daemon), read);
    assert_eq!(daemon.get("/api/time").json()["steps"].as_array().unwrap().len(), 2);
    daemon.kill();
    let daemon = it.start(FAST);
    assert_eq!(check(&daemon), read);
    // Another boot: its clock is its own, what was known stays.
    drop(daemon);
    it.set(&format!("unsynced {} another", 5 * HOUR));
    let daemon = it.start(FAST);
    assert_eq!(check(&daemon), read);
    assert!(daemon.get("/api/time").json()["steps"].as_array().unwrap().is_empty());
    daemon.publish("app/t", "{\"n\":7}");
    it.set("synced 0 another");
    step(&daemon, 3);
    let after = notes(&daemon);
    assert_eq!(after[..7], read[..]);
    assert!(
        (millis(&after[7], "corrected") - millis(&after[7], "timestamp") + 5 * HOUR).abs() < 200,
        "{}",
        after[7]
    );
}

#[test]
fn a_clock_that_is_set_while_telltale_is_down_corrects_too() {
    let it = Box::new(&format!("unsynced {}", -HOUR));
    let mut daemon = it.start(FAST);
    daemon.publish("app/t", "{\"n\":0}");
    assert_eq!(daemon.stop(), 0);
    it.set("synced 0");
    let daemon = it.start(FAST);
    step(&daemon, 1);
    let read = notes(&daemon);
    assert!(
        (millis(&read[0], "corrected") - millis(&read[0], "timestamp") - HOUR).abs() < 200,
        "{}",
        read[0]
    );
}

#[test]
fn an_hour_back_does_not_change_the_order() {
    let it = Box::new("synced 0");
    let daemon = it.start(FAST);
    let first = daemon.publish("app/t", "{\"n\":0}");
    it.set(&format!("synced {}", -HOUR));
    let said = step(&daemon, 1);
    assert!(said["payload"]["message"].as_str().unwrap().contains("back"), "{said}");
    daemon.publish("app/t", "{\"n\":1}");
    let read = notes(&daemon);
    assert_eq!((read[0]["payload"]["n"].as_i64(), read[1]["payload"]["n"].as_i64()), (Some(0), Some(1)));
    assert!(
        millis(&read[1], "timestamp") < millis(&read[0], "timestamp"),
        "the label went back, the order did not"
    );
    assert!(read[0]["corrected"].is_null(), "a clock that was vouched for is not corrected");
    let mut resumed = daemon.stream("topics=app/t", Some(&first));
    assert_eq!(resumed.wait("test").payload()["n"], 1);
}

/// A clock that jumps to 2037 must not empty the store. The control: the same store opened in another boot, where nothing
/// is known of a jump, does let the old records go.
#[test]
fn a_jump_to_2037_deletes_nothing() {
    let years = (2_114_380_800_000 - real()).max(10_000_000_000);
    let config = "[store]\ncommit = \"20ms\"\nkeep_age = \"1h\"\n";
    let it = Box::new("synced 0");
    let mut daemon = it.start(config);
    daemon.publish("app/t", "{\"n\":0}");
    it.set(&format!("synced {years}"));
    step(&daemon, 1);
    for n in 1..4 {
        durable(&daemon, n);
    }
    assert_eq!(notes(&daemon).len(), 4);
    assert_eq!(daemon.get("/api/time").json()["age_may_be_trusted"], false);
    assert_eq!(daemon.stop(), 0);
    // Nor after a restart.
    let mut daemon = it.start(config);
    durable(&daemon, 4);
    assert_eq!(notes(&daemon).len(), 5);
    assert_eq!(daemon.stop(), 0);
    // Nor in another boot that nobody vouches for.
    it.set(&format!("unsynced {} another", 2 * years));
    let mut daemon = it.start(config);
    durable(&daemon, 5);
    assert_eq!(notes(&daemon).len(), 6);
    assert_eq!(daemon.stop(), 0);
    it.set(&format!("synced {} third", 2 * years));
    let daemon = it.start(config);
    durable(&daemon, 6);
    durable(&daemon, 7);
    let left = daemon.get("/api/events?topics=app/t&since=earliest&limit=10000").json();
    let left: Vec<_> =
        left["events"].as_array().unwrap().iter().map(|e| e["payload"]["n"].as_i64().unwrap()).collect();
    assert!(left.contains(&7) && !left.contains(&0), "by then they are old: {left:?}");
}

#[test]
fn a_person_may_say_what_time_it_is() {
    let it = Box::new(&format!("unsynced {}", -100 * HOUR));
    let mut daemon = it.start(FAST);
    daemon.publish("app/t", "{\"n\":0}");
    let text = |ms: i64| {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms as u64);
        humantime::format_rfc3339_millis(at).to_string()
    };
    for (body, status) in [
        ("{}".to_string(), 400),
        (r#"{"now":"yesterday"}"#.into(), 400),
        (r#"{"now":"1970-01-01T00:00:00.000Z"}"#.into(), 422),
        (r#"{"now":"9999-01-01T00:00:00.000Z"}"#.into(), 422),
        (format!(r#"{{"now":"{}","by":"Ada"}}"#, text(real())), 200),
    ] {
        assert_eq!(daemon.post("/api/time", &body).status, status, "{body}");
    }
    let told = step(&daemon, 1);
    assert!((told["payload"]["data"]["delta_s"].as_f64().unwrap() - 360_000.0).abs() < 5.0, "{told}");
    let time = daemon.get("/api/time").json();
    assert_eq!(
        (&time["quality"], &time["source"], &time["by"]),
        (&"manual".into(), &"browser".into(), &"Ada".into())
    );
    assert!((time["offset_s"].as_f64().unwrap() - 360_000.0).abs() < 5.0, "{time}");
    assert_eq!(time["age_may_be_trusted"], false);
    durable(&daemon, 1);
    let read = notes(&daemon);
    assert!(close(millis(&read[0], "corrected"), real()), "{}", read[0]);
    assert!(close(millis(&read[1], "timestamp"), real()));
    assert_eq!(read[1]["clock"], "unsynced", "a person's word may be wrong, and be corrected later");
    let health = daemon.get("/api/system").json()["health"]["clock"].clone();
    assert!(health.is_null() || health["quality"].is_string(), "{health}");

    // It is kept within the boot, and given up on request.
    daemon.kill();
    let daemon = it.start(FAST);
    assert_eq!(daemon.get("/api/time").json()["quality"], "manual");
    assert_eq!(daemon.request("DELETE", "/api/time", &[], b"").json()["quality"], "unsynced");
    step(&daemon, 2);
    assert!(close(millis(&daemon.get("/api/time").json(), "now"), real() - 100 * HOUR));
    let body = format!(r#"{{"now":"{}","confirm":true}}"#, text(real()));
    assert_eq!(daemon.post("/api/time", &body).json()["confirmed"], true);
    daemon.publish("app/t", "{\"n\":2}");
    assert!(notes(&daemon)[2]["clock"].is_null(), "somebody vouches for it");

    // A time source knows better.
    it.set("synced 7000");
    until("the time source to be believed", || {
        (daemon.get("/api/time").json()["quality"] == "synced").then_some(())
    });
    assert!(daemon.get("/api/time").json()["offset_s"].is_null());
    let refused = daemon.post("/api/time", &body);
    assert_eq!((refused.status, refused.json()["type"].as_str()), (409, Some("synced")));
    // Another boot knows nothing of it.
    drop(daemon);
    it.set(&format!("unsynced {} another", -100 * HOUR));
    let daemon = it.start(FAST);
    assert_eq!(daemon.get("/api/time").json()["quality"], "unsynced");
}

#[test]
fn only_admins_set_the_time() {
    let it = Box::new("unsynced 0");
    let config = format!("{FAST}[access]\ntrust_loopback = false\n");
    let daemon = it.start(&config);
    assert_eq!(daemon.get("/api/time").status, 200);
    assert_eq!(daemon.post("/api/time", r#"{"now":"2026-01-07T15:30:00.000Z"}"#).status, 401);
    assert_eq!(daemon.request("DELETE", "/api/time", &[], b"").status, 401);
}
