//! Reading back: the log, what became of alerts, the export.

use crate::harness::{Daemon, Options, telltale, until};
use serde_json::{Value, json};

const FAST: &str = "[store]\ncommit = \"20ms\"\n";

fn line(daemon: &Daemon, level: &str, message: &str, source: &str) {
    let event = json!({ "type": "log", "payload": {
        "level": level, "message": message, "source": source, "timestamp": "2026-01-07T15:30:00.000Z" } });
    assert_eq!(daemon.post("/api/events", &event.to_string()).status, 202);
}

/// Follows `next` to the end; gives the messages, newest first, and how many answers that took.
fn read(daemon: &Daemon, query: &str) -> (Vec<String>, usize) {
    let (mut messages, mut answers, mut before) = (Vec::new(), 0, String::new());
    let mut last: Option<u64> = None;
    loop {
        answers += 1;
        let answer = daemon.get(&format!("/api/log?{query}{before}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        for item in answer["items"].as_array().unwrap() {
            let seq = item["id"].as_str().unwrap().split_once('-').unwrap().1.parse().unwrap();
            assert!(last.is_none_or(|last| seq < last), "ids go down");
            last = Some(seq);
            messages.push(item["message"].as_str().unwrap().to_string());
        }
        match answer["next"].as_str() {
            None => return (messages, answers),
            Some(id) => before = format!("&before={id}"),
        }
    }
}

#[test]
fn the_log_is_read_back_with_filters() {
    let mut daemon = Options::default().config(FAST).start();
    for n in 0..30 {
        line(
            &daemon,
            if n % 10 == 3 { "ERROR" } else { "INFO" },
            &format!("Valve {n} MOVED"),
            ["pump", "scale"][n % 2],
        );
        let noise: Vec<Value> =
            (0..20).map(|k| json!({ "type": "noise", "topic": "app/n", "payload": { "k": k } })).collect();
        assert_eq!(daemon.post("/api/events", &json!(noise).to_string()).status, 202);
    }
    let names = |list: &[usize]| list.iter().map(|n| format!("Valve {n} MOVED")).collect::<Vec<_>>();
    let check = |daemon: &Daemon| {
        assert_eq!(read(daemon, "text=valve").0, names(&(0..30).rev().collect::<Vec<_>>()));
        assert_eq!(read(daemon, "level=WARNING&text=valve").0, names(&[23, 13, 3]));
        assert_eq!(read(daemon, "text=vAlVe%202&source=pump").0, names(&[28, 26, 24, 22, 20, 2]));
        assert_eq!(read(daemon, "text=SCALE&level=ERROR").0, names(&[23, 13, 3]), "sources are searched too");
        let (all, answers) = read(daemon, "text=valve&limit=7");
        assert_eq!((all.len(), answers), (30, 5));
        assert!(read(daemon, "text=nothing+of+the+kind").0.is_empty());
    };
    // What waits for the disk and what is on it, and after a restart.
    check(&daemon);
    until("the last commit", || {
        let metrics = daemon.get("/metrics").text();
        metrics.lines().any(|l| l.starts_with("telltale_store_lag_ms") && l.ends_with(" 0")).then_some(())
    });
    check(&daemon);
    let answer = daemon.get("/api/log?level=ERROR&limit=1").json();
    let item = &answer["items"][0];
    assert_eq!(
        (&item["level"], &item["topic"], &item["source"]),
        (&"ERROR".into(), &"log".into(), &"scale".into())
    );
    let since = item["id"].as_str().unwrap();
    assert_eq!(read(&daemon, &format!("text=valve&since={since}")).0, names(&[29, 28, 27, 26, 25, 24]));
    let sources = daemon.get("/api/log?source=pump").json()["sources"].clone();
    assert_eq!(sources, json!(["pump", "scale"]));
    let data = daemon.data.clone();
    assert_eq!(daemon.stop(), 0);
    let daemon_again = Options::default().config(FAST).start_in(&data);
    check(&daemon_again);
    for bad in
        ["level=warning", "limit=0", "limit=x", "before=yesterday", "since=1-1x", "before=999-3", "nope=1"]
    {
        assert_eq!(daemon_again.get(&format!("/api/log?{bad}")).status, 400, "{bad}");
    }
}

#[test]
fn a_log_is_a_file() {
    let daemon = Options::default().config(FAST).start();
    for n in 0..30 {
        line(&daemon, "WARNING", &format!("Valve {n}\nis stuck"), "pump");
    }
    let file = |query: &str| {
        let answer = daemon.get(&format!("/api/log?text=valve&{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let next = answer.header("x-next").map(str::to_string);
        (answer.header("content-disposition").unwrap().to_string(), next, answer.text())
    };
    let valve = |n: u64| format!("2026-01-07T15:30:00.000Z WARNING  pump: Valve {n}\n    is stuck\n");
    let (name, next, text) = file("format=text");
    assert_eq!((name.as_str(), next), ("attachment; filename=\"telltale.log\"", None));
    assert_eq!(text, (0..30).map(valve).collect::<String>());
    let (_, next, text) = file("format=text&limit=7");
    let next = next.unwrap();
    let head = format!("# older lines are left out: ask with before={next}\n");
    assert_eq!(text, head + &(23..30).map(valve).collect::<String>());
    let (name, none, text) = file(&format!("format=ndjson&before={next}"));
    assert_eq!((name.as_str(), none), ("attachment; filename=\"telltale.log.ndjson\"", None));
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["message"]), (23, &json!("Valve 0\nis stuck")));
    assert_eq!(daemon.get("/api/log?format=pdf").status, 400);
    assert_eq!(daemon.get("/api/log?format=text&limit=10001").status, 400);

    // More than a file holds: what is left out follows in the next, without a hole or a double.
    let long = "x".repeat(60_000);
    for part in 0..8 {
        let all: Vec<Value> = (0..10)
            .map(|n| {
                json!({ "type": "log", "payload": { "level": "INFO", "message": format!("{} {long}", part * 10 + n),
                    "source": "long", "timestamp": "2026-01-07T15:30:00.000Z" } })
            })
            .collect();
        assert_eq!(daemon.post("/api/events", &json!(all).to_string()).status, 202);
    }
    let (mut files, mut before) = (Vec::new(), String::new());
    loop {
        let answer = daemon.get(&format!("/api/log?source=long&format=ndjson{before}"));
        assert!(answer.body.len() <= 4 * 1024 * 1024);
        let number = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["message"].as_str().unwrap().split_once(' ').unwrap().0.parse::<u64>().unwrap()
        };
        files.push(answer.text().lines().map(number).collect::<Vec<_>>());
        match answer.header("x-next") {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert!(files.len() > 1);
    assert_eq!(files.into_iter().rev().flatten().collect::<Vec<_>>(), (0..80).collect::<Vec<_>>());
}

#[test]
fn what_became_of_alerts_is_read_back() {
    let daemon = Options::default().config(FAST).start();
    for (id, state, occurrence) in
        [("a", "active", 1), ("b", "active", 1), ("a", "cleared", 1), ("a", "active", 2)]
    {
        let alert = json!({ "type": "alert", "payload": { "alert_id": id, "occurrence": occurrence, "severity": "MAJOR",
            "state": state, "message": "hot", "raised_at": "2026-01-07T15:30:00.000Z" } });
        assert_eq!(daemon.post("/api/events", &alert.to_string()).status, 202);
        daemon.publish("app/n", "{}");
    }
    assert_eq!(daemon.get("/api/alerts").json()["items"].as_array().unwrap().len(), 2);
    let history = daemon.get("/api/alerts?history=true&limit=3").json();
    let told: Vec<_> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| {
            (a["alert_id"].as_str().unwrap(), a["state"].as_str().unwrap(), a["occurrence"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(told, [("a", "active", 2), ("a", "cleared", 1), ("b", "active", 1)]);
    assert!(history["items"][0]["id"].is_string());
    let next = history["next"].as_str().unwrap();
    let rest = daemon.get(&format!("/api/alerts?history=true&before={next}")).json();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    assert_eq!(daemon.get("/api/alerts?limit=3").status, 400);
    assert_eq!(daemon.get("/api/alerts?histoy=true").status, 400);
}

#[test]
fn what_is_stored_is_exported() {
    let daemon = Options::default().config(FAST).start();
    let url = format!("http://{}", daemon.addr);
    let mut ids = Vec::new();
    for n in 0..12 {
        let note = "a,\"b\"\n";
        ids.push(
            daemon.publish("app/x", &json!({ "n": n, "deep": { "er": n * 2 }, "note": note }).to_string()),
        );
        daemon.publish("app/y", "{}");
    }
    let export = |args: &[&str]| telltale(&[&["export", "--url", &url], args].concat()).run();
    let lines = export(&["--topics", "app/x"]);
    assert_eq!((lines.code, lines.stdout.lines().count()), (0, 12), "{}", lines.stderr);
    let first: Value = serde_json::from_str(lines.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&first["payload"]["n"], &first["id"]), (&0.into(), &ids[0].clone().into()));
    let table = export(&[
        "--topics",
        "app/x",
        "--format",
        "csv",
        "--columns",
        "n,deep.er,note,missing",
        "--since",
        &ids[9],
    ]);
    let rows: Vec<_> = table.stdout.split("\n").collect();
    assert_eq!(rows[0], "id,time,clock,topic,type,n,deep.er,note,missing");
    assert!(
        rows[1].starts_with(&ids[10]) && rows[1].ends_with("app/x,test,10,20,\"a,\"\"b\"\""),
        "{}",
        rows[1]
    );
    let whole = export(&["--types", "test", "--format", "csv"]);
    assert_eq!(whole.stdout.matches("app/").count(), 24, "{}", whole.stdout);
    assert_eq!(export(&["--topics", "app/x", "--since", "2020-01-01"]).stdout.lines().count(), 12);
    assert_eq!(export(&["--topics", "app/x", "--since", "2099-01-01T00:00:00Z"]).stdout.lines().count(), 0);
    let file = daemon.data.join("out.jsonl");
    assert_eq!(export(&["--topics", "app/x", "-o", file.to_str().unwrap()]).code, 0);
    assert_eq!(std::fs::read_to_string(file).unwrap(), lines.stdout);
    assert_eq!(export(&["--since", "whenever"]).code, 2);
    assert_eq!(export(&["--topics", "nope"]).code, 1);
    assert_eq!(telltale(&["export", "--url", "http://127.0.0.1:1"]).run().code, 3);
}
