//! Alerts through the real binary: rules on posted values, acknowledgements and snoozes that survive, messages that
//! arrive late rather than never.

use crate::harness::{Daemon, Options, PATIENCE, until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

const HOT: &str = r#"
[[alert]]
id = "hot"
value = "stream/temp"
above = 30
major_above = 40
hysteresis = 2
guidance = "Open the hatch."
"#;

fn post(daemon: &Daemon, id: &str, value: Value) {
    let body = json!({"value": value, "unit": "degC"}).to_string();
    let answer = daemon.post(&format!("/api/streams/{id}"), &body);
    assert!(matches!(answer.status, 200..=202), "{}", answer.text());
}

/// The open alert; none when there is none.
fn alert(daemon: &Daemon, id: &str) -> Option<Value> {
    let answer = daemon.get(&format!("/api/alerts/{id}"));
    (answer.status == 200).then(|| answer.json())
}

fn in_state(daemon: &Daemon, id: &str, state: &str) -> Value {
    until(&format!("{id} to be {state}"), || alert(daemon, id).filter(|a| a["state"] == state))
}

fn closed(daemon: &Daemon, id: &str) {
    until(&format!("{id} to be closed"), || alert(daemon, id).is_none().then_some(()));
}

fn rule_state(daemon: &Daemon, id: &str) -> String {
    let rules = daemon.get("/api/alerts/rules").json();
    let row = rules["items"].as_array().unwrap().iter().find(|r| r["rule"] == id).cloned();
    row.map_or_else(String::new, |r| r["state"].as_str().unwrap().to_string())
}

/// Sends a command and waits for its end.
fn command(daemon: &Daemon, path: &str, body: &Value) -> Value {
    let answer = daemon.post(path, &body.to_string());
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.json()["target"], "alerts");
    let id = answer.json()["command_id"].as_str().unwrap().to_string();
    until("the end of the command", || {
        Some(daemon.get(&format!("/api/commands/{id}")).json()).filter(|c| c["state"] != "accepted")
    })
}

#[test]
fn a_value_crosses_its_limits_and_comes_back() {
    let daemon = Options::default().config(HOT).start();
    let mut stream = daemon.stream("topics=alerts", None);
    stream.wait("hello");
    assert_eq!(rule_state(&daemon, "hot"), "no data");
    post(&daemon, "temp", json!(30));
    until("the rule to have data", || (rule_state(&daemon, "hot") == "ok").then_some(()));
    post(&daemon, "temp", json!(31.5));
    let raised = stream.wait("alert").payload();
    assert_eq!(
        (&raised["state"], &raised["severity"], &raised["occurrence"], &raised["rule"]),
        (&json!("active"), &json!("MINOR"), &json!(1), &json!("hot"))
    );
    assert_eq!(raised["message"], "temp is above 30 degC: 31.5 degC.");
    assert_eq!(
        (&raised["value"], &raised["limit"], &raised["unit"], &raised["guidance"]),
        (&json!(31.5), &json!(30.0), &json!("degC"), &json!("Open the hatch."))
    );
    let done = command(&daemon, "/api/alerts/hot/ack", &json!({"occurrence": 1, "by": "eva"}));
    assert_eq!((&done["state"], &done["status"]), (&json!("completed"), &json!("acknowledged")));
    assert_eq!(stream.wait("alert").payload()["acked_by"], "eva");
    let again = daemon.post("/api/alerts/hot/ack", r#"{"occurrence":1}"#);
    assert_eq!((again.status, &again.json()["status"]), (200, &json!("acknowledged")));
    let other = daemon.post("/api/alerts/hot/ack", r#"{"occurrence":2}"#);
    assert_eq!((other.status, &other.json()["type"]), (409, &json!("occurrence")));
    // Neither within the hysteresis nor without a number is anything over.
    post(&daemon, "temp", json!(28.5));
    post(&daemon, "temp", json!(null));
    post(&daemon, "temp", json!(41));
    let worse = stream.wait("alert").payload();
    assert_eq!(
        (&worse["state"], &worse["severity"], &worse["occurrence"]),
        (&json!("active"), &json!("MAJOR"), &json!(1)),
        "worse than what was acknowledged is news, and nothing was published in between"
    );
    post(&daemon, "temp", json!(20));
    let over = stream.wait("alert").payload();
    assert_eq!((&over["state"], &over["severity"]), (&json!("cleared"), &json!("MAJOR")));
    post(&daemon, "temp", json!(33));
    assert_eq!(stream.wait("alert").payload()["occurrence"], 2);
    post(&daemon, "temp", json!(20));
    stream.wait("alert");
    let done = command(&daemon, "/api/alerts/hot/ack", &json!({"occurrence": 2}));
    assert_eq!(done["status"], "closed");
    closed(&daemon, "hot");
    assert_eq!(daemon.post("/api/alerts/hot/ack", r#"{"occurrence":2}"#).status, 404);
}

#[test]
fn it_must_hold_for_its_delay() {
    let config = "[[alert]]\nid = \"late\"\nvalue = \"stream/x\"\nbelow = 5\ndelay = \"300ms\"\nlatched = false\nseverity = \"MAJOR\"\n";
    let daemon = Options::default().config(config).start();
    post(&daemon, "x", json!(1));
    until("it to be pending", || (rule_state(&daemon, "late") == "pending").then_some(()));
    assert_eq!(alert(&daemon, "late"), None);
    post(&daemon, "x", json!(9));
    until("it to be over", || (rule_state(&daemon, "late") == "ok").then_some(()));
    post(&daemon, "x", json!(1));
    assert_eq!(in_state(&daemon, "late", "active")["occurrence"], 1, "what did not hold was no occurrence");
    post(&daemon, "x", json!(9));
    closed(&daemon, "late");
}

#[test]
fn silence_is_told_and_so_is_what_never_came() {
    let config = "[[alert]]\nid = \"old\"\nvalue = \"stream/x\"\nstale = \"400ms\"\nlatched = false\n\
                  [[alert]]\nid = \"none\"\nvalue = \"stream/never\"\nabsent = \"300ms\"\n";
    let daemon = Options::default().config(config).start();
    in_state(&daemon, "none", "active");
    assert_eq!(rule_state(&daemon, "old"), "no data");
    post(&daemon, "x", json!(1));
    in_state(&daemon, "old", "active");
    post(&daemon, "x", json!(1));
    closed(&daemon, "old");
    post(&daemon, "never", json!(1));
    in_state(&daemon, "none", "cleared");
}

#[test]
fn acknowledgements_and_snoozes_survive_a_crash_and_what_is_over_ends() {
    let dir = tempfile::tempdir().unwrap();
    let two = format!("{HOT}\n{}", HOT.replace("\"hot\"", "\"hot2\"").replace("stream/temp", "stream/other"));
    let mut daemon = Options::default().config(&two).start_in(dir.path());
    post(&daemon, "temp", json!(35));
    post(&daemon, "other", json!(35));
    in_state(&daemon, "hot", "active");
    in_state(&daemon, "hot2", "active");
    let wrong = daemon.post("/api/alerts/hot/snooze", r#"{"for":"2h"}"#);
    assert_eq!((wrong.status, &wrong.json()["field"]), (400, &json!("for")));
    command(&daemon, "/api/alerts/hot/ack", &json!({"occurrence": 1, "by": "eva"}));
    command(&daemon, "/api/alerts/hot2/snooze", &json!({"occurrence": 1, "for": "restart"}));
    assert_eq!(alert(&daemon, "hot2").unwrap()["snoozed_until"], "restart");
    assert_eq!(daemon.post("/api/alerts/hot2/snooze", r#"{"for":"restart"}"#).status, 200);
    command(&daemon, "/api/alerts/hot2/snooze", &json!({"for": "1h"}));
    let until_then = alert(&daemon, "hot2").unwrap()["snoozed_until"].as_str().unwrap().to_string();
    // On the disk is what was answered with 201 after it.
    assert_eq!(
        daemon.post("/api/events?durable=true", r#"{"type":"t","topic":"app/x","payload":{}}"#).status,
        201
    );
    daemon.kill();

    let mut daemon = Options::default().config(&two).start_in(dir.path());
    let hot = alert(&daemon, "hot").unwrap();
    assert_eq!(
        (&hot["state"], &hot["acked_by"], &hot["occurrence"]),
        (&json!("acknowledged"), &json!("eva"), &json!(1))
    );
    assert_eq!(alert(&daemon, "hot2").unwrap()["snoozed_until"], json!(until_then));
    // Restored is not current: only a value of this run ends it, or goes on with it.
    assert_eq!(rule_state(&daemon, "hot"), "firing");
    post(&daemon, "other", json!(36));
    post(&daemon, "temp", json!(10));
    closed(&daemon, "hot");
    let other = in_state(&daemon, "hot2", "active");
    assert_eq!(other["occurrence"], 1, "never doubled");
    command(&daemon, "/api/alerts/hot2/snooze", &json!({"for": "restart"}));
    assert_eq!(daemon.stop(), 0);

    let daemon = Options::default().config(&two).start_in(dir.path());
    let other = until("the snooze to end with the restart", || {
        alert(&daemon, "hot2").filter(|a| a.get("snoozed_until").is_none())
    });
    assert_eq!((&other["state"], &other["occurrence"]), (&json!("active"), &json!(1)));
    post(&daemon, "temp", json!(35));
    assert_eq!(in_state(&daemon, "hot", "active")["occurrence"], 2, "occurrences count on");
}

#[test]
fn a_rule_that_is_taken_out_ends_its_alert_and_one_that_is_changed_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Options::default().config(HOT).start_in(dir.path());
    post(&daemon, "temp", json!(35));
    in_state(&daemon, "hot", "active");
    let file = dir.path().join("test.toml");
    std::fs::write(&file, HOT.replace("Open the hatch.", "Shut it.")).unwrap();
    let mut stream = daemon.stream("topics=alerts,system", None);
    stream.wait("hello");
    daemon.signal("HUP");
    until("the reload", || daemon.log().contains("configuration reloaded").then_some(()));
    assert_eq!(in_state(&daemon, "hot", "active")["occurrence"], 1);
    std::fs::write(&file, "name = \"x\"\n").unwrap();
    daemon.signal("HUP");
    in_state(&daemon, "hot", "cleared");
}

#[test]
fn built_in_rules_are_there_and_can_be_switched_off() {
    let daemon = Options::default().config("[alerts]\noff = [\"temperature\"]\nmemory = \"16MiB\"\n").start();
    let rules = daemon.get("/api/alerts/rules").json();
    let enabled = |id: &str| {
        let items = rules["items"].as_array().unwrap();
        items.iter().find(|r| r["rule"] == id).map(|r| r["enabled"].clone())
    };
    for id in ["clock.unsynced", "power.undervoltage", "memory", "card.errors", "store.lag", "store.written"]
    {
        assert_eq!(enabled(id), Some(json!(true)), "{id}");
    }
    assert_eq!(enabled("temperature"), Some(json!(false)));
    until("the disks to be watched", || {
        let rules = daemon.get("/api/alerts/rules").json();
        let disk = rules["items"].as_array()?.iter().find(|r| {
            r["rule"].as_str().is_some_and(|id| id.starts_with("disk.")) && r["value"].is_string()
        })?;
        matches!(disk["state"].as_str(), Some("ok" | "firing")).then_some(())
    });
    assert!(daemon.get("/metrics").text().contains("\ntelltale_alerts_open "));
}

// ---- delivery ----

/// A request that was received.
#[derive(Clone, Debug)]
struct Received {
    head: String,
    body: Value,
}

/// A receiver that answers every request with the first line that is left, or the last one.
struct Receiver {
    addr: SocketAddr,
    got: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    fn on(listener: TcpListener, answers: &[&str]) -> Receiver {
        let addr = listener.local_addr().unwrap();
        let got = Arc::new(Mutex::new(Vec::new()));
        let (sink, answers) =
            (Arc::clone(&got), answers.iter().map(|a| (*a).to_string()).collect::<Vec<_>>());
        std::thread::spawn(move || {
            for (n, socket) in listener.incoming().map_while(Result::ok).enumerate() {
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut reader = BufReader::new(socket);
                let (mut head, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                        break;
                    }
                    let lower = line.to_ascii_lowercase();
                    if let Some(n) = lower.strip_prefix("content-length:") {
                        length = n.trim().parse().unwrap();
                    }
                    head.push_str(&line);
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let answer = answers.get(n).or(answers.last()).cloned().unwrap_or_default();
                let _ = write!(
                    reader.get_mut(),
                    "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                // After the answer, so that who sees it here has been answered.
                sink.lock().unwrap().push(Received { head, body });
            }
        });
        Receiver { addr, got }
    }

    fn start(answers: &[&str]) -> Receiver {
        Receiver::on(TcpListener::bind("127.0.0.1:0").unwrap(), answers)
    }

    fn got(&self) -> Vec<Received> {
        self.got.lock().unwrap().clone()
    }

    fn wait(&self, count: usize) -> Vec<Received> {
        until(&format!("{count} messages"), || Some(self.got()).filter(|got| got.len() >= count))
    }
}

fn channel(daemon: &Daemon, name: &str) -> Value {
    let channels = daemon.get("/api/alerts/deliveries").json();
    channels["channels"].as_array().unwrap().iter().find(|c| c["name"] == name).unwrap().clone()
}

#[test]
fn what_could_not_be_delivered_arrives_after_a_crash_once_and_with_its_age() {
    let dir = tempfile::tempdir().unwrap();
    // A port where nobody listens yet.
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!(
        "name = \"van 3\"\n{HOT}\n[[webhook]]\nid = \"desk\"\nurl = \"http://{addr}/hook\"\nsecret = \"s\"\n"
    );
    let mut daemon = Options::default().config(&config).start_in(dir.path());
    post(&daemon, "temp", json!(35));
    in_state(&daemon, "hot", "active");
    let waits =
        until("the first try", || Some(channel(&daemon, "desk")).filter(|c| c["last_error"].is_string()));
    assert_eq!((&waits["waiting"], &waits["last_error"]), (&json!(1), &json!("nobody listens there")));
    assert_eq!(alert(&daemon, "hot").unwrap()["delivered"], json!({"webhook": "waiting"}));
    daemon.kill();

    // It is older now: what is on the shelf is a label of the clock.
    let receiver = Receiver::on(TcpListener::bind(addr).unwrap(), &["204 No Content"]);
    let daemon = Options::default().config(&config).start_in(dir.path());
    let got = receiver.wait(1);
    assert!(got[0].head.starts_with("POST /hook HTTP/1.1\r\n"), "{}", got[0].head);
    assert!(got[0].head.to_lowercase().contains("x-telltale-signature: sha256="), "{}", got[0].head);
    let body = &got[0].body;
    assert_eq!(
        (&body["event"], &body["box"], &body["alert"]["alert_id"], &body["alert"]["occurrence"]),
        (&json!("active"), &json!("van 3"), &json!("hot"), &json!(1))
    );
    assert!(
        body["late_s"].as_u64().is_some() && body["wanted_at"].as_str() < body["sent_at"].as_str(),
        "{body}"
    );
    until("the shelf to be empty", || (channel(&daemon, "desk")["waiting"] == 0).then_some(()));
    // What comes next comes after it, and it does not come again.
    post(&daemon, "temp", json!(10));
    let got = receiver.wait(2);
    assert_eq!(got.len(), 2);
    assert_eq!(
        (&got[1].body["event"], &got[1].body["alert"]["state"]),
        (&json!("cleared"), &json!("cleared"))
    );
    assert_eq!(channel(&daemon, "desk")["sent"], 2);
}

#[test]
fn what_is_over_before_it_left_is_one_message() {
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!("{HOT}\n[[webhook]]\nid = \"desk\"\nurl = \"http://{addr}/\"\n");
    let daemon = Options::default().config(&config).start();
    post(&daemon, "temp", json!(35));
    until("the first try", || channel(&daemon, "desk")["last_error"].is_string().then_some(()));
    post(&daemon, "temp", json!(10));
    in_state(&daemon, "hot", "cleared");
    let receiver = Receiver::on(TcpListener::bind(addr).unwrap(), &["200 OK"]);
    // A test ends the pause.
    assert_eq!(daemon.post("/api/alerts/test", r#"{"by":"eva"}"#).json()["channels"], 1);
    let got = receiver.wait(2);
    let events: Vec<_> = got.iter().map(|r| r.body["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["cleared", "test"]);
    assert!(got[0].body["text"].as_str().unwrap().contains("From "), "{}", got[0].body);
}

#[test]
fn ntfy_is_told_with_priority_and_tags() {
    let receiver = Receiver::start(&["200 OK"]);
    let config = format!(
        "name = \"van 3\"\n[alerts]\nbase_url = \"http://van3.local:8080\"\n{HOT}\n[[ntfy]]\nid = \"phone\"\nserver = \"http://{}\"\ntopic = \"van3\"\n\
         token = \"tk_1\"\nemail = \"a@example.org\"\ntags = [\"van\"]\nseverities = [\"MAJOR\"]\n",
        receiver.addr
    );
    let daemon = Options::default().config(&config).start();
    post(&daemon, "temp", json!(31));
    in_state(&daemon, "hot", "active");
    post(&daemon, "temp", json!(45));
    let got = receiver.wait(1);
    assert!(got[0].head.to_lowercase().contains("authorization: bearer tk_1\r\n"), "{}", got[0].head);
    let body = &got[0].body;
    assert_eq!(body["title"], "van 3: MAJOR: hot", "MINOR was filtered");
    assert_eq!(
        (&body["topic"], &body["priority"], &body["tags"], &body["click"], &body["email"]),
        (
            &json!("van3"),
            &json!(5),
            &json!(["rotating_light", "van"]),
            &json!("http://van3.local:8080"),
            &json!("a@example.org")
        )
    );
    assert!(
        body["message"].as_str().unwrap().starts_with("temp is above 40 degC: 45 degC.\nOpen the hatch.\n"),
        "{body}"
    );
    until("what became of it", || {
        (alert(&daemon, "hot")?["delivered"] == json!({"ntfy": "sent"})).then_some(())
    });
    // A snoozed alert is not told; the next is.
    command(&daemon, "/api/alerts/hot/snooze", &json!({"occurrence": 1, "for": "1d"}));
    post(&daemon, "temp", json!(10));
    in_state(&daemon, "hot", "cleared");
    daemon.post("/api/alerts/test", "");
    assert_eq!(receiver.wait(2)[1].body["title"], "van 3: Test");
}

#[test]
fn refused_messages_are_not_sent_again_and_redirects_lead_nowhere() {
    let elsewhere = Receiver::start(&["200 OK"]);
    let moved = format!("302 Found\r\nLocation: http://{}/", elsewhere.addr);
    let receiver =
        Receiver::start(&["404 Not Found", &moved, "503 Service Unavailable\r\nRetry-After: 3600", "200 OK"]);
    let config = format!("[[webhook]]\nid = \"desk\"\nurl = \"http://{}/\"\n", receiver.addr);
    let daemon = Options::default().config(&config).start();
    let test = || assert_eq!(daemon.post("/api/alerts/test", "").status, 202);
    test();
    until("the refusal", || (channel(&daemon, "desk")["failed"] == 1).then_some(()));
    test();
    let refused = until("the redirect", || Some(channel(&daemon, "desk")).filter(|c| c["failed"] == 2));
    assert!(refused["last_error"].as_str().unwrap().contains("it has moved to http://"), "{refused}");
    test();
    let put_off = until("the pause", || Some(channel(&daemon, "desk")).filter(|c| c["next_try"].is_string()));
    assert_eq!((&put_off["waiting"], &put_off["last_error"]), (&json!(1), &json!("answered 503")));
    test();
    until("both to arrive", || (channel(&daemon, "desk")["sent"] == 2).then_some(()));
    assert_eq!((receiver.got().len(), elsewhere.got().len()), (5, 0));
    let warnings = daemon.log().lines().filter(|l| l.contains("webhook desk")).count();
    assert_eq!(warnings, 4, "one line for each change:\n{}", daemon.log());
}

#[test]
fn without_a_receiver_nobody_is_there_to_send_anything() {
    let daemon = Options::default().config(HOT).start();
    let threads = || -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
        tasks.filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("comm")).ok()).collect()
    };
    // A thread names itself once it runs.
    until("the thread", || threads().iter().any(|name| name == "alerts\n").then_some(()));
    assert!(!threads().iter().any(|name| name == "outbox\n"));
    let answer = daemon.post("/api/alerts/test", "");
    assert_eq!((answer.status, &answer.json()["type"]), (409, &json!("no_channels")));
}
