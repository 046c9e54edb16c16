//! Starts the daemon, talks HTTP to it, reads its streams, ends it. Waits on conditions, never for a time.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Repeats `check` until it gives something; fails the test with `what` after [`PATIENCE`].
pub fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The binary with these arguments, without the environment's TELLTALE_ variables.
pub fn telltale(args: &[&str]) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_telltale"));
    command.args(args);
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("TELLTALE_")) {
        command.env_remove(name);
    }
    Program { command, input: String::new() }
}

/// A run of the binary that ends by itself.
pub struct Program {
    command: Command,
    input: String,
}

/// How it ended.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    pub fn env(mut self, name: &str, value: &str) -> Program {
        self.command.env(name, value);
        self
    }
    /// What it reads from standard input.
    pub fn input(mut self, text: &str) -> Program {
        self.input = text.into();
        self
    }
    /// For what `run` does not do.
    pub fn command(self) -> Command {
        self.command
    }
    pub fn run(mut self) -> Done {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap();
        // It may end without reading; what it says then is the test's concern.
        let _ = child.stdin.take().unwrap().write_all(self.input.as_bytes());
        let (sender, done) = std::sync::mpsc::channel();
        let id = child.id();
        std::thread::spawn(move || sender.send(child.wait_with_output()));
        let output = done.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
            panic!("{:?} did not end within {PATIENCE:?}", self.command)
        });
        let output = output.unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Done {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// A running telltale with its own data folder.
pub struct Daemon {
    child: Child,
    pub addr: SocketAddr,
    pub data: PathBuf,
    log: Arc<Mutex<String>>,
    _dir: Option<tempfile::TempDir>,
}

/// How to start one.
#[derive(Default, Clone)]
pub struct Options {
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Written to a file and given as `--config`.
    pub config: Option<String>,
    /// `ulimit -n`.
    pub descriptors: Option<u32>,
}

impl Options {
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
    pub fn config(mut self, text: &str) -> Self {
        self.config = Some(text.into());
        self
    }
    /// Starts in a new folder that goes with the daemon.
    pub fn start(self) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = self.start_in(&dir.path().join("data"));
        daemon._dir = Some(dir);
        daemon
    }
    /// Starts on a folder that outlives the daemon.
    pub fn start_in(self, data: &Path) -> Daemon {
        std::fs::create_dir_all(data).unwrap();
        let mut command = match self.descriptors {
            None => Command::new(env!("CARGO_BIN_EXE_telltale")),
            Some(most) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
                shell.args(["-c", &script, env!("CARGO_BIN_EXE_telltale")]);
                shell
            }
        };
        command.arg("run").arg("--data").arg(data);
        if !self.args.iter().any(|a| a == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        match &self.config {
            Some(text) => {
                let file = data.join("test.toml");
                std::fs::write(&file, text).unwrap();
                command.arg("--config").arg(file);
            }
            None if self.args.iter().any(|a| a == "--bench") => {}
            None => {
                command.arg("--no-bench");
            }
        }
        command.args(self.args.iter().filter(|a| *a != "--bench"));
        command.env_remove("TELLTALE_CONFIG").env("RUST_LOG", "info").env("TELLTALE_CLOCK", "synced");
        command.envs(self.env);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().unwrap();
        let sink = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = sink.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let addr = loop {
            line.clear();
            if stdout.read_line(&mut line).unwrap_or(0) == 0 {
                let _ = child.wait();
                panic!("the daemon ended before it served:\n{}", log.lock().unwrap());
            }
            if let Some(addr) = line.trim().strip_prefix("listening on http://") {
                break addr.parse().unwrap();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Daemon { child, addr, data: data.to_path_buf(), log, _dir: None }
    }
}

impl Daemon {
    /// The daemon without sources.
    pub fn start() -> Daemon {
        Options::default().start()
    }
    /// The daemon with its simulated bench.
    pub fn bench() -> Daemon {
        Options::default().arg("--bench").start()
    }
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }
    /// SIGTERM; gives the exit code.
    pub fn stop(&mut self) -> i32 {
        self.signal("TERM");
        until("the daemon to stop", || self.child.try_wait().unwrap()).code().unwrap_or(-1)
    }
    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().count()
    }
    pub fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.addr).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }
    pub fn post(&self, path: &str, body: &str) -> Response {
        self.request("POST", path, &[("Content-Type", "application/json")], body.as_bytes())
    }
    /// One request on its own connection.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("host")) {
            head += &format!("Host: {}\r\n", self.addr);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || method == "POST" {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut socket = self.connect();
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(b"\r\n").unwrap();
        let _ = socket.write_all(body);
        Response::read(&mut BufReader::new(socket))
    }
    /// Publishes one event of our own type on `topic` (under `app/`); gives its id.
    pub fn publish(&self, topic: &str, payload: &str) -> String {
        let answer =
            self.post("/api/events", &format!(r#"{{"type":"test","topic":"{topic}","payload":{payload}}}"#));
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["cursor"].as_str().unwrap().to_string()
    }
    /// Opens a stream: `query` such as `topics=app/a`.
    pub fn stream(&self, query: &str, last_event_id: Option<&str>) -> Stream {
        let mut socket = self.connect();
        let last = last_event_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        write!(
            socket,
            "GET /api/events?{query} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n{last}\r\n",
            self.addr
        )
        .unwrap();
        let mut reader = BufReader::new(socket);
        let head = Response::read_head(&mut reader);
        assert_eq!(head.status, 200, "{head:?}");
        Stream { reader, last_id: None }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- log of the daemon ---\n{}", self.log());
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn read_head(reader: &mut impl BufRead) -> Response {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line
            .split_whitespace()
            .nth(1)
            .unwrap_or_else(|| panic!("no status in {line:?}"))
            .parse()
            .unwrap();
        let mut headers = Vec::new();
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
        }
        Response { status, headers, body: Vec::new() }
    }
    /// Reads one answer, by Content-Length, by chunks or to the end.
    pub fn read(reader: &mut impl BufRead) -> Response {
        let mut response = Self::read_head(reader);
        if let Some(length) = response.header("content-length").map(|l| l.parse::<usize>().unwrap()) {
            response.body = vec![0; length];
            let _ = reader.read_exact(&mut response.body);
        } else if response.header("transfer-encoding") == Some("chunked") {
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let size = usize::from_str_radix(line.trim(), 16).unwrap();
                let mut chunk = vec![0; size + 2];
                reader.read_exact(&mut chunk).unwrap();
                if size == 0 {
                    break;
                }
                response.body.extend(&chunk[..size]);
            }
        } else {
            let _ = reader.read_to_end(&mut response.body);
        }
        response
    }
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

/// One event of a stream.
#[derive(Debug, Clone)]
pub struct Frame {
    pub id: Option<String>,
    pub event: String,
    pub data: String,
}

impl Frame {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data).unwrap()
    }
    pub fn payload(&self) -> serde_json::Value {
        self.json()["payload"].clone()
    }
}

/// A stream being read as an EventSource would.
pub struct Stream {
    pub reader: BufReader<TcpStream>,
    pub last_id: Option<String>,
}

impl Stream {
    /// The next event; none at the end of the stream.
    pub fn next(&mut self) -> Option<Frame> {
        let (mut id, mut event, mut data) = (None, String::new(), Vec::new());
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                if data.is_empty() {
                    (id, event) = (None, String::new());
                    continue;
                }
                if id.is_some() {
                    self.last_id.clone_from(&id);
                }
                return Some(Frame { id, event, data: data.join("\n") });
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => id = Some(value.to_string()),
                "event" => event = value.to_string(),
                "data" => data.push(value.to_string()),
                _ => {}
            }
        }
    }
    /// The next event that is not a heartbeat.
    pub fn next_real(&mut self) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if frame.event != "heartbeat" {
                return Some(frame);
            }
        }
    }
    /// Reads on to the next event of this type.
    pub fn wait(&mut self, event: &str) -> Frame {
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for a {event} event");
            let frame = self.next().unwrap_or_else(|| panic!("the stream ended before a {event} event"));
            if frame.event == event {
                return frame;
            }
        }
    }
}
