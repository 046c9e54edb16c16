//! SCPI, Modbus and NMEA end to end: the daemon, a terminal, and programs of others at its far end.

use crate::devices::{Counterpart, command, instrument, source, until_state};
use crate::harness::{Daemon, Options};
use crate::pty::Device;
use serde_json::{Value, json};
use std::path::Path;

fn supply(device: &Path, more: &str) -> Daemon {
    let config = format!(
        r#"
        [[serial]]
        id = "psu"
        device = "{}"
        protocol = "scpi"
        instrument = "psu"
        stale_after = "3s"
        [serial.scpi]
        poll = "200ms"
        timeout = "300ms"
        {more}
        channels = [
            {{ name = "voltage", get = "MEAS:VOLT?", unit = "V" }},
            {{ name = "set_voltage", get = "VOLT?", set = "VOLT {{:.3f}}", unit = "V", min = 0, max = 40, tolerance = 0.002 }},
            {{ name = "output", get = "OUTP?", set = "OUTP {{}}", words = {{ 1 = "on", 0 = "off" }} }},
        ]
        "#,
        device.display()
    );
    Options::default().config(&config).start()
}

#[test]
fn a_supply_is_polled_set_and_asked() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("supply");
    let Some(device) = Counterpart::start("scpi_device.py", &link) else { return };
    let daemon = supply(&link, "expect = 'PS30'");
    let psu = || instrument(&daemon, "psu");
    let near = |value: &Value, wanted: f64| value.as_f64().is_some_and(|v| (v - wanted).abs() < 0.01);
    until_state("5 V", psu, |i| {
        near(&i["channels"]["voltage"]["value"], 5.0) && i["channels"]["output"]["text"] == "on"
    });
    let sink = source(&daemon, "psu");
    assert_eq!(
        (&sink["status"], &sink["detail"]["idn"]),
        (&json!("ok"), &json!("telltale,SIM-PS30,0001,1.0"))
    );

    let done = command(&daemon, "psu", "set", json!({ "channel": "set_voltage", "value": 12.5 }));
    assert_eq!(done["state"], "completed", "{done}");
    until_state("12.5 V", psu, |i| near(&i["channels"]["voltage"]["value"], 12.5));
    // Ours to refuse, and the device's.
    let refused = daemon.post("/api/instruments/psu/set", r#"{"channel":"set_voltage","value":41}"#);
    assert_eq!((refused.status, &refused.json()["type"]), (422, &json!("out_of_limits")));
    let done = command(&daemon, "psu", "set", json!({ "channel": "set_voltage", "value": 35 }));
    assert_eq!(done["state"], "failed", "{done}");
    let why = "set set_voltage to 35 V, but it reads back 12.5 V; the device reports -100,\"Command error\"";
    assert_eq!(done["reason"], why);
    until_state("the device's error", psu, |i| i["error"] == "-100,\"Command error\"");
    let done = command(&daemon, "psu", "clear_error", json!({}));
    assert_eq!(done["state"], "completed", "{done}");
    until_state("no error", psu, |i| i["error"].is_null());
    let done = command(&daemon, "psu", "set", json!({ "channel": "output", "value": "off" }));
    assert_eq!(done["state"], "completed", "{done}");
    let done = command(&daemon, "psu", "query", json!({ "command": "OUTP?" }));
    assert_eq!((&done["state"], &done["reason"]), (&json!("completed"), &json!("0")));

    // Its program ends: the terminal hangs up, as a pulled plug does; a new one takes its place.
    drop(device);
    until_state("its loss", psu, |i| i["status"] == "disconnected");
    assert_eq!(psu()["channels"]["voltage"]["quality"], "uncertain");
    let answer = daemon.post("/api/instruments/psu/query", r#"{"command":"OUTP?"}"#);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let _device = Counterpart::start("scpi_device.py", &link);
    until_state("its return", psu, |i| {
        i["status"] == "connected" && near(&i["channels"]["voltage"]["value"], 5.0)
    });
}

#[test]
fn a_wrong_instrument_is_told_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("supply");
    let Some(_device) = Counterpart::start("scpi_device.py", &link) else { return };
    let daemon = supply(&link, "expect = '34465A'");
    let psu = || instrument(&daemon, "psu");
    let now = until_state("an error", psu, |i| i["status"] == "error" && i["error"].is_string());
    let why = "it answers `telltale,SIM-PS30,0001,1.0` to `*IDN?`, which does not match `34465A`: is another device plugged in here?";
    assert_eq!(now["error"], why);
    assert_eq!(now["channels"]["voltage"]["quality_reason"], "device_error");
    let done = command(&daemon, "psu", "set", json!({ "channel": "set_voltage", "value": 1 }));
    assert_eq!((&done["state"], &done["reason"]), (&json!("rejected"), &json!(why)));
}

fn line(device: &Path) -> Daemon {
    let config = format!(
        r#"
        [[serial]]
        id = "rs485"
        device = "{}"
        protocol = "modbus"
        instrument = "power"
        stale_after = "3s"
        [serial.modbus]
        poll = "200ms"
        timeout = "200ms"
        stop = [{{ unit_id = 2, table = "coil", address = 0, value = 0 }}]
        registers = [
            {{ name = "voltage", table = "input", address = 0, type = "f32", unit = "V" }},
            {{ name = "frequency", table = "input", address = 70, type = "f32", unit = "Hz" }},
            {{ name = "pump", unit_id = 2, table = "coil", address = 0, write = true, words = {{ 0 = "off", 1 = "on" }} }},
            {{ name = "water", unit_id = 2, table = "holding", address = 0, type = "i16", scale = 0.1, unit = "degC" }},
            {{ name = "limit", unit_id = 2, table = "holding", address = 1, scale = 0.1, write = true, min = 20, max = 90 }},
            {{ name = "gain", unit_id = 2, table = "holding", address = 2, type = "f32", write = true }},
            {{ name = "none", unit_id = 2, table = "holding", address = 300 }},
            {{ name = "ghost", unit_id = 9, table = "holding", address = 0 }},
        ]
        "#,
        device.display()
    );
    Options::default().config(&config).start()
}

#[test]
fn modbus_devices_are_read_and_written() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("modbus");
    let Some(device) = Counterpart::start("modbus_server.py", &link) else { return };
    let daemon = line(&link);
    let power = || instrument(&daemon, "power");
    let within = |value: &Value, from: f64, to: f64| value.as_f64().is_some_and(|v| v >= from && v <= to);
    let now = until_state("every value", power, |i| {
        let c = &i["channels"];
        within(&c["voltage"]["value"], 228.0, 232.0) && c["ghost"]["quality_reason"] == "not_connected"
    });
    let channels = &now["channels"];
    assert!(within(&channels["frequency"]["value"], 49.9, 50.1), "{channels:#}");
    assert_eq!((&channels["pump"]["text"], &channels["water"]["value"]), (&json!("on"), &json!(21.5)));
    assert_eq!(channels["none"]["quality_reason"], "device_error");
    let detail = until_state(
        "the counters",
        || source(&daemon, "rs485")["detail"].clone(),
        |d| d["silent_units"] == json!([9]) && d["refused"].is_object(),
    );
    assert_eq!(
        detail["refused"]["unit 2 holding 300-300"],
        "02 illegal data address: there is no such register"
    );
    assert!(detail.get("crc_errors").is_none(), "{detail:#}");

    for (channel, value) in [("limit", json!(55.5)), ("gain", json!(1.25)), ("pump", json!("off"))] {
        let done = command(&daemon, "power", "set", json!({ "channel": channel, "value": value }));
        assert_eq!(done["state"], "completed", "{channel}: {done}");
    }
    until_state("what was written", power, |i| {
        let c = &i["channels"];
        c["limit"]["value"] == 55.5 && c["gain"]["value"] == 1.25 && c["pump"]["text"] == "off"
    });
    let done = command(&daemon, "power", "set", json!({ "channel": "pump", "value": "on" }));
    assert_eq!(done["state"], "completed", "{done}");
    let done = command(&daemon, "power", "stop", json!({}));
    assert_eq!(done["state"], "completed", "{done}");
    until_state("the pump's end", power, |i| i["channels"]["pump"]["text"] == "off");
    let refused = daemon.post("/api/instruments/power/set", r#"{"channel":"limit","value":91}"#);
    assert_eq!((refused.status, &refused.json()["type"]), (422, &json!("out_of_limits")));

    drop(device);
    until_state("its loss", power, |i| i["status"] == "disconnected");
    let _device = Counterpart::start("modbus_server.py", &link);
    until_state("its return", power, |i| {
        i["status"] == "connected" && i["channels"]["voltage"]["quality"] == "good"
    });
}

/// A device that is there and says nothing, as one that is switched off: a loss after its time-outs, not a hang-up.
#[test]
fn instruments_that_do_not_answer_are_lost() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("supply");
    let _silent = Device::plugged_in_as(&link);
    let daemon = supply(&link, "");
    let psu = || instrument(&daemon, "psu");
    let detail = until_state(
        "its time-outs",
        || source(&daemon, "psu")["detail"].clone(),
        |d| d["timeouts"].as_u64().is_some_and(|n| n >= 3),
    );
    assert!(detail.get("idn").is_none());
    assert_ne!(psu()["status"], "connected");
    let done = command(&daemon, "psu", "set", json!({ "channel": "set_voltage", "value": 1 }));
    assert_eq!(done["state"], "timed_out", "{done}");
}

#[test]
fn a_gps_log_is_counted_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("gps");
    let gps = Device::plugged_in_as(&link);
    let config = format!(
        "[[serial]]\nid = \"gps\"\ndevice = \"{}\"\nprotocol = \"nmea\"\ninstrument = \"gps\"\nstale_after = \"2s\"\n",
        link.display()
    );
    let daemon = Options::default().config(&config).start();
    until_state("the opening", || source(&daemon, "gps"), |s| s["status"] == "no_data");
    let log = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/nmea/ublox-cold-start.nmea"))
        .unwrap();
    // In pieces that have nothing to do with its sentences.
    for piece in log.chunks(53) {
        gps.say(piece);
    }
    let now = until_state(
        "the last position",
        || instrument(&daemon, "gps"),
        |i| i["channels"]["time"]["text"] == "2026-11-21T09:30:11.000Z",
    );
    assert_eq!(
        (&now["channels"]["fix"]["text"], &now["channels"]["lat"]["value"]),
        (&json!("DGPS"), &json!(46.948222))
    );
    until_state("the count", || source(&daemon, "gps"), |s| s["detail"]["sentences"] == 124);
    gps.say(&std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/nmea/troubles.nmea")).unwrap());
    let now = until_state("the troubles", || source(&daemon, "gps"), |s| s["detail"]["sentences"] == 143);
    let detail = &now["detail"];
    assert_eq!(
        (&detail["bad_checksum"], &detail["merged"], &detail["overlong"]),
        (&json!(1), &json!(2), &json!(1))
    );
    until_state(
        "its silence",
        || instrument(&daemon, "gps"),
        |i| i["channels"]["lat"]["quality_reason"] == "stale",
    );
}
