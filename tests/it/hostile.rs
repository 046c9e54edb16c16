//! A hostile LAN: clients that are slow, rude or broken. Each gets a clear error, nobody else notices, nothing grows.

use crate::harness::{Daemon, Options, Response, until};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Shortened time limits: head, idle, body, linger in milliseconds.
fn hurried(times: &str) -> Options {
    Options::default().env("TELLTALE_HTTP_TIMES", times)
}

/// What the daemon answers to these bytes on a connection of their own.
fn raw(daemon: &Daemon, bytes: impl AsRef<[u8]>) -> Response {
    let mut socket = daemon.connect();
    // It may have answered and closed before all of it was sent.
    let _ = socket.write_all(bytes.as_ref());
    Response::read(&mut BufReader::new(socket))
}

/// A problem of this status, as every error is to be.
fn problem(response: &Response, status: u16) -> serde_json::Value {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    let problem = response.json();
    assert_eq!(problem["status"], status);
    for name in ["type", "title", "detail"] {
        assert!(problem[name].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
    }
    problem
}

/// The daemon still serves and has not panicked.
fn well(daemon: &Daemon) {
    assert_eq!(daemon.get("/healthz").status, 200);
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

fn get(daemon: &Daemon, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", daemon.addr)
}

/// Lets this process hold as many sockets as it may.
fn raise_own_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

fn metric(daemon: &Daemon, name: &str) -> u64 {
    let text = daemon.get("/metrics").text();
    let line = text.lines().find(|l| l.starts_with(&format!("telltale_{name} "))).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

// ---- the four failures measured with tiny_http's own server ----

#[test]
fn parallel_kept_alive_connections_are_all_answered() {
    // Its pool queued new connections behind idle threads that had not woken: of 8 only 4 were answered.
    let daemon = Daemon::start();
    let mut open: Vec<_> = (0..32).map(|_| BufReader::new(daemon.connect())).collect();
    for _ in 0..3 {
        for connection in &mut open {
            connection.get_mut().write_all(get(&daemon, "/healthz").as_bytes()).unwrap();
        }
        for connection in &mut open {
            assert_eq!(Response::read(connection).status, 200);
        }
    }
}

#[test]
fn an_endless_request_line_is_refused_and_costs_nothing() {
    // One client grew the process by 200 MB.
    let daemon = Daemon::start();
    daemon.get("/healthz");
    let before = daemon.rss();
    let mut socket = daemon.connect();
    socket.write_all(b"GET /").unwrap();
    let piece = vec![b'a'; 64 * 1024];
    let mut sent = 0;
    while sent < 64 * 1024 * 1024 && socket.write_all(&piece).is_ok() {
        sent += piece.len();
    }
    assert!(sent < 64 * 1024 * 1024, "the daemon goes on reading");
    problem(&raw(&daemon, [b"GET /", &piece[..]].concat()), 414);
    assert!(daemon.rss() < before + 4 * 1024 * 1024, "{} -> {}", before, daemon.rss());
    well(&daemon);
}

#[test]
fn few_descriptors_are_survived() {
    // With 64 descriptors, 53 idle connections made the accept thread panic: the port was closed for good.
    let daemon = Options { descriptors: Some(64), ..Options::default() }.start();
    let idle: Vec<_> = (0..200).map(|_| daemon.connect()).collect();
    for _ in 0..5 {
        well(&daemon);
    }
    // Streams hold descriptors too and do not give way: those there is no room for are told so.
    let mut answers = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..60 {
        let mut socket = daemon.connect();
        socket.write_all(get(&daemon, "/api/events?format=sse").as_bytes()).unwrap();
        let mut reader = BufReader::new(socket);
        let head = Response::read_head(&mut reader);
        answers.push(head.status);
        streams.push(reader);
    }
    assert!(answers.contains(&200) && answers.contains(&503), "{answers:?}");
    well(&daemon);
    drop((idle, streams));
    until("streams again", || {
        let mut socket = daemon.connect();
        socket.write_all(get(&daemon, "/api/events?format=sse").as_bytes()).unwrap();
        (Response::read_head(&mut BufReader::new(socket)).status == 200).then_some(())
    });
    well(&daemon);
}

#[test]
fn streams_hold_no_thread() {
    // Each open stream held a thread for ever.
    let daemon = Daemon::start();
    let before = until("the threads of the start to settle", || {
        let count = daemon.threads();
        std::thread::sleep(Duration::from_millis(100));
        (daemon.threads() == count).then_some(count)
    });
    let mut streams: Vec<_> = (0..100).map(|_| daemon.stream("topics=app/x", None)).collect();
    until("the streams' threads to end", || (daemon.threads() <= before + 1).then_some(()));
    daemon.publish("app/x", r#"{"n":1}"#);
    for stream in &mut streams {
        assert_eq!(stream.wait("test").payload()["n"], 1);
    }
    drop(streams);
    until("the streams to be gone", || {
        daemon.publish("app/x", r#"{"n":2}"#);
        (metric(&daemon, "streams") == 0).then_some(())
    });
}

// ---- slow ones ----

#[test]
fn a_slow_head_has_one_deadline_not_one_a_byte() {
    let daemon = hurried("400,20000,20000,200").start();
    let mut socket = daemon.connect();
    let start = Instant::now();
    for byte in get(&daemon, "/healthz").bytes() {
        if socket.write_all(&[byte]).is_err() || start.elapsed() > Duration::from_secs(2) {
            break;
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    let response = Response::read(&mut BufReader::new(socket));
    assert_eq!(problem(&response, 408)["type"], "head_timeout");
    well(&daemon);
}

#[test]
fn a_slow_body_is_ended() {
    let daemon = hurried("20000,20000,300,200").start();
    for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let head = format!("POST /api/events HTTP/1.1\r\nHost: a.b\r\n{framing}\r\n\r\n{{")
            .replace("a.b", &daemon.addr.to_string());
        let head =
            if framing.starts_with('T') { head.replace("\r\n\r\n{", "\r\n\r\n1\r\n{\r\n") } else { head };
        assert_eq!(problem(&raw(&daemon, head), 408)["type"], "body_timeout");
    }
    // By the byte it takes longer, but it ends: the sum has a deadline too.
    let mut socket = daemon.connect();
    write!(socket, "POST /api/events HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000\r\n\r\n", daemon.addr)
        .unwrap();
    let start = Instant::now();
    while socket.write_all(b" ").is_ok() && start.elapsed() < Duration::from_secs(15) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(start.elapsed() < Duration::from_secs(10), "by the byte a body takes for ever");
    well(&daemon);
}

#[test]
fn silence_ends_a_connection_quietly() {
    let daemon = hurried("20000,200,20000,200").start();
    let mut socket = daemon.connect();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let daemon = hurried("20000,20000,300,200").start();
    let page = "x".repeat(60_000);
    for _ in 0..20 {
        daemon.publish("app/big", &format!("{{\"x\":{page:?}}}"));
    }
    let mut socket = daemon.connect();
    let request = get(&daemon, "/api/events?topics=app/big&since=earliest");
    for _ in 0..100 {
        if socket.write_all(request.as_bytes()).is_err() {
            break;
        }
    }
    until("the connection to be closed", || (metric(&daemon, "connections") == 1).then_some(()));
    well(&daemon);
}

#[test]
fn floods_of_idle_connections_give_way() {
    raise_own_limit();
    let daemon = Daemon::start();
    daemon.get("/healthz");
    let mut flood = Vec::new();
    for n in 0..2_000 {
        let mut socket = TcpStream::connect(daemon.addr).unwrap();
        // Every second one sends the beginning of a head: that is no request in hand either.
        if n % 2 == 0 {
            let _ = socket.write_all(b"GET / HTTP/1.1\r\n");
        }
        flood.push(socket);
    }
    let start = Instant::now();
    assert_eq!(daemon.get("/healthz").status, 200);
    assert!(start.elapsed() < Duration::from_secs(1), "a normal request took {:?}", start.elapsed());
    assert!(daemon.threads() < 600, "{} threads", daemon.threads());
    assert!(daemon.rss() < 60 * 1024 * 1024, "{} bytes", daemon.rss());
    let (open, gone) = (metric(&daemon, "connections"), metric(&daemon, "connections_evicted_total"));
    assert!(open <= 545 && gone >= 1_400, "{open} open, {gone} evicted");
    drop(flood);
    until("the flood to be gone", || (metric(&daemon, "connections") == 1).then_some(()));
    well(&daemon);
}

#[test]
fn a_request_in_hand_does_not_give_way() {
    let daemon = Options::default().config("[http]\nconnections = 4\n").start();
    let mut upload = daemon.connect();
    let head = "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked";
    write!(upload, "POST /api/events HTTP/1.1\r\nHost: {}\r\n{head}\r\n\r\n", daemon.addr).unwrap();
    let line = "{\"type\":\"mine\",\"topic\":\"app/x\",\"payload\":{}}\n";
    let chunk = format!("{:x}\r\n{line}\r\n", line.len());
    upload.write_all(chunk.as_bytes()).unwrap();
    let stored = |n: usize| {
        until("the line", || {
            let events = daemon.get("/api/events?topics=app/x&since=earliest").json();
            (events["events"].as_array().unwrap().len() == n).then_some(())
        });
    };
    stored(1);
    let flood: Vec<_> = (0..50).map(|_| daemon.connect()).collect();
    well(&daemon);
    upload.write_all(chunk.as_bytes()).unwrap();
    stored(2);
    upload.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(Response::read(&mut BufReader::new(upload)).status, 202);
    drop(flood);
}

// ---- broken ones ----

#[test]
fn large_heads_are_refused() {
    let daemon = Daemon::start();
    let host = daemon.addr;
    let header = format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: {}\r\n\r\n", "a".repeat(64 * 1024));
    problem(&raw(&daemon, header), 431);
    let headers = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    problem(&raw(&daemon, headers), 431);
    well(&daemon);
}

#[test]
fn heads_that_could_be_read_in_two_ways_are_refused() {
    let daemon = Daemon::start();
    let post = |headers: &str| {
        raw(&daemon, format!("POST /api/events HTTP/1.1\r\nHost: {}\r\n{headers}\r\n\r\n{{}}", daemon.addr))
    };
    for headers in [
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2,2",
        "Content-Length: -2",
        "Content-Length: two",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Content-Length: 2\r\n folded: yes",
        "Content-Length : 2",
        "Host: other\r\nContent-Length: 2",
        "X: \u{1}\r\nContent-Length: 2",
    ] {
        let response = post(headers);
        problem(&response, 400);
        assert_eq!(
            response.header("connection"),
            Some("close"),
            "{headers:?}: what follows can't be told apart"
        );
    }
    problem(&post("Transfer-Encoding: gzip, chunked"), 501);
    problem(&post("Content-Length: 99999999999999999999999999"), 413);
    problem(&raw(&daemon, "GET / HTTP/1.1\r\n\r\n"), 400);
    problem(&raw(&daemon, "GET / HTTP/3.0\r\n\r\n"), 505);
    problem(&raw(&daemon, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400);
    well(&daemon);
}

#[test]
fn chunks_can_not_be_abused() {
    let daemon = Daemon::start();
    let head =
        format!("POST /api/events HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", daemon.addr);
    for body in [
        "-1\r\n",
        "FFFFFFFFFFFFFFFFFF\r\n",
        "0x2\r\n{}\r\n",
        "\r\n",
        "zz\r\n",
        "2\r\n{}x\r\n",
        "2\n{}\n",
        &format!("2;{}\r\n{{}}\r\n", "x".repeat(100_000)),
        &format!("0\r\n{}\r\n", "X: y\r\n".repeat(10_000)),
    ] {
        let answer = raw(&daemon, format!("{head}{body}"));
        assert_eq!(problem(&answer, 400)["type"], "malformed_chunk", "{:?}", &body[..body.len().min(30)]);
    }
    // A huge chunk is announced: nothing is set aside for it, the line in it is too long.
    let before = daemon.rss();
    let mut socket = daemon.connect();
    write!(socket, "{head}FFFFFFFFFFFF\r\n").unwrap();
    let piece = vec![b'{'; 64 * 1024];
    for _ in 0..400 {
        if socket.write_all(&piece).is_err() {
            break;
        }
    }
    problem(&Response::read(&mut BufReader::new(socket)), 413);
    assert!(daemon.rss() < before + 24 * 1024 * 1024, "{before} -> {}", daemon.rss());
    well(&daemon);
}

#[test]
fn old_and_other_requests_are_served_as_they_should_be() {
    let daemon = Daemon::start();
    let old = raw(&daemon, "GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(
        (old.status, old.header("connection"), old.text().as_str()),
        (200, Some("close"), r#"{"status":"live"}"#)
    );
    let kept = raw(&daemon, "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(kept.header("connection"), Some("keep-alive"));

    // HEAD says the length and sends no body: the next answer follows at once.
    let mut connection = BufReader::new(daemon.connect());
    let head = get(&daemon, "/healthz").replace("GET", "HEAD");
    connection.get_mut().write_all(format!("{head}{}", get(&daemon, "/readyz")).as_bytes()).unwrap();
    let response = Response::read_head(&mut connection);
    assert_eq!((response.status, response.header("content-length")), (200, Some("17")));
    assert_eq!(Response::read(&mut connection).text(), r#"{"status":"ready"}"#);

    let request = |method: &str, path: &str| daemon.request(method, path, &[], b"");
    let options = request("OPTIONS", "/api/events");
    assert_eq!((options.status, options.header("allow")), (200, Some("GET, HEAD, POST, OPTIONS")));
    assert_eq!(request("OPTIONS", "*").status, 200);
    for (method, path, allow) in [
        ("DELETE", "/api/events", "GET, HEAD, POST, OPTIONS"),
        ("GET", "/api/login", "POST, OPTIONS"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
        ("PUT", "/index.html", "GET, HEAD, OPTIONS"),
        ("TRACE", "/", "GET, HEAD, OPTIONS"),
    ] {
        let response = request(method, path);
        problem(&response, 405);
        assert_eq!(response.header("allow"), Some(allow), "{method} {path}");
    }
    problem(&request("BREW", "/pot"), 501);
    problem(&request("CONNECT", "example.org:443"), 400);
    problem(&request("GET", "/api/nothing"), 404);
    problem(&request("GET", "/nothing.html"), 404);
    problem(&daemon.request("GET", "/healthz", &[("Expect", "tea")], b""), 417);
    let absolute = request("GET", &format!("http://{}/healthz", daemon.addr));
    assert_eq!(absolute.status, 200);
    problem(&request("GET", "http://evil.example/healthz"), 421);
}

#[test]
fn pipelined_requests_are_answered_in_order_however_they_are_cut() {
    let daemon = Daemon::start();
    let mut bytes = Vec::new();
    for n in 0..20 {
        let body = format!(r#"{{"type":"mine","topic":"app/x","payload":{{"n":{n}}}}}"#);
        let framed = if n % 2 == 0 {
            format!("Content-Length: {}\r\n\r\n{body}", body.len())
        } else {
            format!("Transfer-Encoding: chunked\r\n\r\n{:x};a=b\r\n{body}\r\n0\r\nT: x\r\n\r\n", body.len())
        };
        bytes.extend(format!("POST /api/events HTTP/1.1\r\nHost: {}\r\n{framed}", daemon.addr).bytes());
        bytes.extend(get(&daemon, &format!("/api/nothing/{n}")).bytes());
    }
    for cut in [bytes.len(), 1_000, 37] {
        let mut connection = BufReader::new(daemon.connect());
        let mut writer = connection.get_ref().try_clone().unwrap();
        let pieces: Vec<Vec<u8>> = bytes.chunks(cut).map(<[u8]>::to_vec).collect();
        let sender =
            std::thread::spawn(move || pieces.iter().for_each(|piece| writer.write_all(piece).unwrap()));
        let mut last = 0;
        for n in 0..20 {
            let answer = Response::read(&mut connection).json();
            let seq = answer["cursor"].as_str().unwrap().rsplit('-').next().unwrap().parse::<u64>().unwrap();
            assert!(seq > last, "{answer}");
            last = seq;
            let detail = problem(&Response::read(&mut connection), 404)["detail"].to_string();
            assert!(detail.contains(&format!("/api/nothing/{n};")), "{detail}");
        }
        sender.join().unwrap();
    }
}

#[test]
fn continue_is_said_only_to_those_whose_body_is_wanted() {
    let daemon = Daemon::start();
    let head = |path: &str, length: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n",
            daemon.addr
        )
    };
    let body = r#"{"type":"mine","topic":"app/x","payload":{}}"#;
    let mut connection = BufReader::new(daemon.connect());
    connection.get_mut().write_all(head("/api/events", body.len()).as_bytes()).unwrap();
    assert_eq!(Response::read_head(&mut connection).status, 100);
    connection.get_mut().write_all(body.as_bytes()).unwrap();
    assert_eq!(Response::read(&mut connection).status, 202);
    let refused = raw(&daemon, head("/api/events", 100_000_000));
    problem(&refused, 413);
    assert_eq!(refused.header("connection"), Some("close"));
    problem(&raw(&daemon, head("/api/nothing", 5)), 404);
}

// ---- what they send ----

#[test]
fn large_and_deep_json_is_refused_and_costs_nothing_afterwards() {
    let daemon = Daemon::start();
    daemon.publish("app/x", "{}");
    let before = daemon.rss();
    let large =
        format!(r#"{{"type":"mine","topic":"app/x","payload":{{"x":"{}"}}}}"#, "x".repeat(10 * 1024 * 1024));
    for _ in 0..5 {
        assert_eq!(problem(&daemon.post("/api/events", &large), 413)["type"], "body_too_large");
        let lines = daemon.request(
            "POST",
            "/api/events",
            &[("Content-Type", "application/x-ndjson")],
            large.as_bytes(),
        );
        assert_eq!(problem(&lines, 413)["type"], "line_too_long");
    }
    let event = |payload: &str| {
        daemon.post("/api/events", &format!(r#"{{"type":"mine","topic":"app/x","payload":{payload}}}"#))
    };
    problem(&event(&format!(r#"{{"x":"{}"}}"#, "x".repeat(70_000))), 413);
    for depth in [33, 200, 100_000] {
        problem(&event(&format!(r#"{{"a":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth))), 400);
        problem(&event(&r#"{"a":"#.repeat(depth)), 400);
        problem(&daemon.post("/api/events", &"[".repeat(depth)), 400);
        problem(&daemon.post("/api/jobs/j1", &format!(r#"{{"x":{}}}"#, "[".repeat(depth))), 400);
        problem(&daemon.post("/api/recorders/r1/start", &r#"{"a":"#.repeat(depth.min(2_000))), 400);
    }
    assert!(daemon.rss() < before + 24 * 1024 * 1024, "{before} -> {}", daemon.rss());
    well(&daemon);
}

#[test]
fn nothing_gets_into_the_stream_between_the_lines() {
    let daemon = Daemon::start();
    let mut stream = daemon.stream("topics=*&state=false", None);
    stream.wait("hello");
    let start = daemon.publish("app/x", "{}");
    for topic in [r"app/x\r\nid: 9-9", r"app/\u0000", r"app/x\ndata: x", r"app/\u2028", "app/ä", "app/../x/"]
    {
        let body = format!(r#"{{"type":"mine","topic":"{topic}","payload":{{}}}}"#);
        let status = daemon.post("/api/events", &body).status;
        assert!(matches!(status, 400 | 422), "{topic}: {status}");
    }
    problem(&daemon.post("/api/events", "{\"type\":\"mine\",\"topic\":\"app/x\ny\",\"payload\":{}}"), 400);
    for kind in [r"mine\r\ndata: x", "hello", "heartbeat", "error", "open", "message", "Mine", ""] {
        problem(
            &daemon.post("/api/events", &format!(r#"{{"type":"{kind}","topic":"app/x","payload":{{}}}}"#)),
            422,
        );
    }
    for query in ["topics=scan%2Fa%0D%0Aid:1", "topics=app%2F%00", "types=a%0Ab", "topics=%ff"] {
        problem(&daemon.get(&format!("/api/events?{query}")), 400);
    }
    problem(&daemon.post("/api/recorders/a%0d%0ab/state", r#"{"status":"idle"}"#), 400);
    problem(&daemon.post("/api/recorders/a%20b/state", r#"{"status":"idle"}"#), 422);
    let payload = r#"{"x":"\r\nid: 9-9\n\ndata: \u0000\ufeff\u2028"}"#;
    daemon.publish("app/x", payload);
    assert_eq!(stream.wait("test").id, Some(start));
    let frame = stream.wait("test");
    assert_eq!(frame.payload()["x"], "\r\nid: 9-9\n\ndata: \0\u{feff}\u{2028}");
    // A cursor of any shape is answered with a stream that says so.
    for cursor in ["garbage", "9-9%0d%0adata:%20x", "%00", "99999999999999999999-1", "-1"] {
        let frame = daemon.stream(&format!("since={cursor}"), None).wait("gap");
        assert_eq!(frame.payload()["reason"], "unknown_id", "{cursor}");
    }
}

#[test]
fn paths_can_not_climb_out_of_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let www = dir.path().join("www");
    std::fs::create_dir(&www).unwrap();
    std::fs::write(dir.path().join("secret.txt"), "secret").unwrap();
    std::fs::write(www.join("index.html"), "<p>page").unwrap();
    std::fs::write(www.join(".hidden"), "secret").unwrap();
    std::os::unix::fs::symlink(dir.path(), www.join("up")).unwrap();
    let daemon = Options::default().arg("--www").arg(www.to_str().unwrap()).start();
    assert_eq!(daemon.get("/").text(), "<p>page");
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/x/..%5c..%5csecret.txt",
        "//etc/passwd",
        "/up/secret.txt",
        "/.hidden",
        "/secret.txt%00.html",
        "/./../secret.txt",
        "/up",
        "/%2e/index.html",
    ] {
        let response = daemon.get(path);
        assert!(matches!(response.status, 400 | 404), "{path}: {}", response.status);
        assert!(!response.text().contains("secret\n") && !response.text().eq("secret"), "{path}");
    }
}

#[test]
fn files_are_tagged_packed_and_sent_in_parts() {
    let daemon = Daemon::start();
    let ask = |headers: &[(&str, &str)]| daemon.request("GET", "/index.html", headers, b"");
    let plain = ask(&[]);
    assert_eq!((plain.status, plain.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let tag = plain.header("etag").unwrap().to_string();
    let length = plain.body.len();
    let packed = ask(&[("Accept-Encoding", "br, gzip")]);
    assert_eq!(
        (packed.header("content-encoding"), packed.header("vary")),
        (Some("gzip"), Some("Accept-Encoding"))
    );
    assert!(packed.body.len() < length && packed.body.starts_with(&[0x1f, 0x8b]));
    assert_ne!(packed.header("etag"), Some(&*tag));
    let same = ask(&[("If-None-Match", &tag)]);
    assert_eq!(
        (same.status, same.header("content-length"), same.header("etag")),
        (304, Some(&*length.to_string()), Some(&*tag))
    );
    let part = ask(&[("Range", "bytes=2-5")]);
    assert_eq!((part.status, &part.body[..]), (206, &plain.body[2..6]));
    assert_eq!(part.header("content-range"), Some(&*format!("bytes 2-5/{length}")));
    assert_eq!(ask(&[("Range", "bytes=-4")]).body, plain.body[length - 4..]);
    assert_eq!(ask(&[("Range", "bytes=2-5"), ("If-Range", &tag)]).status, 206);
    assert_eq!(ask(&[("Range", "bytes=2-5"), ("If-Range", "\"old\"")]).status, 200);
    let outside = ask(&[("Range", "bytes=9999999-")]);
    problem(&outside, 416);
    assert_eq!(outside.header("content-range"), Some(&*format!("bytes */{length}")));
    assert_eq!(ask(&[("Range", "bytes=0-1,4-5")]).status, 200);
    for response in [&plain, &part, &same, &outside, &daemon.get("/api/nothing")] {
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
    }
}

#[test]
fn other_names_and_other_pages_are_kept_out() {
    let daemon = Daemon::start();
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "", "a b", "[::1"] {
        problem(&daemon.request("GET", "/api/state", &[("Host", host)], b""), 421);
    }
    for host in ["localhost", "127.0.0.1:1", "[::1]:80", "LOCALHOST:8080"] {
        assert_eq!(daemon.request("GET", "/api/state", &[("Host", host)], b"").status, 200, "{host}");
    }
    let event = br#"{"type":"mine","topic":"app/x","payload":{}}"#;
    let own = format!("http://{}", daemon.addr);
    let post = |headers: &[(&str, &str)]| daemon.request("POST", "/api/events", headers, event).status;
    assert_eq!(post(&[]), 202);
    assert_eq!(post(&[("Origin", &own)]), 202);
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", ""] {
        assert_eq!(post(&[("Origin", origin)]), 403, "{origin}");
    }
    assert_eq!(post(&[("Sec-Fetch-Site", "cross-site")]), 403);
    let read = daemon.request("GET", "/api/state", &[("Origin", "http://evil.example")], b"");
    assert_eq!((read.status, read.header("access-control-allow-origin")), (200, None));
}

#[test]
fn any_garbage_is_answered_or_closed_and_nothing_grows() {
    let daemon = hurried("300,300,300,100").start();
    let mut seed =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    println!("seed {seed}");
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let words: [&[u8]; 16] = [
        b"GET ",
        b"POST ",
        b"/api/events",
        b" HTTP/1.1\r\n",
        b"Host: localhost\r\n",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n\r\n",
        b"\r\n",
        b"{\"type\":\"x\"",
        b"[[[[",
        b"0\r\n\r\n",
        b"\0\xff",
        b"?topics=",
        b"%",
        b"5",
    ];
    let mut round = || {
        for _ in 0..150 {
            let mut bytes = Vec::new();
            for _ in 0..random() % 12 {
                bytes.extend(words[(random() % 16) as usize]);
            }
            let mut socket = daemon.connect();
            let _ = socket.write_all(&bytes);
            let _ = socket.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let _ = socket.read_to_end(&mut answer);
            assert!(
                answer.is_empty() || answer.starts_with(b"HTTP/1.1 "),
                "{:?}",
                String::from_utf8_lossy(&bytes)
            );
        }
    };
    round();
    let before = daemon.rss();
    round();
    round();
    assert!(daemon.rss() < before + 4 * 1024 * 1024, "{before} -> {}", daemon.rss());
    until("the connections to be gone", || (metric(&daemon, "connections") == 1).then_some(()));
    well(&daemon);
}
