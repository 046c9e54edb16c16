//! Behind nginx with TLS, as examples/nginx.conf has it. Needs nginx, openssl and curl, which tests/run installs.

use crate::harness::{Daemon, until};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ends the process with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn there(program: &str, flag: &str) -> bool {
    Command::new(program).arg(flag).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn nginx(dir: &Path, daemon: &Daemon) -> (Ended, u16) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"])
        .arg("-keyout")
        .arg(dir.join("panel.key"))
        .arg("-out")
        .arg(dir.join("panel.pem"))
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    // Free a moment ago: nobody else on this host takes ports without asking.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let example =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/nginx.conf")).unwrap();
    let server = example
        .replace("listen 443 ssl", &format!("listen 127.0.0.1:{port} ssl"))
        .replace("panel.example", "127.0.0.1")
        .replace("/etc/ssl", &dir.display().to_string())
        .replace("127.0.0.1:8080", &daemon.addr.to_string());
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {0}/{kind};\n", dir.display()))
        .concat();
    let whole = format!(
        "pid {0}/pid;\nerror_log stderr;\ndaemon off;\nmaster_process off;\nevents {{}}\nhttp {{\naccess_log off;\n{temp}{server}}}\n",
        dir.display()
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, whole).unwrap();
    let child = Command::new("nginx").arg("-p").arg(dir).arg("-c").arg(&file).spawn().unwrap();
    let child = Ended(child);
    until("nginx", || TcpStream::connect(("127.0.0.1", port)).ok());
    (child, port)
}

#[test]
fn the_page_and_the_stream_come_through_nginx_with_tls() {
    let programs = [("nginx", "-v"), ("openssl", "version"), ("curl", "-V")];
    if let Some((missing, _)) = programs.iter().find(|(program, flag)| !there(program, flag)) {
        eprintln!("left out: there is no {missing} on this host");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start();
    let (_nginx, port) = nginx(dir.path(), &daemon);
    let curl = |path: &str| {
        let mut command = Command::new("curl");
        command.args(["-sSkN", "--max-time", "60"]).arg(format!("https://127.0.0.1:{port}{path}"));
        command
    };
    let page = curl("/").output().unwrap();
    assert!(String::from_utf8_lossy(&page.stdout).contains("<html"), "{page:?}");
    let mut stream = curl("/api/events?topics=app/x");
    let mut stream =
        Ended(stream.arg("-H").arg("Accept: text/event-stream").stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(stream.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "event: hello"));
    daemon.publish("app/x", r#"{"n":1}"#);
    // Not when a buffer is full: one small event is enough.
    assert!(lines.any(|line| line.contains(r#""n":1"#)));
    let poll = curl("/api/events?topics=app/x&since=earliest&format=json").output().unwrap();
    assert!(String::from_utf8_lossy(&poll.stdout).contains(r#""n":1"#));
}
