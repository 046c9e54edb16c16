//! A recorder, end to end: on a pseudo-terminal that obeys, one that does not, one over HTTP that falls silent, and jobs.

use crate::harness::{Daemon, Options, until};
use crate::pty::Device;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;

fn recorder(daemon: &Daemon, id: &str) -> Value {
    daemon.get(&format!("/api/recorders/{id}")).json()
}

fn until_recorder(daemon: &Daemon, what: &str, check: impl Fn(&Value) -> bool) -> Value {
    until(what, || {
        let now = recorder(daemon, "deck");
        check(&now).then_some(now)
    })
}

fn start(daemon: &Daemon, path: &str, body: &str) -> String {
    let answer = until("the command to be taken", || {
        let answer = daemon.post(path, body);
        (answer.status != 404).then_some(answer)
    });
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["command_id"].as_str().unwrap().to_string()
}

fn end(daemon: &Daemon, command: &str) -> Value {
    until("the end of the command", || {
        let result = daemon.get(&format!("/api/commands/{command}")).json();
        (result["state"] != "accepted").then_some(result)
    })
}

fn config(tty: &Path) -> String {
    format!(
        r#"
        [[serial]]
        id = "line"
        device = "{}"
        format = "json"
        recorder = "deck"
        stale_after = "30s"

        [[recorder]]
        id = "deck"
        name = "Tape deck"
        start = {{ serial = "line", send = "REC\n" }}
        stop = {{ serial = "line", send = "STOP\n" }}
        split = {{ serial = "line", send = "MARK\n" }}
        confirm_within = "1s"
        split_after = "15m"
        listen_url = "http://deck.local/live"
        "#,
        tty.display()
    )
}

/// Waits until the recorder is told this.
fn hears(deck: &Device, wanted: &str) {
    let mut heard = String::new();
    until(&format!("{wanted} at the recorder, which heard {heard:?}"), || {
        if deck.has_something() {
            heard += &deck.hear();
        }
        heard.contains(wanted).then_some(())
    });
}

#[test]
fn start_split_and_stop_are_confirmed_by_what_the_recorder_says() {
    let dir = tempfile::tempdir().unwrap();
    let tty = dir.path().join("deck");
    let deck = Device::plugged_in_as(&tty);
    let data = dir.path().join("data");
    let daemon = Options::default().config(&config(&tty)).start_in(&data);
    let say = |text: &str| deck.say(format!("\n{text}\n").as_bytes());
    until("the port", || {
        say(r#"{"status":"idle","level_db":-50,"threshold_db":-40}"#);
        (recorder(&daemon, "deck")["status"] == "idle").then_some(())
    });
    let now = recorder(&daemon, "deck");
    assert_eq!((&now["name"], &now["allowed_actions"]), (&json!("Tape deck"), &json!(["start"])));
    assert_eq!((&now["listen_url"], &now["max_s"]), (&json!("http://deck.local/live"), &json!(900.0)));
    assert_eq!(daemon.post("/api/recorders/deck/split", "").status, 409);

    let command = start(&daemon, "/api/recorders/deck/start", "");
    hears(&deck, "REC\n");
    assert_eq!(daemon.get(&format!("/api/commands/{command}")).json()["state"], "accepted");
    say(
        r#"{"status":"recording","recording":"a.wav","level_db":-20,"threshold_db":-40,"triggers":"level motion"}"#,
    );
    assert_eq!(end(&daemon, &command)["state"], "completed");
    let now = until_recorder(&daemon, "elapsed time that is counted", |r| {
        r["elapsed_s"].as_f64().is_some_and(|s| s >= 1.0)
    });
    assert_eq!((&now["recording"], &now["triggers"]), (&json!("a.wav"), &json!(["level", "motion"])));
    assert_eq!(now["allowed_actions"], json!(["stop", "split"]));

    let command = start(&daemon, "/api/recorders/deck/split", "");
    hears(&deck, "MARK\n");
    say(r#"{"status":"recording","recording":"b.wav"}"#);
    assert_eq!(end(&daemon, &command)["state"], "completed");
    let now = recorder(&daemon, "deck");
    assert_eq!((&now["last_stop"]["reason"], &now["split_count"]), (&json!("manual split"), &json!(1)));

    // It is told to stop, and goes on.
    let command = start(&daemon, "/api/recorders/deck/stop", r#"{"command_id":"deaf"}"#);
    hears(&deck, "STOP\n");
    let result = end(&daemon, &command);
    assert_eq!(result["state"], "timed_out", "{result}");
    assert!(result["reason"].as_str().unwrap().contains("the recorder says recording"), "{result}");
    let command = start(&daemon, "/api/recorders/deck/stop", "");
    hears(&deck, "STOP\n");
    say(r#"{"status":"idle","clipped":1}"#);
    assert_eq!(end(&daemon, &command)["state"], "completed");
    say(r#"{"status":"idle","clipped":0}"#);
    let now = recorder(&daemon, "deck");
    assert_eq!((&now["last_stop"]["reason"], &now["clipped"]), (&json!("manual stop"), &json!(true)));
    assert_eq!(end(&daemon, &start(&daemon, "/api/recorders/deck/reset", ""))["state"], "completed");
    say(r#"{"status":"idle","clipped":0}"#);
    until_recorder(&daemon, "the lamp to go out", |r| r["clipped"] == false);

    // Pulled out while it records: offline, and why is kept.
    say(r#"{"status":"recording","recording":"c.wav"}"#);
    until_recorder(&daemon, "the recording", |r| r["status"] == "recording");
    let log = daemon.get("/api/events?topics=log&since=earliest&format=json").text();
    assert!(log.contains("Tape deck: recording a.wav began"), "{log}");
    assert!(log.contains("recording a.wav ended after"), "{log}");
    drop(deck);
    let now = until_recorder(&daemon, "offline", |r| r["status"] == "offline");
    assert_eq!((&now["last_stop"]["reason"], &now["allowed_actions"]), (&json!("source lost"), &json!([])));
    assert_eq!(now.get("recording"), None);
    assert_eq!(daemon.post("/api/recorders/deck/start", "").status, 409);
}

#[test]
fn a_recorder_over_http_is_told_by_a_request_and_goes_stale() {
    // The recorder: answers every request, and says what it was asked.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, requests) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = n.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
                head += &line;
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let first = head.lines().next().unwrap_or_default().to_string();
            let code = if first.contains("/broken") { "503 Busy" } else { "204 No Content" };
            write!(&socket, "HTTP/1.1 {code}\r\nConnection: close\r\n\r\n").unwrap();
            if asked.send(format!("{first} {}", String::from_utf8_lossy(&body))).is_err() {
                return;
            }
        }
    });
    let config = format!(
        r#"
        [[recorder]]
        id = "deck"
        start = {{ url = "{url}/rec", method = "PUT", body = "go" }}
        stop = {{ url = "{url}/broken" }}
        auto_on = {{ url = "{url}/auto?on=1" }}
        confirm = "http"
        stale_after = "500ms"
        "#
    );
    let daemon = Options::default().config(&config).start();
    let post = |body: &str| {
        let answer = daemon.post("/api/recorders/deck/state", body);
        assert_eq!(answer.status, 202, "{}", answer.text());
    };
    assert_eq!(recorder(&daemon, "deck")["status"], "offline");
    post(r#"{"status":"idle","auto":false}"#);
    let command = start(&daemon, "/api/recorders/deck/start", "");
    assert_eq!(requests.recv_timeout(crate::harness::PATIENCE).unwrap(), "PUT /rec HTTP/1.1 go");
    post(r#"{"status":"recording","recording":"x","auto":false}"#);
    assert_eq!(end(&daemon, &command)["state"], "completed");
    let result = end(&daemon, &start(&daemon, "/api/recorders/deck/stop", ""));
    assert_eq!(result["state"], "failed", "{result}");
    assert!(result["reason"].as_str().unwrap().contains("answered 503"), "{result}");
    post(r#"{"status":"recording","recording":"x","auto":false}"#);
    let command = start(&daemon, "/api/recorders/deck/auto", r#"{"on":true}"#);
    requests.recv_timeout(crate::harness::PATIENCE).unwrap();
    requests.recv_timeout(crate::harness::PATIENCE).unwrap();
    post(r#"{"status":"recording","recording":"x","auto":true}"#);
    assert_eq!(end(&daemon, &command)["state"], "completed");
    // Silence.
    let now = until_recorder(&daemon, "staleness", |r| r["status"] == "offline");
    assert_eq!(now["last_stop"]["reason"], "status stale");
    // Motion is told to telltale itself.
    assert_eq!(daemon.get("/api/recorders/other/motion").status, 404);
    let told = daemon.post("/api/recorders/deck/motion", r#"{"active":true,"padding_s":0.2,"source":"pir"}"#);
    assert_eq!((told.status, &told.json()["active"]), (202, &json!(true)), "{}", told.text());
    assert_eq!(daemon.post("/api/recorders/deck/motion", r#"{"active":"yes"}"#).status, 400);
    daemon.post("/api/recorders/deck/motion", r#"{"active":false}"#);
    let motion = recorder(&daemon, "deck")["motion"].clone();
    assert_eq!((&motion["active"], &motion["sequence"]), (&json!(false), &json!(2)));
    let now = until_recorder(&daemon, "the padding to end", |r| r["motion"]["padding_until"].is_null());
    assert_eq!(now["motion"]["sequence"], 2);
    let history = daemon.get("/api/recorders/deck/motion").json()["history"].clone();
    assert_eq!((&history[0]["active"], &history[1]["source"]), (&json!(false), &json!("pir")));
}

#[test]
fn a_recording_that_a_kill_cut_off_is_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[[recorder]]\nid = \"deck\"\n";
    let mut daemon = Options::default().config(config).start_in(dir.path());
    let state = r#"{"status":"recording","recording":"x"}"#;
    assert_eq!(daemon.post("/api/recorders/deck/state?durable=true", state).status, 201);
    daemon.kill();
    let daemon = Options::default().config(config).start_in(dir.path());
    until_recorder(&daemon, "offline", |r| r["status"] == "offline");
    daemon.post("/api/recorders/deck/state", r#"{"status":"idle"}"#);
    assert_eq!(recorder(&daemon, "deck")["last_stop"]["reason"], "interrupted by restart");
}

#[test]
fn a_job_without_a_sign_of_life_has_failed_and_a_cancel_reaches_its_poster() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Options::default().config("name = \"t\"\n").start_in(dir.path());
    let job = |daemon: &Daemon, id: &str| daemon.get(&format!("/api/jobs/{id}")).json();
    let first = r#"{"kind":"encode","source":"recovery","lease_s":5,"done":1,"total":4}"#;
    let answer = daemon.post("/api/jobs/dead?durable=true", first);
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!((&job(&daemon, "dead")["progress"], &answer.json()["cancel"]), (&json!(0.25), &Value::Null));
    assert_eq!(daemon.post("/api/jobs/x", r#"{"lease_s":1}"#).status, 422);

    daemon.post(
        "/api/jobs/live",
        r#"{"kind":"ingest","status":"queued","deferred":true,"reason":"recording"}"#,
    );
    assert_eq!(job(&daemon, "live")["reason"], "recording");
    let command = start(&daemon, "/api/jobs/live/cancel", "");
    let answer = daemon.post("/api/jobs/live", r#"{"progress":0.5}"#).json();
    assert_eq!(answer["cancel"], true, "{answer}");
    assert_eq!(job(&daemon, "live")["kind"], "ingest", "what is not said again stays");
    daemon.post("/api/jobs/live", r#"{"status":"cancelled"}"#);
    assert_eq!(end(&daemon, &command)["state"], "completed");
    assert_eq!(daemon.post("/api/jobs/live/cancel", "").status, 404);

    // A restart gives it one lease.
    daemon.kill();
    let daemon = Options::default().config("name = \"t\"\n").start_in(dir.path());
    assert_eq!(job(&daemon, "dead")["status"], "running");
    let end = until("the end of the lease", || {
        let now = job(&daemon, "dead");
        (now["status"] == "failed").then_some(now)
    });
    assert_eq!((&end["error"], &end["source"]), (&json!("no sign of life for 5 s"), &json!("recovery")));
}
