//! Signals, streams and detections: what is found, what it takes to keep and to show, what a viewer's clock costs.

use crate::Table;
use crate::harness::{Daemon, Options, Response, until};
use crate::process::{cpu_s, size};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use telltale::sources::signals::generator::{Generator, Truth};
use telltale::sources::signals::rolling::Rolling;
use tungstenite::Message;

/// Milliseconds since 1970.
fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Anomalies against what the generator put in: 4 signals of 100,000 samples, window 50, threshold 4.5.
pub fn anomalies(table: &mut Table) {
    const SAMPLES: u64 = 100_000;
    let (mut spikes, mut found, mut wrong) = (0u64, 0u64, 0u64);
    let mut other = [(Truth::Step, 0u64, 0u64), (Truth::Burst, 0, 0), (Truth::Dropout, 0, 0)];
    for name in ["alpha", "beta", "gamma", "delta"] {
        let generator = Generator::new(42, name);
        let mut rolling = Rolling::new(50, 4.5);
        let mut before = None;
        for n in 0..SAMPLES {
            let sample = generator.sample(n);
            let anomaly = rolling.take(sample.value).anomaly;
            match sample.truth {
                None => wrong += u64::from(anomaly),
                Some(Truth::Spike) => {
                    spikes += 1;
                    found += u64::from(anomaly);
                }
                // Those that last count once: seen when one of their samples is flagged. Of a dropout there is nothing to judge.
                Some(kind) => {
                    if let Some((_, all, seen)) = other.iter_mut().find(|(k, ..)| *k == kind) {
                        let first = before.is_none_or(|(k, _)| k != kind);
                        *all += u64::from(first);
                        let told = !first && before.is_some_and(|(_, told)| told);
                        *seen += u64::from(anomaly && !told);
                        before = Some((kind, told || anomaly));
                    }
                }
            }
            if sample.truth.is_none() {
                before = None;
            }
        }
    }
    let (precision, recall) = (found as f64 / (found + wrong) as f64, found as f64 / spikes as f64);
    let text = format!("{precision:.4} ({found} of {} flagged are spikes)", found + wrong);
    table.goal(
        "spikes at the default threshold, 400,000 samples: precision",
        text,
        ">= 0.95",
        precision >= 0.95,
    );
    let text = format!("{recall:.4} ({found} of {spikes})");
    table.goal("spikes at the default threshold, 400,000 samples: recall", text, ">= 0.9", recall >= 0.9);
    for (kind, all, seen) in other {
        table.note(&format!("anomalies of kind {kind:?} that were noticed"), format!("{seen} of {all}"));
    }
}

/// One kept-alive connection.
struct Connection {
    reader: BufReader<TcpStream>,
    addr: SocketAddr,
}

impl Connection {
    fn new(addr: SocketAddr) -> Connection {
        let socket = TcpStream::connect(addr).expect("the daemon listens");
        socket.set_nodelay(true).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        Connection { reader: BufReader::new(socket), addr }
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> Response {
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.addr,
            body.len()
        );
        self.reader.get_mut().write_all(text.as_bytes()).expect("the daemon reads");
        Response::read(&mut self.reader)
    }

    /// Posts, again when the daemon is busy.
    fn post(&mut self, path: &str, body: &str) {
        loop {
            let answer = self.ask("POST", path, body);
            match answer.status {
                200..=202 => return,
                429 | 503 => {
                    if answer.header("connection") == Some("close") {
                        *self = Connection::new(self.addr);
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                other => panic!("{path}: {other}: {}", answer.text()),
            }
        }
    }
}

/// Five hundred samples of a sensor that holds still: four digits, one a second.
fn samples(first: u64) -> String {
    let mut body = String::from("{\"events\":[");
    for n in first..first + 500 {
        // A slow swing with the noise of the last digit, from the number alone.
        let noise = (n.wrapping_mul(2_654_435_761) >> 16) % 7;
        let value = 21.5 + (n as f64 / 3_000.0).sin() * 0.5 + noise as f64 * 0.001;
        let t = 1_767_225_600_000 + n * 1_000;
        let at = telltale::clock::Wall(t).rfc3339();
        let comma = if n == first { "" } else { "," };
        let _ = write!(body, "{comma}{{\"value\":{value:.3},\"t\":\"{at}\"}}");
    }
    body.push_str("]}");
    body
}

fn stored(daemon: &Daemon) -> u64 {
    daemon.get("/api/system").json()["health"]["store"]["bytes"].as_u64().unwrap_or_default()
}

/// A million samples and 100,000 detections: bytes, page views, the cap.
pub fn million(table: &mut Table) {
    const SIGNALS: u64 = 4;
    const SAMPLES: u64 = 1_000_000;
    const DETECTIONS: u64 = 100_000;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let config = "[store]\nkeep = \"1GB\"\n[host]\ninterval = \"1s\"\n";
    let daemon = Options::default().config(config).start_in(&dir.path().join("data"));
    let mut connection = Connection::new(daemon.addr);
    let begun = Instant::now();
    for first in (0..SAMPLES / SIGNALS).step_by(500) {
        let body = samples(first);
        for signal in 0..SIGNALS {
            connection.post(&format!("/api/signals/s{signal}"), &body);
        }
    }
    let settled = |least: u64| {
        until("the bytes to be told", || {
            let lag = crate::footprint::metric(&daemon, "telltale_store_lag_ms");
            let (now, file) = (stored(&daemon), size(&daemon.data));
            (lag == 0.0 && now > least).then_some((now, file))
        })
    };
    let rate = SAMPLES as f64 / begun.elapsed().as_secs_f64();
    table.note("samples posted, one connection", format!("{rate:.0} a second"));
    std::thread::sleep(Duration::from_secs(3));
    let (bytes, file) = settled(0);
    let each = bytes as f64 / SAMPLES as f64;
    let text = format!("{each:.1} (the file: {:.1})", file as f64 / SAMPLES as f64);
    table.goal("bytes of the store for each sample of a steady signal", text, "<= 16", each <= 16.0);
    for first in (0..DETECTIONS).step_by(1_000) {
        let all: Vec<String> = (first..first + 1_000)
            .map(|n| {
                format!(
                    r#"{{"label":"box {}","sku":"SKU-{:03}","location":"shelf {}","confidence":0.{:02},"box":{{"x":0.1,"y":0.2,"w":0.1,"h":0.1}},"source":"cam","model":"m 1"}}"#,
                    n % 12,
                    n % 240,
                    n % 20,
                    50 + n % 50
                )
            })
            .collect();
        connection.post("/api/detections", &format!("[{}]", all.join(",")));
    }
    let summed = |connection: &mut Connection| connection.ask("GET", "/api/summary", "").json();
    until("all detections", || (summed(&mut connection)["total"] == DETECTIONS).then_some(()));
    std::thread::sleep(Duration::from_secs(3));
    let (now, _) = settled(bytes);
    table.note(
        "bytes of the store for each detection",
        format!("{:.0}", (now - bytes) as f64 / DETECTIONS as f64),
    );
    let views = [
        ("signals, all", "/api/signals"),
        ("a signal, its newest 500 samples", "/api/signals/s0/events?limit=500"),
        ("a signal, all 250,000 samples as 800 points", "/api/signals/s0/events?points=800"),
        (
            "a signal, an hour two days ago",
            "/api/signals/s0/events?from=2026-01-02T00:00:00Z&to=2026-01-02T01:00:00Z&limit=4000",
        ),
        ("detections, the newest 100", "/api/detections?limit=100"),
        ("detections of one SKU on one shelf", "/api/detections?sku=SKU-007&location=shelf%207&limit=100"),
        ("the summary", "/api/summary"),
        ("the summary of one SKU above 0.8", "/api/summary?sku=SKU-007&min_confidence=0.8"),
    ];
    for (name, path) in views {
        let mut times: Vec<f64> = (0..30)
            .map(|_| {
                let begun = Instant::now();
                let answer = connection.ask("GET", path, "");
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                begun.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let (p50, p95) = (times[15], times[28]);
        let text = format!("{p50:.1} / {p95:.1} ms");
        table.goal(
            &format!("1,000,000 samples, 100,000 detections: {name}, p50 / p95"),
            text,
            "< 100 ms",
            p95 < 100.0,
        );
    }
    drop(daemon);
    // The cap, under load: some 200,000 samples a second are a megabyte a second.
    const KEEP: u64 = 4_000_000;
    let config = format!("[store]\nkeep = \"{KEEP}B\"\n[host]\ninterval = \"1s\"\n");
    let daemon = Options::default().config(&config).start_in(&dir.path().join("capped"));
    let mut connection = Connection::new(daemon.addr);
    let (mut most, mut posted) = (0, 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        for _ in 0..20 {
            connection.post("/api/signals/s", &samples(posted));
            posted += 500;
        }
        most = most.max(stored(&daemon));
    }
    let gone = crate::footprint::metric(&daemon, "telltale_store_evicted_total");
    let text = format!(
        "{:.2} MB while {posted} samples were posted in 30 s ({gone} records removed; the file: {:.1} MB)",
        most as f64 / 1e6,
        size(&daemon.data) as f64 / 1e6
    );
    let held = most <= KEEP && most > KEEP / 2 && gone > 0.0;
    table.goal("a store capped at 4.00 MB, at most", text, "<= 4.00 MB and some removed", held);
}

/// Reads a stream and counts its bytes until told to stop.
fn count(socket: TcpStream, bytes: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket");
    std::thread::spawn(move || {
        let mut socket = socket;
        let mut buffer = vec![0; 64 * 1024];
        while !stop.load(Ordering::Relaxed) {
            match socket.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => drop(bytes.fetch_add(n as u64, Ordering::Relaxed)),
                Err(_) => {}
            }
        }
    })
}

/// Starts viewers that count what they are sent, until they are told to end.
type Viewers<'a> = &'a dyn Fn(&Arc<AtomicU64>, &Arc<AtomicBool>) -> Vec<std::thread::JoinHandle<()>>;

/// Ten viewers with four panels each, at 2, 3, 5 and 5 s, over four streams that change ten times a second: pushed as it
/// comes, pushed and conflated by the server, polled.
pub fn panels(table: &mut Table) {
    const VIEWERS: usize = 10;
    const CLOCKS: [u64; 4] = [2, 3, 5, 5];
    const TIME: Duration = Duration::from_secs(30);
    let daemon = Options::default().config("[host]\ninterval = \"1h\"\n").start();
    let stop = Arc::new(AtomicBool::new(false));
    // One publisher: forty values a second.
    let publisher = {
        let (addr, stop) = (daemon.addr, Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut connection = Connection::new(addr);
            let begun = Instant::now();
            for n in 0u32.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                for stream in 0..4 {
                    connection.post(&format!("/api/streams/p{stream}"), &format!("{{\"value\":{n}.25}}"));
                }
                let due = Duration::from_millis(100) * (n + 1);
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
            }
        })
    };
    until("the streams", || {
        (daemon.get("/api/streams").json()["items"].as_array().map_or(0, Vec::len) == 4).then_some(())
    });
    let measure = |viewers: Viewers<'_>| {
        let (bytes, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let handles = viewers(&bytes, &over);
        std::thread::sleep(Duration::from_secs(1));
        let (cpu, from, begun) = (cpu_s(daemon.pid()), bytes.load(Ordering::Relaxed), Instant::now());
        std::thread::sleep(TIME);
        let took = begun.elapsed().as_secs_f64();
        let cpu = (cpu_s(daemon.pid()) - cpu) / took;
        let sent = (bytes.load(Ordering::Relaxed) - from) as f64 / took;
        over.store(true, Ordering::Relaxed);
        handles.into_iter().for_each(|h| drop(h.join()));
        (cpu, sent)
    };
    let streams = |query: &'static str| {
        let addr = daemon.addr;
        move |bytes: &Arc<AtomicU64>, over: &Arc<AtomicBool>| {
            (0..VIEWERS)
                .map(|_| {
                    let mut socket = TcpStream::connect(addr).expect("the daemon listens");
                    write!(
                        socket,
                        "GET /api/events?topics=stream/*{query} HTTP/1.1\r\nHost: {addr}\r\nAccept: text/event-stream\r\n\r\n"
                    )
                    .expect("the daemon reads");
                    count(socket, Arc::clone(bytes), Arc::clone(over))
                })
                .collect()
        }
    };
    let addr = daemon.addr;
    let polled = move |bytes: &Arc<AtomicU64>, over: &Arc<AtomicBool>| {
        let viewer = |viewer: usize| {
            let (bytes, over) = (Arc::clone(bytes), Arc::clone(over));
            std::thread::spawn(move || {
                let mut connection = Connection::new(addr);
                let begun = Instant::now();
                // Viewers do not begin at the same moment.
                let mut due = CLOCKS.map(|_| Duration::from_millis(37 * viewer as u64));
                while !over.load(Ordering::Relaxed) {
                    for (panel, clock) in CLOCKS.iter().enumerate() {
                        if begun.elapsed() >= due[panel] {
                            due[panel] += Duration::from_secs(*clock);
                            let head = format!("GET /api/streams/p{panel} HTTP/1.1\r\nHost: {addr}\r\n\r\n");
                            connection.reader.get_mut().write_all(head.as_bytes()).expect("the daemon reads");
                            let mut taken = 0;
                            let mut length = 0;
                            loop {
                                let mut line = String::new();
                                taken += connection.reader.read_line(&mut line).expect("an answer");
                                if let Some((name, value)) = line.split_once(':')
                                    && name.eq_ignore_ascii_case("content-length")
                                {
                                    length = value.trim().parse().expect("a length");
                                }
                                if line == "\r\n" {
                                    break;
                                }
                            }
                            let mut body = vec![0; length];
                            connection.reader.read_exact(&mut body).expect("a body");
                            bytes.fetch_add((taken + length) as u64, Ordering::Relaxed);
                        }
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            })
        };
        (0..VIEWERS).map(viewer).collect::<Vec<_>>()
    };
    let nobody = measure(&|_, _| Vec::new());
    let conflated = measure(&streams("&interval=2s"));
    let pushed = measure(&streams(""));
    let polled = measure(&polled);
    stop.store(true, Ordering::Relaxed);
    let _ = publisher.join();
    let line = |(cpu, sent): (f64, f64)| {
        format!(
            "{:.2} % of a core more than with none, {:.0} bytes/s a viewer",
            100.0 * (cpu - nobody.0),
            sent / VIEWERS as f64
        )
    };
    table.note("four streams at 10 values/s, no viewer", format!("{:.2} % of a core", 100.0 * nobody.0));
    table.note("ten viewers, every value pushed", line(pushed));
    table.note("ten viewers, pushed at most every 2 s (interval=2s)", line(conflated));
    table.note("ten viewers polling four panels at 2, 3, 5 and 5 s", line(polled));
}

/// From the tick of a feed to a reader of the stream, at 1,000 ticks a second: how old what is shown gets.
pub fn feed(table: &mut Table) {
    const RATE: u64 = 1_000;
    const SECONDS: u64 = 20;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let config = format!(
        "[[stream]]\nid = \"t\"\nurl = \"ws://{}/\"\nsubscribe = [\"go\"]\nvalue = \"p\"\ntime = \"T\"\n",
        listener.local_addr().expect("a port")
    );
    let daemon = Options::default().config(&config).start();
    let mut reader = daemon.stream("topics=stream/t&types=stream_value&state=false", None);
    let (socket, _) = listener.accept().expect("a connection");
    socket.set_nodelay(true).expect("a socket");
    let mut socket = tungstenite::accept(socket).expect("a handshake");
    let _ = socket.read();
    let sender = std::thread::spawn(move || {
        let begun = Instant::now();
        for n in 0..RATE * SECONDS {
            std::thread::sleep((Duration::from_micros(n * 1_000_000 / RATE)).saturating_sub(begun.elapsed()));
            let text = format!("{{\"p\":{n},\"T\":{}}}", wall_ms());
            if socket.send(Message::text(text)).is_err() {
                return socket;
            }
        }
        socket
    });
    let mut ages = Vec::new();
    let mut shown: Option<u64> = None;
    let last = RATE * SECONDS - 1;
    while let Some(frame) = reader.next() {
        let payload = frame.payload();
        let Some(value) = payload["value"].as_f64() else { continue };
        let now = wall_ms();
        // Just before this one came, the one before it was what was shown.
        if let Some(before) = shown.replace(
            payload["timestamp"].as_str().and_then(telltale::clock::Wall::parse).map_or(now, |at| at.0),
        ) {
            ages.push(now.saturating_sub(before));
        }
        if value as u64 == last {
            break;
        }
    }
    drop(sender.join());
    ages.sort_unstable();
    let at = |share: f64| ages.get(((ages.len() - 1) as f64 * share) as usize).copied().unwrap_or_default();
    let (p50, p99, most) = (at(0.5), at(0.99), at(1.0));
    let text = format!("{p50} / {p99} / {most} ms over {} values shown", ages.len() + 1);
    table.goal(
        "a feed at 1,000 ticks/s: age of what is shown, p50 / p99 / most",
        text,
        "< 100 ms",
        p99 < 100,
    );
    let counted = until("the counts", || {
        let stream = daemon.get("/api/streams/t").json();
        (stream["ticks"] == RATE * SECONDS).then(|| stream["dropped"].as_u64())
    });
    table.goal(
        "ticks read, dropped",
        format!("{}, {counted:?}", RATE * SECONDS),
        "all, 0",
        counted == Some(0),
    );
}
