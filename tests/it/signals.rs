//! Signals: posted and generated.

use crate::harness::{Daemon, Options, until};
use serde_json::{Value, json};

fn status(daemon: &Daemon, id: &str) -> Value {
    daemon.get(&format!("/api/signals/{id}")).json()
}

#[test]
fn what_is_posted_is_judged_once_and_counting_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[signals]\nwindow = 4\nthreshold = 3.0\n";
    let mut daemon = Options::default().config(config).start_in(dir.path());
    let send = |daemon: &Daemon, key: &str, body: &str| {
        let headers = [("Idempotency-Key", key)];
        let answer = daemon.request("POST", "/api/signals/probe?durable=true", &headers, body.as_bytes());
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["accepted"].as_u64().unwrap()
    };
    assert_eq!(send(&daemon, "a", r#"{"events":[0,1,0,1]}"#), 1);
    assert_eq!(send(&daemon, "b", r#"{"events":[2.5,null]}"#), 1);
    // A retry is neither published nor counted again.
    assert_eq!(send(&daemon, "b", r#"{"events":[2.5,null]}"#), 0);
    let now = status(&daemon, "probe");
    assert_eq!(
        (&now["total_events"], &now["anomalies"], &now["source"]),
        (&json!(6), &json!(1), &json!("outside"))
    );
    daemon.kill();
    daemon = Options::default().config(config).start_in(dir.path());
    assert_eq!(send(&daemon, "c", r#"{"events":[1]}"#), 1);
    let events = daemon.get("/api/events?topics=signal/probe&types=signal_batch&since=earliest").json();
    let batches: Vec<&Value> = events["events"].as_array().unwrap().iter().map(|e| &e["payload"]).collect();
    let numbers: Vec<u64> = batches
        .iter()
        .flat_map(|b| b["events"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()))
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(
        (&batches[1]["events"][0]["z"], &batches[1]["events"][0]["anomaly"]),
        (&json!(4.0), &json!(true))
    );
}

#[test]
fn a_generated_signal_is_paused_batched_and_goes_on() {
    let daemon = Options::default()
        .config("[signals]\ngenerate = [\"s\"]\ninterval_s = 1\nbatch_size = 30\nallow_reset = true\n")
        .start();
    assert_eq!(
        (&status(&daemon, "s")["live"], &status(&daemon, "s")["total_events"]),
        (&json!(false), &json!(0))
    );
    let ask = |action: &str, body: &str| {
        let answer = daemon.post(&format!("/api/signals/s/{action}"), body);
        assert_eq!(answer.status, 202, "{}", answer.text());
        let id = answer.json()["command_id"].as_str().unwrap().to_string();
        until(action, || {
            let result = daemon.get(&format!("/api/commands/{id}")).json();
            (result["state"] != "accepted").then(|| result["state"].as_str().unwrap().to_string())
        })
    };
    assert_eq!(ask("batch", "{}"), "completed");
    assert_eq!(status(&daemon, "s")["total_events"], 30);
    assert_eq!(ask("live", r#"{"on":true}"#), "completed");
    until("a live batch", || (status(&daemon, "s")["total_events"].as_u64() >= Some(90)).then_some(()));
    assert_eq!(ask("batch", "{}"), "rejected");
    assert_eq!(ask("live", r#"{"on":false}"#), "completed");
    let paused = status(&daemon, "s")["total_events"].clone();
    assert_eq!(ask("settings", r#"{"window":20,"threshold":3}"#), "completed");
    assert_eq!(
        (&status(&daemon, "s")["window"], &status(&daemon, "s")["total_events"]),
        (&json!(20), &paused)
    );
    assert_eq!(ask("reset", "{}"), "rejected");
    assert_eq!(ask("reset", r#"{"confirm":"s"}"#), "completed");
    assert_eq!(status(&daemon, "s")["total_events"], 0);
}

/// Samples are read back one by one, in pages, by time and condensed, from memory and from the store, and counts agree.
#[test]
fn what_was_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[signals]\nwindow = 10\nthreshold = 4.0\n";
    let mut daemon = Options::default().config(config).start_in(dir.path());
    let start = 1_767_799_800_000_u64;
    let time = |n: u64| telltale::clock::Wall(start + 100 * n).rfc3339();
    let value = |n: u64| if n.is_multiple_of(1_000) && n > 0 { 99.0 } else { (n % 7) as f64 };
    for batch in 0..100_u64 {
        let samples: Vec<_> =
            (batch * 100..batch * 100 + 100).map(|n| json!({ "t": time(n), "value": value(n) })).collect();
        daemon.post("/api/signals/long", &json!({ "events": samples }).to_string());
    }
    let ask = |daemon: &Daemon, query: &str| daemon.get(&format!("/api/signals/long/events?{query}")).json();
    let seqs = |page: &Value| -> Vec<u64> {
        page["events"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect()
    };
    let check = |daemon: &Daemon| {
        until("all to be known", || {
            let all = ask(daemon, "points=100");
            (all["samples"] == 10_000 && all["complete"] == true).then_some(())
        });
        let newest = ask(daemon, "limit=300");
        assert_eq!((seqs(&newest), &newest["next"]), ((9_700..10_000).collect(), &json!(9_700)));
        let mut seen = Vec::new();
        let mut next = json!(10_000);
        while let Some(before) = next.as_u64() {
            let page = ask(daemon, &format!("limit=3000&before={before}"));
            seen.splice(0..0, seqs(&page));
            next = page["next"].clone();
        }
        assert_eq!(seen, (0..10_000).collect::<Vec<_>>());
        let all = ask(daemon, "points=100");
        let peaks = |page: &Value| {
            page["events"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|e| e["value"] == 99.0 && e["anomaly"] == true)
                .count()
        };
        assert_eq!(
            (&all["method"], &all["anomalies"], &all["total"]),
            (&json!("minmax"), &json!(9), &json!(10_000))
        );
        assert_eq!(peaks(&all), 9);
        assert!(seqs(&all).len() <= 120, "{}", seqs(&all).len());
        // Both ends within a batch.
        let part = ask(daemon, &format!("from={}&to={}&points=50", time(1_001), time(9_949)));
        assert_eq!((&part["samples"], &part["anomalies"]), (&json!(8_949), &json!(8)));
        let few = ask(daemon, &format!("from={}&to={}&points=50", time(2_990), time(3_010)));
        assert_eq!((seqs(&few), &few["method"]), ((2_990..=3_010).collect(), &json!("raw")));
        assert_eq!(seqs(&ask(daemon, "before=5&limit=9")), [0, 1, 2, 3, 4]);
    };
    check(&daemon);
    daemon.stop();
    daemon = Options::default().config(config).start_in(dir.path());
    // Nothing is in memory now.
    check(&daemon);
    for (query, status) in [("points=1", 400), ("limit=9999", 400), ("from=x", 400), ("before=-1", 400)] {
        assert_eq!(daemon.get(&format!("/api/signals/long/events?{query}")).status, status);
    }
    assert_eq!(daemon.get("/api/signals/nobody/events").status, 404);
}

/// 5,000 samples with times are some 450 KB when they are filled in, and one event has 64 KB at most.
#[test]
fn a_long_post_is_several_events_of_one_step() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Options::default().start_in(dir.path());
    let start = 1_767_799_800_000_u64;
    let sent: Vec<Value> = (0..5_000_u64)
        .map(|n| {
            let value = if n % 997 == 996 { json!(null) } else { json!((n * 7_919 % 10_007) as f64 / 8.0) };
            json!({ "t": telltale::clock::Wall(start + 20 * n).rfc3339(), "value": value })
        })
        .collect();
    let body = json!({ "events": sent }).to_string();
    let post = |daemon: &Daemon| {
        let headers = [("Idempotency-Key", "all-5000")];
        daemon.request("POST", "/api/signals/long?durable=true", &headers, body.as_bytes())
    };
    let answer = post(&daemon);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let accepted = answer.json()["accepted"].as_u64().unwrap();
    assert!((6..=10).contains(&accepted), "{accepted} events");
    daemon.kill();
    let daemon = Options::default().start_in(dir.path());
    assert_eq!(post(&daemon).json()["accepted"], 0, "all of it was one step");

    let (mut batches, mut since) = (Vec::new(), "earliest".to_string());
    loop {
        let poll =
            daemon.get(&format!("/api/events?topics=signal/long&types=signal_batch&since={since}")).json();
        batches.extend(poll["events"].as_array().unwrap().iter().cloned());
        since = poll["cursor"].as_str().unwrap().to_string();
        if poll["more"] != true {
            break;
        }
    }
    let seq = |event: &Value| {
        event["id"]
            .as_str()
            .and_then(|id| id.split_once('-'))
            .and_then(|(_, n)| n.parse::<u64>().ok())
            .unwrap()
    };
    let first = seq(&batches[0]);
    let seqs: Vec<u64> = batches.iter().map(seq).collect();
    assert_eq!(seqs, (first..first + accepted).collect::<Vec<_>>(), "nothing came between");
    assert_eq!(batches.last().unwrap()["payload"]["totals"]["events"], 5_000);

    let told: Vec<Value> =
        batches.iter().flat_map(|batch| batch["payload"]["events"].as_array().unwrap().clone()).collect();
    until("the samples to be known", || {
        let all = daemon.get("/api/signals/long/events?points=100").json();
        (all["samples"] == 5_000).then_some(())
    });
    let (mut read, mut before) = (Vec::new(), json!(5_000));
    while !before.is_null() {
        let page = daemon.get(&format!("/api/signals/long/events?limit=1500&before={before}")).json();
        read.splice(0..0, page["events"].as_array().unwrap().iter().cloned());
        before = page["next"].clone();
    }
    for all in [&told, &read] {
        assert_eq!(all.len(), 5_000);
        for (n, (got, sent)) in all.iter().zip(&sent).enumerate() {
            assert_eq!(
                (&got["seq"], &got["t"], &got["value"]),
                (&json!(n), &sent["t"], &sent["value"]),
                "sample {n}"
            );
        }
    }

    let many = json!({ "events": vec![1; 50_001] }).to_string();
    let answer = daemon.post("/api/signals/long", &many);
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert!(answer.text().contains("50000 samples"), "{}", answer.text());
    assert_eq!(status(&daemon, "long")["total_events"], 5_000, "all or none");
}
