//! Simulated devices of device files: read with the code for hardware, rehearsed before there is any.

use crate::devices::{command, instrument, source, until_state};
use crate::harness::{Options, telltale};
use serde_json::{Value, json};
use std::path::Path;

/// A supply of tests/devices, which pyvisa-sim itself plays in other tests.
fn config(file: &Path) -> String {
    format!(
        r#"
        [[serial]]
        id = "psu"
        device = "sim:{}#ASRL1::INSTR"
        protocol = "scpi"
        instrument = "psu"
        stale_after = "3s"
        [serial.scpi]
        poll = "200ms"
        timeout = "300ms"
        channels = [
            {{ name = "voltage", get = "VOLT?", set = "VOLT {{:.3f}}", unit = "V", min = 0, max = 40, tolerance = 0.002 }},
            {{ name = "output", get = "OUTP?", set = "OUTP {{}}", words = {{ 1 = "on", 0 = "off" }} }},
        ]
        "#,
        file.display()
    )
}

#[test]
fn a_device_file_is_an_instrument() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/devices/supply.yaml");
    let daemon = Options::default().config(&config(&file)).start();
    let psu = || instrument(&daemon, "psu");
    let near = |value: &Value, wanted: f64| value.as_f64().is_some_and(|v| (v - wanted).abs() < 0.01);
    until_state("5 V", psu, |i| near(&i["channels"]["voltage"]["value"], 5.0));
    let from = source(&daemon, "psu");
    assert_eq!((&from["kind"], &from["detail"]["simulated"]), (&json!("serial"), &json!(true)), "{from}");
    assert_eq!(from["detail"]["idn"], "telltale,SIM-PS30,0001,1.0");
    let done = command(&daemon, "psu", "set", json!({ "channel": "voltage", "value": 12.5 }));
    assert_eq!(done["state"], "completed", "{done}");
    until_state("12.5 V", psu, |i| near(&i["channels"]["voltage"]["value"], 12.5));
    let done = command(&daemon, "psu", "set", json!({ "channel": "output", "value": "off" }));
    assert_eq!(done["state"], "completed", "{done}");
    // The device's own limit, which the configuration does not know.
    let done = command(&daemon, "psu", "set", json!({ "channel": "voltage", "value": 35 }));
    assert_eq!(done["state"], "failed", "{done}");
    assert!(done["reason"].as_str().unwrap().contains("-100,\"Command error\""), "{done}");
}

#[test]
fn a_file_that_is_wrong_is_told_with_its_place_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("supply.yaml");
    let right =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/devices/supply.yaml"));
    let right = right.unwrap();
    std::fs::write(&file, right.replace("max: 30\n          type: float", "max: 30\n          type: double"))
        .unwrap();
    let settings = dir.path().join("test.toml");
    std::fs::write(&settings, config(&file)).unwrap();
    let checked = telltale(&["check", "--config", settings.to_str().unwrap()]).run();
    let place = right.lines().position(|line| line.trim() == "type: float").unwrap() + 1;
    let expected = format!("{}:{place}:17: `type` is \"double\"; expected float, int or str", file.display());
    assert!(checked.stderr.contains(&expected), "{checked:?}\n{expected}");

    let daemon = Options::default().config(&config(&file)).start();
    let psu = || source(&daemon, "psu");
    until_state("the fault", psu, |s| s["last_error"].as_str().is_some_and(|e| e.contains(&expected)));
    // Put right, it is found without a restart.
    std::fs::write(&file, &right).unwrap();
    until_state("the device", psu, |s| s["status"] == "ok");
    // What ends a message is part of the file.
    std::fs::write(&settings, config(&file).replace("[serial.scpi]", "[serial.scpi]\nwrite_end = \"\\r\""))
        .unwrap();
    let checked = telltale(&["check", "--config", settings.to_str().unwrap()]).run();
    assert!(checked.stderr.contains("`write_end` is \"\\r\""), "{checked:?}");
    let missing = telltale(&["check", "--config", settings.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    assert!(missing.run().stderr.contains("failed to read"));
}
