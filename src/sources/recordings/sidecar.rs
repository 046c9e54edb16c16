//! Files beside a recording that say more of it: `NAME.wav.json` (or `NAME.json`) and the transcript `NAME.wav.txt` (or
//! `NAME.txt`). Written by recorders and transcribers, read here; telltale itself writes one beside a clip.
//!
//! Whatever is not understood in them is left out; nothing in them makes a recording unreadable.

use crate::clock::Wall;
use crate::limits;
use crate::model::{Marker, MarkerKind};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sidecar {
    pub recorder_id: Option<Box<str>>,
    pub started_at: Option<Wall>,
    pub triggers: Vec<Box<str>>,
    pub markers: Vec<Marker>,
    pub end_reason: Option<Box<str>>,
    pub transcript: Option<Box<str>>,
}

/// The names that a file's sidecars may have, those of the file alone first: the last two are shared by all of its stem.
pub(super) fn names(file: &Path) -> [PathBuf; 4] {
    let with = |name: &OsStr, end: &str| {
        let mut name = OsString::from(name);
        name.push(end);
        file.with_file_name(name)
    };
    let (name, stem) = (file.file_name().unwrap_or_default(), file.file_stem().unwrap_or_default());
    [with(name, ".json"), with(name, ".txt"), with(stem, ".json"), with(stem, ".txt")]
}

/// Whether a name can be that of a sidecar.
pub(super) fn is_one(file: &Path) -> bool {
    file.extension().is_some_and(|e| e.eq_ignore_ascii_case("json") || e.eq_ignore_ascii_case("txt"))
}

/// Reads the sidecars of the file at `path`.
pub(super) fn read(path: &Path) -> Sidecar {
    let mut sidecar = Sidecar::default();
    let [own_json, own_text, json, text] = names(path).map(|name| super::files::read_small(&name));
    if let Some(bytes) = own_json.or(json) {
        sidecar = parse(&bytes);
    }
    if let Some(bytes) = own_text.or(text) {
        let text = String::from_utf8_lossy(&bytes);
        sidecar.transcript = shortened(text.trim(), limits::TRANSCRIPT_BYTES);
    }
    sidecar
}

/// Reads a JSON sidecar.
fn parse(bytes: &[u8]) -> Sidecar {
    let Ok(Value::Object(members)) = serde_json::from_slice(bytes) else { return Sidecar::default() };
    let text = |name: &str, most: usize| {
        members.get(name).and_then(Value::as_str).and_then(|text| shortened(text.trim(), most))
    };
    let list = |name: &str| members.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let triggers = list("triggers").iter().filter_map(|t| shortened(t.as_str()?.trim(), 64));
    Sidecar {
        recorder_id: text("recorder_id", 64).filter(|id| crate::model::Topic::of("recorder", id).is_ok()),
        started_at: members.get("started_at").and_then(Value::as_str).and_then(Wall::parse),
        triggers: triggers.take(16).collect(),
        markers: list("markers").iter().filter_map(marker).take(limits::MARKERS).collect(),
        end_reason: text("end_reason", 160),
        // Recorders write `transcript`, offline transcribers `text`.
        transcript: text("transcript", limits::TRANSCRIPT_BYTES)
            .or_else(|| text("text", limits::TRANSCRIPT_BYTES)),
    }
}

fn marker(value: &Value) -> Option<Marker> {
    let seconds = |name: &str| value.get(name).and_then(Value::as_f64).filter(|s| (0.0..1e9).contains(s));
    let at_s = seconds("at_s")?;
    let kind = match value.get("kind")?.as_str()? {
        "trigger" => MarkerKind::Trigger,
        "release" => MarkerKind::Release,
        "motion" => MarkerKind::Motion,
        _ => return None,
    };
    let label = value.get("label").and_then(Value::as_str).and_then(|l| shortened(l, 80));
    let until_s = seconds("until_s").filter(|until| *until >= at_s);
    Some(Marker { at_s, until_s, kind, label: label.map(String::from) })
}

/// At most so many bytes of it, in whole characters; none when nothing is left.
fn shortened(text: &str, most: usize) -> Option<Box<str>> {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (end > 0).then(|| text[..end].into())
}

/// The beginning of a transcript, for lists.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(limits::EXCERPT_CHARS).collect()
}

/// The sidecar of a clip, cut from `of` between two places in seconds.
pub(super) fn of_clip(of: &crate::model::Recording, start_s: f64, end_s: f64) -> Value {
    let shifted = of.markers.iter().filter_map(|marker| {
        let until = marker.until_s.unwrap_or(marker.at_s);
        (until >= start_s && marker.at_s <= end_s).then(|| Marker {
            at_s: (marker.at_s - start_s).max(0.0),
            until_s: marker.until_s.map(|until| until.min(end_s) - start_s),
            ..marker.clone()
        })
    });
    serde_json::json!({
        "recorder_id": of.recorder_id,
        "started_at": Wall(of.started_at.0.saturating_add((start_s * 1000.0) as u64)),
        "triggers": of.triggers,
        "markers": shifted.collect::<Vec<_>>(),
        "end_reason": "clip",
        "origin": { "recording_id": of.recording_id, "name": of.name, "start_s": start_s, "end_s": end_s },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_understood_is_taken_and_the_rest_left() {
        let sidecar = parse(
            br#"{"recorder_id":"rec1","started_at":"2026-01-07T15:30:00.000Z","triggers":["level",7,"motion"],
            "markers":[{"at_s":1.5,"kind":"trigger"},{"at_s":2,"until_s":4,"kind":"motion","label":"gate"},
            {"at_s":-1,"kind":"trigger"},{"at_s":1,"kind":"song"},{"at_s":5,"until_s":4,"kind":"release"}],
            "end_reason":"silence","text":" a fox ","unknown":{}}"#,
        );
        assert_eq!(sidecar.recorder_id.as_deref(), Some("rec1"));
        assert_eq!(sidecar.started_at, Wall::parse("2026-01-07T15:30:00.000Z"));
        assert_eq!(sidecar.triggers, ["level".into(), "motion".into()] as [Box<str>; 2]);
        assert_eq!(sidecar.markers.len(), 3);
        assert_eq!(sidecar.markers[1].until_s, Some(4.0));
        assert_eq!(sidecar.markers[2].until_s, None);
        assert_eq!(sidecar.transcript.as_deref(), Some("a fox"));
        assert_eq!(parse(br#"{"recorder_id":"a/b","markers":{},"triggers":1}"#), Sidecar::default());
        assert_eq!(parse(b"half a fi"), Sidecar::default());
        assert_eq!(shortened("a\u{e9}", 2).as_deref(), Some("a"));
    }

    #[test]
    fn names_of_sidecars() {
        assert_eq!(
            names(Path::new("d/a.wav")).map(|p| p.to_string_lossy().into_owned()),
            ["d/a.wav.json", "d/a.wav.txt", "d/a.json", "d/a.txt"]
        );
        assert!(is_one(Path::new("a.wav.JSON")) && !is_one(Path::new("a.wav")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,80}") {
            parse(&bytes);
            parse(format!("{{\"transcript\":{text:?},\"markers\":[{{\"at_s\":1,\"kind\":\"trigger\",\"label\":{text:?}}}]}}").as_bytes());
            shortened(&text, 7);
        }
    }
}
