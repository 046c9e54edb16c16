//! Outputs and counters through rppal and the fake chip: what a command does, how a pin is left.

use crate::fakepi::FakePi;
use crate::harness::{Daemon, Options, until};
use serde_json::{Value, json};

fn payload(daemon: &Daemon, kind: &str, id: (&str, &str)) -> Value {
    let all = daemon.get("/api/state?topics=*").json();
    let found =
        all["state"].as_array().unwrap().iter().find(|e| e["type"] == kind && e["payload"][id.0] == id.1);
    found.map_or(Value::Null, |e| e["payload"].clone())
}

fn until_source(daemon: &Daemon, id: &str, status: &str) {
    until(&format!("{id} to be {status}"), || {
        (payload(daemon, "source_status", ("source_id", id))["status"] == status).then_some(())
    });
}

/// Asks for something and waits for the end of the command.
fn ask(daemon: &Daemon, path: &str, body: &str) -> Value {
    let answer = until("the command to be taken", || {
        let answer = daemon.post(path, body);
        (answer.status != 404).then_some(answer)
    });
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.json()["command_id"].as_str().unwrap().to_string();
    until("the end of the command", || {
        let result = daemon.get(&format!("/api/commands/{id}")).json();
        (result["state"] != "accepted").then_some(result)
    })
}

#[test]
fn an_output_is_set_pulsed_kept_by_a_reload_and_left_safe() {
    let dir = tempfile::tempdir().unwrap();
    let pi = FakePi::new();
    let valve = r#"
        [[gpio]]
        id = "valve"
        pin = 6
        direction = "output"
        initial = "high"
        safe = "low"
        active_low = true
        instrument = "rig"
        active = "open"
        "#;
    let mut daemon = pi.board(Options::default().config(valve)).start_in(dir.path());
    until_source(&daemon, "valve", "ok");
    assert!(pi.level(6), "the initial level");
    let open = |daemon: &Daemon| {
        payload(daemon, "instrument_status", ("instrument_id", "rig"))["channels"]["open"]["value"].clone()
    };
    assert_eq!(open(&daemon), json!(0.0));
    let set = ask(&daemon, "/api/instruments/rig/set", r#"{"channel":"open","value":true}"#);
    assert_eq!((&set["state"], &set["status"]), (&json!("completed"), &json!("active")), "{set}");
    assert!(!pi.level(6));
    assert_eq!(open(&daemon), json!(1.0));
    // A reload that has nothing to do with it leaves it as it is.
    let more = format!("{valve}\n[[gpio]]\nid = \"door\"\npin = 17\npull = \"up\"\nstream = \"door\"\n");
    std::fs::write(dir.path().join("test.toml"), more).unwrap();
    daemon.signal("HUP");
    until_source(&daemon, "door", "ok");
    until_source(&daemon, "valve", "ok");
    assert!(!pi.level(6), "driven as before");
    assert_eq!(open(&daemon), json!(1.0));
    let pulse = ask(&daemon, "/api/instruments/rig/pulse", r#"{"channel":"open","ms":20}"#);
    assert_eq!(pulse["state"], "completed", "{pulse}");
    assert!(pi.level(6));
    let refused = ask(&daemon, "/api/instruments/rig/set", r#"{"channel":"shut","value":true}"#);
    assert_eq!(refused["state"], "rejected", "{refused}");
    assert_eq!(daemon.stop(), 0);
    assert!(!pi.level(6), "the safe level");
}

#[test]
fn a_killed_daemon_leaves_an_output_as_it_is() {
    let pi = FakePi::new();
    let lamp = "[[gpio]]\nid = \"lamp\"\npin = 5\ndirection = \"output\"\ninstrument = \"box\"\n";
    let mut daemon = pi.board(Options::default().config(lamp)).start();
    let set = ask(&daemon, "/api/instruments/box/set", r#"{"channel":"lamp","value":1}"#);
    assert_eq!(set["state"], "completed", "{set}");
    daemon.kill();
    assert!(pi.level(5));
}

#[test]
fn pulses_are_counted_and_watched() {
    let pi = FakePi::new();
    let config = r#"
        [[gpio]]
        id = "rain"
        pin = 17
        stream = "rain"
        value = "count"

        [[gpio]]
        id = "lid"
        pin = 27
        alert = "MINOR"
        message = "The lid is open"
        "#;
    let daemon = pi.board(Options::default().config(config)).start();
    until_source(&daemon, "rain", "ok");
    until_source(&daemon, "lid", "ok");
    for _ in 0..5 {
        pi.set(17, true);
        pi.set(17, false);
    }
    until("five pulses", || {
        (payload(&daemon, "stream_value", ("stream_id", "rain"))["value"] == 5.0).then_some(())
    });
    until("the counters", || {
        let detail = payload(&daemon, "source_status", ("source_id", "rain"))["detail"].clone();
        (detail["pulses"] == 5 && detail["edges"] == 10 && detail["pulse_ms"].is_number()).then_some(())
    });
    let alert = || payload(&daemon, "alert", ("alert_id", "gpio.lid"));
    pi.set(27, true);
    until("the alert", || (alert()["state"] == "active").then_some(()));
    assert_eq!((&alert()["severity"], &alert()["message"]), (&json!("MINOR"), &json!("The lid is open")));
    pi.set(27, false);
    until("its end", || (alert()["state"] == "cleared").then_some(()));
}
