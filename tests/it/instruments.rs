//! Instruments that are driven, end to end: the daemon, a terminal or a socket, and a stage at its far end.

use crate::devices::{command, instrument, source, until_state};
use crate::harness::{Daemon, Options, until};
use crate::pty::Device;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A stage with two axes at 20 mm/s that says whether it moves.
#[derive(Default)]
struct Stage {
    axes: [Axis; 2],
    heard: Vec<String>,
    /// What it answers instead of a position.
    garbage: Option<String>,
}

#[derive(Clone, Copy, Default)]
struct Axis {
    from: f64,
    to: f64,
    since: Option<Instant>,
}

impl Axis {
    fn at(&self) -> (f64, bool) {
        let Some(since) = self.since else { return (self.to, false) };
        let gone = since.elapsed().as_secs_f64() * 20.0;
        let way = self.to - self.from;
        if gone >= way.abs() { (self.to, false) } else { (self.from + gone * way.signum(), true) }
    }
}

impl Stage {
    fn answer(&mut self, line: &str) -> Option<String> {
        self.heard.push(line.to_string());
        let axis = |name: &str| usize::from(name.starts_with('Y'));
        Some(match line {
            "*IDN?" => "telltale,STAGE,1,1.0".into(),
            "VEL?" => "20.0".into(),
            "HALT" => {
                for axis in &mut self.axes {
                    *axis = Axis { to: axis.at().0, ..Axis::default() };
                }
                return None;
            }
            query if query.ends_with(":MOV?") => u8::from(self.axes[axis(query)].at().1).to_string(),
            query if query.ends_with(":POS?") => match &self.garbage {
                Some(garbage) => garbage.clone(),
                None => format!("{:.3}", self.axes[axis(query)].at().0),
            },
            other => {
                let (name, to) = other.split_once(":MOVE ")?;
                let axis = &mut self.axes[axis(name)];
                *axis = Axis { from: axis.at().0, to: to.parse().ok()?, since: Some(Instant::now()) };
                return None;
            }
        })
    }
}

/// A stage at the far end of a terminal; dropping it pulls the plug.
struct Plugged {
    stage: Arc<Mutex<Stage>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Plugged {
    fn at(link: &Path) -> Plugged {
        let device = Device::plugged_in_as(link);
        let stage = Arc::new(Mutex::new(Stage::default()));
        let over = Arc::new(AtomicBool::new(false));
        let (inner, end) = (Arc::clone(&stage), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let mut text = String::new();
            while !end.load(Ordering::Relaxed) {
                if device.waits(Duration::from_millis(10)) {
                    text.push_str(&device.hear());
                }
                while let Some((line, rest)) = text.split_once('\n') {
                    if let Some(answer) = inner.lock().unwrap().answer(line) {
                        device.say(format!("{answer}\n").as_bytes());
                    }
                    text = rest.to_string();
                }
            }
        });
        Plugged { stage, over, thread: Some(thread) }
    }

    fn heard(&self) -> Vec<String> {
        self.stage.lock().unwrap().heard.clone()
    }

    fn moves(&self) -> usize {
        self.heard().iter().filter(|line| line.contains("MOVE")).count()
    }
}

impl Drop for Plugged {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn config(device: &str) -> String {
    format!(
        r#"
        [[serial]]
        id = "stage"
        device = "{device}"
        protocol = "scpi"
        instrument = "stage"
        name = "XY stage"
        stale_after = "3s"
        [serial.scpi]
        identify = "*IDN?"
        errors = ""
        clear = ""
        gap = "0s"
        timeout = "500ms"
        poll = "200ms"
        stop = "HALT"
        safe = ["HALT"]
        settings = {{ velocity = "VEL?" }}
        channels = [
            {{ name = "x", get = "X:POS?", set = "X:MOVE {{:.3}}", moving = "X:MOV?", unit = "mm", min = 0, max = 250, tolerance = 0.01, settle = "20s", warning_max = 200, alarm_max = 240 }},
            {{ name = "y", get = "Y:POS?", set = "Y:MOVE {{:.3}}", moving = "Y:MOV?", unit = "mm", min = 0, max = 250, tolerance = 0.01, settle = "20s" }},
        ]
        "#
    )
}

fn start(link: &Path) -> (Plugged, Daemon) {
    let stage = Plugged::at(link);
    let daemon = Options::default().config(&config(&link.display().to_string())).start();
    until_state(
        "the stage",
        || instrument(&daemon, "stage"),
        |i| i["channels"]["y"]["moving"] == false && i["settings"]["velocity"] == 20.0,
    );
    (stage, daemon)
}

/// Gives it a command that has not ended; gives its id.
fn begin(daemon: &Daemon, action: &str, body: Value) -> String {
    let answer = daemon.post(&format!("/api/instruments/stage/{action}"), &body.to_string());
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["command_id"].as_str().unwrap().to_string()
}

fn end(daemon: &Daemon, id: &str) -> Value {
    until(&format!("{id} to end"), || {
        let now = daemon.get(&format!("/api/commands/{id}")).json();
        (now["state"] != "accepted").then_some(now)
    })
}

#[test]
fn a_move_of_two_axes_is_done_when_both_stand_there() {
    let dir = tempfile::tempdir().unwrap();
    let (stage, daemon) = start(&dir.path().join("stage"));
    let now = instrument(&daemon, "stage");
    assert_eq!(
        (&now["kind"], &now["status"], &now["connected"]),
        (&json!("movement"), &json!("idle"), &json!(true))
    );
    assert_eq!((&now["status_code"], &now["position"]), (&json!(100), &json!({ "x": 0.0, "y": 0.0 })));
    let x = &now["channels"]["x"];
    assert_eq!(x["limits"]["control"], json!({ "low": 0.0, "high": 250.0 }));
    assert_eq!(
        (&x["tolerance"], &x["settable"], &x["severity"]),
        (&json!(0.01), &json!(true), &json!("NO_ALARM"))
    );

    let id = begin(&daemon, "move", json!({ "target": { "x": 8.0, "y": 3.0 } }));
    let now = until_state("it to move", || instrument(&daemon, "stage"), |i| i["is_moving"] == true);
    assert_eq!((&now["status"], &now["status_code"]), (&json!("moving"), &json!(300)));
    assert_eq!((&now["target"]["x"], &now["channels"]["x"]["in_position"]), (&json!(8.0), &json!(false)));
    assert_eq!(daemon.get(&format!("/api/commands/{id}")).json()["state"], "accepted", "it is on its way");
    assert_eq!(end(&daemon, &id)["state"], "completed");
    // The state that confirms it was there before the end of the command.
    let now = instrument(&daemon, "stage");
    assert_eq!((&now["position"]["x"], &now["position"]["y"]), (&json!(8.0), &json!(3.0)));
    assert_eq!((&now["is_moving"], &now["channels"]["x"]["in_position"]), (&json!(false), &json!(true)));
    assert_eq!(stage.moves(), 2);

    // Beyond a limit: nothing is sent, not even what could be.
    for (action, body) in [
        ("move", json!({ "target": { "x": 250.5, "y": 1.0 } })),
        ("set", json!({ "channel": "x", "value": -0.1 })),
        ("set", json!({ "channel": "x", "value": "251" })),
    ] {
        let refused = daemon.post(&format!("/api/instruments/stage/{action}"), &body.to_string());
        let problem = refused.json();
        assert_eq!((refused.status, &problem["type"]), (422, &json!("out_of_limits")), "{problem}");
        assert_eq!(
            (&problem["channel"], &problem["min"], &problem["max"]),
            (&json!("x"), &json!(0.0), &json!(250.0))
        );
    }
    let done = command(&daemon, "stage", "query", json!({ "text": "VEL?" }));
    assert_eq!((&done["state"], &done["reason"]), (&json!("completed"), &json!("20.0")));
    assert_eq!(stage.moves(), 2, "{:?}", stage.heard());
    assert!(!stage.heard().iter().any(|line| line.contains("25")), "{:?}", stage.heard());
}

#[test]
fn a_stop_ends_a_move_and_says_that_it_did() {
    let dir = tempfile::tempdir().unwrap();
    let (stage, daemon) = start(&dir.path().join("stage"));
    let id = begin(&daemon, "move", json!({ "target": { "x": 200.0 } }));
    until_state("it to move", || instrument(&daemon, "stage"), |i| i["is_moving"] == true);
    assert_eq!(command(&daemon, "stage", "stop", json!({}))["state"], "completed");
    let moved = end(&daemon, &id);
    assert_eq!(
        (&moved["state"], &moved["code"]),
        (&json!("failed"), &json!("stopped_externally")),
        "{moved}"
    );
    let now = until_state("it to stand", || instrument(&daemon, "stage"), |i| i["is_moving"] == false);
    assert!(now["position"]["x"].as_f64().unwrap() < 190.0, "{now}");
    // At the device itself: it is noticed as well.
    let id = begin(&daemon, "move", json!({ "target": { "x": 240.5 } }));
    until_state("it to move", || instrument(&daemon, "stage"), |i| i["is_moving"] == true);
    stage.stage.lock().unwrap().answer("HALT");
    let moved = end(&daemon, &id);
    assert_eq!(
        (&moved["state"], &moved["code"]),
        (&json!("failed"), &json!("stopped_externally")),
        "{moved}"
    );
    assert_eq!(command(&daemon, "stage", "safe", json!({}))["state"], "completed");
}

#[test]
fn severities_follow_the_bands_and_what_is_not_heard_is_invalid() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("stage");
    let (stage, daemon) = start(&link);
    let severity = |wanted: &str| {
        until_state(wanted, || instrument(&daemon, "stage"), |i| i["channels"]["x"]["severity"] == wanted)
    };
    stage.stage.lock().unwrap().axes[0].to = 210.0;
    assert_eq!(severity("MINOR")["status_code"], 200);
    stage.stage.lock().unwrap().axes[0].to = 245.0;
    let before = severity("MAJOR")["channels"]["x"]["last_changed"].clone();
    // Restarted, it is the same value as before: when it changed stays known, and it is not current at first.
    drop(stage);
    let now = severity("INVALID");
    assert_eq!((&now["connected"], &now["channels"]["x"]["value"]), (&json!(false), &json!(245.0)));
    assert_ne!(now["channels"]["x"]["last_changed"], before, "its quality changed");
}

#[test]
fn a_plug_pulled_during_a_move_and_garbage_fail_it_and_all_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("stage");
    let (stage, daemon) = start(&link);
    let id = begin(&daemon, "move", json!({ "target": { "x": 200.0 } }));
    until_state("it to move", || instrument(&daemon, "stage"), |i| i["is_moving"] == true);
    drop(stage);
    let moved = end(&daemon, &id);
    assert_eq!((&moved["state"], &moved["code"]), (&json!("failed"), &json!("device_error")), "{moved}");
    until_state("its loss", || instrument(&daemon, "stage"), |i| i["connected"] == false);
    // Nobody is there: the answer comes at once.
    let refused = command(&daemon, "stage", "set", json!({ "channel": "x", "value": 1 }));
    assert_eq!(
        (&refused["state"], &refused["code"]),
        (&json!("failed"), &json!("device_error")),
        "{refused}"
    );
    assert!(refused["reason"].as_str().unwrap().starts_with("not connected"), "{refused}");

    let stage = Plugged::at(&link);
    until_state("its return", || instrument(&daemon, "stage"), |i| i["channels"]["x"]["quality"] == "good");
    stage.stage.lock().unwrap().garbage = Some("\u{1b}[2J".into());
    let done = command(&daemon, "stage", "set", json!({ "channel": "x", "value": 1 }));
    assert_eq!((&done["state"], &done["code"]), (&json!("failed"), &json!("device_error")), "{done}");
    until_state("what was bad", || source(&daemon, "stage"), |s| s["detail"]["bad_lines"].as_u64() > Some(0));
    stage.stage.lock().unwrap().garbage = None;
    let done = command(&daemon, "stage", "set", json!({ "channel": "x", "value": 2 }));
    assert_eq!(done["state"], "completed", "{done}");
}

#[test]
fn when_a_value_changed_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("stage");
    let _stage = Plugged::at(&link);
    let data = dir.path().join("data");
    let options = || Options::default().config(&config(&link.display().to_string()));
    let mut daemon = options().start_in(&data);
    let good = |daemon: &Daemon| {
        until_state("x", || instrument(daemon, "stage"), |i| i["channels"]["x"]["quality"] == "good")
    };
    let before = good(&daemon)["channels"]["x"]["last_changed"].clone();
    assert_eq!(daemon.stop(), 0);
    let daemon = options().start_in(&data);
    let now = good(&daemon);
    assert_eq!(now["channels"]["x"]["last_changed"], before, "nothing has changed but who looks");
    assert!(now["channels"]["x"]["last_updated"].as_str() > before.as_str());
}

#[test]
fn an_instrument_behind_a_socket_is_driven_as_one_at_a_port() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stage = Arc::new(Mutex::new(Stage::default()));
    let serve = |listener: TcpListener, stage: Arc<Mutex<Stage>>, lines: usize| {
        std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let mut writer = socket.try_clone().unwrap();
            for line in BufReader::new(socket).lines().take(lines) {
                let Ok(line) = line else { break };
                let answer = stage.lock().unwrap().answer(&line);
                if answer.is_some_and(|answer| writeln!(writer, "{answer}").is_err()) {
                    break;
                }
            }
            listener
        })
    };
    // It hangs up after so many lines.
    let thread = serve(listener, Arc::clone(&stage), 60);
    let daemon = Options::default().config(&config(&format!("tcp://{address}"))).start();
    until_state("the stage", || instrument(&daemon, "stage"), |i| i["channels"]["x"]["value"] == 0.0);
    assert_eq!(source(&daemon, "stage")["detail"]["device"], format!("tcp://{address}"));
    let done = command(&daemon, "stage", "move", json!({ "target": { "x": 1.0 } }));
    assert_eq!(done["state"], "completed", "{done}");
    let listener = thread.join().unwrap();
    until("its loss", || {
        (source(&daemon, "stage")["reconnects"].as_u64() > Some(0)
            || instrument(&daemon, "stage")["connected"] == false)
            .then_some(())
    });
    let _thread = serve(listener, Arc::clone(&stage), usize::MAX);
    until_state(
        "its return",
        || instrument(&daemon, "stage"),
        |i| i["connected"] == true && i["channels"]["x"]["quality"] == "good",
    );
    drop(daemon);
}
