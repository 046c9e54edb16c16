//! systemctl: asked with an argument vector, never through a shell, with a time limit. Reading its answer is pure.
//!
//! `TELLTALE_SYSTEMCTL` names another program to be asked instead: an aid for tests.

use crate::sources::inputs::Until;
use std::ffi::OsString;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(8);
/// How much of an answer is read.
const ANSWER_BYTES: u64 = 256 * 1024;
/// How often it is looked whether the answer is there.
const LOOK: Duration = Duration::from_millis(10);

/// What is asked of each unit. Times are of the monotonic clock, so that no step of the wall clock and no language of the
/// host matters.
const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,SubState,Result,NRestarts,Description,\
                          StateChangeTimestampMonotonic,ActiveEnterTimestampMonotonic,TriggeredBy,CanStart";

/// A unit as systemd shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unit {
    pub id: String,
    pub load: String,
    pub active: String,
    pub sub: String,
    pub result: String,
    pub restarts: u64,
    pub description: String,
    /// Microseconds of the monotonic clock; 0 when it has never changed.
    pub changed_us: u64,
    pub activated_us: u64,
    pub triggered_by: Vec<String>,
}

/// Asks systemctl.
pub(super) struct Systemctl {
    program: OsString,
}

impl Systemctl {
    pub fn from_environment() -> Self {
        let given = std::env::var_os("TELLTALE_SYSTEMCTL").filter(|p| !p.is_empty());
        Systemctl { program: given.unwrap_or_else(|| "systemctl".into()) }
    }

    /// How these units are, in their order. The error is a sentence.
    pub fn show(&self, units: &[&str], until: &Until) -> Result<Vec<Unit>, String> {
        let mut args = vec!["show", PROPERTIES, "--"];
        args.extend(units);
        let shown = parse(&self.run(&args, until)?);
        if shown.len() == units.len() {
            Ok(shown)
        } else {
            Err(format!("systemctl showed {} of {} units", shown.len(), units.len()))
        }
    }

    /// Has something done to a unit, without waiting for its end.
    pub fn act(&self, action: &str, unit: &str, until: &Until) -> Result<(), String> {
        self.run(&[action, "--no-block", "--no-ask-password", "--", unit], until).map(drop)
    }

    fn run(&self, args: &[&str], until: &Until) -> Result<String, String> {
        let spawned = Command::new(&self.program)
            .args(args)
            .env("SYSTEMD_PAGER", "")
            .env("SYSTEMD_COLORS", "0")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = spawned.map_err(|e| {
            let hint =
                if e.kind() == std::io::ErrorKind::NotFound { "; is this host run by systemd?" } else { "" };
            format!("failed to run systemctl: {e}{hint}")
        })?;
        let begun = Instant::now();
        // Its answer is smaller than what a pipe holds, so it ends without being read.
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if begun.elapsed() < ANSWER_TIME && !until.wait(LOOK) => {}
                Ok(None) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err("systemctl did not answer in time".into());
                }
                Err(e) => return Err(format!("failed to wait for systemctl: {e}")),
            }
        };
        let (out, err) = said(&mut child);
        if status.success() { Ok(out) } else { Err(why(&err, status.code())) }
    }
}

fn said(child: &mut Child) -> (String, String) {
    fn text(from: Option<impl Read>) -> String {
        let mut bytes = Vec::new();
        let _ = from.map(|from| from.take(ANSWER_BYTES).read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    }
    (text(child.stdout.take()), text(child.stderr.take()))
}

/// The first line that says something, and what to do where that is known.
fn why(stderr: &str, code: Option<i32>) -> String {
    let line = stderr.lines().map(str::trim).find(|l| !l.is_empty());
    let line: String = match line {
        Some(line) => line.chars().filter(|c| !c.is_control()).take(200).collect(),
        None => format!("systemctl ended with {}", code.map_or("a signal".into(), |c| c.to_string())),
    };
    let denied = ["denied", "authentication required", "not authorized"];
    let lower = line.to_lowercase();
    if denied.iter().any(|word| lower.contains(word)) {
        format!("{line}; a polkit rule has to allow it (docs/services.md)")
    } else {
        line
    }
}

/// Reads blocks of `Name=value` with blank lines between them.
fn parse(text: &str) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut unit: Option<Unit> = None;
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else {
            units.extend(unit.take());
            continue;
        };
        let unit = unit.get_or_insert_with(Unit::default);
        let short = || value.chars().filter(|c| !c.is_control()).take(256).collect::<String>();
        match name {
            "Id" => unit.id = short(),
            "LoadState" => unit.load = short(),
            "ActiveState" => unit.active = short(),
            "SubState" => unit.sub = short(),
            "Result" => unit.result = short(),
            "Description" => unit.description = short(),
            "NRestarts" => unit.restarts = value.parse().unwrap_or(0),
            "StateChangeTimestampMonotonic" => unit.changed_us = value.parse().unwrap_or(0),
            "ActiveEnterTimestampMonotonic" => unit.activated_us = value.parse().unwrap_or(0),
            "TriggeredBy" => {
                unit.triggered_by = value.split_whitespace().take(16).map(str::to_string).collect()
            }
            _ => {}
        }
    }
    units.extend(unit);
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_systemctl_shows_is_read() {
        let text = "Id=a.service\nLoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=3\nDescription=A = b\nStateChangeTimestampMonotonic=5000000\n\nId=b.service\nLoadState=not-found\nActiveState=inactive\nTriggeredBy=b.timer b.path\n";
        let units = parse(text);
        assert_eq!(units.len(), 2);
        assert_eq!(
            (units[0].description.as_str(), units[0].restarts, units[0].changed_us),
            ("A = b", 3, 5_000_000)
        );
        assert_eq!((units[1].load.as_str(), units[1].triggered_by.len()), ("not-found", 2));
        assert!(parse("").is_empty());
    }

    #[test]
    fn what_is_denied_says_what_to_do() {
        assert!(why("Failed to restart a.service: Access denied\n", Some(4)).contains("polkit"));
        assert!(
            why("Failed to restart a.service: Interactive authentication required.\nSee...", Some(1))
                .contains("polkit")
        );
        assert_eq!(why("\n", Some(3)), "systemctl ended with 3");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(?s).{0,400}") {
            prop_assert!(parse(&text).len() <= text.lines().count());
        }
    }
}
