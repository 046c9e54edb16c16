//! Queues and scans over HTTP, with a supply and a meter on pseudo-terminals.

use crate::harness::{Daemon, Options, Response, until};
use crate::pty::Device;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the instruments do, for the test to change.
#[derive(Default)]
struct Bench {
    /// Lines that were sent, with the instrument before them.
    heard: Mutex<Vec<String>>,
    /// What the supply was set to.
    volts: Mutex<f64>,
    /// The supply does not reach what it is set to from here on.
    stuck_from: Mutex<Option<f64>>,
    /// What the meter says next; empty: what the supply is set to.
    readings: Mutex<Vec<&'static str>>,
}

impl Bench {
    fn sent(&self, begins: &str) -> Vec<String> {
        self.heard.lock().unwrap().iter().filter(|line| line.starts_with(begins)).cloned().collect()
    }

    fn answer(&self, id: &str, line: &str) -> Option<String> {
        self.heard.lock().unwrap().push(format!("{id} {line}"));
        let volts = *self.volts.lock().unwrap();
        if let Some(volts) = line.strip_prefix("VOLT ") {
            *self.volts.lock().unwrap() = volts.trim().parse().unwrap();
            return None;
        }
        Some(match line {
            "*IDN?" => format!("TEST,{},1,1", id.to_uppercase()),
            "SYST:ERR?" => "0,\"No error\"".into(),
            "VOLT?" => {
                let stuck = self.stuck_from.lock().unwrap().is_some_and(|from| volts >= from - 1e-9);
                format!("{:.4}", if stuck { -1.0 } else { volts })
            }
            "MEAS:VOLT?" => {
                let mut readings = self.readings.lock().unwrap();
                if readings.is_empty() { format!("{volts:.4}") } else { readings.remove(0).to_string() }
            }
            "*OPC?" => "1".into(),
            _ if line.ends_with('?') => "0".into(),
            _ => return None,
        })
    }
}

/// One instrument that is plugged in until it is dropped.
struct Plugged {
    pull: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Plugged {
    fn new(bench: &Arc<Bench>, id: &'static str, path: &Path) -> Plugged {
        let (device, bench) = (Device::plugged_in_as(path), Arc::clone(bench));
        let pull = Arc::new(AtomicBool::new(false));
        let pulled = Arc::clone(&pull);
        let thread = std::thread::spawn(move || {
            let mut line = String::new();
            while !pulled.load(Ordering::Relaxed) {
                if !device.has_something() {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                let heard = device.hear();
                if heard.is_empty() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                for c in heard.chars() {
                    if c != '\n' && c != '\r' {
                        line.push(c);
                    } else if !line.is_empty() {
                        if let Some(answer) = bench.answer(id, &std::mem::take(&mut line)) {
                            device.say(format!("{answer}\n").as_bytes());
                        }
                        line.clear();
                    }
                }
            }
        });
        Plugged { pull, thread: Some(thread) }
    }
}

impl Drop for Plugged {
    fn drop(&mut self) {
        self.pull.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct World {
    daemon: Daemon,
    bench: Arc<Bench>,
    /// The supply and the meter.
    plugged: Vec<Plugged>,
    dir: tempfile::TempDir,
}

fn options(dir: &Path) -> Options {
    let (psu, dmm) = (dir.join("psu"), dir.join("dmm"));
    Options::default().config(&format!(
        r#"
[store]
commit = "20ms"
[lab]
abort_after = "2s"
[[serial]]
id = "psu"
device = "{}"
protocol = "scpi"
instrument = "psu"
stale_after = "2s"
[serial.scpi]
expect = "PSU"
timeout = "1s"
poll = "500ms"
channels = [{{ name = "voltage", get = "VOLT?", set = "VOLT {{:.3f}}", unit = "V", min = 0, max = 6, tolerance = 0.002, settle = "8s" }}]
[[serial]]
id = "dmm"
device = "{}"
protocol = "scpi"
instrument = "dmm"
stale_after = "30s"
[serial.scpi]
expect = "DMM"
timeout = "1s"
poll = "10s"
channels = [{{ name = "voltage", get = "MEAS:VOLT?", unit = "V" }}]
"#,
        psu.display(),
        dmm.display()
    ))
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let bench = Arc::new(Bench::default());
    let plugged = vec![
        Plugged::new(&bench, "psu", &dir.path().join("psu")),
        Plugged::new(&bench, "dmm", &dir.path().join("dmm")),
    ];
    let daemon = options(dir.path()).start_in(&dir.path().join("data"));
    let world = World { daemon, bench, plugged, dir };
    world.connected();
    world
}

/// `points` from 0 in steps of 10 mV, one every `interval_s`.
fn iv(points: u64) -> Value {
    json!({
        "name": format!("IV {points}"),
        "axes": [{"set": "psu.voltage", "start": 0, "stop": (points - 1) as f64 / 100.0, "points": points}],
        "measure": ["dmm.voltage"],
    })
}

impl World {
    fn connected(&self) {
        until("both instruments to answer", || {
            let both = ["psu", "dmm"].iter().all(|id| {
                let state = self.daemon.get(&format!("/api/instruments/{id}"));
                state.status == 200 && state.json()["channels"]["voltage"]["quality"] == "good"
            });
            both.then_some(())
        });
    }

    fn ok(&self, response: Response, status: u16) -> Value {
        assert_eq!(response.status, status, "{}", response.text());
        response.json()
    }

    fn queue(&self) -> String {
        let made = self.ok(self.daemon.post("/api/queues", r#"{"name":"Monday batch"}"#), 201);
        made["queue_id"].as_str().unwrap().to_string()
    }

    fn add(&self, queue: &str, scans: Value) -> Vec<String> {
        let added = self.ok(self.daemon.post(&format!("/api/queues/{queue}/scans"), &scans.to_string()), 201);
        added["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["scan_id"].as_str().unwrap().to_string())
            .collect()
    }

    fn scan(&self, id: &str) -> Value {
        self.ok(self.daemon.get(&format!("/api/scans/{id}")), 200)
    }

    fn until_scan(&self, id: &str, status: &str) -> Value {
        until(&format!("{id} to be {status}"), || Some(self.scan(id)).filter(|s| s["status"] == status))
    }

    fn until_queue(&self, id: &str, status: &str) -> Value {
        until(&format!("{id} to be {status}"), || {
            let queue = self.ok(self.daemon.get(&format!("/api/queues/{id}")), 200);
            Some(queue).filter(|queue| queue["status"] == status)
        })
    }

    fn until_points(&self, id: &str, points: u64) {
        until(&format!("{points} points of {id}"), || {
            (self.scan(id)["points_done"].as_u64() >= Some(points)).then_some(())
        });
    }

    /// Every row of a scan that was published, in order, as objects of its columns.
    fn rows(&self, id: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut cursor = "earliest".to_string();
        loop {
            let path = format!(
                "/api/events?topics=scan/{id}&types=data_point,data_batch&since={cursor}&format=json"
            );
            let answer = self.ok(self.daemon.get(&path), 200);
            for event in answer["events"].as_array().unwrap() {
                let payload = &event["payload"];
                if event["type"] == "data_point" {
                    rows.push(json!({"index": payload["sequence_index"], "data": payload["data"], "quality": payload["quality"]}));
                    continue;
                }
                let first = payload["first_index"].as_u64().unwrap();
                for n in 0..payload["t_rel"].as_array().unwrap().len() {
                    let columns = payload["data"].as_object().unwrap();
                    let data: serde_json::Map<String, Value> =
                        columns.iter().map(|(name, values)| (name.clone(), values[n].clone())).collect();
                    rows.push(json!({"index": first + n as u64, "data": data}));
                }
            }
            cursor = answer["cursor"].as_str().unwrap().to_string();
            if answer["more"] != true {
                return rows;
            }
        }
    }

    fn command(&self, path: &str, body: &str, status: u16) -> Value {
        self.ok(self.daemon.post(path, body), status)
    }

    fn result(&self, command: &Value) -> Value {
        let id = command["command_id"].as_str().unwrap();
        until(&format!("the end of {id}"), || {
            let result = self.daemon.get(&format!("/api/commands/{id}")).json();
            (result["state"] != "accepted").then_some(result)
        })
    }
}

#[test]
fn three_scans_are_queued_watched_paused_and_one_is_aborted() {
    let world = world();
    let queue = world.queue();
    let mut slow = iv(50);
    slow["axes"][0]["settle_s"] = json!(0.05);
    let ids = world.add(&queue, json!([slow, slow, iv(3)]));
    let mut stream = world.daemon.stream(&format!("topics=scan/{}", ids[0]), None);
    world.command(&format!("/api/queues/{queue}/start"), "{}", 202);
    let first = stream.wait("data_point").payload();
    assert_eq!((&first["sequence_index"], &first["scan_id"]), (&json!(0), &json!(ids[0])));
    let pause = world.command(&format!("/api/scans/{}/pause", ids[0]), "{}", 202);
    assert_eq!((&pause["state"], &pause["pending"]), (&json!("accepted"), &json!("pause")));
    // Asked for twice is asked for once.
    world.command(&format!("/api/scans/{}/pause", ids[0]), "{}", 200);
    assert_eq!(world.result(&pause)["status"], "paused");
    world.command(&format!("/api/scans/{}/pause", ids[0]), "{}", 200);
    let paused = world.scan(&ids[0]);
    assert_eq!((&paused["status"], &paused["pending"]), (&json!("paused"), &Value::Null));
    assert!(paused["allowed_actions"].as_array().unwrap().contains(&json!("resume")));
    let sent = world.bench.sent("psu VOLT ").len();
    let resume = world.command(&format!("/api/scans/{}/resume", ids[0]), "{}", 202);
    assert_eq!(world.result(&resume)["status"], "running");
    assert!(world.bench.sent("psu VOLT ").len() > sent, "what was set is set again");
    let done = world.until_scan(&ids[0], "completed");
    assert_eq!((&done["progress"], &done["num_points"]["main"]), (&json!(1.0), &json!(50)));
    let indexes: Vec<u64> = world.rows(&ids[0]).iter().map(|row| row["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..50).collect::<Vec<u64>>(), "each row once, in order, with no gap");
    world.until_points(&ids[1], 3);
    let abort = world.command(&format!("/api/queues/{queue}/abort"), r#"{"by":"eva"}"#, 202);
    assert_eq!(world.result(&abort)["status"], "paused");
    assert_eq!(world.scan(&ids[1])["status"], "aborted");
    let refused = world.command(&format!("/api/scans/{}/resume", ids[1]), "{}", 409);
    assert_eq!((&refused["from"], &refused["action"]), (&json!("aborted"), &json!("resume")));
    assert_eq!(refused["allowed_actions"], json!([]));
    assert_eq!(world.scan(&ids[2])["status"], "queued");
    world.command(&format!("/api/queues/{queue}/resume"), "{}", 202);
    world.until_scan(&ids[2], "completed");
    let queue = world.until_queue(&queue, "completed");
    assert_eq!(
        (&queue["completed_scans"], &queue["aborted_scans"], &queue["total_scans"]),
        (&json!(2), &json!(1), &json!(3))
    );
}

#[test]
fn after_a_kill_in_a_scan_its_rows_are_there_and_nothing_moves() {
    let mut world = world();
    let queue = world.queue();
    let ids = world.add(&queue, json!([iv(100), iv(2)]));
    // Stays before its 38th point.
    *world.bench.stuck_from.lock().unwrap() = Some(0.37);
    world.command(&format!("/api/queues/{queue}/start"), "{}", 202);
    world.until_points(&ids[0], 37);
    // Rows are on the disk within the commit window.
    until("the rows to be stored", || (world.rows(&ids[0]).len() == 37).then_some(()));
    let head = world.daemon.publish("app/marker", "{}");
    assert!(!head.is_empty());
    let stored =
        world.daemon.post("/api/events?durable=true", r#"{"type":"test","topic":"app/marker","payload":{}}"#);
    assert_eq!(stored.status, 201);
    world.daemon.kill();
    let sent = world.bench.sent("psu VOLT ").len();
    world.daemon = options(world.dir.path()).start_in(&world.dir.path().join("data"));
    world.connected();
    let scan = world.scan(&ids[0]);
    assert_eq!((&scan["status"], &scan["exit_reason"]), (&json!("failed"), &json!("interrupted")));
    assert_eq!((&scan["points_done"], &scan["progress"]), (&json!(37), &json!(0.37)));
    assert_eq!(scan["num_points"]["main"], 37);
    let now = world.until_queue(&queue, "paused");
    assert_eq!((&now["pause_reason"], &now["order"]), (&json!("restart"), &json!([ids[1]])));
    assert_eq!(world.bench.sent("psu VOLT ").len(), sent, "nothing moves by itself");
    *world.bench.stuck_from.lock().unwrap() = None;
    world.command(&format!("/api/queues/{queue}/resume"), "{}", 202);
    world.until_scan(&ids[1], "completed");
}

#[test]
fn a_pause_during_a_move_waits_for_the_point() {
    let world = world();
    let queue = world.queue();
    let ids = world.add(&queue, json!([iv(20)]));
    *world.bench.stuck_from.lock().unwrap() = Some(0.05);
    world.command(&format!("/api/queues/{queue}/start"), "{}", 202);
    world.until_points(&ids[0], 5);
    let pause = world.command(&format!("/api/queues/{queue}/pause"), "{}", 202);
    until("it to be asked for", || (world.scan(&ids[0])["pending"] == "pause").then_some(()));
    let moving = world.scan(&ids[0]);
    assert_eq!((&moving["status"], &moving["points_done"]), (&json!("running"), &json!(5)));
    *world.bench.stuck_from.lock().unwrap() = None;
    assert_eq!(world.result(&pause)["status"], "paused");
    let paused = world.scan(&ids[0]);
    assert_eq!((&paused["status"], &paused["points_done"]), (&json!("paused"), &json!(6)));
    assert_eq!(world.rows(&ids[0]).len(), 6, "the point was stored before");
    let abort = world.command(&format!("/api/scans/{}/abort", ids[0]), "{}", 202);
    assert_eq!(world.result(&abort)["state"], "completed");
}

#[test]
fn aborted_at_37_of_100_it_stays_at_that() {
    let world = world();
    let queue = world.queue();
    let ids = world.add(&queue, json!([iv(100)]));
    *world.bench.stuck_from.lock().unwrap() = Some(0.37);
    world.command(&format!("/api/queues/{queue}/start"), "{}", 202);
    world.until_points(&ids[0], 37);
    until("it to move", || (world.bench.sent("psu VOLT 0.37").len() == 1).then_some(()));
    let abort = world.command(&format!("/api/scans/{}/abort", ids[0]), "{}", 202);
    let result = world.result(&abort);
    assert_eq!((&result["state"], &result["status"]), (&json!("completed"), &json!("aborted")));
    assert!(result["latency_ms"].as_u64().unwrap() < 1_000, "{result}");
    let scan = world.scan(&ids[0]);
    assert_eq!((&scan["progress"], &scan["num_points"]["main"]), (&json!(0.37), &json!(37)));
    world.command(&format!("/api/scans/{}/abort", ids[0]), "{}", 200);
    let again = world.ok(world.daemon.post(&format!("/api/scans/{}/requeue", ids[0]), "{}"), 201);
    assert_eq!((&again["retry_of"], &again["status"]), (&json!(ids[0]), &json!("queued")));
}

#[test]
fn a_target_out_of_limits_is_refused_before_anything_is_sent() {
    let world = world();
    let queue = world.queue();
    let bad = json!({"axes": [{"set": "psu.voltage", "start": 0, "stop": 60, "points": 3}], "measure": ["dmm.volts"]});
    let refused = world.daemon.post(&format!("/api/queues/{queue}/scans"), &json!([iv(2), bad]).to_string());
    assert_eq!(refused.status, 422, "{}", refused.text());
    let violations = refused.json()["violations"].as_array().unwrap().clone();
    assert!(violations.len() >= 2, "{violations:?}");
    assert!(violations.iter().any(|v| v["field"].as_str().unwrap().contains("stop")), "{violations:?}");
    let validated = world.command("/api/scans/validate", &bad.to_string(), 200);
    assert_eq!(validated["valid"], false);
    assert_eq!(world.bench.sent("psu VOLT "), Vec::<String>::new());
    let list = world.ok(world.daemon.get(&format!("/api/queues/{queue}/scans")), 200);
    assert_eq!(list["items"], json!([]), "all or none");
}

#[test]
fn an_instrument_is_unplugged_in_a_scan_and_comes_back() {
    let mut world = world();
    let queue = world.queue();
    let mut slow = iv(40);
    slow["axes"][0]["settle_s"] = json!(0.05);
    let ids = world.add(&queue, json!([slow]));
    world.command(&format!("/api/queues/{queue}/start"), "{}", 202);
    world.until_points(&ids[0], 3);
    drop(world.plugged.pop());
    let paused = world.until_scan(&ids[0], "paused");
    assert!(paused["error"].as_str().unwrap().contains("dmm"), "{}", paused["error"]);
    let alerts = world.ok(world.daemon.get("/api/alerts"), 200).to_string();
    assert!(alerts.contains(&format!("scan.{}", ids[0])), "{alerts}");
    let taken = paused["points_done"].as_u64().unwrap();
    world.plugged.push(Plugged::new(&world.bench, "dmm", &world.dir.path().join("dmm")));
    world.connected();
    let resume = world.command(&format!("/api/scans/{}/resume", ids[0]), "{}", 202);
    assert_eq!(world.result(&resume)["status"], "running");
    let done = world.until_scan(&ids[0], "completed");
    assert_eq!(done["points_done"], 40, "{taken} were there before");
    assert_eq!(done["error"], Value::Null);
}

#[test]
fn what_is_no_number_becomes_null_in_valid_json() {
    let world = world();
    let queue = world.queue();
    *world.bench.readings.lock().unwrap() = vec!["NaN", "9.91E37", "+9.9E37", "1.5"];
    let ids =
        world.add(&queue, json!([{"axes": [], "count": 4, "interval_s": 0.15, "measure": ["dmm.voltage"]}]));
    world.command(&format!("/api/queues/{queue}/start"), "{}", 202);
    world.until_scan(&ids[0], "completed");
    let rows = world.rows(&ids[0]);
    assert_eq!(rows.len(), 4);
    for (row, quality) in rows.iter().zip(["bad/nan", "bad/nan", "bad/overrange"]) {
        assert_eq!(row["data"]["dmm.voltage"], Value::Null, "{row}");
        assert_eq!(row["quality"]["dmm.voltage"], quality);
    }
    assert_eq!(rows[3]["data"]["dmm.voltage"], 1.5);
}

#[test]
fn of_two_who_reorder_at_once_one_is_told() {
    let world = world();
    let queue = world.queue();
    let ids = world.add(&queue, json!([iv(2), iv(2), iv(2), iv(2)]));
    let version = world.ok(world.daemon.get(&format!("/api/queues/{queue}")), 200)["order_version"].clone();
    let path = format!("/api/queues/{queue}/move");
    let answers: Vec<Response> = std::thread::scope(|scope| {
        let wishes = [(&ids[3], 0), (&ids[2], 1)];
        let threads: Vec<_> = wishes
            .iter()
            .map(|(scan, position)| {
                let body =
                    json!({"scan_id": scan, "position": position, "order_version": version}).to_string();
                let (daemon, path) = (&world.daemon, &path);
                scope.spawn(move || daemon.post(path, &body))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let refused = answers.iter().find(|answer| answer.status == 409).unwrap().json();
    assert_eq!(refused["type"], "order_version");
    assert_eq!(refused["order_version"].as_u64(), version.as_u64().map(|v| v + 1));
    assert_eq!(refused["order"].as_array().unwrap().len(), 4);
}
