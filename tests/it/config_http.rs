//! The configuration over HTTP: shown, changed, applied, refused.

use crate::harness::{Daemon, Options, Response};
use serde_json::{Value, json};
use std::path::PathBuf;

const FILE: &str = "# The van.\nname = \"van 3\" # on the door\n\n[store]\ncommit = \"20ms\" # short\n";

fn put(daemon: &Daemon, query: &str, body: &Value) -> Response {
    daemon.request(
        "PUT",
        &format!("/api/config{query}"),
        &[("Content-Type", "application/json")],
        body.to_string().as_bytes(),
    )
}

fn file(daemon: &Daemon) -> PathBuf {
    daemon.data.join("test.toml")
}

fn text(daemon: &Daemon) -> String {
    std::fs::read_to_string(file(daemon)).unwrap()
}

#[test]
fn keys_are_changed_and_in_use_at_once() {
    let daemon = Options::default().config(FILE).start();
    let shown = daemon.get("/api/config").json();
    assert_eq!((&shown["text"], &shown["writable"]), (&FILE.into(), &true.into()));
    let revision = shown["revision"].as_str().unwrap();
    let mut live = daemon.stream("topics=system&types=config_changed&since=latest", None);
    let edit = json!({ "set": { "name": "van 4", "store.keep_age": "30days", "push.threads": 1 }, "if_revision": revision });
    let answer = put(&daemon, "", &edit);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["applied"], json!(["name", "store", "push"]));
    assert_eq!(answer["needs_restart"], json!(["push.threads"]));
    let told = live.wait("config_changed").payload();
    assert_eq!((&told["name"], &told["applied"]), (&"van 4".into(), &true.into()));
    let after = text(&daemon);
    assert!(after.starts_with("# The van.\nname = \"van 4\" # on the door\n"), "{after}");
    assert!(after.contains("commit = \"20ms\" # short\nkeep_age = \"30days\"\n"), "{after}");
    assert_eq!(std::fs::read_to_string(daemon.data.join("test.toml.bak")).unwrap(), FILE);
    // Another who read it before.
    let late = put(&daemon, "", &json!({ "unset": ["name"], "if_revision": revision }));
    assert_eq!((late.status, late.json()["revision"].clone()), (409, answer["revision"].clone()));
    assert_eq!(text(&daemon), after);
    // Pins and ports are started anew.
    let whole = format!(
        "{after}\n[[serial]]\nid = \"s1\"\ndevice = \"/dev/not-there\"\nformat = \"json\"\nstream = \"s1\"\n"
    );
    assert_eq!(put(&daemon, "", &json!({ "text": whole })).status, 200);
    crate::harness::until("the port to be tried", || {
        let sources = daemon.get("/api/system").json()["sources"].clone();
        sources.as_array().unwrap().iter().any(|s| s["source_id"] == "s1").then_some(())
    });
}

#[test]
fn what_has_faults_changes_nothing() {
    let daemon = Options::default().config(FILE).start();
    for (body, status) in [
        (json!({ "text": "nmae = \"x\"\n" }), 422),
        (json!({ "text": "name = \n" }), 422),
        (json!({ "set": { "store.commit": "soon" } }), 422),
        (json!({ "set": { "no.such": 1 } }), 422),
        (json!({ "set": [], }), 400),
        (json!({ "unset": "name" }), 400),
        (json!({}), 400),
        (json!([]), 400),
        (json!({ "text": "name = \"x\"\n", "unset": ["name"] }), 400),
        (json!({ "text": format!("# {}", "x".repeat(1 << 20)) }), 422),
    ] {
        let answer = put(&daemon, "", &body);
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        if status == 422 {
            assert!(answer.json()["errors"][0]["detail"].is_string(), "{}", answer.text());
        }
    }
    let fault = put(&daemon, "", &json!({ "text": "\nnmae = \"x\"\n" })).json();
    assert_eq!((&fault["errors"][0]["line"], &fault["errors"][0]["column"]), (&2.into(), &1.into()));
    assert_eq!(put(&daemon, "?check=true", &json!({ "text": "name = \"other\"\n" })).status, 200);
    assert_eq!(put(&daemon, "?check=true", &json!({ "text": "name = 1\n" })).status, 422);
    assert_eq!(text(&daemon), FILE);
    assert!(!daemon.data.join("test.toml.bak").exists());
    // A file that cannot be replaced is said so, and stays.
    std::fs::create_dir(daemon.data.join("test.toml.new")).unwrap();
    let refused = put(&daemon, "", &json!({ "set": { "name": "y" } }));
    assert_eq!((refused.status, refused.json()["type"].as_str()), (503, Some("config_file")));
    assert_eq!(text(&daemon), FILE);
}

#[test]
fn only_admins_change_it_and_without_a_file_nobody_does() {
    let daemon = Options::default().config("name = \"x\"\n[access]\ntrust_loopback = false\n").start();
    assert_eq!(daemon.get("/api/config").status, 200);
    assert_eq!(put(&daemon, "", &json!({ "unset": ["name"] })).status, 401);
    let daemon = Daemon::start();
    let shown = daemon.get("/api/config").json();
    assert_eq!((&shown["path"], &shown["writable"]), (&Value::Null, &false.into()));
    assert!(shown["sections"].as_array().unwrap().iter().any(|s| s["name"] == "store"));
    let refused = put(&daemon, "", &json!({ "set": { "name": "x" } }));
    assert_eq!((refused.status, refused.json()["type"].as_str()), (409, Some("no_file")));
}

#[test]
fn a_change_while_it_stops_does_not_hang() {
    let mut daemon = Options::default().config(FILE).start();
    let addr = daemon.addr;
    let asking = std::thread::spawn(move || {
        use std::io::{Read, Write};
        for n in 0.. {
            let Ok(mut socket) = std::net::TcpStream::connect(addr) else { return };
            let body = format!("{{\"set\":{{\"name\":\"n{n}\"}}}}");
            let head = format!(
                "PUT /api/config HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            if socket.write_all(format!("{head}{body}").as_bytes()).is_err() {
                return;
            }
            let _ = socket.read_to_end(&mut Vec::new());
        }
    });
    // The fourth may be over before it is looked for.
    let nth = |text: &str| text.split_once("\"n")?.1.split_once('"')?.0.parse::<u64>().ok();
    crate::harness::until("a few changes", || nth(&text(&daemon)).filter(|n| *n >= 3));
    let begun = std::time::Instant::now();
    assert_eq!(daemon.stop(), 0);
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    asking.join().unwrap();
    assert!(text(&daemon).starts_with("# The van.\nname = \"n"), "whole: {}", text(&daemon));
}
