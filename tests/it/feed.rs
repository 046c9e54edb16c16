//! A value stream from an exchange that is somebody else's program: a Python server of the package `websockets`
//! (tests/devices/feed.py), killed, stalled, sending garbage, flooding.

use crate::devices::Counterpart;
use crate::harness::{Daemon, Options, until};
use serde_json::Value;
use std::path::PathBuf;

struct Exchange {
    program: Counterpart,
    ws: u64,
    rest: u64,
    _dir: tempfile::TempDir,
}

fn exchange() -> Option<Exchange> {
    let dir = tempfile::tempdir().unwrap();
    let ports = dir.path().join("ports.json");
    let program = Counterpart::start("feed.py", &ports)?;
    let told: Value = serde_json::from_slice(&std::fs::read(&ports).unwrap()).unwrap();
    let port = |name: &str| told[name].as_u64().unwrap();
    Some(Exchange { ws: port("ws"), rest: port("rest"), program, _dir: dir })
}

fn daemon(exchange: &Exchange) -> Daemon {
    let config = format!(
        "[[stream]]\nid = \"btc\"\nname = \"Bitcoin\"\nunit = \"USD\"\nurl = \"ws://127.0.0.1:{}/ws\"\nsubscribe = [\"subscribe\"]\n\
         value = \"p\"\ntime = \"T\"\nonly_path = \"s\"\nonly_value = \"BTCUSDT\"\nstale_after = \"1s\"\n\
         rest = \"http://127.0.0.1:{}/price\"\nrest_value = \"price\"\nrest_interval = \"500ms\"\n",
        exchange.ws, exchange.rest
    );
    Options::default().config(&config).start()
}

fn btc(daemon: &Daemon) -> Value {
    daemon.get("/api/streams/btc").json()
}

/// The count of a member, once the stream says it.
fn count(stream: &Value, name: &str) -> u64 {
    stream[name].as_u64().unwrap_or_default()
}

fn source(daemon: &Daemon) -> Value {
    crate::devices::source(daemon, "feed-btc")
}

fn capture() -> (PathBuf, Vec<Value>) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/trades.ndjson");
    let lines = std::fs::read_to_string(&path).unwrap();
    let trades = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (path, trades)
}

#[test]
fn a_capture_is_followed_to_its_last_trade_through_a_stall_and_a_kill() {
    let Some(mut exchange) = exchange() else { return };
    let daemon = daemon(&exchange);
    let (path, trades) = capture();
    let ours: Vec<&Value> = trades.iter().filter(|t| t["s"] == "BTCUSDT").collect();
    let last: f64 = ours.last().unwrap()["p"].as_str().unwrap().parse().unwrap();
    until("the feed to be heard", || {
        exchange.program.say("garbage 6");
        // Each of the six kinds is counted, none is a value.
        let source = source(&daemon);
        (source["errors"].as_u64() >= Some(5)).then_some(())
    });
    assert!(btc(&daemon)["value"].is_null(), "{}", btc(&daemon));
    exchange.program.say(&format!("play {} 1", path.display()));
    until("live", || (btc(&daemon)["status"] == "live").then_some(()));
    let shown = until("the last trade", || Some(btc(&daemon)).filter(|s| s["value"] == last));
    let time = telltale::clock::Wall(ours.last().unwrap()["T"].as_u64().unwrap()).rfc3339();
    assert_eq!(shown["timestamp"], time.as_str());
    let counted = until("every trade to be counted", || {
        Some(btc(&daemon)).filter(|s| count(s, "ticks") == ours.len() as u64)
    });
    // Every message that is no trade is counted once, and none of them is a value. The exchange's first answer and what it
    // says of other things is no fault.
    let (dropped, errors) = (count(&counted, "dropped"), source(&daemon)["errors"].as_u64().unwrap());
    exchange.program.say("garbage 60");
    let counted = until("sixty more faults", || {
        let (now, feed) = (btc(&daemon), source(&daemon));
        (feed["errors"] == errors + 60).then_some(now)
    });
    assert_eq!((count(&counted, "dropped"), &counted["value"]), (dropped + 30, &last.into()), "{counted}");
    // A stall: old, with its last value; REST stands in when it can.
    let stale =
        until("stale", || Some(btc(&daemon)).filter(|s| s["status"] == "stale" || s["status"] == "fallback"));
    assert_eq!(stale["value"], last, "the last good value stays: {stale}");
    exchange.program.say("rest 93000.5");
    until("the fallback", || {
        let now = btc(&daemon);
        (now["status"] == "fallback" && now["value"] == 93_000.5).then_some(())
    });
    // Everything is gone: nothing is made up.
    exchange.program.say("rest no");
    exchange.program.say("kill");
    let gone = until("offline", || {
        Some(btc(&daemon)).filter(|s| s["status"] == "offline" && s["quality"] == "uncertain")
    });
    assert_eq!(gone["value"], 93_000.5);
    exchange.program.say("back");
    exchange.program.say("rate 100 60");
    until("live again", || {
        let now = btc(&daemon);
        (now["status"] == "live" && now["value"].as_f64() < Some(6_000.0)).then_some(())
    });
    assert!(count(&btc(&daemon), "reconnects") >= 1);
}

#[test]
fn a_flood_of_ten_thousand_ticks_a_second_is_counted_to_the_last_and_memory_is_flat() {
    let Some(mut exchange) = exchange() else { return };
    let daemon = daemon(&exchange);
    until("the feed to be heard", || {
        exchange.program.say("garbage 6");
        (source(&daemon)["errors"].as_u64() >= Some(5)).then_some(())
    });
    let before = daemon.rss();
    // As fast as Python can, up to 10,000 a second; numbered, so that the last one and the count tell.
    let ticks = 30_000;
    exchange.program.say("rate 10000 3");
    until("the newest", || (btc(&daemon)["value"] == (ticks - 1) as f64).then_some(()));
    let counts = until("the counts", || Some(btc(&daemon)).filter(|s| count(s, "ticks") == ticks));
    assert!(count(&counts, "conflated") > ticks / 2, "{counts}");
    let history = daemon.get("/api/streams/btc/history?points=100").json();
    assert_eq!(history["ticks"], ticks);
    assert!(daemon.rss() < before + 16 * 1024 * 1024, "{before} -> {}", daemon.rss());
}
