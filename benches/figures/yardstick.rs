//! The yardstick: a bare loop on one thread, one send per event per reader, in a process of its own.
//!
//! It accepts readers, then takes orders from its standard input: `COUNT RATE` sends so many frames at so many a second
//! (0: as fast as they are taken) and answers with a line when the last one has been sent. It ends with its input.

use crate::process::monotonic_ns;
use crate::publisher::TOPIC;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The hidden argument that makes this program the yardstick.
pub const ARGUMENT: &str = "--yardstick";

/// The server's side.
pub fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("a port"));
    let readers: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let joined = Arc::clone(&readers);
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && socket.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let _ = socket.set_nodelay(true);
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
            joined.lock().expect("no panic").push(socket);
        }
    });
    let padding: usize = std::env::args().next_back().and_then(|n| n.parse().ok()).expect("a size");
    let padding = "x".repeat(padding.saturating_sub(44));
    let mut n = 0_u64;
    for order in std::io::stdin().lines().map_while(Result::ok) {
        let (count, rate) = order.split_once(' ').expect("COUNT RATE");
        let (count, rate): (u32, f64) = (count.parse().expect("a count"), rate.parse().expect("a rate"));
        let begun = Instant::now();
        let mut readers = readers.lock().expect("no panic");
        for event in 0..count {
            if rate > 0.0 {
                std::thread::sleep(
                    Duration::from_secs_f64(f64::from(event) / rate).saturating_sub(begun.elapsed()),
                );
            }
            let t = monotonic_ns();
            let id = format!("7000000000-{n}");
            let frame = format!(
                "id: {id}\nevent: tick\ndata: {{\"type\":\"tick\",\"id\":\"{id}\",\"topic\":\"{TOPIC}\",\"timestamp\":\"2026-01-07T15:30:00.412Z\",\"payload\":{{\"n\":{n},\"t\":{t},\"p\":\"{padding}\"}}}}\n\n"
            );
            n += 1;
            readers.retain_mut(|reader| reader.write_all(frame.as_bytes()).is_ok());
        }
        println!("sent");
    }
}

/// The owner's side.
pub struct Yardstick {
    child: Child,
    answers: BufReader<ChildStdout>,
    pub addr: SocketAddr,
}

impl Yardstick {
    /// Starts one for payloads of `size` bytes.
    pub fn start(size: usize) -> Yardstick {
        let own = std::env::current_exe().expect("a path");
        let mut command = Command::new(own);
        command.args([ARGUMENT, &size.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        answers.read_line(&mut line).expect("it answers");
        Yardstick { child, answers, addr: line.trim().parse().expect("an address") }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has frames sent; returns when the last one is.
    pub fn send(&mut self, count: u64, rate: f64) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        writeln!(stdin, "{count} {rate}").expect("it reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        assert_eq!(line.trim(), "sent");
    }
}

impl Drop for Yardstick {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
