//! Publishes over one kept-alive connection, as a program in the field would.

use crate::harness::Response;
use crate::process::monotonic_ns;
use std::fmt::Write as _;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The topic of everything published here.
pub const TOPIC: &str = "app/figures";

/// See the module above.
pub struct Publisher {
    reader: BufReader<TcpStream>,
    addr: SocketAddr,
    body: String,
    /// The number of the next event.
    pub next: u64,
    /// Answers that asked to try again.
    pub refused: u64,
    padding: String,
}

fn connect(addr: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(addr).expect("the daemon listens");
    socket.set_nodelay(true).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
    socket
}

impl Publisher {
    /// Connects. `size` is the payload's size in bytes.
    pub fn new(addr: SocketAddr, size: usize) -> Publisher {
        let socket = connect(addr);
        // `{"n":123456,"t":12345678901234567,"p":""}` or so.
        let padding = "x".repeat(size.saturating_sub(44));
        Publisher { reader: BufReader::new(socket), addr, body: String::new(), next: 0, refused: 0, padding }
    }

    /// Posts `count` events in one body of NDJSON; tries again when the daemon is busy.
    pub fn post(&mut self, count: u64, durable: bool) {
        self.body.clear();
        for n in self.next..self.next + count {
            let t = monotonic_ns();
            let _ = writeln!(
                self.body,
                r#"{{"type":"tick","topic":"{TOPIC}","payload":{{"n":{n},"t":{t},"p":"{}"}}}}"#,
                self.padding
            );
        }
        self.next += count;
        let query = if durable { "?durable=true" } else { "" };
        let begun = Instant::now();
        let mut from = 0;
        loop {
            let body = &self.body[from..];
            let head = format!(
                "POST /api/events{query} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
                self.addr,
                body.len()
            );
            let socket = self.reader.get_mut();
            socket
                .write_all(head.as_bytes())
                .and_then(|()| socket.write_all(body.as_bytes()))
                .expect("the daemon reads");
            let answer = Response::read(&mut self.reader);
            if answer.header("connection") == Some("close") {
                self.reader = BufReader::new(connect(self.addr));
            }
            if matches!(answer.status, 201 | 202) {
                return;
            }
            // Lines are published as they arrive: those that were accepted before it was too much are not sent again.
            let again = matches!(answer.status, 429 | 503) && begun.elapsed() < Duration::from_secs(60);
            let accepted = answer.json()["accepted"].as_u64().filter(|_| again);
            let accepted =
                accepted.unwrap_or_else(|| panic!("{}: {}", answer.status, answer.text())) as usize;
            from += body.split_inclusive('\n').take(accepted).map(str::len).sum::<usize>();
            assert!(from < self.body.len(), "nothing is left to try again: {}", answer.text());
            self.refused += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Posts `batch` events `posts_per_s` times a second for a time; gives how many were posted.
    pub fn pace(&mut self, batch: u64, posts_per_s: f64, time: Duration) -> u64 {
        let (begun, first) = (Instant::now(), self.next);
        for n in 0.. {
            let due = Duration::from_secs_f64(f64::from(n) / posts_per_s);
            if due >= time {
                break;
            }
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            self.post(batch, false);
        }
        self.next - first
    }
}
