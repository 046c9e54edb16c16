//! Resume through the real binary: reconnect, restart, SIGKILL; exact replay or a gap that says so.

use crate::harness::{Daemon, Options, Stream, until};
use std::collections::BTreeMap;

fn number(frame: &crate::harness::Frame) -> u64 {
    frame.payload()["n"].as_u64().unwrap()
}

/// Reads on until record `last`; gives all record numbers.
fn read_through(stream: &mut Stream, last: u64) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let n = number(&stream.wait("test"));
        all.push(n);
        if n == last {
            return all;
        }
    }
}

#[test]
fn a_restart_is_seen_as_nothing_but_a_pause() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Options::default().start_in(dir.path());
    let mut stream = daemon.stream("topics=app/x", None);
    assert_eq!(stream.wait("hello").payload()["resumed"], false);
    for n in 0..50 {
        daemon.publish("app/x", &format!(r#"{{"n":{n}}}"#));
    }
    assert_eq!(read_through(&mut stream, 49), (0..50).collect::<Vec<_>>());
    for n in 50..60 {
        daemon.publish("app/x", &format!(r#"{{"n":{n}}}"#));
    }
    let cursor = stream.last_id.clone().unwrap();
    assert_eq!(daemon.stop(), 0);
    // What came in before the end is told before the end, and so is the end.
    let mut rest = Vec::new();
    let mut said_bye = false;
    while let Some(frame) = stream.next_real() {
        match frame.event.as_str() {
            "test" => rest.push(number(&frame)),
            "bye" => {
                assert_eq!(frame.payload()["reason"], "shutdown");
                said_bye = true;
            }
            other => panic!("{other}"),
        }
    }
    assert!(said_bye);
    assert_eq!(rest, (50..60).collect::<Vec<_>>());
    let daemon = Options::default().start_in(dir.path());
    // Before anything new is published.
    let mut stream = daemon.stream("topics=app/x", Some(&cursor));
    let hello = stream.wait("hello").payload();
    assert_eq!(hello["resumed"], true);
    assert_eq!(read_through(&mut stream, 59), (50..60).collect::<Vec<_>>());
    daemon.publish("app/x", r#"{"n":60}"#);
    assert_eq!(read_through(&mut stream, 60), [60]);
}

#[test]
fn killed_before_the_commit_is_a_gap_with_the_exact_count() {
    let dir = tempfile::tempdir().unwrap();
    // A commit window that this test never reaches.
    let slow = "[store]\ncommit = \"1m\"\nstate_commit = \"1m\"\n[host]\ninterval = \"1h\"\n";
    let mut daemon = Options::default().config(slow).start_in(dir.path());
    // What the start itself publishes would be counted too.
    crate::harness::until("the start to be told", || {
        let state = daemon.get("/api/state?topics=system").text();
        ["system_health", "config_changed"].iter().all(|kind| state.contains(kind)).then_some(())
    });
    let mut stream = daemon.stream("topics=app/x", None);
    stream.wait("hello");
    let durable =
        daemon.post("/api/events?durable=true", r#"{"type":"test","topic":"app/x","payload":{"n":0}}"#);
    assert_eq!(durable.status, 201, "{}", durable.text());
    let stored = durable.json()["cursor"].as_str().unwrap().to_string();
    for n in 1..8 {
        daemon.publish("app/x", &format!(r#"{{"n":{n}}}"#));
    }
    assert_eq!(read_through(&mut stream, 7).len(), 8);
    let cursor = stream.last_id.clone().unwrap();
    daemon.kill();
    let daemon = Options::default().start_in(dir.path());
    let mut stream = daemon.stream("topics=app/x", Some(&cursor));
    assert_eq!(stream.wait("hello").id, None);
    let gap = stream.wait("gap").payload();
    assert_eq!(gap["reason"], "lost_tail");
    // Ids are dense over all topics; the health of the box may have had one in between.
    let seq = |id: &str| id.split_once('-').unwrap().1.parse::<u64>().unwrap();
    assert_eq!(gap["lost"], seq(&cursor) - seq(&stored));
    assert!(gap["lost"].as_u64() >= Some(7));
    assert_eq!(gap["from"], stored.as_str());
    assert_eq!(gap["to"], cursor.as_str());
    stream.wait("snapshot");
    daemon.publish("app/x", r#"{"n":100}"#);
    assert_eq!(number(&stream.wait("test")), 100);
    let mut whole = daemon.stream("topics=app/x&since=earliest", None);
    assert_eq!(read_through(&mut whole, 100), [0, 100], "what was acknowledged as stored is there");
}

#[test]
fn ids_that_are_not_ours_are_a_gap_and_never_an_error() {
    let daemon = Daemon::start();
    daemon.publish("app/x", r#"{"n":1}"#);
    let head = daemon.publish("app/x", r#"{"n":2}"#);
    let (epoch, seq) = head.split_once('-').unwrap();
    let future = format!("{epoch}-{}", seq.parse::<u64>().unwrap() + 10);
    for id in [future.as_str(), "1-1", "garbage", "99999999999999999999-1", "7", "%00"] {
        let mut stream = daemon.stream("topics=app/x", Some(id));
        let gap = stream.wait("gap").payload();
        assert_eq!(gap["reason"], "unknown_id", "{id}");
        assert_eq!(gap["lost"], serde_json::Value::Null);
        stream.wait("snapshot");
        let poll = daemon.get(&format!("/api/events?topics=app/x&since={id}"));
        assert_eq!(poll.status, 200);
        assert_eq!(poll.json()["gap"]["reason"], "unknown_id");
    }
}

#[test]
fn random_kills_lose_nothing_in_silence() {
    let seed: u64 = std::env::var("TELLTALE_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(u64::from(std::process::id()));
    println!("seed {seed}; again with TELLTALE_SEED={seed}");
    let mut random = seed;
    let mut next = move |most: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % most
    };
    let dir = tempfile::tempdir().unwrap();
    let quick = "[store]\ncommit = \"20ms\"\nstate_commit = \"20ms\"\n";
    let mut cursor: Option<String> = None;
    // By seq: what the reader believes exists.
    let mut had: BTreeMap<u64, u64> = BTreeMap::new();
    let mut n = 0;
    for _ in 0..15 {
        let mut daemon = Options::default().config(quick).start_in(dir.path());
        let mut stream = daemon.stream("topics=app/x", cursor.as_deref());
        if cursor.is_none() {
            // Without an id it begins at the head, which is taken after the response's head was written.
            stream.wait("hello");
        }
        for _ in 0..next(40) + 1 {
            n += 1;
            daemon.publish("app/x", &format!(r#"{{"n":{n}}}"#));
        }
        while let Some(frame) = stream.next_real() {
            match frame.event.as_str() {
                "gap" => {
                    let gap = frame.payload();
                    assert_eq!(gap["reason"], "lost_tail");
                    let seq = |id: &serde_json::Value| {
                        id.as_str().unwrap().split_once('-').unwrap().1.parse::<u64>().unwrap()
                    };
                    assert_eq!(gap["lost"].as_u64().unwrap(), seq(&gap["to"]) - seq(&gap["from"]));
                    had.split_off(&(seq(&gap["from"]) + 1));
                }
                "test" => {
                    let seq = frame.id.as_ref().unwrap().split_once('-').unwrap().1.parse().unwrap();
                    assert_eq!(had.insert(seq, number(&frame)), None, "seed {seed}: {frame:?} came twice");
                    if number(&frame) == n {
                        break;
                    }
                }
                _ => {}
            }
        }
        cursor = stream.last_id.clone();
        if next(3) == 0 {
            assert_eq!(daemon.stop(), 0);
        } else {
            daemon.kill();
        }
    }
    let daemon = Options::default().config(quick).start_in(dir.path());
    let last = daemon.publish("app/x", r#"{"n":1000000}"#);
    let mut whole = daemon.stream("topics=app/x&since=earliest", None);
    let mut stored = BTreeMap::new();
    loop {
        let frame = whole.wait("test");
        let id = frame.id.clone().unwrap();
        stored.insert(id.split_once('-').unwrap().1.parse::<u64>().unwrap(), number(&frame));
        if id == last {
            break;
        }
    }
    let mut stream = daemon.stream("topics=app/x", cursor.as_deref());
    let mut all = had;
    loop {
        let Some(frame) = stream.next_real() else { panic!("ended") };
        if frame.event == "gap" {
            let from =
                frame.payload()["from"].as_str().unwrap().split_once('-').unwrap().1.parse::<u64>().unwrap();
            all.split_off(&(from + 1));
        } else if frame.event == "test" {
            all.insert(
                frame.id.as_ref().unwrap().split_once('-').unwrap().1.parse().unwrap(),
                number(&frame),
            );
            if frame.id.as_deref() == Some(&last) {
                break;
            }
        }
    }
    assert_eq!(all, stored, "seed {seed}: the reader believes exactly what is stored");
}

#[test]
fn a_term_signal_ends_it_within_two_seconds_with_streams_open() {
    let mut daemon = Daemon::start();
    let mut streams: Vec<Stream> = (0..20).map(|_| daemon.stream("", None)).collect();
    for stream in &mut streams {
        stream.wait("hello");
    }
    let begun = std::time::Instant::now();
    assert_eq!(daemon.stop(), 0);
    assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn readers_that_stop_reading_hold_up_nobody() {
    let daemon = Daemon::start();
    let mut normal: Vec<Stream> = (0..10).map(|_| daemon.stream("topics=app/x", None)).collect();
    let mut slow: Vec<Stream> = (0..5).map(|_| daemon.stream("topics=app/x", None)).collect();
    let pad = "x".repeat(1_000);
    let count = 20_000;
    for first in (0..count).step_by(500) {
        let lines: String = (first..first + 500)
            .map(|n| {
                format!(
                    "{{\"type\":\"test\",\"topic\":\"app/x\",\"payload\":{{\"n\":{n},\"pad\":\"{pad}\"}}}}\n"
                )
            })
            .collect();
        let answer = daemon.request(
            "POST",
            "/api/events",
            &[("Content-Type", "application/x-ndjson")],
            lines.as_bytes(),
        );
        assert_eq!(answer.status, 202, "{}", answer.text());
        for stream in &mut normal {
            assert_eq!(read_through(stream, first + 499).len(), 500);
        }
    }
    assert!(daemon.rss() < 120 << 20, "{} bytes for 20 MB that five readers did not take", daemon.rss());
    // They come back to life and have everything, once, in order.
    for stream in &mut slow {
        assert_eq!(read_through(stream, count - 1), (0..count).collect::<Vec<_>>());
    }
    until("all streams to be counted", || {
        let metrics = daemon.get("/metrics").text();
        metrics.contains("telltale_streams 15\n").then_some(())
    });
}
