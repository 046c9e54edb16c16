//! The simulated bench through the real binary: all five systems move, commands end by their effect, faults show and heal.

use crate::harness::{Daemon, Options, telltale, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

/// The state: payloads by type.
fn state(daemon: &Daemon, topics: &str) -> Vec<(String, Value)> {
    let answer = daemon.get(&format!("/api/state?topics={topics}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut answer = answer.json();
    let envelopes = answer["state"].as_array_mut().unwrap().drain(..);
    envelopes.map(|mut e| (e["type"].as_str().unwrap().to_string(), e["payload"].take())).collect()
}

fn one(daemon: &Daemon, topics: &str, kind: &str, field: &str, id: &str) -> Option<Value> {
    state(daemon, topics).into_iter().find(|(k, p)| k == kind && p[field] == id).map(|(_, payload)| payload)
}

fn fault(daemon: &Daemon, source: &str, fault: &str, on: bool) {
    let answer =
        daemon.post("/api/bench/faults", &json!({"source": source, "fault": fault, "on": on}).to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn every_system_is_there_within_seconds_of_the_start() {
    let daemon = Daemon::bench();
    let wanted = [
        "recorder_status",
        "job_status",
        "instrument_status",
        "queue_status",
        "scan_status",
        "signal_status",
        "stream_value",
        "stream_status",
        "detection_summary",
        "service_status",
        "source_status",
        "system_health",
    ];
    until("every kind of state but jobs", || {
        let kinds: BTreeSet<_> = state(&daemon, "*").into_iter().map(|(kind, _)| kind).collect();
        wanted.iter().filter(|kind| **kind != "job_status").all(|kind| kinds.contains(*kind)).then_some(())
    });
    let mut stream = daemon.stream("topics=*", None);
    let mut missing: BTreeSet<_> =
        ["data_point", "signal_batch", "detection", "recorder_status", "stream_value"].into();
    while !missing.is_empty() {
        missing.remove(&*stream.next_real().expect("the stream goes on").event);
    }
}

#[test]
fn a_command_ends_when_its_effect_is_there() {
    let daemon = Daemon::bench();
    until("the queue", || {
        one(&daemon, "queue/*", "queue_status", "queue_id", "QUEUE_001")?["current_scan"].as_str().map(drop)
    });
    let mut stream = daemon.stream("topics=queue/QUEUE_001,scan/*", None);
    stream.wait("snapshot");
    let answer = daemon.post("/api/queues/QUEUE_001/pause", r#"{"command_id":"it-pause"}"#);
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.json()["state"], "accepted");
    let mut paused = false;
    loop {
        let frame = stream.next_real().expect("the stream goes on");
        match frame.event.as_str() {
            "queue_status" => paused = frame.payload()["status"] == "paused",
            "command_result" if frame.payload()["command_id"] == "it-pause" => {
                assert_eq!(frame.payload()["state"], "completed");
                assert!(paused, "the status comes before the end of the command");
                break;
            }
            _ => {}
        }
    }
    let answer = daemon.post("/api/queues/QUEUE_001/resume", "{}");
    assert_eq!(answer.status, 202, "{}", answer.text());
    until("the queue to run", || {
        (one(&daemon, "queue/*", "queue_status", "queue_id", "QUEUE_001")?["status"] == "running")
            .then_some(())
    });
}

/// How a command ended.
fn end_of(daemon: &Daemon, path: &str, mut body: Value) -> Value {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let id = format!("it-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    body["command_id"] = id.as_str().into();
    let answer = daemon.post(path, &body.to_string());
    assert_eq!(answer.status, 202, "{}", answer.text());
    until(path, || {
        let result = daemon.get(&format!("/api/commands/{id}")).json();
        (result["state"] != "accepted").then_some(result)
    })
}

fn recorder(daemon: &Daemon) -> Value {
    one(daemon, "recorder/*", "recorder_status", "recorder_id", "rec1").unwrap_or_default()
}

fn instrument(daemon: &Daemon, id: &str) -> Value {
    one(daemon, "instrument/*", "instrument_status", "instrument_id", id).unwrap_or_default()
}

#[test]
fn the_recorder_is_commanded_over_its_port() {
    let daemon = Daemon::bench();
    until("the recorder", || recorder(&daemon)["level_db"].is_number().then_some(()));
    assert_eq!(end_of(&daemon, "/api/recorders/rec1/auto", json!({ "on": false }))["state"], "completed");
    if recorder(&daemon)["recording"].is_string() {
        // What it had begun by itself goes on until it is stopped or quiet.
        let answer = daemon.post("/api/recorders/rec1/stop", "{}");
        assert!(matches!(answer.status, 200 | 202 | 409), "{}", answer.text());
    }
    until("rest", || (recorder(&daemon)["status"] == "idle").then_some(()));
    assert_eq!(end_of(&daemon, "/api/recorders/rec1/start", json!({}))["state"], "completed");
    let now = recorder(&daemon);
    let first = now["recording"].as_str().expect("it records").to_string();
    assert_eq!((&now["triggers"], &now["max_s"]), (&json!(["manual"]), &json!(90.0)));
    assert_eq!(end_of(&daemon, "/api/recorders/rec1/split", json!({}))["state"], "completed");
    assert_ne!(recorder(&daemon)["recording"], first.as_str());
    assert_eq!(end_of(&daemon, "/api/recorders/rec1/stop", json!({}))["state"], "completed");
    let now = recorder(&daemon);
    assert_eq!((&now["status"], &now["last_stop"]["reason"]), (&json!("idle"), &json!("stopped by hand")));
}

#[test]
fn instruments_are_asked_and_set_over_their_ports() {
    let daemon = Daemon::bench();
    let volts = |daemon: &Daemon| instrument(daemon, "psu")["channels"]["voltage"]["value"].as_f64();
    let scan = until("a scan that has the supply", || {
        instrument(&daemon, "psu")["used_by"].as_str().map(str::to_string)
    });
    let refused = daemon.post("/api/instruments/psu/set", r#"{"channel":"voltage","value":1}"#);
    assert_eq!((refused.status, &refused.json()["type"]), (409, &json!("in_use")), "{}", refused.text());
    let moved = end_of(&daemon, "/api/instruments/stage/set", json!({ "channel": "x", "value": 12.5 }));
    assert_eq!(moved["state"], "completed", "{moved}");
    let stage = until("the stage", || {
        Some(instrument(&daemon, "stage")).filter(|stage| stage["position"]["x"] == 12.5)
    });
    assert_eq!((&stage["kind"], &stage["channels"]["x"]["moving"]), (&json!("movement"), &json!(false)));
    assert_eq!(stage["settings"]["speed_mm_s"], 15.0);
    let ended = daemon.post(&format!("/api/scans/{scan}/abort"), "{}");
    assert!(matches!(ended.status, 200 | 202), "{}", ended.text());
    until("a free supply", || instrument(&daemon, "psu")["used_by"].is_null().then_some(()));
    // Whoever aborted a scan wants the queue to wait for him.
    until("the queue to wait", || {
        let queue = one(&daemon, "queue/*", "queue_status", "queue_id", "QUEUE_001")?;
        (queue["status"] == "paused" && queue["pause_reason"] == "scan_aborted").then_some(())
    });
    let set = end_of(&daemon, "/api/instruments/psu/set", json!({ "channel": "voltage", "value": 1.5 }));
    assert_eq!(set["state"], "completed", "{set}");
    until("1.5 V", || volts(&daemon).filter(|v| (v - 1.5).abs() < 0.01));
}

/// The stage is stopped on its way, and says that it was.
#[test]
fn the_stage_is_stopped_where_it_is() {
    let daemon = Daemon::bench();
    let stage = || instrument(&daemon, "stage");
    until("the stage", || stage()["position"]["x"].is_number().then_some(()));
    let x = stage()["position"]["x"].as_f64().unwrap();
    let far = if x > 50.0 { 0.0 } else { 100.0 };
    let body = json!({ "channel": "x", "value": far, "command_id": "it-far" }).to_string();
    assert_eq!(daemon.post("/api/instruments/stage/set", &body).status, 202);
    until("it to move", || (stage()["channels"]["x"]["moving"] == true).then_some(()));
    assert_eq!(stage()["status"], "moving");
    assert_eq!(end_of(&daemon, "/api/instruments/stage/stop", json!({}))["state"], "completed");
    let ended = until("the end of the move", || {
        let result = daemon.get("/api/commands/it-far").json();
        (result["state"] != "accepted").then_some(result)
    });
    assert_ne!(ended["state"], "completed", "{ended}");
    until("rest", || (stage()["channels"]["x"]["moving"] == false).then_some(()));
    assert!((stage()["position"]["x"].as_f64().unwrap() - far).abs() > 1.0, "{}", stage());
}

/// Faults of what is at a port strike its wire; the source tells them as it would those of a real device.
#[test]
fn a_fault_of_a_port_shows_and_heals() {
    let daemon = Daemon::bench();
    let ids = ["rec1", "psu", "dmm", "stage"];
    let source = |id: &str| one(&daemon, "system", "source_status", "source_id", id).unwrap_or_default();
    let all = |what: &str, wanted: &[&str]| {
        until(what, || ids.iter().all(|id| wanted.iter().any(|w| source(id)["status"] == **w)).then_some(()));
    };
    all("the ports", &["ok"]);
    for id in ids {
        let source = source(id);
        assert_eq!((&source["kind"], &source["detail"]["simulated"]), (&json!("serial"), &json!(true)));
        assert!(daemon.data.join("bench").join(id).exists());
    }
    for (name, shows) in [("disconnect", "absent"), ("garbage", "error"), ("stall", "stale")] {
        ids.iter().for_each(|id| fault(&daemon, id, name, true));
        all(name, &[shows]);
        assert_eq!(daemon.data.join("bench/psu").symlink_metadata().is_ok(), name != "disconnect");
        until("the recorder to be offline", || (recorder(&daemon)["status"] == "offline").then_some(()));
        assert!(recorder(&daemon).get("level_db").is_none(), "no number is invented");
        let psu = until("the supply to be lost", || {
            let psu = instrument(&daemon, "psu");
            (psu["status"] == "error" || psu["status"] == "disconnected").then_some(psu)
        });
        assert_ne!(psu["channels"]["voltage"]["quality"], "good");
        let alert =
            || one(&daemon, "alerts", "alert", "alert_id", "source.psu").map(|alert| alert["state"].clone());
        until("an alert", || (alert()? == "active").then_some(()));
        ids.iter().for_each(|id| fault(&daemon, id, name, false));
        all("all is well", &["ok"]);
        until("the end of the alert", || (alert()? == "cleared").then_some(()));
    }
    assert!(source("psu")["reconnects"].as_u64().unwrap() >= 1);
    fault(&daemon, "rec1", "drop", true);
    until("a level", || recorder(&daemon)["level_db"].is_number().then_some(()));
    assert_eq!(source("rec1")["status"], "ok");
}

#[test]
fn the_ports_are_not_in_the_configuration_and_go_with_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let config = "bench = true\n[[serial]]\nid = \"dmm\"\ndevice = \"/dev/no-such-tty\"\nformat = \"json\"\ninstrument = \"mine\"\n";
    let mut daemon = Options::default().config(config).start_in(dir.path());
    until("the recorder", || recorder(&daemon)["level_db"].is_number().then_some(()));
    until("the configured source", || {
        let dmm = one(&daemon, "system", "source_status", "source_id", "dmm")?;
        (dmm["detail"]["device"] == "/dev/no-such-tty").then_some(())
    });
    assert!(daemon.log().contains("source dmm"), "{}", daemon.log());
    let file = dir.path().join("test.toml");
    let shown = telltale(&["check", "--effective", "--config", file.to_str().unwrap()]).run();
    assert!(shown.stdout.contains("no-such-tty") && !shown.stdout.contains("rec1"), "{shown:?}");
    // The same port is the bench's once nothing is configured in its place.
    std::fs::write(&file, "bench = true\n").unwrap();
    daemon.signal("HUP");
    until("the simulated one", || {
        let dmm = one(&daemon, "system", "source_status", "source_id", "dmm")?;
        (dmm["detail"]["simulated"] == true && dmm["status"] == "ok").then_some(())
    });
    assert_eq!(daemon.stop(), 0);
    assert!(!daemon.log().contains("is unplugged"), "{}", daemon.log());
    assert_eq!(std::fs::read_dir(dir.path().join("bench")).unwrap().count(), 0, "nothing stays behind");
}

#[test]
fn an_unplugged_source_is_seen_raises_an_alert_and_comes_back() {
    let daemon = Daemon::bench();
    let source = |status: &'static str| {
        until(status, || {
            (one(&daemon, "system", "source_status", "source_id", "tank_level")?["status"] == status)
                .then_some(())
        });
    };
    source("ok");
    fault(&daemon, "tank_level", "disconnect", true);
    source("absent");
    let value = until("a value without a number", || {
        one(&daemon, "stream/*", "stream_value", "stream_id", "tank_level").filter(|p| p["value"].is_null())
    });
    assert_eq!((&value["quality"], &value["severity"]), (&"bad".into(), &"INVALID".into()));
    let alert = || one(&daemon, "alerts", "alert", "alert_id", "source.tank_level");
    assert_eq!(until("its alert", alert)["severity"], "MAJOR");
    let answer = daemon.post("/api/alerts/source.tank_level/ack", r#"{"occurrence":1,"by":"tester"}"#);
    assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
    until("its acknowledgement", || (alert()?["state"] == "acknowledged").then_some(()));
    fault(&daemon, "tank_level", "disconnect", false);
    source("ok");
    until("the alert to be closed", || alert().is_none().then_some(()));
    assert!(
        daemon.get("/api/bench").json()["sources"].as_array().unwrap().iter().all(|s| s["on"] == json!([]))
    );
    let wrong = daemon.post("/api/bench/faults", r#"{"source":"nope","fault":"drop"}"#);
    assert!((400..500).contains(&wrong.status) && wrong.text().contains("tank_level"), "{}", wrong.text());
}

fn queue(daemon: &Daemon) -> Option<Value> {
    one(daemon, "queue/*", "queue_status", "queue_id", "QUEUE_001")
}

/// What was interrupted has failed; the bench's queue alone goes on by itself, unless somebody had paused it.
#[test]
fn after_a_restart_the_queue_goes_on_unless_it_was_paused() {
    let dir = tempfile::tempdir().unwrap();
    let bench = || Options::default().arg("--bench").start_in(dir.path());
    let current =
        |daemon: &Daemon| queue(daemon).and_then(|q| q["current_scan"].as_str().map(str::to_string));
    let mut daemon = bench();
    let first = until("a scan", || {
        let id = current(&daemon)?;
        let points = one(&daemon, "scan/*", "scan_status", "scan_id", &id)?["points_done"].as_u64()?;
        (points > 3).then_some(id)
    });
    assert_eq!(daemon.stop(), 0);
    let mut daemon = bench();
    let ended = until("its end", || {
        one(&daemon, "scan/*", "scan_status", "scan_id", &first).filter(|scan| scan["status"] == "failed")
    });
    assert_eq!(ended["exit_reason"], "interrupted");
    let second = until("the next scan", || current(&daemon).filter(|id| *id != first));
    assert!(second > first, "{second} after {first}");
    let paused = end_of(&daemon, "/api/queues/QUEUE_001/pause", json!({}));
    assert_eq!(paused["state"], "completed", "{paused}");
    assert_eq!(daemon.stop(), 0);
    let daemon = bench();
    // Longer than it takes until a queue that was not paused has gone on.
    let seen = |what: &str, n: usize| {
        let mut stream = daemon.stream("topics=instrument/psu", None);
        (0..n).for_each(|_| drop(stream.wait(what)));
    };
    seen("instrument_status", 8);
    assert_eq!(queue(&daemon).unwrap()["status"], "paused");
    assert_eq!(end_of(&daemon, "/api/queues/QUEUE_001/resume", json!({}))["state"], "completed");
    until("a scan", || current(&daemon));
}

/// What is measured is the diode: next to nothing below half a volt, milliamperes at the end.
#[test]
fn a_scan_of_the_bench_measures_the_diode() {
    let daemon = Daemon::bench();
    let mut stream = daemon.stream("topics=scan/*&types=data_point", None);
    let (mut low, mut high) = (0, 0);
    let mut last = -1;
    while high < 3 {
        let point = stream.wait("data_point").payload();
        let index = point["sequence_index"].as_i64().unwrap();
        assert_eq!(index, last + 1, "{point}");
        last = index;
        let value = |name: &str| point["data"][name].as_f64().unwrap_or_else(|| panic!("no {name}: {point}"));
        let (set, volts, current) = (value("psu.voltage"), value("dmm.voltage"), value("dmm.current"));
        assert!((set - volts).abs() < 0.01, "{point}");
        if set < 0.4 {
            assert!(current.abs() < 0.05, "{point}");
            low += 1;
        }
        if set > 0.7 {
            assert!((1.2..10.0).contains(&current), "{point}");
            high += 1;
        }
    }
    assert!(low > 20);
}

#[test]
fn without_the_bench_there_are_no_switches() {
    assert_eq!(Daemon::start().get("/api/bench").status, 404);
}
