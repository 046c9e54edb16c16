//! Detections: posted, filtered, summed up, compared with what should stand there.

use crate::harness::{Daemon, Options, until};
use serde_json::{Value, json};

fn post(daemon: &Daemon, location: &str, sku: &str, frame: &str, confidence: f64) {
    let body = json!({
        "label": "can", "sku": sku, "location": location, "frame": frame, "confidence": confidence, "source": "cam9",
        "box": [10, 20, 30, 40], "image": { "w": 100, "h": 80 },
    });
    let answer = daemon.post("/api/detections", &body.to_string());
    assert_eq!(answer.status, 202, "{}", answer.text());
}

fn plan(daemon: &Daemon, csv: &str) {
    let answer = daemon.request("PUT", "/api/planograms", &[("Content-Type", "text/csv")], csv.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn kinds(daemon: &Daemon) -> Vec<String> {
    let summary = daemon.get("/api/summary").json();
    let list = summary["discrepancies"].as_array().unwrap().clone();
    list.iter().map(|d| format!("{} {} {}", d["location"], d["sku"], d["type"]).replace('"', "")).collect()
}

fn alerts(daemon: &Daemon) -> Vec<(String, String)> {
    let items = daemon.get("/api/alerts").json()["items"].as_array().unwrap().clone();
    let text = |v: &Value| v.as_str().unwrap().to_string();
    let mut all: Vec<_> = items.iter().map(|a| (text(&a["alert_id"]), text(&a["state"]))).collect();
    all.retain(|(id, _)| id.starts_with("shelf."));
    all
}

#[test]
fn what_was_seen_is_listed_filtered_and_summed_up_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Options::default().start_in(dir.path());
    for n in 0..25 {
        post(&daemon, if n % 2 == 0 { "A1" } else { "B1" }, &format!("S{}", n % 5), "f", f64::from(n) / 25.0);
    }
    let check = |daemon: &Daemon| {
        until("the index", || (daemon.get("/api/summary").json()["total"] == 25).then_some(()));
        let page = daemon.get("/api/detections?limit=10").json();
        assert_eq!((&page["total"], page["items"].as_array().map(Vec::len)), (&json!(25), Some(10)));
        assert_eq!(page["items"][0]["box"], json!({ "x": 0.1, "y": 0.25, "w": 0.3, "h": 0.5 }));
        let next = page["next"].as_str().unwrap();
        let second = daemon.get(&format!("/api/detections?limit=20&cursor={next}")).json();
        assert_eq!((second["items"].as_array().map(Vec::len), &second["next"]), (Some(15), &Value::Null));
        let by = |query: &str| daemon.get(&format!("/api/summary?{query}")).json();
        assert_eq!(by("location=A1")["total"], 13);
        assert_eq!(by("sku=S3&location=A1")["total"], 2);
        assert_eq!(by("min_confidence=0.8")["total"], 5);
        assert_eq!(by("label=nothing")["mean_confidence"], Value::Null);
        assert_eq!(by("")["unique_skus"], 5);
        let bars = by("")["histogram"].as_array().unwrap().iter().filter_map(Value::as_u64).sum::<u64>();
        assert_eq!(bars, 25);
        let csv = daemon.get("/api/detections.csv?location=B1").text();
        assert_eq!(
            (csv.lines().count(), csv.lines().next().unwrap().split(',').next()),
            (13, Some("timestamp"))
        );
    };
    check(&daemon);
    daemon.stop();
    check(&Options::default().start_in(dir.path()));
}

#[test]
fn what_differs_from_the_plan_is_an_alert_until_it_does_not() {
    let daemon = Daemon::start();
    plan(&daemon, "location,sku,expected,tolerance,name\nA1,S1,2,0,Beans\nB1,S2,1,0,\n");
    let look = |frame: &str, skus: &[&str]| skus.iter().for_each(|sku| post(&daemon, "A1", sku, frame, 0.9));
    look("f1", &["S1", "S2"]);
    until("both differences", || (kinds(&daemon) == ["A1 S1 low", "A1 S2 misplaced"]).then_some(()));
    // A second look that shows the same confirms it, also while its things come one by one.
    look("f2", &["S1", "S2"]);
    until("the alerts", || (alerts(&daemon).len() == 2).then_some(()));
    assert!(alerts(&daemon).iter().all(|(_, state)| state == "active"), "{:?}", alerts(&daemon));
    look("f3", &["S1", "S1"]);
    until("their end", || alerts(&daemon).iter().all(|(_, state)| state == "cleared").then_some(()));
    assert_eq!(kinds(&daemon), [""; 0]);
    let nothing = daemon.post("/api/detections/nothing", r#"{"location":"A1","frame":"f4"}"#);
    assert_eq!(nothing.status, 202);
    until("the empty shelf", || (kinds(&daemon) == ["A1 S1 missing"]).then_some(()));
}

#[test]
fn a_planogram_is_kept_and_faults_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Options::default().start_in(dir.path());
    plan(&daemon, "location,sku,expected\nA1,S1,2\n");
    let put = |daemon: &Daemon, kind: &str, body: &str| {
        let answer = daemon.request("PUT", "/api/planograms", &[("Content-Type", kind)], body.as_bytes());
        (answer.status, answer.json()["detail"].as_str().unwrap_or_default().to_string())
    };
    assert_eq!(put(&daemon, "text/csv", "location,sku,expected\nA1,S1,many\n").0, 422);
    assert!(put(&daemon, "application/json", "{}").1.contains("missing field `items`"));
    assert_eq!(put(&daemon, "application/json", r#"{"items":[],"if_revision":7}"#).0, 409);
    daemon.kill();
    daemon = Options::default().start_in(dir.path());
    let kept = daemon.get("/api/planograms").json();
    assert_eq!((&kept["revision"], &kept["items"][0]["sku"]), (&json!(1), &json!("S1")));
    assert_eq!(
        daemon.get("/api/planograms?format=csv").text(),
        "location,sku,expected,tolerance,name\nA1,S1,2,0,\n"
    );
}

#[test]
fn a_vision_process_that_fails_is_told_and_nothing_is_made_up() {
    let daemon = Daemon::start();
    let body = r#"{"source":"cam9","reason":"the camera gives no image","location":"A1"}"#;
    assert_eq!(daemon.post("/api/detections/failed", body).status, 202);
    let source = || {
        let all = daemon.get("/api/system").json()["sources"].as_array().unwrap().clone();
        all.into_iter().find(|s| s["source_id"] == "cam9").unwrap_or_default()
    };
    until("its fault", || (source()["status"] == "error").then_some(()));
    assert_eq!(
        (&source()["last_error"], &source()["kind"]),
        (&json!("the camera gives no image"), &json!("vision"))
    );
    assert_eq!(daemon.get("/api/summary").json()["total"], 0);
    post(&daemon, "A1", "S1", "f1", 0.9);
    until("its recovery", || (source()["status"] == "ok").then_some(()));
}
