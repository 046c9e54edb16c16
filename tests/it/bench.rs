//! The simulated bench through the real binary: all five systems move, commands end by their effect, faults show and heal.

use crate::harness::{Daemon, Options, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

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

#[test]
fn a_restart_ends_what_was_running_and_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let bench = || Options::default().arg("--bench").start_in(dir.path());
    let current = |daemon: &Daemon| {
        let queue = one(daemon, "queue/*", "queue_status", "queue_id", "QUEUE_001");
        queue.and_then(|q| q["current_scan"].as_str().map(str::to_string))
    };
    let mut daemon = bench();
    let first = until("a scan", || {
        let id = current(&daemon)?;
        let points = one(&daemon, "scan/*", "scan_status", "scan_id", &id)?["points_done"].as_u64()?;
        (points > 3).then_some(id)
    });
    assert_eq!(daemon.stop(), 0);
    let daemon = bench();
    let ended = until("its end", || {
        one(&daemon, "scan/*", "scan_status", "scan_id", &first).filter(|scan| scan["status"] == "failed")
    });
    assert_eq!(ended["exit_reason"], "interrupted");
    let second = until("the next scan", || current(&daemon).filter(|id| *id != first));
    assert!(second > first, "{second} after {first}");
}

#[test]
fn without_the_bench_there_are_no_switches() {
    assert_eq!(Daemon::start().get("/api/bench").status, 404);
}
