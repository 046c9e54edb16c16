//! Value streams: fed by a WebSocket on a real socket, asked by REST, posted; live, stale, gone and back.

use crate::harness::{Daemon, Options, until};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket, accept};

/// A feed's other side: takes connections and hands them to the test.
struct Exchange {
    addr: SocketAddr,
    sockets: Receiver<WebSocket<TcpStream>>,
    open: Arc<AtomicBool>,
}

impl Exchange {
    fn start() -> Exchange {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (give, sockets): (Sender<_>, _) = channel();
        let open = Arc::new(AtomicBool::new(true));
        let is_open = Arc::clone(&open);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if is_open.load(Ordering::Relaxed)
                    && let Ok(socket) = accept(socket)
                    && give.send(socket).is_err()
                {
                    return;
                }
            }
        });
        Exchange { addr, sockets, open }
    }

    /// The next connection, and the first thing it said.
    fn next(&self) -> (WebSocket<TcpStream>, String) {
        let mut socket = self.sockets.recv_timeout(Duration::from_secs(30)).expect("a connection");
        let said = socket.read().unwrap().into_text().unwrap().to_string();
        (socket, said)
    }
}

fn trade(price: f64, symbol: &str) -> Message {
    Message::text(
        json!({ "e": "trade", "s": symbol, "p": format!("{price:.2}"), "T": 1_767_799_800_412_u64 })
            .to_string(),
    )
}

/// REST that answers with what it is told, until it is told nothing.
fn rest(answer: Arc<Mutex<Option<String>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 2048];
            let _ = socket.read(&mut head);
            let text = answer.lock().unwrap().clone();
            let (status, body) = text.map_or(("503 No", "{}".into()), |t| ("200 OK", t));
            let _ = write!(
                socket,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    addr
}

fn stream(daemon: &Daemon, id: &str) -> Value {
    daemon.get(&format!("/api/streams/{id}")).json()
}

fn status(daemon: &Daemon, id: &str, wanted: &str) {
    until(wanted, || (stream(daemon, id)["status"] == wanted).then_some(()));
}

#[test]
fn a_feed_is_live_stale_replaced_and_live_again() {
    let exchange = Exchange::start();
    let answer = Arc::new(Mutex::new(Some(r#"{"data":{"price":"70.5"}}"#.to_string())));
    let rest = rest(Arc::clone(&answer));
    let config = format!(
        "[[stream]]\nid = \"btc\"\nname = \"Bitcoin\"\nunit = \"USD\"\nurl = \"ws://{0}/ws\"\nsubscribe = [\"hello\"]\nvalue = \"p\"\ntime = \"T\"\n\
         only_path = \"s\"\nonly_value = \"BTC\"\nstale_after = \"1s\"\nrest = \"http://{rest}/\"\nrest_value = \"data.price\"\nrest_interval = \"500ms\"\nhigh = 100\nhigh_alarm = 200\n\
         [[stream]]\nid = \"eth\"\nurl = \"ws://{0}/ws\"\nvalue = \"p\"\nonly_path = \"s\"\nonly_value = \"ETH\"\n",
        exchange.addr
    );
    let daemon = Options::default().config(&config).start();
    let (mut socket, said) = exchange.next();
    assert_eq!(said, "hello");
    socket.send(trade(50.0, "BTC")).unwrap();
    socket.send(trade(150.25, "ETH")).unwrap();
    status(&daemon, "btc", "live");
    let value = until("the value", || Some(stream(&daemon, "btc")).filter(|v| v["value"] == 50.0));
    assert_eq!((&value["unit"], &value["timestamp"]), (&json!("USD"), &json!("2026-01-07T15:30:00.412Z")));
    until("the other stream of the socket", || (stream(&daemon, "eth")["value"] == 150.25).then_some(()));
    // Garbage between is counted and harms nothing.
    socket.send(Message::text("{")).unwrap();
    socket.send(Message::text(r#"{"s":"BTC","p":"much"}"#)).unwrap();
    socket.send(trade(250.0, "BTC")).unwrap();
    let alarm = until("the alarm", || Some(stream(&daemon, "btc")).filter(|v| v["severity"] == "MAJOR"));
    assert_eq!(alarm["limits"]["high_alarm"], 200.0);
    let alert = || {
        let items = daemon.get("/api/alerts").json()["items"].as_array().unwrap().clone();
        items.into_iter().find(|a| a["alert_id"] == "stream.btc.limit").unwrap_or_default()
    };
    until("the alert", || (alert()["state"] == "active").then_some(()));
    socket.send(trade(60.0, "BTC")).unwrap();
    until("its end", || (alert()["state"] == "cleared").then_some(()));
    // Silence: REST takes over, the last good value stays until then.
    status(&daemon, "btc", "fallback");
    until("the value of REST", || (stream(&daemon, "btc")["value"] == 70.5).then_some(()));
    // REST fails as well: what is known is kept and said to be old.
    *answer.lock().unwrap() = None;
    exchange.open.store(false, Ordering::Relaxed);
    drop(socket);
    until("nothing any more", || {
        let now = stream(&daemon, "btc");
        (now["status"] == "offline" && now["quality"] == "uncertain" && now["value"] == 70.5).then_some(())
    });
    exchange.open.store(true, Ordering::Relaxed);
    let (mut socket, _) = exchange.next();
    socket.send(trade(80.0, "BTC")).unwrap();
    status(&daemon, "btc", "live");
    assert!(stream(&daemon, "btc")["reconnects"].as_u64() >= Some(1));
    let source = until("the counts", || {
        let all = daemon.get("/api/system").json()["sources"].as_array().unwrap().clone();
        all.into_iter().find(|s| s["source_id"] == "feed-btc" && s["errors"] == 2)
    });
    assert!(source["detail"]["last_bad"]["why"].as_str().unwrap().contains("not a number"));
}

#[test]
fn ten_thousand_ticks_a_second_are_kept_and_the_newest_is_shown() {
    let exchange = Exchange::start();
    let config = format!(
        "[[stream]]\nid = \"t\"\nurl = \"ws://{}/\"\nsubscribe = [\"go\"]\nvalue = \"p\"\n",
        exchange.addr
    );
    let daemon = Options::default().config(&config).start();
    let (mut socket, _) = exchange.next();
    let before = daemon.rss();
    // Three bursts of what a second has; the last value is the one that must be shown.
    let ticks = 30_000_u64;
    for n in 0..ticks {
        socket.write(Message::text(format!("{{\"p\":{n}}}"))).unwrap();
        if n % 100 == 0 {
            socket.flush().unwrap();
        }
    }
    socket.flush().unwrap();
    let sent = Instant::now();
    until("the newest", || (stream(&daemon, "t")["value"] == (ticks - 1) as f64).then_some(()));
    assert!(sent.elapsed() < Duration::from_secs(10));
    let counts = until("the counts", || Some(stream(&daemon, "t")).filter(|s| s["ticks"] == ticks));
    assert!(counts["conflated"].as_u64() > Some(ticks / 2) && counts["dropped"] == 0, "{counts}");
    let history = daemon.get("/api/streams/t/history?points=100").json();
    assert_eq!(history["ticks"], ticks);
    let items = history["items"].as_array().unwrap();
    assert_eq!(items.last().unwrap()["max"], (ticks - 1) as f64);
    assert!(daemon.rss() < before + 16 * 1024 * 1024, "{before} -> {}", daemon.rss());
}

#[test]
fn a_posted_stream_grows_old_expires_and_is_judged() {
    let daemon = Options::default()
        .config("[[stream]]\nid = \"tank\"\nunit = \"%\"\nlow = 20\nlow_alarm = 10\nstale_after = \"500ms\"\nexpire_after = \"1s\"\n")
        .start();
    assert_eq!(daemon.post("/api/streams/tank", r#"{"value":15}"#).status, 202);
    let value = stream(&daemon, "tank");
    assert_eq!((&value["severity"], &value["unit"]), (&json!("MINOR"), &json!("%")));
    until("stale", || {
        let now = stream(&daemon, "tank");
        (now["status"] == "stale" && now["quality"] == "uncertain" && now["value"] == 15.0).then_some(())
    });
    until("expired", || {
        let now = stream(&daemon, "tank");
        (now["quality"] == "bad" && now["value"].is_null() && now["previous"] == 15.0).then_some(())
    });
    assert_eq!(daemon.post("/api/streams/tank", r#"{"value":30}"#).status, 202);
    status(&daemon, "tank", "live");
    assert_eq!(stream(&daemon, "tank")["severity"], "NO_ALARM");
}

#[test]
fn history_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Options::default().start_in(dir.path());
    for n in 0..20 {
        assert_eq!(daemon.post("/api/streams/s", &json!({ "value": n }).to_string()).status, 202);
    }
    let reach = |daemon: &Daemon| daemon.get("/api/streams/s/history").json();
    until("the values", || (reach(&daemon)["ticks"] == 20).then_some(()));
    daemon.stop();
    let daemon = Options::default().start_in(dir.path());
    let items = reach(&daemon)["items"].as_array().unwrap().clone();
    let most = items.iter().filter_map(|i| i["max"].as_f64()).fold(0.0, f64::max);
    assert_eq!(most, 19.0, "{items:?}");
}

/// A feed of two streams with what each of them has of its own.
fn two(exchange: &Exchange, a: &str, b: &str) -> Daemon {
    let stream = |id: &str, own: &str| {
        format!(
            "[[stream]]\nid = \"{id}\"\nurl = \"ws://{}/ws\"\nvalue = \"p\"\nonly_path = \"s\"\nonly_value = \"{id}\"\n{own}\n",
            exchange.addr
        )
    };
    Options::default().config(&(stream("a", a) + &stream("b", b))).start()
}

/// Streams with the same address shared the subscriptions and the REST address of the first of them: the others were never
/// subscribed to, and the first one's price was shown as theirs.
#[test]
fn streams_of_one_address_have_subscriptions_and_rest_of_their_own() {
    let exchange = Exchange::start();
    exchange.open.store(false, Ordering::Relaxed);
    let first = rest(Arc::new(Mutex::new(Some(r#"{"price":1}"#.to_string()))));
    let second = rest(Arc::new(Mutex::new(Some(r#"{"last":[2]}"#.to_string()))));
    let daemon = two(
        &exchange,
        &format!("subscribe = [\"both\", \"only a\"]\nrest = \"http://{first}/\"\nrest_value = \"price\""),
        &format!("subscribe = [\"both\", \"only b\"]\nrest = \"http://{second}/\"\nrest_value = \"last.0\""),
    );
    for (id, value) in [("a", 1.0), ("b", 2.0)] {
        let fallback = until("its own value", || {
            Some(stream(&daemon, id)).filter(|s| s["status"] == "fallback" && s["quality"] == "good")
        });
        assert_eq!(fallback["value"], value, "{fallback}");
    }
    exchange.open.store(true, Ordering::Relaxed);
    let (mut socket, said) = exchange.next();
    let mut all = vec![said];
    for _ in 0..2 {
        all.push(socket.read().unwrap().into_text().unwrap().to_string());
    }
    assert_eq!(all, ["both", "only a", "only b"]);
}

/// A stream without a REST address took the value of its neighbour's.
#[test]
fn a_stream_without_rest_is_offline_while_its_neighbour_falls_back() {
    let exchange = Exchange::start();
    exchange.open.store(false, Ordering::Relaxed);
    let rest = rest(Arc::new(Mutex::new(Some(r#"{"p":1}"#.to_string()))));
    let daemon = two(&exchange, &format!("rest = \"http://{rest}/\""), "");
    status(&daemon, "a", "fallback");
    status(&daemon, "b", "offline");
    assert!(stream(&daemon, "b")["value"].is_null(), "{}", stream(&daemon, "b"));
}

/// Ticks of one stream kept its neighbours fresh for ever: a halted one stayed `live` and `good`.
#[test]
fn a_silent_stream_is_stale_though_its_neighbour_ticks_and_expires() {
    let exchange = Exchange::start();
    let fast = "subscribe = [\"go\"]\nstale_after = \"500ms\"";
    let daemon = two(&exchange, fast, &format!("{fast}\nexpire_after = \"2s\""));
    let (mut socket, _) = exchange.next();
    socket.send(trade(5.0, "b")).unwrap();
    status(&daemon, "b", "live");
    let mut tick = || socket.send(trade(1.0, "a")).unwrap();
    let stale = until("stale", || {
        tick();
        Some(stream(&daemon, "b")).filter(|s| s["status"] == "stale" && s["quality"] == "uncertain")
    });
    assert_eq!((&stale["value"], &stale["quality_reason"]), (&json!(5.0), &json!("stale")), "{stale}");
    assert!(stale["reason"].as_str().unwrap().contains("its connection gives others"), "{stale}");
    assert_eq!(stream(&daemon, "a")["status"], "live");
    // `expire_after` was not looked at for a feed.
    until("expired", || {
        tick();
        let now = stream(&daemon, "b");
        (now["value"].is_null() && now["quality"] == "bad" && now["previous"] == 5.0).then_some(())
    });
    socket.send(trade(6.0, "b")).unwrap();
    until("live again", || {
        let now = stream(&daemon, "b");
        (now["status"] == "live" && now["quality"] == "good" && now["value"] == 6.0).then_some(())
    });
}

/// A tick that waited for its interval when the connection ended was published as good after the others were marked.
#[test]
fn the_last_tick_of_a_connection_is_not_good_without_it() {
    let exchange = Exchange::start();
    let daemon = two(&exchange, "subscribe = [\"go\"]\ninterval = \"2s\"", "");
    let (mut socket, _) = exchange.next();
    socket.send(trade(1.0, "a")).unwrap();
    until("the first", || (stream(&daemon, "a")["value"] == 1.0).then_some(()));
    exchange.open.store(false, Ordering::Relaxed);
    socket.send(trade(2.0, "a")).unwrap();
    socket.flush().unwrap();
    drop(socket);
    until("the second, marked", || {
        let now = stream(&daemon, "a");
        (now["status"] == "offline" && now["value"] == 2.0 && now["quality"] == "uncertain").then_some(())
    });
}

/// The counts of a stream whose every tick is published, and of one that gives nothing but garbage, were never said again.
#[test]
fn counts_are_said_in_every_mode() {
    let exchange = Exchange::start();
    let daemon = two(&exchange, "subscribe = [\"go\"]\nmode = \"all\"", "");
    let (mut socket, _) = exchange.next();
    let (mut good, mut bad) = (0, 0);
    until("the counts to grow", || {
        socket.send(trade(1.0, "a")).unwrap();
        socket.send(Message::text(r#"{"s":"b","p":"much"}"#)).unwrap();
        (good, bad) = (good + 1, bad + 1);
        let ticks = stream(&daemon, "a")["ticks"].as_u64();
        let dropped = stream(&daemon, "b")["dropped"].as_u64();
        std::thread::sleep(Duration::from_millis(20));
        (ticks > Some(10) && dropped > Some(10)).then_some(())
    });
    assert!(good > 10 && bad > 10);
}

/// One value with a time far off took all other hours of the stream off the disk.
#[test]
fn a_time_far_off_costs_no_history() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Options::default().start_in(dir.path());
    let values = |daemon: &Daemon| daemon.get("/api/streams/s/history").json()["items"].clone();
    assert_eq!(daemon.post("/api/streams/s", r#"{"value":7}"#).status, 202);
    until("the value", || (values(&daemon)[0]["max"] == 7.0).then_some(()));
    daemon.stop();
    let mut daemon = Options::default().start_in(dir.path());
    let far = r#"{"value":8,"timestamp":"9999-01-01T00:00:00Z"}"#;
    assert_eq!(daemon.post("/api/streams/s", far).status, 202);
    until("the far one", || {
        let all = daemon.get("/api/streams/s/history?from=9998-01-01T00:00:00Z&to=9999-12-31T00:00:00Z");
        (all.json()["items"][0]["max"] == 8.0).then_some(())
    });
    daemon.stop();
    let daemon = Options::default().start_in(dir.path());
    assert_eq!(values(&daemon)[0]["max"], 7.0, "{}", values(&daemon));
}
