//! The example of the README: examples/field-lab.toml with its devices, all live at once.

use crate::devices::{Counterpart, command, instrument, source, state, until_state};
use crate::fakepi::FakePi;
use crate::harness::Options;
use serde_json::json;

#[test]
fn two_pins_a_recorder_a_gps_capture_a_modbus_line_and_a_supply_are_live_on_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let lab = dir.path();
    let Some(_recorder) = Counterpart::start("recorder.py", &lab.join("recorder")) else { return };
    let _modbus = Counterpart::start("modbus_server.py", &lab.join("modbus"));
    let _supply = Counterpart::start("scpi_device.py", &lab.join("supply"));
    let pi = FakePi::new();
    let root = env!("CARGO_MANIFEST_DIR");
    let config = std::fs::read_to_string(format!("{root}/examples/field-lab.toml")).unwrap();
    assert!(config.contains("target/field-lab/") && config.contains("\"examples/gps.nmea\""));
    let config = config
        .replace("target/field-lab", lab.to_str().unwrap())
        .replace("examples/gps.nmea", &format!("{root}/examples/gps.nmea"));
    let daemon = pi.board(Options::default().config(&config)).start();
    // What the page reads first, and then the same stream.
    let mut stream = daemon.stream("topics=*&state=true", None);

    for id in ["run-contact", "door", "deck-line", "gps", "rs485", "psu"] {
        until_state(&format!("{id} to be heard"), || source(&daemon, id), |s| s["status"] == "ok");
    }
    pi.set(17, false);
    pi.set(27, true);
    until_state(
        "the contact",
        || instrument(&daemon, "cabinet"),
        |i| i["channels"]["run_contact"]["value"] == 1.0,
    );
    until_state("the door", || state(&daemon, "stream_value", ("stream_id", "door")), |s| s["value"] == 1.0);
    until_state(
        "the recorder",
        || state(&daemon, "recorder_status", ("recorder_id", "deck")),
        |r| r["status"] == "recording" && r["level_db"].is_number(),
    );
    until_state(
        "a position",
        || instrument(&daemon, "gps"),
        |i| {
            let channels = &i["channels"];
            channels["fix"]["text"] == "3D"
                && channels["lat"]["quality"] == "good"
                && channels["speed"]["unit"] == "m/s"
        },
    );
    until_state(
        "the meter",
        || instrument(&daemon, "power"),
        |i| i["channels"]["voltage"]["quality"] == "good" && i["channels"]["pump"]["text"].is_string(),
    );
    until_state(
        "the supply",
        || instrument(&daemon, "psu"),
        |i| i["channels"]["voltage"]["quality"] == "good",
    );
    let done = command(&daemon, "psu", "set", json!({ "channel": "set_voltage", "value": 3.3 }));
    assert_eq!(done["state"], "completed", "{done}");
    let done = command(&daemon, "power", "set", json!({ "channel": "pump", "value": "off" }));
    assert_eq!(done["state"], "completed", "{done}");

    // Live is moving: each of the instruments tells the stream something new.
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 3 {
        let payload = stream.wait("instrument_status").payload();
        if let Some(id) = payload["instrument_id"].as_str().filter(|id| ["gps", "power", "psu"].contains(id))
        {
            seen.insert(id.to_string());
        }
    }
}
