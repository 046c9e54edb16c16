//! `telltale tail`: follows the stream, through lost connections and restarts, and prints it.

use super::client::{Client, Trouble, encode};
use super::sse::{Frame, Frames};
use super::{DONE, TailArgs, complain, say};
use serde_json::Value;
use std::io::BufReader;
use std::time::Duration;

/// Waits between attempts to connect again, unless the server names one.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A line for people is cut after so many characters.
const LINE: usize = 200;

pub(super) fn tail(args: TailArgs) -> u8 {
    match follow(&args) {
        Ok(()) => DONE,
        Err(trouble) => {
            complain(trouble.text());
            trouble.code()
        }
    }
}

/// Prints until the count is reached or nobody reads. The first connection must succeed; later ones are tried for ever.
fn follow(args: &TailArgs) -> Result<(), Trouble> {
    let client = Client::new(&args.server)?;
    let mut query = format!("topics={}", encode(&args.topics));
    if let Some(types) = &args.types {
        query += &format!("&types={}", encode(types));
    }
    if let Some(since) = &args.since {
        query += &format!("&since={}", encode(since));
    }
    let mut left = args.count.unwrap_or(u64::MAX);
    let (mut last_id, mut connected, mut wait) = (None::<String>, false, FIRST_WAIT);
    let mut lost = false;
    while left > 0 {
        let why = match client.stream(&query, last_id.as_deref()) {
            Ok(stream) => {
                if lost {
                    complain(&format!("connected again to {}", client.url()));
                    lost = false;
                }
                connected = true;
                let mut frames = Frames::new(BufReader::new(stream), last_id.take());
                let ended = print(&mut frames, args.json, &mut left);
                last_id = frames.last_id;
                match ended {
                    Ended::Enough => return Ok(()),
                    Ended::Lost { why, after_data } => {
                        if after_data {
                            wait = FIRST_WAIT;
                        }
                        wait = frames
                            .retry_ms
                            .map(Duration::from_millis)
                            .unwrap_or(wait)
                            .clamp(FIRST_WAIT, LONGEST_WAIT);
                        why
                    }
                }
            }
            Err(Trouble::Unreachable(why)) if connected => why,
            Err(trouble) => return Err(trouble),
        };
        if !lost {
            complain(&format!("{why}; connecting again"));
            lost = true;
        }
        // Nothing else is done here, and a signal ends the process.
        std::thread::sleep(wait);
        wait = (wait * 2).min(LONGEST_WAIT);
    }
    Ok(())
}

/// Why printing has ended.
enum Ended {
    /// The count is reached, or nobody reads the output.
    Enough,
    /// The stream is over.
    Lost { why: String, after_data: bool },
}

fn print<R: std::io::BufRead>(frames: &mut Frames<R>, json: bool, left: &mut u64) -> Ended {
    let mut after_data = false;
    let mut why = "the stream has ended".to_string();
    loop {
        let frame = match frames.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ended::Lost { why, after_data },
            Err(e) => return Ended::Lost { why: format!("the connection is lost: {e}"), after_data },
        };
        after_data = true;
        if frame.event == "bye" {
            let reason = serde_json::from_str::<Value>(&frame.data).ok();
            let reason = reason.as_ref().and_then(|v| v["payload"]["reason"].as_str()).unwrap_or("unknown");
            why = format!("the server has ended the stream: {}", plain(reason, 40));
            continue;
        }
        let lines = if json { raw(frame) } else { human(&frame) };
        for line in lines {
            if !say(&line) {
                return Ended::Enough;
            }
            *left -= 1;
            if *left == 0 {
                return Ended::Enough;
            }
        }
    }
}

/// For programs: every envelope but those about the connection itself.
fn raw(frame: Frame) -> Vec<String> {
    match frame.event.as_str() {
        "hello" | "heartbeat" => Vec::new(),
        _ => vec![frame.data],
    }
}

/// For people: a line an event; a snapshot is a line for each thing there is.
fn human(frame: &Frame) -> Vec<String> {
    let Ok(envelope) = serde_json::from_str::<Value>(&frame.data) else {
        return vec![format!("? {}", plain(&frame.data, LINE))];
    };
    let payload = &envelope["payload"];
    match frame.event.as_str() {
        "hello" | "heartbeat" => Vec::new(),
        "snapshot" => payload["state"].as_array().into_iter().flatten().map(line).collect(),
        "gap" => vec![gap(payload)],
        _ => vec![line(&envelope)],
    }
}

fn gap(payload: &Value) -> String {
    let text = |name: &str| plain(payload[name].as_str().unwrap_or("?"), 60);
    let lost = match payload["lost"].as_u64() {
        Some(n) => format!("{n} event{} lost", if n == 1 { "" } else { "s" }),
        None => "events lost, how many is not known".into(),
    };
    let between = if payload["from"].is_string() {
        format!(" after {} up to {}", text("from"), text("to"))
    } else {
        String::new()
    };
    format!("---- gap: {lost}{between} ({})", text("reason"))
}

/// `01-07 15:30:00.412 scan/S1 data_point sequence_index=4 ...`.
fn line(envelope: &Value) -> String {
    let text = |name: &str| envelope[name].as_str().unwrap_or_default();
    let corrected = envelope["corrected"].is_string();
    let stamp = text(if corrected { "corrected" } else { "timestamp" });
    let time = match (stamp.get(5..10), stamp.get(11..23)) {
        (Some(day), Some(time)) => format!("{day} {time}"),
        _ => "?".into(),
    };
    let unsynced = if envelope["clock"] == "unsynced" && !corrected { "~" } else { "" };
    let before = if envelope["quality"] == "uncertain" { " (before the last start)" } else { "" };
    let head = format!("{unsynced}{time} {} {}{before} ", plain(text("topic"), 128), plain(text("type"), 64));
    head.clone()
        + &plain(&summary(&envelope["payload"], text("topic")), LINE.saturating_sub(head.chars().count()))
}

/// The payload in a few words: what it says first, then its other members, without what the topic says already.
fn summary(payload: &Value, topic: &str) -> String {
    const FIRST: [&str; 8] = ["level", "severity", "state", "status", "value", "unit", "progress", "message"];
    let Some(members) = payload.as_object() else { return payload.to_string() };
    let bare = |name: &str| !matches!(name, "value" | "progress");
    let mut words = Vec::new();
    for name in FIRST {
        match members.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if bare(name) => words.push(text.clone()),
            Some(value) => words.push(member(name, value)),
        }
    }
    let said = |name: &str, value: &Value| {
        let id = topic.rsplit('/').next();
        FIRST.contains(&name)
            || name == "timestamp"
            || value.is_null()
            || (name.ends_with("_id") && value.as_str() == id)
    };
    words.extend(
        members.iter().filter(|(name, value)| !said(name, value)).map(|(name, value)| member(name, value)),
    );
    words.join(" ")
}

/// `name=value`; of channels and the like the values alone.
fn member(name: &str, value: &Value) -> String {
    let short = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Object(inner) if inner.contains_key("value") => {
            format!("{}{}", inner["value"], inner.get("unit").and_then(Value::as_str).unwrap_or_default())
        }
        other => other.to_string(),
    };
    match value {
        Value::Object(inner) if name == "channels" => {
            inner.iter().map(|(name, value)| format!("{name}={}", short(value))).collect::<Vec<_>>().join(" ")
        }
        other => format!("{name}={}", short(other)),
    }
}

/// Text from outside made fit for a terminal: no control characters, at most so many others.
pub(super) fn plain(text: &str, most: usize) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut out: String = chars.by_ref().take(most).collect();
    if chars.next().is_some() {
        out.push_str("...");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(event: &str, payload: Value) -> Vec<String> {
        let data = json!({
            "type": event, "id": "7-1", "topic": "app/x", "timestamp": "2026-01-07T15:30:00.412Z", "payload": payload
        });
        human(&Frame { event: event.into(), data: data.to_string() })
    }

    #[test]
    fn events_are_a_line_each() {
        assert_eq!(
            of("note", json!({"a": 1, "b": "two", "timestamp": "x"})),
            ["01-07 15:30:00.412 app/x note a=1 b=two"]
        );
        assert_eq!(
            of("log", json!({"level": "ERROR", "message": "no\u{1b}[2Jport"})),
            ["01-07 15:30:00.412 app/x log ERROR no [2Jport"]
        );
        assert!(of("heartbeat", json!({})).is_empty());
        let state = json!({"type": "a", "topic": "t", "timestamp": "2026-01-07T15:30:00.412Z", "payload": {"n": 1}, "quality": "uncertain"});
        assert_eq!(
            of("snapshot", json!({"state": [state]})),
            ["01-07 15:30:00.412 t a (before the last start) n=1"]
        );
        let long = of("note", json!({"a": "x".repeat(1000)}));
        assert!(long[0].chars().count() <= LINE + 3, "{}", long[0].len());
    }

    #[test]
    fn a_summary_says_the_point_first() {
        let scan = json!({"scan_id": "S1", "status": "running", "message": "point 3", "progress": 0.5, "phase": null, "queue_id": "Q"});
        assert_eq!(summary(&scan, "scan/S1"), "running progress=0.5 point 3 queue_id=Q");
        let psu = json!({"instrument_id": "psu", "status": "idle", "channels": {"u": {"value": 1.5, "unit": "V"}, "i": {"value": null}}});
        assert_eq!(summary(&psu, "instrument/psu"), "idle i=null u=1.5V");
    }

    #[test]
    fn gaps_say_what_is_lost() {
        let gap = |payload| of("gap", payload).remove(0);
        assert_eq!(
            gap(json!({"reason": "evicted", "from": "7-1", "to": "7-9", "lost": 8})),
            "---- gap: 8 events lost after 7-1 up to 7-9 (evicted)"
        );
        assert_eq!(
            gap(json!({"reason": "unknown_id", "lost": null})),
            "---- gap: events lost, how many is not known (unknown_id)"
        );
    }

    #[test]
    fn a_stream_that_ends_tells_why_and_keeps_its_place() {
        let text =
            "id: 1-1\nevent: note\ndata: {}\n\nevent: bye\ndata: {\"payload\":{\"reason\":\"shutdown\"}}\n\n";
        let mut frames = Frames::new(text.as_bytes(), None);
        let mut left = 9;
        match print(&mut frames, false, &mut left) {
            Ended::Lost { why, after_data: true } => assert!(why.contains("shutdown"), "{why}"),
            _ => panic!("it did not end as lost"),
        }
        assert_eq!((left, frames.last_id.as_deref()), (8, Some("1-1")));
    }
}
