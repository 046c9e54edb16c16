//! Rows of scans: posted, killed in between, read as pages, charts and files, played back.

use crate::harness::{Daemon, Options, Response, Stream, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufReader, Write};

fn register(daemon: &Daemon, id: &str) {
    let wish = json!({ "scan_id": id, "executor": "external", "name": "Cooldown", "points_total": 600, "lease_s": 600,
        "columns": [{ "name": "T", "unit": "K" }, { "name": "word", "dtype": "string" }] });
    let answer = daemon.post("/api/scans", &wish.to_string());
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// Row n of every scan here.
fn row(n: u64) -> Value {
    json!({ "sequence_index": n, "data": { "T": 300.0 - n as f64 / 8.0, "word": format!("row, {n}") }, "t_rel": n as f64 / 10.0,
        "timestamp": format!("2026-01-07T{:02}:{:02}:{:02}.{:03}Z", 15 + n / 36_000, n / 600 % 60, n / 10 % 60, n % 10 * 100) })
}

/// Posts rows as lines.
fn post(daemon: &Daemon, id: &str, from: u64, to: u64) -> Value {
    let lines: Vec<String> = (from..to).map(|n| row(n).to_string()).collect();
    let answer = daemon.post(&format!("/api/scans/{id}/data?durable=true"), &lines.join("\n"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn data(daemon: &Daemon, id: &str, query: &str) -> Value {
    let answer = daemon.get(&format!("/api/scans/{id}/data{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Every row, page by page.
fn all(daemon: &Daemon, id: &str, limit: u64) -> BTreeMap<u64, Value> {
    let (mut rows, mut from) = (BTreeMap::new(), json!(0));
    while !from.is_null() {
        let page = data(daemon, id, &format!("?from={from}&limit={limit}"));
        for (n, index) in page["sequence_index"].as_array().unwrap().iter().enumerate() {
            let row = json!({ "sequence_index": index, "timestamp": page["timestamp"][n], "t_rel": page["t_rel"][n],
                "data": { "T": page["data"]["T"][n], "word": page["data"]["word"][n] } });
            assert!(rows.insert(index.as_u64().unwrap(), row).is_none(), "{index} twice");
        }
        from = page["next"].clone();
    }
    rows
}

fn expected(count: u64) -> BTreeMap<u64, Value> {
    (0..count).map(|n| (n, row(n))).collect()
}

#[test]
fn rows_survive_a_kill_and_come_back_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Options::default().start_in(dir.path());
    register(&daemon, "cool");
    assert_eq!(post(&daemon, "cool", 0, 700)["accepted"], 700);
    assert_eq!(post(&daemon, "cool", 0, 700)["duplicates"], 700, "the whole buffer again");
    daemon.kill();
    let mut daemon = Options::default().start_in(dir.path());
    assert_eq!(all(&daemon, "cool", 97), expected(700));
    assert_eq!(post(&daemon, "cool", 690, 1_500)["accepted"], 800);
    let control = daemon.post("/api/scans/cool/control", r#"{"state":"completed"}"#);
    assert_eq!(control.status, 200, "{}", control.text());
    until("the rows to have ended", || (data(&daemon, "cool", "?limit=1")["ended"] == true).then_some(()));
    daemon.kill();
    let daemon = Options::default().start_in(dir.path());
    assert_eq!(all(&daemon, "cool", 10_000), expected(1_500));
    let page = data(&daemon, "cool", "?from=1499");
    assert_eq!(
        (&page["num_points"], &page["last_index"], &page["first_index"]),
        (&json!(1_500), &json!(1_499), &json!(0))
    );
    assert_eq!(
        (&page["next"], &page["ended"], &page["columns"][0]["unit"]),
        (&Value::Null, &json!(true), &json!("K"))
    );

    let csv = daemon.get("/api/scans/cool/data.csv?meta=1");
    assert_eq!((csv.status, csv.header("x-num-points")), (200, Some("1500")));
    let text = csv.text();
    assert!(text.starts_with("# scan: cool\n"), "{}", &text[..60]);
    let table: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(table[0], "sequence_index,timestamp,t_rel,T (K),word");
    assert_eq!((table[8], table.len()), ("7,2026-01-07T15:00:00.700Z,0.7,299.125,\"row, 7\"", 1_501));
    let lines = daemon.get("/api/scans/cool/data.ndjson").text();
    for (n, line) in lines.lines().enumerate() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["scan_id"].take(), "cool");
        assert_eq!(
            (&line["data"], &line["timestamp"]),
            (&row(n as u64)["data"], &row(n as u64)["timestamp"])
        );
    }
    assert_eq!(lines.lines().count(), 1_500);
    let whole = daemon.get("/api/scans/cool/data.json").json();
    assert_eq!((whole["rows"].as_array().unwrap().len(), &whole["num_points"]), (1_500, &json!(1_500)));

    let chart = daemon.get("/api/scans/cool/chart?points=100").json();
    assert_eq!(
        (&chart["method"], &chart["x"]["name"], &chart["y"]),
        (&json!("minmax"), &json!("t_rel"), &json!([{ "name": "T", "unit": "K" }]))
    );
    let list = chart["data"][1].as_array().unwrap();
    assert!(list.len() <= 100 && list.len() >= 40, "{}", list.len());
    assert_eq!((list.first(), list.last()), (Some(&json!(300.0)), Some(&json!(300.0 - 1_499.0 / 8.0))));
    let raw = daemon.get("/api/scans/cool/chart?from=10&to=19&x=index&y=T").json();
    assert_eq!(
        (&raw["method"], &raw["data"][0], &raw["data"][1][9]),
        (
            &json!("raw"),
            &json!([10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0, 19.0]),
            &json!(297.625)
        )
    );
    for (path, status) in [
        ("/api/scans/none/data", 404),
        ("/api/scans/cool/data?measurement=none", 404),
        ("/api/scans/cool/data?limit=0", 400),
        ("/api/scans/cool/chart?points=5", 400),
        ("/api/scans/cool/chart?y=none", 422),
        ("/api/scans/cool/playback?rate=0", 400),
        ("/api/scans/none/playback", 404),
        ("/api/scans/cool/data.csv?nonsense=1", 400),
    ] {
        assert_eq!(daemon.get(path).status, status, "{path}");
    }
    assert_eq!(daemon.request("DELETE", "/api/scans/cool", &[], b"").status / 100, 2);
    until("its rows to be gone", || (daemon.get("/api/scans/cool/data").status == 404).then_some(()));
}

fn play(daemon: &Daemon, query: &str) -> Stream {
    let mut socket = daemon.connect();
    // HTTP/1.0: no chunks to take apart.
    write!(socket, "GET /api/scans/cool/playback{query} HTTP/1.0\r\nHost: {}\r\n\r\n", daemon.addr).unwrap();
    let mut reader = BufReader::new(socket);
    let head = Response::read_head(&mut reader);
    assert_eq!(head.status, 200, "{head:?}");
    Stream { reader, last_id: None }
}

#[test]
fn a_scan_is_played_back() {
    let mut daemon = Daemon::start();
    register(&daemon, "cool");
    post(&daemon, "cool", 0, 200);
    let line = r#"{"level":"WARNING","message":"valve 2 sticks"}"#;
    assert_eq!(daemon.post("/api/scans/cool/log", line).status, 202);
    let items = daemon.get("/api/scans/cool/log?level=WARNING").json()["items"].clone();
    assert_eq!((items.as_array().unwrap().len(), &items[0]["message"]), (1, &json!("valve 2 sticks")));

    let mut stream = play(&daemon, "?rate=20");
    let first = stream.next().unwrap();
    assert_eq!((first.event.as_str(), first.id.as_deref()), ("playback", Some("p-1")));
    assert_eq!(
        (&first.payload()["points_total"], &first.payload()["start_time"]),
        (&json!(200), &json!("2026-01-07T15:00:00.000Z"))
    );
    let (mut next, mut said, mut id) = (0, None, 1);
    let reason = loop {
        let frame = stream.next_real().unwrap();
        id += 1;
        assert_eq!(frame.id, Some(format!("p-{id}")));
        let envelope = frame.json();
        assert_eq!((&envelope["playback"], &envelope["topic"]), (&json!(true), &json!("scan/cool")));
        let payload = &envelope["payload"];
        match frame.event.as_str() {
            "data_point" => {
                assert_eq!(
                    (payload["sequence_index"].as_u64(), &payload["timestamp"]),
                    (Some(next), &row(next)["timestamp"])
                );
                next += 1;
            }
            "data_batch" => {
                assert_eq!(payload["first_index"].as_u64(), Some(next));
                next += payload["data"]["T"].as_array().unwrap().len() as u64;
            }
            "queue_log" => {
                said = payload["message"].as_str().filter(|m| m.starts_with("valve")).map(|_| next).or(said)
            }
            "bye" => break payload["reason"].clone(),
            other => assert_eq!(other, "scan_status"),
        }
    };
    // The line was said long after the rows, by its time: it comes before the last of them and nobody waits for it.
    assert_eq!((next, said, reason), (200, Some(199), json!("finished")));
    assert!(stream.next().is_none(), "the end");

    // A bounded number at a time, and who goes makes room.
    let mut open: Vec<Stream> = (0..8).map(|_| play(&daemon, "?rate=0.01")).collect();
    let full = daemon.get("/api/scans/cool/playback");
    assert_eq!((full.status, full.header("retry-after").is_some()), (503, true));
    open.pop();
    // It is noticed when something is sent: with the next heartbeat at the latest.
    open.push(until("a place", || {
        let mut socket = daemon.connect();
        write!(socket, "GET /api/scans/cool/playback?rate=0.01 HTTP/1.0\r\nHost: {}\r\n\r\n", daemon.addr)
            .unwrap();
        let mut reader = BufReader::new(socket);
        (Response::read_head(&mut reader).status == 200).then_some(Stream { reader, last_id: None })
    }));
    let code = daemon.stop();
    assert_eq!(code, 0);
    for stream in &mut open {
        let mut last = None;
        while let Some(frame) = stream.next() {
            last = Some(frame);
        }
        assert_eq!(last.map(|frame| frame.payload()["reason"].clone()), Some(json!("shutdown")));
    }
}

/// A line of the file that a program posts; the measurement `slow` has one row in ten.
fn lines_of(from: u64, to: u64) -> String {
    (from..to)
        .map(|n| {
            let slow = json!({ "measurement": "slow", "sequence_index": n / 10, "data": { "p": n } });
            let slow = if n % 10 == 9 { format!("{slow}\n") } else { String::new() };
            format!("{}\n{slow}", row(n))
        })
        .collect()
}

/// What curl sends with `--data-binary @rows.ndjson`: more than a body that is read whole may have, and no word of lines.
#[test]
fn a_file_of_lines_of_any_length_is_taken_as_it_comes() {
    let daemon = Daemon::start();
    register(&daemon, "cool");
    let text = lines_of(0, 40_000);
    assert!(text.len() > 4 * 1024 * 1024, "{} bytes", text.len());
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let send = |text: &str| daemon.request("POST", "/api/scans/cool/data", &form, text.as_bytes());
    let answer = send(&text);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!(
        (&body["accepted"], &body["duplicates"], &body["last_index"], &body["control"]["status"]),
        (&json!(44_000), &json!(0), &json!(3_999), &json!("running"))
    );
    assert_eq!(all(&daemon, "cool", 10_000), expected(40_000));
    assert_eq!(send(&text).json()["duplicates"], 44_000, "all of it once more");
    let points = daemon.get("/api/scans/cool").json()["num_points"].clone();
    assert_eq!(points, json!({ "main": 40_000, "slow": 4_000 }));
    // What is no lines has its bound.
    let array = format!("[{}]", text.trim().replace('\n', ","));
    assert_eq!(send(&array).status, 413);
}

/// Lines are in before the upload ends, and those before a fault stay in.
#[test]
fn lines_are_in_up_to_the_faulty_one() {
    let daemon = Daemon::start();
    register(&daemon, "cool");
    let mut socket = daemon.connect();
    let head = "POST /api/scans/cool/data HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked";
    write!(socket, "{head}\r\nHost: {}\r\n\r\n", daemon.addr).unwrap();
    let mut chunk = |text: &str| write!(socket, "{:x}\r\n{text}\r\n", text.len()).unwrap();
    let (first, second) = (lines_of(0, 500), lines_of(500, 700));
    // The last line of the first piece is not whole.
    chunk(&first[..first.len() - 7]);
    until("the first rows", || {
        (daemon.get("/api/scans/cool/data?limit=1").json()["num_points"] == 500).then_some(())
    });
    chunk(&format!("{}{second}", &first[first.len() - 7..]));
    // Not the next one: row 700 is missing.
    chunk(&format!("{}{}", lines_of(701, 702), lines_of(702, 710)));
    let answer = Response::read(&mut BufReader::new(socket));
    assert_eq!(answer.status, 409, "{}", answer.text());
    let problem = answer.json();
    assert_eq!(
        (&problem["type"], &problem["expected"], &problem["line"]),
        (&json!("gap"), &json!(700), &json!(771))
    );
    assert_eq!(
        (&problem["accepted"], &problem["duplicates"], &problem["last_index"]),
        (&json!(770), &json!(0), &json!(699))
    );
    // From there on, and up to what is no row.
    let rest = format!("{}{{\"data\":{{}}}}\n{}", lines_of(695, 705), lines_of(705, 720));
    let answer = daemon.post("/api/scans/cool/data", &rest);
    assert_eq!(answer.status, 422, "{}", answer.text());
    let problem = answer.json();
    assert_eq!(
        (&problem["line"], &problem["accepted"], &problem["duplicates"], &problem["last_index"]),
        (&json!(12), &json!(5), &json!(6), &json!(704))
    );
    // A conflict in the middle of a step, a line that never ends, and nothing at all.
    let wrong = row(703).to_string().replace("row, 703", "another");
    let answer = daemon
        .post("/api/scans/cool/data", &format!("{}{wrong}\n{}", lines_of(704, 708), lines_of(708, 709)));
    assert_eq!((answer.status, &answer.json()["line"]), (409, &json!(5)), "{}", answer.text());
    let ndjson = [("Content-Type", "application/x-ndjson")];
    let send = |text: &str| daemon.request("POST", "/api/scans/cool/data", &ndjson, text.as_bytes());
    let answer = send(&format!("{}{{\"data\":{{\"x\":\"{}\"}}}}", lines_of(708, 709), "x".repeat(200_000)));
    assert_eq!((answer.status, &answer.json()["type"]), (413, &json!("line_too_long")), "{}", answer.text());
    assert_eq!((&answer.json()["line"], &answer.json()["accepted"]), (&json!(2), &json!(1)));
    assert_eq!(send("").status, 400);
    assert_eq!(all(&daemon, "cool", 1_000), expected(709));
    assert_eq!(
        daemon.request("POST", "/api/scans/nobody/data", &ndjson, b"{\"data\":{\"x\":1}}\n").status,
        404
    );
}
