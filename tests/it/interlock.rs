//! Interlocks and the emergency stop: simulated instruments, the real binary.

use crate::devices::{command, instrument, until_state};
use crate::harness::{Daemon, Options, until};
use serde_json::{Value, json};
use std::path::Path;

fn options() -> Options {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/devices/interlock.yaml");
    let file = file.display();
    Options::default().config(&format!(
        r#"
[store]
commit = "20ms"
[[alert]]
id = "psu.over"
value = "instrument/psu/current"
above = 2
severity = "MAJOR"
message = "{{name}} is {{value}} {{unit}}."
guidance = "Switch the magnet off."
blocks = ["instrument/stage", "queue/*"]
stops = ["instrument/stage"]
latch = true
[[alert]]
id = "stage.collision"
value = "instrument/stage/x"
above = 50
and = [{{ value = "instrument/stage/y", below = 5 }}]
blocks = ["instrument/stage"]

[[serial]]
id = "psu"
device = "sim:{file}#ASRL1::INSTR"
protocol = "scpi"
instrument = "psu"
stale_after = "3s"
[serial.scpi]
errors = ""
poll = "50ms"
timeout = "1s"
channels = [{{ name = "current", get = "MEAS:CURR?", set = "LOAD {{:.3f}}", unit = "A" }}]

[[serial]]
id = "stage"
device = "sim:{file}#ASRL2::INSTR"
protocol = "scpi"
instrument = "stage"
stale_after = "3s"
[serial.scpi]
errors = ""
poll = "50ms"
timeout = "1s"
stop = "HALT"
channels = [
    {{ name = "x", get = "X?", set = "X {{:.3f}}", unit = "mm", min = 0, max = 100, tolerance = 0.01 }},
    {{ name = "y", get = "Y?", set = "Y {{:.3f}}", unit = "mm", min = 0, max = 100, tolerance = 0.01 }},
]
"#
    ))
}

fn known(daemon: &Daemon) {
    for (id, channel) in [("psu", "current"), ("stage", "y")] {
        until_state("a value", || instrument(daemon, id), |i| i["channels"][channel]["quality"] == "good");
    }
}

fn load(daemon: &Daemon, amps: f64) {
    let done = command(daemon, "psu", "set", json!({ "channel": "current", "value": amps }));
    assert_eq!(done["state"], "completed", "{done}");
}

fn refused(daemon: &Daemon, path: &str, body: Value) -> (String, String) {
    let answer = daemon.post(path, &body.to_string());
    let problem = answer.json();
    assert_eq!((answer.status, &problem["type"]), (409, &json!("interlock")), "{}", answer.text());
    let text = |name: &str| problem[name].as_str().unwrap().to_string();
    (text("alert_id"), text("detail"))
}

fn alert(daemon: &Daemon, id: &str) -> Option<Value> {
    Some(daemon.get(&format!("/api/alerts/{id}"))).filter(|answer| answer.status == 200).map(|a| a.json())
}

fn alert_is(daemon: &Daemon, id: &str, state: &str) -> Value {
    until(&format!("{id} to be {state}"), || alert(daemon, id).filter(|a| a["state"] == state))
}

fn moves(daemon: &Daemon, channel: &str, to: f64) {
    let done = command(daemon, "stage", "set", json!({ "channel": channel, "value": to }));
    assert_eq!(done["state"], "completed", "{done}");
}

/// What was told to a target by commands, with who asked in the log.
fn results(daemon: &Daemon, target: &str, action: &str) -> usize {
    let answer = daemon
        .get(&format!("/api/events?topics={target}&types=command_result&since=earliest&format=json"))
        .json();
    answer["events"].as_array().unwrap().iter().filter(|e| e["payload"]["action"] == action).count()
}

fn log_says(daemon: &Daemon, text: &str) {
    until(&format!("a line with {text:?}"), || {
        let lines = daemon.get("/api/log?limit=200").json();
        let items = lines["items"].as_array().unwrap();
        items.iter().any(|line| line.to_string().contains(text)).then_some(())
    });
}

const SET: &str = "/api/instruments/stage/set";

#[test]
fn a_supply_over_its_limit_blocks_and_stops_the_stage_until_somebody_resets_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut daemon = options().start_in(&data);
    known(&daemon);
    moves(&daemon, "x", 20.0);
    let rules = daemon.get("/api/alerts/rules").json();
    let rule =
        |id: &str| rules["items"].as_array().unwrap().iter().find(|r| r["rule"] == id).unwrap().clone();
    let over = rule("psu.over");
    assert_eq!((&over["blocks"], &over["latch"]), (&json!(["instrument/stage", "queue/*"]), &json!(true)));
    assert_eq!((&over["stops"], &over["blocking"]), (&json!(["instrument/stage"]), &json!(false)), "{over}");
    assert_eq!(rule("stage.collision")["text"], "instrument/stage/x above 50 and instrument/stage/y below 5");

    load(&daemon, 3.0);
    let raised = alert_is(&daemon, "psu.over", "active");
    assert_eq!(raised["blocks"], json!(["instrument/stage", "queue/*"]), "{raised}");
    let (id, why) = refused(&daemon, SET, json!({"channel": "x", "value": 30}));
    assert_eq!(id, "psu.over");
    assert_eq!(
        why,
        "instrument/stage is blocked by the alert psu.over: psu current is 3 A. Switch the magnet off. It is free again when that is over and somebody has reset the alert."
    );
    until("the stop of the stage", || (results(&daemon, "instrument/stage", "stop") == 1).then_some(()));
    log_says(&daemon, "Alert psu.over stops instrument/stage (stop)");
    assert_eq!(command(&daemon, "stage", "stop", json!({}))["state"], "completed", "never blocked");
    let queue = daemon.post("/api/queues", r#"{"queue_id":"Q","name":"q"}"#);
    assert_eq!(queue.status, 201, "{}", queue.text());
    let scan = json!({"name": "s", "axes": [{"set": "stage.x", "start": 20, "stop": 30, "points": 3}], "measure": ["stage.y"]});
    let added = daemon.post("/api/queues/Q/scans", &scan.to_string());
    assert_eq!(added.status, 201, "{}", added.text());
    refused(&daemon, "/api/queues/Q/start", json!({}));

    // Acknowledged while it holds: known, not reset.
    let ack = json!({"occurrence": raised["occurrence"], "by": "eva"}).to_string();
    assert_eq!(daemon.post("/api/alerts/psu.over/ack", &ack).status, 202);
    alert_is(&daemon, "psu.over", "acknowledged");
    until("the alert to be stored", || {
        let marked =
            daemon.post("/api/events?durable=true", r#"{"type":"test","topic":"app/m","payload":{}}"#);
        (marked.status == 201).then_some(())
    });
    daemon.kill();
    // The supply is off now. That it is in order is known again; that somebody has looked is not.
    let daemon = options().start_in(&data);
    refused(&daemon, SET, json!({"channel": "x", "value": 30}));
    known(&daemon);
    let over = alert_is(&daemon, "psu.over", "cleared");
    let (id, why) = refused(&daemon, SET, json!({"channel": "x", "value": 30}));
    assert_eq!(id, "psu.over");
    assert!(why.ends_with("That is over: reset the alert (acknowledge it) to free it."), "{why}");
    let blocking = || {
        let rules = daemon.get("/api/alerts/rules").json();
        let rule = rules["items"].as_array().unwrap().iter().find(|r| r["rule"] == "psu.over").cloned();
        rule.unwrap()["blocking"].clone()
    };
    assert_eq!(blocking(), true, "the latch blocks still");
    refused(&daemon, "/api/queues/Q/start", json!({}));
    let ack = json!({"occurrence": over["occurrence"], "by": "eva"}).to_string();
    assert_eq!(daemon.post("/api/alerts/psu.over/ack", &ack).status, 202);
    until("the latch to be reset", || (blocking() == false).then_some(()));
    until("the alert to be closed", || alert(&daemon, "psu.over").is_none().then_some(()));
    moves(&daemon, "x", 30.0);
    let history = daemon.get("/api/alerts?history=true").json();
    let states: Vec<&str> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|a| a["alert_id"] == "psu.over")
        .map(|a| a["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["closed", "cleared", "acknowledged", "active"], "{history}");
}

#[test]
fn a_move_into_a_collision_is_refused_and_the_way_out_is_open() {
    let daemon = options().start();
    known(&daemon);
    let (id, why) = refused(&daemon, SET, json!({"channel": "x", "value": 60}));
    assert_eq!(id, "stage.collision");
    assert!(why.starts_with("x = 60 would raise the alert stage.collision ("), "{why}");
    refused(&daemon, "/api/instruments/stage/move", json!({"target": {"x": 60, "y": 20}}));
    moves(&daemon, "y", 20.0);
    until_state("y at 20", || instrument(&daemon, "stage"), |i| i["channels"]["y"]["value"] == 20.0);
    moves(&daemon, "x", 60.0);
    until_state("x at 60", || instrument(&daemon, "stage"), |i| i["channels"]["x"]["value"] == 60.0);
    refused(&daemon, SET, json!({"channel": "y", "value": 2}));
    assert!(alert(&daemon, "stage.collision").is_none(), "it never came to that");
}

#[test]
fn a_scan_waits_while_what_it_sets_is_blocked() {
    let daemon = options().start();
    known(&daemon);
    assert_eq!(daemon.post("/api/queues", r#"{"queue_id":"Q","name":"q"}"#).status, 201);
    let scan = json!({"name": "s", "on_error": "skip_point",
        "axes": [{"set": "stage.x", "start": 10, "stop": 30, "points": 200, "settle_s": 0.02}], "measure": ["stage.y"]});
    let added = daemon.post("/api/queues/Q/scans", &scan.to_string());
    assert_eq!(added.status, 201, "{}", added.text());
    let id = added.json()["items"][0]["scan_id"].as_str().unwrap().to_string();
    let scan = || daemon.get(&format!("/api/scans/{id}")).json();
    let is = |status: &str| until(status, || Some(scan()).filter(|s| s["status"] == status));
    assert_eq!(daemon.post("/api/queues/Q/start", "{}").status, 202);
    until("some points", || (scan()["points_done"].as_u64() >= Some(5)).then_some(()));
    load(&daemon, 3.0);
    let paused = is("paused");
    assert!(paused["skipped"].as_u64().unwrap_or_default() <= 1, "{paused}");
    log_says(&daemon, &format!("Alert psu.over stops scan/{id} (pause), instrument/stage (stop)"));
    // Somebody resumes too early: nothing is sent.
    let resume = daemon.post(&format!("/api/scans/{id}/resume"), "{}").json();
    let command = resume["command_id"].as_str().unwrap();
    let end = until("the end of the resume", || {
        Some(daemon.get(&format!("/api/commands/{command}")).json()).filter(|c| c["state"] != "accepted")
    });
    assert_eq!(end["state"], "failed", "{end}");
    let standing = is("paused");
    assert!(standing["error"].as_str().unwrap().contains("blocked by the alert psu.over"), "{standing}");
    load(&daemon, 0.5);
    let over = alert_is(&daemon, "psu.over", "cleared");
    let ack = json!({"occurrence": over["occurrence"]}).to_string();
    assert_eq!(daemon.post("/api/alerts/psu.over/ack", &ack).status, 202);
    until("the alert to be closed", || alert(&daemon, "psu.over").is_none().then_some(()));
    assert_eq!(daemon.post(&format!("/api/scans/{id}/resume"), "{}").status, 202);
    is("running");

    // And everything at once.
    let stop = daemon.post("/api/stop", r#"{"by":"eva"}"#);
    assert_eq!(stop.status, 202, "{}", stop.text());
    let items = stop.json()["items"].clone();
    let told: Vec<(&str, &str)> = items
        .as_array()
        .unwrap()
        .iter()
        .map(|i| (i["target"].as_str().unwrap(), i["action"].as_str().unwrap_or("none")))
        .collect();
    assert_eq!(told, [("queue/Q", "abort"), ("instrument/psu", "none"), ("instrument/stage", "stop")]);
    for item in items.as_array().unwrap().iter().filter(|i| !i["command_id"].is_null()) {
        let command = item["command_id"].as_str().unwrap();
        let end = until("the end of a command", || {
            Some(daemon.get(&format!("/api/commands/{command}")).json()).filter(|c| c["state"] != "accepted")
        });
        assert_eq!(end["state"], "completed", "{end}");
    }
    is("aborted");
    log_says(&daemon, "Emergency stop by eva: queue/Q (abort)");
}
