//! Scans: many programs that post at once, and one long scan that is looked at.

use crate::Table;
use crate::footprint::metric;
use crate::harness::{Daemon, until};
use crate::process;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A connection that is kept, for requests one after the other.
struct Kept {
    reader: BufReader<TcpStream>,
    addr: SocketAddr,
}

impl Kept {
    fn new(addr: SocketAddr) -> Kept {
        let socket = TcpStream::connect(addr).expect("the daemon listens");
        socket.set_nodelay(true).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
        Kept { reader: BufReader::new(socket), addr }
    }

    /// Posts; gives the status.
    fn post(&mut self, path: &str, body: &str) -> u16 {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.addr,
            body.len()
        );
        self.reader.get_mut().write_all(request.as_bytes()).expect("the daemon reads");
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            self.reader.read_line(&mut line).expect("the daemon answers");
            let text = line.trim_end();
            if text.is_empty() {
                break;
            }
            if status == 0 {
                status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
            } else if let Some(n) = text.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = n.parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).expect("the daemon answers");
        status
    }
}

fn register(daemon: &Daemon, id: &str) {
    let wish = format!(
        r#"{{"scan_id":"{id}","executor":"external","name":"{id}","lease_s":600,"columns":[{{"name":"psu.voltage","unit":"V","axis":0,"role":"setpoint"}},{{"name":"dmm.current","unit":"A"}},{{"name":"dmm.temperature","unit":"K"}}]}}"#
    );
    let answer = daemon.post("/api/scans", &wish);
    assert!(answer.status == 201, "{}", answer.text());
}

fn values(n: u64, scan: u64) -> (f64, f64, f64) {
    let volts = (n % 101) as f64 * 0.05;
    let noise = ((n * 7_919 + scan * 104_729) % 1_009) as f64 / 1e5;
    (
        (volts * 1e3).round() / 1e3,
        ((volts * 0.31 + noise) * 1e6).round() / 1e6,
        293.0 + ((noise * 1e4).round() / 1e3),
    )
}

fn point(n: u64, scan: u64) -> String {
    let (v, i, t) = values(n, scan);
    format!(
        r#"{{"sequence_index":{n},"data":{{"psu.voltage":{v},"dmm.current":{i},"dmm.temperature":{t}}},"t_rel":{:.3}}}"#,
        n as f64 / 10.0
    )
}

/// Counts the rows of one scan that a reader of its topic is told, and what is not of that scan.
fn view(addr: SocketAddr, id: &str, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<(u64, u64)> {
    let mut socket = TcpStream::connect(addr).expect("the daemon listens");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket");
    write!(socket, "GET /api/events?topics=scan/{id}&types=data_point,data_batch HTTP/1.1\r\nHost: {addr}\r\nAccept: text/event-stream\r\n\r\n")
        .expect("the daemon reads");
    let own = format!("\"topic\":\"scan/{id}\"");
    std::thread::spawn(move || {
        let (mut rows, mut others, mut text, mut buffer) = (0, 0, Vec::new(), vec![0; 64 * 1024]);
        while !stop.load(Ordering::Relaxed) {
            match socket.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => text.extend(&buffer[..n]),
                Err(_) => continue,
            }
            while let Some(end) = text.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                if line.starts_with("data: {\"type\":\"data_") {
                    let count = match line.split_once("\"dmm.current\":[") {
                        Some((_, list)) => list.split(']').next().map_or(0, |l| l.split(',').count() as u64),
                        None => 1,
                    };
                    if line.contains(&own) { rows += count } else { others += count }
                }
            }
        }
        (rows, others)
    })
}

/// 1,000 programs, each with a point every 100 ms for 20 s, over kept connections; 20 viewers of 20 of them.
pub fn thousand(table: &mut Table) {
    const SCANS: u64 = 1_000;
    const POINTS: u64 = 200;
    const CONNECTIONS: u64 = 20;
    let daemon = Daemon::start();
    (0..SCANS).for_each(|n| register(&daemon, &format!("ext-{n}")));
    let stop = Arc::new(AtomicBool::new(false));
    let viewers: Vec<_> =
        (0..20).map(|n| view(daemon.addr, &format!("ext-{}", n * 50), Arc::clone(&stop))).collect();
    std::thread::sleep(Duration::from_secs(2));
    let size = |daemon: &Daemon| process::size(&daemon.data);
    let (size_before, written_before) = (size(&daemon), process::written(daemon.pid()));
    let cpu_before = process::cpu_s(daemon.pid());
    let accepted = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let (addr, accepted) = (daemon.addr, Arc::clone(&accepted));
            std::thread::spawn(move || {
                let mut kept = Kept::new(addr);
                let mut late = Duration::ZERO;
                for n in 0..POINTS {
                    for scan in (connection..SCANS).step_by(CONNECTIONS as usize) {
                        if kept.post(&format!("/api/scans/ext-{scan}/data"), &point(n, scan)) == 200 {
                            accepted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    let due = Duration::from_millis(100 * (n + 1));
                    late = late.max(begun.elapsed().saturating_sub(due));
                    std::thread::sleep(due.saturating_sub(begun.elapsed()));
                }
                late
            })
        })
        .collect();
    let late = threads.into_iter().map(|t| t.join().expect("a program")).max().unwrap_or_default();
    let took = begun.elapsed().as_secs_f64();
    let cpu = process::cpu_s(daemon.pid()) - cpu_before;
    let accepted = accepted.load(Ordering::Relaxed);
    table.goal(
        "1,000 programs post a point every 100 ms for 20 s: accepted",
        format!(
            "{:.0}/s, {accepted} of {} (the slowest program {:.0} ms behind)",
            accepted as f64 / took,
            SCANS * POINTS,
            late.as_secs_f64() * 1e3
        ),
        "all, >= 9,500/s",
        accepted == SCANS * POINTS && accepted as f64 / took >= 9_500.0,
    );
    table.note("the same, processor time of the daemon", format!("{:.1} % of a core", cpu / took * 100.0));
    std::thread::sleep(Duration::from_millis(2_500));
    stop.store(true, Ordering::Relaxed);
    let seen: Vec<_> = viewers.into_iter().map(|v| v.join().expect("a viewer")).collect();
    let exact = seen.iter().filter(|(rows, others)| *rows == POINTS && *others == 0).count();
    table.goal(
        "the same, 20 viewers of one scan each: every row of theirs, none of others",
        format!("{exact} of 20"),
        "20",
        exact == 20,
    );
    for n in 0..SCANS {
        assert_eq!(
            daemon.post(&format!("/api/scans/ext-{n}/control"), r#"{"state":"completed"}"#).status,
            200
        );
    }
    std::thread::sleep(Duration::from_secs(7));
    let (grown, written) =
        (size(&daemon).saturating_sub(size_before), process::written(daemon.pid()) - written_before);
    let rows = (SCANS * POINTS) as f64;
    table.note(
        "the same, on the disk a point",
        format!(
            "{:.1} bytes in its block; the file with log and free pages grew by {:.0}; {:.0} were written",
            metric(&daemon, "telltale_scan_rows_bytes") / rows,
            grown as f64 / rows,
            written as f64 / rows
        ),
    );
    // Killed and started again, everything is there: durable.
    let folder = daemon.data.clone();
    let mut daemon = daemon;
    daemon.kill();
    let again = crate::harness::Options::default().start_in(&folder);
    let stored: u64 = (0..SCANS)
        .map(|n| {
            again.get(&format!("/api/scans/ext-{n}/data?limit=1")).json()["num_points"].as_u64().unwrap_or(0)
        })
        .sum();
    table.goal(
        "the same, there after kill -9",
        format!("{stored} of {}", SCANS * POINTS),
        "all",
        stored == SCANS * POINTS,
    );
}

/// 1,000,000 rows of one scan: posted in batches, charted, paged, exported.
pub fn million(table: &mut Table) {
    const ROWS: u64 = 1_000_000;
    const BATCH: u64 = 5_000;
    let daemon = Daemon::start();
    register(&daemon, "long");
    let mut kept = Kept::new(daemon.addr);
    let begun = Instant::now();
    for first in (0..ROWS).step_by(BATCH as usize) {
        let all: Vec<_> = (first..first + BATCH).map(|n| values(n, 1)).collect();
        let list = |pick: fn(&(f64, f64, f64)) -> f64| {
            all.iter().map(|v| pick(v).to_string()).collect::<Vec<_>>().join(",")
        };
        let t: Vec<String> = (first..first + BATCH).map(|n| format!("{:.3}", n as f64 / 100.0)).collect();
        let body = format!(
            r#"{{"first_index":{first},"data":{{"psu.voltage":[{}],"dmm.current":[{}],"dmm.temperature":[{}]}},"t_rel":[{}]}}"#,
            list(|v| v.0),
            list(|v| v.1),
            list(|v| v.2),
            t.join(",")
        );
        // 503 says that rows come faster than they are put in blocks.
        let mut said = kept.post("/api/scans/long/data", &body);
        while said == 503 && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(50));
            said = kept.post("/api/scans/long/data", &body);
        }
        assert_eq!(said, 200);
    }
    table.note(
        "1,000,000 rows of three columns in batches of 5,000: accepted",
        format!("{:.0} rows/s", ROWS as f64 / begun.elapsed().as_secs_f64()),
    );
    // How many wait is told when blocks are written: every 5 s.
    std::thread::sleep(Duration::from_secs(7));
    until("the rows to be in blocks", || {
        (metric(&daemon, "telltale_scan_rows_waiting") < 1_000.0).then_some(())
    });
    let (_, _, before) = process::memory(daemon.pid());
    let time = |path: &str| {
        let mut best = Duration::MAX;
        let mut bytes = 0;
        for _ in 0..3 {
            let begun = Instant::now();
            let answer = daemon.get(path);
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            best = best.min(begun.elapsed());
            bytes = answer.body.len();
        }
        (best.as_secs_f64() * 1e3, bytes)
    };
    let (ms, _) = time("/api/scans/long/chart?x=t_rel&points=800");
    table.goal("chart of 800 points over 1,000,000 rows", format!("{ms:.1} ms"), "< 100 ms", ms < 100.0);
    let (ms, _) = time("/api/scans/long/chart?x=t_rel&points=8192");
    table.note("chart of 8,192 points over them", format!("{ms:.1} ms"));
    let (ms, _) = time("/api/scans/long/chart?x=t_rel&points=800&from=400000&to=500000");
    table.note("chart of 800 points over 100,000 of them", format!("{ms:.1} ms"));
    let (ms, _) = time("/api/scans/long/data?limit=1000");
    table.note("the first page of 1,000 rows", format!("{ms:.1} ms"));
    let (ms, bytes) = time("/api/scans/long/data.csv");
    table.note(
        "all of them as CSV",
        format!("{:.0} rows/s, {:.0} MB/s", ROWS as f64 / ms * 1e3, bytes as f64 / ms / 1e3),
    );
    let (rss, _, after) = process::memory(daemon.pid());
    table.goal(
        "memory after all that",
        format!(
            "{:.1} MB, {:.1} MB of it anonymous ({:+.1} MB since before)",
            rss as f64 / 1e6,
            after as f64 / 1e6,
            (after as f64 - before as f64) / 1e6
        ),
        "< 40 MB anonymous",
        after < 40_000_000,
    );
    let bytes = metric(&daemon, "telltale_scan_rows_bytes");
    table.note("bytes of a row in its block, pyramid included", format!("{:.1}", bytes / ROWS as f64));
}
