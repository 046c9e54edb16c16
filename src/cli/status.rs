//! `telltale status`: one screen, and an exit code for scripts.

use super::client::{Client, Trouble};
use super::tail::plain;
use super::{DONE, FAILED, StatusArgs, complain, say};
use serde_json::Value;

pub(super) fn status(args: StatusArgs) -> u8 {
    match ask(&args) {
        Ok((text, healthy)) => {
            say(&text);
            if healthy { DONE } else { FAILED }
        }
        Err(trouble) => {
            complain(trouble.text());
            trouble.code()
        }
    }
}

fn ask(args: &StatusArgs) -> Result<(String, bool), Trouble> {
    let client = Client::new(&args.server)?;
    let (live, _) = client.get("/healthz")?;
    let (ready, why) = client.get("/readyz")?;
    let not_ready = match (live, ready) {
        (200, 200) => None,
        (200, code) => {
            Some(why["detail"].as_str().map_or_else(|| format!("/readyz answers {code}"), |d| plain(d, 200)))
        }
        (code, _) => Some(format!("/healthz answers {code}; is this a telltale?")),
    };
    // Values of streams are not part of global.
    let (code, state) = client.get("/api/state?topics=global,stream/*")?;
    let state = match code {
        200 => Ok(state["state"].as_array().cloned().unwrap_or_default()),
        401 | 403 => Err("looking needs an access key: give one with --key or TELLTALE_KEY".to_string()),
        other => Err(format!("/api/state answers {other}")),
    };
    Ok(screen(client.url(), not_ready.as_deref(), state.as_deref().map_err(String::as_str)))
}

/// The screen, and whether all is well.
fn screen(url: &str, not_ready: Option<&str>, state: Result<&[Value], &str>) -> (String, bool) {
    let mut lines = Vec::new();
    let mut healthy = not_ready.is_none();
    let state = State(state.unwrap_or_else(|why| {
        lines.push(row("state", why));
        &[]
    }));
    if let Some(config) = state.of("config_changed").next() {
        lines.insert(0, format!("{} at {url}", text(&config["payload"], "name", 64)));
    } else {
        lines.insert(0, format!("telltale at {url}"));
    }
    lines.insert(1, row("ready", &not_ready.map_or("yes".into(), |why| format!("NO: {why}"))));
    lines.extend(state.of("system_health").next().map(|health| row("box", &host(&health["payload"]))));
    let parts = [
        ("recorders", "recorder_status", "recorder_id"),
        ("instruments", "instrument_status", "instrument_id"),
        ("queues", "queue_status", "queue_id"),
        ("scans", "scan_status", "scan_id"),
        ("jobs", "job_status", "job_id"),
        ("signals", "signal_status", "signal_id"),
        ("streams", "stream_status", "stream_id"),
        ("services", "service_status", "name"),
        ("sources", "source_status", "source_id"),
    ];
    for (name, kind, id) in parts {
        lines.extend(state.group(kind, id).map(|words| row(name, &words)));
    }
    let open: Vec<&Value> = state
        .of("alert")
        .map(|e| &e["payload"])
        .filter(|a| a["state"] == "active" || a["state"] == "acknowledged")
        .collect();
    if open.is_empty() {
        lines.push(row("alerts", "none open"));
    }
    for alert in open {
        healthy &= !(alert["severity"] == "MAJOR" || alert["severity"] == "INVALID");
        lines.push(row(
            "alert",
            &format!(
                "{} {}: {}",
                text(alert, "severity", 16),
                text(alert, "alert_id", 64),
                text(alert, "message", 160)
            ),
        ));
    }
    if state.0.iter().any(is_old) {
        lines.push(row("", "? not heard of since the last start"));
    }
    (lines.join("\n"), healthy)
}

struct State<'a>(&'a [Value]);

impl State<'_> {
    fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |e| e["type"] == kind)
    }

    /// `3: 2 idle, 1 recording (deck)`: how many in which status, the fewest with their names.
    fn group(&self, kind: &str, id: &str) -> Option<String> {
        const NAMED: usize = 5;
        let mut by_status: Vec<(String, Vec<String>)> = Vec::new();
        let mut total = 0;
        for envelope in self.of(kind) {
            total += 1;
            let payload = &envelope["payload"];
            let status = match &payload["status"] {
                Value::String(status) => plain(status, 32),
                // A signal has no status, but is live or not.
                _ => {
                    if payload["live"] == true {
                        "live".into()
                    } else {
                        "paused".into()
                    }
                }
            };
            let name = text(payload, id, 64) + if is_old(envelope) { "?" } else { "" };
            match by_status.iter_mut().find(|(s, _)| *s == status) {
                Some((_, names)) => names.push(name),
                None => by_status.push((status, vec![name])),
            }
        }
        by_status.sort();
        let words = by_status.iter().map(|(status, names)| {
            let more = if names.len() > NAMED { ", ..." } else { "" };
            format!("{} {status} ({}{more})", names.len(), names[..names.len().min(NAMED)].join(", "))
        });
        (total > 0).then(|| words.collect::<Vec<_>>().join("; "))
    }
}

/// It is what was known before the last start.
fn is_old(envelope: &Value) -> bool {
    envelope["quality"] == "uncertain"
}

fn host(payload: &Value) -> String {
    let mut words = Vec::new();
    if let Some(uptime) = payload["uptime_s"].as_f64().filter(|s| (0.0..1e12).contains(s)) {
        let minutes = (uptime / 60.0) as u64;
        words.push(format!("up {} d {} h {} min", minutes / 1440, minutes / 60 % 24, minutes % 60));
    }
    if let Some(cpu) = payload["cpu"].as_f64() {
        words.push(format!("cpu {:.0} %", cpu * 100.0));
    }
    let memory = &payload["memory"];
    if let (Some(total), Some(free)) = (memory["total"].as_f64(), memory["available"].as_f64()) {
        words.push(format!("memory {:.0} of {:.0} MiB free", free / 1_048_576.0, total / 1_048_576.0));
    }
    if let Some(degrees) = payload["temperature_c"].as_f64() {
        words.push(format!("{degrees:.1} degC"));
    }
    for disk in payload["disks"].as_array().into_iter().flatten() {
        if let Some(free) = disk["free"].as_f64() {
            words.push(format!("{:.1} GB free on {}", free / 1e9, text(disk, "path", 64)));
        }
    }
    if let Some(clock) = payload["clock"].as_str().or(payload["clock"]["quality"].as_str()) {
        words.push(format!("clock {}", plain(clock, 16)));
    }
    words.join(", ")
}

fn text(payload: &Value, name: &str, most: usize) -> String {
    plain(payload[name].as_str().unwrap_or("?"), most)
}

fn row(name: &str, words: &str) -> String {
    format!("  {name:<12} {words}").trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_screen_says_what_there_is_and_whether_it_is_well() {
        let state = vec![
            json!({"type": "config_changed", "payload": {"name": "van 3"}}),
            json!({"type": "recorder_status", "payload": {"recorder_id": "deck", "status": "recording"}}),
            json!({"type": "recorder_status", "payload": {"recorder_id": "tape", "status": "idle"}, "quality": "uncertain"}),
            json!({"type": "system_health", "payload": {"uptime_s": 90_060.0, "cpu": 0.125, "temperature_c": 51.23, "memory": {}}}),
            json!({"type": "alert", "payload": {"alert_id": "a", "severity": "MINOR", "state": "active", "message": "low"}}),
            json!({"type": "alert", "payload": {"alert_id": "b", "severity": "MAJOR", "state": "cleared", "message": "over"}}),
        ];
        let (text, healthy) = screen("http://x", None, Ok(&state));
        assert!(healthy);
        assert_eq!(
            text,
            "van 3 at http://x\n  ready        yes\n  box          up 1 d 1 h 1 min, cpu 12 %, 51.2 degC\n  \
            recorders    1 idle (tape?); 1 recording (deck)\n  alert        MINOR a: low\n               ? not heard of since the last start"
        );
        let mut worse = state.clone();
        worse[4]["payload"]["severity"] = "MAJOR".into();
        assert!(!screen("http://x", None, Ok(&worse)).1);
        let (text, healthy) = screen("http://x", Some("the disk is full"), Err("looking needs a key"));
        assert!(
            !healthy && text.contains("NO: the disk is full") && text.contains("looking needs a key"),
            "{text}"
        );
    }
}
