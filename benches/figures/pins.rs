//! Pins: 64 that toggle at 1 kHz, and the way of an edge to a reader. The daemon runs in this process, over a fake board:
//! all but the chip is real, from the source to the socket.

use crate::Table;
use crate::process::{cpu_s, monotonic_ns};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use telltale::config::{self, Flags, Overrides};
use telltale::daemon::Daemon;
use telltale::sources::hardware::fake::FakePins;

/// How long the pins toggle.
const TIME: Duration = Duration::from_secs(10);

struct Running {
    daemon: Option<Daemon>,
    addr: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Running {
    fn start(board: &FakePins, text: &str) -> Running {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("pins.toml");
        std::fs::write(&file, text).expect("a file");
        let flags = Flags {
            config: Some(file),
            listen: Some("127.0.0.1:0".into()),
            data: Some(dir.path().join("data")),
            ..Flags::default()
        };
        let loaded = config::load(&Overrides { flags, ..Overrides::default() }).expect("a configuration");
        let daemon = Daemon::start_on(Arc::new(board.clone()), &loaded).expect("the daemon starts");
        let addr = daemon.addr();
        Running { daemon: Some(daemon), addr, _dir: dir }
    }

    fn get(&self, path: &str) -> Value {
        let mut socket = TcpStream::connect(self.addr).expect("the daemon listens");
        write!(socket, "GET {path} HTTP/1.0\r\nHost: {}\r\nConnection: close\r\n\r\n", self.addr)
            .expect("it reads");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("it answers");
        let body = text.split_once("\r\n\r\n").expect("a body").1;
        serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {}", &body[..body.len().min(200)]))
    }

    /// The sum of a counter over all pins, once it stays the same.
    fn counted(&self, names: &[&str]) -> u64 {
        let sum = || -> u64 {
            let state = self.get("/api/state?topics=system");
            let all = state["state"].as_array().expect("a state");
            let pins = all.iter().filter(|e| e["payload"]["kind"] == "gpio");
            pins.flat_map(|e| names.iter().map(|n| e["payload"]["detail"][n].as_u64().unwrap_or(0))).sum()
        };
        let mut last = u64::MAX;
        loop {
            let now = sum();
            if now == last {
                return now;
            }
            last = now;
            // The counters are told once a second.
            std::thread::sleep(Duration::from_millis(2_500));
        }
    }

    fn wait_for_pins(&self, pins: usize) {
        let begun = Instant::now();
        loop {
            let state = self.get("/api/state?topics=system");
            let all = state["state"].as_array().expect("a state");
            let ready = |e: &&Value| e["payload"]["kind"] == "gpio" && e["payload"]["status"] == "ok";
            if all.iter().filter(ready).count() == pins {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "the pins are there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.stop();
        }
    }
}

fn thread_cpu_s() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// 64 pins with square waves of 1 kHz, all of whose edges are asked for.
pub fn sixty_four(table: &mut Table) {
    let board = FakePins::default();
    let mut text = String::from("name = \"pins\"\n");
    for pin in 0..64 {
        let _ = write!(text, "[[gpio]]\nid = \"p{pin}\"\npin = {pin}\ntopic = \"app/pins/p{pin}\"\n");
    }
    let running = Running::start(&board, &text);
    running.wait_for_pins(64);
    let (pid, begun) = (std::process::id(), Instant::now());
    let (cpu, ours) = (cpu_s(pid), thread_cpu_s());
    let mut made = 0u64;
    let mut levels: Vec<(u8, bool)> = (0..64).map(|pin| (pin, false)).collect();
    let step = Duration::from_micros(500);
    let mut next = begun;
    while begun.elapsed() < TIME {
        levels.iter_mut().for_each(|(_, high)| *high = !*high);
        board.set_all(&levels);
        made += 64;
        next += step;
        if let Some(rest) = next.checked_duration_since(Instant::now()) {
            std::thread::sleep(rest);
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let share = 100.0 * ((cpu_s(pid) - cpu) - (thread_cpu_s() - ours)) / took;
    let (seen, lost) = (running.counted(&["edges"]), running.counted(&["lost_edges"]));
    let rate = made as f64 / took;
    table.goal(
        "64 pins at 1 kHz: edges seen and counted as lost",
        format!("{seen} + {lost} of {made} ({rate:.0} edges/s)"),
        "all",
        seen + lost == made && rate >= 120_000.0,
    );
    table.goal(
        "64 pins at 1 kHz: processor, all of the daemon",
        format!("{share:.1} % of a core"),
        "< 25 %",
        share < 25.0,
    );
    // What was told of one of them is what was counted of it.
    let told = |kind: &str| -> u64 {
        let path =
            format!("/api/events?topics=app/pins/p7&types={kind}&since=earliest&format=json&limit=10000");
        let all = running.get(&path);
        all["events"]
            .as_array()
            .expect("events")
            .iter()
            .map(|e| e["payload"]["edges"].as_u64().unwrap_or(1))
            .sum()
    };
    let (alone, together) = (told("edge"), told("edge_batch"));
    table.goal(
        "edges of one pin in records: alone, together",
        format!("{alone} + {together}"),
        "a 64th of those seen",
        (alone + together).abs_diff(seen / 64) <= lost,
    );
}

/// Two pins at 10 Hz to a reader of the stream.
pub fn latency(table: &mut Table) {
    let board = FakePins::default();
    let text = "[[gpio]]\nid = \"a\"\npin = 4\ntopic = \"app/a\"\n[[gpio]]\nid = \"b\"\npin = 5\ntopic = \"app/b\"\n";
    let running = Running::start(&board, text);
    running.wait_for_pins(2);
    let mut socket = TcpStream::connect(running.addr).expect("the daemon listens");
    write!(
        socket,
        "GET /api/events?topics=app/a,app/b&types=edge HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n",
        running.addr
    )
    .expect("it reads");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    const EDGES: usize = 600;
    let mut lines = BufReader::new(socket);
    let mut line = String::new();
    while !line.contains("hello") {
        line.clear();
        assert!(lines.read_line(&mut line).expect("the stream") > 0, "the stream goes on");
    }
    let reader = std::thread::spawn(move || {
        let mut all = Vec::with_capacity(EDGES);
        let mut line = String::new();
        while all.len() < EDGES {
            line.clear();
            if lines.read_line(&mut line).unwrap_or(0) == 0 {
                break;
            }
            let now = monotonic_ns();
            let stamp = line.split("\"timestamp_mono_ns\":").nth(1);
            let digits = stamp.map(|s| s.chars().take_while(char::is_ascii_digit).collect::<String>());
            if let Some(at) = digits.and_then(|d| d.parse::<u64>().ok()) {
                all.push(now.saturating_sub(at));
            }
        }
        all.sort_unstable();
        all
    });
    let mut high = false;
    // 10 Hz is an edge every 50 ms; the other pin's come between.
    for _ in 0..EDGES / 2 {
        high = !high;
        for pin in [4, 5] {
            board.set(pin, high);
            std::thread::sleep(Duration::from_millis(25));
        }
    }
    let all = reader.join().expect("the reader ends");
    let of = |share: f64| {
        all.get((all.len().saturating_sub(1) as f64 * share) as usize).map_or(f64::NAN, |ns| *ns as f64 / 1e6)
    };
    table.goal(
        "2 pins at 10 Hz: edge to a reader, p50 / p95",
        format!("{:.2} / {:.2} ms ({} edges)", of(0.5), of(0.95), all.len()),
        "p95 < 20 ms",
        all.len() == EDGES && of(0.95) < 20.0,
    );
}
