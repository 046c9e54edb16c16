//! Into the store and out of it again.

use crate::Table;
use crate::harness::{Daemon, until};
use crate::publisher::Publisher;
use crate::readers::{Readers, open};
use std::time::{Duration, Instant};

/// Bytes of a payload.
const PAYLOAD: usize = 100;
const BATCH: u64 = 1_000;

/// 100,000 stored events to one reader that asks for everything.
pub fn replay(table: &mut Table) {
    const EVENTS: u64 = 100_000;
    let daemon = Daemon::start();
    let mut publisher = Publisher::new(daemon.addr, PAYLOAD);
    while publisher.next < EVENTS {
        publisher.post(BATCH, publisher.next + BATCH >= EVENTS);
    }
    let mut best = f64::MAX;
    for _ in 0..3 {
        let begun = Instant::now();
        let readers = Readers::over(vec![open(daemon.addr, "&since=earliest", None)], false);
        assert!(
            readers.wait_for(EVENTS, Duration::from_secs(60)),
            "{} of {EVENTS} came",
            readers.delivered()
        );
        best = best.min(begun.elapsed().as_secs_f64());
        assert_eq!(readers.stop().events, [EVENTS]);
    }
    let rate = EVENTS as f64 / best;
    table.goal(
        "replay of 100,000 stored events to one reader",
        format!("{rate:.0} events/s (best of 3)"),
        ">= 200,000 events/s",
        rate >= 200_000.0,
    );
}

/// NDJSON bodies of 1,000 events until the last is on the disk.
pub fn post(table: &mut Table) {
    const EVENTS: u64 = 300_000;
    let daemon = Daemon::start();
    let mut publisher = Publisher::new(daemon.addr, PAYLOAD);
    let stored = || crate::footprint::metric(&daemon, "telltale_events_stored_total") as u64;
    let before = stored();
    let begun = Instant::now();
    while publisher.next < EVENTS {
        // The last one does not wait for the window of the group commit.
        publisher.post(BATCH, publisher.next + BATCH >= EVENTS);
    }
    until("all of it to be stored", || (stored() >= before + EVENTS).then_some(()));
    let rate = EVENTS as f64 / begun.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(stored(), before + EVENTS, "everything is stored once");
    let text = format!("{rate:.0} events/s, {} posts asked to wait", publisher.refused);
    table.goal("POST of NDJSON until stored, one connection", text, ">= 100,000 events/s", rate >= 100_000.0);
}

/// Warnings among a million other events: a line after every 50,000.
pub fn search(table: &mut Table) {
    const EVENTS: u64 = 1_000_000;
    let daemon = Daemon::start();
    let mut publisher = Publisher::new(daemon.addr, PAYLOAD);
    let mut lines = 0;
    while publisher.next < EVENTS {
        publisher.post(BATCH, publisher.next.is_multiple_of(50_000) || publisher.next + BATCH >= EVENTS);
        if publisher.next.is_multiple_of(50_000) {
            let line = r#"{"type":"log","payload":{"level":"WARNING","message":"rare","source":"bench","timestamp":"2026-01-07T15:30:00.000Z"}}"#;
            assert_eq!(daemon.post("/api/events", line).status, 202);
            lines += 1;
        }
    }
    let find = |query: &str| {
        let begun = Instant::now();
        let answer = daemon.get(&format!("/api/log?{query}")).json();
        (begun.elapsed(), answer["items"].as_array().map_or(0, Vec::len), answer["next"].is_null())
    };
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let (time, found, all) = find("level=WARNING&source=bench");
        assert_eq!((found, all), (lines, true), "each in one answer");
        best = best.min(time);
    }
    let ms = best.as_secs_f64() * 1e3;
    let text = format!("{ms:.1} ms");
    table.goal("the 20 warnings among 1,000,000 events, newest to oldest", text, "<= 100 ms", ms <= 100.0);
    // The same without trails: everything is looked through, as it is for types that have none.
    let begun = Instant::now();
    let mut answers = 0;
    let mut since = String::from("earliest");
    loop {
        answers += 1;
        let answer = daemon
            .get(&format!("/api/events?format=json&limit=1000&topics=log&types=log&since={since}"))
            .json();
        since = answer["cursor"].as_str().unwrap_or_default().to_string();
        if answer["more"] != true {
            break;
        }
    }
    let text = format!("{:.0} ms in {answers} answers", begun.elapsed().as_secs_f64() * 1e3);
    table.note("the same by reading everything", text);
}
