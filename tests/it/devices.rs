//! Real counterparts behind pseudo-terminals: programs of tests/devices, run by the Python that TELLTALE_TEST_PY names
//! (tests/run makes one with `tests/devices/install`). Without it these tests say so and pass.

use crate::harness::{Daemon, until};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A device that is a program; it ends with this.
pub struct Counterpart(Child);

impl Counterpart {
    /// Starts a script of tests/devices; `None` where there is no Python for it.
    pub fn start(script: &str, argument: &Path) -> Option<Counterpart> {
        let Some(python) = std::env::var_os("TELLTALE_TEST_PY").map(PathBuf::from) else {
            println!("skipped: TELLTALE_TEST_PY does not name a Python with tests/devices/requirements.txt");
            return None;
        };
        // Relative to the root, as tests/run says it.
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(python);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/devices").join(script);
        let mut child = Command::new(&python)
            .arg(script)
            .arg(argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", python.display()));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Some(Counterpart(child))
    }

    /// Tells it a line.
    pub fn say(&mut self, line: &str) {
        let to = self.0.stdin.as_mut().unwrap();
        to.write_all(line.as_bytes()).and_then(|()| to.write_all(b"\n")).unwrap();
    }
}

impl Drop for Counterpart {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The newest payload of a state key.
pub fn state(daemon: &Daemon, kind: &str, id: (&str, &str)) -> Value {
    let all = daemon.get("/api/state?topics=*").json();
    let found =
        all["state"].as_array().unwrap().iter().find(|e| e["type"] == kind && e["payload"][id.0] == id.1);
    found.map_or(Value::Null, |e| e["payload"].clone())
}

pub fn instrument(daemon: &Daemon, id: &str) -> Value {
    state(daemon, "instrument_status", ("instrument_id", id))
}

pub fn source(daemon: &Daemon, id: &str) -> Value {
    state(daemon, "source_status", ("source_id", id))
}

/// Waits for a state that passes.
#[track_caller]
pub fn until_state(
    what: &str,
    mut now: impl FnMut() -> Value,
    mut passes: impl FnMut(&Value) -> bool,
) -> Value {
    let mut last = Value::Null;
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until(what, || {
            last = now();
            passes(&last).then(|| last.clone())
        })
    }));
    found.unwrap_or_else(|_| panic!("waited for {what}; it is {last:#}"))
}

/// Gives an instrument a command and waits for its end.
pub fn command(daemon: &Daemon, instrument: &str, action: &str, body: Value) -> Value {
    let answer = daemon.post(&format!("/api/instruments/{instrument}/{action}"), &body.to_string());
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.json()["command_id"].as_str().unwrap().to_string();
    until(&format!("{action} to end"), || {
        let now = daemon.get(&format!("/api/commands/{id}")).json();
        (now["state"] != "accepted").then_some(now)
    })
}
