//! The SSE encoder. Source: WHATWG HTML, "Server-sent events", parsing an event stream.
//!
//! Whatever is given, what comes out is exactly one event: line ends of all three kinds in the data become several
//! `data:` lines, and an id or an event name loses the characters that would end its line (or, NUL, void it).

use crate::clock::Wall;
use std::fmt::Write;

/// Appends one event.
pub(super) fn write(out: &mut Vec<u8>, id: Option<&str>, event: &str, retry_ms: Option<u64>, data: &str) {
    if let Some(retry) = retry_ms {
        line(out, "retry", &retry.to_string());
    }
    if let Some(id) = id {
        line(out, "id", &plain(id));
    }
    line(out, "event", &plain(event));
    let mut rest = data;
    loop {
        let (first, after) = match rest.find(['\r', '\n']) {
            Some(at) if rest[at..].starts_with("\r\n") => (&rest[..at], Some(&rest[at + 2..])),
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        line(out, "data", first);
        match after {
            Some(after) => rest = after,
            None => break,
        }
    }
    out.push(b'\n');
}

fn line(out: &mut Vec<u8>, field: &str, value: &str) {
    out.extend(field.as_bytes());
    out.extend(b": ");
    out.extend(value.as_bytes());
    out.push(b'\n');
}

fn plain(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains(['\r', '\n', '\0']) { text.replace(['\r', '\n', '\0'], "").into() } else { text.into() }
}

/// The envelope of a control event: one line of JSON. `payload` is JSON.
pub(super) fn envelope(kind: &str, id: Option<&str>, payload: &str) -> String {
    let mut out = format!(r#"{{"type":"{kind}""#);
    if let Some(id) = id {
        let _ = write!(out, r#","id":"{id}""#);
    }
    let _ = write!(out, r#","timestamp":"{}","payload":{payload}}}"#, Wall::now().rfc3339());
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Cursor, Draft, Event};
    use proptest::prelude::*;

    /// What an EventSource would dispatch. Written from the standard, not from the encoder.
    #[derive(Debug, Default, Clone, PartialEq, Eq)]
    pub struct Seen {
        pub id: Option<String>,
        pub event: String,
        pub data: String,
        pub retry: Option<u64>,
    }

    pub fn parse(bytes: &[u8]) -> Vec<Seen> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n").replace('\r', "\n");
        let mut seen = Vec::new();
        let mut now = Seen::default();
        let mut data: Vec<&str> = Vec::new();
        let mut lines: Vec<&str> = text.split('\n').collect();
        lines.pop(); // an unfinished line counts for nothing
        for line in lines {
            if line.is_empty() {
                if !data.is_empty() {
                    now.data = data.join("\n");
                    seen.push(std::mem::take(&mut now));
                }
                (now, data) = (Seen::default(), Vec::new());
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "data" => data.push(value),
                "event" => now.event = value.into(),
                "id" if !value.contains('\0') => now.id = Some(value.into()),
                "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                    now.retry = value.parse().ok()
                }
                _ => {}
            }
        }
        seen
    }

    /// Text full of what breaks encoders.
    fn nasty() -> impl Strategy<Value = String> {
        proptest::collection::vec(
            prop_oneof![
                Just("\r".to_string()),
                Just("\n".into()),
                Just("\r\n".into()),
                Just("\0".into()),
                Just("\u{feff}".into()),
                Just("id: 1-1".into()),
                Just("data:".into()),
                Just("event: bye".into()),
                Just(": ".into()),
                Just(" ".into()),
                ".*",
            ],
            0..12,
        )
        .prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn one_event_goes_in_and_one_comes_out(id in proptest::option::of(nasty()), event in nasty(), data in nasty(), retry in proptest::option::of(0u64..99_999)) {
            let mut bytes = Vec::new();
            write(&mut bytes, id.as_deref(), &event, retry, &data);
            let seen = parse(&bytes);
            prop_assert_eq!(seen.len(), 1);
            prop_assert_eq!(&seen[0].data, &data.replace("\r\n", "\n").replace('\r', "\n"));
            prop_assert_eq!(&seen[0].event, &event.replace(['\r', '\n', '\0'], ""));
            prop_assert_eq!(seen[0].id.clone(), id.map(|id| id.replace(['\r', '\n', '\0'], "")));
            prop_assert_eq!(seen[0].retry, retry);
        }

        #[test]
        fn several_in_a_row_stay_apart(datas in proptest::collection::vec(nasty(), 0..6)) {
            let mut bytes = Vec::new();
            for data in &datas {
                write(&mut bytes, None, "x", None, data);
            }
            prop_assert_eq!(parse(&bytes).len(), datas.len());
        }

        #[test]
        fn a_published_event_is_one_event_whatever_is_in_it(text in nasty(), name in nasty()) {
            let draft = Draft::checked("note", Some("app/x"), serde_json::json!({ "text": text, name.clone(): 1 })).unwrap();
            let event = Event::publish(draft, Cursor { epoch: 7, seq: 9 }, "2026-01-07T15:30:00.412Z", true);
            let seen = parse(event.frame().as_bytes());
            prop_assert_eq!(seen.len(), 1);
            prop_assert_eq!(seen[0].id.as_deref(), Some("7-9"));
            let envelope: serde_json::Value = serde_json::from_str(&seen[0].data).unwrap();
            if name != "text" {
                prop_assert_eq!(envelope["payload"]["text"].as_str(), Some(text.as_str()));
            }
            prop_assert_eq!(envelope["clock"].as_str(), Some("unsynced"));
        }
    }
}
