//! Programs at the bench that execute scans of their own: the contract by plain HTTP, and the two examples with the real
//! binary, through pause, resume, abort and a daemon that is killed.

use crate::harness::{Daemon, Options, PATIENCE, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn register(daemon: &Daemon, id: &str, more: Value) -> Value {
    let mut wish = json!({ "scan_id": id, "executor": "external", "name": "Cooldown" });
    wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = daemon.post("/api/scans", &wish.to_string());
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

fn scan(daemon: &Daemon, id: &str) -> Value {
    let answer = daemon.get(&format!("/api/scans/{id}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn post(daemon: &Daemon, id: &str, body: Value) -> (u16, Value) {
    let answer = daemon.post(&format!("/api/scans/{id}/data"), &body.to_string());
    (answer.status, answer.json())
}

/// Says what the program does; gives the answer.
fn say(daemon: &Daemon, id: &str, state: &str) -> (u16, Value) {
    let answer = daemon.post(&format!("/api/scans/{id}/control"), &json!({ "state": state }).to_string());
    (answer.status, answer.json())
}

#[test]
fn a_list_goes_on_through_scans_that_only_events_tell_of() {
    let daemon = Daemon::start();
    register(&daemon, "R1", json!({}));
    for n in 0..5 {
        let payload = json!({
            "scan_id": format!("E{n}"), "status": "running", "pending": null, "progress": null,
            "allowed_actions": [], "revision": 1, "timestamp": "2026-01-07T15:30:00.000Z"
        });
        let status = json!({ "type": "scan_status", "payload": payload });
        let answer = daemon.post("/api/events", &status.to_string());
        assert!((200..300).contains(&answer.status), "{}", answer.text());
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = daemon.get(&format!("/api/scans?limit=2{cursor}")).json();
        assert_eq!(page["total"], 6);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2, "{page}");
        seen.extend(items.iter().map(|scan| scan["scan_id"].as_str().unwrap().to_string()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["R1", "E4", "E3", "E2", "E1", "E0"]);
}

fn command(daemon: &Daemon, id: &str, action: &str) -> String {
    let answer = daemon.post(&format!("/api/scans/{id}/{action}"), "{}");
    assert_eq!(answer.status, 202, "{action}: {}", answer.text());
    answer.json()["command_id"].as_str().unwrap().to_string()
}

fn outcome(daemon: &Daemon, command: &str) -> Value {
    until("the command to end", || {
        let result = daemon.get(&format!("/api/commands/{command}")).json();
        (result["state"] != "accepted").then_some(result)
    })
}

fn status_is(daemon: &Daemon, id: &str, status: &str) -> Value {
    // It may not be registered yet.
    let scan = || Some(daemon.get(&format!("/api/scans/{id}"))).filter(|a| a.status == 200).map(|a| a.json());
    until(&format!("{id} to be {status}"), || scan().filter(|scan| scan["status"] == status))
}

/// Every row that was told of a scan, by number; fails when one was told twice.
fn told(daemon: &Daemon, id: &str) -> BTreeMap<u64, Value> {
    let mut rows = BTreeMap::new();
    let mut since = "earliest".to_string();
    loop {
        let poll = daemon
            .get(&format!(
                "/api/events?topics=scan/{id}&types=data_point,data_batch&since={since}&limit=1000"
            ))
            .json();
        assert!(poll["gap"].is_null(), "{poll}");
        for event in poll["events"].as_array().unwrap() {
            let payload = &event["payload"];
            let mut add =
                |n: u64, data: Value| assert!(rows.insert(n, data).is_none(), "row {n} was told twice");
            match payload["sequence_index"].as_u64() {
                Some(n) => add(n, payload["data"].clone()),
                None => {
                    let columns = payload["data"].as_object().unwrap();
                    let first = payload["first_index"].as_u64().unwrap();
                    for n in 0..columns.values().next().unwrap().as_array().unwrap().len() {
                        let row =
                            columns.iter().map(|(name, cells)| (name.clone(), cells[n].clone())).collect();
                        add(first + n as u64, Value::Object(row));
                    }
                }
            }
        }
        since = poll["cursor"].as_str().unwrap().to_string();
        if poll["more"] != true {
            return rows;
        }
    }
}

#[test]
fn rows_come_once_in_order_and_in_any_shape() {
    let daemon = Daemon::start();
    let columns = json!([{ "name": "T", "unit": "K" }, { "name": "spectrum", "dtype": "array" }]);
    let scan_id = daemon.post(
        "/api/scans",
        &json!({ "executor": "external", "columns": columns, "points_total": 20 }).to_string(),
    );
    assert_eq!(scan_id.status, 201, "{}", scan_id.text());
    let status = scan_id.json();
    assert_eq!(
        (&status["status"], &status["executor"], &status["lease_s"]),
        (&json!("running"), &json!("external"), &json!(30.0))
    );
    let id = status["scan_id"].as_str().unwrap().to_string();
    assert!(id.starts_with("SCAN_"), "{id}");

    let row = |n: u64| json!({ "sequence_index": n, "data": { "T": n as f64 + 0.5 } });
    let (code, answer) = post(&daemon, &id, row(0));
    assert_eq!((code, &answer["accepted"], &answer["last_index"]), (200, &json!(1), &json!(0)));
    assert_eq!(answer["control"]["pending"], Value::Null);
    let (code, answer) = post(&daemon, &id, row(0));
    assert_eq!(
        (code, &answer["accepted"], &answer["duplicates"]),
        (200, &json!(0), &json!(1)),
        "the same again"
    );
    let (code, answer) = post(&daemon, &id, json!({ "sequence_index": 0, "data": { "T": 99 } }));
    assert_eq!((code, &answer["type"]), (409, &json!("conflict")), "{answer}");
    let (code, answer) = post(&daemon, &id, row(5));
    assert_eq!((code, &answer["type"], &answer["expected"]), (409, &json!("gap"), &json!(1)), "{answer}");
    assert_eq!(answer["last_index"], 0);

    // An array, a batch of columns, one without a number, one whose column holds arrays.
    assert_eq!(post(&daemon, &id, json!([row(1), row(2)])).1["accepted"], 2);
    let batch = json!({ "first_index": 3, "data": { "T": [3.5, 4.5] }, "t_rel": [1, 2] });
    assert_eq!(post(&daemon, &id, batch).1["last_index"], 4);
    assert_eq!(post(&daemon, &id, json!({ "data": { "T": 5.5 } })).1["last_index"], 5);
    assert_eq!(post(&daemon, &id, json!({ "data": { "spectrum": [1, 2, 3] } })).1["last_index"], 6);
    // Another measurement counts for itself.
    assert_eq!(
        post(&daemon, &id, json!({ "measurement": "dmm", "data": { "V": 9.91e37 } })).1["last_index"],
        0
    );

    for (body, code, kind) in [
        (r#"{"data":{"T":NaN}}"#, 400, "malformed_event"),
        (r#"{"data":{"T":1}"#, 400, "malformed_event"),
        (r#"{"data":{}}"#, 422, "invalid_event"),
        (r#"{"data":{"T":{}}}"#, 422, "invalid_event"),
        ("", 400, "empty_body"),
    ] {
        let answer = daemon.post(&format!("/api/scans/{id}/data"), body);
        assert_eq!(
            (answer.status, answer.json()["type"].as_str()),
            (code, Some(kind)),
            "{body}: {}",
            answer.text()
        );
    }
    assert_eq!(post(&daemon, "nobody", row(0)).0, 404);
    let scan = scan(&daemon, &id);
    assert_eq!(scan["num_points"], json!({ "main": 7, "dmm": 1 }));
    assert_eq!(scan["last_index"], json!({ "main": 6, "dmm": 0 }));
    assert_eq!(scan["columns"]["main"][0]["unit"], "K");
    let (code, end) = say(&daemon, &id, "completed");
    assert_eq!((code, &end["status"], &end["num_points"]["main"]), (200, &json!("completed"), &json!(7)));
    assert_eq!(post(&daemon, &id, row(7)).1["type"], "ended");
}

#[test]
fn lines_of_ten_thousand_points() {
    let daemon = Daemon::start();
    register(&daemon, "fast", json!({ "points_total": 10_000 }));
    let lines = |from: u64, to: u64| -> String {
        (from..to)
            .map(|n| format!("{{\"sequence_index\":{n},\"data\":{{\"x\":{n},\"y\":{}}}}}\n", n * n))
            .collect()
    };
    let send = |text: &str| {
        daemon.request(
            "POST",
            "/api/scans/fast/data",
            &[("Content-Type", "application/x-www-form-urlencoded")],
            text.as_bytes(),
        )
    };
    let began = Instant::now();
    let answer = send(&lines(0, 10_000));
    println!("10,000 points in {:?}", began.elapsed());
    assert_eq!((answer.status, &answer.json()["accepted"]), (200, &json!(10_000)), "{}", answer.text());
    // All of them once more, as after a lost answer.
    let answer = send(&lines(0, 10_000)).json();
    assert_eq!((&answer["accepted"], &answer["duplicates"]), (&json!(0), &json!(10_000)));
    // An array is one step, and has a bound.
    let array = format!("[{}]", lines(0, 10_001).trim().replace('\n', ","));
    let answer = send(&array);
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert!(answer.text().contains("at most 10000"), "{}", answer.text());
    assert_eq!(scan(&daemon, "fast")["points_done"], 10_000);
    // A fault in the middle says where; what came before it is in.
    let answer = send(&format!("{}\n\nnonsense\n{}", lines(9_999, 10_000).trim(), lines(10_000, 10_001)));
    assert_eq!((answer.status, &answer.json()["line"]), (400, &json!(3)), "{}", answer.text());
    assert_eq!((&answer.json()["accepted"], &answer.json()["duplicates"]), (&json!(0), &json!(1)));
    assert_eq!(say(&daemon, "fast", "completed").1["progress"], 1.0);
    let rows = told(&daemon, "fast");
    assert_eq!(rows.len(), 10_000);
    assert!(rows.iter().all(|(n, row)| row["y"] == json!(n * n)));
}

#[test]
fn who_waits_for_a_command_is_woken() {
    let mut daemon = Daemon::start();
    register(&daemon, "s", json!({}));
    let wait = |daemon: &Daemon| {
        let mut socket = daemon.connect();
        let head = format!(
            "GET /api/scans/s/control?wait=25 HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            daemon.addr
        );
        std::io::Write::write_all(&mut socket, head.as_bytes()).unwrap();
        std::thread::spawn(move || {
            let mut text = String::new();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = socket.read_to_string(&mut text);
            (text, Instant::now())
        })
    };
    let poll = wait(&daemon);
    // It waits: a connection has a thread of its own.
    let pause = command(&daemon, "s", "pause");
    let asked = Instant::now();
    let (text, woken) = poll.join().unwrap();
    println!("woken {:?} after the command", woken.saturating_duration_since(asked));
    assert!(text.contains("\"pending\":\"pause\"") && text.contains(&pause), "{text}");
    assert!(woken.saturating_duration_since(asked) < Duration::from_secs(2));

    let (code, answer) = say(&daemon, "s", "paused");
    assert_eq!(
        (code, &answer["status"], &answer["control"]["pending"]),
        (200, &json!("paused"), &Value::Null)
    );
    assert_eq!(outcome(&daemon, &pause)["state"], "completed");
    assert_eq!(daemon.post("/api/scans/s/pause", "{}").status, 200, "it is paused already");
    for (query, code) in [("wait=x", 400), ("wait=-1", 400), ("for=1", 400), ("wait=0", 200), ("", 200)] {
        assert_eq!(daemon.get(&format!("/api/scans/s/control?{query}")).status, code, "{query}");
    }
    // The end of the daemon ends it as well.
    let poll = wait(&daemon);
    assert_eq!(daemon.stop(), 0);
    poll.join().unwrap();
}

#[test]
fn a_program_that_does_not_confirm_is_told_of_and_stays_asked() {
    let daemon = Daemon::start();
    register(&daemon, "deaf", json!({ "ack_timeout_s": 0.3 }));
    let pause = command(&daemon, "deaf", "pause");
    assert_eq!(daemon.post("/api/scans/deaf/pause", "{}").status, 200, "asked for already");
    let result = outcome(&daemon, &pause);
    assert_eq!(
        (&result["state"], &result["reason"]),
        (&json!("timed_out"), &json!("the bench program did not confirm"))
    );
    let now = scan(&daemon, "deaf");
    assert_eq!(
        (&now["status"], &now["pending"]),
        (&json!("running"), &json!("pause")),
        "what is, is not what was asked"
    );
    // The opposite takes it back.
    let resume = command(&daemon, "deaf", "resume");
    assert_eq!(outcome(&daemon, &resume)["state"], "completed");
    assert_eq!(scan(&daemon, "deaf")["pending"], Value::Null);
    // An abort that nobody confirms is an alert, and force ends it without the program.
    let abort = command(&daemon, "deaf", "abort");
    assert_eq!(outcome(&daemon, &abort)["state"], "timed_out");
    let alert = until("an alert", || {
        let alerts = daemon.get("/api/alerts").json();
        alerts["items"].as_array()?.iter().find(|a| a["alert_id"] == "scan.deaf.abort").cloned()
    });
    assert_eq!(alert["severity"], "MAJOR");
    assert_eq!(scan(&daemon, "deaf")["status"], "running");
    let answer = daemon.post("/api/scans/deaf/abort", r#"{"force":true}"#);
    assert_eq!(answer.status, 202, "{}", answer.text());
    status_is(&daemon, "deaf", "aborted");
    let control = daemon.get("/api/scans/deaf/control").json();
    assert_eq!(control["pending"], "abort", "it still has to clean up");
    assert_eq!(say(&daemon, "deaf", "aborted").0, 200);
    let words = [("{}", 400), (r#"{"state":"queued"}"#, 400), (r#"{"state":"running"}"#, 409)];
    for (body, code) in words {
        assert_eq!(daemon.post("/api/scans/deaf/control", body).status, code, "{body}");
    }
}

#[test]
fn silence_is_an_alert_and_at_last_the_end() {
    let daemon = Daemon::start();
    let mut stream = daemon.stream("topics=scan/quiet,alerts&types=alert,scan_status", None);
    register(&daemon, "quiet", json!({ "lease_s": 0.4, "points_total": 4 }));
    post(&daemon, "quiet", json!({ "data": { "T": 1 } }));
    let alert = loop {
        let alert = stream.wait("alert").payload();
        if alert["alert_id"] == "scan.quiet.silent" {
            break alert;
        }
    };
    assert_eq!((&alert["severity"], &alert["state"]), (&json!("MINOR"), &json!("active")), "{alert}");
    let stale = until("values that are stale", || {
        Some(scan(&daemon, "quiet")).filter(|s| s["quality"] == "uncertain")
    });
    assert_eq!((&stale["status"], &stale["quality_reason"]), (&json!("running"), &json!("stale")));
    let end = status_is(&daemon, "quiet", "failed");
    assert_eq!((&end["exit_reason"], &end["progress"]), (&json!("publisher_lost"), &json!(0.25)), "{end}");
    // Who comes back is told to end what it does.
    let (code, answer) = post(&daemon, "quiet", json!({ "data": { "T": 2 } }));
    assert_eq!(
        (code, &answer["type"], &answer["control"]["pending"]),
        (409, &json!("ended"), &json!("abort")),
        "{answer}"
    );
    let (code, answer) = say(&daemon, "quiet", "aborted");
    assert_eq!(
        (code, &answer["status"], &answer["control"]["pending"]),
        (200, &json!("failed"), &Value::Null)
    );
    assert_eq!(daemon.request("DELETE", "/api/scans/quiet", &[], b"").status, 200);
    assert_eq!(daemon.get("/api/scans/quiet").status, 404);
}

#[test]
fn two_hundred_at_a_time_and_each_viewer_gets_what_it_asked_for() {
    let daemon = Daemon::start();
    let one = std::cell::RefCell::new(
        daemon.stream("topics=scan/p7&types=data_point,data_batch&state=false", None),
    );
    let mut global = daemon.stream("topics=global&types=data_point,data_batch,scan_status&state=false", None);
    const SCANS: usize = 200;
    std::thread::scope(|scope| {
        for part in 0..4 {
            let daemon = &daemon;
            scope.spawn(move || {
                for n in (part..SCANS).step_by(4) {
                    register(daemon, &format!("p{n}"), json!({ "points_total": 5 }));
                }
                for row in 0..5 {
                    for n in (part..SCANS).step_by(4) {
                        let (code, answer) = post(
                            daemon,
                            &format!("p{n}"),
                            json!({ "sequence_index": row, "data": { "n": n } }),
                        );
                        assert_eq!((code, &answer["accepted"]), (200, &json!(1)), "{answer}");
                    }
                }
                for n in (part..SCANS).step_by(4) {
                    assert_eq!(say(daemon, &format!("p{n}"), "completed").0, 200);
                }
            });
        }
    });
    let mut rows = 0;
    while rows < 5 {
        let frame = one.borrow_mut().next_real().unwrap();
        if frame.event == "data_point" || frame.event == "data_batch" {
            let payload = frame.payload();
            assert_eq!(payload["scan_id"], "p7");
            rows += payload["data"]["n"].as_array().map_or(1, Vec::len);
        }
    }
    let mut done = 0;
    while done < SCANS {
        let frame = global.next_real().unwrap();
        assert!(!frame.event.starts_with("data_"), "rows are not global: {frame:?}");
        done += usize::from(frame.event == "scan_status" && frame.payload()["status"] == "completed");
    }
    let list = daemon.get("/api/scans?status=completed&limit=150").json();
    assert_eq!((list["items"].as_array().unwrap().len(), &list["total"]), (150, &json!(SCANS)));
    let next = list["next"].as_str().unwrap();
    let rest = daemon.get(&format!("/api/scans?status=completed&limit=150&cursor={next}")).json();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (50, &Value::Null));
    assert_eq!(daemon.get("/api/scans?text=P199").json()["total"], 1);
}

#[test]
fn what_a_program_logs_is_data() {
    let daemon = Daemon::start();
    register(&daemon, "s", json!({ "name": "<b>bold</b>" }));
    let text = "<img src=x onerror=alert(1)>\u{202e}";
    let line = json!({ "level": "warning", "message": text, "code": "valve", "data": { "at": 4.2 } });
    let answer = daemon.post("/api/scans/s/log", &line.to_string());
    assert_eq!((answer.status, &answer.json()["accepted"]), (202, &json!(1)), "{}", answer.text());
    assert_eq!(answer.json()["control"]["status"], "running");
    let events = daemon.get("/api/events?topics=scan/s&types=queue_log&since=earliest");
    assert_eq!(events.header("content-type"), Some("application/json"));
    assert_eq!(events.header("x-content-type-options"), Some("nosniff"));
    let events = events.json();
    let told = events["events"].as_array().unwrap().iter().find(|e| e["payload"]["code"] == "valve").unwrap();
    assert_eq!((&told["payload"]["message"], &told["payload"]["level"]), (&json!(text), &json!("WARNING")));
    assert_eq!(scan(&daemon, "s")["name"], "<b>bold</b>");
    let two =
        daemon.post("/api/scans/s/log", "{\"message\":\"a\"}\n{\"message\":\"b\",\"level\":\"ERROR\"}\n");
    assert_eq!(two.json()["accepted"], 2);
    for (path, body, code) in [
        ("s", "{}".to_string(), 422),
        ("s", r#"{"message":"x","level":"LOUD"}"#.into(), 422),
        ("s", json!({ "message": "x".repeat(5_000) }).to_string(), 422),
        ("nobody", r#"{"message":"x"}"#.into(), 404),
    ] {
        assert_eq!(daemon.post(&format!("/api/scans/{path}/log"), &body).status, code, "{body}");
    }
}

#[test]
fn a_registration_has_rules() {
    let daemon = Daemon::start();
    for (wish, field) in [
        (json!({}), "executor"),
        (json!({ "executor": "magic" }), "executor"),
        (json!({ "executor": "external", "queue_id": "q" }), "queue_id"),
        (json!({ "executor": "external", "scan_id": "a b" }), "scan_id"),
        (json!({ "executor": "external", "lease_s": 0 }), "lease_s"),
        (json!({ "executor": "external", "lease_s": "long" }), "lease_s"),
        (json!({ "executor": "external", "ack_timeout_s": 1e9 }), "ack_timeout_s"),
        (json!({ "executor": "external", "points_total": 0 }), "points_total"),
        (json!({ "executor": "external", "start": "never" }), "start"),
        (json!({ "executor": "external", "columns": 7 }), "columns"),
        (json!({ "executor": "external", "columns": [{ "name": "x" }, { "name": "x" }] }), "columns"),
        (json!({ "executor": "external", "columns": [{ "name": "x", "dtype": "complex" }] }), "columns"),
    ] {
        let answer = daemon.post("/api/scans", &wish.to_string());
        assert_eq!(
            (answer.status, answer.json()["field"].as_str()),
            (422, Some(field)),
            "{wish}: {}",
            answer.text()
        );
    }
    assert_eq!(daemon.get("/api/scans").json()["total"], 0, "nothing was begun");
    register(&daemon, "mine", json!({ "columns": { "dmm": ["V", { "name": "I", "unit": "A" }] } }));
    let again = daemon.post("/api/scans", r#"{"executor":"external","scan_id":"mine"}"#);
    assert_eq!(again.status, 200, "its program was started anew");
    assert_eq!(say(&daemon, "mine", "failed").1["exit_reason"], "error");
    let again = daemon.post("/api/scans", r#"{"executor":"external","scan_id":"mine"}"#);
    assert_eq!(
        (again.status, again.json()["type"].as_str()),
        (409, Some("exists")),
        "an id is never used again"
    );
    // One that waits begins when somebody starts it.
    let waits = register(&daemon, "waits", json!({ "start": "wait" }));
    assert_eq!((&waits["status"], &waits["allowed_actions"]), (&json!("queued"), &json!(["start", "abort"])));
    assert_eq!(post(&daemon, "waits", json!({ "data": { "x": 1 } })).1["type"], "not_started");
    assert_eq!(daemon.post("/api/scans/waits/pause", "{}").status, 409);
    let start = command(&daemon, "waits", "start");
    // Accepted, and then done by the thread of the lab.
    until("the start to be asked for", || {
        (daemon.get("/api/scans/waits/control").json()["pending"] == "start").then_some(())
    });
    say(&daemon, "waits", "running");
    assert_eq!(outcome(&daemon, &start)["status"], "running");
}

/// A program of the examples, ended with the test.
struct Program(Child);

impl Program {
    fn start(mut command: Command) -> Program {
        Program(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn shell(addr: SocketAddr, id: &str, dir: &Path, env: &[(&str, &str)]) -> Program {
        let mut command = Command::new("bash");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/bench-program.sh"));
        command.args([format!("http://{addr}"), id.into()]).env("ROWS", dir.join("rows")).current_dir(dir);
        command.envs(env.iter().copied()).env("LEASE", "20");
        Program::start(command)
    }

    fn python(addr: SocketAddr, id: &str, args: &[&str]) -> Program {
        let mut command = Command::new("python3");
        command.arg("-B").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/bench_program.py"));
        command.args([format!("http://{addr}"), id.into()]).args(args).args(["--lease", "20"]);
        Program::start(command)
    }

    /// Waits for its end; gives what it said.
    fn end(mut self) -> (i32, String) {
        let status = until("the program to end", || self.0.try_wait().unwrap());
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (status.code().unwrap_or(-1), text)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn points(daemon: &Daemon, id: &str) -> u64 {
    let answer = daemon.get(&format!("/api/scans/{id}"));
    if answer.status == 200 { answer.json()["num_points"]["main"].as_u64().unwrap_or(0) } else { 0 }
}

/// What the issue asks of a program: pause holds, resume continues, the daemon's death costs nothing, abort ends.
fn lives_through_everything(start: impl Fn(SocketAddr, &Path) -> Program, id: &str) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut daemon = Options::default().start_in(&data);
    let program = start(daemon.addr, dir.path());
    until("some points", || (points(&daemon, id) >= 5).then_some(()));

    let pause = command(&daemon, id, "pause");
    assert_eq!(outcome(&daemon, &pause)["state"], "completed");
    let held = points(&daemon, id);
    assert_eq!(scan(&daemon, id)["status"], "paused");
    // A heartbeat says that nothing came for five seconds.
    let mut stream =
        daemon.stream(&format!("topics=scan/{id}&types=data_point,data_batch&state=false"), None);
    while stream.next().unwrap().event != "heartbeat" {}
    assert_eq!(points(&daemon, id), held, "pause holds");
    let resume = command(&daemon, id, "resume");
    assert_eq!(outcome(&daemon, &resume)["state"], "completed");
    let before = until("it to go on", || Some(points(&daemon, id)).filter(|n| *n > held + 3));

    daemon.kill();
    let listen = daemon.addr.to_string();
    drop(daemon);
    let daemon = Options::default().arg("--listen").arg(&listen).start_in(&data);
    let now = scan(&daemon, id);
    assert_eq!(now["status"], "running", "a program may well go on: {now}");
    until("it to go on", || (points(&daemon, id) > before + 5).then_some(()));

    let abort = command(&daemon, id, "abort");
    assert_eq!(outcome(&daemon, &abort)["state"], "completed");
    let (code, said) = program.end();
    assert_eq!(code, 0, "{said}");
    let end = scan(&daemon, id);
    let count = end["num_points"]["main"].as_u64().unwrap();
    assert_eq!((&end["status"], &end["exit_reason"]), (&json!("aborted"), &json!("user_abort")));
    assert!((end["progress"].as_f64().unwrap() - count as f64 / 1000.0).abs() < 1e-6, "{end}");
    let rows = told(&daemon, id);
    assert_eq!(
        rows.keys().copied().collect::<Vec<_>>(),
        (0..count).collect::<Vec<_>>(),
        "no row lost, none doubled"
    );
    for (n, row) in rows {
        let kelvin = 4.0 + 296.0 * (-(n as f64) / 40.0).exp();
        assert!((row["T"].as_f64().unwrap() - kelvin).abs() < 0.001, "row {n}: {row}");
        assert_eq!(row["heater"], n % 2);
    }
}

#[test]
fn the_shell_program_lives_through_everything() {
    let env = [("POINTS", "1000"), ("INTERVAL", "0.02")];
    lives_through_everything(|addr, dir| Program::shell(addr, "shell-1", dir, &env), "shell-1");
}

#[test]
fn the_python_program_lives_through_everything() {
    let args = ["--points", "1000", "--interval", "0.05"];
    lives_through_everything(|addr, _| Program::python(addr, "python-1", &args), "python-1");
}

#[test]
fn programs_end_by_themselves_and_go_on_when_started_anew() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start();
    let shell = |id: &str, env: &[(&str, &str)]| Program::shell(daemon.addr, id, dir.path(), env);
    let (code, said) = shell("short", &[("POINTS", "5"), ("INTERVAL", "0")]).end();
    assert_eq!(code, 0, "{said}");
    let end = scan(&daemon, "short");
    assert_eq!((&end["status"], &end["progress"]), (&json!("completed"), &json!(1.0)));
    let (code, said) = Program::python(daemon.addr, "short-py", &["--points", "5", "--interval", "0"]).end();
    assert_eq!(code, 0, "{said}");
    assert_eq!(scan(&daemon, "short-py")["exit_reason"], "finished");

    // Killed in the middle and started again with the same id: it goes on after the last row.
    for python in [false, true] {
        let id = if python { "again-py" } else { "again" };
        let run = |points: &str| match python {
            true => Program::python(daemon.addr, id, &["--points", points, "--interval", "0.02"]),
            false => shell(id, &[("POINTS", points), ("INTERVAL", "0.02")]),
        };
        let first = run("1000");
        until("some points", || (points(&daemon, id) >= 5).then_some(()));
        drop(first);
        let had = points(&daemon, id);
        let (code, said) = run(&(had + 5).to_string()).end();
        assert_eq!(code, 0, "{said}");
        let rows = told(&daemon, id);
        assert_eq!(rows.keys().copied().collect::<Vec<_>>(), (0..rows.len() as u64).collect::<Vec<_>>());
        assert!(rows.len() as u64 >= had + 5);
        assert_eq!(scan(&daemon, id)["status"], "completed");
    }

    // Started by somebody, stopped early.
    let waits = shell("waits", &[("INTERVAL", "0.02"), ("START", "wait")]);
    status_is(&daemon, "waits", "queued");
    let start = command(&daemon, "waits", "start");
    assert_eq!(outcome(&daemon, &start)["state"], "completed");
    until("some points", || (points(&daemon, "waits") >= 2).then_some(()));
    command(&daemon, "waits", "stop");
    assert_eq!(status_is(&daemon, "waits", "completed")["exit_reason"], "stopped_early");
    assert_eq!(waits.end().0, 0);
}
