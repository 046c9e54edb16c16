//! Real input, end to end: pins through rppal and a fake chip, serial lines through rppal and a pseudo-terminal, to
//! the bus, the store and a browser's stream.

use crate::fakepi::FakePi;
use crate::harness::{Daemon, Frame, Options, Stream, until};
use crate::pty::Device;
use serde_json::{Value, json};

/// The newest payload of a state key, such as `source_status/door`.
fn state(daemon: &Daemon, kind: &str, id: (&str, &str)) -> Value {
    let all = daemon.get("/api/state?topics=*").json();
    let found =
        all["state"].as_array().unwrap().iter().find(|e| e["type"] == kind && e["payload"][id.0] == id.1);
    found.map_or(Value::Null, |e| e["payload"].clone())
}

fn source(daemon: &Daemon, id: &str) -> Value {
    state(daemon, "source_status", ("source_id", id))
}

/// Waits until a source stands like this.
fn until_source(daemon: &Daemon, id: &str, status: &str) -> Value {
    let mut last = Value::Null;
    until(&format!("{id} to be {status}"), || {
        last = source(daemon, id);
        (last["status"] == status).then(|| last.clone())
    })
}

/// The next event of this type whose payload passes.
fn next_that(stream: &mut Stream, kind: &str, mut check: impl FnMut(&Value) -> bool) -> Frame {
    loop {
        let frame = stream.wait(kind);
        if check(&frame.payload()) {
            return frame;
        }
    }
}

/// Everything published so far is on the disk.
fn durable(daemon: &Daemon) {
    let answer =
        daemon.post("/api/events?durable=true", r#"{"type":"mark","topic":"app/mark","payload":{}}"#);
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// Records of a type on a topic since the beginning.
fn records(daemon: &Daemon, topic: &str, kind: &str) -> Vec<Value> {
    let all =
        daemon.get(&format!("/api/events?topics={topic}&types={kind}&since=earliest&format=json")).json();
    all["events"].as_array().unwrap().iter().map(|e| e["payload"].clone()).collect()
}

#[test]
fn an_edge_and_a_line_reach_a_browser_and_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (pi, meter) = (FakePi::new(), Device::plugged_in_as(&dir.path().join("meter")));
    let config = format!(
        r#"
        [[gpio]]
        id = "door"
        pin = 17
        pull = "up"
        active_low = true
        edge = "both"
        topic = "app/door"

        [[serial]]
        id = "meter"
        device = "{}"
        baud = 9600
        format = "json"
        stream = "temp"
        hello = "*IDN?\n"
        "#,
        dir.path().join("meter").display()
    );
    let data = dir.path().join("data");
    let mut daemon = pi.board(Options::default().config(&config)).start_in(&data);
    until_source(&daemon, "door", "ok");
    until_source(&daemon, "meter", "no_data");
    assert_eq!(meter.hear(), "*IDN?\n");
    let mut stream = daemon.stream("topics=app/door,stream/temp", None);
    stream.wait("hello");
    pi.set(17, true);
    let edge = stream.wait("edge").payload();
    assert_eq!(
        (&edge["pin"], &edge["edge"], &edge["level"], &edge["active"]),
        (&json!(17), &json!("rising"), &json!(1), &json!(false))
    );
    // A stream that was opened since the port is not the beginning of a line: the first one may be dropped.
    meter.say(b"\n{\"t\":21.5}\n");
    let value = next_that(&mut stream, "stream_value", |p| p["value"] == 21.5).payload();
    assert_eq!((&value["stream_id"], &value["quality"]), (&json!("temp"), &json!("good")));
    durable(&daemon);
    daemon.kill();

    let daemon = pi.board(Options::default().config(&config)).start_in(&data);
    assert_eq!(records(&daemon, "app/door", "edge"), [edge]);
    let kept = state(&daemon, "stream_value", ("stream_id", "temp"));
    assert_eq!(
        (&kept["value"], &kept["quality"], &kept["quality_reason"]),
        (&json!(21.5), &json!("uncertain"), &json!("initial"))
    );
    // And it goes on.
    until_source(&daemon, "door", "ok");
    pi.set(17, false);
    until("the next edge", || (records(&daemon, "app/door", "edge").len() == 2).then_some(()));
    meter.say(b"\n{\"t\":22.5}\n");
    until("the next value", || {
        (state(&daemon, "stream_value", ("stream_id", "temp"))["quality"] == "good").then_some(())
    });
}

fn is_stopped(daemon: &Daemon) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
}

/// rppal's asynchronous interrupts end for good when a signal interrupts their wait; SIGSTOP and SIGCONT do, and so
/// does every reload. The pins must not notice.
#[test]
fn stopping_and_continuing_loses_no_edge() {
    let pi = FakePi::new();
    let config = "[[gpio]]\nid = \"flow\"\npin = 17\ntopic = \"app/flow\"\n[[gpio]]\nid = \"other\"\npin = 4\nstream = \"other\"\n";
    let daemon = pi.board(Options::default().config(config)).start();
    until_source(&daemon, "flow", "ok");
    let mut level = false;
    let mut sent = 0u64;
    for _ in 0..5 {
        daemon.signal("STOP");
        until("it to stop", || is_stopped(&daemon).then_some(()));
        daemon.signal("CONT");
        until("it to go on", || (!is_stopped(&daemon)).then_some(()));
        for _ in 0..100 {
            level = !level;
            pi.set(17, level);
            sent += 1;
        }
        daemon.signal("HUP");
    }
    // Many at once are told together: each is in one record or counted in one.
    let together = |kind: &str| -> u64 {
        records(&daemon, "app/flow", kind).iter().map(|r| r["edges"].as_u64().unwrap_or(1)).sum()
    };
    until("every edge", || (together("edge") + together("edge_batch") >= sent).then_some(()));
    assert_eq!(together("edge") + together("edge_batch"), sent);
    for (n, edge) in records(&daemon, "app/flow", "edge").iter().enumerate() {
        assert_eq!(
            (&edge["count"], &edge["edge"], &edge["lost"]),
            (&json!(n + 1), &json!(["rising", "falling"][n % 2]), &json!(0))
        );
    }
    let last = records(&daemon, "app/flow", "edge_batch").pop().unwrap();
    assert_eq!((&last["count"], &last["lost"]), (&json!(sent), &json!(0)));
    pi.set(4, true);
    until("the other pin", || {
        (state(&daemon, "stream_value", ("stream_id", "other"))["value"] == 1.0).then_some(())
    });
}

#[test]
fn edges_that_are_lost_are_counted_and_levels_healed() {
    let pi = FakePi::new();
    let config = "[[gpio]]\nid = \"p\"\npin = 22\ntopic = \"app/p\"\n[[gpio]]\nid = \"rec\"\npin = 5\nrecorder = \"rec1\"\nactive = \"recording\"\ninactive = \"idle\"\n";
    let daemon = pi.board(Options::default().config(config)).start();
    until_source(&daemon, "p", "ok");
    pi.drop_edge(22, true);
    pi.set(22, false);
    let lost =
        |n: u64| until("the count", || (source(&daemon, "p")["detail"]["lost_edges"] == n).then_some(()));
    lost(1);
    pi.miss(22, true);
    lost(2);
    let levels = records(&daemon, "app/p", "level");
    assert_eq!((&levels[1]["reason"], &levels[1]["level"]), (&json!("reread"), &json!(1)));
    assert_eq!(records(&daemon, "app/p", "edge").len(), 1, "nothing is made up");
    pi.miss(5, true);
    until("the recorder", || {
        (state(&daemon, "recorder_status", ("recorder_id", "rec1"))["status"] == "recording").then_some(())
    });
}

#[test]
fn a_device_pulled_out_comes_back_and_nonsense_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("by-id");
    let config = format!(
        "[[serial]]\nid = \"meter\"\ndevice = \"{}\"\nbaud = 9600\nformat = \"json\"\ninstrument = \"psu\"\nstale_after = \"1s\"\nmax_line = 64\n",
        name.display()
    );
    let daemon = Options::default().config(&config).start();
    let absent = until_source(&daemon, "meter", "absent");
    assert!(absent["last_error"].as_str().unwrap().contains("it is not there"), "{absent}");

    let psu = || state(&daemon, "instrument_status", ("instrument_id", "psu"));
    let device = Device::plugged_in_as(&name);
    until_source(&daemon, "meter", "no_data");
    device.say(b"\n{\"volts\":12.5}\r\n");
    until("volts", || (psu()["channels"]["volts"]["value"] == 12.5).then_some(()));
    until_source(&daemon, "meter", "stale");
    assert_eq!(psu()["channels"]["volts"]["quality_reason"], "stale");

    device.say(b"gar\x00bage\xff\n{\"volts\":");
    device.say(format!("{}\n", "x".repeat(200)).as_bytes());
    device.say(b"{\"volts\":9.91E37}\n{\"volts\":13");
    until("the missing value", || (psu()["channels"]["volts"]["quality_reason"] == "nan").then_some(()));
    drop(device);
    let gone = until_source(&daemon, "meter", "absent");
    assert!(gone["last_error"].as_str().unwrap().contains("gone"), "{gone}");
    assert_eq!(psu()["status"], "disconnected");
    // Garbage, the over-long line with the half one before it, and the half line at the end.
    assert_eq!((&gone["detail"]["bad_lines"], &gone["detail"]["overlong"]), (&json!(3), &json!(1)), "{gone}");

    let device = Device::plugged_in_as(&name);
    until("the reconnect", || (source(&daemon, "meter")["reconnects"] == 1).then_some(()));
    device.say(b"\n{\"volts\":11}\n");
    until("volts again", || (psu()["channels"]["volts"]["value"] == 11.0).then_some(()));
    until_source(&daemon, "meter", "ok");
}

#[cfg(not(any(target_arch = "arm", target_arch = "aarch64")))]
#[test]
fn off_a_board_one_sentence_says_so_and_the_rest_runs() {
    let config =
        "[[gpio]]\nid = \"a\"\npin = 5\nrecorder = \"r\"\n[[gpio]]\nid = \"b\"\npin = 6\ntopic = \"app/b\"\n";
    let daemon = Options::default().config(config).start();
    until_source(&daemon, "a", "absent");
    until_source(&daemon, "b", "absent");
    assert_eq!(state(&daemon, "recorder_status", ("recorder_id", "r"))["status"], "offline");
    assert_eq!(daemon.log().matches("gpio is absent").count(), 1, "{}", daemon.log());
    let health = until("the host's health", || {
        let all = daemon.get("/api/state?topics=system").json();
        all["state"]
            .as_array()
            .unwrap()
            .iter()
            .find(|e| e["type"] == "system_health")
            .map(|e| e["payload"].clone())
    });
    assert!(health["memory"]["total"].as_u64().unwrap() > 0);
    assert!(health["process"]["threads"].as_u64().unwrap() > 3);
}

/// A reload gives pins and ports back and takes them anew; a line that was not released would be refused as busy.
#[test]
fn a_reload_takes_the_inputs_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (pi, _meter) = (FakePi::new(), Device::plugged_in_as(&dir.path().join("meter")));
    let port = format!(
        "[[serial]]\nid = \"meter\"\ndevice = \"{}\"\nbaud = 9600\nformat = \"json\"\nstream = \"temp\"\n",
        dir.path().join("meter").display()
    );
    let pin = "[[gpio]]\nid = \"door\"\npin = 17\ninstrument = \"old\"\n";
    let daemon = pi.board(Options::default().config(&format!("{pin}{port}"))).start();
    until_source(&daemon, "door", "ok");
    until_source(&daemon, "meter", "no_data");
    let changed = format!("{}{port}", pin.replace("old", "new").replace("door", "gate"));
    std::fs::write(daemon.data.join("test.toml"), changed).unwrap();
    daemon.signal("HUP");
    until_source(&daemon, "gate", "ok");
    until_source(&daemon, "door", "disabled");
    until_source(&daemon, "meter", "no_data");
    assert_eq!(state(&daemon, "instrument_status", ("instrument_id", "old"))["status"], "disconnected");
    pi.set(17, true);
    let new = || state(&daemon, "instrument_status", ("instrument_id", "new"));
    until("the pin under its new name", || (new()["channels"]["gate"]["value"] == 1.0).then_some(()));
}
