//! Feeds by `wss` and `https`, and a webhook by `https`: a Python server (tests/devices/feed.py) with certificates of an authority
//! that `openssl` makes here, and servers that do not go through with it. In builds with the feature `tls`, as tests/run has it.

use crate::devices::Counterpart;
use crate::harness::{Daemon, Options, until};
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs openssl in a folder.
fn openssl(dir: &Path, args: &str) {
    let mut command = Command::new("openssl");
    command.args(args.split_whitespace()).current_dir(dir).stderr(Stdio::null());
    assert!(command.status().expect("openssl, which tests/run installs").success(), "openssl {args}");
}

/// An authority of this name in `dir`: ca.pem.
fn authority(dir: &Path, name: &str) {
    openssl(
        dir,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name} -keyout ca.key -out ca.pem"
        ),
    );
}

/// A certificate of it for `name`, valid for so many days from now: cert.pem and key.pem.
fn certificate(dir: &Path, name: &str, days: i32) {
    std::fs::write(dir.join("extensions"), format!("subjectAltName=DNS:{name}\nbasicConstraints=CA:FALSE\n"))
        .unwrap();
    openssl(
        dir,
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=server -keyout key.pem -out request.pem",
    );
    openssl(
        dir,
        &format!(
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} -extfile extensions -out cert.pem"
        ),
    );
}

/// A server with a certificate for `name`, and a daemon that trusts the authority in the file `trusted`.
struct Both {
    server: Counterpart,
    daemon: Daemon,
    dir: tempfile::TempDir,
}

fn both(name: &str, days: i32, trusted: &str) -> Option<Both> {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    authority(&other, "other");
    authority(dir.path(), "ours");
    certificate(dir.path(), name, days);
    let ports = dir.path().join("ports.json");
    let server = Counterpart::start("feed.py", &ports)?;
    let ports: Value = serde_json::from_slice(&std::fs::read(&ports).unwrap()).unwrap();
    let config = format!(
        "{}rest = \"https://localhost:{1}/\"\nrest_value = \"price\"\nrest_interval = \"500ms\"\n\
         [[webhook]]\nid = \"desk\"\nurl = \"https://localhost:{1}/\"\n\
         [[alert]]\nid = \"hot\"\nvalue = \"stream/temp\"\nabove = 30\n",
        feed(ports["ws"].as_u64().unwrap()),
        ports["rest"]
    );
    let trusted = dir.path().join(trusted).display().to_string();
    let daemon = Options::default().config(&config).env("SSL_CERT_FILE", &trusted).start();
    Some(Both { server, daemon, dir })
}

fn feed(port: u64) -> String {
    format!(
        "[[stream]]\nid = \"btc\"\nurl = \"wss://localhost:{port}/\"\nsubscribe = [\"go\"]\nvalue = \"p\"\ntime = \"T\"\n\
         only_path = \"s\"\nonly_value = \"BTCUSDT\"\nstale_after = \"1s\"\n"
    )
}

fn btc(daemon: &Daemon) -> Value {
    daemon.get("/api/streams/btc").json()
}

/// Waits until the feed is offline, for a reason with this in it.
fn offline(daemon: &Daemon, reason: &str) {
    let mut last = Value::Null;
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until(reason, || {
            last = btc(daemon);
            (last["status"] == "offline" && last["reason"].as_str()?.contains(reason)).then_some(())
        })
    }));
    assert!(found.is_ok(), "{last:#}");
    assert!(last["value"].is_null(), "{last}");
}

#[test]
fn a_feed_by_wss_is_followed_through_a_kill_to_rest_by_https_and_back() {
    let Some(Both { mut server, daemon, dir: _dir }) = both("localhost", 2, "ca.pem") else { return };
    // Until the socket is open nobody hears the trades.
    let live = until("live", || {
        server.say("rate 100 1");
        Some(btc(&daemon)).filter(|s| s["status"] == "live" && s["value"].as_f64() >= Some(1.0))
    });
    assert_eq!((&live["quality"], &live["dropped"]), (&"good".into(), &0.into()), "{live}");
    server.say("rest 93000.5");
    server.say("kill");
    until("the fallback", || {
        let now = btc(&daemon);
        (now["status"] == "fallback" && now["value"] == 93_000.5).then_some(())
    });
    server.say("back");
    server.say("rate 100 60");
    until("live again", || {
        let now = btc(&daemon);
        (now["status"] == "live" && now["value"].as_f64() < Some(6_000.0)).then_some(())
    });
}

/// Fragments, masks and records are put together whatever their sizes: every one of many ticks is counted.
#[test]
fn a_flood_by_wss_is_counted_to_the_last() {
    let Some(Both { mut server, daemon, dir: _dir }) = both("localhost", 2, "ca.pem") else { return };
    let source = || crate::devices::source(&daemon, "feed-btc");
    until("the feed to be heard", || {
        server.say("garbage 6");
        (source()["errors"].as_u64() >= Some(5)).then_some(())
    });
    let ticks = 10_000;
    server.say("rate 5000 2");
    until("every tick", || (btc(&daemon)["ticks"] == ticks).then_some(()));
    assert_eq!(btc(&daemon)["value"], (ticks - 1) as f64);
}

#[test]
fn a_certificate_by_nobody_trusted_is_refused_and_said() {
    let Some(Both { daemon, server: _server, dir: _dir }) = both("localhost", 2, "other/ca.pem") else {
        return;
    };
    offline(&daemon, "the server's certificate is by nobody whom this system trusts");
}

#[test]
fn an_expired_certificate_makes_one_look_at_the_clock() {
    let Some(Both { daemon, server: _server, dir: _dir }) = both("localhost", -1, "ca.pem") else { return };
    offline(&daemon, "is this box's clock right?");
}

#[test]
fn a_certificate_for_another_name_is_refused_and_said() {
    let Some(Both { daemon, server: _server, dir: _dir }) = both("other.example", 2, "ca.pem") else {
        return;
    };
    offline(&daemon, "the server's certificate is for another name");
}

#[test]
fn a_webhook_by_https_is_delivered() {
    let Some(Both { daemon, dir, server: _server }) = both("localhost", 2, "ca.pem") else { return };
    assert_eq!(daemon.post("/api/streams/temp", r#"{"value":35}"#).status, 202);
    let posted = until("the alert", || {
        let text = std::fs::read_to_string(dir.path().join("posted.ndjson")).ok()?;
        text.lines()
            .filter_map(|l| serde_json::from_str::<Value>(l).ok())
            .find(|v| v["alert"]["alert_id"] == "hot")
    });
    assert_eq!(posted["event"], "active");
}

#[test]
fn a_webhook_to_nobody_trusted_waits_and_says_why() {
    let Some(Both { daemon, dir, server: _server }) = both("localhost", 2, "other/ca.pem") else { return };
    assert_eq!(daemon.post("/api/streams/temp", r#"{"value":35}"#).status, 202);
    until("the reason", || {
        let channels = daemon.get("/api/alerts/deliveries").json();
        let desk = channels["channels"].as_array()?.iter().find(|c| c["name"] == "desk")?.clone();
        desk["last_error"].as_str()?.contains("nobody whom this system trusts").then_some(())
    });
    assert!(!dir.path().join("posted.ndjson").exists());
}

/// The time limit itself is a test of the feed's module; here: nobody waits for who does not answer.
#[test]
fn a_server_that_stalls_in_the_handshake_holds_up_no_stop() {
    let dir = tempfile::tempdir().unwrap();
    authority(dir.path(), "ours");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = u64::from(silent.local_addr().unwrap().port());
    let trusted = dir.path().join("ca.pem").display().to_string();
    let mut daemon = Options::default().config(&feed(port)).env("SSL_CERT_FILE", &trusted).start();
    let taken = silent.accept().unwrap();
    until("connecting", || (btc(&daemon)["status"] == "connecting").then_some(()));
    let began = Instant::now();
    assert_eq!(daemon.stop(), 0);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    drop(taken);
}
