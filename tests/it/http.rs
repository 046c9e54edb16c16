//! What programs and the page use: publishing, reading, commands, access.

use crate::harness::{Daemon, Options, Response, telltale, until};
use serde_json::{Value, json};
use std::io::{BufReader, Write};

fn event(n: u64) -> String {
    format!(r#"{{"type":"mine","topic":"app/x","payload":{{"n":{n}}}}}"#)
}

/// The numbers published on `app/x`, in order.
fn numbers(daemon: &Daemon) -> Vec<u64> {
    let answer = daemon.get("/api/events?topics=app/x&since=earliest&limit=10000").json();
    answer["events"].as_array().unwrap().iter().map(|e| e["payload"]["n"].as_u64().unwrap()).collect()
}

fn counts(answer: &Response) -> (u64, u64) {
    let body = answer.json();
    (body["accepted"].as_u64().unwrap(), body["duplicates"].as_u64().unwrap())
}

/// Sends a body in chunks, a piece each.
fn chunked(daemon: &Daemon, headers: &str, pieces: &[&str]) -> Response {
    let mut socket = daemon.connect();
    write!(
        socket,
        "POST /api/events HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n{headers}\r\n",
        daemon.addr
    )
    .unwrap();
    for piece in pieces {
        write!(socket, "{:x}\r\n{piece}\r\n", piece.len()).unwrap();
    }
    socket.write_all(b"0\r\n\r\n").unwrap();
    Response::read(&mut BufReader::new(socket))
}

#[test]
fn one_event_an_array_or_lines_in_any_content_type() {
    let daemon = Daemon::start();
    let post = |kind: &str, body: &str| {
        let answer = daemon.request("POST", "/api/events", &[("Content-Type", kind)], body.as_bytes());
        assert_eq!(answer.status, 202, "{kind} {body}: {}", answer.text());
        counts(&answer).0
    };
    assert_eq!(post("text/plain", &event(1)), 1);
    assert_eq!(post("application/x-www-form-urlencoded", &format!(" [{},\r\n{}]", event(2), event(3))), 2);
    assert_eq!(post("application/json", &format!("{}\n\n{}\r\n", event(4), event(5))), 2);
    assert_eq!(post("application/x-ndjson", &format!("{}\n{}", event(6), event(7))), 2);
    assert_eq!(
        post("", "{\n  \"type\": \"mine\",\n  \"topic\": \"app/x\",\n  \"payload\": {\n \"n\": 8 }\n}"),
        1
    );
    let pretty = chunked(
        &daemon,
        "Content-Type: application/json\r\n",
        &["{\n\"type\":\"mine\",\"topic\":", "\"app/x\",\n\"payload\":{\"n\":9}}"],
    );
    assert_eq!((pretty.status, counts(&pretty)), (202, (1, 0)));
    let array = chunked(&daemon, "", &["[", &event(10), ",", &event(11), "]"]);
    assert_eq!((array.status, counts(&array)), (202, (2, 0)));
    assert_eq!(numbers(&daemon), (1..=11).collect::<Vec<_>>());
}

#[test]
fn a_fault_says_where_it_is_and_what_was_taken() {
    let daemon = Daemon::start();
    let array = daemon
        .post("/api/events", &format!(r#"[{},{{"type":"mine","topic":"scan/x","payload":{{}}}}]"#, event(1)));
    let problem = array.json();
    assert_eq!(
        (array.status, &problem["index"], &problem["field"], &problem["accepted"]),
        (422, &json!(1), &json!("topic"), &json!(0))
    );
    assert_eq!(numbers(&daemon), [] as [u64; 0], "an array is taken whole or not at all");
    let lines = daemon.request(
        "POST",
        "/api/events",
        &[("Content-Type", "application/x-ndjson")],
        format!("{}\n{}\n{{\"type\":1}}\n{}\n", event(1), event(2), event(3)).as_bytes(),
    );
    let problem = lines.json();
    assert_eq!((lines.status, &problem["line"], &problem["accepted"]), (400, &json!(3), &json!(2)));
    assert_eq!(numbers(&daemon), [1, 2]);
    let missing = daemon.post(
        "/api/events",
        r#"{"type":"log","payload":{"level":"INFO","timestamp":"2026-01-07T15:30:00.000Z"}}"#,
    );
    assert_eq!((missing.status, missing.json()["field"].as_str()), (422, Some("payload.message")));
    assert_eq!(daemon.post("/api/events", "").status, 400);
    assert_eq!(daemon.post("/api/events", "[]").status, 202);
}

#[test]
fn lines_of_a_long_upload_are_seen_as_they_arrive() {
    let daemon = Daemon::start();
    let mut stream = daemon.stream("topics=app/x", None);
    stream.wait("hello");
    let mut upload = daemon.connect();
    write!(
        upload,
        "POST /api/events HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        daemon.addr
    )
    .unwrap();
    for n in 0..5 {
        let (a, b) = (event(n) + "\n").split_at(20).into_owned();
        for piece in [a, b] {
            write!(upload, "{:x}\r\n{piece}\r\n", piece.len()).unwrap();
        }
        assert_eq!(stream.wait("mine").payload()["n"], n);
    }
    upload.write_all(b"0\r\n\r\n").unwrap();
    let answer = Response::read(&mut BufReader::new(upload));
    assert_eq!((answer.status, counts(&answer)), (202, (5, 0)));
}

/// Two owned halves.
trait IntoOwned {
    fn into_owned(self) -> (String, String);
}
impl IntoOwned for (&str, &str) {
    fn into_owned(self) -> (String, String) {
        (self.0.into(), self.1.into())
    }
}

#[test]
fn retries_are_published_once_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Options::default().start_in(dir.path());
    let post = |daemon: &Daemon, headers: &[(&str, &str)], body: &str| {
        let answer = daemon.request("POST", "/api/events?durable=true", headers, body.as_bytes());
        assert_eq!(answer.status, 201, "{}", answer.text());
        (counts(&answer), answer.json()["cursor"].as_str().unwrap().to_string())
    };
    let lines = format!("{}\n{}\n", event(1), event(2));
    let key = [("Idempotency-Key", "upload-1")];
    let first = post(&daemon, &key, &lines);
    assert_eq!(first.0, (2, 0));
    let again = post(&daemon, &key, &lines);
    assert_eq!((again.0, &again.1), ((0, 2), &first.1));
    let keyed = event(3).replace("\"payload\"", "\"key\":\"a\",\"payload\"");
    assert_eq!(post(&daemon, &[], &keyed).0, (1, 0));
    assert_eq!(post(&daemon, &[], &keyed).0, (0, 1));
    let counted = |n: u64, seq: u64| {
        event(n).replace("\"payload\"", &format!("\"producer\":\"box\",\"producer_seq\":{seq},\"payload\""))
    };
    assert_eq!(post(&daemon, &[], &format!("[{},{}]", counted(4, 1), counted(5, 2))).0, (2, 0));
    assert_eq!(post(&daemon, &[], &format!("[{},{}]", counted(5, 2), counted(6, 3))).0, (1, 1));
    daemon.kill();
    let daemon = Options::default().start_in(dir.path());
    assert_eq!(post(&daemon, &key, &lines).0, (0, 2));
    assert_eq!(post(&daemon, &[], &keyed).0, (0, 1));
    assert_eq!(post(&daemon, &[], &counted(6, 3)).0, (0, 1));
    assert_eq!(numbers(&daemon), [1, 2, 3, 4, 5, 6]);
    assert_eq!(daemon.request("POST", "/api/events", &[("Idempotency-Key", "a b")], b"{}").status, 400);
}

#[test]
fn what_was_called_durable_survives_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Options::default().start_in(dir.path());
    for n in 0..20 {
        assert_eq!(daemon.post("/api/events?durable=true", &event(n)).status, 201);
    }
    daemon.kill();
    assert_eq!(numbers(&Options::default().start_in(dir.path())), (0..20).collect::<Vec<_>>());
}

#[test]
fn the_state_has_a_tag() {
    let daemon = Daemon::start();
    daemon.post("/api/recorders/rec1/state", r#"{"status":"armed"}"#);
    let get = |tag: &str, topics: &str| {
        daemon.request("GET", &format!("/api/state?topics={topics}"), &[("If-None-Match", tag)], b"")
    };
    // The host's health is published now and then: the tag may change under us, but not twice in a row.
    let tag = until("a quiet moment", || {
        let first = get("", "recorder/*");
        assert_eq!(
            (first.status, first.json()["state"][0]["payload"]["status"].as_str()),
            (200, Some("armed"))
        );
        let tag = first.header("etag").unwrap().to_string();
        (get(&tag, "recorder/*").status == 304).then_some(tag)
    });
    assert_eq!(get(&tag, "job/*").status, 200, "another selection has another tag");
    daemon.post("/api/recorders/rec1/state", r#"{"status":"recording"}"#);
    assert_eq!(get(&tag, "recorder/*").json()["state"][0]["payload"]["status"], "recording");
}

#[test]
fn one_path_three_transports() {
    let daemon = Daemon::start();
    daemon.publish("app/x", r#"{"n":1}"#);
    let open = |query: &str, accept: &str| {
        let mut socket = daemon.connect();
        write!(socket, "GET /events?topics=app/x&since=earliest&{query} HTTP/1.1\r\nHost: {}\r\nAccept: {accept}\r\n\r\n", daemon.addr).unwrap();
        let mut reader = BufReader::new(socket);
        let head = Response::read_head(&mut reader);
        assert_eq!(head.status, 200);
        head
    };
    let kind = |head: &Response| head.header("content-type").unwrap().to_string();
    let sse = open("", "text/event-stream");
    assert_eq!(kind(&sse), "text/event-stream");
    assert_eq!(sse.header("cache-control"), Some("no-store, no-transform"));
    assert_eq!(sse.header("x-accel-buffering"), Some("no"));
    assert_eq!(sse.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(
        (sse.header("content-length"), sse.header("transfer-encoding"), sse.header("content-encoding")),
        (None, None, None)
    );
    assert_eq!(kind(&open("", "application/x-ndjson")), "application/x-ndjson");
    assert_eq!(kind(&open("", "*/*")), "application/json");
    assert_eq!(kind(&open("format=ndjson", "text/event-stream")), "application/x-ndjson");
    let poll = daemon.get("/api/events?topics=app/x&since=earliest&limit=1").json();
    assert_eq!((poll["events"].as_array().unwrap().len(), &poll["gap"]), (1, &Value::Null));
    let next =
        daemon.get(&format!("/api/events?topics=app/x&since={}", poll["cursor"].as_str().unwrap())).json();
    assert_eq!((next["events"].as_array().unwrap().len(), &next["more"]), (0, &json!(false)));
    let unknown = daemon.get("/api/events?topic=x");
    assert_eq!((unknown.status, unknown.json()["parameter"].as_str()), (400, Some("topic")));
    let head = daemon.request("HEAD", "/api/events?format=sse", &[], b"");
    assert_eq!(kind(&head), "text/event-stream");
}

#[test]
fn little_is_enough_to_be_seen() {
    let daemon = Daemon::start();
    for (path, body) in [
        ("/api/recorders/rec1/state", r#"{"status":"recording","level_db":-20}"#),
        ("/api/instruments/psu/state", r#"{"channels":{"volts":12.5}}"#),
        ("/api/jobs/j1", r#"{"kind":"encode","progress":0.5}"#),
        ("/api/streams/temp", r#"{"value":21.5,"unit":"degC"}"#),
        ("/api/streams/temp", r#"{"status":"live"}"#),
        ("/api/signals/s1", r#"{"events":[1,2,{"value":9,"anomaly":true}]}"#),
        ("/api/detections", r#"{"label":"can","confidence":0.9}"#),
    ] {
        let answer = daemon.post(path, body);
        assert_eq!(answer.status, 202, "{path}: {}", answer.text());
    }
    let items = |kind: &str| daemon.get(&format!("/api/{kind}")).json()["items"].as_array().unwrap().clone();
    assert_eq!(items("recorders")[0]["level_db"], -20.0);
    assert_eq!(items("instruments")[0]["channels"]["volts"]["quality"], "good");
    assert_eq!(items("jobs").len(), 1);
    let stream = &items("streams")[0];
    assert_eq!(
        (&stream["value"], &stream["status"], &stream["unit"]),
        (&json!(21.5), &json!("live"), &json!("degC"))
    );
    assert_eq!(daemon.get("/api/streams/temp").json(), *stream);
    assert_eq!(daemon.get("/api/streams/other").status, 404);
    for (topic, kind, count) in [("signal/s1", "signal_batch", 1), ("detections", "detection", 1)] {
        let events = daemon.get(&format!("/api/events?topics={topic}&since=earliest")).json();
        let of_kind = events["events"].as_array().unwrap().iter().filter(|e| e["type"] == kind).count();
        assert_eq!(of_kind, count, "{events}");
    }
    let system = daemon.get("/api/system").json();
    assert_eq!(
        (&system["version"], &system["bench"], &system["role"]),
        (&json!(env!("CARGO_PKG_VERSION")), &json!(false), &json!("admin"))
    );
}

#[test]
fn commands_are_accepted_then_done() {
    let daemon = Daemon::bench();
    let recorder = until("a recorder that can be commanded", || {
        let first = daemon.get("/api/recorders").json()["items"][0].take();
        first["allowed_actions"].as_array()?.contains(&json!("auto")).then_some(())?;
        first["recorder_id"].as_str().map(str::to_string)
    });
    let post = |path: &str, body: Value| daemon.post(path, &body.to_string());
    let path = |action: &str| format!("/api/recorders/{recorder}/{action}");
    let answer =
        post(&path("auto"), json!({ "on": false, "command_id": "test-1", "reason": "test", "by": "me" }));
    assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
    let body = answer.json();
    assert_eq!((&body["command_id"], &body["action"]), (&json!("test-1"), &json!("auto")));
    for name in ["target", "state", "status", "pending", "allowed_actions", "revision"] {
        assert!(body.get(name).is_some(), "{name} is missing: {body}");
    }
    let result = until("the end of the command", || {
        let result = daemon.get("/api/commands/test-1").json();
        (result["state"] != "accepted").then_some(result)
    });
    assert!(result["latency_ms"].is_u64(), "{result}");
    let again = post(&path("auto"), json!({ "on": false, "command_id": "test-1" }));
    assert_eq!((again.status, &again.json()["state"]), (200, &result["state"]));
    let unknown = post(&path("dance"), json!({}));
    assert_eq!(unknown.status, 404);
    assert!(unknown.json()["actions"].as_array().unwrap().contains(&json!("start")), "{}", unknown.text());
    assert_eq!(post("/api/recorders/nobody/start", json!({})).status, 404);
    assert_eq!(post(&path("start"), json!([])).status, 400);
    assert_eq!(post(&path("start"), json!({ "command_id": "a b" })).status, 400);
    assert_eq!(daemon.get("/api/commands/nothing").status, 404);
    let queue = until("a queue", || {
        daemon.get("/api/queues").json()["items"][0]["queue_id"].as_str().map(str::to_string)
    });
    let stale = post(&format!("/api/queues/{queue}/pause"), json!({ "if_revision": 999_999 }));
    assert_eq!((stale.status, stale.json()["type"].as_str()), (409, Some("revision")));
}

#[test]
fn an_alert_of_another_program_is_acknowledged_and_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Options::default().start_in(dir.path());
    let alert = json!({ "type": "alert", "payload": { "alert_id": "door", "occurrence": 2, "severity": "MAJOR", "state": "active",
        "message": "The door is open.", "raised_at": "2026-01-07T15:30:00.000Z" } });
    assert_eq!(daemon.post("/api/events?durable=true", &alert.to_string()).status, 201);
    assert_eq!(daemon.post("/api/alerts/door/ack", r#"{"occurrence":1}"#).status, 409);
    assert_eq!(daemon.post("/api/alerts/window/ack", "").status, 404);
    let answer = daemon.post("/api/alerts/door/ack", r#"{"occurrence":2,"by":"me"}"#);
    assert_eq!((answer.status, &answer.json()["state"]), (202, &json!("accepted")), "{}", answer.text());
    until("the acknowledgement", || {
        (daemon.get("/api/alerts/door").json()["state"] == "acknowledged").then_some(())
    });
    assert_eq!(daemon.post("/api/alerts/door/ack", r#"{"occurrence":2}"#).status, 200);
    assert_eq!(daemon.stop(), 0);
    let daemon = Options::default().start_in(dir.path());
    let door = daemon.get("/api/alerts/door").json();
    assert_eq!(
        (&door["state"], &door["acked_by"], &door["occurrence"]),
        (&json!("acknowledged"), &json!("me"), &json!(2))
    );
}

#[test]
fn those_who_run_it_can_see_it() {
    let daemon = Daemon::start();
    assert_eq!(daemon.get("/readyz").json()["status"], "ready");
    assert_eq!(daemon.post("/api/telemetry", r#"{"reconnects":2,"drops":1,"mode":"poll"}"#).status, 200);
    assert_eq!(daemon.post("/api/telemetry", r#"{"reconnects":-1}"#).status, 400);
    let metrics = daemon.get("/metrics");
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    for line in [
        "telltale_client_reconnects_total 2",
        "telltale_client_drops_total 1",
        "# TYPE telltale_connections gauge",
    ] {
        assert!(metrics.text().lines().any(|l| l == line), "{line} is missing:\n{}", metrics.text());
    }
    let document = daemon.get("/api/openapi.json").json();
    assert!(document["paths"]["/api/events"]["post"].is_object());
    assert_eq!(daemon.get("/api/bench").status, 404, "only while the bench runs");
    assert_eq!(daemon.post("/api/bench/faults", "{}").status, 404);
    assert_eq!(daemon.get("/").status, 200);
}

// ---- access ----

/// A daemon that trusts nobody, and keys for it.
fn guarded() -> (Daemon, impl Fn(&str) -> (String, String)) {
    let daemon = Options::default().config("[access]\ntrust_loopback = false\nopen_view = false\n").start();
    let data = daemon.data.to_str().unwrap().to_string();
    let make = move |role: &str| {
        let done = telltale(&["key", "make", "--role", role, "--name", "test", "--data", &data]).run();
        assert_eq!(done.code, 0, "{}", done.stderr);
        let word = |start: &str| {
            let all = format!("{}\n{}", done.stdout, done.stderr);
            all.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .find(|w| w.starts_with(start))
                .map(str::to_string)
        };
        let token = word("tt_").unwrap_or_else(|| panic!("{done:?}"));
        let listed = telltale(&["key", "list", "--data", &data]).run().stdout;
        let id = listed.lines().last().unwrap().split_whitespace().next().unwrap().to_string();
        (id, token)
    };
    (daemon, make)
}

#[test]
fn keys_say_who_may_do_what() {
    let (daemon, make) = guarded();
    let ask = |token: &str, method: &str, path: &str| {
        let bearer = format!("Bearer {token}");
        let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("Authorization", &bearer)] };
        daemon
            .request(
                method,
                path,
                headers,
                if method == "POST" { br#"{"type":"mine","topic":"app/x","payload":{}}"# } else { b"" },
            )
            .status
    };
    let nobody = daemon.get("/api/state");
    assert_eq!((nobody.status, nobody.header("www-authenticate").is_some()), (401, true));
    assert_eq!(
        (ask("", "GET", "/healthz"), ask("", "GET", "/"), ask("", "GET", "/metrics")),
        (200, 200, 401)
    );
    assert_eq!(ask("", "GET", "/api/events?format=sse"), 401);
    let (_, view) = make("view");
    let (_, operate) = make("operate");
    let (id, publish) = make("publish");
    assert_eq!((ask(&view, "GET", "/api/state"), ask(&view, "POST", "/api/events")), (200, 403));
    assert_eq!(
        (ask(&operate, "POST", "/api/recorders/r/start"), ask(&operate, "POST", "/api/events")),
        (404, 403)
    );
    assert_eq!(ask(&view, "POST", "/api/recorders/r/start"), 403);
    assert_eq!(ask(&publish, "POST", "/api/events"), 202);
    assert_eq!(ask("tt_wrong", "GET", "/api/state"), 401);
    let data = daemon.data.to_str().unwrap();
    assert_eq!(telltale(&["key", "revoke", &id, "--data", data]).run().code, 0);
    assert_eq!(ask(&publish, "POST", "/api/events"), 401, "a revoked key ends at once");
}

#[test]
fn the_page_logs_in_with_a_key() {
    let (daemon, make) = guarded();
    let (id, token) = make("publish");
    let own = format!("http://{}", daemon.addr);
    let login = |key: &str, origin: &str| {
        daemon.request(
            "POST",
            "/api/login",
            &[("Origin", origin)],
            json!({ "key": key }).to_string().as_bytes(),
        )
    };
    let answer = login(&token, &own);
    assert_eq!((answer.status, &answer.json()["role"]), (200, &json!("publish")), "{}", answer.text());
    let set = answer.header("set-cookie").unwrap();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict") && !set.contains(&token), "{set}");
    let cookie = set.split(';').next().unwrap();
    let post = |headers: &[(&str, &str)]| {
        let mut all = vec![("Cookie", cookie)];
        all.extend(headers);
        daemon.request("POST", "/api/events", &all, event(1).as_bytes()).status
    };
    assert_eq!(post(&[("Origin", &own)]), 202);
    assert_eq!(post(&[]), 403, "a cookie without an Origin");
    assert_eq!(post(&[("Origin", "http://evil.example")]), 403);
    assert_eq!(daemon.request("GET", "/api/state", &[("Cookie", cookie)], b"").status, 200);
    assert_eq!(
        daemon.request("GET", "/api/state", &[("Cookie", &cookie.replace('.', ".1"))], b"").status,
        401
    );
    assert_eq!(login(&token, "http://evil.example").status, 403);
    assert!(
        daemon
            .request("POST", "/api/logout", &[("Origin", &own), ("Cookie", cookie)], b"")
            .header("set-cookie")
            .unwrap()
            .contains("Max-Age=0")
    );
    telltale(&["key", "revoke", &id, "--data", daemon.data.to_str().unwrap()]).run();
    assert_eq!(post(&[("Origin", &own)]), 401, "a cookie ends with its key");
    for _ in 0..5 {
        assert_eq!(login("tt_wrong", &own).status, 401);
    }
    let slowed = login("tt_wrong", &own);
    assert_eq!((slowed.status, slowed.header("retry-after").is_some()), (429, true));
}

#[test]
fn access_is_swapped_without_a_restart() {
    let daemon = Options::default().config("[access]\ntrust_loopback = true\n").start();
    assert_eq!(daemon.get("/api/state").status, 200);
    std::fs::write(daemon.data.join("test.toml"), "[access]\ntrust_loopback = false\nopen_view = false\n")
        .unwrap();
    daemon.signal("HUP");
    until("the new rules", || (daemon.get("/api/state").status == 401).then_some(()));
}

#[test]
fn pages_of_configured_origins_may_read_and_post() {
    let daemon = Options::default()
        .config("[http]\norigins = [\"https://board.example\"]\nhosts = [\"panel.example\"]\n")
        .start();
    let friend = [("Origin", "https://board.example"), ("Host", "panel.example:1")];
    let read = daemon.request("GET", "/api/state", &friend, b"");
    assert_eq!(
        (read.status, read.header("access-control-allow-origin")),
        (200, Some("https://board.example"))
    );
    let preflight = daemon.request("OPTIONS", "/api/events", &friend, b"");
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("Authorization"));
    assert_eq!(daemon.request("POST", "/api/events", &friend, event(1).as_bytes()).status, 202);
    let stranger = daemon.request("GET", "/api/state", &[("Origin", "https://other.example")], b"");
    assert_eq!(stranger.header("access-control-allow-origin"), None);
}

/// A queue that runs but is about to pause was answered "already running" to `resume`, and paused all the same.
#[test]
fn what_is_pending_is_not_how_it_stands() {
    let daemon = Daemon::start();
    let queue = |pending: &str| {
        let status = format!(
            r#"{{"type":"queue_status","payload":{{"queue_id":"Q","status":"running","current_scan":null,"completed_scans":0,"total_scans":1,"order_version":1,"timestamp":"2026-01-07T15:30:00.000Z","pending":{pending}}}}}"#
        );
        assert_eq!(daemon.post("/api/events", &status).status, 202);
        daemon.post("/api/queues/Q/resume", "{}")
    };
    assert_eq!(queue("null").status, 200, "it runs already");
    assert_eq!(queue("\"pause\"").status, 404, "so its owner is asked, and there is none");
}
