//! Every route of queues, scans and templates by plain HTTP, with good and bad input; and the walk of
//! examples/lab-walk.sh, which needs curl and jq alone.

use crate::harness::{Daemon, Options, Response, until};
use serde_json::{Value, json};
use std::process::Command;

/// The lab of examples/lab.toml: a supply and a multimeter that are played from a file.
fn lab() -> Daemon {
    let daemon = Options::default().config(include_str!("../../examples/lab.toml")).start();
    until("the instruments", || {
        let valid = daemon.post("/api/scans/validate", &sweep(3).to_string()).json();
        (valid["valid"] == true).then_some(())
    });
    daemon
}

fn sweep(points: u64) -> Value {
    json!({
        "name": "Sweep",
        "axes": [{ "set": "psu.voltage", "start": 0, "stop": 5, "points": points, "settle_s": 0.01 }],
        "measure": ["dmm.voltage"],
    })
}

fn send(daemon: &Daemon, method: &str, path: &str, body: Value) -> Response {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    daemon.request(method, path, &[], body.as_bytes())
}

/// A request that goes well.
fn ok(daemon: &Daemon, method: &str, path: &str, body: Value) -> Value {
    let answer = send(daemon, method, path, body);
    assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text());
    answer.json()
}

/// Requests that do not: method, path, body, status, type.
fn refused(daemon: &Daemon, rows: &[(&str, &str, Value, u16, &str)]) {
    for (method, path, body, status, kind) in rows {
        let answer = send(daemon, method, path, body.clone());
        assert_eq!(
            (answer.status, answer.json()["type"].as_str()),
            (*status, Some(*kind)),
            "{method} {path} {body}: {}",
            answer.text()
        );
    }
}

fn ids(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|s| s["scan_id"].as_str().unwrap().to_string()).collect()
}

#[test]
fn queues_are_made_changed_and_removed() {
    let daemon = lab();
    let made = ok(&daemon, "POST", "/api/queues", json!({ "name": "Monday" }));
    let id = made["queue_id"].as_str().unwrap().to_string();
    assert!(id.starts_with("QUEUE_"), "{made}");
    assert_eq!(
        (&made["status"], &made["total_scans"], &made["current_scan"]),
        (&json!("idle"), &json!(0), &Value::Null)
    );
    let made = ok(
        &daemon,
        "POST",
        "/api/queues",
        json!({ "queue_id": "mine", "on_failure": "continue", "loop": true }),
    );
    assert_eq!(
        (&made["on_failure"], &made["loop"], &made["autostart"]),
        (&json!("continue"), &json!(true), &json!(false))
    );
    let changed = ok(&daemon, "PATCH", "/api/queues/mine", json!({ "loop": false, "name": "Mine" }));
    assert_eq!(
        (&changed["loop"], &changed["name"], &changed["on_failure"]),
        (&json!(false), &json!("Mine"), &json!("continue"))
    );
    let listed = ok(&daemon, "GET", "/api/queues", Value::Null);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    assert!(listed["cursor"].is_string());
    assert_eq!(ok(&daemon, "GET", "/api/queues/mine", Value::Null)["name"], "Mine");
    refused(
        &daemon,
        &[
            ("POST", "/api/queues", json!({ "queue_id": "mine" }), 409, "exists"),
            ("POST", "/api/queues", json!({ "queue_id": "a b" }), 422, "invalid"),
            ("POST", "/api/queues", json!({ "loop": "yes" }), 400, "bad_field"),
            ("POST", "/api/queues", json!({ "on_failure": "panic" }), 400, "bad_field"),
            ("POST", "/api/queues", json!([]), 400, "malformed_json"),
            ("PATCH", "/api/queues/none", json!({ "name": "x" }), 404, "unknown_id"),
            ("GET", "/api/queues/none", Value::Null, 404, "unknown_id"),
            ("GET", "/api/queues/none/scans", Value::Null, 404, "unknown_id"),
            ("DELETE", "/api/queues/none", Value::Null, 404, "unknown_id"),
            ("POST", "/api/queues/mine/start", json!({}), 409, "not_now"),
            ("POST", "/api/queues/mine/fly", json!({}), 404, "unknown_action"),
            ("GET", "/api/queues?x=1", Value::Null, 400, "unknown_parameter"),
            ("PUT", "/api/queues/mine", json!({}), 405, "method_not_allowed"),
        ],
    );
    ok(&daemon, "DELETE", "/api/queues/mine", Value::Null);
    assert_eq!(daemon.get("/api/queues/mine").status, 404);
    assert_eq!(ok(&daemon, "GET", "/api/queues", Value::Null)["items"].as_array().unwrap().len(), 1);
    // One that a program only publishes is listed too.
    let status = json!({ "queue_id": "theirs", "status": "idle", "current_scan": null, "completed_scans": 0,
        "total_scans": 0, "order_version": 1, "timestamp": "2026-01-07T15:30:00.000Z" });
    ok(&daemon, "POST", "/api/events", json!({ "type": "queue_status", "payload": status }));
    assert_eq!(ok(&daemon, "GET", "/api/queues", Value::Null)["items"].as_array().unwrap().len(), 2);
    assert_eq!(ok(&daemon, "GET", "/api/queues/theirs", Value::Null)["order_version"], 1);
}

#[test]
fn descriptions_are_checked_with_all_faults_at_once() {
    let daemon = lab();
    let plan = ok(&daemon, "POST", "/api/scans/validate", json!({ "description": sweep(11) }));
    assert_eq!(
        (&plan["valid"], &plan["points_total"], &plan["violations"]),
        (&json!(true), &json!(11), &json!([]))
    );
    assert!(plan["planned_s"].as_f64().unwrap() > 0.0);
    assert!(plan["steps"].as_array().is_some_and(|steps| !steps.is_empty()), "{plan}");
    assert_eq!(plan["columns"][0]["name"], "psu.voltage");
    assert_eq!(plan["instruments"], json!(["dmm", "psu"]));
    let bad = json!({ "axes": [{ "set": "psu.voltage", "start": 0, "stop": 50, "points": 3 }, { "set": "nobody.x", "start": 0, "stop": 1, "points": 2 }],
        "measure": ["dmm.colour"] });
    let plan = ok(&daemon, "POST", "/api/scans/validate", bad.clone());
    assert_eq!(plan["valid"], false);
    let faults = plan["violations"].as_array().unwrap();
    assert!(faults.len() >= 3, "{plan}");
    assert!(
        faults.iter().all(|f| f["field"].is_string() && f["code"].is_string() && f["detail"].is_string())
    );
    ok(&daemon, "POST", "/api/queues", json!({ "queue_id": "q" }));
    let answer = send(&daemon, "POST", "/api/queues/q/scans", json!([sweep(3), bad]));
    assert_eq!((answer.status, &answer.json()["type"]), (422, &json!("invalid_scan")), "{}", answer.text());
    assert_eq!(answer.json()["violations"].as_array().unwrap().len(), faults.len());
    assert!(answer.json()["violations"][0]["index"] == 1);
    assert_eq!(ids(&ok(&daemon, "GET", "/api/queues/q/scans", Value::Null)).len(), 0, "all or none");
    refused(
        &daemon,
        &[
            ("POST", "/api/scans/validate", json!([1]), 400, "malformed_json"),
            ("POST", "/api/queues/q/scans", json!([]), 422, "invalid"),
            ("POST", "/api/queues/q/scans", json!(7), 400, "bad_field"),
            ("POST", "/api/queues/q/scans?position=middle", sweep(3), 400, "bad_parameter"),
            ("POST", "/api/queues/none/scans", sweep(3), 404, "unknown_id"),
            ("POST", "/api/queues/q/scans", json!({ "template": "none" }), 404, "unknown_id"),
        ],
    );
}

#[test]
fn scans_are_added_ordered_removed_and_repeated() {
    let daemon = lab();
    ok(&daemon, "POST", "/api/queues", json!({ "queue_id": "q" }));
    let added = ok(&daemon, "POST", "/api/queues/q/scans", json!([sweep(3), sweep(4), sweep(5)]));
    let [a, b, c] = ids(&added).try_into().unwrap();
    let first = ok(&daemon, "POST", "/api/queues/q/scans?position=front", sweep(6));
    let [d] = ids(&first).try_into().unwrap();
    let mut wish = sweep(7);
    wish["queue_id"] = json!("q");
    let e = ok(&daemon, "POST", "/api/scans", wish)["scan_id"].as_str().unwrap().to_string();
    let order = |daemon: &Daemon| ids(&ok(daemon, "GET", "/api/queues/q/scans", Value::Null));
    assert_eq!(order(&daemon), [&d, &a, &b, &c, &e].map(String::clone));

    // Two people put it in order at once: the second is told that the first was there.
    let version = ok(&daemon, "GET", "/api/queues/q", Value::Null)["order_version"].as_u64().unwrap();
    let moved = ok(
        &daemon,
        "POST",
        "/api/queues/q/move",
        json!({ "scan_id": c, "before": a, "order_version": version }),
    );
    assert!(moved["order_version"].as_u64().unwrap() > version);
    let late = send(
        &daemon,
        "POST",
        "/api/queues/q/move",
        json!({ "scan_id": b, "position": 0, "order_version": version }),
    );
    assert_eq!((late.status, &late.json()["type"]), (409, &json!("order_version")), "{}", late.text());
    assert_eq!(late.json()["order_version"], moved["order_version"]);
    assert_eq!(late.json()["order"], json!([d, c, a, b, e]));
    let version = moved["order_version"].clone();
    let moved = ok(
        &daemon,
        "POST",
        "/api/queues/q/move",
        json!({ "scan_id": b, "position": 0, "order_version": version }),
    );
    let version = moved["order_version"].clone();
    let moved = ok(
        &daemon,
        "POST",
        "/api/queues/q/move",
        json!({ "scan_id": d, "after": e, "order_version": version }),
    );
    assert_eq!(order(&daemon), [&b, &c, &a, &e, &d].map(String::clone));
    let version = moved["order_version"].clone();
    refused(
        &daemon,
        &[
            (
                "POST",
                "/api/queues/q/move",
                json!({ "position": 0, "order_version": version }),
                422,
                "invalid",
            ),
            ("POST", "/api/queues/q/move", json!({ "scan_id": b, "position": 0 }), 422, "invalid"),
            ("POST", "/api/queues/q/move", json!({ "scan_id": b, "order_version": version }), 422, "invalid"),
            (
                "POST",
                "/api/queues/q/move",
                json!({ "scan_id": b, "order_version": version, "position": -1 }),
                400,
                "bad_field",
            ),
            (
                "POST",
                "/api/queues/q/move",
                json!({ "scan_id": "none", "order_version": version, "position": 1 }),
                404,
                "unknown_id",
            ),
        ],
    );

    // Out of the queue, and what is left of it is nothing.
    ok(&daemon, "DELETE", &format!("/api/scans/{d}"), Value::Null);
    assert_eq!(daemon.get(&format!("/api/scans/{d}")).status, 404);
    assert_eq!(daemon.request("DELETE", "/api/scans/none", &[], b"").status, 404);
    assert_eq!(
        send(&daemon, "POST", &format!("/api/scans/{a}/requeue"), json!({})).status,
        409,
        "it has not run"
    );

    ok(&daemon, "POST", "/api/queues/q/start", json!({}));
    until("all of them", || {
        (ok(&daemon, "GET", "/api/queues/q", Value::Null)["status"] == "completed").then_some(())
    });
    let done = ok(&daemon, "GET", &format!("/api/scans/{a}"), Value::Null);
    assert_eq!(
        (&done["status"], &done["progress"], &done["exit_reason"]),
        (&json!("completed"), &json!(1.0), &json!("finished"))
    );
    assert_eq!((&done["num_points"], &done["last_index"]), (&json!({ "main": 3 }), &json!({ "main": 2 })));
    assert_eq!(done["columns"]["main"][1]["name"], "dmm.voltage");
    assert_eq!(done["description"]["measure"], json!(["dmm.voltage"]));
    let again = ok(&daemon, "POST", &format!("/api/scans/{a}/requeue"), json!({ "position": "front" }));
    assert_eq!((&again["retry_of"], &again["status"]), (&json!(a), &json!("queued")));
    refused(
        &daemon,
        &[
            ("POST", &format!("/api/scans/{a}/requeue"), json!({ "position": 3 }), 400, "bad_field"),
            ("POST", "/api/scans/none/requeue", json!({}), 404, "unknown_id"),
            ("POST", &format!("/api/scans/{a}/pause"), json!({}), 409, "not_now"),
            ("POST", &format!("/api/scans/{a}/data"), json!({ "data": { "x": 1 } }), 404, "unknown_id"),
            ("POST", &format!("/api/scans/{a}/control"), json!({ "state": "running" }), 404, "unknown_id"),
            ("GET", "/api/scans/none", Value::Null, 404, "unknown_id"),
        ],
    );
    let of = |query: &str| ok(&daemon, "GET", &format!("/api/scans?{query}"), Value::Null);
    assert_eq!(of("queue_id=q&status=completed")["total"], 4);
    assert_eq!(of("status=queued,running")["total"], 1);
    assert_eq!(of("queue_id=other")["total"], 0);
    let page = of("queue_id=q&limit=2");
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let rest = of(&format!("queue_id=q&limit=10&cursor={}", page["next"].as_str().unwrap()));
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (3, &Value::Null));
    refused(
        &daemon,
        &[
            ("GET", "/api/scans?status=done", Value::Null, 400, "bad_parameter"),
            ("GET", "/api/scans?limit=0", Value::Null, 400, "bad_parameter"),
            ("GET", "/api/scans?colour=red", Value::Null, 400, "unknown_parameter"),
        ],
    );
    ok(&daemon, "DELETE", &format!("/api/scans/{a}"), Value::Null);
    assert_eq!(daemon.get(&format!("/api/scans/{a}")).status, 404);
}

#[test]
fn a_queue_is_cleared() {
    let daemon = lab();
    ok(&daemon, "POST", "/api/queues", json!({ "queue_id": "q" }));
    let queue = || ok(&daemon, "GET", "/api/queues/q", Value::Null);
    let may_clear = |queue: &Value| queue["allowed_actions"].as_array().unwrap().contains(&json!("clear"));
    assert!(!may_clear(&queue()));
    let added = ok(&daemon, "POST", "/api/queues/q/scans", json!([sweep(3), sweep(4), sweep(5)]));
    let seen = added["order_version"].clone();
    assert!(may_clear(&queue()));
    let late = ids(&ok(&daemon, "POST", "/api/queues/q/scans", sweep(6)));
    refused(
        &daemon,
        &[
            ("POST", "/api/queues/q/clear", json!({ "order_version": seen }), 409, "order_version"),
            ("POST", "/api/queues/q/clear", json!({}), 422, "invalid"),
            ("POST", "/api/queues/q/clear", json!({ "order_version": "x" }), 400, "bad_field"),
            ("POST", "/api/queues/none/clear", json!({ "order_version": 1 }), 404, "unknown_id"),
            ("GET", "/api/queues/q/clear", Value::Null, 405, "method_not_allowed"),
        ],
    );
    let version = queue()["order_version"].clone();
    let cleared =
        ok(&daemon, "POST", "/api/queues/q/clear", json!({ "order_version": version, "by": "eva" }));
    assert_eq!((cleared.get("order"), &cleared["status"]), (None, &json!("idle")));
    assert_eq!((&cleared["total_scans"], cleared.get("aborted_scans")), (&json!(0), Some(&json!(0))));
    assert!(!may_clear(&cleared));
    assert_eq!(daemon.get(&format!("/api/scans/{}", late[0])).status, 404);
    let log = daemon.get("/api/queues/q/log?format=text");
    assert_eq!(log.header("content-disposition"), Some("attachment; filename=\"q.log\""));
    let first = ids(&added).remove(0);
    let line = format!("runner: q was cleared by eva: 4 scans were removed, {first} to {}.\n", late[0]);
    assert!(log.text().contains(&line), "{}", log.text());
}

#[test]
fn templates_are_kept_used_and_forgotten() {
    let daemon = lab();
    let kept = ok(
        &daemon,
        "POST",
        "/api/templates",
        json!({ "name": "Two sweeps", "descriptions": [sweep(3), sweep(4)] }),
    );
    let id = kept["template_id"].as_str().unwrap();
    ok(
        &daemon,
        "POST",
        "/api/templates",
        json!({ "template_id": "one", "name": "One", "description": sweep(5) }),
    );
    let listed = ok(&daemon, "GET", "/api/templates", Value::Null);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
    ok(&daemon, "POST", "/api/queues", json!({ "queue_id": "q" }));
    assert_eq!(ids(&ok(&daemon, "POST", "/api/queues/q/scans", json!({ "template": id }))).len(), 2);
    ok(&daemon, "DELETE", "/api/templates/one", Value::Null);
    refused(
        &daemon,
        &[
            ("DELETE", "/api/templates/one", Value::Null, 404, "unknown_id"),
            ("POST", "/api/templates", json!({ "name": "x" }), 400, "bad_field"),
            ("POST", "/api/templates", json!({ "name": "x", "descriptions": 3 }), 400, "bad_field"),
            (
                "POST",
                "/api/templates",
                json!({ "template_id": "a b", "description": sweep(2) }),
                422,
                "invalid",
            ),
        ],
    );
}

#[test]
fn a_loop_repeats_the_queue_until_it_is_stopped() {
    let daemon = lab();
    ok(&daemon, "POST", "/api/queues", json!({ "queue_id": "q", "loop": true, "autostart": true }));
    ok(&daemon, "POST", "/api/queues/q/scans", sweep(2));
    until("three passes", || {
        let done = ok(&daemon, "GET", "/api/scans?queue_id=q&status=completed", Value::Null);
        (done["total"].as_u64().unwrap() >= 3).then_some(())
    });
    ok(&daemon, "PATCH", "/api/queues/q", json!({ "loop": false }));
    until("its end", || {
        let status = ok(&daemon, "GET", "/api/queues/q", Value::Null);
        matches!(status["status"].as_str(), Some("completed" | "idle")).then_some(())
    });
    ok(&daemon, "DELETE", "/api/queues/q", Value::Null);
}

/// A pause that was to come after the scan is wanted now: it was answered with "asked for already" and lost.
#[test]
fn a_pause_can_be_had_sooner_and_what_is_impossible_stays_so() {
    let daemon = lab();
    ok(&daemon, "POST", "/api/queues", json!({ "queue_id": "q" }));
    ok(&daemon, "POST", "/api/queues/q/scans", sweep(2_000));
    ok(&daemon, "POST", "/api/queues/q/scans", sweep(2));
    ok(&daemon, "POST", "/api/queues/q/start", Value::Null);
    until("a point", || {
        let scans = ok(&daemon, "GET", "/api/queues/q/scans?limit=0", Value::Null);
        (scans["items"][0]["points_done"].as_u64()? > 0).then_some(())
    });
    let later = json!({ "mode": "after_scan" });
    assert_eq!(send(&daemon, "POST", "/api/queues/q/pause", later.clone()).status, 202);
    assert_eq!(send(&daemon, "POST", "/api/queues/q/pause", later).status, 200, "the same once more");
    let sooner = send(&daemon, "POST", "/api/queues/q/pause", Value::Null);
    assert_eq!(sooner.status, 202, "{}", sooner.text());
    until("the pause", || {
        let status = ok(&daemon, "GET", "/api/queues/q", Value::Null);
        (status["status"] == "paused").then_some(())
    });
    refused(
        &daemon,
        &[
            ("POST", "/api/queues/q/start", Value::Null, 409, "not_now"),
            ("GET", "/api/queues/q/scans?limit=many", Value::Null, 400, "bad_parameter"),
        ],
    );
    ok(&daemon, "POST", "/api/queues/q/abort", Value::Null);
}

/// The roles: everybody may look and check, commands take `operate`, rows `publish`.
#[test]
fn who_may_what() {
    let daemon = Options::default().config("[access]\ntrust_loopback = false\n").start();
    refused(
        &daemon,
        &[
            ("POST", "/api/queues", json!({}), 401, "unauthorised"),
            ("POST", "/api/scans", json!({ "executor": "external" }), 401, "unauthorised"),
            ("POST", "/api/scans/x/data", json!({ "data": { "x": 1 } }), 401, "unauthorised"),
            ("GET", "/api/scans/x/control", Value::Null, 401, "unauthorised"),
            ("DELETE", "/api/scans/x", Value::Null, 401, "unauthorised"),
        ],
    );
    assert_eq!(daemon.get("/api/queues").status, 200);
    assert_eq!(daemon.get("/api/templates").status, 200);
    assert_eq!(daemon.post("/api/scans/validate", &sweep(2).to_string()).status, 200);
}

#[test]
fn the_walk_through_the_lab() {
    let daemon = lab();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rows.csv");
    let walk = Command::new("bash")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/lab-walk.sh"))
        .arg(format!("http://{}", daemon.addr))
        .env("CSV", &file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&walk.stdout);
    assert!(walk.status.success(), "{said}\n{}", String::from_utf8_lossy(&walk.stderr));
    for words in [
        "26 points",
        "pause: completed",
        "resume: completed",
        "abort: completed",
        "user_abort",
        "26 rows",
        "Done.",
    ] {
        assert!(said.contains(words), "{words:?} is missing in\n{said}");
    }
    let table = std::fs::read_to_string(&file).unwrap();
    assert_eq!(table.lines().count(), 27, "{table}");
    assert!(table.starts_with("sequence_index,timestamp,t_rel"), "{table}");
}
