//! A selector: which value of which event a rule looks at, such as `stream/temp` or `instrument/psu/current`.
//!
//! `KIND/ID/MEMBER/...`, with short words for the kinds people know; the syntax is in docs/alerts.md. One `*` may stand
//! for the id or for one member; what it matched names the value. Reading never panics, whatever the payload is.

use super::{Class, find_kind};
use serde_json::Value;
use std::fmt;

/// See the module above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    text: String,
    kind: String,
    id: Id,
    path: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Id {
    /// The type has no id, such as `system_health`.
    None,
    /// This one.
    One(String),
    /// Every one.
    Any,
}

/// A value that a selector found in a payload.
#[derive(Debug)]
pub struct Picked<'a> {
    /// What the `*` matched; none without one.
    pub name: Option<String>,
    /// The value; null counts as found.
    pub value: &'a Value,
    /// The object or list it is a member of.
    pub beside: &'a Value,
}

/// Short words for types that are selected by id, and the member that is meant when none is named.
const SHORT: [(&str, &str, &str); 10] = [
    ("stream", "stream_value", "value"),
    ("recorder", "recorder_status", "status"),
    ("instrument", "instrument_status", "status"),
    ("source", "source_status", "status"),
    ("signal", "signal_status", ""),
    ("queue", "queue_status", "status"),
    ("scan", "scan_status", "status"),
    ("job", "job_status", "status"),
    ("service", "service_status", "status"),
    ("data", "data_point", ""),
];

/// Members of `instrument_status`; any other first member is the name of a channel.
const INSTRUMENT: [&str; 9] = [
    "status",
    "position",
    "target",
    "is_moving",
    "channels",
    "settings",
    "error",
    "used_by",
    "instrument_name",
];

const LONGEST: usize = 256;
const DEEPEST: usize = 8;

impl Selector {
    /// Reads one.
    ///
    /// # Errors
    /// What was expected, as the end of a sentence.
    pub fn parse(text: &str) -> Result<Selector, String> {
        let expected = "expected KIND/ID/MEMBER such as \"stream/temp\", \"instrument/psu/current\" or \"system/temperature_c\"";
        if text.is_empty() || text.len() > LONGEST {
            return Err(expected.into());
        }
        let (kind, id, path) = match text.strip_prefix("app/") {
            Some(rest) => {
                let (topic, path) = rest.split_once(':').ok_or(
                    "a value under app/ needs a member after a colon, such as \"app/field/door:open\"",
                )?;
                (format!("app/{topic}"), Id::None, path)
            }
            None => Self::parse_ours(text, expected)?,
        };
        let mut path: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(str::to_string).collect();
        if let Some((_, _, default)) = SHORT.iter().find(|(_, full, _)| *full == kind) {
            if path.is_empty() && !default.is_empty() {
                path.push((*default).into());
            } else if kind == "instrument_status"
                && let [channel] = &path[..]
                && !INSTRUMENT.contains(&channel.as_str())
            {
                path = vec!["channels".into(), channel.clone(), "value".into()];
            } else if kind == "data_point" && path.first().is_some_and(|p| p != "data") {
                path.insert(0, "data".into());
            }
        }
        if path.is_empty() {
            return Err(format!("it names no member; {expected}"));
        }
        if path.len() > DEEPEST {
            return Err(format!("at most {DEEPEST} members deep"));
        }
        let stars = path.iter().filter(|p| *p == "*").count() + usize::from(id == Id::Any);
        if stars > 1 {
            return Err("at most one * in it".into());
        }
        Ok(Selector { text: text.into(), kind, id, path })
    }

    fn parse_ours<'t>(text: &'t str, expected: &str) -> Result<(String, Id, &'t str), String> {
        let (word, rest) = text.split_once('/').ok_or(expected)?;
        if word == "system" {
            return Ok(("system_health".into(), Id::None, rest));
        }
        let full = SHORT.iter().find(|(short, ..)| *short == word).map_or(word, |(_, full, _)| full);
        let kind =
            find_kind(full).filter(|k| k.name != "alert" && k.name != "command_result").ok_or_else(|| {
                let words: Vec<_> = SHORT.iter().map(|(short, ..)| *short).chain(["system", "app"]).collect();
                format!(
                    "{word:?} is no kind; expected one of {} or an event type of docs/api.md",
                    words.join(", ")
                )
            })?;
        if kind.id_field.is_empty() {
            return Ok((full.into(), Id::None, rest));
        }
        let (id, path) = rest.split_once('/').unwrap_or((rest, ""));
        let id = match id {
            "*" => Id::Any,
            id if super::topic::is_id(id) => Id::One(id.into()),
            other => return Err(format!("{other:?} is no id; {expected}")),
        };
        Ok((full.into(), id, path))
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The event type it looks at, or the topic under `app/` whose events it looks at.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The one id it looks at; none when it is every id or the type has none.
    pub fn id(&self) -> Option<&str> {
        match &self.id {
            Id::One(id) => Some(id),
            Id::None | Id::Any => None,
        }
    }

    /// Whether it has a `*`, so that it may find any number of values.
    pub fn is_any(&self) -> bool {
        self.id == Id::Any || self.path.iter().any(|p| p == "*")
    }

    /// The channel of this instrument whose value it looks at: what a set of that channel changes.
    pub fn channel_of(&self, instrument: &str) -> Option<&str> {
        if self.kind != "instrument_status" || self.id() != Some(instrument) {
            return None;
        }
        match &self.path[..] {
            [list, channel, member] if list == "channels" && (member == "value" || member == "text") => {
                Some(channel)
            }
            [position, channel] if position == "position" => Some(channel),
            _ => None,
        }
    }

    /// Whether it looks at records, which are not kept as a newest value.
    pub fn is_record(&self) -> bool {
        find_kind(&self.kind).is_none_or(|kind| kind.class == Class::Record)
    }

    /// Whether it looks at events with this id.
    pub fn takes(&self, id: Option<&str>) -> bool {
        match &self.id {
            Id::None | Id::Any => true,
            Id::One(own) => id == Some(own),
        }
    }

    /// What people call the value when its rule has no name: its id and member without the usual ones.
    pub fn name(&self) -> String {
        let members = self.path.iter().map(String::as_str);
        let members = members.filter(|p| !matches!(*p, "channels" | "value" | "status" | "data" | "*"));
        let words: Vec<&str> = self.id().into_iter().chain(members).collect();
        if words.is_empty() { self.text.clone() } else { words.join(" ") }
    }

    /// The values in a payload. `id` is that of the event.
    pub fn pick<'a>(&self, id: Option<&str>, payload: &'a Value) -> Vec<Picked<'a>> {
        let name = if self.id == Id::Any { id.map(str::to_string) } else { None };
        let mut found = Vec::new();
        walk(payload, payload, &self.path, name, &mut found);
        // A channel that answers words has them beside its value.
        if self.kind == "instrument_status" && self.path.last().is_some_and(|last| last == "value") {
            for picked in found.iter_mut().filter(|picked| picked.value.is_null()) {
                picked.value =
                    picked.beside.get("text").filter(|text| text.is_string()).unwrap_or(picked.value);
            }
        }
        found
    }
}

fn walk<'a>(
    beside: &'a Value,
    value: &'a Value,
    path: &[String],
    name: Option<String>,
    found: &mut Vec<Picked<'a>>,
) {
    let Some((part, rest)) = path.split_first() else {
        found.push(Picked { name, value, beside });
        return;
    };
    match value {
        Value::Object(members) if part == "*" => {
            for (key, inner) in members {
                walk(value, inner, rest, Some(key.clone()), found);
            }
        }
        Value::Array(items) if part == "*" => {
            for (n, inner) in items.iter().enumerate() {
                let own = ["path", "name", "id"].into_iter().find_map(|m| inner.get(m)?.as_str());
                walk(value, inner, rest, Some(own.map_or_else(|| n.to_string(), str::to_string)), found);
            }
        }
        Value::Object(members) => {
            if let Some(inner) = members.get(part) {
                walk(value, inner, rest, name, found);
            }
        }
        Value::Array(items) => {
            if let Some(inner) = part.parse::<usize>().ok().and_then(|n| items.get(n)) {
                walk(value, inner, rest, name, found);
            }
        }
        _ => {}
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_what_is_looked_at() {
        for (text, kind, id, path) in [
            ("stream/temp", "stream_value", Some("temp"), "value"),
            ("stream/temp/change", "stream_value", Some("temp"), "change"),
            ("stream_status/temp/status", "stream_status", Some("temp"), "status"),
            ("instrument/psu/current", "instrument_status", Some("psu"), "channels/current/value"),
            ("instrument/psu", "instrument_status", Some("psu"), "status"),
            ("instrument/stage/position/x", "instrument_status", Some("stage"), "position/x"),
            ("recorder/deck/level_db", "recorder_status", Some("deck"), "level_db"),
            ("recorder/deck", "recorder_status", Some("deck"), "status"),
            ("system/temperature_c", "system_health", None, "temperature_c"),
            ("system/disks/0/free", "system_health", None, "disks/0/free"),
            ("data/SCAN_1/volts", "data_point", Some("SCAN_1"), "data/volts"),
            ("data_point/SCAN_1/data/volts", "data_point", Some("SCAN_1"), "data/volts"),
            ("app/field/door:open", "app/field/door", None, "open"),
            ("source/*", "source_status", None, "status"),
            ("detection_summary/total", "detection_summary", None, "total"),
        ] {
            let s = Selector::parse(text).unwrap();
            assert_eq!((s.kind(), s.id(), s.path.join("/").as_str()), (kind, id, path), "{text}");
        }
        for bad in [
            "",
            "temp",
            "stream/",
            "stream/a b",
            "weather/x",
            "alert/x/state",
            "system/",
            "signal/cavity",
            "app/door",
            "source/*/detail/*",
            "stream/x/a/b/c/d/e/f/g/h/i",
        ] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_found_and_named() {
        let health = json!({"disks": [{"path": "/", "free": 5}, {"path": "/data", "free": 7}], "memory": {"total": 9}});
        let found = |text: &str| -> Vec<(Option<String>, Value)> {
            Selector::parse(text)
                .unwrap()
                .pick(None, &health)
                .into_iter()
                .map(|p| (p.name, p.value.clone()))
                .collect()
        };
        assert_eq!(found("system/disks/1/free"), [(None, json!(7))]);
        assert_eq!(
            found("system/disks/*/free"),
            [(Some("/".into()), json!(5)), (Some("/data".into()), json!(7))]
        );
        assert_eq!(found("system/memory/*"), [(Some("total".into()), json!(9))]);
        assert_eq!(found("system/memory/none"), []);
        assert_eq!(found("system/disks/9/free"), []);
        assert_eq!(found("system/disks/free/x"), []);
    }

    #[test]
    fn a_channel_of_words_has_them() {
        let status =
            json!({"channels": {"output": {"value": null, "text": "on"}, "v": {"value": 1, "text": "x"}}});
        for (text, value) in [("instrument/psu/output", json!("on")), ("instrument/psu/v", json!(1))] {
            let found = Selector::parse(text).unwrap();
            assert_eq!(found.pick(Some("psu"), &status)[0].value, &value);
        }
    }

    #[test]
    fn the_value_that_a_set_changes_is_known() {
        for (text, instrument, channel) in [
            ("instrument/stage/x", "stage", Some("x")),
            ("instrument/stage/position/x", "stage", Some("x")),
            ("instrument/stage/channels/mode/text", "stage", Some("mode")),
            ("instrument/stage/channels/x/severity", "stage", None),
            ("instrument/stage/x", "psu", None),
            ("instrument/stage", "stage", None),
            ("stream/x", "x", None),
        ] {
            assert_eq!(Selector::parse(text).unwrap().channel_of(instrument), channel, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_and_any_payload_are_survived(text in "[a-z*/:_0-9]{0,40}", member in ".{0,6}", n in any::<i64>()) {
            if let Ok(selector) = Selector::parse(&text) {
                let payload = json!({member.clone(): [n, {member: n}], "value": [[n]]});
                selector.pick(Some("x"), &payload);
                prop_assert_eq!(&Selector::parse(selector.text()).unwrap(), &selector);
            }
        }
    }
}
